"""How well forecasts did over all concepts, and the report in the order in which it should be read.

First whether the model moved at all: scores of a model that did not move describe noise, and the report
says so. Then signs, coverage, R². The slope b that turns a forecast into a change is always taken from other
prompts than those it is judged on (two halves by group, each scored with the other's slope).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import special

from engine.stats.outcome import (
    LEVEL,
    Changes,
    ConceptOutcome,
    Integers,
    Matrix,
    Movement,
    Vector,
    clustered_mean,
    concept_outcomes,
)

N_DRAWS = 400
"""Bootstrap replicates and permutations."""
MIN_CONCEPTS = 5
"""Fewer scored concepts have no R²."""
N_LARGEST = 5
"""How many of the largest forecasts are left out to see whether they carry the result."""


@dataclass(frozen=True, slots=True)
class Score:
    """A score with its 90% bootstrap interval over prompt groups; None where undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class NullScore:
    """R² of forecasts that cannot know anything."""

    name: str
    median: float
    share_as_good: float
    """(1 + nulls with R² ≥ the observed) / (1 + nulls)"""
    n: int


@dataclass(frozen=True, slots=True)
class RivalScore:
    """Another forecast on the same concepts and prompts; the leading one was named beforehand."""

    name: str
    r2: Score
    sign_accuracy: Score
    """Over the concepts whose leading forecast is clear."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The whole report."""

    concepts: tuple[ConceptOutcome, ...]
    movement: Movement | None
    n_prompts: int
    n_groups: int
    n_scored: int
    n_moved: int
    """Scored concepts beyond the noise floor at a false discovery rate of 5%."""
    is_null_result: bool
    """The model did not move: no concept beyond the noise floor."""
    sign_accuracy: Score
    """Share of scored concepts with |forecast| > 2 SE whose change has the forecast's sign."""
    n_signs: int
    sign_chance: float | None
    """What the same signs in random order would score: above one half where most signs agree anyway."""
    coverage: float | None
    """Share of scored concepts inside the 90% interval b·forecast ± 1.645·√(b²·se² + se_change²)."""
    coverage_unscaled: float | None
    """The same with b = 1: the forecast taken at its word."""
    slope: float | None
    """b: change per unit of forecast, all prompts."""
    r2: Score
    """1 − Σ(y − b·x)² / Σ(y − ȳ)² over scored concepts; below 0: worse than their mean."""
    r2_without_largest: Score
    """The same without the five largest |forecast|."""
    r2_partial: Score
    """Of what a length-only forecast leaves unexplained; undefined without one."""
    ceiling: float | None
    """R² that a perfect forecast would have at this noise."""
    nulls: tuple[NullScore, ...]
    rivals: tuple[RivalScore, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def score_outcome(
    changes: Changes,
    forecast: Vector,
    forecast_se: Vector,
    rng: np.random.Generator,
    *,
    movement: Movement | None = None,
    length_forecast: Vector | None = None,
    null_forecasts: Mapping[str, Matrix] | None = None,
    rivals: Mapping[str, Vector] | None = None,
) -> Outcome:
    """Compare forecast and observed changes.

    Args:
        changes: per prompt and concept.
        forecast: (C,).
        forecast_se: (C,).
        rng: of halves, bootstrap and permutations.
        movement: did the model move, where log-probabilities were measured.
        length_forecast: (C,) forecast from response length alone.
        null_forecasts: per name (N, C) forecasts that cannot know anything: from shuffled labels, from
            random concepts of the same sizes. Forecasts in random order are always added.
        rivals: per name (C,) other forecasts, scored beside the leading one.
    """
    lines = concept_outcomes(changes, forecast, forecast_se)
    scored = np.array([line.is_scored for line in lines], bool)
    x, x_se = forecast[scored], forecast_se[scored]
    y = changes.change[:, scored]
    mean, se = clustered_mean(y, changes.group)
    clear = np.abs(x) > 2 * x_se
    halves = _Halves.draw(y, changes.group, rng)
    slope = _slope(x, mean)
    length = None if length_forecast is None else length_forecast[scored]
    without = np.argsort(-np.abs(x), kind="stable")[N_LARGEST:]
    n_moved = sum(line.is_moved for line in lines)
    return Outcome(
        concepts=lines,
        movement=movement,
        n_prompts=len(changes.group),
        n_groups=changes.n_groups,
        n_scored=int(scored.sum()),
        n_moved=n_moved,
        is_null_result=n_moved == 0,
        sign_accuracy=_sign_score(x[clear], mean[clear], halves.whole[:, clear]),
        n_signs=int(clear.sum()),
        sign_chance=_sign_chance(x[clear], mean[clear]),
        coverage=_coverage(x, x_se, mean, se, slope),
        coverage_unscaled=_coverage(x, x_se, mean, se, 1.0),
        slope=slope,
        r2=halves.score(x[None]),
        r2_without_largest=halves.take(without).score(x[None, without]),
        r2_partial=Score(None)
        if length is None
        else halves.score(np.stack([length, x]), beyond=length[None]),
        ceiling=halves.ceiling(),
        nulls=_nulls(halves, x, scored, null_forecasts or {}, rng),
        rivals=tuple(
            RivalScore(
                name,
                halves.score(other[scored][None]),
                _sign_score(other[scored][clear], mean[clear], halves.whole[:, clear]),
            )
            for name, other in (rivals or {}).items()
        ),
    )


@dataclass(frozen=True, slots=True)
class _Halves:
    """Mean changes in two halves of the prompt groups: as observed (row 0), then bootstrapped."""

    y: Matrix  # (1 + B, 2, C)
    variance: Matrix  # (2, C) of the observed means
    whole: Matrix  # (1 + B, C) over both halves

    @classmethod
    def draw(cls, y: Matrix, group: Integers, rng: np.random.Generator) -> "_Halves":
        n_groups = int(group.max()) + 1
        half_of = rng.permutation(n_groups) % 2
        weight = np.ones((1 + N_DRAWS, n_groups))
        for half in (0, 1):
            members = np.nonzero(half_of == half)[0]
            weight[1:, members] = rng.multinomial(
                len(members), np.full(len(members), 1 / len(members)), size=N_DRAWS
            )
        rows = weight[:, group]  # (1 + B, P)
        means, variances = [], []
        for half in (0, 1):
            inside = half_of[group] == half
            part = rows[:, inside]
            means.append(part @ y[inside] / part.sum(1, keepdims=True))
            codes = np.unique(group[inside], return_inverse=True)[1].astype(np.int64)
            is_enough = codes.max(initial=-1) > 0
            variances.append(clustered_mean(y[inside], codes)[1] ** 2 if is_enough else np.zeros(y.shape[1]))
        return cls(np.stack(means, 1), np.stack(variances), rows @ y / rows.sum(1, keepdims=True))

    def take(self, concepts: Integers) -> "_Halves":
        """Only some concepts."""
        return _Halves(self.y[:, :, concepts], self.variance[:, concepts], self.whole[:, concepts])

    def r2(self, x: Matrix, beyond: Matrix | None = None) -> Vector:
        """R² of each replicate, (1 + B,); ``x`` (m, C) are fitted without intercept on the other half."""
        error = self._error(x)
        if beyond is not None:
            base = self._error(beyond)
        else:
            base = np.square(self.y - self.y.mean(2, keepdims=True)).sum((1, 2))
        left: Vector = 1 - np.divide(error, base, out=np.full(len(error), np.nan), where=base > 0)
        return left

    def _error(self, x: Matrix) -> Vector:
        fit = np.linalg.pinv(x.T)  # (m, C)
        slopes = self.y[:, ::-1] @ fit.T  # (1 + B, 2, m), from the other half
        error: Vector = np.square(self.y - slopes @ x).sum((1, 2))
        return error

    def score(self, x: Matrix, beyond: Matrix | None = None) -> Score:
        """Observed R² with a bootstrap interval, shifted so that its median is the observed value.

        Resampling adds the sampling noise a second time, which lowers every replicate; the shift removes it.
        """
        if self.y.shape[2] < MIN_CONCEPTS or not np.any(x):
            return Score(None)
        values = self.r2(x, beyond)
        if not np.all(np.isfinite(values)):
            return Score(float(values[0]) if np.isfinite(values[0]) else None)
        low, middle, high = np.quantile(values[1:], [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
        observed = float(values[0])
        return Score(observed, observed + float(low - middle), min(observed + float(high - middle), 1.0))

    def ceiling(self) -> float | None:
        """1 − noise variance / variance of the observed changes, within [0, 1]."""
        if self.y.shape[2] < MIN_CONCEPTS:
            return None
        observed = self.y[0]
        total = float(np.square(observed - observed.mean(1, keepdims=True)).sum())
        return float(np.clip(1 - self.variance.sum() / total, 0, 1)) if total > 0 else None


def _slope(x: Vector, y: Vector) -> float | None:
    norm = float(x @ x)
    return float(x @ y) / norm if norm > 0 else None


def _coverage(x: Vector, x_se: Vector, y: Vector, y_se: Vector, slope: float | None) -> float | None:
    if slope is None or len(x) == 0:
        return None
    half = float(special.ndtri((1 + LEVEL) / 2)) * np.sqrt((slope * x_se) ** 2 + y_se**2)
    return float(np.mean(np.abs(y - slope * x) <= half))


def _sign_score(x: Vector, y: Vector, replicates: Matrix) -> Score:
    if len(x) == 0:
        return Score(None)
    agreement = (np.sign(replicates[1:]) == np.sign(x)).mean(1)
    low, high = np.quantile(agreement, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Score(float(np.mean(np.sign(y) == np.sign(x))), float(low), float(high))


def _sign_chance(x: Vector, y: Vector) -> float | None:
    if len(x) == 0:
        return None
    return float(np.mean(x > 0) * np.mean(y > 0) + np.mean(x < 0) * np.mean(y < 0))


def _nulls(
    halves: _Halves, x: Vector, scored: Any, given: Mapping[str, Matrix], rng: np.random.Generator
) -> tuple[NullScore, ...]:
    if len(x) < MIN_CONCEPTS or not np.any(x):
        return ()
    observed_only = _Halves(halves.y[:1], halves.variance, halves.whole[:1])
    observed = float(observed_only.r2(x[None])[0])
    draws = {name: values[:, scored] for name, values in given.items()}
    draws["forecasts in random order"] = np.stack([rng.permutation(x) for _ in range(N_DRAWS)])
    found = []
    for name, forecasts in draws.items():
        values = np.array([float(observed_only.r2(f[None])[0]) for f in forecasts])
        as_good = (1 + int(np.sum(values >= observed))) / (1 + len(values))
        found.append(NullScore(name, float(np.median(values)), as_good, len(values)))
    return tuple(found)


def report_lines(outcome: Outcome) -> list[str]:
    """The report in words, most important first; numbers only, no names of concepts."""
    lines = [*_movement_lines(outcome), _change_line(outcome)]
    chance = "–" if outcome.sign_chance is None else f"{outcome.sign_chance:.0%}"
    right = _share(outcome.sign_accuracy)
    lines.append(f"signs right: {right} of {outcome.n_signs} clear forecasts (by chance {chance})")
    if outcome.coverage is not None:
        lines.append(f"inside their 90% interval: {outcome.coverage:.0%} of forecasts, scaled to this run")
    lines.append(
        f"R² {_number(outcome.r2)}, without the five largest {_number(outcome.r2_without_largest)}, "
        f"beyond length {_number(outcome.r2_partial)}"
    )
    if outcome.ceiling is not None:
        lines.append(f"a perfect forecast would reach R² {outcome.ceiling:.2f} at this noise")
    lines += [
        f"another forecast, {rival.name}: R² {_number(rival.r2)}, signs right {_share(rival.sign_accuracy)}"
        for rival in outcome.rivals
    ]
    for null in outcome.nulls:
        beaten = f"as good as ours in {null.share_as_good:.1%} of {null.n}"
        lines.append(f"null, {null.name}: median R² {null.median:.2f}, {beaten}")
    return lines


def _change_line(outcome: Outcome) -> str:
    noise = f"beyond the noise of {outcome.n_prompts} prompts"
    if not outcome.is_null_result:
        return f"{outcome.n_moved} of {outcome.n_scored} concepts changed {noise}"
    moved = outcome.movement is not None and outcome.movement.is_moved
    subject = "log-probabilities moved, concepts did not" if moved else "the model did not move"
    none = f"none of {outcome.n_scored} concepts changed {noise}"
    return f"null result: {subject}; {none}, so what follows describes noise"


def _movement_lines(outcome: Outcome) -> list[str]:
    moved = outcome.movement
    if moved is None:
        return []
    se = "" if moved.log_ratio.se is None else f" ± {moved.log_ratio.se:.2g}"
    line = f"log-ratio difference on {moved.n_pairs} held-out pairs {moved.log_ratio.value:+.3g}{se} nats"
    if not moved.log_ratio.is_clear:
        line += " (not beyond two standard errors)"
    if moved.divergence is not None:
        line += f", KL {moved.divergence.value:.3g} nats per response"
    lines = [line]
    if moved.chosen_fell:
        lines.append(f"chosen responses became less likely ({moved.chosen.value:+.3g} nats)")
    return lines


def _share(score: Score) -> str:
    if score.value is None or score.low is None or score.high is None:
        return "–"
    return f"{score.value:.0%} ({score.low:.0%} to {score.high:.0%})"


def _number(score: Score) -> str:
    if score.value is None:
        return "–"
    if score.low is None or score.high is None:
        return f"{score.value:.2f}"
    return f"{score.value:.2f} ({score.low:.2f} to {score.high:.2f})"
