"""Battles of whole conversations: Chatbot Arena in three releases, comparIA."""

from typing import Any

from engine.ingest.drafts import Draft, Dropped, Notes, Reason, Row, Turns, oriented
from engine.ingest.formats.base import Format
from engine.ingest.formats.battles import with_models
from engine.ingest.formats.generic import preference_word
from engine.ingest.formats.shape import Shape, ValueKind
from engine.ingest.formats.turns import split_common, turns, unpacked
from engine.ingest.formats.values import stated, word, yes_or_no

_K = ValueKind
_SIDES = ("conversation_a", "conversation_b")
_ANSWERS = ("response_a", "response_b")
_ONE_HOT = ("winner_model_a", "winner_model_b", "winner_tie")


def _convert_arena(row: Row, notes: Notes) -> list[Draft]:
    prompt, a, b = split_common(
        turns(row.get("conversation_a"), notes, "conversation_a"),
        turns(row.get("conversation_b"), notes, "conversation_b"),
        notes,
    )
    winner = stated(row.get("winner"))
    verdict = (None, False) if winner is None else preference_word(winner)
    if verdict is None:
        raise Dropped(Reason.UNKNOWN_LABEL, f"winner {str(winner)[:40]!r}")
    draft = oriented(prompt, a, b, verdict[0], both_bad=verdict[1])
    # Several evaluations of one session share their beginning: they must not be split between folds.
    draft.conversation_id = word(row.get("evaluation_session_id"))
    return [with_models(draft, row.get("model_a"), row.get("model_b"))]


def _detect_arena(shape: Shape) -> bool:
    return all(shape.holds(c, _K.MESSAGES) for c in _SIDES) and shape.has("winner")


ARENA = Format(
    "arena",
    "Arena battles (100k, 140k)",
    "conversation_a, conversation_b: messages; winner: model_a, model_b, tie, both_bad; model_a, model_b",
    _detect_arena,
    _convert_arena,
    frozenset({*_SIDES, "winner", "model_a", "model_b", "full_conversation", "evaluation_session_id"}),
    rank=3,
)


def _texts(value: Any, column: str) -> list[str]:
    value = unpacked(value)
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise Dropped(Reason.WRONG_TYPE, f"{column} is {type(value).__name__}, not a list of texts")
    return [v if isinstance(v, str) else "" for v in value]


def _zipped(asked: list[str], answered: list[str], column: str) -> Turns:
    if len(asked) != len(answered):
        raise Dropped(Reason.WRONG_TYPE, f"{len(asked)} questions, {len(answered)} answers in {column}")
    both = zip(asked, answered, strict=True)
    return tuple(t for q, r in both for t in (("user", q), ("assistant", r)))


def _convert_one_hot(row: Row, notes: Notes) -> list[Draft]:
    asked = _texts(row.get("prompt"), "prompt")
    sides = [_zipped(asked, _texts(row.get(c), c), c) for c in _ANSWERS]
    won = [yes_or_no(row, c) == 1 for c in _ONE_HOT]
    if sum(won) > 1:
        raise Dropped(Reason.UNKNOWN_LABEL, "more than one winner")
    preference = 1.0 if won[0] else -1.0 if won[1] else 0.0 if won[2] else None
    draft = oriented(*split_common(sides[0], sides[1], notes), preference)
    return [with_models(draft, row.get("model_a"), row.get("model_b"))]


ARENA_55K = Format(
    "arena-55k",
    "Arena battles (55k, Kaggle)",
    "prompt, response_a, response_b: JSON lists of turns; winner_model_a, winner_model_b, winner_tie: 0 or 1",
    lambda shape: shape.has("prompt", *_ANSWERS, *_ONE_HOT),
    _convert_one_hot,
    frozenset({"prompt", *_ANSWERS, *_ONE_HOT, "model_a", "model_b"}),
    rank=3,
    from_description=True,
)


def _convert_comparia(row: Row, notes: Notes) -> list[Draft]:
    sides = [turns(row.get(c), notes, c) for c in _SIDES]
    prompt, a, b = split_common(sides[0], sides[1], notes)
    chosen = stated(row.get("chosen_model_name"))
    names = (row.get("model_a_name"), row.get("model_b_name"))
    if yes_or_no(row, "both_equal") == 1:
        preference: float | None = 0.0
    elif chosen is None:
        preference = None
    elif chosen in names and names[0] != names[1]:
        preference = 1.0 if chosen == names[0] else -1.0
    else:
        raise Dropped(
            Reason.UNKNOWN_LABEL, f"chosen_model_name {str(chosen)[:40]!r} is neither or both models"
        )
    draft = oriented(prompt, a, b, preference)
    draft.conversation_id = word(row.get("conversation_pair_id"))
    return [with_models(draft, *names)]


COMPARIA = Format(
    "comparia",
    "comparIA votes",
    "conversation_a, conversation_b: messages; model_a_name, model_b_name, chosen_model_name, both_equal",
    lambda s: all(s.holds(c, _K.MESSAGES) for c in _SIDES) and s.has("model_a_name", "chosen_model_name"),
    _convert_comparia,
    frozenset(
        {*_SIDES, "model_a_name", "model_b_name", "chosen_model_name", "both_equal", "opening_msg"}
        | {"conversation_pair_id"}
    ),
    rank=4,
    from_description=True,
)
