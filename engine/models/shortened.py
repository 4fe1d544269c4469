"""Loading only what a reading needs of a checkpoint, and showing that nothing else was needed.

The model is built whole but without memory, the parts that are not read are put out of it, and transformers
fills what is left from the files: tensors of later blocks are never touched, and files that hold nothing else
need not be there. What follows is proof: nothing that is left may be missing, the later blocks must all be in
the checkpoint, and a run must come past the layer before it comes to a part that was left out. Where one of
them fails the model is loaded whole.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from engine.errors import ModelError
from engine.models.blocks import capture, find_blocks, inner_model, text_config, text_tower
from engine.models.memory import is_out_of_memory
from engine.models.outline import (
    NeedsWholeModel,
    NotLoaded,
    Outline,
    first_line,
    leave_out,
    left_out_of,
)

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_TRIED = 24
"""Tokens of the run that shows that nothing before the layer was left out."""


class _Absent:
    """A tensor in a file that was not fetched; nobody may look into it."""

    def __getitem__(self, _: object) -> Any:
        raise NeedsWholeModel("a tensor that it needs lies in a file that is not here")


def read_index(folder: Path) -> dict[str, str] | None:
    """Name of each tensor → its file, by a checkpoint's index; None for a checkpoint of one file.

    Raises:
        ModelError: the index is damaged.
    """
    file = folder / INDEX
    if not file.exists() or (folder / SINGLE).exists():  # transformers takes the single file, too
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["weight_map"]
        index = {str(key): str(name) for key, name in found.items()}
        if not index or any(Path(name).is_absolute() or ".." in Path(name).parts for name in index.values()):
            raise ValueError("it names no files of its folder")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{file} is damaged: {first_line(error)}", hint="fetch it again") from error
    return index


def files_needed(folder: Path, outline: Outline, layer: int) -> tuple[str, ...] | None:
    """Files with weights that a reading after ``layer`` looks into; None for a checkpoint of one file."""
    index = read_index(folder)
    if index is None:
        return None
    return tuple(sorted({file for key, file in index.items() if outline.is_needed(key, layer)}))


def load_shortened(
    folder: Path, outline: Outline, layer: int, dtype: torch.dtype, options: Mapping[str, Any]
) -> torch.nn.Module:
    """The language model of a checkpoint, with weights for what a reading after ``layer`` needs.

    Args:
        folder: the checkpoint's.
        outline: of it.
        layer: block after which is read.
        dtype: of the weights in memory.
        options: more for ``from_pretrained``.

    Returns:
        the model by its whole configuration; ``LeftOut`` stands where nothing was loaded.

    Raises:
        NeedsWholeModel: it cannot be loaded so, or something is missing.
    """
    if not 0 <= layer < outline.n_blocks:
        raise NeedsWholeModel(f"it has no layer {layer}")
    left_out = outline.left_out(layer)
    with ExitStack() as files:
        try:
            tensors = dict(_tensors(folder, files))
            model, info = _class_without(outline.model_class, left_out).from_pretrained(
                None, config=outline.config, state_dict=tensors, dtype=dtype, output_loading_info=True,
                ignore_mismatched_sizes=True, **options,
            )  # fmt: skip
        except NeedsWholeModel:
            raise
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except (
            Exception
        ) as error:  # whatever another version of transformers makes of it; loading it whole says more
            if is_out_of_memory(error):
                raise
            raise NeedsWholeModel(f"transformers cannot fill a part of it ({first_line(error)})") from error
    model.__class__ = outline.model_class
    _check_complete(outline, left_out, info, tensors)
    tower = text_tower(model)
    if find_blocks(model)[0] != outline.blocks:
        raise NeedsWholeModel("its blocks are found elsewhere")
    return tower


def _tensors(folder: Path, files: ExitStack) -> Iterator[tuple[str, Any]]:
    """Every tensor of a checkpoint by name, not yet read."""
    index = read_index(folder)
    here = sorted(set(index.values()) if index is not None else {SINGLE})
    for name in here:
        if not (folder / name).exists():
            if index is None:
                raise NeedsWholeModel(f"it has no {name}")
            yield from ((key, _Absent()) for key, file in index.items() if file == name)
            continue
        opened = files.enter_context(safe_open(folder / name, framework="pt"))
        yield from ((key, opened.get_slice(key)) for key in opened.keys())  # noqa: SIM118 - not a mapping


def _class_without(model_class: type[Any], left_out: tuple[str, ...]) -> type[Any]:
    """A model class that puts parts out after it was built, and before weights are loaded."""

    def build(self: Any, *args: Any, **kwargs: Any) -> None:
        model_class.__init__(self, *args, **kwargs)
        leave_out(self, left_out)

    # transformers finds how to rename tensors by a class's name and module
    return type(
        model_class.__name__, (model_class,), {"__init__": build, "__module__": model_class.__module__}
    )


def _check_complete(
    outline: Outline, left_out: tuple[str, ...], info: Mapping[str, Any], in_files: Iterable[str]
) -> None:
    """Nothing that was loaded may be missing or of another shape, and every later block must be in the files.

    Raises:
        NeedsWholeModel: something is; loading it whole says what.
    """
    for key, *_ in info["mismatched_keys"]:
        raise NeedsWholeModel(f"{key} has another shape than its configuration says")
    for key in info["missing_keys"]:
        if "pooler" not in key:  # nothing reads a pooler
            raise NeedsWholeModel(f"{key} is missing")
    later = tuple(f"{name}." for name in left_out if name.startswith(f"{outline.blocks}."))
    owed = {key for key in outline.weights if key.startswith(later)} if later else set()
    # what nothing took is not always all said; names in files have more before those in the model
    for key in (*info["unexpected_keys"], *in_files):
        parts = str(key).split(".")
        owed.difference_update(".".join(parts[i:]) for i in range(len(parts)))
    if owed:
        raise NeedsWholeModel(f"{min(owed)} is missing")


def prove(model: torch.nn.Module, layer: int, *, is_causal: bool) -> None:
    """Run a few tokens: they must come past the block before they come to a part that was left out.

    Afterwards a norm that was left out hands on what it is given; later blocks still end a run.

    Raises:
        NeedsWholeModel: they do not.
    """
    inner = inner_model(model)
    _, blocks = find_blocks(inner)
    ids = torch.arange(3, 3 + _TRIED, device=next(inner.parameters()).device)[None]
    options = {"use_cache": False} if is_causal else {}
    try:
        with torch.inference_mode(), capture(inner, layer) as captured:
            with suppress(NotLoaded):
                inner(input_ids=ids % int(text_config(inner).vocab_size), **options)
            captured.take()
    except Exception as error:  # whatever a model does that misses its later blocks
        if is_out_of_memory(error):
            raise
        raise NeedsWholeModel(
            f"no run comes past layer {layer} without the rest: {first_line(error)}"
        ) from error
    for part in left_out_of(model):
        part.is_behind = not any(part is block for block in blocks)
