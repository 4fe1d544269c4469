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
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]

_TOLERANCE = 1e-8
_MAX_STEPS = 60
_RIDGE = 1e-10
_DIVERGED = 1e4
_BLOCK = 32_768


@dataclass(frozen=True, slots=True)
class Balanced:
    """Result of ``balance``."""

    weight: Floats  # (n,)
    multiplier: Floats  # (k,) λ per row of A as given: w = min(u, q exp(Aᵀλ))
    residual: Floats  # (k,) A w − b in units of each row's scale, per unit of total weight
    converged: bool


def balance(rows: Floats, goal: Floats, base: Floats, upper: float, start: Floats | None = None) -> Balanced:
    """Solve the problem above.

    The linear algebra runs on one thread: the blocks are small, and threads that wait for each other cost
    several times the work on a busy machine.

    Args:
        rows: A, (k, n).
        goal: b, (k,).
        base: q > 0, (n,).
        upper: u, one bound for all.
        start: multipliers to begin from, (k,), such as those of a problem nearby; 0 by default.
    """
    scale = np.sqrt(np.einsum("kn,kn,n->k", rows, rows, base) / base.sum())
    scale[scale == 0] = 1.0
    features = np.ascontiguousarray((rows / scale[:, None]).T)  # (n, k)
    problem = _Problem(*_compress(features, base), wanted=goal / scale, upper=upper)
    total = float(base.sum())
    with threadpool_limits(limits=1):
        begin = np.zeros(len(goal)) if start is None else start * scale
        multiplier, state = _climb(problem, total, begin)
    weight = np.minimum(upper, base * np.exp(np.clip(features @ multiplier, -700, 700)))
    residual = -state.gradient / total
    return Balanced(weight, multiplier / scale, residual, bool(np.abs(residual).max(initial=0.0) <= 1e-6))


def _climb(problem: "_Problem", total: float, multiplier: Floats) -> tuple[Floats, "_State"]:
    """Newton steps until the constraints hold; the multiplier and its state."""
    state = problem.at(multiplier)
    for _ in range(_MAX_STEPS):
        if np.abs(state.gradient).max(initial=0.0) <= _TOLERANCE * total:
            break
        hessian = state.hessian + _RIDGE * total * np.eye(len(multiplier))
        step: Floats = np.asarray(np.linalg.solve(hessian, state.gradient), np.float64)
        moved = _line_search(problem, multiplier, step, state)
        if moved is None or np.abs(moved[0]).max() > _DIVERGED:
            break
        multiplier, state = moved
    return multiplier, state


@dataclass(frozen=True, slots=True)
class _State:
    """The dual at a multiplier."""

    value: float
    gradient: Floats  # (k,)
    hessian: Floats  # (k, k) of −g


@dataclass(frozen=True, slots=True)
class _Problem:
    """Columns of A that differ, with how often each occurs."""

    features: Floats  # (m, k)
    start: Floats  # (m,) q
    count: Floats  # (m,)
    wanted: Floats  # (k,) b
    upper: float

    def at(self, multiplier: Floats) -> _State:
        """Value and derivatives, in blocks that stay in the cache."""
        k = len(self.wanted)
        value, reached, hessian = 0.0, np.zeros(k), np.zeros((k, k))
        for begin in range(0, len(self.start), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            x, q, n = self.features[block], self.start[block], self.count[block]
            exponent = np.clip(x @ multiplier, -700, 700)
            free = q * np.exp(exponent)
            is_capped = free >= self.upper
            weight = n * np.where(is_capped, self.upper, free)
            # beyond the bound f goes on as a straight line with the bound as slope
            line = self.upper * (exponent + 1 - np.log(self.upper / q)) if is_capped.any() else free
            value += float((n * np.where(is_capped, line, free)).sum())
            reached += weight @ x
            hessian += (x * np.where(is_capped, 0.0, weight)[:, None]).T @ x
        return _State(float(self.wanted @ multiplier) - value, self.wanted - reached, hessian)


def _line_search(
    problem: _Problem, multiplier: Floats, step: Floats, state: _State
) -> tuple[Floats, _State] | None:
    """Halve the step until the dual rises enough (Armijo); None when it cannot."""
    gain = float(state.gradient @ step)
    length = min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
    small = 1e-12 * max(abs(state.value), 1.0)
    for _ in range(40):
        trial = multiplier + length * step
        found = problem.at(trial)
        if np.isfinite(found.value) and found.value >= state.value + 1e-4 * length * gain - small:
            return trial, found
        length /= 2
    return None


def _compress(features: Floats, base: Floats) -> tuple[Floats, Floats, Floats]:
    """Pairs on which every concept is silent are many and alike: count them instead of repeating them.

    Returns:
        features (m, k), base (m,), count (m,).
    """
    n = len(features)
    is_silent = np.count_nonzero(features, axis=1) <= 1  # at most the entry of their stratum's mass
    if is_silent.sum() < n // 4:
        return features, base, np.ones(n)
    at = np.nonzero(is_silent)[0]
    silent = np.column_stack([features[at], base[at]])
    kind = silent @ (1.0 + 0.6180339887498949 * np.arange(1, silent.shape[1] + 1) ** 1.5)
    _, first, which, count = np.unique(kind, return_index=True, return_inverse=True, return_counts=True)
    if (silent != silent[first][which]).any():
        return features, base, np.ones(n)  # two kinds share a key: too rare to matter
    busy = ~is_silent
    return (
        np.concatenate([features[busy], features[at[first]]]),
        np.concatenate([base[busy], base[at[first]]]),
        np.concatenate([np.ones(int(busy.sum())), count.astype(np.float64)]),
    )


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
