"""The glossary in code: enums, records and column lists that every room shares.

What a word means is in engine/docs/glossary.md. Signs are chosen minus rejected everywhere. An undefined
number is None (NULL in the store), never NaN. Arrow schemas are built on use, so that importing this
module costs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

MAX_STRENGTH = 1.0
"""Largest |α| of steering, in usual lengths of h: beyond it the first-order reading is far off."""
HELD_OUT_FOLD = 19
"""Never exported to training: forecast and outcome are scored there."""
N_FOLDS = 20
EVERYWHERE = "everywhere"
"""The context that holds every pair."""


class Label(StrEnum):
    """What an annotator said about a pair."""

    CHOSEN = "chosen"
    """One side was preferred; it is stored as ``chosen``."""
    TIE = "tie"
    """Both equally good: stored in file order, kept and counted, left out of signed statistics."""
    BOTH_BAD = "both_bad"
    """Both bad: likewise."""
    NONE = "none"
    """No label: likewise."""


class Span(StrEnum):
    """One of the three texts of a pair that are read."""

    PROMPT = "prompt"
    CHOSEN = "chosen"
    REJECTED = "rejected"


class ConceptKind(StrEnum):
    """What a concept is made of."""

    CLUSTER = "cluster"
    """A set of latents found by clustering."""
    LATENT = "latent"
    """A single latent."""
    DELTA = "delta"
    """A set of latents whose readings change together from the rejected to the chosen response."""
    DIRECTION = "direction"
    """A direction in the residual stream."""
    COLUMN = "column"
    """A number computed from text or metadata: length, markdown, links."""


class ContextKind(StrEnum):
    """How a context was defined."""

    TOPIC = "topic"
    """Pairs clustered on symmetric activity."""
    PROMPT_CONCEPT = "prompt_concept"
    """The top pairs of a concept on the prompt."""
    PREDICATE = "predicate"
    """Pairs for which an expression of the rule language holds."""
    SOURCE = "source"
    """Pairs of one source."""
    SILENT = "silent"
    """Pairs on which hardly any concept fires: in no topic, tested as no context, there to be looked at."""


class Verdict(StrEnum):
    """A person's decision on a concept or hypothesis."""

    KEEP = "keep"
    SUPPRESS = "suppress"
    AMPLIFY = "amplify"
    IGNORE = "ignore"


class Badge(StrEnum):
    """Which of the two effects was called."""

    BOTH = "both"
    ONLY_WITH_LENGTH = "only with length"
    MASKED_BY_LENGTH = "masked by length"
    LENGTH_UNCLEAR = "length unclear"
    """One question was called; the other leans the same way, but not firmly enough for a call of its own."""
    NEITHER = "neither"
    UNTESTED = "untested"


BADGE_WORDS: Mapping[Badge, tuple[str, str]] = {
    Badge.BOTH: ("both", "both"),
    Badge.ONLY_WITH_LENGTH: ("len only", "len"),
    Badge.MASKED_BY_LENGTH: ("masked", "mask"),
    Badge.LENGTH_UNCLEAR: ("unclear", "uncl"),
    Badge.NEITHER: ("neither", "none"),
    Badge.UNTESTED: ("untested", "unt"),
}
"""What screens say in eight and in four cells; filters understand it."""


class FateKind(StrEnum):
    """What happens to one pair under a rule set; exactly one per pair, details beside it."""

    KEPT = "kept"
    """In the shaped dataset: with weight, flipped, offset … as the other columns of the ledger say."""
    DROPPED = "dropped"
    """Absent by a rule; which one is in the ledger."""
    HELD_OUT = "held_out"
    """Fold 19."""
    UNLABELLED = "unlabelled"
    """Tie, both-bad or no label."""
    REFUSED = "refused"
    """Belongs to an evaluation set."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    """system, user, assistant or tool"""
    content: str


@dataclass(frozen=True, slots=True)
class Pair:
    """One preference pair as ingested. ``chosen`` and ``rejected`` are the messages after the prompt."""

    pair_id: str
    """32 hex digits over source, content and copy number."""
    content_id: str
    """32 hex digits over prompt, both responses and label: equal for exact duplicates."""
    copy: int
    """0 for the first pair with this content in this source, 1, 2 … for exact duplicates."""
    source: str
    source_file: str
    source_row: int
    """0-based row (line) of the file."""
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    label: Label
    group_id: str
    """32 hex digits: the smallest prompt hash of the connected component."""
    fold: int
    """0–19"""
    near_copy: int | None = None
    """0 for the first of nearly the same pairs and for a pair without any, 1, 2 … for the others; None where
    nobody asked for near-duplicates."""
    chosen_was: str | None = None
    """'a' or 'b', the slot the chosen side had in the file; None where the order says nothing."""
    strength: float | None = None
    """How much better chosen is, in the file's own unit; below 0 where a file with chosen and rejected says
    that it is not."""
    score_chosen: float | None = None
    score_rejected: float | None = None
    model_chosen: str | None = None
    model_rejected: str | None = None
    annotator: str | None = None
    language: str | None = None
    conversation_id: str | None = None
    tools: str | None = None
    """JSON of the tool definitions."""
    row_weight: float | None = None
    """The weight that the file gives the pair, > 0; None where it gives none."""
    base_weight: float = 1.0
    """The row's weight (1 where there is none) times the weight of its source in the mix."""
    is_evaluation: bool = False
    """From a known evaluation set, or overlapping one: refused for training."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Every other column of the file."""


def message_type() -> "pa.DataType":
    """Arrow type of a list of messages."""
    import pyarrow as pa

    return pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def pair_schema() -> "pa.Schema":
    """Columns of pairs/pairs.parquet, in the order of ``Pair``; meta is a JSON object as text."""
    import pyarrow as pa

    return pa.schema(
        [
            ("pair_id", pa.string()),
            ("content_id", pa.string()),
            ("copy", pa.int32()),
            ("near_copy", pa.int32()),
            ("source", pa.string()),
            ("source_file", pa.string()),
            ("source_row", pa.int64()),
            ("prompt", message_type()),
            ("chosen", message_type()),
            ("rejected", message_type()),
            ("label", pa.string()),
            ("group_id", pa.string()),
            ("fold", pa.int8()),
            ("chosen_was", pa.string()),
            ("strength", pa.float64()),
            ("score_chosen", pa.float64()),
            ("score_rejected", pa.float64()),
            ("model_chosen", pa.string()),
            ("model_rejected", pa.string()),
            ("annotator", pa.string()),
            ("language", pa.string()),
            ("conversation_id", pa.string()),
            ("tools", pa.string()),
            ("row_weight", pa.float64()),
            ("base_weight", pa.float64()),
            ("is_evaluation", pa.bool_()),
            ("meta", pa.string()),
        ]
    )


def reading_schema() -> "pa.Schema":
    """Columns of readings/<reader>/shards/*.parquet: one row per pair, latents as lists.

    Per span a hash of all that its reading depends on beside the reader, the token count, whether it was
    cut, and per latent that fired: its number, ``act_max``, ``n_fired``, ``act_sum``, the position of the
    peak, counted in the span's own tokens from 0, and the activation at the span's last own token, 0 where
    the latent is silent there. Latents ascend within a list; latents that are silent on the whole span are
    not stored.
    """
    import pyarrow as pa

    columns: list[tuple[str, pa.DataType]] = [("pair_id", pa.string())]
    for span in Span:
        columns += [
            (f"{span}_key", pa.binary(16)),
            (f"{span}_tokens", pa.int32()),
            (f"{span}_truncated", pa.bool_()),
            (f"{span}_latent", pa.list_(pa.uint32())),
            (f"{span}_max", pa.list_(pa.float32())),
            (f"{span}_n", pa.list_(pa.uint16())),
            (f"{span}_sum", pa.list_(pa.float32())),
            (f"{span}_peak", pa.list_(pa.uint16())),
            (f"{span}_last", pa.list_(pa.float32())),
        ]
    return pa.schema(columns)
