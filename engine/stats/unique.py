"""Unique contribution: which concepts still matter when all others are in the model.

L1 logistic on oriented pairs without intercept, the null model's columns unpenalised, with stability
selection (Meinshausen & Bühlmann 2010): the share of random halves of the prompt groups that select a concept
is reported beside its weight. Univariate rank says nothing about independent causes; this says a little more:
of several concepts that carry the same signal L1 keeps one, and which one may change from half to half.

Each concept's penalty is ``c · √(Σ_g s_g²)``, s its group-clustered score under the null model (cluster-lasso
loadings, Belloni, Chernozhukov, Hansen & Kozbur 2016), √½ of that on halves, as their scores vary that much
less. c lets √((2·0.6 − 1)·M) of M concepts through where only length and origin act, which by theorem 1 of
stability selection bounds at one the expected number of concepts that act no more than those and are still
selected in 60% of the halves. Fitted by proximal Newton steps on the Gram matrix. A half is one such step
from the whole fit, with half of its curvature and the half's own score: a refit to second order, which costs
a product instead of a fit.
"""

from dataclasses import dataclass

import numba as nb
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

from engine.arrays import Disparity
from engine.records import N_FOLDS
from engine.stats.null import NullModel
from engine.stats.score import Scores

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

SELECTED_AT = 1e-8
STABLE = 0.6
"""Share of halves from which on a concept counts as contributing on its own."""
MAX_CONCEPTS = 6000
"""The Gram matrix is dense: beyond this nothing is fitted, and the facts say so."""
_NEWTON_STEPS = 12
_SWEEPS = 200


@dataclass(frozen=True, slots=True)
class Unique:
    """Per concept; NaN where the concept is not in the model. All (M,)."""

    beta: Vector
    """Log odds per unit of u beside all other concepts, all pairs, shrunk by the L1 penalty."""
    selected: Vector
    """Share of halves in which the weight is not 0 and has the sign it mostly has."""


def unique_contribution(
    disparity: Disparity,
    null: NullModel,
    scores: Scores,
    wanted: NDArray[np.bool_],
    fold: NDArray[np.int8],
    *,
    halves: int,
    seed: int = 0,
) -> Unique:
    """L1 weights and selection shares of the wanted concepts.

    Args:
        disparity: u of every concept.
        null: its columns are controlled for without penalty.
        scores: of the same concepts under it: their variances are the penalties.
        wanted: (M,) concepts in the model; those without a defined score are left out.
        fold: (P,) 0–19, a hash of the prompt group: a half is ten folds, so the order of pairs never matters.
        halves: refits on random halves of the prompt groups.
        seed: of the halves.
    """
    n_units = disparity.n_units
    kept = np.nonzero(wanted & np.isfinite(scores.z))[0]
    beta, selected = np.full(n_units, np.nan), np.full(n_units, np.nan)
    if len(kept) == 0 or len(kept) > MAX_CONCEPTS or halves == 0:
        return Unique(beta, selected)
    u = _matrix(disparity, kept, null)
    penalty = threshold(len(kept)) * np.sqrt(scores.variance[kept])
    weight, at = _fit(u, null, penalty)
    beta[kept] = weight
    selected[kept] = _stability(
        u, null, weight, at, penalty * np.sqrt(0.5), fold, halves, np.random.default_rng(seed)
    )
    return Unique(beta, selected)


def threshold(n_concepts: int) -> float:
    """|z| that √((2·0.6 − 1)·M) of M standard normal scores exceed."""
    share = np.sqrt((2 * STABLE - 1) / n_concepts)
    return float(norm.isf(min(share, 1.0) / 2))


def _matrix(disparity: Disparity, kept: NDArray[np.int64], null: NullModel) -> sp.csr_matrix:
    """(P, M) u of the kept concepts, columns ascending inside a row."""
    every = sp.csc_matrix(
        (disparity.u.astype(np.float64), disparity.pair.astype(np.int64), disparity.indptr),
        (len(null.eta), disparity.n_units),
    )
    u = every[:, kept].tocsr()
    u.sort_indices()
    return u


@dataclass(frozen=True, slots=True)
class _Quadratic:
    """The log-likelihood to second order at a fit, with the null's columns profiled out."""

    eta: Vector  # (P,)
    gram: Matrix  # (M, M)
    onto_null: Matrix  # (M, q) concepts' curvature with the null's columns over the latter's own
    inverse: Matrix  # (q, q)

    def score(self, u: sp.csr_matrix, null: NullModel, inside: Vector | None = None) -> tuple[Vector, Vector]:
        """Profiled score of the concepts, and the null's own, over some pairs (1) or all."""
        residual = null.weight * expit(-self.eta)
        if inside is not None:
            residual = residual * inside
        own = null.design.z.T @ residual
        return np.asarray(u.T @ residual) - self.onto_null @ own, own


def _quadratic(u: sp.csr_matrix, null: NullModel, eta: Vector) -> _Quadratic:
    p, z = expit(eta), null.design.z
    curvature = null.weight * p * (1 - p)
    gram = np.zeros((u.shape[1], u.shape[1]))
    _gram_kernel(u.indptr, u.indices, u.data, curvature, gram)
    gram += np.triu(gram, 1).T
    mixed = np.asarray(u.T @ (z * curvature[:, None]))
    inverse: Matrix = np.asarray(
        np.linalg.pinv((z * curvature[:, None]).T @ z, rcond=1e-11, hermitian=True), np.float64
    )
    onto_null = mixed @ inverse
    return _Quadratic(eta, gram - onto_null @ mixed.T, onto_null, inverse)


def _fit(u: sp.csr_matrix, null: NullModel, penalty: Vector) -> tuple[Vector, _Quadratic]:
    """Weights by proximal Newton steps, and the expansion at them."""
    gamma, beta = null.gamma.copy(), np.zeros(u.shape[1])
    at = _quadratic(u, null, null.eta)
    for _ in range(_NEWTON_STEPS):
        score, own = at.score(u, null)
        new = beta.copy()
        descend(at.gram, score + at.gram @ beta, penalty, new, _SWEEPS)
        step = new - beta
        gamma, beta = gamma + at.inverse @ own - at.onto_null.T @ step, new
        at = _quadratic(u, null, null.design.z @ gamma + u @ beta)
        if np.abs(step).max(initial=0.0) < 1e-6:
            break
    return beta, at


def _stability(
    u: sp.csr_matrix, null: NullModel, beta: Vector, at: _Quadratic, penalty: Vector,
    fold: NDArray[np.int8], halves: int, rng: np.random.Generator,
) -> Vector:  # fmt: skip
    """Share of halves that select each concept with its usual sign."""
    plus, minus = np.zeros(len(beta)), np.zeros(len(beta))
    gram = at.gram / 2
    for _ in range(halves):
        inside = np.zeros(N_FOLDS)
        inside[rng.permutation(N_FOLDS)[: N_FOLDS // 2]] = 1
        score, _ = at.score(u, null, inside[fold])
        drawn = beta.copy()
        descend(gram, score + gram @ beta, penalty, drawn, _SWEEPS)
        plus += drawn > SELECTED_AT
        minus += drawn < -SELECTED_AT
    return np.maximum(plus, minus) / halves


@nb.njit(cache=True, nogil=True)
def _gram_kernel(indptr, index, value, curvature, gram):  # type: ignore[no-untyped-def] # numba
    """Upper triangle of XᵀWX; indices ascend inside a row."""
    for i in range(len(indptr) - 1):
        for a in range(indptr[i], indptr[i + 1]):
            scaled = curvature[i] * value[a]
            row = gram[index[a]]
            for b in range(a, indptr[i + 1]):
                row[index[b]] += scaled * value[b]


@nb.njit(cache=True, nogil=True)
def descend(gram, linear, penalty, beta, sweeps):  # type: ignore[no-untyped-def] # numba infers types
    """Minimise ½ βᵀGβ − lᵀβ + Σ λ|β| in place by coordinate descent; columns without curvature stay put.

    ``rest = l − Gβ`` is kept up to date. Sweeps over all columns alternate with sweeps over those that are
    not 0 until nothing moves.
    """
    n = len(beta)
    rest = linear - gram @ beta
    everything = True
    for _ in range(sweeps):
        largest = 0.0
        for j in range(n):
            curvature = gram[j, j]
            if curvature <= 0 or (not everything and beta[j] == 0 and penalty[j] > 0):
                continue
            target = rest[j] + curvature * beta[j]
            size = abs(target) - penalty[j]
            new = 0.0 if size <= 0 else np.sign(target) * size / curvature
            change = new - beta[j]
            if change != 0:
                beta[j] = new
                row = gram[j]
                for k in range(n):
                    rest[k] -= change * row[k]
                largest = max(largest, abs(change) * np.sqrt(curvature))
        if largest < 1e-5:
            if everything:
                return
            everything = True
        else:
            everything = False
