"""What other tools read and write: OpenAI, ShareGPT, torchtune, Inverse Constitutional AI, AnnotatedPairs."""

from typing import Any

from engine.ingest.drafts import Draft, Dropped, Notes, Reason, Row, oriented
from engine.ingest.formats.base import Format, as_json
from engine.ingest.formats.battles import with_models
from engine.ingest.formats.shape import Shape, ValueKind
from engine.ingest.formats.trl import explicit_draft
from engine.ingest.formats.turns import (
    prompt_turns,
    side_turns,
    split_common,
    turns,
    unpacked,
    with_system,
)
from engine.ingest.formats.values import stated, word

_K = ValueKind


def _convert_openai(row: Row, notes: Notes) -> list[Draft]:
    asked = row.get("input")
    messages = asked.get("messages") if isinstance(asked, dict) else asked
    prompt = turns(messages, notes, "input.messages")
    better = side_turns(row.get("preferred_output"), notes, "preferred_output")
    worse = side_turns(row.get("non_preferred_output"), notes, "non_preferred_output")
    draft = Draft(prompt, better, worse)
    if isinstance(asked, dict):
        if asked.get("tools"):
            draft.tools = as_json(asked["tools"])
        draft.meta = {k: v for k, v in asked.items() if k not in ("messages", "tools") and v is not None}
    return [draft]


OPENAI = Format(
    "openai",
    "OpenAI preference fine-tuning",
    "input: {messages, tools}, preferred_output, non_preferred_output: messages",
    lambda shape: shape.has("input", "preferred_output", "non_preferred_output"),
    _convert_openai,
    frozenset({"input", "preferred_output", "non_preferred_output"}),
    rank=3,
)


def _convert_sharegpt(row: Row, notes: Notes) -> list[Draft]:
    prompt = with_system(row, turns(row.get("conversations"), notes, "conversations"))
    chosen = side_turns(row.get("chosen"), notes, "chosen")
    rejected = side_turns(row.get("rejected"), notes, "rejected")
    return [explicit_draft(prompt, chosen, rejected, notes)]


SHAREGPT = Format(
    "sharegpt",
    "ShareGPT pairs",
    "conversations: [{from, value}], chosen, rejected: {from, value}",
    lambda shape: shape.holds("conversations", _K.MESSAGES) and shape.has("chosen", "rejected"),
    _convert_sharegpt,
    frozenset({"conversations", "chosen", "rejected", "system"}),
    rank=3,
)
_TORCHTUNE = {"chosen_conversations", "rejected_conversations", "reject_conversations"}


def _convert_torchtune(row: Row, notes: Notes) -> list[Draft]:
    rejected = "rejected_conversations" if "rejected_conversations" in row else "reject_conversations"
    sides = [turns(row.get(c), notes, c) for c in ("chosen_conversations", rejected)]
    return [Draft(*split_common(sides[0], sides[1], notes))]


TORCHTUNE = Format(
    "torchtune",
    "torchtune preferences",
    "chosen_conversations, rejected_conversations: whole conversations as messages",
    lambda s: s.has("chosen_conversations") and any(s.has(c) for c in _TORCHTUNE - {"chosen_conversations"}),
    _convert_torchtune,
    frozenset(_TORCHTUNE),
    rank=3,
)


def _convert_icai(row: Row, notes: Notes) -> list[Draft]:
    prompt = () if row.get("input") is None else prompt_turns(row["input"], notes, "input")
    a, b = side_turns(row.get("text_a"), notes, "text_a"), side_turns(row.get("text_b"), notes, "text_b")
    said = stated(row.get("preferred_text"))
    known = {"text_a": 1.0, "a": 1.0, "text_b": -1.0, "b": -1.0, "tie": 0.0}
    if said is not None and str(said).strip().lower() not in known:
        raise Dropped(Reason.UNKNOWN_LABEL, f"preferred_text {str(said)[:40]!r}")
    preference = None if said is None else known[str(said).strip().lower()]
    draft = oriented(prompt, a, b, preference)
    return [with_models(draft, row.get("model_a"), row.get("model_b"))]


ICAI = Format(
    "icai",
    "Inverse Constitutional AI table",
    "text_a, text_b, preferred_text: text_a or text_b; input, model_a, model_b",
    lambda shape: shape.has("text_a", "text_b", "preferred_text"),
    _convert_icai,
    frozenset({"text_a", "text_b", "preferred_text", "input", "model_a", "model_b"}),
    rank=2,
)


def _response(value: Any, column: str) -> tuple[str, str | None]:
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return value["text"], word(value.get("model"))
    if isinstance(value, str):
        return value, None
    raise Dropped(Reason.WRONG_TYPE, f"{column} has no text")


_VOTES = {"a": 1.0, "text_a": 1.0, "b": -1.0, "text_b": -1.0, "both": 0.0, "tie": 0.0} | dict.fromkeys(
    ("none", "neither", "not_applicable", "invalid")
)
"""Annotators may also say that both or neither show a trait: that is no preference."""


def _convert_annotated(row: Row, notes: Notes) -> list[Draft]:
    text_a, model_a = _response(row.get("response_a"), "response_a")
    text_b, model_b = _response(row.get("response_b"), "response_b")
    asked = unpacked(row.get("prompt"))
    prompt = () if asked is None else prompt_turns(asked, notes, "prompt")
    annotations = row.get("annotations")
    annotations = annotations if isinstance(annotations, dict) else {}
    annotator = word(row.get("default_annotator"))
    if annotator is None and len(annotations) == 1:
        annotator = next(iter(annotations))
    said = annotations.get(annotator) or {}
    vote = said.get("pref") if isinstance(said, dict) else None
    spoken = str(stated(vote)).strip().lower()
    if spoken not in _VOTES:
        raise Dropped(Reason.UNKNOWN_LABEL, f"pref {str(vote)[:40]!r}")
    preference = _VOTES[spoken]
    draft = oriented(prompt, (("assistant", text_a),), (("assistant", text_b),), preference)
    draft.annotator = annotator
    others = {k: v for k, v in annotations.items() if k != annotator}
    draft.meta = {"annotations": others} if others else {}
    return [with_models(draft, model_a, model_b)]


def _detect_annotated(shape: Shape) -> bool:
    return shape.has("response_a", "response_b", "annotations")


ANNOTATED_PAIRS = Format(
    "annotated-pairs",
    "AnnotatedPairs 2.0",
    "comparisons: [{prompt, response_a: {text, model}, response_b, annotations: {annotator: {pref}}}]",
    _detect_annotated,
    _convert_annotated,
    frozenset({"prompt", "response_a", "response_b", "annotations", "default_annotator"}),
    rank=3,
)
