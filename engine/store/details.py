"""What a concept and a context look like: one function per question, SQL in, view models out.

Nothing is estimated here that the statistics room has estimated: intervals per source are the one exception,
and say how they were made.
"""

import json
from collections.abc import Sequence
from typing import Any

from engine.errors import StoreError
from engine.records import EVERYWHERE
from engine.store.connection import Store
from engine.store.mirror import SHOWN_NAME
from engine.store.pages import QuerySlot
from engine.store.scrutiny import concept_scrutiny
from engine.store.snippets import N_BRIEF, N_TOP, labelled_scores, top_pairs
from engine.views.details import (
    ConceptDetail,
    ContextConcept,
    ContextDetail,
    DoseBin,
    Evidence,
    Neighbour,
)
from engine.views.scrutiny import LabelEvidence
from engine.views.tables import FacetCount, Interval, ProjectSummary

_ESTIMATES = """h.n_pairs, h.n_carry, h.n_discordant,
    h.n_discordant_groups, h.prevalence, h.win_low, h.win_rate, h.win_high, h.taught_q, h.taught_call,
    h.equal_low, h.equal_win_rate, h.equal_high, h.equal_q, h.equal_call, h.badge, h.skip_reason, h.is_stable,
    h.half_a, h.half_b, h.min_effect"""
_EVIDENCE = f"""h.hypothesis_id, x.context, x.context_id, x.name, {_ESTIMATES},
    h.differs_z, h.differs_q, h.differs_call"""
_NAME = SHOWN_NAME
_NAMES = "LEFT JOIN memory.main.names n ON n.concept_id = c.concept_id"
N_DOSE_BINS = 16
N_LATENTS_SHOWN = 64


def _evidence(row: tuple[Any, ...]) -> Evidence:
    fields: tuple[Any, ...] = (
        *row[:9], Interval(*row[9:12]), *row[12:14], Interval(*row[14:17]), *row[17:28],
    )  # fmt: skip
    return Evidence(*fields)


def estimates_of(slot: QuerySlot, source: str, where: str, parameters: Sequence[Any]) -> Evidence | None:
    """Estimates of one row ``h`` that is no hypothesis, such as a latent's; everywhere."""
    rows = slot.run(f"SELECT {_ESTIMATES} FROM {source} WHERE {where}", list(parameters))
    return _evidence(("", 0, "", EVERYWHERE, *rows[0], None, None, None)) if rows else None


def summary(slot: QuerySlot, store: Store, root: str) -> ProjectSummary:
    """Counts of the open index."""
    facts = {key: json.loads(value) for key, value in slot.run("SELECT key, value FROM meta")}
    counts = slot.run(
        "SELECT (SELECT count(*) FROM pairs), (SELECT count(*) FROM pairs WHERE label = 'chosen'),"
        " (SELECT count(*) FROM concepts), (SELECT count(*) FROM contexts WHERE context > 0),"
        " (SELECT count(*) FROM hypotheses),"
        " (SELECT count(*) FROM hypotheses WHERE context = 0 AND (taught_call OR equal_call))"
    )[0]
    sources = slot.run("SELECT source, count(*) n FROM pairs GROUP BY 1 ORDER BY n DESC, 1")
    reader, stats = facts.get("reader") or {}, facts.get("stats") or {}
    model = str(reader.get("model", "")).rstrip("/").rpartition("/")[2]
    return ProjectSummary(
        root,
        str(facts.get("reader_hash") or reader.get("reader_hash", "")),
        store.path.stem.removeprefix("index-"),
        float(facts.get("share_read", 1.0)),
        n_pairs=int(counts[0]),
        n_signed=int(counts[1]),
        n_concepts=int(counts[2]),
        n_contexts=int(counts[3]),
        n_hypotheses=int(counts[4]),
        n_called=int(counts[5]),
        sources=tuple(FacetCount(s, int(n)) for s, n in sources),
        reader=f"{model}, layer {reader.get('layer')}, {reader.get('sae')}" if model else "",
        warning=stats.get("warning") or None,
        length_explains=stats.get("length_explains"),
        models_explain=stats.get("models_explain"),
    )


def concept_detail(
    slot: QuerySlot, concept_id: str, context_id: str | None = None, *, is_brief: bool = False
) -> ConceptDetail:
    """Everything about one concept; brief: without sources and neighbours.

    Args:
        slot: a connection.
        concept_id: the concept.
        context_id: dose and top pairs of this context's pairs, and its own evidence; None: everywhere.
        is_brief: beside a list.

    Raises:
        StoreError: the index has no such concept or context.
    """
    found = slot.run(
        f"SELECT c.concept, {_NAME}, c.name, c.kind, c.name_source, c.tokens, c.n_latents,"
        f" c.n_chosen, c.n_rejected, c.n_prompt, c.redundancy_id, c.label_evidence, c.definition, c.pattern"
        f" FROM concepts c {_NAMES} WHERE c.concept_id = ?",
        [concept_id],
    )
    if not found:
        raise StoreError(f"this index has no concept {concept_id}", hint="it may belong to an older index")
    (number, name, working_label, kind, name_source, tokens, n_latents, n_chosen, n_rejected, n_prompt,
     redundancy, label, definition, pattern) = found[0]  # fmt: skip
    latents = slot.run(
        "SELECT latent FROM concept_members WHERE concept = ? ORDER BY centrality DESC NULLS LAST, latent",
        [number],
    )
    telling = json.loads(tokens) if tokens else []
    evidence = evidence_of(slot, number)
    # everywhere is a context too, but nothing is inside it that is not everywhere
    context = None if context_id is None else _context_number(slot, context_id) or None
    members = [int(r[0]) for r in latents]
    return ConceptDetail(
        concept=number,
        concept_id=concept_id,
        name=name or "",
        working_label=working_label or "",
        kind=kind,
        name_source=name_source or "",
        tokens=tuple(str(t) for t in telling),
        latents=tuple(int(r[0]) for r in latents[:N_LATENTS_SHOWN]),
        n_latents=int(n_latents or 0),
        n_chosen=int(n_chosen or 0),
        n_rejected=int(n_rejected or 0),
        n_prompt=int(n_prompt or 0),
        everywhere=next((e for e in evidence if e.context == 0), None),
        dose=_dose(slot, number, context),
        differs=tuple(e for e in evidence if e.context > 0),
        n_contexts=count_rows(slot, "hypotheses WHERE context > 0 AND concept = ?", number),
        neighbours=() if is_brief else _neighbours(slot, number, redundancy),
        top_pairs=top_pairs(
            slot, number, members, N_BRIEF if is_brief else N_TOP, context=context, pattern=pattern or ""
        ),
        scrutiny=None if is_brief else concept_scrutiny(slot, number),
        label=_label_evidence(label),
        definition=definition or "",
        inside=None if context is None else _inside(slot, number, context),
    )


def count_rows(slot: QuerySlot, what: str, number: int) -> int:
    """Rows of a table that a condition with one ``?`` selects."""
    return int(slot.run(f"SELECT count(*) FROM {what}", [number])[0][0])


def _context_number(slot: QuerySlot, context_id: str) -> int:
    found = slot.run("SELECT context FROM contexts WHERE context_id = ?", [context_id])
    if not found:
        raise StoreError(f"this index has no context {context_id}", hint="it may belong to an older index")
    return int(found[0][0])


def _inside(slot: QuerySlot, concept: int, context: int) -> Evidence | None:
    rows = slot.run(
        f"SELECT {_EVIDENCE} FROM hypotheses h JOIN contexts x ON x.context = h.context"
        " WHERE h.concept = ? AND h.context = ?",
        [concept, context],
    )
    return _evidence(rows[0]) if rows else None


def _label_evidence(held: str | None) -> LabelEvidence | None:
    if not held:
        return None
    found = json.loads(held)
    return LabelEvidence(
        tuple(str(t) for t in found["fires"]), tuple(str(t) for t in found["silent"]),
        found["inside"], found["outside"],
    )  # fmt: skip


def evidence_of(slot: QuerySlot, concept: int) -> tuple[Evidence, ...]:
    """Hypotheses of a concept: everywhere, then at most 200 contexts, those that differ most first."""
    rows = slot.run(
        f"SELECT {_EVIDENCE} FROM hypotheses h JOIN contexts x ON x.context = h.context"
        " WHERE h.concept = ? ORDER BY h.context > 0, coalesce(h.differs_call, FALSE) DESC,"
        " abs(h.differs_z) DESC NULLS LAST, h.n_discordant DESC NULLS LAST LIMIT 201",
        [concept],
    )
    return tuple(_evidence(row) for row in rows)


def _dose(slot: QuerySlot, concept: int, context: int | None) -> tuple[DoseBin, ...]:
    """Equal-width bins over the scores that are > 0 (columns: all scores) of labelled pairs' responses."""
    scores = labelled_scores(slot, context)
    sides = ("chosen", "rejected")
    bounds = ", ".join(f"{end}(s.{side}) FILTER (s.{side} <> 0)" for end in ("min", "max") for side in sides)
    ends = slot.run(f"SELECT {bounds} FROM {scores} WHERE s.concept = ?", [concept])[0]
    if all(end is None for end in ends):
        return ()
    low = min(float(end) for end in ends[:2] if end is not None)
    high = max(float(end) for end in ends[2:] if end is not None)
    width = (high - low) / N_DOSE_BINS
    counts: dict[int, list[int]] = {}
    for at, side in enumerate(sides):
        place = f"least(CAST(floor((s.{side} - $low) / $width) AS INTEGER), {N_DOSE_BINS - 1})"
        binned = slot.run(
            f"SELECT {place if width else 0} AS bin, count(*) FROM {scores}"
            f" WHERE s.concept = $concept AND s.{side} <> 0 GROUP BY 1",
            {"concept": concept} | ({"low": low, "width": width} if width else {}),
        )
        for number, n in binned:
            counts.setdefault(int(number), [0, 0])[at] = int(n)
    n_bins = N_DOSE_BINS if width else 1
    return tuple(
        DoseBin(low + i * width, low + (i + 1) * width, *counts.get(i, (0, 0))) for i in range(n_bins)
    )


def _neighbours(slot: QuerySlot, concept: int, redundancy: int | None) -> tuple[Neighbour, ...]:
    """Cosine of disparity vectors: Σ u·v / √(Σ u² · Σ v²) over all pairs."""
    rows = slot.run(
        "WITH a AS (SELECT pair, u FROM concept_scores WHERE concept = $c AND u <> 0),"
        " j AS (SELECT s.concept, count(*) AS n, sum(s.u * a.u) AS dot FROM pair_scores s"
        "   JOIN a ON a.pair = s.pair WHERE s.concept <> $c AND s.u <> 0 GROUP BY 1),"
        " k AS (SELECT j.concept, j.n, j.dot / sqrt(c.u_square * o.u_square) AS cosine,"
        "   coalesce(c.redundancy_id = $r, FALSE) AS is_same FROM j JOIN concepts c ON c.concept = j.concept"
        "   JOIN (SELECT u_square FROM concepts WHERE concept = $c) o ON TRUE"
        "   ORDER BY is_same DESC, abs(cosine) DESC, j.concept LIMIT 12)"
        f" SELECT c.concept_id, {_NAME}, k.n, k.cosine, k.is_same FROM k"
        f" JOIN concepts c ON c.concept = k.concept {_NAMES}"
        " ORDER BY k.is_same DESC, abs(k.cosine) DESC, k.concept",
        {"c": concept, "r": redundancy},
    )
    return tuple(Neighbour(i, name or "", int(n), float(cos), bool(same)) for i, name, n, cos, same in rows)


def context_detail(slot: QuerySlot, context_id: str) -> ContextDetail:
    """Everything about one context. Raises ``StoreError`` when the index has no such context."""
    found = slot.run(
        "SELECT context, name, kind, definition, n_pairs, n_groups FROM contexts WHERE context_id = ?",
        [context_id],
    )
    if not found:
        raise StoreError(f"this index has no context {context_id}", hint="it may belong to an older index")
    number, name, kind, definition, n_pairs, n_groups = found[0]
    members = (
        "pairs p"
        if number == 0
        else f"context_pairs m JOIN pairs p ON p.pair = m.pair AND m.context = {number:d}"
    )
    rows = slot.run(
        f"SELECT c.concept_id, {_NAME}, e.win_low, e.win_rate, e.win_high, {_EVIDENCE}"
        f" FROM hypotheses h JOIN contexts x ON x.context = h.context JOIN concepts c ON c.concept ="
        f" h.concept"
        f" {_NAMES} LEFT JOIN hypotheses e ON e.concept = h.concept AND e.context = 0"
        " WHERE h.context = ? ORDER BY coalesce(h.differs_call, FALSE) DESC, abs(h.differs_z) DESC"
        " NULLS LAST,"
        " abs(h.taught_z) DESC NULLS LAST LIMIT 300",
        [number],
    )
    sources = slot.run(
        f"SELECT p.source, count(*) n, count(*) OVER () FROM {members} GROUP BY 1 ORDER BY n DESC, 1 LIMIT 20"
    )
    return ContextDetail(
        number, context_id, name or "", kind, definition or "", int(n_pairs or 0), int(n_groups or 0),
        tuple(FacetCount(s, int(n)) for s, n, _ in sources),
        tuple(ContextConcept(r[0], r[1] or "", _evidence(r[5:]), Interval(*r[2:5])) for r in rows),
        tuple((int(p), text or "") for p, text in slot.run(
            f"SELECT p.pair, left(p.prompt_text, 400) FROM {members} ORDER BY p.pair LIMIT 40")),
        n_concepts=count_rows(slot, "hypotheses WHERE context = ?", number),
        n_sources=int(sources[0][2]) if sources else 0,
    )  # fmt: skip
