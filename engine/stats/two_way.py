"""A second clustering, by the two models that met: do effects at equal length hold from opponent to opponent?

Pairs of the same two models may share more than the null model's indicators take out (one opponent may use
lists well, another badly). With V over prompt groups, over pairs of models and over single pairs, the two-way
variance is ``V_group + V_models − V_pair`` (Cameron, Gelbach & Miller 2011, with single pairs for the
intersection), never less than V_group. Models are few, so their scores are taken at the unit's own effect to
first order, ``U_c − U·I_c/I``: uncentred, C clusters alone would keep |z| under √C whatever the data say.
"""

import numba as nb
import numpy as np
from numpy.typing import NDArray

from engine.arrays import UNKNOWN, Disparity, PairArrays
from engine.stats.sums import for_chunks

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

MIN_CLUSTERS = 10
"""Fewer different pairs of models than this say nothing of their own spread."""


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


def second_variance(
    disparity: Disparity,
    cluster: NDArray[np.int32],
    null: tuple[Vector, Vector, Matrix],
    kappa: Matrix,
    score: Vector,
    left: Vector,
) -> Vector:
    """(M,) V_models − V_pair of every unit: what the second clustering adds to the variance by prompt group.

    Args:
        disparity: u of every unit.
        cluster: (P,) from ``model_clusters``.
        null: residuals (P,), curvatures (P,) and columns (P, q) of the null model.
        kappa: (M, q) each unit's regression on the null's columns.
        score: (M,) U.
        left: (M,) share of each unit's information that the null's columns leave: what single pairs' scores
            shrink by when those are projected out, to first order.
    """
    residual, curvature, z = null
    n_clusters = int(cluster.max()) + 1
    own = np.zeros((disparity.n_units, n_clusters))
    information = np.zeros((disparity.n_units, n_clusters))
    # Σ (eu)², Σ eu·wu², Σ (wu²)² over pairs whose models are known; Σ wu² over all, as the score is
    single = np.zeros((disparity.n_units, 4))
    known = cluster >= 0
    columns = np.zeros((n_clusters, z.shape[1]))
    np.add.at(columns, cluster[known], residual[known, None] * z[known])

    def chunk(start: int, stop: int) -> None:
        _cluster_kernel(
            disparity.indptr, disparity.pair, disparity.u, cluster, residual, curvature, own, information,
            single, start, stop,
        )  # fmt: skip

    for_chunks(disparity.indptr, chunk)
    beta = score / np.maximum(single[:, 3], 1e-300)
    by_models = own - kappa @ columns.T - beta[:, None] * information
    by_models = (by_models**2).sum(axis=1) * n_clusters / (n_clusters - 1)
    by_pair = single[:, 0] - 2 * beta * single[:, 1] + beta**2 * single[:, 2]
    return np.asarray(by_models - left * by_pair)


@nb.njit(cache=True, nogil=True)
def _cluster_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    indptr, pair, u, cluster, residual, curvature, own, information, single, start, stop
):
    for m in range(start, stop):
        for k in range(indptr[m], indptr[m + 1]):
            i = pair[k]
            c = cluster[i]
            e, w = residual[i] * u[k], curvature[i] * u[k] * u[k]
            single[m, 3] += w
            if c < 0 or u[k] == 0:
                continue
            own[m, c] += e
            information[m, c] += w
            single[m, 0] += e * e
            single[m, 1] += e * w
            single[m, 2] += w * w
