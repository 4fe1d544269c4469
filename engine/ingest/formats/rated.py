"""Two answers and a number: HelpSteer, PKU-SafeRLHF, SHP, PrefScope tables; several ranked answers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from engine.ingest.drafts import Draft, Dropped, Notes, Reason, Row, Turns, oriented
from engine.ingest.formats.base import Format
from engine.ingest.formats.battles import with_models, with_scores
from engine.ingest.formats.shape import Shape, ValueKind
from engine.ingest.formats.turns import prompt_turns, side_turns
from engine.ingest.formats.values import number, text, verdict, word, yes_or_no
from engine.manifest import hash_json

_K = ValueKind


def _helpsteer(row: Row, notes: Notes, columns: tuple[str, str, str, str]) -> list[Draft]:
    asked, first, second, strength = columns
    prompt = prompt_turns(row.get(asked), notes, asked)
    a, b = side_turns(row.get(first), notes, first), side_turns(row.get(second), notes, second)
    said = verdict(row, strength, lambda v: abs(v) <= 3, "−3 … 3")
    draft = oriented(prompt, a, b, None if said is None else -said)  # negative: the first is better
    draft.strength = None if said is None else abs(said)
    return [draft]


_HS2 = ("prompt", "response_1", "response_2", "preference_strength")
_HS3 = ("context", "response1", "response2", "overall_preference")
HELPSTEER2 = Format(
    "helpsteer2",
    "HelpSteer 2 preferences",
    "prompt, response_1, response_2, preference_strength: −3 (response_1) … 3 (response_2), 0 = tie",
    lambda shape: shape.has(*_HS2),
    lambda row, notes: _helpsteer(row, notes, _HS2),
    frozenset(_HS2),
    rank=3,
    from_description=True,
)
HELPSTEER3 = Format(
    "helpsteer3",
    "HelpSteer 3",
    "context: text or messages, response1, response2, overall_preference: −3 (response1) … 3, 0 = tie",
    lambda shape: shape.has(*_HS3),
    lambda row, notes: _helpsteer(row, notes, _HS3),
    frozenset(_HS3),
    rank=3,
)


def _pku(row: Row, notes: Notes, column: str) -> list[Draft]:
    prompt = prompt_turns(row.get("prompt"), notes, "prompt")
    sides = [side_turns(row.get(c), notes, c) for c in ("response_0", "response_1")]
    said = yes_or_no(row, column)
    return [oriented(prompt, sides[0], sides[1], None if said is None else 0.5 - said)]


def _pku_format(name: str, column: str, what: str) -> Format:
    return Format(
        name,
        f"PKU-SafeRLHF, the {what} answer",
        f"prompt, response_0, response_1, {column}: 0 or 1",
        lambda shape: shape.has("prompt", "response_0", "response_1", column),
        lambda row, notes: _pku(row, notes, column),
        frozenset({"prompt", "response_0", "response_1", column}),
        rank=3,
        from_description=True,
    )


# A file has both labels: detection finds both formats and asks which.
PKU_BETTER = _pku_format("pku-better", "better_response_id", "more helpful")
PKU_SAFER = _pku_format("pku-safer", "safer_response_id", "safer")


def _convert_shp(row: Row, notes: Notes) -> list[Draft]:
    prompt = prompt_turns(text(row, "history"), notes, "history")
    a = side_turns(row.get("human_ref_A"), notes, "human_ref_A")
    b = side_turns(row.get("human_ref_B"), notes, "human_ref_B")
    said = yes_or_no(row, "labels")
    draft = oriented(prompt, a, b, None if said is None else said - 0.5)
    ratio = number(row.get("score_ratio"))
    draft.strength = abs(ratio) if ratio is not None else None
    draft.conversation_id = word(row.get("post_id"))
    return [with_scores(draft, row.get("score_A"), row.get("score_B"))]


SHP = Format(
    "shp",
    "Stanford Human Preferences",
    "history, human_ref_A, human_ref_B, labels: 1 = A, 0 = B; score_A, score_B",
    lambda shape: shape.has("history", "human_ref_A", "human_ref_B", "labels"),
    _convert_shp,
    frozenset(
        {"history", "human_ref_A", "human_ref_B", "labels", "score_A", "score_B", "score_ratio", "post_id"}
    ),
    rank=3,
    from_description=True,
)


def _convert_prefscope(row: Row, notes: Notes) -> list[Draft]:
    prompt = prompt_turns(row.get("prompt"), notes, "prompt")
    a = side_turns(row.get("completion_a"), notes, "completion_a")
    b = side_turns(row.get("completion_b"), notes, "completion_b")
    said = verdict(row, "human_pref", lambda v: 0 <= v <= 1, "a probability")
    draft = oriented(prompt, a, b, None if said is None else said - 0.5)
    draft.strength = None if said is None else abs(2 * said - 1)
    return [with_models(draft, row.get("model_a"), row.get("model_b"))]


PREFSCOPE = Format(
    "prefscope",
    "PrefScope table",
    "battle_id, source, language, prompt, model_a, model_b, completion_a, completion_b, human_pref: P(a)",
    lambda shape: shape.has("prompt", "completion_a", "completion_b"),
    _convert_prefscope,
    frozenset({"prompt", "completion_a", "completion_b", "model_a", "model_b", "human_pref"}),
    rank=2,
)


class Ranked(NamedTuple):
    """One of several answers to a prompt."""

    answer: Turns
    score: float
    """Higher is better."""
    model: str | None = None


def ranked_drafts(prompt: Turns, answers: Sequence[Ranked], *, with_score: bool) -> list[Draft]:
    """The best answer against each of the others; an equal score is a tie.

    ``with_score``: the scores are grades, not ranks, and are kept with their difference as strength.
    """
    if len(answers) < 2:
        raise Dropped(Reason.UNPAIRED, f"{len(answers)} answer to this prompt")
    best, *others = sorted(answers, key=lambda a: (-a.score, hash_json(a.answer)))
    drafts = []
    for other in others:
        draft = oriented(prompt, best.answer, other.answer, best.score - other.score)
        draft.chosen_was = None
        draft.model_chosen, draft.model_rejected = best.model, other.model
        if with_score:
            draft.score_chosen, draft.score_rejected = best.score, other.score
            draft.strength = best.score - other.score
        drafts.append(draft)
    return drafts


def _completions(row: Row) -> list[dict[str, Any]]:
    items = row.get("completions")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Dropped(Reason.WRONG_TYPE, "completions is no list of objects")
    return items


def _convert_nemo(row: Row, notes: Notes) -> list[Draft]:
    answers = []
    for item in _completions(row):
        rank = number(item.get("rank"))
        if rank is None:
            raise Dropped(Reason.WRONG_TYPE, "a completion has no rank")
        answers.append(Ranked(side_turns(item.get("completion"), notes, "completion"), -rank))
    return ranked_drafts(prompt_turns(row.get("context"), notes, "context"), answers, with_score=False)


def _has_items(shape: Shape, column: str) -> bool:
    return shape.holds(column, _K.OBJECTS)


NEMO = Format(
    "nemo",
    "NeMo RL preferences",
    "context: messages, completions: [{rank: lower is better, completion: messages}]",
    lambda shape: shape.has("context") and _has_items(shape, "completions"),
    _convert_nemo,
    frozenset({"context", "completions"}),
    rank=2,
)


def _convert_ultrafeedback(row: Row, notes: Notes) -> list[Draft]:
    answers = []
    for item in _completions(row):
        score = number(item.get("overall_score"))
        if score is not None:
            response = side_turns(item.get("response"), notes, "response")
            answers.append(Ranked(response, score, word(item.get("model"))))
    return ranked_drafts(prompt_turns(row.get("instruction"), notes, "instruction"), answers, with_score=True)


ULTRAFEEDBACK_RAW = Format(
    "ultrafeedback-raw",
    "UltraFeedback, all completions",
    "instruction, completions: [{model, response, overall_score}]",
    lambda shape: shape.is_text("instruction") and _has_items(shape, "completions"),
    _convert_ultrafeedback,
    frozenset({"instruction", "completions", "models"}),
    rank=2,
    from_description=True,
)
