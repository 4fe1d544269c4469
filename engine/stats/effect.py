"""Converged effect of a unit at equal length, with the null model's columns refitted beside it.

Model: ``log odds that chosen wins = η₀ + Δᵀz + β·u``. Rows with u ≠ 0 enter exactly; the others, where only
the small refit Δ acts, enter through the second-order expansion of their likelihood at the null, so the cost
is that of the discordant rows. A half pseudo-win and half pseudo-loss at the unit's typical |u| keep β finite
when one side always wins (the Jeffreys prior of a single binomial).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from engine.arrays import Disparity
from engine.stats.effect_kernels import HEAD, PRIOR, rows_kernel
from engine.stats.null import NullModel
from engine.stats.sums import Sums, for_chunks
from engine.stats.taught import safe_ratio, student
from engine.stats.two_way import cross, freedom, wider

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Effects:
    """Per unit; NaN where not fitted. All (M,) unless said."""

    beta: Vector
    """Log odds per unit of u."""
    se_model: Vector
    """Standard error from the information alone."""
    se_cluster: Vector
    """Cluster-robust (sandwich) by prompt group, with G/(G−1)."""
    typical: Vector
    """Mean |u| over discordant pairs: 1 for single latents."""
    delta: Matrix
    """(M, q) change of the null model's coefficients."""
    variance_two_way: Vector
    """Of β by prompt group and by the two models that met, with G/(G−1) and so on; NaN where models do not
    count, and it may be negative. See ``two_way``."""
    degrees: Vector
    """Of freedom of the above."""

    @property
    def se(self) -> Vector:
        """By prompt group, the larger of the two: the sandwich is too small when one side always wins."""
        return np.fmax(self.se_model, self.se_cluster)

    def half_width(self, sums: Sums) -> Vector:
        """(M,) of β's 95% interval: Student's t over discordant groups, or the two-way one where wider."""
        by_group = student(sums.n_discordant_groups) * self.se
        return wider(by_group, self.variance_two_way, self.degrees)


def fit_effects(
    disparity: Disparity,
    null: NullModel,
    sums: Sums,
    wanted: NDArray[np.bool_],
    prior: float = PRIOR,
    *,
    has_errors: bool = True,
) -> Effects:
    """Converged β of every wanted unit.

    Args:
        disparity: u of every unit.
        null: the fitted null model.
        sums: of the same units and weights: typical |u| and group counts.
        wanted: (M,) units to fit.
        prior: pseudo-observations on each side; 0 for plain maximum likelihood.
        has_errors: False for β and Δ alone, at a third of the time.
    """
    q = null.design.n_columns
    out = np.full((disparity.n_units, HEAD + q), np.nan)
    crossed = cross(null.design.second, null.group, null.residual, null.design.z)
    typical = safe_ratio(sums.size, sums.n)

    rows = (disparity.indptr, disparity.pair, disparity.u, wanted)
    model = (null.design.z, null.eta, null.weight, null.group, null.group_scores)
    sandwich = (null.information, null.inverse, null.meat)

    def chunk(start: int, stop: int) -> None:
        rows_kernel(*rows, *model, *sandwich, prior, typical, crossed, has_errors, out, start, stop)

    for_chunks(disparity.indptr, chunk)
    return effects_from(out, sums, typical)


def effects_from(out: Matrix, sums: Sums, typical: Vector) -> Effects:
    """Effects from the kernel's rows."""
    beta, by_model, by_group, by_models, by_both, n_models, n_both = out[:, :HEAD].T
    groups = sums.n_discordant_groups
    by_group, by_models = by_group * _correction(groups), by_models * _correction(n_models)
    two_way = by_group + by_models - by_both * _correction(n_both)
    degrees = freedom((groups, n_models), by_group, by_models, two_way)
    with np.errstate(invalid="ignore"):
        errors = np.sqrt(by_model), np.sqrt(by_group)
    return Effects(
        beta, *errors, typical, out[:, HEAD:], np.where(np.isnan(degrees), np.nan, two_way), degrees
    )


def _correction(n: Vector) -> Vector:
    """What sums over n clusters lack, n / (n − 1); NaN below two."""
    out: Vector = np.full(len(n), np.nan)
    np.divide(n, n - 1, out=out, where=n > 1)
    return out


def win_rates(effects: Effects, sums: Sums) -> tuple[Vector, Vector, Vector]:
    """Win probability at equal length when one side has the unit as a discordant pair typically does.

    Returns:
        σ(β·ū) with ū = mean |u| over discordant pairs (1 for single latents), and its 95% interval from
        ``Effects.half_width``.
    """
    centre = effects.beta * effects.typical
    half_width = effects.half_width(sums) * effects.typical
    return expit(centre), expit(centre - half_width), expit(centre + half_width)
