"""Train a checkpoint on a shaped dataset: resumable, stoppable, and written down.

    RUN_DIR/
      request.json     what was asked (when started through a file)
      run.json         status, settings, counts; rewritten as the run goes on
      events.jsonl     one line per step, log and save
      checkpoints/     saves to resume from, safetensors
      model/           the tuned checkpoint, LoRA merged
      manifest.json    written last: its presence means finished

``python -m engine.training.run REQUEST`` is the same as a process, also under torchrun.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import torch

from engine.errors import Cancelled, ProsectError
from engine.models.fetching import resolve_folder
from engine.progress import CancelToken, NullProgress, Progress
from engine.settings import TrainingSettings
from engine.training.checkpoint import load_start
from engine.training.events import EventLog
from engine.training.interventions import read_interventions, refuse_unknown_methods
from engine.training.losses import check_loss
from engine.training.masks import read_masks
from engine.training.offline import offline
from engine.training.report import RunReport
from engine.training.request import forget_unbegun, read_request, sole_process
from engine.training.saving import known_failure
from engine.training.session import Changes, Session, check_device
from engine.training.shaped import read_shaped
from engine.training.trainer import check_batches

__all__ = ["RunReport", "check_settings", "main", "train"]


def train(
    shaped_dir: Path,
    model_path: str,
    run_dir: Path,
    settings: TrainingSettings,
    progress: Progress,
    *,
    cache_dir: Path | None = None,
) -> RunReport:
    """Train on a shaped dataset, going on from the last whole save where there is one.

    Args:
        shaped_dir: folder with train.parquet.
        model_path: checkpoint to start from; it is also the reference.
        run_dir: one run; a finished one is returned as it is, another one's folder is refused.
        settings: everything that determines the result, with the inputs.
        progress: told about encode, reference and train; cancelling saves and stops.
        cache_dir: where reference log-probabilities are kept across runs; None: inside ``run_dir``.

    Raises:
        TrainError: input that must not or cannot be trained on, or a folder of another run.
        ModelError: a checkpoint that cannot be loaded.
        Cancelled: stopped on request, after saving; call again to go on.
    """
    is_main = int(os.environ.get("RANK", "0")) == 0
    run_dir = run_dir.resolve()
    was_there = run_dir.exists()
    run_dir.mkdir(parents=True, exist_ok=True)
    log = EventLog(run_dir / "events.jsonl", is_main=is_main)
    try:
        with sole_process(run_dir) if is_main else nullcontext(), _last_words(log):
            return _train(shaped_dir, model_path, run_dir, settings, progress, cache_dir or run_dir, log)
    except BaseException:
        if is_main and not was_there:
            forget_unbegun(run_dir)
        raise


@contextmanager
def _last_words(log: EventLog) -> Iterator[None]:
    """Write why a run ended early. What was refused before it began is no part of the run that lies there."""
    try:
        yield
    except Cancelled as error:
        log.write("cancelled", {"message": error.message})
        raise
    except BaseException as error:
        known = error if isinstance(error, ProsectError) else known_failure(error, has_begun=log.has_begun)
        if log.has_begun:
            said = known.message if known is not None else f"{type(error).__name__}: {error}"
            with suppress(OSError):  # a full disk takes no words
                log.write("error", {"message": said})
        if known is None or known is error:
            raise
        raise known from error


def check_settings(settings: TrainingSettings) -> None:
    """Refuse settings that no data could be trained with; takes no time.

    Raises:
        TrainError: a loss, a batch or devices that do not fit.
        ModelError: no such device.
    """
    check_loss(settings.loss_type, settings.label_smoothing, has_offsets=False)
    check_batches(settings)
    check_device(settings)


def _train(
    shaped_dir: Path,
    model_path: str,
    run_dir: Path,
    settings: TrainingSettings,
    progress: Progress,
    cache_dir: Path,
    log: EventLog,
) -> RunReport:
    pairs = read_shaped(shaped_dir, settings.seed)
    check_loss(settings.loss_type, settings.label_smoothing, has_offsets=pairs.has_offsets)
    interventions = read_interventions(shaped_dir)
    masks = read_masks(shaped_dir)
    refuse_unknown_methods(shaped_dir, {*(item.name for item in interventions), *masks.names})
    folder = resolve_folder(model_path)
    with offline():
        start = load_start(folder)
        changes = Changes(interventions, masks)
        return Session(run_dir, cache_dir, settings, pairs, changes, start, log, progress).go()


@contextmanager
def _stop_on_signal(token: CancelToken) -> Iterator[None]:
    """Ctrl+C and termination save and stop; a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, _frame: object) -> None:
        if token.is_cancelled:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        token.cancel()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: list[str]) -> int:
    """Run one request file; 0 finished, 130 stopped, 2 failed. Messages go to stderr and events.jsonl."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m engine.training.run REQUEST_JSON\n")
        return 2
    token = CancelToken()
    try:
        request = read_request(Path(arguments[0]))
        with _stop_on_signal(token):
            train(
                request.shaped_dir,
                request.model_path,
                request.run_dir,
                request.settings,
                NullProgress(token),
                cache_dir=request.cache_dir,
            )
    except Cancelled as stopped:
        sys.stderr.write(f"{stopped}\n")
        return 130
    except ProsectError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
