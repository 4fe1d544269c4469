"""*Taught*: the total effect, what the labels reward, whatever carries it.

Estimands: ``E[u]`` under the labels against 0 (flip score), and the win rate among discordant pairs. Both
treat the prompt group as the unit: under "labels say nothing about this concept" swapping a whole group flips
its sum of u, so ``z = Σ_g T_g / √(Σ_g T_g²)`` has mean 0 and variance 1 (stats: A2 "flip scores").
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from engine.stats.sums import Sums

Vector = NDArray[np.float64]

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Taught:
    """Per unit; NaN where undefined (tables turn NaN into NULL). All arrays (M,)."""

    z: Vector
    p: Vector
    win_rate: Vector
    win_low: Vector
    win_high: Vector
    half_a: Vector
    half_b: Vector


def taught(sums: Sums) -> Taught:
    """Flip score and clustered win-rate interval of every unit."""
    z = safe_ratio(sums.wu, np.sqrt(sums.tt))
    rate = safe_ratio(sums.y, sums.n)
    low, high = win_interval(sums, rate)
    return Taught(
        z,
        two_sided(z),
        rate,
        low,
        high,
        safe_ratio(sums.y_a, sums.n_a),
        safe_ratio(sums.y_b, sums.n_b),
    )


def effective_discordant(sums: Sums, rate: Vector) -> Vector:
    """Independent discordant pairs worth the same as the clustered ones.

    ``n_eff = p(1 − p) / Var``, with ``Var`` the cluster-robust variance of Σ w·y / Σ w (with G/(G−1)), never
    more than Kish's ``(Σ w)² / Σ w²``, so that only ratios of weights matter. At rates 0 and 1, where that
    variance is 0/0, groups count as single observations: ``n_eff = (Σ w)² / Σ_g (Σ w)²``. NaN with fewer than
    two discordant groups.
    """
    groups = sums.n_discordant_groups
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = (sums.yy - 2 * rate * sums.yn + rate**2 * sums.nn) / sums.n**2 * groups / (groups - 1)
        clustered = rate * (1 - rate) / spread
        at_edge = sums.n**2 / sums.nn
        kish = sums.n**2 / sums.ww
    is_edge = (rate <= 0) | (rate >= 1)
    n_eff = np.where(is_edge, at_edge, np.minimum(np.where(spread > 0, clustered, np.inf), kish))
    return np.where(groups < 2, np.nan, n_eff)


def win_interval(sums: Sums, rate: Vector) -> tuple[Vector, Vector]:
    """Wilson interval with the effective number of discordant pairs and Student's quantile over groups."""
    n_eff = effective_discordant(sums, rate)
    quantile = student(sums.n_discordant_groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        shrink = quantile**2 / n_eff
        centre = (rate + shrink / 2) / (1 + shrink)
        half_width = quantile / (1 + shrink) * np.sqrt(rate * (1 - rate) / n_eff + shrink / (4 * n_eff))
    undefined = ~np.isfinite(half_width)
    low = np.where(undefined, np.nan, np.clip(centre - half_width, 0, 1))
    high = np.where(undefined, np.nan, np.clip(centre + half_width, 0, 1))
    return low, high


def student(groups: Vector) -> Vector:
    """Two-sided 95% quantile of Student's t with groups − 1 degrees of freedom; NaN below two groups."""
    freedom = np.where(groups >= 2, groups - 1, np.nan)
    return np.asarray(stats.t.ppf(0.5 + LEVEL / 2, freedom))


def two_sided(z: Vector) -> Vector:
    """Two-sided p of a standard normal z."""
    return np.asarray(2 * stats.norm.sf(np.abs(z)))


def safe_ratio(a: Vector, b: Vector) -> Vector:
    """``a / b``, NaN where b is not positive."""
    out: Vector = np.full(len(a), np.nan)
    np.divide(a, b, out=out, where=b > 0)
    return out
