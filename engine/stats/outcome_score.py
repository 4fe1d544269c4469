"""How well forecasts did over all concepts: signs, coverage, R², and what cannot know anything beside them.

Scores of a model that did not move describe noise, and the report says so first. The slope b that turns a
forecast into a change is, for R², always taken from other prompts than those it is judged on (two halves by
group, each scored with the other's slope).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from engine.errors import StatsError
from engine.stats.outcome import (
    LEVEL,
    Changes,
    ConceptOutcome,
    Integers,
    Matrix,
    Movement,
    Vector,
    check_forecast,
    clustered_mean,
    concept_outcomes,
)

Flags = NDArray[np.bool_]

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
class Forecast:
    """One forecast of all C concepts, as it was written before training. Arrays (C,)."""

    name: str
    value: Vector
    se: Vector
    half: Vector
    """Half the width of its 90% interval."""
    nulls: Mapping[str, Matrix] = field(default_factory=dict)
    """Per name (N, C) forecasts made the same way that cannot know anything: from shuffled labels, or about
    random concepts of the same sizes. The forecast's own numbers in random order are always added."""

    @classmethod
    def normal(cls, name: str, value: Vector, se: Vector) -> "Forecast":
        """With the normal quantile as its interval."""
        return cls(name, value, se, float(special.ndtri((1 + LEVEL) / 2)) * se)


@dataclass(frozen=True, slots=True)
class ForecastScore:
    """How well one forecast did over all scored concepts."""

    name: str
    sign_accuracy: Score
    """Share of scored concepts with |forecast| > 2 SE whose change has the forecast's sign."""
    n_signs: int
    sign_chance: float | None
    """What the same signs in random order would score: above one half where most signs agree anyway."""
    coverage: float | None
    """Share of scored concepts inside the 90% interval b·forecast ± √(b²·half² + half_change²)."""
    coverage_of_zero: float | None
    """The same of "nothing changes" (b = 0): coverage says something only where this is well below 90%."""
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
    nulls: tuple[NullScore, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The whole report."""

    concepts: tuple[ConceptOutcome, ...]
    """Beside the leading forecast."""
    movement: Movement | None
    n_prompts: int
    n_groups: int
    n_scored: int
    n_moved: int
    """Scored concepts beyond the noise floor at a false discovery rate of 5%."""
    is_null_result: bool
    """The model did not move: no concept beyond the noise floor."""
    ceiling: float | None
    """R² that a perfect forecast would have at this noise."""
    forecasts: tuple[ForecastScore, ...]
    """The leading one, named beforehand, first."""

    @property
    def leading(self) -> ForecastScore:
        """The forecast that was named beforehand as the one to quote."""
        return self.forecasts[0]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def score_outcome(
    changes: Changes,
    forecasts: Sequence[Forecast],
    rng: np.random.Generator,
    *,
    movement: Movement | None = None,
    length_forecast: Vector | None = None,
) -> Outcome:
    """Compare forecasts and observed changes; every forecast is scored on the same concepts and halves.

    Args:
        changes: per prompt and concept.
        forecasts: the leading one first.
        rng: of halves, bootstrap and permutations.
        movement: did the model move, where log-probabilities were measured.
        length_forecast: (C,) forecast from response length alone.

    Raises:
        StatsError: no forecast, forecasts and changes of different concepts, or undefined forecasts.
    """
    if not forecasts:
        raise StatsError(
            "an outcome is compared with at least one forecast", hint="train with `prosect train`"
        )
    for other in forecasts[1:]:
        check_forecast(changes, other.value, other.se)
    leading = forecasts[0]
    lines = concept_outcomes(changes, leading.value, leading.se, leading.half)
    scored = np.array([line.is_scored for line in lines], bool)
    y = changes.change[:, scored]
    mean, se = clustered_mean(y, changes.group)
    half = float(special.stdtrit(changes.n_groups - 1, (1 + LEVEL) / 2)) * se
    halves = _Halves.draw(y, changes.group, rng)
    length = None if length_forecast is None else length_forecast[scored]
    n_moved = sum(line.is_moved for line in lines)
    return Outcome(
        concepts=lines,
        movement=movement,
        n_prompts=len(changes.group),
        n_groups=changes.n_groups,
        n_scored=int(scored.sum()),
        n_moved=n_moved,
        is_null_result=n_moved == 0,
        ceiling=halves.ceiling(),
        forecasts=tuple(_score(f, scored, mean, half, halves, length, rng) for f in forecasts),
    )


def _score(
    forecast: Forecast,
    scored: Flags,
    mean: Vector,
    half: Vector,
    halves: "_Halves",
    length: Vector | None,
    rng: np.random.Generator,
) -> ForecastScore:
    """Scores of one forecast over the scored concepts, whose changes are ``mean`` ± ``half``."""
    x, x_half = forecast.value[scored], forecast.half[scored]
    clear = np.abs(x) > 2 * forecast.se[scored]
    slope = _slope(x, mean)
    without = np.argsort(-np.abs(x), kind="stable")[N_LARGEST:]
    return ForecastScore(
        name=forecast.name,
        sign_accuracy=_sign_score(x[clear], mean[clear], halves.whole[:, clear]),
        n_signs=int(clear.sum()),
        sign_chance=_sign_chance(x[clear], mean[clear]),
        coverage=_coverage(x, x_half, mean, half, slope),
        coverage_of_zero=_coverage(x, x_half, mean, half, 0.0),
        coverage_unscaled=_coverage(x, x_half, mean, half, 1.0),
        slope=slope,
        r2=halves.score(x[None]),
        r2_without_largest=halves.take(without).score(x[None, without]),
        r2_partial=Score(None)
        if length is None
        else halves.score(np.stack([length, x]), beyond=length[None]),
        nulls=_nulls(halves, x, scored, forecast.nulls, rng),
    )


@dataclass(frozen=True, slots=True)
class _Halves:
    """Mean changes in two halves of the prompt groups: as observed (row 0), then bootstrapped."""

    y: Matrix  # (1 + B, 2, C)
    variance: Matrix | None  # (2, C) of the observed means; None where a half is one prompt group
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
        means: list[Matrix] = []
        variances: list[Vector] = []
        for half in (0, 1):
            inside = half_of[group] == half
            part = rows[:, inside]
            means.append(part @ y[inside] / part.sum(1, keepdims=True))
            codes = np.unique(group[inside], return_inverse=True)[1].astype(np.int64)
            if codes.max(initial=-1) > 0:
                variances.append(clustered_mean(y[inside], codes)[1] ** 2)
        variance = np.stack(variances) if len(variances) == 2 else None
        return cls(np.stack(means, 1), variance, rows @ y / rows.sum(1, keepdims=True))

    def take(self, concepts: Integers) -> "_Halves":
        """Only some concepts."""
        variance = None if self.variance is None else self.variance[:, concepts]
        return _Halves(self.y[:, :, concepts], variance, self.whole[:, concepts])

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
        if self.variance is None or not np.all(np.isfinite(values)):
            return Score(float(values[0]) if np.isfinite(values[0]) else None)
        low, middle, high = np.quantile(values[1:], [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
        observed = float(values[0])
        return Score(observed, observed + float(low - middle), min(observed + float(high - middle), 1.0))

    def ceiling(self) -> float | None:
        """1 − noise variance / variance of the observed changes, within [0, 1]."""
        if self.y.shape[2] < MIN_CONCEPTS or self.variance is None:
            return None
        observed = self.y[0]
        total = float(np.square(observed - observed.mean(1, keepdims=True)).sum())
        return float(np.clip(1 - self.variance.sum() / total, 0, 1)) if total > 0 else None


def _slope(x: Vector, y: Vector) -> float | None:
    norm = float(x @ x)
    return float(x @ y) / norm if norm > 0 else None


def _coverage(x: Vector, x_half: Vector, y: Vector, y_half: Vector, slope: float | None) -> float | None:
    if slope is None or len(x) == 0:
        return None
    return float(np.mean(np.abs(y - slope * x) <= np.sqrt((slope * x_half) ** 2 + y_half**2)))


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
    if not np.isfinite(observed):
        return ()
    draws = {name: values[:, scored] for name, values in given.items()}
    draws["forecasts in random order"] = np.stack([rng.permutation(x) for _ in range(N_DRAWS)])
    found = []
    for name, forecasts in draws.items():
        values = np.array([float(observed_only.r2(f[None])[0]) for f in forecasts])
        as_good = (1 + int(np.sum(values >= observed))) / (1 + len(values))
        found.append(NullScore(name, float(np.median(values)), as_good, len(values)))
    return tuple(found)
