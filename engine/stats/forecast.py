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
    n_pairs, total = len(weight), float(weight.sum())
    x = weight * turn
    u = sp.csr_matrix(
        (disparity.u.astype(np.float64), disparity.pair, disparity.indptr), (disparity.n_units, n_pairs)
    )
    gather = sp.csr_matrix((np.ones(n_pairs), (np.arange(n_pairs), group)))
    sums = (u @ sp.diags(x)) @ gather  # (M, G) Σ_i w·t·u by group
    group_weight = gather.T @ weight  # (G,)
    mean = np.asarray(sums.sum(axis=1)).ravel() / total
    square = np.asarray(sums.multiply(sums).sum(axis=1)).ravel()
    cross = sums @ group_weight
    spread = np.maximum(square - 2 * mean * cross + mean**2 * float(group_weight @ group_weight), 0.0)
    se = np.sqrt(spread * len(used) / (len(used) - 1)) / total
    half = float(special.ndtri((1 + LEVEL) / 2)) * se
    active = (u != 0).astype(np.float64) @ (weight > 0).astype(np.float64)
    return MeanDelta(mean, se, mean - half, mean + half, np.asarray(active).astype(np.int64))
