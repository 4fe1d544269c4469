"""The pilot forecast: train on a small share of the pairs and see what then becomes likelier.

The pilot takes the first pairs of the run's own order, which is random (md5 of seed and pair id), with the
run's settings. What it makes likelier among the *starting* checkpoint's answers to one prompt says where the
whole run is heading: to first order a concept moves by Cov(φ, Δ log π).
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.errors import TrainError
from engine.manifest import hash_file, hash_json, write_json
from engine.paths import ProjectPaths
from engine.pipeline.forecasts import concept_rows
from engine.pipeline.rollout_concepts import Gauge, Measured
from engine.progress import Progress
from engine.settings import TrainingSettings
from engine.stats.policy_forecast import Answers, covariance_forecast

PILOT_VERSION = 2
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
    run_dir: Path,
    settings: TrainingSettings,
    gauge: Gauge,
    start: Measured,
    progress: Progress,
) -> Path:
    """Train the pilot in RUN/pilot and write its forecast; each part is done once.

    Args:
        paths: the project.
        shaped_dir: what the run will train on.
        run_dir: the run that the pilot comes before.
        settings: of the run.
        gauge: what measured the starting rollouts.
        start: responses of the starting checkpoint.
        progress: told about the pilot's steps and log-ratios.

    Raises:
        TrainError: settings without a covariance, or what ``train`` refuses.
        Cancelled: stopped; the same run again goes on from there.
    """
    import pyarrow.parquet as pq

    from engine.training.movement import log_ratios
    from engine.training.run import train

    n_pairs = pq.read_metadata(shaped_dir / "train.parquet").num_rows
    small = pilot_settings(settings, n_pairs)
    model = settings.model
    report = train(shaped_dir, model, run_dir / NAME, small, progress, cache_dir=paths.cache_dir)
    rollouts = hash_file(start.rollouts.path)
    facts = [PILOT_VERSION, report.fingerprint, gauge.index_hash, gauge.threshold, rollouts]
    path = paths.forecasts_dir / f"{NAME}-{hash_json(facts)[:16]}.json"
    if path.exists():
        return path
    moved = log_ratios(model, str(report.model_dir), start.rollouts, settings, progress)
    found = covariance_forecast(start.values, moved, Answers.of(start.prompt, start.group))
    if not np.any(moved):
        progress.note("the pilot did not move: its forecast is zero for every concept")
    write_json(
        path,
        {
            "version": PILOT_VERSION,
            "unit": "within-prompt covariance of a reading with the change of log-probability; 90% intervals",
            "index": gauge.index_hash,
            "n_steps": report.n_steps,
            "n_pairs": report.n_used,
            "n_prompts": found.n_prompts,
            "rollouts": rollouts,
            "log_ratio": moved.tolist(),
            "log_ratio_sd": float(np.std(moved)),
            "moved": bool(np.any(moved)),
            "concepts": concept_rows(gauge, found),
        },
    )
    return path
