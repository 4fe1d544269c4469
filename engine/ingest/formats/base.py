"""The one shape that every format has, and the columns that mean the same in every family."""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.ingest.drafts import Answer, Draft, Kind, Note, Notes, Reason, Row
from engine.ingest.formats.shape import Shape
from engine.ingest.formats.turns import with_system
from engine.ingest.formats.values import number, stated, weight_of, word
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
    takes_system: bool = True
    """A column called system is the first turn of the prompt, also where the format does not read it."""
    mapped: frozenset[str] = frozenset()
    """Roles that the user gave a column: what those say goes before what the format finds."""


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


_SLOTS = ("score_a", "score_b", "model_a", "model_b")
_OF_PAIRS = frozenset({*_NUMBERS, "model_chosen", "model_rejected"})
"""What a single answer has not got."""


@functools.lru_cache(maxsize=64)
def _plan(
    columns: tuple[str, ...], used: frozenset[str], is_per_answer: bool
) -> tuple[tuple[str, str, bool], ...]:
    """Which of these columns fill which field of a draft: (field, column, is a number)."""
    found = []
    for names, is_number in ((_NUMBERS, True), (_WORDS, False)):
        for field, aliases in names.items():
            column = next((a for a in aliases if a in columns and a not in used), None)
            if column is not None and not (is_per_answer and field in _OF_PAIRS):
                found.append((field, column, is_number))
    return tuple(found)


def shared_uses(columns: tuple[str, ...], form: Format, *, has_slots: bool) -> dict[str, str]:
    """Columns that mean the same in every format, beside those that this one reads: column → field."""
    own = {WEIGHT: "weight", "tools": "tools"}
    if form.takes_system:
        own["system"] = "system"
    if not form.is_per_answer:
        own["strength"] = "strength"
    if has_slots:
        own |= {name: name for name in _SLOTS}
    found = {column: field for column, field in own.items() if column in columns and column not in form.used}
    return found | {column: field for field, column, _ in _plan(columns, form.used, form.is_per_answer)}


def finish(draft: Draft | Answer, row: Row, form: Format, notes: Notes) -> None:
    """Fill what the format left open from shared columns; every other column goes to ``meta``."""
    taken = set(form.used)
    for field, column, is_number in _plan(tuple(row), form.used, form.is_per_answer):
        if getattr(draft, field) is None or field in form.mapped:
            value = number(row[column]) if is_number else word(row[column])
            if value is not None:
                setattr(draft, field, value)
                taken.add(column)
    weight = stated(row.get(WEIGHT))
    if weight is not None and (draft.weight is None or "weight" in form.mapped):
        draft.weight = weight_of(weight)
        taken.add(WEIGHT)
    if (draft.tools is None or "tools" in form.mapped) and stated(row.get("tools")):
        draft.tools = as_json(row["tools"])
        taken.add("tools")
    if form.takes_system and "system" in row:
        draft.prompt = with_system(row, draft.prompt)
        is_there = draft.prompt[:1] == (("system", row["system"]),)
        taken = taken | {"system"} if is_there else taken - {"system"}
    if isinstance(draft, Draft):
        _finish_pair(draft, row, form, taken)
    for column, value in row.items():
        if column not in taken and value is not None and not (column in _SHARED and stated(value) is None):
            draft.meta[column] = value
            if column in form.mapped:
                notes.append(unread_value(column, value))
    if isinstance(draft, Draft):
        _compare_scores(draft, notes)


_SHARED = frozenset(
    {alias for names in (_NUMBERS, _WORDS) for aliases in names.values() for alias in aliases}
    | {*_SLOTS, WEIGHT, "tools", "system", "strength"}
)
"""An empty cell of these says nothing, and is not kept either."""


def _finish_pair(draft: Draft, row: Row, form: Format, taken: set[str]) -> None:
    """What only pairs have: strength, and the scores and models of two slots."""
    strength = number(row.get("strength"))
    if strength is not None and (draft.strength is None or "strength" in form.mapped):
        draft.strength = as_strength(strength, draft)
        taken.add("strength")
    if draft.chosen_was is not None:
        _finish_slots(draft, row, form, taken)


def _finish_slots(draft: Draft, row: Row, form: Format, taken: set[str]) -> None:
    for column in _SLOTS:
        if column not in row or column in taken:
            continue
        what, _, slot = column.partition("_")
        field = f"{what}_chosen" if slot == draft.chosen_was else f"{what}_rejected"
        value = number(row[column]) if what == "score" else word(row[column])
        if value is not None and (getattr(draft, field) is None or column in form.mapped):
            setattr(draft, field, value)
            taken.add(column)


def _compare_scores(draft: Draft, notes: Notes) -> None:
    chosen, rejected = draft.score_chosen, draft.score_rejected
    if draft.label is Label.CHOSEN and chosen is not None and rejected is not None and rejected > chosen:
        notes.append(Note(Kind.NOTED, Reason.SCORES_DISAGREE, f"{chosen:g} < {rejected:g}"))
    elif draft.label is Label.CHOSEN and draft.strength is not None and draft.strength < 0:
        notes.append(Note(Kind.NOTED, Reason.SCORES_DISAGREE, f"strength {draft.strength:g}"))


def as_strength(value: float, draft: Draft) -> float:
    """How much better chosen is.

    Of two slots the sign says which won, which the label says already; where the file names chosen and
    rejected, a negative one contradicts it and must not look like a preference.
    """
    return value if draft.chosen_was is None else abs(value)


def unread_value(role: str, value: Any) -> Note:
    """A value that the user gave a role which cannot take it."""
    return Note(Kind.NOTED, Reason.UNREAD_VALUE, f"{role}: {value!r}"[:80])


def as_json(value: Any) -> str:
    """A value as JSON text; text is taken to be JSON already."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
