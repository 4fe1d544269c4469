"""From a shaped dataset to a run: the forecast is written first, then the trainer starts."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import TrainError
from engine.manifest import hash_json, read_manifest, write_json
from engine.paths import ProjectPaths
from engine.pipeline.interventions import prepare_interventions
from engine.pipeline.masks import prepare_masks
from engine.progress import Progress
from engine.settings import ReadingSettings, TrainingSettings
from engine.store.concepts import load_concepts, load_pairs
from engine.store.connection import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from engine.training.run import RunReport

FORECAST_VERSION = 1


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
        run_dir: where the run goes; None: runs/<hash of data, model and settings>.
        reading: of the index's reader, which reads again what token masks are about.
        threshold: fire rate from which a latent is on in a response, for the pilot's readings.

    Raises:
        TrainError: no shaped dataset, a reader that cannot be trained, or what ``train`` refuses.
    """
    from engine.training.request import RunRequest, write_request
    from engine.training.run import train

    shaped = shaped_facts(shaped_dir)
    reader = _reader_of(paths, shaped["index"])
    settings = replace(settings, model=settings.model or _trainable(reader))
    prepare_interventions(paths, shaped_dir, reader["reader_hash"], reader["layer"])
    prepare_masks(
        paths, shaped_dir, shaped["index"], reader["reader_hash"], reading or ReadingSettings(), progress
    )
    named = {k: v for k, v in asdict(settings).items() if k != "pilot_share" or v}
    run_dir = run_dir or paths.runs_dir / hash_json([shaped["hash"], named])[:12]
    forecast_path, forecast = write_forecast(paths, shaped_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_request(RunRequest(shaped_dir, settings.model, run_dir, paths.cache_dir, settings))
    pointer = {"path": str(forecast_path.resolve()), "hash": forecast_path.stem}
    if settings.pilot_share:
        from engine.pipeline.pilot import write_pilot_forecast

        pilot = write_pilot_forecast(
            paths,
            shaped_dir,
            shaped["index"],
            run_dir,
            settings,
            reading or ReadingSettings(),
            threshold,
            progress,
        )
        pointer["pilot"] = str(pilot.resolve())
    write_json(run_dir / "forecast.json", pointer)
    report = train(shaped_dir, settings.model, run_dir, settings, progress, cache_dir=paths.cache_dir)
    return Started(report, forecast_path, len(forecast["concepts"]))


def shaped_facts(shaped_dir: Path) -> dict[str, str]:
    """Content hash and index hash of a finished shaped dataset.

    Raises:
        TrainError: there is none.
    """
    manifest = read_manifest(shaped_dir) if shaped_dir.is_dir() else None
    if manifest is None or manifest.stage != "compile":
        raise TrainError(f"{shaped_dir} is no shaped dataset", hint="`prosect compile DIR RULES` makes one")
    return {"hash": manifest.fingerprint, "index": manifest.inputs["index"]}


def project_of(folder: Path) -> ProjectPaths:
    """The project that a shaped dataset or a run lies in (two folders up).

    Raises:
        TrainError: it lies in no project.
    """
    root = folder.resolve().parent.parent
    paths = ProjectPaths(root)
    if not paths.pairs.exists():
        raise TrainError(f"{folder} lies in no project", hint="name a folder below DIR/shaped or DIR/runs")
    return paths


def write_forecast(paths: ProjectPaths, shaped_dir: Path) -> tuple[Path, dict[str, Any]]:
    """The first-order forecast of a shaped dataset beside that of the unshaped pairs, written once.

    Per concept the weighted mean disparity over the kept pairs, flips turned and offsets as factors, with its
    90% interval; what length alone would move; and the same without rules.
    """
    import numpy as np

    from engine.stats.forecast import length_only, mean_delta

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
        "leading": "mean delta",
        "unit": "disparity u per pair, chosen minus rejected; 90% intervals clustered by prompt group",
        "shaped": facts["hash"],
        "index": facts["index"],
        "concepts": rows,
    }
    write_json(path, forecast)
    return path, forecast


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the rules did to each pair, in order of pair number. All arrays (P,)."""

    weight: "NDArray[np.float64]"
    """0 unless kept."""
    turn: "NDArray[np.float64]"
    """Factor of a pair's disparity: −1 where flipped, times 2σ(−offset)."""
    unshaped: "NDArray[np.float64]"
    """Weight in the mix of every pair that rules could have kept (labelled, not held out, not refused)."""


def read_ledger(shaped_dir: Path, pair_ids: tuple[str, ...]) -> Ledger:
    """The ledger as arrays.

    Raises:
        TrainError: it does not list exactly the pairs of the index.
    """
    import numpy as np
    import pyarrow.parquet as pq
    from scipy.special import expit

    from engine.records import FateKind

    table = pq.read_table(
        shaped_dir / "ledger.parquet",
        columns=["pair_id", "fate", "base_weight", "weight", "offset", "flipped"],
    )
    if tuple(table["pair_id"].to_pylist()) != pair_ids:
        raise TrainError(f"{shaped_dir} was made from another index", hint="compile the rules again")
    fate = np.array(table["fate"].to_pylist())
    sign = np.where(table["flipped"].to_numpy(), -1.0, 1.0)
    return Ledger(
        weight=table["weight"].to_numpy().astype(np.float64),
        turn=sign * 2 * expit(-table["offset"].to_numpy()),
        unshaped=np.where(
            np.isin(fate, [FateKind.KEPT.value, FateKind.DROPPED.value]), table["base_weight"].to_numpy(), 0.0
        ),
    )


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
