"""First-order forecasts: what a weighted set of pairs pushes towards, written down before training.

A forecast is a statement about the data. Its unit is that of the disparity u; the size of the change that
training brings also depends on steps, learning rate and β, so forecasts predict signs and proportions.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy import special

from engine.arrays import Disparity
from engine.errors import StatsError

Vector = NDArray[np.float64]
LEVEL = 0.90


@dataclass(frozen=True, slots=True)
class MeanDelta:
    """Weighted mean disparity of M units, with errors summed by prompt group. All arrays (M,)."""

    mean: Vector
    se: Vector
    low: Vector
    """90% interval"""
    high: Vector
    n_active: NDArray[np.int64]
    """Pairs with weight and u ≠ 0."""


def mean_delta(disparity: Disparity, group: NDArray[np.int32], weight: Vector, turn: Vector) -> MeanDelta:
    """Σ w·t·u / Σ w over pairs, chosen minus rejected.

    Args:
        disparity: u of M units over P pairs.
        group: (P,) prompt group of each pair.
        weight: (P,) ≥ 0; 0 leaves a pair out.
        turn: (P,) factor of u: −1 where the sides are flipped, times 2σ(−m) for an offset m, because at the
            start of training an offset scales a pair's gradient by σ(−m)/σ(0).

    Returns:
        means with linearised (CR1) standard errors: sqrt(G/(G−1) · Σ_g (Σ_{i∈g} w_i(x_i − mean))²) / Σ w,
        G the groups with weight.

    Raises:
        StatsError: weights that are negative or all zero, or fewer than two groups with weight.
    """
    if np.any(weight < 0) or not np.all(np.isfinite(weight)):
        raise StatsError("weights must be finite and not negative")
    used = np.unique(group[weight > 0])
    if len(used) < 2:
        raise StatsError(
            "a forecast needs pairs of at least two prompt groups", hint="the rules leave too few pairs"
        )
    u = unit_matrix(disparity, len(weight))
    sums = group_sums(u, group, weight * turn)  # (M, G) Σ_i w·t·u by group
    total = float(weight.sum())
    group_weight = np.bincount(group, weight).astype(np.float64)  # (G,)
    mean = row_sums(sums) / total
    square = row_sums(sums.multiply(sums))
    cross: Vector = np.asarray(sums @ group_weight)
    spread = np.maximum(square - 2 * mean * cross + mean**2 * float(np.sum(group_weight**2)), 0.0)
    se = np.sqrt(spread * len(used) / (len(used) - 1)) / total
    half = float(special.ndtri((1 + LEVEL) / 2)) * se
    active = np.asarray(abs(u).sign() @ (weight > 0).astype(np.float64))
    return MeanDelta(mean, se, mean - half, mean + half, active.astype(np.int64))


def length_only(disparity: Disparity, length: Vector, weight: Vector, turn: Vector) -> Vector:
    """What the mean delta would be if each unit moved with length and with nothing else.

    The slope of u on the log length ratio (least squares through the origin, so that swapping sides changes
    its forecast's sign only) times the weighted mean log length ratio as turned.

    Args:
        disparity: u of M units over P pairs.
        length: (P,) log chosen tokens − log rejected tokens.
        weight: (P,) ≥ 0.
        turn: (P,) as for ``mean_delta``.

    Returns:
        (M,); zeros where lengths never differ.
    """
    size = float(weight @ length**2)
    if size == 0:
        return np.zeros(disparity.n_units)
    slope: Vector = np.asarray(unit_matrix(disparity, len(weight)) @ (weight * length)) / size
    return slope * float(weight @ (turn * length)) / float(weight.sum())


def unit_matrix(disparity: Disparity, n_pairs: int) -> sp.csr_matrix:
    """(M, P) u of every unit on every pair."""
    values = disparity.u.astype(np.float64)
    return sp.csr_matrix((values, disparity.pair, disparity.indptr), (disparity.n_units, n_pairs))


def group_sums(u: sp.csr_matrix, group: NDArray[np.int32], x: Vector) -> sp.csr_matrix:
    """(M, G) Σ x·u over the pairs of each prompt group."""
    return sp.csr_matrix(u @ sp.csr_matrix((x, (np.arange(len(x)), group))))


def row_sums(matrix: sp.csr_matrix) -> Vector:
    """(M,) sums of the rows."""
    return np.asarray(matrix.sum(axis=1), np.float64).ravel()
