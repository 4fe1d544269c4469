"""The one shape that every format has, and the columns that mean the same in every family."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.ingest.drafts import Answer, Draft, Kind, Note, Notes, Reason, Row
from engine.ingest.formats.shape import Shape
from engine.ingest.formats.turns import number, word
from engine.records import Label


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


def finish(draft: Draft, row: Row, used: frozenset[str], notes: Notes) -> Draft:
    """Fill what the format left open from shared columns; every other column goes to ``meta``."""
    taken: list[str] = []
    for name, columns in _NUMBERS.items():
        for column in columns:
            if column in row and getattr(draft, name) is None:
                setattr(draft, name, number(row[column]))
                if getattr(draft, name) is not None:
                    taken.append(column)
                break
    for name, columns in _WORDS.items():
        for column in columns:
            if column in row and getattr(draft, name) is None:
                setattr(draft, name, word(row[column]))
                if getattr(draft, name) is not None:
                    taken.append(column)
                break
    if draft.strength is None and (strength := number(row.get("strength"))) is not None:
        draft.strength = abs(strength)
        taken.append("strength")
    if draft.tools is None and row.get("tools"):
        draft.tools = as_json(row["tools"])
        taken.append("tools")
    draft.meta |= {k: v for k, v in row.items() if v is not None and k not in used and k not in taken}
    _compare_scores(draft, notes)
    return draft


def _compare_scores(draft: Draft, notes: Notes) -> None:
    chosen, rejected = draft.score_chosen, draft.score_rejected
    if draft.label is Label.CHOSEN and chosen is not None and rejected is not None and rejected > chosen:
        notes.append(Note(Kind.NOTED, Reason.SCORES_DISAGREE, f"{chosen:g} < {rejected:g}"))


def as_json(value: Any) -> str:
    """A value as JSON text; text is taken to be JSON already."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
