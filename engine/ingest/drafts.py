"""What a format hands over: pairs before they have ids, groups and folds, and why a row gave none.

A turn is a plain ``(role, content)`` tuple here: a million rows pass through these lines, and a tuple costs
a fifth of a record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from engine.records import Label

Turn = tuple[str, str]
"""(role, content); role is system, user, assistant or tool."""
Turns = tuple[Turn, ...]
Row = Mapping[str, Any]
"""One row of a file: column name to JSON-like value."""


class Kind(StrEnum):
    """What an entry of the report says about a row."""

    DROPPED = "dropped"
    """The row (or one of the pairs it holds) is not among the pairs."""
    REPAIRED = "repaired"
    """Its text was changed so that it can be stored."""
    NOTED = "noted"
    """It is among the pairs, unchanged, and a person should know this about it."""


class Reason(StrEnum):
    """Why a row is in the report."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    LINE_TOO_LONG = "line_too_long"
    REPEATED_KEY = "repeated_key"
    NESTED_TOO_DEEPLY = "nested_too_deeply"
    TOO_MANY_COLUMNS = "too_many_columns"
    WRONG_WIDTH = "wrong_width"
    MISSING_COLUMN = "missing_column"
    WRONG_TYPE = "wrong_type"
    NO_MARKER = "no_marker"
    NO_ANSWER = "no_answer"
    EMPTY_SIDE = "empty_side"
    IDENTICAL_SIDES = "identical_sides"
    DIFFER_UNREAD = "differ_unread"
    UNKNOWN_ROLE = "unknown_role"
    UNKNOWN_LABEL = "unknown_label"
    TEXT_TOO_LONG = "text_too_long"
    UNPAIRED = "unpaired"
    BAD_WEIGHT = "bad_weight"

    BROKEN_UTF8 = "broken_utf8"
    NUL = "nul"
    LONE_SURROGATE = "lone_surrogate"
    NO_NUMBER = "no_number"
    NON_TEXT_PART = "non_text_part"

    TIE = "tie"
    BOTH_BAD = "both_bad"
    NO_LABEL = "no_label"
    DIFFER_EARLIER = "differ_earlier"
    PROMPT_GUESSED = "prompt_guessed"
    NO_PROMPT = "no_prompt"
    TOOL_CALLS_AS_TEXT = "tool_calls_as_text"
    UNREAD_FIELDS = "unread_fields"
    UNREAD_VALUE = "unread_value"
    SPACING = "spacing"
    SCORES_DISAGREE = "scores_disagree"
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    EVALUATION_OVERLAP = "evaluation_overlap"
    EVALUATION_WORDS = "evaluation_words"
    FOLD_MOVED = "fold_moved"


REASONS: Mapping[Reason, str] = {
    Reason.NOT_JSON: "the line is no valid JSON",
    Reason.NOT_AN_OBJECT: "the line is JSON but no object with columns",
    Reason.LINE_TOO_LONG: "the line is longer than four times max_text_bytes",
    Reason.REPEATED_KEY: "an object of the row has a key twice: which value holds cannot be known",
    Reason.NESTED_TOO_DEEPLY: "values are nested hundreds of levels deep",
    Reason.TOO_MANY_COLUMNS: "the row has more columns than any dataset needs",
    Reason.WRONG_WIDTH: "the csv row has more or fewer cells than the header",
    Reason.MISSING_COLUMN: "a column that the format needs is absent or null",
    Reason.WRONG_TYPE: "a value has another type than the format needs",
    Reason.NO_MARKER: "the transcript has no turn marker to split at",
    Reason.NO_ANSWER: "a side does not end with an assistant turn",
    Reason.EMPTY_SIDE: "a side's last answer is empty",
    Reason.IDENTICAL_SIDES: "both sides are the same text",
    Reason.DIFFER_UNREAD: "the sides differ only in message fields that are not read",
    Reason.UNKNOWN_ROLE: "a message has a role that is not known",
    Reason.UNKNOWN_LABEL: "the label has a value that is not known",
    Reason.TEXT_TOO_LONG: "a text is longer than max_text_bytes",
    Reason.UNPAIRED: "no second answer to the same prompt to pair with",
    Reason.BAD_WEIGHT: "the weight of the pair is no positive number",
    Reason.BROKEN_UTF8: "bytes that are no UTF-8 became U+FFFD; is it another encoding? iconv converts files",
    Reason.NUL: "NUL characters became U+FFFD",
    Reason.LONE_SURROGATE: "lone surrogates became U+FFFD",
    Reason.NO_NUMBER: "NaN or Infinity became null",
    Reason.NON_TEXT_PART: "images and parts of unknown kinds were left out of a message",
    Reason.TIE: "both sides are equally good: kept, left out of signed statistics",
    Reason.BOTH_BAD: "both sides are bad: kept, left out of signed statistics",
    Reason.NO_LABEL: "no label: kept, left out of signed statistics",
    Reason.DIFFER_EARLIER: "the sides differ before their last answer: the prompt ends where they part",
    Reason.PROMPT_GUESSED: "the file has no prompt and no markers: split where the sides part, at a word",
    Reason.NO_PROMPT: "the prompt is empty: nothing stands in it, or the sides share no beginning",
    Reason.TOOL_CALLS_AS_TEXT: "tool calls became JSON text of the message",
    Reason.UNREAD_VALUE: "a value that the role of its column cannot take stays in meta",
    Reason.UNREAD_FIELDS: "fields of a message that hold text and are not read were left out",
    Reason.SPACING: "a turn that the row repeats has other white space at its ends: taken as one turn",
    Reason.SCORES_DISAGREE: "the rejected side has the higher score, or the strength is negative",
    Reason.EXACT_DUPLICATE: "same prompt, sides and label as an earlier pair of this source",
    Reason.NEAR_DUPLICATE: "nearly the same words as another pair",
    Reason.EVALUATION_OVERLAP: "the prompt, or much of it, occurs in an evaluation set: refused for training",
    Reason.EVALUATION_WORDS: "the prompt shares words in a row with an evaluation set, too few to refuse it",
    Reason.FOLD_MOVED: "a later source joined prompt groups and moved this pair to another fold",
}
"""One sentence per reason, for people."""


class Note(NamedTuple):
    """One entry about a row, before it knows its source and file."""

    kind: Kind
    reason: Reason
    detail: str


Notes = list[Note]


class Origin(NamedTuple):
    """Where a draft comes from."""

    source: str
    """The name its pairs get where neither the user nor the row names a source."""
    file: str
    row: int
    """0-based"""


class Dropped(Exception):
    """This row holds no usable pair: control flow inside ingest, never shown as an error."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(slots=True, kw_only=True)
class Told:
    """What a row says beside its texts, whatever its format."""

    annotator: str | None = None
    language: str | None = None
    conversation_id: str | None = None
    tools: str | None = None
    weight: float | None = None
    """The row's own weight, > 0; None: it names none."""
    source: str | None = None
    """The row's own source, used when the user names none."""
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Draft(Told):
    """One pair as its row tells it. ``chosen`` and ``rejected`` are the turns after the prompt."""

    prompt: Turns
    chosen: Turns
    rejected: Turns
    label: Label = Label.CHOSEN
    chosen_was: str | None = None
    """'a' or 'b' where the file has slots; None where the order of the file says nothing."""
    strength: float | None = None
    score_chosen: float | None = None
    score_rejected: float | None = None
    model_chosen: str | None = None
    model_rejected: str | None = None


@dataclass(slots=True)
class Answer(Told):
    """One rated answer, to be paired with another answer to the same prompt (KTO, rating files)."""

    prompt: Turns
    answer: Turns
    score: float
    """Higher is better; True and False labels are 1 and 0."""
    is_binary: bool
    """The score is a yes or no: then good answers are paired with bad ones only."""


def oriented(prompt: Turns, a: Turns, b: Turns, preference: float | None, *, both_bad: bool = False) -> Draft:
    """A draft from two slots. ``preference`` > 0: a is better, < 0: b, 0: tie, None: no label.

    Ties, both-bad and unlabelled pairs stay in file order, so that ``chosen`` is slot a.
    """
    if both_bad:
        return Draft(prompt, a, b, Label.BOTH_BAD, "a")
    if preference is None:
        return Draft(prompt, a, b, Label.NONE, "a")
    if preference == 0:
        return Draft(prompt, a, b, Label.TIE, "a")
    return (
        Draft(prompt, a, b, Label.CHOSEN, "a") if preference > 0 else Draft(prompt, b, a, Label.CHOSEN, "b")
    )
