"""The outline of a checkpoint: its modules without weights, and which of them a reading up to a layer needs.

A reading needs the embeddings and the blocks up to its layer, and for the SAE check one block more.
Everything else is left out: later blocks, the norm behind them, and the towers of a model that also sees or
hears. The model is always built by its whole configuration, never by a shortened one: what a block derives
from the number of layers, or from its place among them, is what it is in the whole model.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from engine.errors import ProsectError
from engine.models.blocks import find_blocks, text_tower

log = logging.getLogger(__name__)

_FINAL_NORMS = ("norm", "norm_f", "ln_f", "final_norm", "final_layernorm", "final_layer_norm")
"""What families call the norm behind their blocks. A run shows that nothing needs it before the layer."""
_HEADS = ("lm_head", "embed_out")
"""What they call the language-modelling head, which the model behind ``AutoModel`` does not have."""


class NeedsWholeModel(Exception):
    """A checkpoint cannot be loaded in part; the text says why."""


class NotLoaded(Exception):
    """A run has come to a part of the model that was left out."""


class LeftOut(torch.nn.Module):
    """Stands where a part of a model was not loaded.

    It ends a run that comes to it, until it has been shown to lie behind everything that is read: then it
    hands on what it is given.
    """

    def __init__(self, instead_of: torch.nn.Module) -> None:
        super().__init__()
        for name, value in vars(instead_of).items():  # some models ask their blocks what kind they are
            if not name.startswith("_") and isinstance(value, str | int | float):
                setattr(self, name, value)
        self.is_behind = False

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The first argument, or the end of the run.

        Raises:
            NotLoaded: it has not been shown to lie behind what is read.
        """
        if not self.is_behind:
            raise NotLoaded
        return args[0] if args else next(iter(kwargs.values()))


@dataclass(frozen=True, slots=True)
class Outline:
    """A checkpoint's modules without weights."""

    config: Any
    model_class: type[Any]
    """What ``AutoModel`` makes of the configuration."""
    blocks: str
    """Name of the list of blocks in it."""
    n_blocks: int
    weights: Mapping[str, int]
    """Name of every tensor in it → numbers in it."""
    elsewhere: tuple[str, ...]
    """Modules that are not on the way from tokens to the last block."""

    def n_kept(self, layer: int) -> int:
        """Blocks that a reading after ``layer`` loads: those up to it, and the next for the SAE check."""
        return min(layer + 2, self.n_blocks)

    def left_out(self, layer: int) -> tuple[str, ...]:
        """Names of the modules that it does not load."""
        later = (f"{self.blocks}.{i}" for i in range(self.n_kept(layer), self.n_blocks))
        return (*later, *self.elsewhere)

    def extent(self, layer: int) -> str:
        """What it loads, in words."""
        return f"embeddings and blocks 0 to {self.n_kept(layer) - 1} of {self.n_blocks}"

    def n_weights(self, layer: int | None = None) -> int:
        """Numbers in the tensors that a reading after ``layer`` loads; None: in all."""
        out = [] if layer is None else [f"{name}." for name in self.left_out(layer)]
        return sum(n for name, n in self.weights.items() if not name.startswith(tuple(out)))

    def is_needed(self, key: str, layer: int) -> bool:
        """Is a tensor of this name in a checkpoint's files one that a reading after ``layer`` loads?

        Names in files differ from names in the model by what stands before them. A wrong yes costs a file
        more; a wrong no is found when the tensor is missing, and the model is loaded whole.
        """
        parts = key.split(".")
        if parts[0] in _HEADS:
            return False
        number = re.search(rf"(?:^|\.){re.escape(self.blocks.rpartition('.')[2])}\.(\d+)\.", key)
        if number is not None:
            return int(number[1]) < self.n_kept(layer)
        norms = {name.rpartition(".")[2] for name in self.elsewhere} & set(_FINAL_NORMS)
        return not (len(parts) > 1 and parts[-2] in norms)


def outline_of(folder: Path) -> Outline:
    """Build a checkpoint's model without weights.

    Raises:
        NeedsWholeModel: transformers does not build it so, or its blocks are not found.
    """
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        with torch.device("meta"):
            model = transformers.AutoModel.from_config(config, trust_remote_code=False)
        name, blocks = find_blocks(model)
    except ProsectError as error:
        raise NeedsWholeModel(error.message) from error
    except (
        Exception
    ) as error:  # whatever a configuration of any kind and age does; loading it says what is wrong
        raise NeedsWholeModel(f"its outline cannot be made: {first_line(error)}") from error
    return Outline(
        config,
        type(model),
        name,
        len(blocks),
        {key: tensor.numel() for key, tensor in model.state_dict().items()},
        tuple(_elsewhere(model, name)),
    )


def _elsewhere(model: torch.nn.Module, blocks: str) -> Iterator[str]:
    """Modules beside the way to the text tower, and the norm behind the blocks."""
    tower = text_tower(model)
    way = next((name for name, module in model.named_modules() if module is tower), "")
    at, before = model, ""
    for step in filter(None, way.split(".")):
        yield from (f"{before}{name}" for name, _ in at.named_children() if name != step)
        at, before = at.get_submodule(step), f"{before}{step}."
    parent = blocks.rpartition(".")[0]
    for name, _ in model.get_submodule(parent).named_children():
        if name in _FINAL_NORMS:
            yield f"{parent}.{name}" if parent else name


def leave_out(model: torch.nn.Module, names: Iterable[str]) -> None:
    """Put ``LeftOut`` in the place of modules."""
    for name in names:
        before, _, last = name.rpartition(".")
        parent = model.get_submodule(before)
        setattr(parent, last, LeftOut(model.get_submodule(name)))


def left_out_of(model: torch.nn.Module) -> list[LeftOut]:
    """What stands in the places of modules that were not loaded."""
    return [module for module in model.modules() if isinstance(module, LeftOut)]


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]
