"""Feature sets for the held-out comparison: what can tell chosen from rejected, and how much of it is length.

Every arm is made of blocks of odd per-pair numbers (chosen − rejected), scaled to unit root mean square, so
that no arm has a constant and swapping sides changes signs only. A block may learn its features first,
without labels, from the pairs that its arm is trained on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
    """(P, q) float64"""
    learn: Callable[[Vector, Flags], Vector] | None = None
    """Some rows of x and which of them are for training, to the features of them all; None: x itself."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One set of features."""

    name: str
    blocks: tuple[Block, ...]
    penalty: str = "l2"
    """l2, or l1 for the sparse full reading"""

    def features(self, rows: NDArray[np.integer], train: Flags) -> Matrix:
        """Columns of some pairs, learned where they have to be from those of them marked for training."""
        parts = [
            b.x[rows] if b.learn is None else b.learn(np.asarray(b.x[rows], np.float64), train)
            for b in self.blocks
        ]
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
    return Arm("embedding (linear probe)", (Block(_unit_rms(delta)),))


def difference_arm(delta: NDArray[np.float32]) -> Arm:
    """WIMHF's kind of features: a small SAE of the same differences, learned on the training pairs."""

    def learn(x: Vector, train: Flags) -> Vector:
        rows = x.astype(np.float32)
        features = fit_difference_sae(rows[train]).features(rows).astype(np.float64)
        rms = np.sqrt((features[train] ** 2).mean(axis=0))
        return np.asarray(features[:, rms > 0] / rms[rms > 0])

    x = _unit_rms(delta)
    size = float(np.linalg.norm(x, axis=1).mean()) if len(x) else 0.0
    return Arm("difference SAE (WIMHF)", (Block(x / max(size, 1e-12), learn),))


def favoured(arm: Arm) -> Arm:
    """The same columns ten times as large: a penalty shared with many others then hardly shrinks them."""
    return Arm(arm.name, tuple(Block(10 * b.x, b.learn) for b in arm.blocks), arm.penalty)


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
    rms = np.sqrt(np.asarray(matrix.multiply(matrix).mean(axis=0)).ravel())
    kept = np.nonzero(rms > 0)[0]
    return Arm(name, (Block(sp.csr_matrix(matrix[:, kept] @ sp.diags(1 / rms[kept]))),), penalty)


def _dense(name: str, columns: list[Vector]) -> Arm:
    return Arm(name, (Block(_unit_rms(np.stack(columns, axis=1))),) if columns else ())


def _unit_rms(values: NDArray[np.floating]) -> Vector:
    rms = (
        np.sqrt(np.mean(values.astype(np.float64) ** 2, axis=0)) if len(values) else np.zeros(values.shape[1])
    )
    return np.asarray(values[:, rms > 0] / rms[rms > 0], np.float64)
