"""The pilot forecast: train on a small share of the pairs and see what then becomes likelier.

The pilot takes the first pairs of the run's own order, which is random (md5 of seed and pair id), with the
run's settings. What it makes likelier among the *starting* checkpoint's answers to one prompt says where the
whole run is heading: to first order a concept moves by Cov(φ, Δ log π).
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import TrainError
from engine.manifest import hash_file, hash_json, write_json
from engine.paths import ProjectPaths
from engine.pipeline.readers import reopen
from engine.pipeline.rollout_concepts import measurable, measure_rollouts
from engine.progress import Progress
from engine.settings import ReadingSettings, TrainingSettings
from engine.stats.forecast import CovarianceForecast, covariance_forecast
from engine.store.concepts import IndexConcepts, load_column_scales, load_concepts
from engine.store.connection import Store

PILOT_VERSION = 1
MIN_STEPS = 3
"""A pilot of fewer steps has hardly left the warm-up."""
NAME = "pilot"


def pilot_settings(settings: TrainingSettings, n_pairs: int) -> TrainingSettings:
    """Those of the run, with as many steps as the share of the pairs fills, and at least three.

    Raises:
        TrainError: a share that is none, or one response per prompt, which has no covariance.
    """
    if not 0 < settings.pilot_share <= 1:
        raise TrainError(
            f"a pilot on {settings.pilot_share} of the pairs", hint="set training.pilot_share to 0.02"
        )
    if settings.rollouts_per_prompt < 2:
        raise TrainError(
            "a pilot forecast needs two responses to a prompt", hint="set training.rollouts_per_prompt to 4"
        )
    steps = max(MIN_STEPS, -(-round(settings.pilot_share * n_pairs) // settings.batch_pairs))
    return replace(settings, steps=steps, pilot_share=0.0)


def write_pilot_forecast(
    paths: ProjectPaths,
    shaped_dir: Path,
    index_hash: str,
    run_dir: Path,
    settings: TrainingSettings,
    reading: ReadingSettings,
    threshold: float,
    progress: Progress,
) -> Path:
    """Sample the start, train the pilot in RUN/pilot, write the forecast; each part is done once.

    Raises:
        TrainError: settings without a covariance, or what ``train`` refuses.
        Cancelled: stopped; the same run again goes on from there.
    """
    import pyarrow.parquet as pq

    from engine.training.movement import log_ratios
    from engine.training.request import STATUS
    from engine.training.rollouts import sample_rollouts
    from engine.training.run import train

    if (run_dir / STATUS).exists():
        return _written_before(run_dir)
    n_pairs = pq.read_metadata(shaped_dir / "train.parquet").num_rows
    small = pilot_settings(settings, n_pairs)
    start = settings.model
    rollouts = sample_rollouts(start, paths.pairs, run_dir / "rollouts" / "start.parquet", settings, progress)
    report = train(shaped_dir, start, run_dir / NAME, small, progress, cache_dir=paths.cache_dir)
    facts = [PILOT_VERSION, report.fingerprint, index_hash, threshold, hash_file(rollouts.path)]
    path = paths.forecasts_dir / f"{NAME}-{hash_json(facts)[:16]}.json"
    if path.exists():
        return path
    with Store(paths.index(index_hash)) as store:
        concepts, scales = load_concepts(store), load_column_scales(store)
        reader_hash = json.loads(store.value("SELECT value FROM meta WHERE key = 'reader'"))["reader_hash"]
    used = measurable(concepts, scales)
    reader = reopen(paths, reader_hash, reading)
    values = measure_rollouts(reader, rollouts, concepts, scales, used, threshold, progress)
    moved = log_ratios(start, str(report.model_dir), rollouts, settings, progress)
    table = rollouts.table
    found = covariance_forecast(
        values, moved, table["prompt_number"].to_numpy().astype(np.int64), table["group_id"].to_pylist()
    )
    if not np.any(moved):
        progress.note("the pilot did not move: its forecast is zero for every concept")
    write_json(
        path,
        {
            "version": PILOT_VERSION,
            "unit": "within-prompt covariance of a reading with the change of log-probability; 90% intervals",
            "index": index_hash,
            "n_steps": report.n_steps,
            "n_pairs": report.n_used,
            "n_prompts": found.n_prompts,
            "log_ratio_sd": float(np.std(moved)),
            "moved": bool(np.any(moved)),
            "concepts": _rows(concepts, used, found),
        },
    )
    return path


def _rows(concepts: IndexConcepts, used: Sequence[int], found: CovarianceForecast) -> list[dict[str, Any]]:
    """What the file says of every concept that can be measured on rollouts."""
    return [
        {
            "concept_id": concepts.ids[i],
            "name": concepts.names[i],
            "forecast": float(found.mean[k]),
            "se": float(found.se[k]),
            "low": float(found.low[k]),
            "high": float(found.high[k]),
        }
        for k, i in enumerate(used)
    ]


def _written_before(run_dir: Path) -> Path:
    """The pilot's forecast of a run that has begun: one that is written now would be no forecast."""
    pointer = run_dir / "forecast.json"
    known = json.loads(pointer.read_text(encoding="utf-8")) if pointer.exists() else {}
    if "pilot" not in known:
        raise TrainError(
            f"{run_dir} began without a pilot, and a forecast comes before its run",
            hint="give the run with a pilot a folder of its own",
        )
    return Path(known["pilot"])


def read_pilot(pointer: dict[str, Any], concept_ids: list[str]) -> np.ndarray[Any, Any] | None:
    """(C,) the pilot's forecast in the order of ``concept_ids``; None without a pilot that moved."""
    if "pilot" not in pointer:
        return None
    forecast = json.loads(Path(pointer["pilot"]).read_text(encoding="utf-8"))
    rows = {row["concept_id"]: row["forecast"] for row in forecast["concepts"]}
    return np.array([rows[i] for i in concept_ids], np.float64) if forecast["moved"] else None
