"""From a shaped dataset to a run: its forecasts are written first, then the trainer starts."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import Cancelled, ProsectError, TrainError
from engine.manifest import hash_json
from engine.paths import ProjectPaths
from engine.pipeline.forecasts import write_forecasts
from engine.pipeline.interventions import check_interventions, check_statements, prepare_interventions
from engine.pipeline.ledger import named_in, shaped_facts
from engine.pipeline.masks import Reach, prepare_masks
from engine.progress import Progress
from engine.settings import ReadingSettings, TrainingSettings
from engine.store.connection import Store

if TYPE_CHECKING:
    from engine.training.run import RunReport


@dataclass(frozen=True, slots=True)
class Started:
    """A run and what was forecast for it."""

    report: "RunReport"
    forecast_path: Path
    n_forecast: int
    """Concepts with a forecast."""


def start_run(
    paths: ProjectPaths,
    shaped_dir: Path,
    settings: TrainingSettings,
    progress: Progress,
    run_dir: Path | None = None,
    reading: ReadingSettings | None = None,
    threshold: float = 0.01,
) -> Started:
    """Forecast, then train; the same command again resumes the same run.

    Args:
        paths: the project that compiled the dataset.
        shaped_dir: shaped/<hash>.
        settings: model, steps, loss … ; an empty model means the reader's own.
        progress: told about every step.
        run_dir: where the run goes, a folder in runs or its bare name; None: runs/<hash of data, model and
            settings>.
        reading: of the index's reader, which reads again what token masks are about.
        threshold: fire rate from which a latent is on in a response, for readings of rollouts.

    Raises:
        TrainError: no shaped dataset, a reader that cannot be trained, or what ``train`` refuses.
    """
    from engine.training.request import STATUS, RunRequest, forget_unbegun, write_request
    from engine.training.run import check_settings, train

    shaped = shaped_facts(shaped_dir)
    reader = _reader_of(paths, shaped["index"])
    is_named = bool(settings.model)
    settings = replace(settings, model=model_of(paths, shaped["index"], settings))
    named = {k: v for k, v in asdict(settings).items() if k != "pilot_share" or v}
    run_dir = _run_dir(paths, run_dir or paths.runs_dir / hash_json([shaped["hash"], named])[:12])
    if not (run_dir / STATUS).exists():
        check_settings(settings)
    check_training(paths, shaped_dir, settings.model)
    if not is_named:
        settings = replace(settings, model=_as_read(reader, is_begun=(run_dir / STATUS).exists()))
    prepare_interventions(paths, shaped_dir, reader["reader_hash"], reader["layer"])
    reading = reading or ReadingSettings()
    reach = _reach(shaped_dir, settings)
    prepare_masks(paths, shaped_dir, shaped["index"], reader["reader_hash"], reading, progress, reach)
    was_there = run_dir.exists()
    run_dir.mkdir(parents=True, exist_ok=True)
    request = RunRequest(shaped_dir, settings.model, run_dir, paths.cache_dir, settings)
    try:
        if not (run_dir / STATUS).exists():
            write_request(request)
        written = write_forecasts(paths, shaped_dir, run_dir, settings, reading, threshold, progress)
        report = train(shaped_dir, settings.model, run_dir, settings, progress, cache_dir=paths.cache_dir)
    except ProsectError as error:
        if not was_there and not isinstance(error, Cancelled):
            forget_unbegun(run_dir)
        raise
    write_request(request)  # only now where a run was there: the request of another one stays as it was
    return Started(report, written.path, written.n_concepts)


def _reach(shaped_dir: Path, settings: TrainingSettings) -> Reach:
    """The pairs that a run sees, and its pilot before it."""
    import pyarrow.parquet as pq

    from engine.pipeline.pilot import pilot_settings
    from engine.training.steps import n_reached

    n_pairs = pq.read_metadata(shaped_dir / "train.parquet").num_rows
    runs = [settings, *([pilot_settings(settings, n_pairs)] if settings.pilot_share else [])]
    return Reach(settings.seed, max(n_reached(run.steps, run.batch_pairs, n_pairs) for run in runs))


def _run_dir(paths: ProjectPaths, run_dir: Path) -> Path:
    """A folder in DIR/runs, also by bare name; no other place, where outcomes and lists find no run."""
    if run_dir.name == str(run_dir):
        return paths.runs_dir / run_dir
    if run_dir.resolve().parent != paths.runs_dir.resolve():
        raise TrainError(
            f"{run_dir} is no folder in {paths.runs_dir}, where the runs of this project lie",
            hint=f"-o {paths.runs_dir / run_dir.name}",
        )
    return run_dir


def project_of(folder: Path) -> ProjectPaths:
    """The project that a shaped dataset or a run lies in (two folders up).

    Raises:
        TrainError: it lies in no project.
    """
    root = folder.resolve().parent.parent
    paths = ProjectPaths(root)
    if not paths.pairs.exists():
        inside = (f"{part}: {there}" for part in ("shaped", "runs") if (there := named_in(folder, part)))
        if ProjectPaths(folder).pairs.exists():
            hint = "; ".join(inside) or "`prosect compile DIR RULES` makes a shaped dataset"
            raise TrainError(f"{folder} is a project: name one of its shaped datasets or runs", hint=hint)
        raise TrainError(f"{folder} lies in no project", hint="name a folder below DIR/shaped or DIR/runs")
    return paths


def model_of(paths: ProjectPaths, index_hash: str, settings: TrainingSettings) -> str:
    """The checkpoint that training starts from: the one that is named, else the reader's own.

    Raises:
        TrainError: none is named, and the reader cannot be trained.
    """
    return settings.model or _trainable(_reader_of(paths, index_hash))


def check_training(paths: ProjectPaths, shaped_dir: Path, model: str) -> None:
    """Refuse what no run on this dataset could do, or none from this checkpoint; nothing is loaded.

    Args:
        paths: the project.
        shaped_dir: the dataset.
        model: checkpoint to train; empty, or one that is not here: looked at when it is.

    Raises:
        TrainError: a statement that steers nothing or too far, or that the checkpoint has no place for.
        ModelError: a checkpoint without sizes.
    """
    check_statements(shaped_dir)
    if model and Path(model).expanduser().is_dir():
        reader = _reader_of(paths, shaped_facts(shaped_dir)["index"])
        check_interventions(shaped_dir, model, reader.get("width"), reader.get("layer"))


def _as_read(reader: Mapping[str, Any], *, is_begun: bool) -> str:
    """The reader's checkpoint, in the revision that read the pairs: forecasts are about that one.

    A run that has begun compares weights with its own start, so they are not looked at here once more.

    Raises:
        TrainError: other weights or another configuration lie in its place.
        ModelError: it is gone.
    """
    from engine.models import fetching
    from engine.models.identity import is_still

    if is_begun and not reader.get("revision"):
        return str(reader["model"])
    folder = fetching.resolve_folder(reader["model"], reader.get("revision"))
    if not is_begun and not is_still(folder, reader["model_fingerprint"], reader.get("model_files", {})):
        raise TrainError(
            f"{folder} has changed since the pairs were read: readings and forecasts are of other weights",
            hint="read the pairs again with `prosect audit`, or train it all the same with --model",
        )
    return str(folder) if reader.get("revision") else str(reader["model"])


def _reader_of(paths: ProjectPaths, index_hash: str) -> dict[str, Any]:
    """Facts about the reader of an index."""
    with Store(paths.index(index_hash)) as store:
        facts: dict[str, Any] = json.loads(store.value("SELECT value FROM meta WHERE key = 'reader'"))
    return facts


def _trainable(reader: Mapping[str, Any]) -> str:
    """The checkpoint that read the pairs: by default the one that training starts from."""
    if not reader["is_causal"]:
        raise TrainError(
            f"the reader {reader['model']} is an encoder and cannot be trained",
            hint="name the checkpoint to train with --model",
        )
    return str(reader["model"])
