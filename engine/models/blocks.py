"""Finding a model's transformer blocks and taking the residual stream after one of them.

The residual stream after block ℓ (0-based; ``hook_resid_post`` in the SAE literature) is what block ℓ
returns. It equals ``hidden_states[ℓ + 1]`` of a full forward, except after the last block, where transformers
applies the final norm to what it reports.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch

from engine.errors import ModelError


def find_blocks(model: torch.nn.Module) -> tuple[str, torch.nn.ModuleList]:
    """Name and list of the transformer blocks: ``model.layers``, ``transformer.h``, ``encoder.layer`` …

    They are the module list with as many members as the configuration has layers and the most parameters;
    of equals the one with the shortest name.

    Raises:
        ModelError: no list fits.
    """
    n_layers = n_layers_of(model)
    tower = {id(module) for module in text_tower(model).modules()}
    lists = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == n_layers and id(module) in tower
    ]
    if not lists:
        raise ModelError(
            f"the blocks of {type(model).__name__} cannot be found",
            hint=f"its configuration says {n_layers} layers, but no list of modules has that many",
        )
    return max(lists, key=lambda item: (sum(p.numel() for p in item[1].parameters()), -len(item[0])))


def n_layers_of(model: torch.nn.Module) -> int:
    """Blocks according to the configuration."""
    return int(text_config(model).num_hidden_layers)


def width_of(model: torch.nn.Module) -> int:
    """Width of the residual stream."""
    return int(text_config(model).hidden_size)


def max_positions_of(model: torch.nn.Module) -> int | None:
    """Longest sequence the model has positions for; None if it does not say."""
    found = getattr(text_config(model), "max_position_embeddings", None)
    return None if found is None else int(found)


def text_config(model: torch.nn.Module) -> Any:
    """The part of a configuration that describes the language model."""
    config: Any = model.config
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def text_tower(model: torch.nn.Module) -> torch.nn.Module:
    """The language model inside a model that also sees or hears; any other model itself."""
    is_composite = text_config(model) is not getattr(model, "config", None)
    inner = model.get_decoder() if is_composite and hasattr(model, "get_decoder") else model  # type: ignore[operator]
    return inner if isinstance(inner, torch.nn.Module) else model


def block_parameters(model: torch.nn.Module, layer: int) -> int:
    """Weights in the blocks up to ``layer``: half of a token's operations, attention aside."""
    _, blocks = find_blocks(model)
    return sum(p.numel() for block in list(blocks)[: layer + 1] for p in block.parameters())


@dataclass(frozen=True, slots=True)
class SpareBlock:
    """The first block that a cut took away, kept so that it can be put back for a look."""

    block: torch.nn.Module
    layer_type: str | None
    """Kind of attention, in models that mix several."""


def cut_after(model: torch.nn.Module, layer: int) -> SpareBlock | None:
    """Forget all blocks after ``layer``: the forward ends there, and their memory is freed.

    Returns:
        The block after ``layer``; None if it was the last.

    Raises:
        ModelError: the model has no such block.
    """
    _, blocks = find_blocks(model)
    check_layer(layer, len(blocks))
    types = getattr(text_config(model), "layer_types", None)
    spare = None
    if layer + 1 < len(blocks):
        spare = SpareBlock(blocks[layer + 1], types[layer + 1] if types else None)
    _set_blocks(model, list(blocks)[: layer + 1], types[: layer + 1] if types else None)
    return spare


@contextmanager
def one_more_block(model: torch.nn.Module, spare: SpareBlock) -> Iterator[None]:
    """Put a spare block back behind the others while the context lasts."""
    _, blocks = find_blocks(model)
    kept = list(blocks)
    types = getattr(text_config(model), "layer_types", None)
    longer = None if types is None or spare.layer_type is None else [*types, spare.layer_type]
    _set_blocks(model, [*kept, spare.block], longer)
    try:
        yield
    finally:
        _set_blocks(model, kept, types)


def _set_blocks(model: torch.nn.Module, blocks: list[torch.nn.Module], types: list[str] | None) -> None:
    name, _ = find_blocks(model)
    parent = model.get_submodule(name.rpartition(".")[0])
    setattr(parent, name.rpartition(".")[2], torch.nn.ModuleList(blocks))
    config = text_config(model)
    config.num_hidden_layers = len(blocks)
    if types is not None:
        with suppress(AttributeError):  # some configurations work the kinds out from the number of layers
            config.layer_types = list(types)


def check_layer(layer: int, n_layers: int) -> None:
    """Raise ``ModelError`` unless ``layer`` numbers one of ``n_layers`` blocks."""
    if not 0 <= layer < n_layers:
        raise ModelError(
            f"there is no layer {layer}: the model has {n_layers} blocks",
            hint=f"layers are counted from 0 to {n_layers - 1}",
        )


class NotReached(ModelError):
    """A forward passed a block over."""


class Captured:
    """Holds what a block returned last."""

    def __init__(self) -> None:
        self._value: torch.Tensor | None = None

    def put(self, value: torch.Tensor) -> None:
        """Keep a block's output, (B, T, D)."""
        self._value = value

    def take(self) -> torch.Tensor:
        """The residual stream of the last forward, (B, T, D); it is let go of here."""
        value, self._value = self._value, None
        if value is None:
            raise NotReached(
                "the forward of this model does not pass this block",
                hint="a block that waits for an image is passed over by text: read after another layer",
            )
        return value


@contextmanager
def capture(model: torch.nn.Module, layer: int) -> Iterator[Captured]:
    """Capture the residual stream after block ``layer`` while the context lasts."""
    _, blocks = find_blocks(model)
    check_layer(layer, len(blocks))
    captured = Captured()

    def hook(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        captured.put(output[0] if isinstance(output, tuple) else output)

    handle = blocks[layer].register_forward_hook(hook)
    try:
        yield captured
    finally:
        handle.remove()


def inner_model(model: torch.nn.Module) -> torch.nn.Module:
    """The model without its language-modelling head, which costs as much as several blocks."""
    inner = getattr(model, "base_model", None)
    return inner if isinstance(inner, torch.nn.Module) else model
