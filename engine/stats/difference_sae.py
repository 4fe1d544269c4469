"""A baseline: a few sparse features of the difference of two embeddings, as WIMHF learns them.

Source: "What's In My Human Feedback?" (arXiv 2510.26202): an SAE of 32 features, four active, on the
embedding of one response minus that of the other, with BatchTopK that keeps signs and nested prefixes of 8
and 32 (Matryoshka); logistic regression on the features. Ours: the embedding is the reader's mean residual
instead of a text embedding, and there are no biases, so that swapping the sides only changes the sign of
every feature. Labels are never seen.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

N_FEATURES = 32
N_ACTIVE = 4
PREFIXES = (8, 32)
_EPOCHS = 50
_MIN_STEPS = 1000
_BATCH = 256
_LEARNING_RATE = 2e-3
_DECAY = (0.9, 0.999)


@dataclass(frozen=True, slots=True)
class DifferenceSae:
    """Encoder of embedding differences. D columns in, M features out; odd in its argument."""

    encoder: Matrix  # (D, M)
    decoder: Matrix  # (M, D), unit rows
    threshold: float
    """A feature is active where its size is above this: on average ``N_ACTIVE`` are."""

    def features(self, delta: Matrix) -> Matrix:
        """(P, M) signed activations of (P, D) differences."""
        hidden = delta @ self.encoder
        return np.where(np.abs(hidden) > self.threshold, hidden, np.float32(0))

    def unexplained(self, delta: Matrix) -> float:
        """Share of the sum of squares that the reconstruction leaves."""
        rest = delta - self.features(delta) @ self.decoder
        return float((rest**2).sum() / max(float((delta**2).sum()), 1e-30))


def fit_difference_sae(
    delta: Matrix, *, weight: NDArray[np.float64] | None = None, seed: int = 0
) -> DifferenceSae:
    """Train on (P, D) differences, any orientation: the loss is the same for d and −d.

    Batches are drawn with replacement in proportion to ``weight`` (P,); None: all alike.
    """
    rng = np.random.default_rng(seed)
    draw = _drawer(len(delta), weight, rng)
    n, width = delta.shape
    first = delta[rng.choice(n, N_FEATURES, replace=n < N_FEATURES)] + 1e-6 * rng.normal(
        size=(N_FEATURES, width)
    )
    decoder = _unit(first.astype(np.float32))
    encoder = np.ascontiguousarray(decoder.T)
    adam = (_Adam(encoder.shape), _Adam(decoder.shape))
    steps = max(_EPOCHS * n // _BATCH, _MIN_STEPS)
    threshold = 0.0
    for step in range(steps):
        rate = _LEARNING_RATE * min(1.0, 4 * (1 - step / steps))
        batch = delta[draw(_BATCH)]
        to_encoder, to_decoder, smallest = _gradients(batch, encoder, decoder)
        encoder = encoder - adam[0].step(to_encoder, rate)
        decoder = _unit(decoder - adam[1].step(to_decoder, rate))
        threshold += (smallest - threshold) * max(0.01, 1 / (step + 1))
    return DifferenceSae(encoder, decoder, threshold)


def _drawer(
    n: int, weight: NDArray[np.float64] | None, rng: np.random.Generator
) -> Callable[[int], NDArray[np.int64]]:
    """Draws row numbers in proportion to their weight."""
    if weight is None or np.all(weight == weight[0]):
        return lambda size: rng.integers(0, n, size)
    edges = np.cumsum(weight)
    return lambda size: np.minimum(np.searchsorted(edges, rng.random(size) * edges[-1], side="right"), n - 1)


def _gradients(batch: Matrix, encoder: Matrix, decoder: Matrix) -> tuple[Matrix, Matrix, float]:
    """Of the mean squared error summed over prefixes, and the smallest size that was kept."""
    hidden = batch @ encoder
    size = np.abs(hidden)
    smallest = float(np.partition(size.ravel(), -N_ACTIVE * len(batch))[-N_ACTIVE * len(batch)])
    kept = size >= smallest
    active = hidden * kept
    to_active, to_decoder = np.zeros_like(active), np.zeros_like(decoder)
    for m in PREFIXES:
        error = (active[:, :m] @ decoder[:m] - batch) * np.float32(2 / len(batch))
        to_decoder[:m] += active[:, :m].T @ error
        to_active[:, :m] += error @ decoder[:m].T
    return batch.T @ (to_active * kept), to_decoder, smallest


def _unit(rows: Matrix) -> Matrix:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)


class _Adam:
    """Kingma and Ba's optimiser for one matrix."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._mean, self._square, self._n = np.zeros(shape, np.float32), np.zeros(shape, np.float32), 0

    def step(self, gradient: Matrix, rate: float) -> Matrix:
        self._n += 1
        self._mean = _DECAY[0] * self._mean + (1 - _DECAY[0]) * gradient
        self._square = _DECAY[1] * self._square + (1 - _DECAY[1]) * gradient**2
        mean = self._mean / (1 - _DECAY[0] ** self._n)
        square = self._square / (1 - _DECAY[1] ** self._n)
        return np.asarray(rate * mean / (np.sqrt(square) + 1e-8), np.float32)
