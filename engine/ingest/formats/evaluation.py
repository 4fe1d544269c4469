"""Evaluation sets: read so that overlaps can be found, refused for training."""

from engine.ingest.drafts import Draft, Dropped, Notes, Reason, Row
from engine.ingest.formats.base import Format
from engine.ingest.formats.shape import Shape, ValueKind
from engine.ingest.formats.trl import explicit_draft
from engine.ingest.formats.turns import prompt_turns, side_turns, unpacked
from engine.ingest.formats.values import word

_K = ValueKind


def _convert_rewardbench(row: Row, notes: Notes) -> list[Draft]:
    prompt = prompt_turns(row.get("prompt"), notes, "prompt")
    chosen = side_turns(row.get("chosen"), notes, "chosen")
    rejected = side_turns(row.get("rejected"), notes, "rejected")
    return [explicit_draft(prompt, chosen, rejected, notes)]


def _detect_rewardbench(shape: Shape) -> bool:
    columns = ("prompt", "chosen", "rejected", "chosen_model", "rejected_model", "subset", "id")
    return shape.has(*columns) and not shape.has("num_correct")


REWARDBENCH = Format(
    "rewardbench",
    "RewardBench",
    "prompt, chosen, rejected: texts, chosen_model, rejected_model, subset, id",
    _detect_rewardbench,
    _convert_rewardbench,
    frozenset({"prompt", "chosen", "rejected"}),
    rank=4,
    is_evaluation=True,
    from_description=True,
)


def _convert_rewardbench2(row: Row, notes: Notes) -> list[Draft]:
    """Every correct answer against every wrong one."""
    prompt = prompt_turns(row.get("prompt"), notes, "prompt")
    good, bad = unpacked(row.get("chosen")), unpacked(row.get("rejected"))
    if not isinstance(good, list) or not isinstance(bad, list):
        raise Dropped(Reason.WRONG_TYPE, "chosen and rejected must be lists of texts")
    if not good or not bad:
        raise Dropped(Reason.UNPAIRED, f"{len(good)} correct and {len(bad)} wrong answers")
    models = row.get("models")
    names = models if isinstance(models, list) and len(models) == len(good) + len(bad) else None
    drafts = []
    for i, better in enumerate(good):
        for j, worse in enumerate(bad):
            draft = Draft(prompt, side_turns(better, notes, "chosen"), side_turns(worse, notes, "rejected"))
            if names is not None:
                draft.model_chosen, draft.model_rejected = word(names[i]), word(names[len(good) + j])
            draft.conversation_id = word(row.get("id"))
            drafts.append(draft)
    return drafts


REWARDBENCH2 = Format(
    "rewardbench-2",
    "RewardBench 2",
    "prompt, chosen, rejected: lists of texts, num_correct, num_incorrect, models, subset",
    lambda shape: (
        shape.has("prompt", "chosen", "rejected", "num_correct") and shape.holds("chosen", _K.TEXTS)
    ),
    _convert_rewardbench2,
    frozenset({"prompt", "chosen", "rejected", "id"}),
    rank=4,
    is_evaluation=True,
)
