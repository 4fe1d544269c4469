"""Entropy balancing with bounds: the weights closest to the present ones that meet linear targets.

    minimise  Σ wᵢ ln(wᵢ/qᵢ) − wᵢ + qᵢ   subject to   A w = b,  0 ≤ w ≤ u

(Hainmueller 2012, Entropy Balancing, here with an upper bound.) The dual is concave in one multiplier per
row of A:

    g(λ) = bᵀλ − Σ fᵢ(aᵢᵀλ),   wᵢ(λ) = min(uᵢ, qᵢ e^{aᵢᵀλ}),   ∇g = b − A w,   ∇²g = −A diag(w·1{w < u}) Aᵀ

and is maximised by damped Newton steps. Pure: arrays in, arrays out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_TOLERANCE = 1e-8
_MAX_STEPS = 60
_RIDGE = 1e-10


@dataclass(frozen=True, slots=True)
class Balanced:
    """Result of ``balance``."""

    weight: Floats  # (n,)
    residual: Floats  # (k,) A w − b in units of each row's scale, per unit of total weight
    converged: bool
    n_steps: int


def balance(rows: Floats, goal: Floats, base: Floats, upper: float) -> Balanced:
    """Solve the problem above.

    Args:
        rows: A, (k, n).
        goal: b, (k,).
        base: q > 0, (n,).
        upper: u, one bound for all.
    """
    scale = np.sqrt((np.square(rows) * base).sum(axis=1) / base.sum())
    scale[scale == 0] = 1.0
    features, where, count = _compress(rows / scale[:, None], base)
    start: Floats = base[where]
    wanted: Floats = goal / scale
    total = float(base.sum())
    multiplier = np.zeros(len(rows))
    best = _state(features, wanted, start, count, upper, multiplier)
    steps = 0
    for steps in range(1, _MAX_STEPS + 1):  # noqa: B007 - reported
        value, weight, gradient = best
        if np.abs(gradient).max(initial=0.0) <= _TOLERANCE * total:
            break
        slope = count * weight * (weight < upper)
        hessian = (features * slope) @ features.T
        hessian[np.diag_indices_from(hessian)] += _RIDGE * total
        step: Floats = np.asarray(np.linalg.solve(hessian, gradient), np.float64)
        moved = _line_search((features, wanted, start, count, upper), multiplier, step, value, gradient)
        if moved is None:
            break
        multiplier, best = moved
        if np.abs(multiplier).max() > 1e4:
            break
    _, weight, gradient = best
    full = np.minimum(upper, base * np.exp(np.clip((rows / scale[:, None]).T @ multiplier, -700, 700)))
    residual = -gradient / total
    return Balanced(full, residual, bool(np.abs(residual).max(initial=0.0) <= 1e-6), steps)


_State = tuple[float, Floats, Floats]


def _state(
    features: Floats, wanted: Floats, start: Floats, count: Floats, upper: float, multiplier: Floats
) -> _State:
    """Dual value, weights and gradient at a multiplier."""
    exponent = np.clip(multiplier @ features, -700, 700)
    free = start * np.exp(exponent)
    is_capped = free >= upper
    weight = np.where(is_capped, upper, free)
    # beyond the bound f goes on as a straight line with the bound as slope
    linear = upper * exponent + upper - upper * np.log(upper / start)
    value = wanted @ multiplier - (count * np.where(is_capped, linear, free)).sum()
    gradient = wanted - features @ (count * weight)
    return float(value), weight, gradient


def _line_search(
    problem: tuple[Floats, Floats, Floats, Floats, float],
    multiplier: Floats,
    step: Floats,
    value: float,
    gradient: Floats,
) -> tuple[Floats, _State] | None:
    """Halve the step until the dual rises enough (Armijo); None when it cannot."""
    gain = float(gradient @ step)
    length = min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
    for _ in range(40):
        trial = multiplier + length * step
        state = _state(*problem, trial)
        small = 1e-12 * max(abs(value), 1.0)
        if state[0] >= value + 1e-4 * length * gain - small and np.isfinite(state[0]):
            return trial, state
        length /= 2
    return None


def _compress(features: Floats, base: Floats) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Equal columns once, with their count: pairs on which all concepts are silent are many and alike.

    Returns:
        features (k, m), index of a representative (m,), count (m,).
    """
    n = features.shape[1]
    mixed = base * 0.7548776662466927
    for i, row in enumerate(features):
        mixed = mixed + row * (0.5698402909980532 + 0.6180339887498949 * (i + 1)) ** 1.5
    order = np.argsort(mixed, kind="stable")
    same = np.ones(n, bool)
    same[0] = False
    left, right = order[:-1], order[1:]
    same[1:] = (mixed[left] == mixed[right]) & (base[left] == base[right])
    for row in features:
        same[1:] &= row[left] == row[right]
    starts = np.nonzero(~same)[0]
    if len(starts) > 0.7 * n:
        return features, np.arange(n), np.ones(n)
    count = np.diff(np.append(starts, n)).astype(np.float64)
    where = order[starts]
    return np.ascontiguousarray(features[:, where]), where, count


def reachable(values: Floats, base: Floats, upper: float) -> tuple[float, float]:
    """Smallest and largest weighted mean of ``values`` with the total weight kept and 0 ≤ w ≤ upper."""
    total = float(base.sum())
    ends = []
    for ordered in (np.sort(values), np.sort(values)[::-1]):
        n_full = int(total // upper)
        mass = upper * ordered[:n_full].sum()
        if n_full < len(ordered):
            mass += (total - upper * n_full) * ordered[n_full]
        ends.append(float(mass / total))
    return ends[0], ends[1]
