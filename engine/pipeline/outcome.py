"""After a run: sample held-out prompts before and after, read the rollouts, compare with the forecast."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import StatsError, TrainError
from engine.manifest import write_json
from engine.paths import ProjectPaths
from engine.pipeline.pilot import read_pilot
from engine.pipeline.readers import reopen
from engine.pipeline.rollout_concepts import measurable, measure_rollouts
from engine.pipeline.train import Ledger, read_ledger, shaped_facts
from engine.progress import Progress
from engine.settings import Settings
from engine.stats.forecast import Vector, preference_weights, shuffled_labels, through_policy
from engine.stats.outcome import Changes, Matrix, Movement, measure_movement, prompt_changes
from engine.stats.outcome_score import Outcome, report_lines, score_outcome
from engine.store.concepts import IndexConcepts, load_column_scales, load_concepts, load_pairs
from engine.store.connection import Store
from engine.training.movement import score_held_out, score_rollouts
from engine.training.request import REQUEST, read_request, read_status
from engine.training.rollouts import Rollouts, sample_rollouts

_N_NULLS = 200
_SEED = 0


@dataclass(frozen=True, slots=True)
class NamedOutcome:
    """An outcome with the names of its concepts."""

    outcome: Outcome
    names: tuple[str, ...]
    concept_ids: tuple[str, ...]
    n_unmeasured: int
    """Concepts that are forecast, but that a response alone cannot be scored for."""
    lines: tuple[str, ...]
    """The report in words."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON value; one entry per concept with its name."""
        report = self.outcome.as_dict()
        for row, name, ident in zip(report["concepts"], self.names, self.concept_ids, strict=True):
            row |= {"name": name, "concept_id": ident}
        return report | {"n_unmeasured": self.n_unmeasured, "lines": list(self.lines)}


@dataclass(frozen=True, slots=True)
class _Rolled:
    """A finished run with rollouts from before and after it."""

    shaped_dir: Path
    before: Rollouts
    after: Rollouts
    movement: Movement


def measure_outcome(
    paths: ProjectPaths, run_dir: Path, settings: Settings, progress: Progress
) -> NamedOutcome:
    """Score a finished run and write runs/<id>/outcome.json.

    Raises:
        TrainError: the run is not finished, or has no held-out prompts.
        ModelError: the reader or a checkpoint is gone.
    """
    rolled = _roll(paths, run_dir, progress)
    facts = shaped_facts(rolled.shaped_dir)
    with Store(paths.index(facts["index"])) as store:
        concepts, pairs, scales = load_concepts(store), load_pairs(store), load_column_scales(store)
        reader_hash = json.loads(store.value("SELECT value FROM meta WHERE key = 'reader'"))["reader_hash"]
    used = measurable(concepts, scales)
    if not used:
        raise StatsError("this index has no concept that responses can be scored for", hint="audit again")
    reader = reopen(paths, reader_hash, settings.reading)
    tau = settings.concepts.fire_rate_threshold
    before, after = (
        measure_rollouts(reader, r, concepts, scales, used, tau, progress)
        for r in (rolled.before, rolled.after)
    )
    changes = _changes(rolled, before, after)
    forecast = _forecast(run_dir, concepts, used)
    ledger = read_ledger(rolled.shaped_dir, pairs.pair_ids)
    rng = np.random.default_rng(_SEED)
    nulls = shuffled_labels(concepts.disparity, pairs.group, ledger.weight, ledger.turn, rng, _N_NULLS)
    outcome = score_outcome(
        changes,
        forecast["forecast"],
        forecast["se"],
        rng,
        movement=rolled.movement,
        length_forecast=forecast["length_only"],
        null_forecasts={"shuffled labels": nulls[:, used]},
        rivals=_rivals(rolled.before, before, concepts, ledger, forecast["forecast"], used)
        | _pilot(run_dir, [concepts.ids[i] for i in used]),
    )
    found = NamedOutcome(
        outcome,
        tuple(concepts.names[i] for i in used),
        tuple(concepts.ids[i] for i in used),
        len(concepts.ids) - len(used),
        tuple(report_lines(outcome)),
    )
    write_json(run_dir / "outcome.json", found.as_dict())
    return found


def _roll(paths: ProjectPaths, run_dir: Path, progress: Progress) -> _Rolled:
    request = read_request(run_dir / REQUEST)
    status = read_status(run_dir)
    if status["status"] != "finished":
        raise TrainError(
            f"{run_dir} is {status['status']}", hint="run the same `prosect train` again to finish it"
        )
    start, tuned, training = status["model_path"], status["report"]["model_dir"], request.settings
    before = sample_rollouts(start, paths.pairs, run_dir / "rollouts" / "start.parquet", training, progress)
    after = sample_rollouts(tuned, paths.pairs, run_dir / "rollouts" / "tuned.parquet", training, progress)
    movement = measure_movement(
        _columns(score_held_out(start, tuned, paths.pairs, training, progress)),
        _columns(score_rollouts(start, tuned, after, training, progress)),
    )
    return _Rolled(request.shaped_dir, before, after, movement)


def _changes(rolled: _Rolled, before: Matrix, after: Matrix) -> Changes:
    both = (rolled.before, rolled.after)
    return prompt_changes(
        before,
        _prompts(rolled.before),
        after,
        _prompts(rolled.after),
        {int(p): g for r in both for p, g in zip(_prompts(r), _groups(r), strict=True)},
    )


def _rivals(
    rollouts: Rollouts,
    before: Matrix,
    concepts: IndexConcepts,
    ledger: Ledger,
    leading: Vector,
    used: list[int],
) -> dict[str, Vector]:
    """Forecasts through what varies together among the starting checkpoint's answers to one prompt."""
    prompts = _prompts(rollouts)
    if len(np.unique(prompts)) == len(prompts):
        return {}  # one response to each prompt has no covariance
    weights = preference_weights(concepts.disparity, ledger.weight, ledger.turn)[used]
    return {
        "covariance × mean delta": through_policy(before, prompts, leading),
        "covariance × ridge weights": through_policy(before, prompts, weights),
    }


def _pilot(run_dir: Path, concept_ids: list[str]) -> dict[str, Vector]:
    """The pilot's forecast as it was written before training, where there was a pilot that moved."""
    pointer = json.loads((run_dir / "forecast.json").read_text(encoding="utf-8"))
    found = read_pilot(pointer, concept_ids)
    return {} if found is None else {"pilot": found}


def _forecast(run_dir: Path, concepts: IndexConcepts, used: list[int]) -> dict[str, Any]:
    """The forecast that was written before training, in the order of ``used``."""
    try:
        path = Path(json.loads((run_dir / "forecast.json").read_text(encoding="utf-8"))["path"])
        rows = {row["concept_id"]: row for row in json.loads(path.read_text(encoding="utf-8"))["concepts"]}
        return {
            key: np.array([rows[concepts.ids[i]][key] for i in used], np.float64)
            for key in ("forecast", "se", "length_only")
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainError(
            f"{run_dir} has no usable forecast",
            hint="start runs with `prosect train`, which writes one first",
        ) from error


def _prompts(rollouts: Rollouts) -> Any:
    return rollouts.table["prompt_number"].to_numpy().astype(np.int64)


def _groups(rollouts: Rollouts) -> list[str]:
    return [str(g) for g in rollouts.table["group_id"].to_pylist()]


def _columns(table: Any) -> dict[str, list[Any]]:
    return {name: table[name].to_pylist() for name in table.column_names}
