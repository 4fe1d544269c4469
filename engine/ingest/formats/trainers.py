"""What trainers and annotation tools read and write beside TRL's shapes, and our own shaped datasets."""

from typing import Any

from engine.ingest.drafts import Draft, Dropped, Notes, Reason, Row, Turns, oriented
from engine.ingest.formats.base import Format
from engine.ingest.formats.rated import Ranked, ranked_drafts
from engine.ingest.formats.shape import Shape, ValueKind
from engine.ingest.formats.trl import convert_conversational, explicit_draft
from engine.ingest.formats.turns import prompt_turns, side_turns, turns, unpacked, with_system
from engine.ingest.formats.values import number, stated, text, weight_of, word

_K = ValueKind
_SIDES = frozenset({"chosen", "rejected"})


def _items(value: object) -> list[Any]:
    """A list as it is; nothing for anything else."""
    return value if isinstance(value, list) else []


def asked(row: Row) -> Turns:
    """Alpaca's ``instruction`` with its optional ``input`` below it, earlier ``history`` in front."""
    value = text(row, "instruction")
    more = row.get("input")
    if isinstance(more, str) and more:
        value = f"{value}\n{more}"
    before = []
    for turn in _items(unpacked(row.get("history"))):
        if not (isinstance(turn, list) and len(turn) == 2 and all(isinstance(t, str) for t in turn)):
            raise Dropped(Reason.WRONG_TYPE, "history is no list of [user, assistant] texts")
        before += [("user", turn[0]), ("assistant", turn[1])]
    return with_system(row, (*before, ("user", value)))


def _convert_shaped(row: Row, notes: Notes) -> list[Draft]:
    (draft,) = convert_conversational(row, notes)
    if (weight := stated(row.get("weight"))) is not None:
        draft.weight = weight_of(weight)
    return [draft]


SHAPED = Format(
    "prosect",
    "shaped dataset of prosect",
    "pair_id, prompt, chosen, rejected: messages, weight, offset",
    lambda shape: shape.has("pair_id", "prompt", "chosen", "rejected", "weight", "offset"),
    _convert_shaped,
    _SIDES | {"prompt", "system", "weight"},
    rank=5,
)


def _convert_axolotl(row: Row, notes: Notes) -> list[Draft]:
    prompt = with_system(row, turns(row.get("messages"), notes, "messages"))
    sides = [side_turns(row.get(c), notes, c) for c in ("chosen", "rejected")]
    return [explicit_draft(prompt, sides[0], sides[1], notes)]


AXOLOTL = Format(
    "axolotl",
    "axolotl, chat_template.default",
    "messages: the prompt, chosen, rejected: one message",
    lambda shape: (
        not shape.has("prompt")
        and shape.holds("messages", _K.MESSAGES)
        and all(shape.holds(c, _K.MESSAGE, _K.TEXT) for c in _SIDES)
    ),
    _convert_axolotl,
    _SIDES | {"messages", "system"},
    rank=3,
)


def _convert_alpaca(row: Row, notes: Notes) -> list[Draft]:
    sides = [side_turns(row.get(c), notes, c) for c in ("chosen", "rejected")]
    return [explicit_draft(asked(row), sides[0], sides[1], notes)]


ALPACA = Format(
    "alpaca-pairs",
    "Alpaca pairs of LLaMA-Factory",
    "instruction, chosen, rejected: texts; input, system, history where present",
    lambda shape: (
        not shape.has("prompt")
        and shape.is_text("instruction")
        and all(shape.holds(c, _K.TEXT, _K.TRANSCRIPT) for c in _SIDES)
    ),
    _convert_alpaca,
    _SIDES | {"instruction", "input", "system", "history"},
    rank=2,
)


def _convert_responses(row: Row, notes: Notes) -> list[Draft]:
    has_prompt = "prompt" in row
    prompt = with_system(row, prompt_turns(row["prompt"], notes, "prompt")) if has_prompt else asked(row)
    sides = [side_turns(row.get(c), notes, c) for c in ("chosen_response", "rejected_response")]
    draft = explicit_draft(prompt, sides[0], sides[1], notes)
    draft.score_chosen, draft.score_rejected = (
        number(row.get(f"{s}_reward", row.get(f"{s}_avg_rating"))) for s in ("chosen", "rejected")
    )
    return [draft]


RESPONSES = Format(
    "responses",
    "chosen_response and rejected_response (argilla, axolotl's chatml.argilla, NeMo Aligner)",
    "prompt or instruction, chosen_response, rejected_response; rewards or average ratings",
    lambda shape: (
        shape.has("chosen_response", "rejected_response")
        and (shape.has("prompt") or shape.has("instruction"))
    ),
    _convert_responses,
    frozenset(
        {
            *("prompt", "instruction", "input", "system", "history", "chosen_response", "rejected_response"),
            *("chosen_reward", "rejected_reward", "chosen_avg_rating", "rejected_avg_rating"),
        }
    ),
    rank=3,
)


def _convert_swift(row: Row, notes: Notes) -> list[Draft]:
    conversation = with_system(row, turns(row.get("messages"), notes, "messages"))
    if not conversation or conversation[-1][0] != "assistant":
        raise Dropped(Reason.NO_ANSWER, "messages does not end with an answer")
    if stated(row.get("rejected_messages")) is not None:
        rejected = with_system(row, turns(row["rejected_messages"], notes, "rejected_messages"))
        return [explicit_draft((), conversation, rejected, notes)]
    rejected = side_turns(row.get("rejected_response"), notes, "rejected_response")
    return [explicit_draft(conversation[:-1], conversation[-1:], rejected, notes)]


SWIFT = Format(
    "ms-swift",
    "ms-swift preferences",
    "messages: the conversation with the chosen answer, rejected_response or rejected_messages",
    lambda shape: (
        shape.holds("messages", _K.MESSAGES)
        and (shape.has("rejected_response") or shape.has("rejected_messages"))
    ),
    _convert_swift,
    frozenset({"messages", "rejected_response", "rejected_messages", "system"}),
    rank=4,
)


def _convert_distilabel(row: Row, notes: Notes) -> list[Draft]:
    answers, ratings = unpacked(row.get("generations")), unpacked(row.get("ratings"))
    if not isinstance(answers, list) or not isinstance(ratings, list) or len(answers) != len(ratings):
        raise Dropped(Reason.WRONG_TYPE, "generations and ratings are no lists of one length")
    named = [_items(row.get(c)) for c in _DISTILABEL_MODELS]
    names = next((n for n in named if len(n) == len(answers)), [None] * len(answers))
    ranked = [
        Ranked(side_turns(answer, notes, "generations"), score, word(name))
        for answer, rating, name in zip(answers, ratings, names, strict=True)
        if answer is not None and (score := number(rating)) is not None
    ]
    return ranked_drafts(asked(row), ranked, with_score=True)


_DISTILABEL_MODELS = ("generation_models", "model_names", "generation_model")
DISTILABEL = Format(
    "distilabel",
    "distilabel's rated generations",
    "instruction, generations: texts, ratings: numbers; generation_models",
    lambda shape: (
        shape.is_text("instruction") and shape.has("generations", "ratings") and not shape.has("chosen")
    ),
    _convert_distilabel,
    frozenset({"instruction", "system", "generations", "ratings", *_DISTILABEL_MODELS}),
    rank=3,
)


_STUDIO_TEXTS = ("prompt", "answer1", "answer2")


def _convert_label_studio(row: Row, notes: Notes) -> list[Draft]:
    """One annotation each of the whole export, or the flat rows of JSON-MIN and csv."""
    data = row.get("data")
    if not isinstance(data, dict):
        return [_studio_draft(row, _flat_choice(row), notes)]
    drafts = []
    for annotation in _items(row.get("annotations")):
        if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
            continue
        results = _items(annotation.get("result"))
        chosen = [r for r in results if isinstance(r, dict) and r.get("type") == "pairwise"]
        said = (
            chosen[0]["value"].get("selected")
            if chosen and isinstance(chosen[0].get("value"), dict)
            else None
        )
        draft = _studio_draft(data, said, notes)
        by = annotation.get("completed_by")
        draft.annotator = word(by.get("email") if isinstance(by, dict) else by)
        drafts.append(draft)
    drafts = drafts or [_studio_draft(data, None, notes)]
    for draft in drafts:
        draft.meta = {k: v for k, v in data.items() if k not in _STUDIO_TEXTS}
    return drafts


def _flat_choice(row: Row) -> object:
    """What the pairwise control says: the name of its column is the project's own choice.

    Raises ``Dropped`` where another column of the row says the opposite: nobody knows which is the control.
    """
    said = {c: v for c, v in row.items() if c not in _STUDIO_TEXTS and v in ("left", "right")}
    if "label" in said:  # what --map label=COLUMN makes of the column that it names
        return said["label"]
    if len(set(said.values())) > 1:
        columns = ", ".join(f"{c} {v}" for c, v in said.items())
        raise Dropped(Reason.UNKNOWN_LABEL, f"which is the verdict, {columns}? say --map label=COLUMN")
    return next(iter(said.values()), None)


def _studio_draft(data: Row, said: object, notes: Notes) -> Draft:
    prompt = prompt_turns(data.get("prompt"), notes, "prompt")
    a, b = (
        side_turns(data.get("answer1"), notes, "answer1"),
        side_turns(data.get("answer2"), notes, "answer2"),
    )
    said = stated(said)
    if said not in ("left", "right", None):
        raise Dropped(Reason.UNKNOWN_LABEL, f"selected {str(said)[:40]!r}")
    return oriented(prompt, a, b, None if said is None else 1.0 if said == "left" else -1.0)


def _detect_label_studio(shape: Shape) -> bool:
    return shape.has("data", "annotations") or shape.has("prompt", "answer1", "answer2")


LABEL_STUDIO = Format(
    "label-studio",
    "Label Studio, pairwise comparison",
    "data: {prompt, answer1, answer2}, annotations: [{result: left or right}]; or flat (JSON-MIN, csv)",
    _detect_label_studio,
    _convert_label_studio,
    frozenset({"data", "annotations", "prompt", "answer1", "answer2"}),
    rank=2,
    from_description=True,
)
