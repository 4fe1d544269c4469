"""What rules can speak of: the concepts, contexts and columns of one index. Filled by the compiler."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Type(StrEnum):
    """Types of the rule language."""

    NUMBER = "number"
    TEXT = "text"
    TRUTH = "truth value"


AGGREGATES = ("max", "sum", "n", "rate")
"""How a set of latents becomes a number on a span: largest activation, sum, fired tokens, fired / tokens."""


@dataclass(frozen=True, slots=True)
class ConceptEntry:
    """A concept of the index."""

    number: int
    concept_id: str
    kind: str
    """cluster, latent, direction, column"""
    label: str
    """Working label of the index."""
    name: str | None
    """What a person called it in review."""
    members: tuple[int, ...]
    """Latents, ascending; empty for directions and columns."""


@dataclass(frozen=True, slots=True)
class ContextEntry:
    """A context of the index."""

    number: int
    context_id: str
    kind: str
    name: str
    n_pairs: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Names and types of one index."""

    concepts: tuple[ConceptEntry, ...]
    contexts: tuple[ContextEntry, ...]
    meta: Mapping[tuple[str, ...], Type | None] = field(default_factory=dict)
    """Type of every meta key by path; None where the file mixes types."""
    n_latents: int | None = None
    """Latents of the SAE, None if unknown."""
    fire_rate_threshold: float = 0.01
    """τ of the disparity u."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """index, reader, data: what `use` may pin."""
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Every text of the columns that have few different ones, by column."""


COLUMNS: dict[str, Type] = {
    "id": Type.TEXT,
    "group": Type.TEXT,
    "source": Type.TEXT,
    "source_file": Type.TEXT,
    "source_row": Type.NUMBER,
    "copy": Type.NUMBER,
    "near_copy": Type.NUMBER,
    "fold": Type.NUMBER,
    "language": Type.TEXT,
    "annotator": Type.TEXT,
    "strength": Type.NUMBER,
    "slot": Type.TEXT,
    "prompt.text": Type.TEXT,
    "chosen.text": Type.TEXT,
    "rejected.text": Type.TEXT,
    "prompt.tokens": Type.NUMBER,
    "chosen.tokens": Type.NUMBER,
    "rejected.tokens": Type.NUMBER,
    "prompt.turns": Type.NUMBER,
    "prompt.truncated": Type.TRUTH,
    "chosen.truncated": Type.TRUTH,
    "rejected.truncated": Type.TRUTH,
    "chosen.score": Type.NUMBER,
    "rejected.score": Type.NUMBER,
    "chosen.model": Type.TEXT,
    "rejected.model": Type.TEXT,
}
"""Columns of every pair. ``slot`` is where the chosen side stood in the file, a or b."""

LONG_TEXTS = frozenset({"prompt.text", "chosen.text", "rejected.text"})
"""Texts that are matched where they lie and never copied."""
