"""Feature sets for the held-out comparison: what can tell chosen from rejected, and how much of it is length.

Every arm is made of blocks of odd per-pair numbers (chosen − rejected), scaled to unit weighted root mean
square, so that no arm has a constant and swapping sides changes signs only. A block may learn its features
first, without labels, from the pairs that its arm is trained on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from engine.arrays import UNKNOWN, Disparity, PairArrays, Readings
from engine.stats.difference_sae import fit_difference_sae

Vector = NDArray[np.float64]
Flags = NDArray[np.bool_]
Matrix = sp.csr_matrix | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Block:
    """Some columns of an arm. P rows."""

    x: Matrix
    """(P, q) float64, any scale"""
    learn: Callable[[Vector, Flags, Vector], Vector] | None = None
    """Some rows of x at unit root mean square, which of them are for training, and the weight of each, to the
    features of them all; None: x itself."""
    size: float = 1.0
    """Root mean square of its columns once scaled: larger ones are shrunk less by a shared penalty."""

    def features(self, rows: NDArray[np.integer], train: Flags, weight: Vector) -> Matrix:
        """Columns of some pairs at root mean square ``size``; those without any value are left out."""
        x = _unit_rms(self.x[rows], weight)
        if self.learn is not None:
            x = self.learn(np.asarray(x, np.float64), train, weight)
        return x if self.size == 1.0 else self.size * x


@dataclass(frozen=True, slots=True)
class Arm:
    """One set of features."""

    name: str
    blocks: tuple[Block, ...]
    penalty: str = "l2"
    """l2, or l1 for the sparse full reading"""

    def features(self, rows: NDArray[np.integer], train: Flags, weight: Vector) -> Matrix:
        """Columns of some pairs, learned where they have to be from those of them marked for training.

        Args:
            rows: (R,) numbers of pairs.
            train: (R,) which of them may be learned from.
            weight: (R,) ≥ 0; a pair of weight 2 counts like the same pair twice.
        """
        parts = [b.features(rows, train, weight) for b in self.blocks]
        if not parts:
            return np.zeros((len(rows), 0))
        if all(isinstance(part, np.ndarray) for part in parts):
            return np.concatenate([np.asarray(part) for part in parts], axis=1)
        return sp.csr_matrix(sp.hstack([sp.csr_matrix(part) for part in parts]))


def length_arm(pairs: PairArrays) -> Arm:
    """Log length ratio and token difference."""
    chosen, rejected = np.maximum(pairs.chosen_tokens, 1), np.maximum(pairs.rejected_tokens, 1)
    return _dense("length only", [np.log(chosen) - np.log(rejected), chosen - rejected.astype(float)])


def format_arm(pairs: PairArrays, columns: Mapping[str, Vector]) -> Arm:
    """Length and every surface column."""
    return joined("length + formatting", length_arm(pairs), _dense("formatting", list(columns.values())))


def model_arm(pairs: PairArrays) -> Arm | None:
    """Which model wrote which side: +1 chosen's, −1 rejected's; None where models are unknown."""
    known = (pairs.model_chosen != UNKNOWN) & (pairs.model_rejected != UNKNOWN)
    if not known.any():
        return None
    indicators = [
        known * ((pairs.model_chosen == m).astype(np.float64) - (pairs.model_rejected == m))
        for m in range(len(pairs.model_names))
    ]
    return _dense("which model wrote it", indicators)


def unit_arm(name: str, disparity: Disparity, n_pairs: int, penalty: str = "l2") -> Arm:
    """Disparities of concepts or latents as features."""
    return _sparse(name, disparity.u, disparity.pair, disparity.indptr, n_pairs, penalty)


def reading_arm(readings: Readings) -> Arm:
    """The full reading: largest activation of every latent, chosen − rejected, under an L1 penalty."""
    by_latent = readings.by_latent
    delta = by_latent.chosen.act_max.astype(np.float64) - by_latent.rejected.act_max
    return _sparse("full reading", delta, by_latent.pair, by_latent.indptr, readings.n_pairs, "l1")


def embedding_arm(delta: NDArray[np.float32]) -> Arm:
    """A linear reward probe on an embedding of each response, chosen − rejected: (P, D)."""
    return Arm("embedding (linear probe)", (Block(np.asarray(delta, np.float64)),))


def difference_arm(delta: NDArray[np.float32]) -> Arm:
    """WIMHF's kind of features: a small SAE of the same differences, learned on the training pairs."""

    def learn(x: Vector, train: Flags, weight: Vector) -> Vector:
        length = float(np.average(np.linalg.norm(x[train], axis=1), weights=weight[train]))
        rows = (x / max(length, 1e-12)).astype(np.float32)
        sae = fit_difference_sae(rows[train], weight=weight[train])
        features = sae.features(rows).astype(np.float64)
        rms = np.sqrt(np.average(features[train] ** 2, axis=0, weights=weight[train]))
        return np.asarray(features[:, rms > 0] / rms[rms > 0])

    return Arm("difference SAE (WIMHF)", (Block(np.asarray(delta, np.float64), learn),))


def favoured(arm: Arm) -> Arm:
    """The same columns ten times as large: a penalty shared with many others then hardly shrinks them."""
    return Arm(arm.name, tuple(replace(b, size=10 * b.size) for b in arm.blocks), arm.penalty)


def joined(name: str, *arms: Arm, penalty: str = "l2") -> Arm:
    """Several arms side by side."""
    return Arm(name, tuple(block for arm in arms for block in arm.blocks), penalty)


def _sparse(
    name: str,
    values: NDArray[np.floating],
    pair: NDArray[np.uint32],
    indptr: NDArray[np.int64],
    n_pairs: int,
    penalty: str,
) -> Arm:
    shape = (n_pairs, len(indptr) - 1)
    matrix = sp.csc_matrix((values.astype(np.float64), pair.astype(np.int64), indptr), shape)
    return Arm(name, (Block(sp.csr_matrix(matrix)),), penalty)


def _dense(name: str, columns: list[Vector]) -> Arm:
    return Arm(name, (Block(np.stack(columns, axis=1).astype(np.float64)),) if columns else ())


def _unit_rms(x: Matrix, weight: Vector) -> Matrix:
    """Columns at unit weighted root mean square over all rows, labels unseen; empty ones are left out."""
    total = max(float(weight.sum()), 1e-300)
    if isinstance(x, np.ndarray):
        rms = np.sqrt(weight @ x**2 / total)
        return np.asarray(x[:, rms > 0] / rms[rms > 0])
    rms = np.sqrt(np.asarray(x.multiply(x).T @ weight).ravel() / total)
    kept = np.nonzero(rms > 0)[0]
    return sp.csr_matrix(x[:, kept] @ sp.diags(1 / rms[kept]))
