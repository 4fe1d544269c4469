"""A run as a file: what a front end writes, and what one or many training processes read.

Nothing here imports torch, so a front end can start and watch a run cheaply. The process is
``python -m engine.training.run RUN_JSON`` or the same under torchrun, and outlives the front end.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.errors import TrainError
from engine.manifest import write_json
from engine.settings import TrainingSettings, apply

REQUEST = "request.json"
STATUS = "run.json"
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Everything that a run is asked to do."""

    shaped_dir: Path
    model_path: str
    run_dir: Path
    cache_dir: Path
    """Where reference log-probabilities are kept across runs."""
    settings: TrainingSettings


def write_request(request: RunRequest) -> Path:
    """Write RUN_DIR/request.json and return its path; paths are made absolute."""
    path = request.run_dir / REQUEST
    model = Path(request.model_path).expanduser()
    write_json(
        path,
        {
            "shaped_dir": str(request.shaped_dir.resolve()),
            "model_path": str(model.resolve()) if model.is_dir() else request.model_path,
            "run_dir": str(request.run_dir.resolve()),
            "cache_dir": str(request.cache_dir.resolve()),
            "settings": asdict(request.settings),
        },
    )
    return path


def read_request(path: Path) -> RunRequest:
    """Read a request.

    Raises:
        TrainError: not there, or no request.
        SettingsError: an unknown or broken setting.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        values = {key: raw[key] for key in ("shaped_dir", "model_path", "run_dir", "cache_dir", "settings")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainError(
            f"{path} is no training request", hint="`prosect train SHAPED` writes one"
        ) from error
    return RunRequest(
        Path(values["shaped_dir"]),
        values["model_path"],
        Path(values["run_dir"]),
        Path(values["cache_dir"]),
        apply(TrainingSettings(), values["settings"], f"{path}: settings"),
    )


def read_status(run_dir: Path) -> dict[str, Any]:
    """The run's run.json.

    Raises:
        TrainError: no run there, or a damaged file.
    """
    path = run_dir / STATUS
    try:
        status: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainError(f"{run_dir} holds no run", hint="start one with `prosect train SHAPED`") from error
    return status


@contextmanager
def sole_process(run_dir: Path) -> Iterator[None]:
    """Keep every other process out of a run; the lock goes with the process, also when it is killed.

    Raises:
        TrainError: another process is at it.
    """
    with (run_dir / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainError(
                f"another process is training in {run_dir}", hint="watch its events.jsonl, or stop it first"
            ) from error
        yield
