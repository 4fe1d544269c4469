"""Two numbered or lettered answers and a verdict in one row: battles, comparison tables, tool exports."""

from collections.abc import Sequence

from engine.ingest.drafts import Draft, Dropped, Notes, Reason, Row, Turns, oriented
from engine.ingest.formats.base import Format
from engine.ingest.formats.shape import Shape, ValueKind
from engine.ingest.formats.turns import prompt_turns, side_turns
from engine.ingest.formats.values import number, verdict, word, yes_or_no

_K = ValueKind


def with_models(draft: Draft, model_a: object, model_b: object) -> Draft:
    """The draft with the models of slots a and b put on their sides."""
    a, b = word(model_a), word(model_b)
    draft.model_chosen, draft.model_rejected = (b, a) if draft.chosen_was == "b" else (a, b)
    return draft


def with_scores(draft: Draft, score_a: object, score_b: object) -> Draft:
    """The draft with the scores of slots a and b put on their sides."""
    a, b = number(score_a), number(score_b)
    draft.score_chosen, draft.score_rejected = (b, a) if draft.chosen_was == "b" else (a, b)
    return draft


def first(row: Row, columns: Sequence[str]) -> str:
    """The first of the columns that the row has. Raises ``Dropped`` where it has none."""
    for column in columns:
        if column in row:
            return column
    raise Dropped(Reason.MISSING_COLUMN, " or ".join(columns))


_ALPACA_PROMPT = ("prompt", "instruction")
_ALPACA_A = ("response_a", "output_1")
_ALPACA_B = ("response_b", "output_2")


def _convert_alpaca(row: Row, notes: Notes) -> list[Draft]:
    prompt = prompt_turns(row.get(first(row, _ALPACA_PROMPT)), notes, "prompt")
    more = row.get("input")
    if "prompt" not in row and isinstance(more, str) and more and len(prompt) == 1:
        prompt = (("user", f"{prompt[0][1]}\n{more}"),)  # AlpacaFarm keeps the task's material apart
    a = side_turns(row.get(first(row, _ALPACA_A)), notes, "response_a")
    b = side_turns(row.get(first(row, _ALPACA_B)), notes, "response_b")
    said = verdict(row, "preference", lambda v: v == 0 or 1 <= v <= 2, "0 or between 1 and 2")
    # 1.0: a surely better … 2.0: b surely better; 0 and 1.5 are ties in AlpacaEval's own code.
    preference = None if said is None else 0.0 if said == 0 else 1.5 - said
    draft = oriented(prompt, a, b, preference)
    if preference is not None:
        draft.strength = abs(2 * preference)
    models = ("model_a", "model_b") if "model_a" in row else ("generator_1", "generator_2")
    return [with_models(draft, row.get(models[0]), row.get(models[1]))]


def _detect_alpaca(shape: Shape) -> bool:
    def one_of(columns: Sequence[str]) -> bool:
        return any(shape.is_text(c) for c in columns)

    return (
        one_of(_ALPACA_PROMPT)
        and one_of(_ALPACA_A)
        and one_of(_ALPACA_B)
        and shape.holds("preference", _K.NUMBER)
    )


ALPACA_EVAL = Format(
    "alpaca-eval",
    "AlpacaEval battles",
    "prompt or instruction, response_a/b or output_1/2, preference: 1.0 (a) … 2.0 (b); model_a, model_b",
    _detect_alpaca,
    _convert_alpaca,
    frozenset(
        {*_ALPACA_PROMPT, *_ALPACA_A, *_ALPACA_B, "preference"}
        | {"model_a", "model_b", "generator_1", "generator_2"}
    ),
    rank=2,
)


def _convert_wimhf(row: Row, notes: Notes) -> list[Draft]:
    prompt = prompt_turns(row.get("prompt"), notes, "prompt")
    a, b = side_turns(row.get("response_A"), notes, "response_A"), _b_side(row, notes)
    is_tie = number(row.get("label")) == 0.5
    said = 0.5 if is_tie else yes_or_no(row, "label", "0, 0.5 or 1")
    draft = oriented(prompt, a, b, None if said is None else said - 0.5)
    return [with_models(draft, row.get("model_A"), row.get("model_B"))]


def _b_side(row: Row, notes: Notes) -> Turns:
    return side_turns(row.get("response_B"), notes, "response_B")


def _detect_wimhf(shape: Shape) -> bool:
    return (
        shape.has("prompt")
        and shape.holds("response_A", _K.TEXT, _K.MESSAGES, _K.TRANSCRIPT)
        and shape.holds("response_B", _K.TEXT, _K.MESSAGES, _K.TRANSCRIPT)
        and shape.holds("label", _K.NUMBER, _K.FLAG, _K.TEXT)
    )


WIMHF = Format(
    "wimhf",
    "WIMHF table",
    "prompt, response_A, response_B, label: 1 = A preferred, 0 = B; conversation_id",
    _detect_wimhf,
    _convert_wimhf,
    frozenset({"prompt", "response_A", "response_B", "label", "model_A", "model_B"}),
    rank=2,
)
