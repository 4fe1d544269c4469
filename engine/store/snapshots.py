"""Evidence that goes into the journal beside a verdict, and which targets an index knows."""

from collections.abc import Sequence
from typing import Any

from engine.store.carry import context_sketch
from engine.store.pages import MAX_FETCH, QuerySlot
from engine.views.tables import Target

_NUMBERS = (
    "n_pairs", "n_discordant", "prevalence", "win_rate", "win_low", "win_high", "taught_q", "taught_call",
    "equal_win_rate", "equal_low", "equal_high", "equal_q", "equal_call", "badge", "differs_q",
)  # fmt: skip
N_MEMBERS = 256
"""Latents kept with a verdict, most central first: what a carried verdict is matched by."""


def snapshots(slot: QuerySlot, targets: Sequence[Target]) -> dict[str, dict[str, Any]]:
    """Target key → name, context, estimates and member latents as they stand; unknown targets are absent."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(targets), MAX_FETCH):
        part = targets[start : start + MAX_FETCH]
        for kind, where in (
            ("concept", "h.context = 0 AND c.concept_id IN (SELECT unnest(?::VARCHAR[]))"),
            ("hypothesis", "h.hypothesis_id IN (SELECT unnest(?::VARCHAR[]))"),
        ):
            idents = [t.ident for t in part if t.kind == kind]
            if idents:
                found |= _read(slot, kind, where, idents)
    sketches: dict[str, list[str]] = {}
    for target in targets:
        if target.context_id is not None and target.key in found:
            if target.context_id not in sketches:
                sketches[target.context_id] = context_sketch(slot, target.context_id)
            found[target.key]["context_pairs"] = sketches[target.context_id]
    return found


def _read(slot: QuerySlot, kind: str, where: str, idents: list[str]) -> dict[str, dict[str, Any]]:
    ident = "c.concept_id" if kind == "concept" else "h.hypothesis_id"
    rows = slot.run(
        f"SELECT {ident}, c.name, x.name, {', '.join('h.' + n for n in _NUMBERS)},"
        " (SELECT list(m.latent ORDER BY m.centrality DESC NULLS LAST, m.latent) FROM concept_members m"
        " WHERE m.concept = c.concept)"
        " FROM concepts c JOIN hypotheses h ON h.concept = c.concept JOIN contexts x ON x.context = h.context"
        f" WHERE {where}",
        [idents],
    )
    found = {}
    for row in rows:
        numbers = {k: v for k, v in zip(_NUMBERS, row[3:-1], strict=True) if v is not None}
        latents = [int(v) for v in (row[-1] or [])[:N_MEMBERS]]
        found[f"{kind}:{row[0]}"] = {"name": row[1] or "", "context": row[2], **numbers, "latents": latents}
    return found


def known_targets(slot: QuerySlot, keys: Sequence[str]) -> frozenset[str]:
    """Those of the target keys that the index has."""
    known: set[str] = set()
    for kind, table in (("concept", "concepts"), ("hypothesis", "hypotheses")):
        idents = [k.partition(":")[2] for k in keys if k.startswith(kind + ":")]
        for start in range(0, len(idents), MAX_FETCH):
            rows = slot.run(
                f"SELECT {kind}_id FROM {table} WHERE {kind}_id IN (SELECT unnest(?::VARCHAR[]))",
                [idents[start : start + MAX_FETCH]],
            )
            known |= {f"{kind}:{r[0]}" for r in rows}
    return frozenset(known)


def called_concepts(slot: QuerySlot) -> frozenset[str]:
    """Target keys of the concepts whose effect everywhere was called, taught or at equal length."""
    rows = slot.run(
        "SELECT c.concept_id FROM hypotheses h JOIN concepts c ON c.concept = h.concept"
        " WHERE h.context = 0 AND (h.taught_call OR h.equal_call)"
    )
    return frozenset(f"concept:{r[0]}" for r in rows)
