"""Running out of memory while a checkpoint is loaded or tried: said alike wherever it happens."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from engine.errors import ModelError

_SAID = ("out of memory", "not enough memory", "allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """A GPU has an error of its own for it; allocators of a CPU, of MPS and of the system only say so."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in _SAID)


@contextmanager
def enough_memory(path: str, device: torch.device, *, to_read: bool = True) -> Iterator[None]:
    """Inside it an error of any library that runs out of memory says what does not fit.

    Args:
        path: the checkpoint.
        device: where it is to lie.
        to_read: it is to be read, else trained or sampled from.

    Raises:
        ModelError: the checkpoint does not fit.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, ModelError) or not is_out_of_memory(error):
            raise
        half = "take --set reading.dtype=bfloat16, " if device.type == "cpu" else ""
        raise ModelError(
            f"{path} does not fit into the memory of {device}",
            hint=f"{half}read after an earlier layer, on another device, or with a smaller model;"
            " `prosect doctor` says what a reader takes"
            if to_read
            else "take another device or a smaller model; `prosect doctor` says what training takes",
        ) from error
