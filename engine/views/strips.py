"""Frozen view models of token strips: a pair's texts token by token, with activations."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpanStrip:
    """One span of a pair. Tokens are the span's own, as its reading counts them."""

    span: str
    """prompt, chosen or rejected"""
    tokens: tuple[str, ...]
    """Raw dataset text: sanitise it before showing. Joined, it is the span's text as the model saw it."""
    activations: tuple[tuple[float, ...], ...]
    """One row per latent asked for, one value per token; 0 where the latent is silent."""
    is_truncated: bool
    """The span was cut for reading: the strip ends (a prompt's: begins) where the reading does."""

    @property
    def largest(self) -> tuple[float, ...]:
        """Per token the largest activation of the latents."""
        if not self.activations:
            return (0.0,) * len(self.tokens)
        return tuple(max(column) for column in zip(*self.activations, strict=True))


@dataclass(frozen=True, slots=True)
class PairStrip:
    """The three spans of a pair: prompt, chosen, rejected."""

    pair: int
    latents: tuple[int, ...]
    spans: tuple[SpanStrip, ...]


@dataclass(frozen=True, slots=True)
class StripFailure:
    """Why there is no strip: the reader is gone or damaged, or its process ended."""

    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Spikes:
    """Where some latents fire on a span's tokens: N places. The form that goes through the pipe."""

    span: str
    tokens: Sequence[str]
    row: Sequence[int]
    """Which of the latents asked for."""
    token: Sequence[int]
    value: Sequence[float]
    is_truncated: bool


def pair_strip(pair: int, latents: Sequence[int], spans: Sequence[Spikes]) -> PairStrip:
    """The view of a pair from where its latents fire."""
    return PairStrip(pair, tuple(latents), tuple(_span_strip(spikes, len(latents)) for spikes in spans))


def _span_strip(spikes: Spikes, n_latents: int) -> SpanStrip:
    rows = [[0.0] * len(spikes.tokens) for _ in range(n_latents)]
    for row, token, value in zip(spikes.row, spikes.token, spikes.value, strict=True):
        rows[row][token] = value
    activations = tuple(tuple(row) for row in rows)
    return SpanStrip(spikes.span, tuple(spikes.tokens), activations, spikes.is_truncated)
