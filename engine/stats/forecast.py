"""First-order forecasts: what a weighted set of pairs pushes towards, written down before training.

A forecast is a statement about the data. Its unit is that of the disparity u; the size of the change that
training brings also depends on steps, learning rate and β, so forecasts predict signs and proportions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy import special

from engine.arrays import Disparity
from engine.errors import StatsError

Vector = NDArray[np.float64]
LEVEL = 0.90


@dataclass(frozen=True, slots=True)
class MeanDelta:
    """Weighted mean disparity of M units, with errors summed by prompt group. All arrays (M,)."""

    mean: Vector
    se: Vector
    low: Vector
    """90% interval"""
    high: Vector
    n_active: NDArray[np.int64]
    """Pairs with weight and u ≠ 0."""


def mean_delta(disparity: Disparity, group: NDArray[np.int32], weight: Vector, turn: Vector) -> MeanDelta:
    """Σ w·t·u / Σ w over pairs, chosen minus rejected.

    Args:
        disparity: u of M units over P pairs.
        group: (P,) prompt group of each pair.
        weight: (P,) ≥ 0; 0 leaves a pair out.
        turn: (P,) factor of u: −1 where the sides are flipped, times 2σ(−m) for an offset m, because at the
            start of training an offset scales a pair's gradient by σ(−m)/σ(0).

    Returns:
        means with linearised (CR1) standard errors: sqrt(G/(G−1) · Σ_g (Σ_{i∈g} w_i(x_i − mean))²) / Σ w,
        G the groups with weight.

    Raises:
        StatsError: weights that are negative or all zero, or fewer than two groups with weight.
    """
    if np.any(weight < 0) or not np.all(np.isfinite(weight)):
        raise StatsError("weights must be finite and not negative")
    used = np.unique(group[weight > 0])
    if len(used) < 2:
        raise StatsError(
            "a forecast needs pairs of at least two prompt groups", hint="the rules leave too few pairs"
        )
    u = _matrix(disparity, len(weight))
    sums = _group_sums(u, group, weight * turn)  # (M, G) Σ_i w·t·u by group
    total = float(weight.sum())
    group_weight = np.bincount(group, weight).astype(np.float64)  # (G,)
    mean = _rows(sums) / total
    square = _rows(sums.multiply(sums))
    cross: Vector = np.asarray(sums @ group_weight)
    spread = np.maximum(square - 2 * mean * cross + mean**2 * float(np.sum(group_weight**2)), 0.0)
    se = np.sqrt(spread * len(used) / (len(used) - 1)) / total
    half = float(special.ndtri((1 + LEVEL) / 2)) * se
    active = np.asarray(abs(u).sign() @ (weight > 0).astype(np.float64))
    return MeanDelta(mean, se, mean - half, mean + half, active.astype(np.int64))


def length_only(disparity: Disparity, length: Vector, weight: Vector, turn: Vector) -> Vector:
    """What the mean delta would be if each unit moved with length and with nothing else.

    The slope of u on the log length ratio (least squares through the origin, so that swapping sides changes
    its forecast's sign only) times the weighted mean log length ratio as turned.

    Args:
        disparity: u of M units over P pairs.
        length: (P,) log chosen tokens − log rejected tokens.
        weight: (P,) ≥ 0.
        turn: (P,) as for ``mean_delta``.

    Returns:
        (M,); zeros where lengths never differ.
    """
    size = float(weight @ length**2)
    if size == 0:
        return np.zeros(disparity.n_units)
    slope: Vector = np.asarray(_matrix(disparity, len(weight)) @ (weight * length)) / size
    return slope * float(weight @ (turn * length)) / float(weight.sum())


def through_policy(values: NDArray[np.float64], prompt: NDArray[np.int64], direction: Vector) -> Vector:
    """Cov·v with Cov the mean within-prompt covariance of responses that one checkpoint samples.

    Where the pairs' own responses are not the policy's, a push on one concept moves what varies with it when
    the *policy* answers: to first order E[φ] moves by Cov·v / β. Never forms Cov: ``Xᵀ(X·v) / (R − prompts)``
    with X centred on its prompt's mean.

    Args:
        values: (R, C) score of each response.
        prompt: (R,) prompt number; prompts with one response say nothing.
        direction: (C,) mean delta, or weights of a preference model.

    Raises:
        StatsError: no prompt has two responses.
    """
    numbers = np.unique(prompt, return_inverse=True)[1]
    count = np.bincount(numbers)
    freedom = len(prompt) - len(count)
    if freedom < 1:
        raise StatsError(
            "a covariance needs two responses to some prompt", hint="set training.rollouts_per_prompt to 4"
        )
    gather = sp.csr_matrix((1 / count[numbers], (numbers, np.arange(len(prompt)))))
    centred = values - np.asarray(gather @ values)[numbers]
    return np.asarray(centred.T @ (centred @ direction)) / freedom


@dataclass(frozen=True, slots=True)
class CovarianceForecast:
    """Mean within-prompt covariances with errors summed by prompt group. All arrays (C,)."""

    mean: Vector
    se: Vector
    low: Vector
    """90% interval"""
    high: Vector
    n_prompts: int


def covariance_forecast(
    values: NDArray[np.float64], log_ratio: Vector, prompt: NDArray[np.int64], group: Sequence[str]
) -> CovarianceForecast:
    """Cov(φ, Δ log π) within prompts: where a checkpoint that moved by Δ log π takes each concept.

    Per prompt Σ (φ − mean φ)(d − mean d) / (n − 1) over its n responses, then the mean over prompts: to first
    order the change of E[φ], since d/dε E_{π·e^{εd}}[φ] = Cov(φ, d) at ε = 0.

    Args:
        values: (R, C) φ, score of each response sampled from the start.
        log_ratio: (R,) d, log-probability under the pilot − under the start, nats.
        prompt: (R,) prompt number; prompts with one response say nothing and are left out.
        group: (R,) prompt group of each response.

    Raises:
        StatsError: fewer than two prompt groups with two responses to a prompt.
    """
    numbers = np.unique(prompt, return_inverse=True)[1]
    count = np.bincount(numbers)
    first = np.unique(numbers, return_index=True)[1]
    kept = count > 1
    codes = np.unique(np.asarray(group)[first[kept]], return_inverse=True)[1].astype(np.int64)
    n_groups = int(codes.max(initial=-1)) + 1
    if n_groups < 2:
        raise StatsError(
            "a pilot forecast needs two prompt groups with two responses to a prompt",
            hint="set training.rollouts_per_prompt to 4, or sample more prompts",
        )
    n = len(count)
    gather = sp.csr_matrix((np.ones(len(numbers)), (numbers, np.arange(len(numbers)))), (n, len(numbers)))
    centred = log_ratio - np.asarray(gather @ log_ratio)[numbers] / count[numbers]
    each = np.asarray(gather @ (values * centred[:, None]))[kept] / (count[kept] - 1)[:, None]  # (P, C)
    mean: Vector = each.mean(0)
    sums = np.zeros((n_groups, each.shape[1]))
    np.add.at(sums, codes, each - mean)
    se: Vector = np.sqrt(n_groups / (n_groups - 1) * np.square(sums).sum(0)) / len(each)
    half = float(special.stdtrit(n_groups - 1, (1 + LEVEL) / 2)) * se
    return CovarianceForecast(mean, se, mean - half, mean + half, len(each))


def preference_weights(disparity: Disparity, weight: Vector, turn: Vector) -> Vector:
    """(M,) ridge weights ŵ of all concepts at once: which of them the labels ask for beside the others.

    One Newton step of Bradley–Terry from a coin, ``(Uᵀ D U / 4 + λI)⁻¹ Uᵀ D t / 2`` with D the weights. The
    prior weighs as much as M pairs of average information: λ = M · mean information of a concept / Σ D.
    """
    u = _matrix(disparity, len(weight))
    gram = np.asarray((u @ sp.diags(weight) @ u.T).todense()) / 4
    m = len(gram)
    ridge = m * float(np.trace(gram)) / max(m, 1) / float(weight.sum())
    return np.asarray(
        np.linalg.solve(gram + max(ridge, 1e-12) * np.eye(m), np.asarray(u @ (weight * turn)) / 2)
    )


def shuffled_labels(
    disparity: Disparity,
    group: NDArray[np.int32],
    weight: Vector,
    turn: Vector,
    rng: np.random.Generator,
    n: int,
) -> NDArray[np.float64]:
    """Mean deltas when each prompt group's label is a fair coin, (n, M): forecasts that cannot know."""
    sums = _group_sums(_matrix(disparity, len(weight)), group, weight * turn)
    signs = rng.choice(np.array([-1.0, 1.0]), (sums.shape[1], n))
    drawn: NDArray[np.float64] = np.asarray(sums @ signs).T / float(weight.sum())
    return drawn


def _matrix(disparity: Disparity, n_pairs: int) -> sp.csr_matrix:
    values = disparity.u.astype(np.float64)
    return sp.csr_matrix((values, disparity.pair, disparity.indptr), (disparity.n_units, n_pairs))


def _group_sums(u: sp.csr_matrix, group: NDArray[np.int32], x: Vector) -> sp.csr_matrix:
    return sp.csr_matrix(u @ sp.csr_matrix((x, (np.arange(len(x)), group))))


def _rows(matrix: sp.csr_matrix) -> Vector:
    return np.asarray(matrix.sum(axis=1), np.float64).ravel()
