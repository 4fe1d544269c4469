"""After a run: sample held-out prompts before and after, read the rollouts, compare with the forecasts.

Before is the checkpoint that the run started from; or the tuned checkpoint of another run from the same
start: the difference of runs, in which what both share cancels.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import TrainError
from engine.live.run_watch import AGAINST
from engine.manifest import write_json
from engine.paths import ProjectPaths
from engine.pipeline.forecasts import MEAN_DELTA
from engine.pipeline.ledger import read_ledger, shaped_facts, shaped_targets
from engine.pipeline.rollout_concepts import Gauge, Measured, open_gauge
from engine.pipeline.scored_forecasts import Scoring, forecasts_to_score, read_forecasts
from engine.progress import Progress
from engine.settings import Settings, TrainingSettings
from engine.stats.outcome import Changes, Movement, measure_movement, prompt_changes
from engine.stats.outcome_report import report_lines
from engine.stats.outcome_score import Outcome, score_outcome
from engine.training.movement import score_held_out, score_rollouts
from engine.training.request import REQUEST, read_request, read_status
from engine.training.rollouts import Rollouts, sample_rollouts

_SEED = 0
_MAY_DIFFER = frozenset({"model", "pilot_share", "save_steps", "micro_batch_pairs", "device"})
"""Settings in which two runs may differ and still be compared."""


@dataclass(frozen=True, slots=True)
class NamedOutcome:
    """An outcome with the names of its concepts."""

    outcome: Outcome
    against: str | None
    """The run that this one is compared with; None: the checkpoint that it started from."""
    names: tuple[str, ...]
    concept_ids: tuple[str, ...]
    is_target: tuple[bool, ...]
    """Whether the rules of the run, or of the one it is compared with, suppress, amplify or soften it."""
    unmeasured_targets: tuple[str, ...]
    """Names of targets that a response alone cannot be scored for."""
    n_unmeasured: int
    """Concepts that are forecast, but that a response alone cannot be scored for."""
    lines: tuple[str, ...]
    """The report in words."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON value; one entry per concept with its name."""
        report = self.outcome.as_dict()
        every = zip(report["concepts"], self.names, self.concept_ids, self.is_target, strict=True)
        for row, name, ident, is_target in every:
            row |= {"name": name, "concept_id": ident, "is_target": is_target}
        return report | {
            "against": self.against,
            "n_unmeasured": self.n_unmeasured,
            "unmeasured_targets": list(self.unmeasured_targets),
            "lines": list(self.lines),
        }


@dataclass(frozen=True, slots=True)
class _Run:
    """A finished run."""

    folder: Path
    shaped_dir: Path
    settings: TrainingSettings
    start: str
    tuned: str
    weights: str
    """Hash of the weights that it started from."""


def measure_outcome(
    paths: ProjectPaths, run_dir: Path, settings: Settings, progress: Progress, against: Path | None = None
) -> NamedOutcome:
    """Score a finished run and write runs/<id>/outcome.json, or outcome-against-<other>.json.

    Args:
        paths: the project.
        run_dir: the run.
        settings: of the reading and the concepts.
        progress: told about rollouts and readings.
        against: another finished run (folder or bare name) from the same start, usually on the
            unshaped pairs: changes and forecasts are those of the run less those of the other.

    Raises:
        TrainError: a run is not finished, has no held-out prompts, or the two cannot be compared.
        ModelError: the reader or a checkpoint is gone.
    """
    if against is not None and against.name == str(against):  # as `train -o` takes it
        against = paths.runs_dir / against
    runs = [_finished(run_dir)] + ([_finished(against)] if against is not None else [])
    if len(runs) > 1:
        _refuse_incomparable(*runs)
    first, index = runs[0], shaped_facts(runs[0].shaped_dir)["index"]
    gauge = open_gauge(paths, index, settings.reading, settings.concepts.fire_rate_threshold)
    written = tuple(read_forecasts(paths, run.folder, gauge.ids) for run in runs)
    goes_through = any(name != MEAN_DELTA for name in written[0].values)
    start = gauge.measure(_sampled(paths, first, "start", progress), progress) if goes_through else None
    after = gauge.measure(_sampled(paths, first, "tuned", progress), progress)
    before, base = _before(paths, runs, gauge, start, progress)
    ledgers = tuple(read_ledger(run.shaped_dir, gauge.pairs.pair_ids) for run in runs)
    rng = np.random.default_rng(_SEED)
    scoring = Scoring(paths, gauge, ledgers, written, start)
    lengths = [w.length_only for w in written]
    outcome = score_outcome(
        _changes(before, after),
        forecasts_to_score(scoring, rng, progress),
        rng,
        movement=_movement(paths, first, base, after.rollouts, progress),
        length_forecast=lengths[0] - sum(lengths[1:]),
    )
    other = runs[1].folder.name if len(runs) > 1 else None
    title = [] if other is None else [f"difference of runs: {first.folder.name} less {other}"]
    targets = frozenset[str]().union(*(shaped_targets(run.shaped_dir) for run in runs))
    every = zip(gauge.concepts.ids, gauge.concepts.names, strict=True)
    found = NamedOutcome(
        outcome,
        other,
        tuple(gauge.concepts.names[i] for i in gauge.used),
        tuple(gauge.ids),
        tuple(ident in targets for ident in gauge.ids),
        tuple(name for ident, name in every if ident in targets and ident not in gauge.ids),
        len(gauge.concepts.ids) - len(gauge.used),
        (*title, *report_lines(outcome)),
    )
    write_json(run_dir / (f"{AGAINST}{other}.json" if other else "outcome.json"), found.as_dict())
    return found


def _finished(run_dir: Path) -> _Run:
    request, status = read_request(run_dir / REQUEST), read_status(run_dir)
    if status["status"] != "finished":
        raise TrainError(
            f"{run_dir} is {status['status']}", hint="run the same `prosect train` again to finish it"
        )
    return _Run(
        run_dir.resolve(),
        request.shaped_dir,
        request.settings,
        status["model_path"],
        status["report"]["model_dir"],
        status["inputs"]["weights"],
    )


def _refuse_incomparable(run: _Run, other: _Run) -> None:
    """Only the dataset may set two runs apart."""
    if run.folder == other.folder:
        raise TrainError("a run cannot be compared with itself", hint="name the run on the unshaped pairs")
    if run.weights != other.weights:
        raise TrainError(f"{run.folder.name} and {other.folder.name} started from different weights")
    if shaped_facts(run.shaped_dir)["index"] != shaped_facts(other.shaped_dir)["index"]:
        raise TrainError(
            f"{run.folder.name} and {other.folder.name} were made from different indexes",
            hint="compile both rule files against the same index",
        )
    ours, theirs = asdict(run.settings), asdict(other.settings)
    apart = sorted(k for k in ours if ours[k] != theirs[k] and k not in _MAY_DIFFER)
    if apart:
        raise TrainError(
            f"{run.folder.name} and {other.folder.name} differ in {', '.join(apart)}",
            hint="train both with the same settings, so that only the pairs differ",
        )


def _sampled(paths: ProjectPaths, run: _Run, which: str, progress: Progress) -> Rollouts:
    """Rollouts of a run's ``start`` or ``tuned`` checkpoint, with the run's own settings."""
    model = run.start if which == "start" else run.tuned
    file = run.folder / "rollouts" / f"{which}.parquet"
    return sample_rollouts(model, paths.pairs, file, run.settings, progress)


def _before(
    paths: ProjectPaths, runs: list[_Run], gauge: Gauge, start: Measured | None, progress: Progress
) -> tuple[Measured, str]:
    """Responses that the run's are compared with, and the checkpoint that gave them."""
    if len(runs) > 1:
        return gauge.measure(_sampled(paths, runs[1], "tuned", progress), progress), runs[1].tuned
    if start is None:
        start = gauge.measure(_sampled(paths, runs[0], "start", progress), progress)
    return start, runs[0].start


def _movement(paths: ProjectPaths, run: _Run, base: str, after: Rollouts, progress: Progress) -> Movement:
    return measure_movement(
        _columns(score_held_out(base, run.tuned, paths.pairs, run.settings, progress)),
        _columns(score_rollouts(base, run.tuned, after, run.settings, progress)),
    )


def _changes(before: Measured, after: Measured) -> Changes:
    return prompt_changes(
        before.values,
        before.prompt,
        after.values,
        after.prompt,
        {int(p): g for m in (before, after) for p, g in zip(m.prompt, m.group, strict=True)},
    )


def _columns(table: Any) -> dict[str, list[Any]]:
    return {name: table[name].to_pylist() for name in table.column_names}
