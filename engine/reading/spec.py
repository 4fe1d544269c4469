"""What a reader is made of, as a person writes it down: a checkpoint, a layer, an SAE."""

import json
import math
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from engine.errors import ModelError
from engine.manifest import write_atomic
from engine.models.names import meant, nearest, nearest_paths
from engine.paths import is_path
from engine.reading.presets import PRESETS

READER_FILE = "reader.toml"
"""What makes a folder a reader."""


@dataclass(frozen=True, slots=True)
class ReaderSpec:
    """A reader as asked for; nothing is loaded yet."""

    model: str
    """Folder or hub id of the checkpoint."""
    layer: int | None = None
    """Block (from 0) after which the residual stream is read; None: as the SAE says."""
    sae: str | None = None
    """A folder in sae-lens format, ``release:id`` of sae-lens' directory, a folder with ``params.npz``, or a
    safetensors file with a matrix of directions."""
    revision: str | None = None
    """Commit, tag or branch of the checkpoint on the hub."""
    norm_scaling_factor: float | None = None
    """For SAEs that expect inputs scaled to a mean norm of √width (``expected_average_only_in``) when the
    folder does not carry the factor: √width / mean norm over the SAE's own training data."""
    expected_l0: float | None = None
    """Mean number of active latents per token that the SAE's authors report; checked before reading."""
    max_tokens: int | None = None
    """Overrides the setting: encoders often need a smaller one."""


def load_reader_spec(text: str, *, layer: int | None = None, sae: str | None = None) -> ReaderSpec:
    """Understand what the user called a reader.

    Args:
        text: a folder with ``reader.toml`` (keys are those of ``ReaderSpec``; paths relative to the folder),
            the name of a preset, or the folder or hub id of a checkpoint.
        layer: overrides the layer.
        sae: overrides the SAE.

    Raises:
        ModelError: there is no such folder, ``reader.toml`` is damaged or has unknown keys, or no SAE was
            given.
    """
    folder = Path(text).expanduser()
    if (folder / READER_FILE).exists():
        spec = _from_toml(folder)
    elif text in PRESETS:
        preset = PRESETS[text]
        spec = ReaderSpec(preset.model, preset.layer, f"{preset.release}:{preset.sae_id}")
    elif folder.is_dir():
        spec = ReaderSpec(str(folder))
    elif is_path(text) or folder.exists():
        what = f"{text} is a file" if folder.exists() else f"there is no folder {text}"
        hint = meant(nearest_paths(folder)) if not folder.exists() else None
        raise ModelError(what, hint=hint or "a reader is a folder, a preset or the hub id of a checkpoint")
    else:
        spec = ReaderSpec(text)
    spec = replace(
        spec,
        layer=spec.layer if layer is None else layer,
        sae=spec.sae if sae is None else sae,
    )
    if spec.sae is None:
        close = nearest(text, PRESETS) if not folder.exists() and "/" not in text else []
        if close:
            raise ModelError(f"there is no preset and no folder {text}", hint=meant(close))
        raise ModelError(
            f"{text} has no SAE to read with",
            hint="give --sae with a folder or release:id, use a preset ("
            + ", ".join(sorted(PRESETS))
            + "), or train one with `prosect sae`",
        )
    return spec


_NUMBERS: tuple[tuple[str, Any, float], ...] = (
    ("layer", int, 0),
    ("max_tokens", int, 1),
    ("norm_scaling_factor", float | int, 0),
    ("expected_l0", float | int, 0),
)
"""Keys with numbers: of which kind, and the least that makes sense."""


def _from_toml(folder: Path) -> ReaderSpec:
    file = folder / READER_FILE
    try:
        raw: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{file}: {error}", hint="fix the TOML syntax at that place") from error
    known = {f.name for f in fields(ReaderSpec)}
    unknown = sorted(set(raw) - known)
    if unknown:
        raise ModelError(f"{file} has unknown keys: {', '.join(unknown)}", hint="known: " + ", ".join(known))
    if not isinstance(raw.get("model"), str):
        raise ModelError(f"{file} names no model", hint='add a line such as model = "."')
    for key, kinds, least in _NUMBERS:
        value = raw.get(key, least)
        if not isinstance(value, kinds) or isinstance(value, bool) or not least <= value < math.inf:
            kind = "whole number" if kinds is int else "number"
            raise ModelError(f"{file}: {key} must be a {kind} from {least:g} on, not {value!r}")
    for key in ("sae", "revision"):
        if key in raw and not isinstance(raw[key], str):
            raise ModelError(f"{file}: {key} must be a text, not {raw[key]!r}", hint="put it in quotes")
    for key in ("model", "sae"):
        if isinstance(raw.get(key), str):
            raw[key] = _placed(file, key, raw[key])
    return ReaderSpec(**raw)


def _placed(file: Path, key: str, name: str) -> str:
    """A model or SAE as ``reader.toml`` names it: a folder is meant from where the file lies.

    Raises:
        ModelError: it can only mean a folder, and there is none.
    """
    beside = file.parent / name
    if beside.exists():
        return str(beside)
    is_name = not is_path(name) and (key == "model" or ":" in name)
    if not is_name and not Path(name).expanduser().exists():
        raise ModelError(
            f"{file}: there is no {key} {name} beside it",
            hint=meant(str(Path(p).relative_to(file.parent)) for p in nearest_paths(beside))
            or f"correct the line {key} = {json.dumps(name)}",
        )
    return name


def save_reader(folder: Path, model: str, layer: int) -> None:
    """Make the folder of an SAE a reader: model and layer beside it in ``reader.toml``."""
    known = str(Path(model).resolve()) if Path(model).exists() else model
    # JSON's strings are TOML's.
    lines = f'model = {json.dumps(known)}\nlayer = {layer}\nsae = "."\n'
    write_atomic(folder / READER_FILE, lines.encode())
