"""Looking at an SAE's files before they are loaded: what is wrong with them, where, and what to do.

Only configuration and headers are read here, so that a folder is refused for what it is and not for what a
library makes of it later. Weights themselves are looked at once they are loaded (``require_finite``).
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError, safe_open

from engine.errors import ModelError

CONFIG, WEIGHTS, SCALER = "cfg.json", "sae_weights.safetensors", "activation_scaler.json"
"""Files of a folder in sae-lens format."""
AGAIN = "fetch or train it again"
_LFS = b"version https://git-lfs"
_PICKLES = (".pt", ".pth", ".bin", ".pkl", ".ckpt")
_SHOWN = 5

Shape = tuple[int, ...]


def check_folder(path: Path) -> None:
    """Look at a folder in sae-lens format.

    Raises:
        ModelError: a file is missing, damaged or of other sizes than the configuration says.
    """
    if not (path / CONFIG).is_file():
        raise ModelError(*_what_else(path))
    config = _read_object(path / CONFIG)
    sizes = {}
    for key in ("d_in", "d_sae"):
        value = config.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            said = f"is {value!r}, not a whole number from 1 on" if key in config else "is missing"
            raise ModelError(f"{path / CONFIG}: {key} {said}", hint=AGAIN)
        sizes[key] = value
    if not isinstance(config.get("metadata", {}), dict):
        raise ModelError(f"{path / CONFIG}: metadata is no object", hint=AGAIN)
    _check_k(path / CONFIG, config, sizes["d_sae"])
    shapes = _headers(path / WEIGHTS)
    check_shapes(str(path / WEIGHTS), shapes, sizes["d_in"], sizes["d_sae"])


def check_shapes(where: str, shapes: Mapping[str, Shape], d_in: int, d_sae: int) -> None:
    """Compare the tensors that every kind of SAE has with its sizes.

    Args:
        where: file, for the message.
        shapes: of the tensors there.
        d_in: width of the residual stream.
        d_sae: latents.

    Raises:
        ModelError: one has another shape.
    """
    expected: dict[str, Shape] = {
        "W_enc": (d_in, d_sae), "W_dec": (d_sae, d_in), "b_enc": (d_sae,), "b_dec": (d_in,),
        "threshold": (d_sae,), "b_gate": (d_sae,), "b_mag": (d_sae,), "r_mag": (d_sae,),
    }  # fmt: skip
    for name, shape in expected.items():
        found = shapes.get(name)
        if found is None or found == shape:
            continue
        turned = len(found) == 2 and found == shape[::-1]
        raise ModelError(
            f"{where}: {name} has shape {list(found)}, and {list(shape)} is what d_in {d_in} and"
            f" d_sae {d_sae} ask for",
            hint=f"it is transposed: store {name}.T" if turned else AGAIN,
        )


def require_finite(where: str, tensors: Mapping[str, torch.Tensor | None]) -> None:
    """Look at loaded weights.

    Args:
        where: name of the SAE, for the message.
        tensors: by name; a threshold of +∞, a latent that never fires, is allowed.

    Raises:
        ModelError: one holds values that are no numbers, or a matrix nothing but zeros.
    """
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        total = float(tensor.sum(dtype=torch.float64))
        if math.isnan(total) or (math.isinf(total) and name != "threshold"):
            n = int((~tensor.isfinite()).sum())
            raise ModelError(
                f"{where}: {n:,} of {tensor.numel():,} values of {name} are no finite numbers", hint=AGAIN
            )
        if name.startswith("W_") and not bool(tensor.any()):
            raise ModelError(f"{where}: {name} holds nothing but zeros", hint=AGAIN)


def stored_factor(path: Path) -> float | None:
    """The input scale that a folder keeps in a file of its own; None if it has none.

    Raises:
        ModelError: the file is damaged.
    """
    file = path / SCALER
    if not file.is_file():
        return None
    value = _read_object(file).get("scaling_factor")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ModelError(
            f"{file}: scaling_factor is {value!r}, not a number above 0",
            hint="correct it, or set norm_scaling_factor in reader.toml",
        )
    return float(value)


def refuse_file(path: Path) -> NoReturn:
    """Say what a file is that was given as an SAE and is no safetensors file. Raises ``ModelError``."""
    if path.suffix in _PICKLES:
        raise ModelError(f"{path} is a pickle, which can run code and is never loaded", hint=_CONVERT)
    folder = f"give the folder it lies in: {path.parent}" if path.name in (CONFIG, "params.npz") else None
    raise ModelError(
        f"{path} is no SAE", hint=folder or "give a folder, or a .safetensors file of directions"
    )


_CONVERT = (
    "load it with its loader in sae-lens where you trust it, and give the folder that save_model writes"
)


def _what_else(path: Path) -> tuple[str, str]:
    """What a folder without a configuration is, and what to do."""
    inside = sorted(p.parent for depth in ("*", "*/*", "*/*/*") for p in path.glob(f"{depth}/{CONFIG}"))
    scopes = sorted(p.parent for depth in ("*", "*/*", "*/*/*") for p in path.glob(f"{depth}/params.npz"))
    if inside or scopes:
        found = [str(p) for p in (*inside, *scopes)]
        more = " …" if len(found) > _SHOWN else ""
        return f"{path} is no SAE, but holds {len(found)}", "give one of them: " + ", ".join(
            found[:_SHOWN]
        ) + more
    pickles = sorted(p.name for p in path.iterdir() if p.suffix in _PICKLES)
    if (path / "config.json").is_file() and (path / "tokenizer_config.json").is_file():
        return f"{path} is a checkpoint, not an SAE", "give it as --reader, and an SAE's folder as --sae"
    if pickles:
        return f"{path} holds a pickle ({pickles[0]}), which can run code and is never loaded", _CONVERT
    hint = "give a folder written by sae-lens' save_model, or one with Gemma Scope's params.npz"
    return f"{path} has no {CONFIG}", hint


def _read_object(file: Path) -> dict[str, Any]:
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} is not JSON: {error}", hint=AGAIN) from error
    if not isinstance(raw, dict):
        raise ModelError(f"{file} holds no JSON object", hint=AGAIN)
    return raw


def _check_k(file: Path, config: Mapping[str, Any], d_sae: int) -> None:
    """TopK keeps k latents per token: sae-lens would take 100 where nothing is said."""
    if config.get("architecture") != "topk":
        return
    k = config.get("k", (config.get("activation_fn_kwargs") or {}).get("k"))
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= d_sae:
        said = "is missing" if k is None else f"is {k!r}"
        raise ModelError(
            f"{file}: k {said}; a TopK SAE needs a whole number from 1 to {d_sae}", hint="correct it there"
        )


def _headers(file: Path) -> dict[str, Shape]:
    """Shapes in a safetensors file, from its header alone."""
    if not file.is_file():
        raise ModelError(f"{file.parent} has no {file.name}", hint=AGAIN)
    with file.open("rb") as f:
        if f.read(len(_LFS)) == _LFS:
            raise ModelError(f"{file} is a pointer of Git LFS, not the weights", hint="run `git lfs pull`")
    shapes: dict[str, Shape] = {}
    with opened(file) as held:
        for name in held.keys():  # noqa: SIM118 - not a mapping
            part = held.get_slice(name)
            if not str(part.get_dtype()).startswith(("F", "BF")):
                raise ModelError(
                    f"{file}: {name} holds {part.get_dtype()} values, not floating-point ones",
                    hint="store the weights unquantised",
                )
            shapes[name] = tuple(part.get_shape())
    return shapes


def opened(file: Path) -> Any:
    """A safetensors file, opened. Raises ``ModelError`` for one that is damaged or cut short."""
    try:
        return safe_open(file, framework="pt")
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{file} is damaged or cut short: {error}", hint=AGAIN) from error


def reason(error: BaseException, limit: int = 300) -> str:
    """An error's message in one line, its later lines included."""
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is not known" if error.args else "a key is missing"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:limit] or type(error).__name__
