"""Outcome: what a trained model does differently, concept by concept, against what was forecast.

Estimand of a concept's change: the mean over held-out prompts of (presence on responses after − presence on
responses before), presence being the unit that the disparity u has: the mean over the concept's latents of
1{fire_rate > τ} on one response (statistics page, "Forecast and outcome"; the paper's §4 gives no formula).
Before and after are the starting and the tuned checkpoint, or the unshaped and the shaped run, where drift
that both share cancels. Prompts of one group are not independent, so every standard error is summed by
group. How well forecasts did as a whole is in ``outcome_score``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from engine.errors import StatsError

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Integers = NDArray[np.int64]

LEVEL = 0.90
"""Of every interval on this page."""
Q = 0.05
"""False discovery rate at which a concept counts as moved beyond the noise floor."""
MIN_GROUPS = 5
"""A concept seen in fewer prompt groups, before and after taken together, is listed but not scored."""

MIN_DIVERGENCE = 0.1
"""KL in nats per response from which on a model counts as moved; its estimate is never below zero."""


@dataclass(frozen=True, slots=True)
class ResponseReadings:
    """Which latents fired on R responses: CSR, places of response i are ``indptr[i]:indptr[i+1]``."""

    indptr: Integers  # (R+1,)
    latent: Integers  # (N,)
    n_fired: Integers  # (N,) tokens of the response where the latent is > 0
    n_tokens: Integers  # (R,) the response's own tokens


def concept_presence(
    readings: ResponseReadings, members: Sequence[NDArray[np.integer[Any]]], threshold: float
) -> Matrix:
    """Share of a concept's latents that fire on each response.

    Args:
        readings: R responses.
        members: latents of each of C concepts, none empty.
        threshold: τ; a latent fires where fired tokens / tokens exceeds it. An empty response fires nothing.

    Returns:
        (R, C), in [0, 1].
    """
    n_responses = len(readings.n_tokens)
    row = np.repeat(np.arange(n_responses), np.diff(readings.indptr))
    fires = readings.n_fired > threshold * readings.n_tokens[row]
    width = 1 + max(
        int(readings.latent.max(initial=-1)), max((int(m.max(initial=-1)) for m in members), default=-1)
    )
    fired = sparse.csr_array(
        (np.ones(int(fires.sum())), (row[fires], readings.latent[fires])), shape=(n_responses, width)
    )
    sizes = np.array([len(m) for m in members])
    if np.any(sizes == 0):
        raise StatsError("a concept without latents has no presence", hint="cluster the latents again")
    column = np.repeat(np.arange(len(members)), sizes)
    latents = np.concatenate([np.asarray(m, np.int64) for m in members]) if len(members) else np.zeros(0, int)
    shares = sparse.csr_array((1 / sizes[column], (latents, column)), shape=(width, len(members)))
    presence: Matrix = (fired @ shares).toarray()
    return presence


@dataclass(frozen=True, slots=True)
class Changes:
    """Per prompt and concept: presence after − before."""

    change: Matrix  # (P, C)
    carried: NDArray[np.bool_]  # (P, C) the concept is present on a response before or after
    group: Integers  # (P,) 0 … G−1

    @property
    def n_groups(self) -> int:
        """G"""
        return int(self.group.max(initial=-1)) + 1


def prompt_changes(
    before: Matrix,
    before_prompt: Integers,
    after: Matrix,
    after_prompt: Integers,
    group_of: Mapping[int, str],
) -> Changes:
    """Average the samples of each prompt and take the difference, over prompts that both sides answered.

    Args:
        before: presence, (R, C).
        before_prompt: prompt number of each row, (R,).
        after: presence, (R', C).
        after_prompt: prompt number of each row, (R',).
        group_of: prompt number to prompt group.

    Raises:
        StatsError: fewer than two groups in common: no standard error exists.
    """
    prompts = np.intersect1d(before_prompt, after_prompt)
    names = [group_of[int(p)] for p in prompts]
    group = np.unique(names, return_inverse=True)[1].astype(np.int64) if names else np.zeros(0, np.int64)
    if len(set(names)) < 2:
        raise StatsError(
            f"{len(prompts)} prompts in {len(set(names))} groups were answered by both checkpoints",
            hint="an outcome needs at least two prompt groups; sample more held-out prompts",
        )
    first, last = _by_prompt(before, before_prompt, prompts), _by_prompt(after, after_prompt, prompts)
    return Changes(last - first, (first > 0) | (last > 0), group)


def _by_prompt(values: Matrix, prompt: Integers, prompts: Integers) -> Matrix:
    used = np.isin(prompt, prompts)
    number = np.searchsorted(prompts, prompt[used])
    mean = sparse.csr_array(
        (1 / np.bincount(number, minlength=len(prompts))[number], (number, np.nonzero(used)[0])),
        shape=(len(prompts), len(values)),
    )
    averaged: Matrix = np.asarray(mean @ values)
    return averaged


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its standard error and 90% interval, summed by group; None for G < 2, all of it for 0."""

    value: float | None
    se: float | None
    low: float | None
    high: float | None
    n_groups: int

    @property
    def is_clear(self) -> bool:
        """More than two standard errors from zero."""
        return self.value is not None and self.se is not None and abs(self.value) > 2 * self.se


def clustered_mean(values: Matrix, group: Integers) -> tuple[Vector, Vector]:
    """Mean over rows and its standard error when rows of a group go together.

    Args:
        values: (P, C).
        group: (P,) in 0 … G−1, G ≥ 2.

    Returns:
        Mean (C,), and sqrt(G/(G−1) · Σ_g (Σ_{i∈g} (v_i − mean))²) / P (C,): the linearised variance of a
        mean with random group sizes (cluster-robust, CR1).
    """
    n, n_groups = len(values), int(group.max()) + 1
    mean: Vector = values.mean(0)
    gather = sparse.csr_array((np.ones(n), (group, np.arange(n))), shape=(n_groups, n))
    sums = np.asarray(gather @ (values - mean))
    se: Vector = np.sqrt(n_groups / (n_groups - 1) * np.square(sums).sum(0)) / n
    return mean, se


def estimate(values: Vector, group: Sequence[str]) -> Estimate:
    """Mean of one number per row with its group-clustered interval (t with G − 1 degrees of freedom)."""
    codes = np.unique(np.asarray(group), return_inverse=True)[1].astype(np.int64)
    n_groups = int(codes.max(initial=-1)) + 1
    if n_groups < 2:
        return Estimate(float(values.mean()) if len(values) else None, None, None, None, n_groups)
    mean, se = clustered_mean(values[:, None], codes)
    half = float(se[0] * stats.t.ppf((1 + LEVEL) / 2, n_groups - 1))
    return Estimate(float(mean[0]), float(se[0]), float(mean[0]) - half, float(mean[0]) + half, n_groups)


@dataclass(frozen=True, slots=True)
class Movement:
    """Did the model move at all, on held-out pairs and on its own rollouts? Nats per response."""

    n_pairs: int
    log_ratio: Estimate
    """Mean of Δθ = (log π/π₀)(chosen) − (log π/π₀)(rejected): what training raises."""
    share_preferred: float | None
    """Share of held-out pairs with Δθ > 0."""
    chosen: Estimate
    """Mean change of log π(chosen): training can raise Δθ while this falls."""
    rejected: Estimate
    divergence: Estimate | None
    """KL(tuned ‖ start) per sampled response."""

    @property
    def is_moved(self) -> bool:
        """The held-out log-ratio difference is clear of zero, or sampled responses diverge measurably."""
        diverged = self.divergence is not None and self.divergence.is_clear
        return self.log_ratio.is_clear or (diverged and self.divergence_value >= MIN_DIVERGENCE)

    @property
    def divergence_value(self) -> float:
        """KL per response, 0 where it was not measured."""
        measured = None if self.divergence is None else self.divergence.value
        return 0.0 if measured is None else measured

    @property
    def chosen_fell(self) -> bool:
        """Chosen responses became less likely, by more than two standard errors."""
        return self.chosen.is_clear and self.chosen.value is not None and self.chosen.value < 0


def measure_movement(
    pairs: Mapping[str, Sequence[Any]], divergence: Mapping[str, Sequence[Any]] | None = None
) -> Movement:
    """Summarise log-probabilities under two checkpoints.

    Args:
        pairs: columns group_id, chosen_start, chosen_tuned, rejected_start, rejected_tuned.
        divergence: columns group_id, kl; None if no rollouts were scored.
    """
    group = [str(g) for g in pairs["group_id"]]
    columns = ("chosen_start", "chosen_tuned", "rejected_start", "rejected_tuned")
    before_c, after_c, before_r, after_r = (np.asarray(pairs[name], np.float64) for name in columns)
    chosen, rejected = after_c - before_c, after_r - before_r
    difference = chosen - rejected
    return Movement(
        n_pairs=len(group),
        log_ratio=estimate(difference, group),
        share_preferred=float(np.mean(difference > 0)) if len(group) else None,
        chosen=estimate(chosen, group),
        rejected=estimate(rejected, group),
        divergence=None
        if divergence is None
        else estimate(np.asarray(divergence["kl"], np.float64), [str(g) for g in divergence["group_id"]]),
    )


@dataclass(frozen=True, slots=True)
class ConceptOutcome:
    """One line: what was forecast for a concept and what was observed. Intervals are 90%."""

    concept: int
    forecast: float
    """In units of u; its size is not that of the change, which grows with training."""
    forecast_se: float
    forecast_low: float
    forecast_high: float
    change: float
    """Presence after − before, mean over prompts, in [−1, 1]."""
    change_se: float | None
    """None for a concept that no response carries."""
    change_low: float | None
    change_high: float | None
    p_value: float | None
    q_value: float | None
    """Benjamini–Hochberg over scored concepts."""
    n_groups: int
    """Prompt groups in which a response before or after carries it."""
    is_scored: bool
    """Carried in at least ``MIN_GROUPS`` groups, whose changes are not all the same (none, as a rule)."""
    is_moved: bool
    """Beyond the noise floor: q ≤ 0.05."""
    agrees: bool | None
    """Same sign as the forecast; None unless scored and |forecast| > 2 standard errors."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def check_forecast(changes: Changes, forecast: Vector, forecast_se: Vector) -> None:
    """Raises ``StatsError``: forecasts and changes of different concepts, or undefined forecasts."""
    n_concepts = changes.change.shape[1]
    if forecast.shape != (n_concepts,) or forecast_se.shape != (n_concepts,):
        raise StatsError(
            f"{n_concepts} concepts were observed, but {len(forecast)} forecast",
            hint="use one and the same index",
        )
    if not (np.all(np.isfinite(forecast)) and np.all(np.isfinite(forecast_se)) and np.all(forecast_se >= 0)):
        raise StatsError("a forecast is undefined", hint="leave out concepts without a forecast")


def concept_outcomes(
    changes: Changes, forecast: Vector, forecast_se: Vector, forecast_half: Vector
) -> tuple[ConceptOutcome, ...]:
    """One line per concept.

    Args:
        changes: per prompt and concept.
        forecast: (C,) weighted mean disparity, or another forecast in its units; sign chosen − rejected.
        forecast_se: (C,) its standard error, ≥ 0.
        forecast_half: (C,) half the width of its 90% interval.

    Raises:
        StatsError: forecasts and changes of different concepts, or undefined forecasts.
    """
    check_forecast(changes, forecast, forecast_se)
    n_concepts = changes.change.shape[1]
    mean, se = clustered_mean(changes.change, changes.group)
    n_carried = _groups_carrying(changes)
    scored = (n_carried >= MIN_GROUPS) & (se > 0)
    z = np.divide(mean, se, out=np.zeros(n_concepts), where=se > 0)
    p = 2 * stats.t.sf(np.abs(z), changes.n_groups - 1)
    q = np.ones(n_concepts)
    if scored.any():
        q[scored] = stats.false_discovery_control(p[scored])
    half = se * stats.t.ppf((1 + LEVEL) / 2, changes.n_groups - 1)
    clear = scored & (np.abs(forecast) > 2 * forecast_se)
    return tuple(
        ConceptOutcome(
            concept=c,
            forecast=float(forecast[c]),
            forecast_se=float(forecast_se[c]),
            forecast_low=float(forecast[c] - forecast_half[c]),
            forecast_high=float(forecast[c] + forecast_half[c]),
            change=float(mean[c]),
            change_se=float(se[c]) if se[c] > 0 else None,
            change_low=float(mean[c] - half[c]) if se[c] > 0 else None,
            change_high=float(mean[c] + half[c]) if se[c] > 0 else None,
            p_value=float(p[c]) if scored[c] else None,
            q_value=float(q[c]) if scored[c] else None,
            n_groups=int(n_carried[c]),
            is_scored=bool(scored[c]),
            is_moved=bool(scored[c] and q[c] <= Q),
            agrees=bool(np.sign(mean[c]) == np.sign(forecast[c])) if clear[c] else None,
        )
        for c in range(n_concepts)
    )


def _groups_carrying(changes: Changes) -> Integers:
    n = len(changes.group)
    gather = sparse.csr_array((np.ones(n), (changes.group, np.arange(n))), shape=(changes.n_groups, n))
    counts: Integers = ((gather @ changes.carried.astype(np.float64)) > 0).sum(0).astype(np.int64)
    return counts
