"""A second clustering, by the two models that met: do effects at equal length hold from opponent to opponent?

Pairs of the same two models may share more than the null model's indicators take out (one opponent may use
lists well, another badly). With V over prompt groups, over pairs of models and over their intersections, the
two-way variance is ``V_group + V_models − V_both`` (Cameron, Gelbach & Miller 2011), read with Student's t
(``freedom``). It never makes anything surer: a z is the smaller of the one by prompt group and the normal
score of the two-way t, an interval the wider of the two. With V never below V_group and a normal p, tests of
5% and 0.1% had called 7% and 0.4–1% of nulls whose effect differed between ten to seventeen opponents.

Models are few, so in the score test their sums are taken at the unit's own effect to first order,
``U_c − U·I_c/I``: uncentred, C clusters alone would keep |z| under √C whatever the data say. At a converged
effect they are centred as they are.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from engine.arrays import UNKNOWN, Disparity, PairArrays
from engine.stats.sums import for_chunks, sums_by
from engine.stats.taught import student

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

MIN_CLUSTERS = 10
"""Fewer different pairs of models than this, among all pairs or where a unit is discordant, say nothing of
their own spread: then prompt groups alone count."""


def model_clusters(pairs: PairArrays) -> NDArray[np.int32] | None:
    """(P,) number of the unordered pair of models, −1 where unknown or the same; None if they are too few."""
    a, b = pairs.model_chosen.astype(np.int64), pairs.model_rejected.astype(np.int64)
    known = pairs.is_signed & (a != UNKNOWN) & (b != UNKNOWN) & (a != b)
    number = np.minimum(a, b) * (len(pairs.model_names) + 1) + np.maximum(a, b)
    found, code = np.unique(number[known], return_inverse=True)
    if len(found) < MIN_CLUSTERS:
        return None
    cluster = np.full(len(a), -1, np.int32)
    cluster[known] = code
    return cluster


def intersections(cluster: NDArray[np.int32], group: NDArray[np.int32]) -> NDArray[np.int32]:
    """(P,) number of each pair's prompt group and pair of models together, −1 where models are unknown."""
    known = cluster >= 0
    both = group[known].astype(np.int64) * (int(cluster.max(initial=-1)) + 1) + cluster[known]
    out = np.full(len(cluster), -1, np.int32)
    out[known] = np.unique(both, return_inverse=True)[1]
    return out


class Crossed(NamedTuple):
    """Residual · column of a null model, summed by pair of models and by intersection. q columns.

    A named tuple, since kernels take it whole; without a second clustering every array is empty.
    """

    cluster: NDArray[np.int32]  # (P,) −1 for none
    both: NDArray[np.int32]  # (P,) −1 for none
    by_models: Matrix  # (C, q)
    by_both: Matrix  # (N, q)
    meat: Matrix  # (q, q) Σ over intersections of outer products


def cross(
    cluster: NDArray[np.int32] | None, group: NDArray[np.int32], residual: Vector, z: Matrix
) -> Crossed:
    """Sums of a null model's scores for the second clustering; empty where there is none.

    Args:
        cluster: (P,) from ``model_clusters``.
        group: (P,) prompt group.
        residual: (P,) of the null model.
        z: (P, q) its columns.
    """
    if cluster is None:
        return without_models(z.shape[1])
    both, known = intersections(cluster, group), cluster >= 0
    scores = residual[known, None] * z[known]
    by_models = sums_by(cluster[known], int(cluster.max(initial=-1)) + 1, scores)
    by_both = sums_by(both[known], int(both.max(initial=-1)) + 1, scores)
    return Crossed(cluster, both, by_models, by_both, by_both.T @ by_both)


def without_models(q: int) -> Crossed:
    """No second clustering, for a null model of q columns."""
    none = np.zeros(0, np.int32)
    return Crossed(none, none, np.zeros((0, q)), np.zeros((0, q)), np.zeros((q, q)))


def freedom(counts: tuple[Vector, Vector], by_group: Vector, by_models: Vector, two_way: Vector) -> Vector:
    """(M,) degrees of freedom of the two-way variance (Satterthwaite 1946); NaN where it says nothing.

    ``V² / (V_group²/(G−1) + V_models²/(C−1))``, the intersections' variance taken as known, never below
    ``min(G, C) − 1`` nor above ``G − 1``: prompts are many, so where they carry the variance few models cost
    little.

    Args:
        counts: G and C, prompt groups and pairs of models in which a unit is discordant.
        by_group: V_group.
        by_models: V_models.
        two_way: V.
    """
    groups, models = (np.maximum(count - 1.0, 1.0) for count in counts)
    spread = by_group**2 / groups + by_models**2 / models
    degrees = np.divide(two_way**2, spread, out=np.ones(len(spread)), where=spread > 0)
    fewest, most = np.minimum(groups, models), np.maximum(groups, 1.0)
    is_known = (counts[1] >= MIN_CLUSTERS) & np.isfinite(two_way)
    return np.where(is_known, np.clip(degrees, fewest, most), np.nan)


def wider(half_width: Vector, variance: Vector, degrees: Vector) -> Vector:
    """(M,) half width of a 95% interval: the one by prompt group or, where it is wider, the two-way one.

    Args:
        half_width: by prompt group.
        variance: two-way, of the same estimate; NaN where there is no second clustering.
        degrees: of freedom, from ``freedom``.
    """
    second = student(degrees + 1) * np.sqrt(np.where(variance > 0, variance, 0.0))
    return np.where(np.isfinite(half_width), np.fmax(half_width, second), half_width)


def cautious_z(z: Vector, score: Vector, variance: Vector, degrees: Vector) -> Vector:
    """(M,) z, or where it is smaller the normal score of the two-way t.

    Args:
        z: by prompt group.
        score: U.
        variance: two-way; not positive where it says nothing against the one by group.
        degrees: of freedom, from ``freedom``.
    """
    usable = np.isfinite(z) & np.isfinite(degrees) & (variance > 0)
    t = np.abs(score) / np.sqrt(np.where(usable, variance, 1.0))
    normal = stats.norm.isf(stats.t.sf(t, np.where(usable, degrees, 1.0)))
    return np.where(usable, np.sign(score) * np.minimum(np.abs(z), normal), z)


@dataclass(frozen=True, slots=True)
class Second:
    """What the second clustering adds to the variance of scores. All (M,)."""

    by_models: Vector
    """V_models"""
    by_both: Vector
    """V_both"""
    counts: tuple[Vector, Vector]
    """Prompt groups and pairs of models in which the unit is discordant."""


def second_variance(
    disparity: Disparity,
    crossed: Crossed,
    null: tuple[NDArray[np.int32], Vector, Vector],
    kappa: Matrix,
    score: Vector,
    left: Vector,
) -> Second:
    """What the second clustering adds to the variance by prompt group of every unit's score.

    Args:
        disparity: u of every unit.
        crossed: the null model's own sums.
        null: prompt groups (P,), residuals (P,) and curvatures (P,) of the null model.
        kappa: (M, q) each unit's regression on the null's columns.
        score: (M,) U.
        left: (M,) share of each unit's information that the null's columns leave: what the scores of
            intersections shrink by when those are projected out, to first order.
    """
    group, residual, curvature = null
    n_clusters = len(crossed.by_models)
    own = np.zeros((disparity.n_units, n_clusters))
    information = np.zeros((disparity.n_units, n_clusters))
    # Over intersections with a = Σ eu, i = Σ wu²: Σ a², Σ a·i, Σ i²; over all pairs Σ wu², discordant groups
    single = np.zeros((disparity.n_units, 5))

    def chunk(start: int, stop: int) -> None:
        _cluster_kernel(
            disparity.indptr, disparity.pair, disparity.u, group, crossed.cluster, residual, curvature, own,
            information, single, start, stop,
        )  # fmt: skip

    for_chunks(disparity.indptr, chunk)
    beta = score / np.maximum(single[:, 3], 1e-300)
    by_models = own - kappa @ crossed.by_models.T - beta[:, None] * information
    by_models = (by_models**2).sum(axis=1) * n_clusters / max(n_clusters - 1, 1)
    by_both = single[:, 0] - 2 * beta * single[:, 1] + beta**2 * single[:, 2]
    return Second(by_models, left * by_both, (single[:, 4], (information > 0).sum(axis=1)))


@nb.njit(cache=True, nogil=True)
def _cluster_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    indptr, pair, u, group, cluster, residual, curvature, own, information, single, start, stop
):
    score, weight = np.zeros(own.shape[1]), np.zeros(own.shape[1])  # of the open group, by pair of models
    touched = np.empty(own.shape[1], np.int64)
    for m in range(start, stop):
        k = indptr[m]
        while k < indptr[m + 1]:
            g, n, is_discordant = group[pair[k]], 0, False
            while k < indptr[m + 1] and group[pair[k]] == g:
                i = pair[k]
                c = cluster[i]
                e, w = residual[i] * u[k], curvature[i] * u[k] * u[k]
                single[m, 3] += w
                is_discordant = is_discordant or w > 0
                if c >= 0 and w > 0:
                    if weight[c] == 0:
                        touched[n] = c
                        n += 1
                    score[c] += e
                    weight[c] += w
                k += 1
            single[m, 4] += is_discordant
            for t in range(n):
                c = touched[t]
                own[m, c] += score[c]
                information[m, c] += weight[c]
                single[m, 0] += score[c] * score[c]
                single[m, 1] += score[c] * weight[c]
                single[m, 2] += weight[c] * weight[c]
                score[c], weight[c] = 0.0, 0.0


@nb.njit(cache=True, nogil=True)
def crossed_meat(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    u, z, residual, group, e0, kappa, crossed
):
    """Σ over pairs of models, and over intersections, of (Σ_i e_i (u_i − κᵀz_i))²; how many of each.

    Of one unit at its converged effect: rows have u ≠ 0, ascend with groups and hold residuals at the effect
    and at the null (``e0``), at which all other pairs stay. The clusters of ``crossed`` are of the same rows.
    """
    cluster, both, by_models, by_both, meat = crossed
    n_models = len(by_models)
    models = -(by_models @ kappa)
    open_sum, is_met = np.zeros(n_models), np.zeros(n_models, np.bool_)
    last = np.full(n_models, -1, np.int64)  # a row of the open group's intersection with each pair of models
    touched = np.empty(n_models, np.int64)
    squares, n_both = np.dot(kappa, meat @ kappa), 0
    i = 0
    while i < len(u):
        g, n = group[i], 0
        while i < len(u) and group[i] == g:
            c = cluster[i]
            if c >= 0:
                if last[c] < 0:
                    touched[n] = c
                    n += 1
                projected = np.dot(z[i], kappa)
                open_sum[c] += residual[i] * (u[i] - projected) + e0[i] * projected
                last[c] = i
            i += 1
        for t in range(n):
            c = touched[t]
            base = -np.dot(by_both[both[last[c]]], kappa)
            squares += 2 * base * open_sum[c] + open_sum[c] * open_sum[c]
            models[c] += open_sum[c]
            is_met[c] = True
            open_sum[c], last[c] = 0.0, -1
        n_both += n
    return np.dot(models, models), squares, is_met.sum(), n_both
