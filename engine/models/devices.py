"""Where a model computes, and in which precision, by the names that settings give them."""

import os

import torch

from engine.errors import ModelError


def pick_device(name: str) -> torch.device:
    """The device a name stands for; of several GPUs, each process that torchrun started gets its own.

    Raises:
        ModelError: this machine has none such.
    """
    if name == "auto":
        if torch.cuda.is_available():
            local = os.environ.get("LOCAL_RANK", "0")
            number = int(local) if local.isdigit() else 0
            return torch.device(f"cuda:{number % max(torch.cuda.device_count(), 1)}")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(
            f"there is no device called {name}", hint="use auto, cpu, cuda, cuda:1, mps"
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"this machine has no {name}", hint='use device = "auto" or "cpu"')
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("this machine has no mps device", hint='use device = "auto" or "cpu"')
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype a name stands for; auto is float32 on a CPU and bfloat16 elsewhere."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise ModelError(f"there is no dtype called {name}", hint="use auto, " + ", ".join(known))
    return known[name]
