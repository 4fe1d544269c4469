"""Forecasts of a run, all of them written before its first step and named in RUN/forecast.json.

The mean delta needs the pairs alone and is the one to quote. Two go through what varies together among the
starting checkpoint's own answers (``training.rollouts_per_prompt`` of 2 or more), the pilot needs those and a
short training. What was written is what the outcome scores; nothing is forecast again afterwards.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import sub
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import TrainError
from engine.manifest import hash_file, hash_json, write_json
from engine.paths import ProjectPaths
from engine.pipeline.ledger import Ledger, read_ledger, shaped_facts
from engine.pipeline.rollout_concepts import Gauge, Measured, open_gauge
from engine.progress import Progress
from engine.settings import ReadingSettings, TrainingSettings
from engine.stats.forecast import length_only, mean_delta
from engine.stats.policy_forecast import Answers, CovarianceForecast, covariance_forecast
from engine.stats.push import Push, WeightedPairs
from engine.store.concepts import IndexConcepts, IndexPairs, load_concepts, load_pairs
from engine.store.connection import Store

FORECAST_VERSION = 1
COVARIANCE_VERSION = 1
POINTER = "forecast.json"
MEAN_DELTA = "mean delta"
COVARIANCE_MEAN = "covariance × mean delta"
COVARIANCE_RIDGE = "covariance × ridge weights"
_SEED = 0
"""Of redrawn prompt groups: two runs are compared on the same draws."""


@dataclass(frozen=True, slots=True)
class Written:
    """The forecasts of a run that is about to start."""

    path: Path
    """Of the leading one."""
    n_concepts: int
    """Concepts with a forecast."""


def write_forecasts(
    paths: ProjectPaths,
    shaped_dir: Path,
    run_dir: Path,
    settings: TrainingSettings,
    reading: ReadingSettings,
    threshold: float,
    progress: Progress,
) -> Written:
    """Write every forecast that is asked for, and RUN/forecast.json; of a begun run only look them up.

    Args:
        paths: the project.
        shaped_dir: what will be trained on.
        run_dir: where; its rollouts/start.parquet serves the outcome as well.
        settings: of the run.
        reading: of the index's reader.
        threshold: fire rate above which a latent is on in a response.
        progress: told about rollouts, readings and the pilot.

    Raises:
        TrainError: a pilot or a covariance from one response to a prompt, no held-out prompts, or a run that
            began without its forecast.
        Cancelled: stopped; the same again goes on from there.
    """
    from engine.training.request import STATUS

    if (run_dir / STATUS).exists():
        return _written_before(paths, run_dir, settings, progress)
    path, forecast = write_mean_delta(paths, shaped_dir)
    pointer = {"path": str(path.resolve()), "hash": path.stem, "leading": MEAN_DELTA}
    if settings.rollouts_per_prompt > 1 or settings.pilot_share:
        pointer |= _write_from_start(paths, shaped_dir, run_dir, settings, reading, threshold, progress)
    write_json(run_dir / POINTER, pointer)
    return Written(path, len(forecast["concepts"]))


def _write_from_start(
    paths: ProjectPaths,
    shaped_dir: Path,
    run_dir: Path,
    settings: TrainingSettings,
    reading: ReadingSettings,
    threshold: float,
    progress: Progress,
) -> dict[str, str]:
    """Those that need the starting checkpoint's answers, which are sampled and read once."""
    from engine.pipeline.pilot import pilot_settings, write_pilot_forecast
    from engine.training.rollouts import sample_rollouts

    if settings.pilot_share:
        pilot_settings(settings, 1)  # refuses before anything is sampled
    start = run_dir / "rollouts" / "start.parquet"
    rollouts = sample_rollouts(settings.model, paths.pairs, start, settings, progress)
    gauge = open_gauge(paths, shaped_facts(shaped_dir)["index"], reading, threshold)
    measured = gauge.measure(rollouts, progress)
    found = {"covariance": write_covariance_forecasts(paths, shaped_dir, gauge, measured)}
    if settings.pilot_share:
        found["pilot"] = write_pilot_forecast(paths, shaped_dir, run_dir, settings, gauge, measured, progress)
    return {name: str(path.resolve()) for name, path in found.items()}


def _written_before(
    paths: ProjectPaths, run_dir: Path, settings: TrainingSettings, progress: Progress
) -> Written:
    """What was forecast for a run that has begun: one that is written now would be no forecast."""
    known = read_pointer(run_dir)
    if settings.pilot_share and "pilot" not in known:
        raise TrainError(
            f"{run_dir} began without a pilot, and a forecast comes before its run",
            hint="give the run with a pilot a folder of its own",
        )
    if settings.rollouts_per_prompt > 1 and "covariance" not in known:
        progress.note(f"{run_dir} began without forecasts through the policy: it gets none now")
    path = paths.forecasts_dir / Path(known["path"]).name  # by name: the project may have been moved since
    try:
        return Written(path, len(json.loads(path.read_text(encoding="utf-8"))["concepts"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unusable(run_dir) from error


def write_mean_delta(paths: ProjectPaths, shaped_dir: Path) -> tuple[Path, dict[str, Any]]:
    """The first-order forecast of a shaped dataset beside that of the unshaped pairs, written once.

    Per concept the weighted mean disparity over the kept pairs, flips turned and offsets as factors, with its
    90% interval; what length alone would move; and the same without rules.
    """
    facts = shaped_facts(shaped_dir)
    path = paths.forecasts_dir / f"{hash_json([FORECAST_VERSION, facts])[:16]}.json"
    if path.exists():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return path, kept
    with Store(paths.index(facts["index"])) as store:
        concepts, pairs = load_concepts(store), load_pairs(store)
    ledger = read_ledger(shaped_dir, pairs.pair_ids)
    shaped = mean_delta(concepts.disparity, pairs.group, ledger.weight, ledger.turn)
    plain = mean_delta(concepts.disparity, pairs.group, ledger.unshaped, np.ones_like(ledger.turn))
    length = length_only(concepts.disparity, pairs.log_length_ratio, ledger.weight, ledger.turn)
    rows = [
        {
            "concept_id": concepts.ids[i],
            "name": concepts.names[i],
            "forecast": float(shaped.mean[i]),
            "se": float(shaped.se[i]),
            "low": float(shaped.low[i]),
            "high": float(shaped.high[i]),
            "unshaped": float(plain.mean[i]),
            "length_only": float(length[i]),
            "n_active": int(shaped.n_active[i]),
        }
        for i in range(len(concepts.ids))
    ]
    forecast = {
        "version": FORECAST_VERSION,
        "leading": MEAN_DELTA,
        "unit": "disparity u per pair, chosen minus rejected; 90% intervals clustered by prompt group",
        "shaped": facts["hash"],
        "index": facts["index"],
        "concepts": rows,
    }
    write_json(path, forecast)
    return path, forecast


def pushes(
    concepts: IndexConcepts, pairs: IndexPairs, ledgers: Sequence[Ledger]
) -> tuple[list[WeightedPairs], dict[str, Push]]:
    """Mean delta and ridge weights of the first dataset less those of the others, drawn together.

    Returns:
        each dataset's pairs, and "mean" and "ridge" over all concepts of the index.
    """
    sets = [WeightedPairs(concepts.disparity, pairs.group, led.weight, led.turn) for led in ledgers]
    used = np.logical_or.reduce([s.used for s in sets])
    return sets, {
        "mean": reduce(sub, [s.mean_push(used, _SEED) for s in sets]),
        "ridge": reduce(sub, [s.ridge_push(used, _SEED) for s in sets]),
    }


def through_policy(measured: Measured, answers: Answers, push: Push) -> CovarianceForecast:
    """Where a push over the measured concepts takes them when the starting checkpoint answers."""
    values = measured.values
    return covariance_forecast(values, values @ push.value, answers, values @ push.draws.T)


def write_covariance_forecasts(
    paths: ProjectPaths, shaped_dir: Path, gauge: Gauge, measured: Measured
) -> Path:
    """Covariance × mean delta and × ridge weights, of the concepts that responses can be scored for."""
    facts = shaped_facts(shaped_dir)
    rollouts = hash_file(measured.rollouts.path)
    ident = hash_json([COVARIANCE_VERSION, facts, rollouts, gauge.threshold])[:16]
    path = paths.forecasts_dir / f"covariance-{ident}.json"
    if path.exists():
        return path
    ledger = read_ledger(shaped_dir, gauge.pairs.pair_ids)
    _, push = pushes(gauge.concepts, gauge.pairs, [ledger])
    answers = Answers.of(measured.prompt, measured.group)
    found = {
        name: through_policy(measured, answers, push[of].take(gauge.used))
        for name, of in ((COVARIANCE_MEAN, "mean"), (COVARIANCE_RIDGE, "ridge"))
    }
    write_json(
        path,
        {
            "version": COVARIANCE_VERSION,
            "unit": "within-prompt covariance of a reading with the push; 90% intervals over prompt groups"
            " of rollouts and pairs",
            "shaped": facts["hash"],
            "index": facts["index"],
            "rollouts": rollouts,
            "n_prompts": len(answers.n),
            "forecasts": {name: concept_rows(gauge, forecast) for name, forecast in found.items()},
        },
    )
    return path


def concept_rows(gauge: Gauge, found: CovarianceForecast) -> list[dict[str, Any]]:
    """What a file says of every concept that responses can be scored for."""
    return [
        {
            "concept_id": gauge.concepts.ids[i],
            "name": gauge.concepts.names[i],
            "forecast": float(found.mean[k]),
            "se": float(found.se[k]),
            "low": float(found.low[k]),
            "high": float(found.high[k]),
        }
        for k, i in enumerate(gauge.used)
    ]


def read_pointer(run_dir: Path) -> dict[str, Any]:
    """RUN/forecast.json.

    Raises:
        TrainError: there is none that can be read.
    """
    try:
        known: dict[str, Any] = json.loads((run_dir / POINTER).read_text(encoding="utf-8"))
        return known | {"path": known["path"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unusable(run_dir) from error


def unusable(run_dir: Path) -> TrainError:
    """A run whose forecast cannot be read."""
    return TrainError(
        f"{run_dir} has no usable forecast", hint="start runs with `prosect train`, which writes one first"
    )
