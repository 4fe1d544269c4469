"""What else moves: the change of every concept's mean disparity when pairs get other weights.

First order: training follows the weighted mean of u (``forecast.mean_delta``). All of this describes the data
under a plan, or with some pairs left out; nothing here predicts a model's behaviour.
"""

from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from engine.arrays import Disparity
from engine.errors import StatsError
from engine.stats.sums import for_chunks

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Collateral:
    """Weighted mean u before and after, the change with an interval clustered by group. All (M,)."""

    before: Vector
    after: Vector
    change: Vector
    low: Vector
    high: Vector


def collateral(
    disparity: Disparity, group: NDArray[np.int32], before: Vector, after: Vector, turn: Vector,
    *, level: float = 0.95,
) -> Collateral:  # fmt: skip
    """Change of every unit from one weighting to another of the same pairs.

    Args:
        disparity: u of every unit.
        group: (P,) prompt group.
        before: (P,) weights, 0 for unlabelled pairs.
        after: (P,) weights under the plan.
        turn: (P,) factor of u under the plan: −1 where sides are flipped, 2σ(−m) for an offset m, else 1.
        level: of the intervals.

    Returns:
        Means Σ w·u / Σ w and their difference; the standard error is that of the difference of two ratios
        over the same groups (linearised, G/(G−1)), so what both share cancels.

    Raises:
        StatsError: either weighting sums to zero.
    """
    if before.sum() <= 0 or after.sum() <= 0:
        raise StatsError("no weight is left", hint="the rules drop every pair")
    old, new = before / before.sum(), after / after.sum()
    n_groups = int(group.max()) + 1
    new_g = np.bincount(group, new, minlength=n_groups).astype(np.float64)
    old_g = np.bincount(group, old, minlength=n_groups).astype(np.float64)
    out = np.zeros((disparity.n_units, 5))

    def chunk(start: int, stop: int) -> None:
        _change_kernel(
            disparity.indptr,
            disparity.pair,
            disparity.u,
            group,
            new * turn,
            old,
            new_g,
            old_g,
            out,
            start,
            stop,
        )

    for_chunks(disparity.indptr, chunk)
    mean_new, mean_old, square, with_new, with_old = out.T
    # Influence of group g on the difference: Σ_i new_i(t_i u_i − mean_new) − Σ_i old_i(u_i − mean_old).
    square = square - 2 * mean_new * with_new + 2 * mean_old * with_old
    square += mean_new**2 * (new_g @ new_g) + mean_old**2 * (old_g @ old_g)
    square -= 2 * mean_new * mean_old * (new_g @ old_g)
    used = int(((new_g > 0) | (old_g > 0)).sum())
    se = np.sqrt(np.maximum(square, 0) * used / max(used - 1, 1))
    change = mean_new - mean_old
    half_width = float(norm.isf((1 - level) / 2)) * se
    return Collateral(mean_old.copy(), mean_new.copy(), change, change - half_width, change + half_width)


@nb.njit(cache=True, nogil=True)
def _change_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    indptr, pair, u, group, new, old, new_g, old_g, out, start, stop
):
    """Σ new·u, Σ old·u, Σ_g a_g², Σ_g a_g·new_g and Σ_g a_g·old_g with a_g = Σ (new − old)·u."""
    for m in range(start, stop):
        k, end = indptr[m], indptr[m + 1]
        while k < end:
            g = group[pair[k]]
            a, b = 0.0, 0.0
            while k < end and group[pair[k]] == g:
                a += new[pair[k]] * u[k]
                b += old[pair[k]] * u[k]
                k += 1
            out[m, 0] += a
            out[m, 1] += b
            out[m, 2] += (a - b) * (a - b)
            out[m, 3] += (a - b) * new_g[g]
            out[m, 4] += (a - b) * old_g[g]


@dataclass(frozen=True, slots=True)
class Moved:
    """What moves when a unit is taught half as much. B rows, in the order of ``unit``."""

    unit: NDArray[np.int64]
    dropped: Vector
    """Summed weight of the pairs that were left out to halve the unit's mean u."""
    moved: NDArray[np.int64]
    """Another unit …"""
    before: Vector
    """… and its mean u with every pair,"""
    after: Vector
    """with the cut,"""
    low: Vector
    """and the 95% interval of the difference, simultaneous over all units that may be listed."""
    high: Vector


def side_effects(
    disparity: Disparity,
    group: NDArray[np.int32],
    weight: Vector,
    wanted: NDArray[np.bool_],
    listed: NDArray[np.bool_],
    n: int = 12,
) -> Moved:
    """What else moves, clear of chance, when a unit's mean u is halved by leaving out what teaches it most.

    The paper's ranked filter as a yardstick: the same dose for every unit. Clearest first, at most ``n``.

    Args:
        disparity: u of every unit.
        group: (P,) prompt group.
        weight: (P,) 0 for unlabelled pairs.
        wanted: (M,) units to halve; those with a mean of 0 have nothing to halve.
        listed: (M,) units that may be listed as moved, never the unit itself.
        n: at most so many for each.
    """
    level = 1 - 0.05 / max(int(listed.sum()), 1)
    turn = np.ones(len(weight))
    rows: list[tuple[Any, ...]] = []
    for k in np.nonzero(wanted)[0]:
        own = slice(int(disparity.indptr[k]), int(disparity.indptr[k + 1]))
        rest = _halved(disparity.pair[own], disparity.u[own].astype(np.float64), weight)
        if rest is None:
            continue
        found = collateral(disparity, group, weight, rest, turn, level=level)
        clear = listed & ((found.low > 0) | (found.high < 0))
        clear[k] = False
        width = np.where(clear, found.high - found.low, np.inf)
        with np.errstate(divide="ignore"):  # an interval without width comes first
            order = np.argsort(-np.abs(found.change) / width, kind="stable")
        picked = order[: min(n, int(clear.sum()))]
        dropped = np.full(len(picked), float(weight.sum() - rest.sum()))
        values = (found.before, found.after, found.low, found.high)
        rows.append((np.full(len(picked), k), dropped, picked, *(v[picked] for v in values)))
    if not rows:
        none, empty = np.zeros(0, np.int64), np.zeros(0)
        return Moved(none, empty, none, empty, empty, empty, empty)
    return Moved(*(np.concatenate(part) for part in zip(*rows, strict=True)))


def _halved(pair: NDArray[np.uint32], u: Vector, weight: Vector) -> Vector | None:
    """Weights under which the unit's mean u is half of what it was.

    None where its mean is 0, or where no weights can halve it: every pair carries it alike.

    Pairs whose u has the sign of the mean go first, largest |u| first; pairs that tie at the last |u| keep
    the same share of their weight.
    """
    w = weight[pair]
    total, push = float(weight.sum()), float(w @ u)
    if push == 0:
        return None
    size = u * np.sign(push)
    levels, place = np.unique(-size[size > 0], return_inverse=True)  # largest first
    weights = np.bincount(place, w[size > 0], minlength=len(levels))
    left = abs(push) - np.cumsum(weights * -levels) - abs(push) / (2 * total) * (total - np.cumsum(weights))
    if not (left <= 0).any():  # every pair carries it almost alike
        return None
    last = int(np.argmax(left <= 0))  # the first level after which the mean is half or less
    share = 0.0
    if weights[last] > 0:
        start = left[last - 1] if last else abs(push) / 2
        share = 1 - start / (start - left[last])
    out = weight.copy()
    gone = pair[size > 0]
    out[gone[place < last]] = 0.0
    out[gone[place == last]] *= share
    return out if out.sum() > 1e-9 * total else None
