"""*Differs* in the second clustering: does it hold whichever models met inside the context and outside of it?

Where every opponent is met inside a context as outside, what opponents share cancels out of the difference.
Where a context has opponents of its own (a source, say) it does not: by prompt group alone, a test of 0.1%
had called every third null whose effect differs between opponents. Only cells that pass by prompt group are
looked at here: the second clustering makes no test surer, so Benjamini and Hochberg's rule rejects the same
cells as if all had been.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from engine.arrays import Disparity
from engine.stats.cells import Cells, CellTests, ContextIndex
from engine.stats.effect import Effects
from engine.stats.null import NullModel
from engine.stats.two_way import freedom, intersections

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fitted:
    """What the tests of cells were made from."""

    disparity: Disparity
    """u of every concept everywhere"""
    null: NullModel
    contexts: ContextIndex
    everywhere: Effects
    """β of every concept everywhere"""


def two_way_theta(
    cells: Cells, tests: CellTests, which: NDArray[np.int64], fitted: Fitted
) -> tuple[Vector, Vector]:
    """Two-way variance of θ and its degrees of freedom; NaN where models say nothing of their own spread.

    Args:
        cells: concepts inside contexts.
        tests: their θ, by prompt group.
        which: (W,) cells to look at.
        fitted: what they were tested with.

    Returns:
        two (W,) arrays.
    """
    second = fitted.null.design.second
    variance, degrees = np.full(len(which), np.nan), np.full(len(which), np.nan)
    if second is None:
        return variance, degrees
    both = intersections(second, fitted.null.group)
    inside = np.zeros(len(second), np.bool_)
    for k in np.unique(cells.context[which]):
        sets = fitted.contexts.sets
        members = sets.pair[sets.indptr[k] : sets.indptr[k + 1]]
        members = members[fitted.null.weight[members] > 0]
        inside[members] = True
        for w in np.flatnonzero(cells.context[which] == k):
            sums = _by_cluster(int(which[w]), cells, tests, fitted, (second, both), (members, inside))
            variance[w], degrees[w] = _of_theta(int(which[w]), tests, *sums)
        inside[members] = False
    return variance, degrees


def _of_theta(
    b: int, tests: CellTests, models: tuple[Vector, Vector], single: tuple[Vector, Vector], fewest: int
) -> tuple[float, float]:
    """Variance and degrees of one θ, from scores and information by pair of models and by intersection."""
    theta = tests.theta[b]
    n = int((models[1] > 0).sum())
    by_models = ((models[0] - theta * models[1]) ** 2).sum() * n / max(n - 1, 1)
    by_both = ((single[0] - theta * single[1]) ** 2).sum()
    by_group = (tests.theta_se[b] * tests.left[b]) ** 2
    two_way = by_group + by_models - by_both
    counts = (tests.groups[b : b + 1], np.array([float(fewest)]))
    numbers = (np.array([v]) for v in (by_group, by_models, two_way))
    return two_way / tests.left[b] ** 2, float(freedom(counts, *numbers)[0])


def _by_cluster(
    b: int,
    cells: Cells,
    tests: CellTests,
    fitted: Fitted,
    clusters: tuple[NDArray[np.int32], NDArray[np.int32]],
    context: tuple[NDArray[np.uint32], NDArray[np.bool_]],
) -> tuple[tuple[Vector, Vector], tuple[Vector, Vector], int]:
    """Efficient scores and information of one cell, by pair of models and by intersection.

    The last number is of the pairs of models in which the concept is discordant, inside the context or
    outside, whichever are fewer.
    """
    null, contexts = fitted.null, fitted.contexts
    m, k = int(cells.concept[b]), int(cells.context[b])
    members, inside = context
    rows = slice(int(fitted.disparity.indptr[m]), int(fitted.disparity.indptr[m + 1]))
    pair, u = fitted.disparity.pair[rows], fitted.disparity.u[rows].astype(np.float64)
    live = (u != 0) & (null.weight[pair] > 0)
    pair, u = pair[live], u[live]
    beta, delta = np.nan_to_num(fitted.everywhere.beta[m]), np.nan_to_num(fitted.everywhere.delta[m])
    others = members[~np.isin(members, pair, assume_unique=True)]
    every = np.concatenate([pair, others])
    own = np.concatenate([u, np.zeros(len(others))])
    length = contexts.ratio[every] * inside[every]
    eta = null.eta[every] + beta * own + contexts.slope[k] * length
    eta[: len(pair)] += null.design.z[pair] @ delta
    p = expit(eta)
    x = own * (inside[every] - tests.h_beta[b]) - tests.h_length[b] * length
    score, information = null.weight[every] * (1 - p) * x, null.weight[every] * p * (1 - p) * x**2
    second, both = (cluster[every] for cluster in clusters)
    known = second >= 0
    score, information = score[known], information[known]
    met, is_inside = second[: len(pair)], inside[pair]
    fewest = min(_n_known(met[is_inside]), _n_known(met[~is_inside]))
    numbers = np.unique(both[known], return_inverse=True)[1]
    return _sums(second[known], score, information), _sums(numbers, score, information), fewest


def _n_known(cluster: NDArray[np.int32]) -> int:
    return len(np.unique(cluster[cluster >= 0]))


def _sums(cluster: NDArray[np.signedinteger], score: Vector, information: Vector) -> tuple[Vector, Vector]:
    sums = (np.bincount(cluster, values) for values in (score, information))
    by_score, by_information = (np.asarray(values, np.float64) for values in sums)
    return by_score, by_information
