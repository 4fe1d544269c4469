"""Files with ``chosen`` and ``rejected`` columns: TRL's shapes and the datasets that follow them."""

from engine.ingest.drafts import Draft, Kind, Note, Notes, Reason, Row, Turns
from engine.ingest.formats.base import Format
from engine.ingest.formats.shape import Shape, ValueKind
from engine.ingest.formats.transcripts import is_open_transcript, open_transcript_turns
from engine.ingest.formats.turns import (
    is_messages,
    is_same_turn,
    note_spacing,
    prompt_turns,
    side_turns,
    split_common,
    turns,
    unpacked,
    with_system,
    without_prompt,
)

_SIDES = frozenset({"chosen", "rejected"})
_K = ValueKind


def explicit_draft(prompt: Turns, chosen: Turns, rejected: Turns, notes: Notes) -> Draft:
    """A draft from a prompt and two sides that may repeat the prompt or go on together for some turns."""
    chosen, rejected = without_prompt(prompt, chosen, notes), without_prompt(prompt, rejected, notes)
    if len(chosen) > 1 and len(rejected) > 1 and is_same_turn(chosen[0], rejected[0]):
        shared, chosen, rejected = split_common(chosen, rejected, notes)
        # The prompt column may be one turn of a longer conversation that the sides carry whole.
        if prompt and any(is_same_turn(prompt[-1], t) for t in shared):
            if prompt[-1] not in shared:
                note_spacing(notes)
            prompt = shared
        else:
            prompt = prompt + shared
    _note_own_turns(chosen, rejected, notes)
    return Draft(prompt, chosen, rejected)


def _note_own_turns(chosen: Turns, rejected: Turns, notes: Notes) -> None:
    """Note sides that begin with a turn which is no answer: theirs alone, or the prompt in other words."""
    own = [
        f"{name} has a {side[0][0]} turn before its answer"
        for name, side in (("chosen", chosen), ("rejected", rejected))
        if len(side) > 1 and side[0][0] in ("user", "system")
    ]
    if own and all(n.reason is not Reason.DIFFER_EARLIER for n in notes):
        notes.append(Note(Kind.NOTED, Reason.DIFFER_EARLIER, "; ".join(own)))


def _convert_explicit(row: Row, notes: Notes) -> list[Draft]:
    value = row.get("prompt")
    if isinstance(value, str) and is_open_transcript(value):
        prompt = open_transcript_turns(value)
    else:
        prompt = prompt_turns(value, notes, "prompt")
    prompt = with_system(row, prompt)
    chosen = side_turns(row.get("chosen"), notes, "chosen")
    rejected = side_turns(row.get("rejected"), notes, "rejected")
    return [explicit_draft(prompt, chosen, rejected, notes)]


def convert_conversational(row: Row, notes: Notes) -> list[Draft]:
    """As explicit; messages may have become JSON text on their way through csv."""
    unpacked_row = dict(row)
    for column in ("prompt", "chosen", "rejected"):
        value = unpacked(row.get(column))
        if is_messages(value):
            unpacked_row[column] = value
    return _convert_explicit(unpacked_row, notes)


def _convert_implicit(row: Row, notes: Notes) -> list[Draft]:
    chosen = turns(row.get("chosen"), notes, "chosen")
    rejected = turns(row.get("rejected"), notes, "rejected")
    prompt, chosen, rejected = split_common(chosen, rejected, notes)
    return [Draft(with_system(row, prompt), chosen, rejected)]


def _convert_question(row: Row, notes: Notes) -> list[Draft]:
    column = "question" if "question" in row else "input"
    return _convert_explicit({**row, "prompt": row.get(column)}, notes)


def _has_sides(shape: Shape, *kinds: ValueKind) -> bool:
    return all(shape.holds(c, *kinds) for c in ("chosen", "rejected"))


def _detect_explicit_text(shape: Shape) -> bool:
    return shape.holds("prompt", _K.TEXT, _K.TRANSCRIPT) and _has_sides(shape, _K.TEXT, _K.TRANSCRIPT)


def _detect_explicit_messages(shape: Shape) -> bool:
    return shape.has("prompt") and _has_sides(shape, _K.MESSAGES, _K.MESSAGE)


def _detect_implicit_messages(shape: Shape) -> bool:
    return not shape.has("prompt") and _has_sides(shape, _K.MESSAGES)


def _detect_ultrafeedback(shape: Shape) -> bool:
    return _detect_explicit_messages(shape) and shape.has("prompt_id", "score_chosen", "score_rejected")


def _detect_argilla(shape: Shape) -> bool:
    return shape.has("prompt", "chosen-rating", "rejected-rating") and _has_sides(
        shape, _K.MESSAGES, _K.TEXT, _K.TRANSCRIPT
    )


def _detect_mixture(shape: Shape) -> bool:
    models = any(shape.has(c) for c in ("chosen_model", "chonsen_model", "chosen_rating"))
    return (
        _detect_explicit_messages(shape) and shape.has("id", "source") and not shape.has("chosen-rating")
    ) or (_detect_implicit_messages(shape) and shape.has("id", "source") and models)


def _convert_mixture(row: Row, notes: Notes) -> list[Draft]:
    return _convert_explicit(row, notes) if row.get("prompt") is not None else _convert_implicit(row, notes)


def _detect_skywork(shape: Shape) -> bool:
    return _detect_implicit_messages(shape) and shape.has("source") and not _detect_mixture(shape)


def _detect_question(shape: Shape) -> bool:
    asked = shape.is_text("question") or shape.is_text("input")
    return not shape.has("prompt") and asked and _has_sides(shape, _K.TEXT, _K.TRANSCRIPT, _K.MESSAGES)


EXPLICIT = Format(
    "trl",
    "TRL, explicit prompt",
    "prompt, chosen, rejected: texts",
    _detect_explicit_text,
    _convert_explicit,
    _SIDES | {"prompt", "system"},
)
CONVERSATIONAL = Format(
    "trl-conversational",
    "TRL, conversational, explicit prompt",
    "prompt: text or messages; chosen, rejected: messages",
    _detect_explicit_messages,
    convert_conversational,
    _SIDES | {"prompt", "system"},
    rank=2,
)
IMPLICIT_CONVERSATIONAL = Format(
    "trl-implicit-conversational",
    "TRL, conversational, implicit prompt",
    "chosen, rejected: whole conversations as messages",
    _detect_implicit_messages,
    _convert_implicit,
    _SIDES | {"system"},
)
ULTRAFEEDBACK = Format(
    "ultrafeedback",
    "UltraFeedback binarized",
    "prompt, prompt_id, chosen, rejected: messages with the user turn, score_chosen, score_rejected",
    _detect_ultrafeedback,
    _convert_explicit,
    _SIDES | {"prompt", "messages", "system"},
    rank=4,
)
ARGILLA = Format(
    "argilla",
    "argilla's cleaned UltraFeedback and Capybara",
    "prompt, chosen, rejected, chosen-rating, rejected-rating, chosen-model, rejected-model",
    _detect_argilla,
    _convert_explicit,
    _SIDES | {"prompt", "system"},
    rank=4,
)
MIXTURE = Format(
    "tulu",
    "Tulu 3 and Dolci mixtures",
    "id, source, prompt, chosen, rejected: messages with the user turn; models and ratings where present",
    _detect_mixture,
    _convert_mixture,
    _SIDES | {"prompt", "system"},
    rank=3,
)
SKYWORK = Format(
    "skywork",
    "Skywork reward preferences",
    "chosen, rejected: whole conversations as messages, source",
    _detect_skywork,
    _convert_implicit,
    _SIDES | {"system"},
    rank=2,
)
ORCA = Format(
    "orca",
    "Orca DPO pairs",
    "question or input, chosen, rejected, system",
    _detect_question,
    _convert_question,
    _SIDES | {"question", "input", "system"},
    rank=1,
    from_description=True,
)
