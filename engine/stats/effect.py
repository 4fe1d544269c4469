"""Converged effect of a unit at equal length, with the null model's columns refitted beside it.

Model: ``log odds that chosen wins = η₀ + Δᵀz + β·u``. Rows with u ≠ 0 enter exactly; the others, where only
the small refit Δ acts, enter through the second-order expansion of their likelihood at the null, so the cost
is that of the discordant rows. A half pseudo-win and half pseudo-loss at the unit's typical |u| keep β finite
when one side always wins (the Jeffreys prior of a single binomial).
"""

from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from engine.arrays import Disparity
from engine.stats.null import NullModel
from engine.stats.sums import Sums, for_chunks
from engine.stats.taught import safe_ratio, student
from engine.stats.two_way import cross, crossed_meat, freedom, rows_of, wider

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

PRIOR = 0.5
"""Pseudo-wins and pseudo-losses each."""
HEAD = 7
"""What a kernel's row holds before Δ: β, 1/I, then over I² the squares by prompt group, by the models met
and by both, and how many of the latter two there are."""


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
    disparity: Disparity, null: NullModel, sums: Sums, wanted: NDArray[np.bool_], prior: float = PRIOR
) -> Effects:
    """Converged β of every wanted unit.

    Args:
        disparity: u of every unit.
        null: the fitted null model.
        sums: of the same units and weights: typical |u| and group counts.
        wanted: (M,) units to fit.
        prior: pseudo-observations on each side; 0 for plain maximum likelihood.
    """
    q = null.design.n_columns
    out = np.full((disparity.n_units, HEAD + q), np.nan)
    crossed = cross(null.design.second, null.group, null.residual, null.design.z)
    typical = safe_ratio(sums.size, sums.n)

    def chunk(start: int, stop: int) -> None:
        for m in range(start, stop):
            if not wanted[m]:
                continue
            rows = slice(int(disparity.indptr[m]), int(disparity.indptr[m + 1]))
            pair, u = disparity.pair[rows], disparity.u[rows].astype(np.float64)
            live = (u != 0) & (null.weight[pair] > 0)
            pair, u = pair[live], u[live]
            if len(u) == 0:
                continue
            group = null.group[pair]
            out[m] = fit_kernel(
                u, null.design.z[pair], null.eta[pair], null.weight[pair], group, null.group_scores[group],
                null.information, null.inverse, null.meat, prior, typical[m], rows_of(crossed, pair),
            )  # fmt: skip

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


@nb.njit(cache=True, nogil=True)
def fit_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    u, z, eta, weight, group, group_score, information, inverse, meat, prior, typical, crossed
):
    """One unit: a row of ``HEAD`` numbers and Δ; variances without corrections for few clusters.

    Where β and γ together do not converge (a unit that hardly ever loses and stands on every pair pushes both
    off), γ is held at the null's fit and the pseudo-observations keep β finite; NaN without them.
    """
    out = _joint_kernel(
        u, z, eta, weight, group, group_score, information, inverse, meat, prior, typical, crossed
    )
    if np.isnan(out[0]) and prior > 0 and typical > 0:
        return _held_kernel(u, z, eta, weight, group, prior, typical, crossed)
    return out


@nb.njit(cache=True, nogil=True)
def _held_kernel(u, z, eta, weight, group, prior, typical, crossed):  # type: ignore[no-untyped-def] # numba
    """As ``_joint_kernel`` with γ held: concave in β, so Newton's steps, cut, always arrive."""
    q = z.shape[1]
    out = np.full(HEAD + q, np.nan)
    beta, own = 0.0, 0.0
    n = len(u)
    for _ in range(500):
        s = 1 / (1 + np.exp(-beta * typical))
        gradient = prior * typical * (1 - 2 * s)
        own = 2 * prior * typical * typical * s * (1 - s)
        for i in range(n):
            e = weight[i] / (1 + np.exp(eta[i] + beta * u[i]))
            gradient += e * u[i]
            own += e / (1 + np.exp(-eta[i] - beta * u[i])) * u[i] * u[i]
        if own <= 0:
            return out
        step = min(max(gradient / own, -2.0 / typical), 2.0 / typical)
        beta += step
        if abs(step) * typical < 1e-9:
            break
    residual = weight / (1 + np.exp(eta + beta * u))
    squares, part = 0.0, 0.0
    for i in range(n):
        if i > 0 and group[i] != group[i - 1]:
            squares += part * part
            part = 0.0
        part += residual[i] * u[i]
    out[0], out[1], out[2] = beta, 1 / own, (squares + part * part) / (own * own)
    by_models, by_both, n_models, n_both = crossed_meat(u, z, residual, group, residual, np.zeros(q), crossed)
    out[3], out[4], out[5], out[6] = by_models / (own * own), by_both / (own * own), n_models, n_both
    out[HEAD:] = 0.0
    return out


@nb.njit(cache=True, nogil=True)
def _joint_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    u, z, eta, weight, group, group_score, information, inverse, meat, prior, typical, crossed
):
    """β and γ together; NaN when they do not converge."""
    n, q = z.shape
    out = np.full(HEAD + q, np.nan)
    e0 = weight / (1 + np.exp(eta))
    w0 = e0 / (1 + np.exp(-eta))
    beta = 0.0
    delta = np.zeros(q)
    b = np.zeros(q)
    kappa = np.zeros(q)
    own = 0.0
    shift = np.zeros(n)
    has_converged = False
    for _ in range(200):
        gradient = 0.0
        own = 0.0
        b[:] = 0.0
        gamma_gradient = -(information @ delta)
        for i in range(n):
            t = eta[i] + shift[i] + beta * u[i]
            e = weight[i] / (1 + np.exp(t))
            w = e / (1 + np.exp(-t))
            gradient += e * u[i]
            own += w * u[i] * u[i]
            moved = e - e0[i] + w0[i] * shift[i]
            for c in range(q):
                gamma_gradient[c] += moved * z[i, c]
                b[c] += w * u[i] * z[i, c]
        if prior > 0:
            s = 1 / (1 + np.exp(-beta * typical))
            gradient += prior * typical * (1 - 2 * s)
            own += 2 * prior * typical * typical * s * (1 - s)
        kappa = inverse @ b
        schur = own - np.dot(b, kappa)
        if not schur > 1e-12 * own:
            return out
        step = (gradient - np.dot(kappa, gamma_gradient)) / schur
        limit = 2.0 / typical
        step = min(max(step, -limit), limit)
        beta += step
        delta += inverse @ (gamma_gradient - b * step)
        shift = z @ delta
        if abs(step) * typical < 1e-9:
            has_converged = True
            break
        if abs(beta) * typical > 30:
            return out
    if not has_converged:
        return out
    final = eta + shift + beta * u
    return _errors(
        u, z, final, weight, group, group_score, e0, w0, information, b, own, meat, beta, delta, crossed
    )


@nb.njit(cache=True, nogil=True)
def _errors(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    u, z, eta, weight, group, group_score, e0, w0, information, b, own, meat, beta, delta, crossed
):
    """The kernel's row once β has converged: variances from the final Hessian."""
    n, q = z.shape
    out = np.full(HEAD + q, np.nan)
    residual = weight / (1 + np.exp(eta))
    change = residual / (1 + np.exp(-eta)) - w0
    hessian = information + z.T @ (z * change.reshape(n, 1))
    # The ridge is for columns without information (a source left out); it is far below rounding elsewhere.
    kappa = np.linalg.solve(hessian + 1e-13 * max(np.trace(hessian), 1e-300) * np.eye(q), b)
    schur = own - np.dot(b, kappa)
    if not schur > 1e-12 * own:
        return out
    by_group = _meat(u, z, residual, group, group_score, e0, kappa, meat)
    by_models, by_both, n_models, n_both = crossed_meat(u, z, residual, group, e0, kappa, crossed)
    out[0], out[1], out[2] = beta, 1 / schur, by_group / (schur * schur)
    out[3], out[4], out[5], out[6] = by_models / (schur * schur), by_both / (schur * schur), n_models, n_both
    out[HEAD:] = delta
    return out


@nb.njit(cache=True, nogil=True)
def _meat(u, z, residual, group, group_score, e0, kappa, meat):  # type: ignore[no-untyped-def] # numba
    """Σ_g (Σ_i e_i (u_i − κᵀz_i))², rows with u = 0 at the null's residuals."""
    total = np.dot(kappa, meat @ kappa)
    n = len(u)
    i = 0
    while i < n:
        g = group[i]
        base = -np.dot(group_score[i], kappa)
        t = 0.0
        while i < n and group[i] == g:
            projected = np.dot(z[i], kappa)
            t += residual[i] * (u[i] - projected) + e0[i] * projected
            i += 1
        total += 2 * base * t + t * t
    return total
