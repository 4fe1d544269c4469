"""The one shape that every format has, and the columns that mean the same in every family."""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.ingest.drafts import Answer, Draft, Dropped, Kind, Note, Notes, Reason, Row
from engine.ingest.formats.shape import Shape
from engine.ingest.formats.turns import number, word
from engine.records import Label

WEIGHT = "base_weight"
"""The column that weighs pairs whatever the format: ``--map weight=COLUMN`` gives it this name."""


@dataclass(frozen=True, slots=True)
class Format:
    """How one family of files becomes drafts."""

    name: str
    """What --format takes."""
    title: str
    """For people."""
    shape: str
    """Columns in one line, for messages and documentation."""
    detect: Callable[[Shape], bool]
    """Does a sample look like this format?"""
    convert: Callable[[Row, Notes], Sequence[Draft | Answer]]
    """One row → its pairs (or rated answers). Raises ``Dropped``; appends to the notes."""
    used: frozenset[str] = frozenset()
    """Columns that are consumed or would only repeat the texts; all others go to ``meta``."""
    rank: int = 1
    """Where several formats match, the highest rank wins; two of the same rank are ambiguous."""
    is_evaluation: bool = False
    """A known evaluation set: its pairs are refused for training."""
    is_per_answer: bool = False
    """Rows hold single answers: they can only be paired by whoever reads the whole source."""
    from_description: bool = False
    """Rebuilt from descriptions; never run on a real file of that dataset."""


_NUMBERS: dict[str, tuple[str, ...]] = {
    "score_chosen": ("score_chosen", "chosen_score", "chosen_rating", "chosen-rating"),
    "score_rejected": ("score_rejected", "rejected_score", "rejected_rating", "rejected-rating"),
}
_WORDS: dict[str, tuple[str, ...]] = {
    "model_chosen": ("model_chosen", "chosen_model", "chosen-model", "chonsen_model"),
    "model_rejected": ("model_rejected", "rejected_model", "rejected-model"),
    "annotator": ("annotator", "annotator_id", "judge", "judge_hash"),
    "language": ("language", "lang"),
    "conversation_id": ("conversation_id", "prompt_id", "question_id"),
    "source": ("source",),
}


@functools.lru_cache(maxsize=64)
def _plan(columns: tuple[str, ...], used: frozenset[str]) -> tuple[tuple[str, str, bool], ...]:
    """Which of these columns fill which field of a draft: (field, column, is a number)."""
    found = []
    for names, is_number in ((_NUMBERS, True), (_WORDS, False)):
        for field, aliases in names.items():
            column = next((a for a in aliases if a in columns and a not in used), None)
            if column is not None:
                found.append((field, column, is_number))
    return tuple(found)


def shared_uses(columns: tuple[str, ...], used: frozenset[str]) -> dict[str, str]:
    """Columns that mean the same in every format, beside those that this one reads: column → field."""
    own = {"strength": "strength", WEIGHT: "weight", "tools": "tools"}
    found = {column: field for column, field in own.items() if column in columns and column not in used}
    return found | {column: field for field, column, _ in _plan(columns, used)}


def finish(draft: Draft, row: Row, used: frozenset[str], notes: Notes) -> Draft:
    """Fill what the format left open from shared columns; every other column goes to ``meta``."""
    taken = set(used)
    for field, column, is_number in _plan(tuple(row), used):
        if getattr(draft, field) is None:
            value = number(row[column]) if is_number else word(row[column])
            if value is not None:
                setattr(draft, field, value)
                taken.add(column)
    if draft.strength is None and (strength := number(row.get("strength"))) is not None:
        draft.strength = abs(strength)
        taken.add("strength")
    if draft.weight is None and row.get(WEIGHT) is not None:
        draft.weight = weight_of(row[WEIGHT])
        taken.add(WEIGHT)
    if draft.tools is None and row.get("tools"):
        draft.tools = as_json(row["tools"])
        taken.add("tools")
    for column, value in row.items():
        if value is not None and column not in taken:
            draft.meta[column] = value
    if draft.score_chosen is not None and draft.score_rejected is not None:
        _compare_scores(draft, notes)
    return draft


def weight_of(value: Any) -> float:
    """A row's weight, to be checked for its sign. Raises ``Dropped`` where it is no number."""
    said = number(value)
    if said is None:
        raise Dropped(Reason.BAD_WEIGHT, repr(value)[:40])
    return said


def _compare_scores(draft: Draft, notes: Notes) -> None:
    chosen, rejected = draft.score_chosen, draft.score_rejected
    if draft.label is Label.CHOSEN and chosen is not None and rejected is not None and rejected > chosen:
        notes.append(Note(Kind.NOTED, Reason.SCORES_DISAGREE, f"{chosen:g} < {rejected:g}"))


def as_json(value: Any) -> str:
    """A value as JSON text; text is taken to be JSON already."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
