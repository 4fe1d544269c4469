"""What else moves: the change of every concept's mean disparity when pairs get other weights.

First order: training follows the weighted mean of u (``forecast.mean_delta``). Both functions describe the
data under a plan; they do not predict a model's behaviour.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy import stats

from engine.arrays import Disparity
from engine.errors import StatsError

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Collateral:
    """Weighted mean u before and after, the change with a 95% interval clustered by group. All (M,)."""

    before: Vector
    after: Vector
    change: Vector
    low: Vector
    high: Vector


def collateral(
    disparity: Disparity, group: NDArray[np.int32], before: Vector, after: Vector, turn: Vector
) -> Collateral:
    """Change of every unit from one weighting to another of the same pairs.

    Args:
        disparity: u of every unit.
        group: (P,) prompt group.
        before: (P,) weights, 0 for unlabelled pairs.
        after: (P,) weights under the plan.
        turn: (P,) factor of u under the plan: −1 where sides are flipped, 2σ(−m) for an offset m, else 1.

    Returns:
        Means Σ w·u / Σ w and their difference; the standard error is that of the difference of two ratios
        over the same groups (linearised, G/(G−1)), so what both share cancels.

    Raises:
        StatsError: either weighting sums to zero.
    """
    if before.sum() <= 0 or after.sum() <= 0:
        raise StatsError("no weight is left", hint="the rules drop every pair")
    u = sp.csr_matrix(
        (disparity.u.astype(np.float64), disparity.pair.astype(np.int64), disparity.indptr),
        shape=(disparity.n_units, len(group)),
    )
    old, new = before / before.sum(), after / after.sum()
    mean_old, mean_new = u @ old, u @ (new * turn)
    n_groups = int(group.max()) + 1
    by_group = sp.csr_matrix((np.ones(len(group)), (np.arange(len(group)), group)), (len(group), n_groups))
    # Influence of group g on the difference: Σ_i new_i(t_i u_i − mean_new) − Σ_i old_i(u_i − mean_old).
    own = (u @ sp.diags(new * turn - old) @ by_group).tocsr()
    new_g, old_g = new @ by_group, old @ by_group
    square = np.asarray(own.multiply(own).sum(axis=1)).ravel()
    square += -2 * mean_new * (own @ new_g) + 2 * mean_old * (own @ old_g)
    square += mean_new**2 * (new_g @ new_g) + mean_old**2 * (old_g @ old_g)
    square -= 2 * mean_new * mean_old * (new_g @ old_g)
    used = int(((new_g > 0) | (old_g > 0)).sum())
    se = np.sqrt(np.maximum(square, 0) * used / max(used - 1, 1))
    change = mean_new - mean_old
    half_width = stats.norm.ppf(0.975) * se
    return Collateral(mean_old, mean_new, change, change - half_width, change + half_width)


def collateral_matrix(disparity: Disparity, weight: Vector) -> NDArray[np.float64]:
    """(M, M): change of unit j's mean u (column) when pairs that teach unit k (row, u_k > 0) are left out.

    The diagonal is what the cut does to its target. Rows whose cut would leave nothing are NaN.
    """
    shape = (disparity.n_units, len(weight))
    pair = disparity.pair.astype(np.int64)
    u = sp.csr_matrix((disparity.u.astype(np.float64), pair, disparity.indptr), shape)
    teaches = sp.csr_matrix(((disparity.u > 0).astype(np.float64), pair, disparity.indptr), shape)
    total, sums = float(weight.sum()), np.asarray(u @ weight)
    cut = np.asarray((teaches @ sp.diags(weight) @ u.T).todense())
    left = total - np.asarray(teaches @ weight)
    out = np.full(cut.shape, np.nan)
    some = left > 0
    out[some] = (sums[None, :] - cut[some]) / left[some, None] - sums[None, :] / total
    return out
