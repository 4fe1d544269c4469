"""The null model of the label: Bradley–Terry on oriented pairs, without intercept, from length and origin.

All labels are 1 after orientation (chosen − rejected), so an intercept would separate them perfectly. Fitted
by Newton's method to convergence; group-clustered sums are kept for the score tests.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

from engine.arrays import PairArrays
from engine.errors import StatsError
from engine.stats.design import Design
from engine.stats.sums import sums_by

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

EXPLAINED_AWAY = 0.02
"""Mean log-loss in units of log 2 below which length and origin alone separate the labels."""
_MAX_STEPS = 60


@dataclass(frozen=True, slots=True)
class NullModel:
    """The fitted null model. q columns, P pairs, G prompt groups; unlabelled pairs have weight 0."""

    design: Design
    gamma: Vector  # (q,)
    eta: Vector  # (P,) log odds that chosen wins, from length and origin
    weight: Vector  # (P,) the pair's weight, 0 for unlabelled pairs
    residual: Vector  # (P,) weight · (1 − p)
    curvature: Vector  # (P,) weight · p(1 − p)
    information: Matrix  # (q, q)
    inverse: Matrix  # (q, q)
    group: NDArray[np.int32]  # (P,)
    group_scores: Matrix  # (G, q) Σ over the group of residual · z
    meat: Matrix  # (q, q) Σ over groups of outer products of the above
    log_loss: float
    """Weighted mean, nats; log 2 without any column."""
    has_converged: bool

    @property
    def separates(self) -> bool:
        """Length and origin alone tell the sides apart: nothing is left to explain at equal length."""
        return bool(self.log_loss < EXPLAINED_AWAY * np.log(2))

    def redraw(self, rng: np.random.Generator) -> NDArray[np.bool_]:
        """(P,) True where the sides swap when labels are drawn anew from this model."""
        return rng.random(len(self.eta)) > expit(self.eta)


def fit_null(design: Design, group: NDArray[np.int32], weight: Vector) -> NullModel:
    """Fit the null model.

    Args:
        design: odd covariates of all pairs.
        group: (P,) prompt group, ascending.
        weight: (P,) weight of each pair, 0 for unlabelled pairs.

    Raises:
        StatsError: negative or non-finite weights.
    """
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise StatsError("pair weights must be finite and at least 0")
    z, q = design.z, design.n_columns
    gamma = np.zeros(q)
    total = max(float(weight.sum()), 1e-12)
    loss = _loss(z @ gamma, weight)
    has_converged = q == 0
    for _ in range(_MAX_STEPS if q else 0):
        p = expit(z @ gamma)
        gradient = z.T @ (weight * (1 - p))
        if np.max(np.abs(gradient)) <= 1e-9 * total:
            has_converged = True
            break
        information = (z * (weight * p * (1 - p))[:, None]).T @ z
        step = _inverse(information) @ gradient
        gamma, loss = _descend(z, weight, gamma, step, loss)
    return null_at(design, gamma, z @ gamma, group, weight, has_converged=has_converged)


def _inverse(information: Matrix) -> Matrix:
    """Pseudo-inverse: a column that says nothing under these weights (a source left out) is left at 0."""
    if information.size == 0:
        return information
    return np.asarray(np.linalg.pinv(information, rcond=1e-11, hermitian=True), np.float64)


def _descend(z: Matrix, weight: Vector, gamma: Vector, step: Vector, loss: float) -> tuple[Vector, float]:
    """The longest of the halved steps that does not raise the loss."""
    for halving in range(30):
        candidate = gamma + step * 0.5**halving
        new = _loss(z @ candidate, weight)
        if new <= loss + 1e-12 * abs(loss):
            return candidate, new
    return gamma, loss


def _loss(eta: Vector, weight: Vector) -> float:
    return float(-(weight * log_expit(eta)).sum())


def null_at(
    design: Design,
    gamma: Vector,
    eta: Vector,
    group: NDArray[np.int32],
    weight: Vector,
    *,
    has_converged: bool = True,
) -> NullModel:
    """The null model at given coefficients and log odds, with the sums that tests beside it need.

    Args:
        design: odd covariates of all pairs.
        gamma: (q,) their coefficients.
        eta: (P,) log odds; more than ``z @ gamma`` where something is held beside the columns.
        group: (P,) prompt group, ascending.
        weight: (P,) weight of each pair, 0 for unlabelled pairs.
        has_converged: whether a fit ended there.
    """
    z = design.z
    p = expit(eta)
    residual, curvature = weight * (1 - p), weight * p * (1 - p)
    information = (z * curvature[:, None]).T @ z
    total = max(float(weight.sum()), 1e-12)
    n_groups = int(group.max(initial=-1)) + 1
    group_scores = sums_by(group, n_groups, residual[:, None] * z)
    return NullModel(
        design, gamma, eta, weight, residual, curvature, information, _inverse(information), group,
        group_scores, group_scores.T @ group_scores, _loss(eta, weight) / total, has_converged,
    )  # fmt: skip


def mix_weights(pairs: PairArrays) -> Vector | None:
    """(P,) base weights with mean 1 over labelled pairs; None where all labelled pairs weigh the same.

    Only ratios of weights mean anything: a mix of 0.5 and 1 and one of 1 and 2 give the same estimates.
    """
    if pairs.base_weight is None or not pairs.is_signed.any():
        return None
    weight = np.asarray(pairs.base_weight, np.float64)
    signed = weight[pairs.is_signed]
    return None if (signed == signed[0]).all() else weight / signed.mean()


def signed_weight(is_signed: NDArray[np.bool_], weights: Vector | None) -> Vector:
    """(P,) float64 weights with unlabelled pairs at 0; all 1 where none are given.

    Raises:
        StatsError: the wrong number of weights.
    """
    if weights is None:
        return is_signed.astype(np.float64)
    if len(weights) != len(is_signed):
        raise StatsError(f"{len(weights)} weights for {len(is_signed)} pairs")
    return np.where(is_signed, np.asarray(weights, np.float64), 0.0)
