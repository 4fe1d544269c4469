"""What a concept, a context and a pair look like: one function per question, SQL in, view models out.

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
from engine.store.snippets import N_BRIEF, N_TOP, labelled_scores, places_of, top_pairs
from engine.views.details import (
    ConceptDetail,
    ContextConcept,
    ContextDetail,
    DoseBin,
    Evidence,
    Neighbour,
    PairConcept,
    PairDetail,
    Peak,
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
        f"SELECT c.concept, {_NAME}, c.kind, c.name_source, c.tokens, c.n_latents, c.n_chosen, c.n_rejected,"
        f" c.n_prompt, c.redundancy_id, c.label_evidence, c.definition, c.pattern"
        f" FROM concepts c {_NAMES} WHERE c.concept_id = ?",
        [concept_id],
    )
    if not found:
        raise StoreError(f"this index has no concept {concept_id}", hint="it may belong to an older index")
    (number, name, kind, name_source, tokens, n_latents, n_chosen, n_rejected, n_prompt, redundancy,
     label, definition, pattern) = found[0]  # fmt: skip
    latents = slot.run(
        "SELECT latent FROM concept_members WHERE concept = ? ORDER BY centrality DESC NULLS LAST, latent",
        [number],
    )
    telling = json.loads(tokens) if tokens else []
    evidence = evidence_of(slot, number)
    context = None if context_id is None else _context_number(slot, context_id)
    members = [int(r[0]) for r in latents]
    return ConceptDetail(
        concept=number,
        concept_id=concept_id,
        name=name or "",
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
        n_contexts=_count(slot, "hypotheses WHERE context > 0 AND concept = ?", number),
        neighbours=() if is_brief else _neighbours(slot, number, redundancy),
        top_pairs=top_pairs(
            slot, number, members, N_BRIEF if is_brief else N_TOP, context=context, pattern=pattern or ""
        ),
        scrutiny=None if is_brief else concept_scrutiny(slot, number),
        label=_label_evidence(label),
        definition=definition or "",
        inside=None if context is None else _inside(slot, number, context),
    )


def _count(slot: QuerySlot, what: str, number: int) -> int:
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
        n_concepts=_count(slot, "hypotheses WHERE context = ?", number),
        n_sources=int(sources[0][2]) if sources else 0,
    )  # fmt: skip


_FACTS = (
    "language",
    "model_chosen",
    "model_rejected",
    "score_chosen",
    "score_rejected",
    "strength",
    "annotator",
)


def pair_detail(slot: QuerySlot, pair: int, concept_id: str | None = None) -> PairDetail:
    """One pair, with the peaks of a concept when one is named. Raises ``StoreError`` for no such pair."""
    found = slot.run(
        "SELECT pair_id, source, source_file, source_row, label, fold, group_index, is_evaluation,"
        " prompt_text, chosen_text, rejected_text, prompt_tokens, chosen_tokens, rejected_tokens,"
        f" prompt_truncated, chosen_truncated, rejected_truncated, meta, chosen_was, {', '.join(_FACTS)},"
        " nullif(base_weight, 1) FROM pairs p"
        f" WHERE pair = ?",
        [pair],
    )
    if not found:
        raise StoreError(f"this index has no pair {pair}")
    row = found[0]
    in_group = slot.run("SELECT count(*) FROM pairs WHERE group_index = ?", [row[6]])[0][0]
    concepts = slot.run(
        f"SELECT c.concept_id, {_NAME}, s.chosen, s.rejected, s.u FROM pair_scores s"
        f" JOIN concepts c ON c.concept = s.concept {_NAMES} WHERE s.pair = ?"
        " ORDER BY c.concept_id IS NOT DISTINCT FROM ? DESC, abs(s.u) DESC, abs(s.chosen - s.rejected) DESC,"
        " c.concept LIMIT 60",
        [pair, concept_id],
    )
    contexts = slot.run(
        "SELECT x.context_id, x.name FROM context_pairs m JOIN contexts x ON x.context = m.context"
        " WHERE m.pair = ? ORDER BY x.context LIMIT 40",
        [pair],
    )
    pattern = _pattern(slot, concept_id) if concept_id else ""
    cut = [span for span, flag in zip(("prompt", "chosen", "rejected"), row[14:17], strict=True) if flag]
    return PairDetail(
        pair, str(row[0]), row[1] or "", row[2] or "", int(row[3] or 0), row[4], int(row[5]), int(in_group),
        bool(row[7]), row[8] or "", row[9] or "", row[10] or "", int(row[11] or 0),
        int(row[12] or 0), int(row[13] or 0),
        truncated=tuple(cut),
        facts=_facts(row),
        concepts=tuple(
            PairConcept(i, n or "", float(c or 0), float(r or 0), float(u or 0)) for i, n, c, r, u in concepts
        ),
        contexts=tuple((str(i), n or "") for i, n in contexts),
        n_concepts=_count(slot, "pair_scores WHERE pair = ?", pair),
        n_contexts=_count(slot, "context_pairs WHERE pair = ?", pair),
        peaks=_peaks(slot, pair, concept_id) if concept_id else (),
        concept_id=concept_id,
        concept_tokens=_telling(slot, concept_id) if concept_id else (),
        marks=(("chosen", places_of(row[9] or "", pattern)), ("rejected", places_of(row[10] or "", pattern))),
    )  # fmt: skip


def _pattern(slot: QuerySlot, concept_id: str) -> str:
    rows = slot.run("SELECT pattern FROM concepts WHERE concept_id = ?", [concept_id])
    return str(rows[0][0] or "") if rows else ""


def _telling(slot: QuerySlot, concept_id: str) -> tuple[str, ...]:
    rows = slot.run("SELECT tokens FROM concepts WHERE concept_id = ?", [concept_id])
    return tuple(str(t) for t in json.loads(rows[0][0])) if rows and rows[0][0] else ()


def _facts(row: tuple[Any, ...]) -> tuple[tuple[str, str], ...]:
    known = [("slot in file", row[18]), *zip((*_FACTS, "weight in the mix"), row[19:], strict=True)]
    try:
        meta = json.loads(row[17]) if row[17] else {}
    except ValueError:
        meta = {"meta": row[17]}
    extra = meta.items() if isinstance(meta, dict) else [("meta", meta)]
    return tuple((str(k), str(v)) for k, v in [*known, *extra] if v is not None)


def _peaks(slot: QuerySlot, pair: int, concept_id: str) -> tuple[Peak, ...]:
    rows = slot.run(
        "SELECT a.latent, a.chosen_max, a.chosen_n, a.chosen_peak, a.rejected_max, a.rejected_n,"
        " a.rejected_peak"
        " FROM acts a WHERE a.pair = ? AND a.latent IN (SELECT m.latent FROM concept_members m"
        " JOIN concepts c ON c.concept = m.concept WHERE c.concept_id = ?)",
        [pair, concept_id],
    )
    peaks = []
    for latent, *values in rows:
        for side, (top, n, token) in (("chosen", values[:3]), ("rejected", values[3:])):
            if n:
                peaks.append(Peak(side, int(latent), float(top), int(n), int(token)))
    return tuple(sorted(peaks, key=lambda p: -p.act_max))
