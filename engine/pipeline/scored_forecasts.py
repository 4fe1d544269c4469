"""The forecasts that a run was written with, read back as they stand, each with nulls made the same way."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.concepts.scores import latent_disparity
from engine.errors import StatsError
from engine.manifest import hash_file
from engine.paths import ProjectPaths
from engine.pipeline.forecasts import (
    COVARIANCE_MEAN,
    COVARIANCE_RIDGE,
    MEAN_DELTA,
    pushes,
    read_pointer,
    through_policy,
    unusable,
)
from engine.pipeline.ledger import Ledger
from engine.pipeline.pilot import NAME as PILOT
from engine.pipeline.rollout_concepts import Gauge, Measured
from engine.progress import Progress
from engine.stats.forecast import mean_delta
from engine.stats.outcome_score import Forecast
from engine.stats.policy_forecast import Answers, covariance_forecast
from engine.stats.push import Push, WeightedPairs, coin_signs
from engine.stats.random_concepts import random_concepts
from engine.store.arrays import open_arrays

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

N_NULLS = 200
SHUFFLED = "shuffled labels"
RANDOM = "random concepts of the same sizes"
DEALT = "log-ratios dealt anew within prompts"


@dataclass(frozen=True, slots=True)
class WrittenForecasts:
    """What the files of one run say of C concepts."""

    values: Mapping[str, Forecast]
    """By name, the leading one first; without nulls."""
    length_only: Vector  # (C,)
    log_ratio: Vector | None
    """(R,) of the pilot on the starting rollouts."""
    rollouts: str | None
    """Hash of the rollouts that ``log_ratio`` is about."""


def read_forecasts(paths: ProjectPaths, run_dir: Path, concept_ids: Sequence[str]) -> WrittenForecasts:
    """Forecasts of a run as they were written before it; a pilot that stood still is left out.

    Raises:
        TrainError: a file is gone, or says nothing of one of the concepts.
    """
    pointer = read_pointer(run_dir)

    def load(key: str) -> dict[str, Any] | None:
        if key not in pointer:
            return None
        # By name: the project may have been moved since.
        text = (paths.forecasts_dir / Path(pointer[key]).name).read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)
        return found

    try:
        plain, covariance, pilot = load("path"), load("covariance"), load("pilot")
        if plain is None:
            raise unusable(run_dir)
        rows = {MEAN_DELTA: plain["concepts"]} | (covariance or {"forecasts": {}})["forecasts"]
        if pilot is not None and pilot["moved"]:
            rows[PILOT] = pilot["concepts"]
        by_id = {row["concept_id"]: row["length_only"] for row in plain["concepts"]}
        return WrittenForecasts(
            {name: _forecast(name, listed, concept_ids) for name, listed in rows.items()},
            np.array([by_id[i] for i in concept_ids], np.float64),
            np.array(pilot["log_ratio"], np.float64) if pilot is not None and "log_ratio" in pilot else None,
            str(pilot["rollouts"]) if pilot is not None and "rollouts" in pilot else None,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unusable(run_dir) from error


def _forecast(name: str, rows: Sequence[Mapping[str, Any]], concept_ids: Sequence[str]) -> Forecast:
    by_id = {row["concept_id"]: row for row in rows}
    value, se, low, high = (
        np.array([by_id[i][key] for i in concept_ids], np.float64)
        for key in ("forecast", "se", "low", "high")
    )
    return Forecast(name, value, se, (high - low) / 2)


@dataclass(frozen=True, slots=True)
class Scoring:
    """All that the nulls of forecasts, and the errors of differences, are made from."""

    paths: ProjectPaths
    gauge: Gauge
    ledgers: tuple[Ledger, ...]
    """Of the run; then of the run that it is compared with."""
    written: tuple[WrittenForecasts, ...]
    """In the same order."""
    start: Measured | None
    """Responses of the starting checkpoint, where a forecast went through them."""


def forecasts_to_score(
    scoring: Scoring, rng: np.random.Generator, progress: Progress
) -> tuple[Forecast, ...]:
    """Every forecast that all runs were written with, the leading one first, with its nulls.

    Of a difference of runs the values are differences of what the files say; its errors come from both runs'
    pairs drawn together, since most of them are the same.

    Args:
        scoring: of one run or of two.
        rng: of the nulls.
        progress: told about what has no null.
    """
    sets, push = pushes(scoring.gauge.concepts, scoring.gauge.pairs, scoring.ledgers)
    names = [n for n in scoring.written[0].values if all(n in w.values for w in scoring.written)]
    found = [_mean_delta(scoring, sets, push["mean"], rng)]
    through = [n for n in names if n != MEAN_DELTA]
    if not through or scoring.start is None:
        return tuple(found)
    start = scoring.start
    answers = Answers.of(start.prompt, start.group)
    signs = coin_signs(int(scoring.gauge.pairs.group.max()) + 1, rng, N_NULLS)
    used = scoring.gauge.used
    for name, of, shuffled in (
        (COVARIANCE_MEAN, "mean", WeightedPairs.shuffled_means),
        (COVARIANCE_RIDGE, "ridge", WeightedPairs.shuffled_ridge),
    ):
        if name in through:
            own = push[of].take(used)
            error = through_policy(start, answers, own) if len(sets) > 1 else None
            value = _difference(scoring, name, None if error is None else (error.se, error.high - error.mean))
            blind = _less(shuffled(s, signs)[:, used] for s in sets)
            nulls = {SHUFFLED: answers.covariance(start.values, start.values @ blind.T).T}
            found.append(_with_nulls(scoring, value, start, answers, start.values @ own.value, nulls, rng))
    if PILOT in through:
        found.append(_pilot(scoring, start, answers, rng, progress))
    return tuple(found)


def _mean_delta(
    scoring: Scoring, sets: Sequence[WeightedPairs], push: Push, rng: np.random.Generator
) -> Forecast:
    used, gauge = scoring.gauge.used, scoring.gauge
    se = push.take(used).se
    value = _difference(scoring, MEAN_DELTA, (se, Forecast.normal(MEAN_DELTA, se, se).half))
    signs = coin_signs(int(gauge.pairs.group.max()) + 1, rng, N_NULLS)
    nulls = {SHUFFLED: _less(s.shuffled_means(signs)[:, used] for s in sets)}
    pool = gauge.pool
    if len(pool):
        readings = open_arrays(scoring.paths.arrays(gauge.index_hash))
        disparity = latent_disparity(readings, gauge.threshold).take(pool)
        latents = _less(
            mean_delta(disparity, gauge.pairs.group, led.weight, led.turn).mean for led in scoring.ledgers
        )
        nulls[RANDOM] = random_concepts(gauge.places, value.value, latents, rng, N_NULLS)
    return Forecast(value.name, value.value, value.se, value.half, nulls)


def _pilot(
    scoring: Scoring, start: Measured, answers: Answers, rng: np.random.Generator, progress: Progress
) -> Forecast:
    rollouts = hash_file(start.rollouts.path)
    ratios = [w.log_ratio for w in scoring.written if w.log_ratio is not None and w.rollouts == rollouts]
    if len(ratios) < len(scoring.written):
        if len(scoring.written) > 1:
            raise StatsError(
                "the pilots of the two runs were measured on other rollouts and cannot be compared",
                hint="train both runs with the same rollout settings",
            )
        progress.note("the pilot was measured on other rollouts: its forecast has no nulls of its own")
        return scoring.written[0].values[PILOT]
    along = _less(ratios)
    error = covariance_forecast(start.values, along, answers)
    value = _difference(scoring, PILOT, (error.se, error.high - error.mean))
    dealt = answers.covariance(start.values, answers.shuffled(along, rng, N_NULLS)).T
    return _with_nulls(scoring, value, start, answers, along, {DEALT: dealt}, rng)


def _with_nulls(
    scoring: Scoring,
    value: Forecast,
    start: Measured,
    answers: Answers,
    along: Vector,
    nulls: dict[str, Matrix],
    rng: np.random.Generator,
) -> Forecast:
    """A forecast through the policy with random concepts as another null."""
    if start.latents.shape[1]:
        latents = answers.covariance(start.latents, along[:, None])[:, 0]
        nulls[RANDOM] = random_concepts(scoring.gauge.places, value.value, latents, rng, N_NULLS)
    return Forecast(value.name, value.value, value.se, value.half, nulls)


def _difference(scoring: Scoring, name: str, error: tuple[Vector, Vector] | None) -> Forecast:
    """What the files say: of one run as it stands, of two the difference with ``error`` (SE, half width)."""
    first = scoring.written[0].values[name]
    if len(scoring.written) == 1 or error is None:
        return first
    return Forecast(name, _less(w.values[name].value for w in scoring.written), *error)


def _less(parts: Any) -> Any:
    """The first less all others."""
    first, *rest = parts
    return first - sum(rest) if rest else first
