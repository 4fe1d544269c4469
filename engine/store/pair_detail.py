"""What one pair looks like: its texts and facts, its concepts and contexts, where a concept shows in it."""

import json
from typing import Any

from engine.errors import StoreError
from engine.store.details import count_rows
from engine.store.mirror import SHOWN_NAME
from engine.store.pages import QuerySlot
from engine.store.snippets import places_of
from engine.views.details import PairConcept, PairDetail, Peak

_NAME = SHOWN_NAME
_NAMES = "LEFT JOIN memory.main.names n ON n.concept_id = c.concept_id"
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
        n_concepts=count_rows(slot, "pair_scores WHERE pair = ?", pair),
        n_contexts=count_rows(slot, "context_pairs WHERE pair = ?", pair),
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
