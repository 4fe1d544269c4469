"""Files with one rated answer per row: joined into pairs by prompt once the source has been read."""

from engine.ingest.drafts import Answer, Dropped, Notes, Reason, Row
from engine.ingest.formats.base import Format
from engine.ingest.formats.shape import Shape, ValueKind
from engine.ingest.formats.turns import number, prompt_turns, side_turns, without_prompt

_K = ValueKind


def _convert_kto(row: Row, notes: Notes) -> list[Answer]:
    prompt = prompt_turns(row.get("prompt"), notes, "prompt")
    answer = without_prompt(prompt, side_turns(row.get("completion"), notes, "completion"))
    said = str(row.get("label")).strip().lower()
    if said not in ("true", "false", "1", "0", "1.0", "0.0"):
        raise Dropped(Reason.UNKNOWN_LABEL, f"label {said[:40]!r} is not true or false")
    meta = {k: v for k, v in row.items() if k not in KTO_COLUMNS and v is not None}
    return [Answer(prompt, answer, float(said in ("true", "1", "1.0")), is_binary=True, meta=meta)]


KTO_COLUMNS = frozenset({"prompt", "completion", "label"})


def _detect_kto(shape: Shape) -> bool:
    return shape.has(*KTO_COLUMNS) and shape.holds("label", _K.FLAG, _K.NUMBER, _K.TEXT)


KTO = Format(
    "kto",
    "KTO, unpaired",
    "prompt, completion, label: true or false",
    _detect_kto,
    _convert_kto,
    KTO_COLUMNS,
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
    meta = {k: v for k, v in row.items() if k not in ("prompt", "response") and v is not None}
    return [Answer(prompt, answer, score, is_binary=False, meta=meta)]


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
