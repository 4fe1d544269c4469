"""What the concepts room may see of the texts: plain strings by pair number, and single tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.records import Span

TokenText = Callable[[int, Span, int], str]
"""Text of one token: pair number, span, position among the span's own tokens (from 0)."""


@dataclass(frozen=True, slots=True)
class PairTexts:
    """Plain text of every pair, by pair number; all three have P entries."""

    prompt: Sequence[str]
    chosen: Sequence[str]
    rejected: Sequence[str]
