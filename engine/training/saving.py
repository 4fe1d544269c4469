"""What goes wrong while a run writes, said alike whoever wrote, and what a failed save leaves behind."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError

from engine.errors import TrainError
from engine.training.checkpoint import last_whole


def known_failure(error: BaseException, *, has_begun: bool) -> TrainError | None:
    """The error in words, for what a person can do something about; None for the rest.

    Once a run has begun it reads no more files, so that what the system refuses is to write.
    """
    if isinstance(error, torch.OutOfMemoryError):
        return TrainError(
            f"the device ran out of memory: {error}",
            hint="lower training.micro_batch_pairs or training.max_length, or set training.lora_rank",
        )
    is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if is_full or (has_begun and isinstance(error, OSError | SafetensorError)):
        return _unwritten(error)
    return None


def _unwritten(error: BaseException) -> TrainError:
    lines = str(error).splitlines()
    return TrainError(
        f"the run could not be written: {lines[0] if lines else type(error).__name__}",
        hint="free some space and train again: it goes on from the last whole save",
    )


@contextmanager
def saving() -> Iterator[None]:
    """Inside it an error of any library that writes is one of writing: torch says ``RuntimeError``.

    Raises:
        TrainError: something could not be written.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (OSError, SafetensorError, RuntimeError) as error:
        raise _unwritten(error) from error


def drop_torn(run_dir: Path) -> None:
    """Take away what a failed save left of an unfinished run, so that there is room for its last words."""
    last_whole(run_dir / "checkpoints")
    for name in ("model", "adapter"):
        shutil.rmtree(run_dir / name, ignore_errors=True)
