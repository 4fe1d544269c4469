"""Feature sets for the held-out comparison: what can tell chosen from rejected, and how much of it is length.

Every arm is a sparse matrix of odd per-pair numbers (chosen − rejected), scaled to unit root mean square, so
that no arm has a constant and swapping sides changes signs only.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from engine.arrays import UNKNOWN, Disparity, PairArrays, Readings

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Arm:
    """One set of features. P rows."""

    name: str
    x: sp.csr_matrix
    """(P, q) float64"""
    penalty: str = "l2"
    """l2, or l1 for the sparse full reading"""


def length_arm(pairs: PairArrays) -> Arm:
    """Log length ratio and token difference."""
    chosen, rejected = np.maximum(pairs.chosen_tokens, 1), np.maximum(pairs.rejected_tokens, 1)
    return Arm("length only", _dense([np.log(chosen) - np.log(rejected), chosen - rejected.astype(float)]))


def format_arm(pairs: PairArrays, columns: Mapping[str, Vector]) -> Arm:
    """Length and every surface column."""
    return Arm(
        "length + formatting", sp.hstack([length_arm(pairs).x, _dense(list(columns.values()))]).tocsr()
    )


def model_arm(pairs: PairArrays) -> Arm | None:
    """Which model wrote which side: +1 chosen's, −1 rejected's; None where models are unknown."""
    known = (pairs.model_chosen != UNKNOWN) & (pairs.model_rejected != UNKNOWN)
    if not known.any():
        return None
    indicators = [
        known * ((pairs.model_chosen == m).astype(np.float64) - (pairs.model_rejected == m))
        for m in range(len(pairs.model_names))
    ]
    return Arm("which model wrote it", _dense(indicators))


def unit_arm(name: str, disparity: Disparity, n_pairs: int, penalty: str = "l2") -> Arm:
    """Disparities of concepts or latents as features."""
    return Arm(name, _scaled(_matrix(disparity.u, disparity.pair, disparity.indptr, n_pairs)), penalty)


def reading_arm(readings: Readings) -> Arm:
    """The full reading: largest activation of every latent, chosen − rejected, under an L1 penalty."""
    by_latent = readings.by_latent
    delta = by_latent.chosen.act_max.astype(np.float64) - by_latent.rejected.act_max
    return Arm(
        "full reading", _scaled(_matrix(delta, by_latent.pair, by_latent.indptr, readings.n_pairs)), "l1"
    )


def joined(name: str, *arms: Arm, penalty: str = "l2") -> Arm:
    """Several arms side by side."""
    return Arm(name, sp.hstack([a.x for a in arms]).tocsr(), penalty)


def _matrix(
    values: NDArray[np.floating], pair: NDArray[np.uint32], indptr: NDArray[np.int64], n_pairs: int
) -> sp.csc_matrix:
    return sp.csc_matrix(
        (values.astype(np.float64), pair.astype(np.int64), indptr), (n_pairs, len(indptr) - 1)
    )


def _dense(columns: list[Vector]) -> sp.csr_matrix:
    return _scaled(sp.csc_matrix(np.stack(columns, axis=1))) if columns else sp.csr_matrix((0, 0))


def _scaled(matrix: sp.csc_matrix) -> sp.csr_matrix:
    rms = np.sqrt(np.asarray(matrix.multiply(matrix).mean(axis=0)).ravel())
    kept = np.nonzero(rms > 0)[0]
    return sp.csr_matrix(matrix[:, kept] @ sp.diags(1 / rms[kept]))
