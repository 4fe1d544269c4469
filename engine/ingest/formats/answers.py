"""Files with one rated answer per row: joined into pairs by prompt once the source has been read."""

from engine.ingest.drafts import Answer, Dropped, Notes, Reason, Row
from engine.ingest.formats.base import Format
from engine.ingest.formats.shape import Shape, ValueKind
from engine.ingest.formats.turns import prompt_turns, side_turns, with_system, without_prompt
from engine.ingest.formats.values import number, yes_or_no

_K = ValueKind


def _convert_kto(row: Row, notes: Notes) -> list[Answer]:
    prompt = with_system(row, prompt_turns(row.get("prompt"), notes, "prompt"))
    answer = without_prompt(prompt, side_turns(row.get("completion"), notes, "completion"), notes)
    said = yes_or_no(row, "label", "true or false")
    if said is None:
        raise Dropped(Reason.MISSING_COLUMN, "label is null or absent")
    return [Answer(prompt, answer, said, is_binary=True)]


KTO_COLUMNS = frozenset({"prompt", "completion", "label"})


def _detect_kto(shape: Shape) -> bool:
    return shape.has(*KTO_COLUMNS) and shape.holds("label", _K.FLAG, _K.NUMBER, _K.TEXT)


KTO = Format(
    "kto",
    "KTO, unpaired",
    "prompt, completion, label: true or false",
    _detect_kto,
    _convert_kto,
    KTO_COLUMNS | {"system"},
    rank=2,
    is_per_answer=True,
)
_RATINGS = frozenset({"helpfulness", "correctness", "coherence", "complexity", "verbosity"})


def _convert_helpsteer(row: Row, notes: Notes) -> list[Answer]:
    prompt = prompt_turns(row.get("prompt"), notes, "prompt")
    answer = side_turns(row.get("response"), notes, "response")
    score = number(row.get("helpfulness"))
    if score is None:
        raise Dropped(Reason.MISSING_COLUMN, "helpfulness is null or no number")
    return [Answer(prompt, answer, score, is_binary=False)]


HELPSTEER_RATINGS = Format(
    "helpsteer-ratings",
    "HelpSteer ratings",
    "prompt, response, helpfulness, correctness, coherence, complexity, verbosity: one row per answer",
    lambda shape: shape.has("prompt", "response", *_RATINGS),
    _convert_helpsteer,
    frozenset({"prompt", "response"}),
    rank=2,
    is_per_answer=True,
    from_description=True,
)
