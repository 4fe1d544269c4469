"""A run as a file: what a front end writes, and what one or many training processes read.

Nothing here imports torch, so a front end can start and watch a run cheaply. The process is
``python -m engine.training.run RUN_JSON`` or the same under torchrun, and outlives the front end.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.errors import TrainError
from engine.manifest import write_json
from engine.settings import TrainingSettings
from engine.settings_file import apply

REQUEST = "request.json"
STATUS = "run.json"
_LOCK = ".lock"
_BEFORE_BEGINNING = {REQUEST, _LOCK, "forecast.json"}
"""Made again in no time; rollouts and pilots are not."""


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


def here_now(recorded: str, run_dir_then: str, run_dir: Path) -> str:
    """A recorded path, in the project that the run lies in now where it was one of the project then.

    Args:
        recorded: as a run's files have it, absolute; hub names come back as they are.
        run_dir_then: the run's folder as the same file has it, PROJECT/runs/ID.
        run_dir: the run's folder now. Whoever keeps a request elsewhere than in its run moved no project.
    """
    then, now = Path(run_dir_then), run_dir.resolve()
    if now == then or now.parent.name != then.parent.name:
        return recorded
    path = Path(recorded)
    if path.is_relative_to(then):
        return str(now / path.relative_to(then))
    root = then.parent.parent
    return str(now.parent.parent / path.relative_to(root)) if path.is_relative_to(root) else recorded


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
    then, now = values["run_dir"], path.parent
    return RunRequest(
        Path(here_now(values["shaped_dir"], then, now)),
        here_now(values["model_path"], then, now),
        Path(here_now(then, then, now)),
        Path(here_now(values["cache_dir"], then, now)),
        apply(TrainingSettings(), values["settings"], f"{path}: settings"),
    )


def read_status(run_dir: Path) -> dict[str, Any]:
    """The run's run.json; paths inside the project are those of the project that the run lies in now.

    Raises:
        TrainError: no run there, or a damaged file.
    """
    path = run_dir / STATUS
    try:
        status: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainError(f"{run_dir} holds no run", hint="start one with `prosect train SHAPED`") from error
    report = status.get("report")
    if isinstance(report, dict):
        now = run_dir.resolve()
        status["model_path"] = here_now(str(status.get("model_path", "")), str(report.get("run_dir")), now)
        status["report"] = report | {"run_dir": str(now), "model_dir": str(now / "model")}
    return status


def forget_unbegun(run_dir: Path) -> None:
    """Remove the folder of a run that was refused before it began, so that no list shows it."""
    if run_dir.is_dir() and {path.name for path in run_dir.iterdir()} <= _BEFORE_BEGINNING:
        shutil.rmtree(run_dir, ignore_errors=True)


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
