"""A model cut off after a layer, with its chat layout: text in, residual stream out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from engine.models.blocks import (
    SpareBlock,
    capture,
    check_layer,
    cut_after,
    inner_model,
    max_positions_of,
    n_layers_of,
    one_more_block,
)
from engine.models.chat import ChatLayout
from engine.models.loading import LoadedModel, load_model
from engine.settings import ReadingSettings

MAX_POSITION = 65_535
"""Token counts and peaks are stored in 16 bits."""
_OFFSET_POSITIONS = {"roberta": 2, "xlm-roberta": 2, "camembert": 2, "mpnet": 2}
"""Encoders that start counting positions above their padding index."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The residual stream after one block."""

    loaded: LoadedModel
    layout: ChatLayout
    layer: int
    max_tokens: int
    spare: SpareBlock | None = None
    """The block after ``layer``: only a check looks at it."""

    @property
    def is_causal(self) -> bool:
        """True for language models, False for encoders."""
        return self.loaded.is_causal

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.loaded.device

    def residuals(self, sequences: Sequence[NDArray[np.int64]]) -> list[torch.Tensor]:
        """Residual stream after the layer, one (T, D) tensor per sequence, computed as one batch.

        Sequences are padded on the right. A causal model needs no mask for that, since no token sees what
        follows it; an encoder gets one.
        """
        longest = max(len(s) for s in sequences)
        ids = torch.zeros(len(sequences), longest, dtype=torch.long)
        for row, sequence in zip(ids, sequences, strict=True):
            row[: len(sequence)] = torch.from_numpy(sequence)
        mask: torch.Tensor | None = None
        if not self.is_causal and any(len(s) < longest for s in sequences):
            lengths = torch.tensor([len(s) for s in sequences])
            mask = (torch.arange(longest)[None] < lengths[:, None]).long().to(self.device)
        options = {"use_cache": False} if self.is_causal else {}
        model = inner_model(self.loaded.model)
        with torch.inference_mode(), capture(model, self.layer) as captured:
            model(input_ids=ids.to(self.device), attention_mask=mask, **options)
            stream = captured.take()
        return [stream[i, : len(s)] for i, s in enumerate(sequences)]


@contextmanager
def neighbour(stream: Stream, offset: int) -> Iterator[Stream | None]:
    """The stream one layer earlier (−1) or later (+1) while the context lasts; None if there is none."""
    if offset == -1:
        yield replace(stream, layer=stream.layer - 1) if stream.layer > 0 else None
    elif stream.spare is None:
        yield None
    else:
        with one_more_block(inner_model(stream.loaded.model), stream.spare):
            yield replace(stream, layer=stream.layer + 1)


def load_stream_model(path: str, revision: str | None, settings: ReadingSettings) -> LoadedModel:
    """Load a checkpoint for reading: without its language-modelling head."""
    return load_model(path, revision=revision, device=settings.device, dtype=settings.dtype, with_head=False)


def cut_stream(loaded: LoadedModel, layer: int, max_tokens: int) -> Stream:
    """Forget the blocks after ``layer`` and lay the model out for reading.

    Raises:
        ModelError: the model has no such layer.
    """
    inner = inner_model(loaded.model)
    check_layer(layer, n_layers_of(inner))
    spare = cut_after(inner, layer)
    limit = min(max_tokens, _positions(loaded), MAX_POSITION)
    layout = ChatLayout.of(loaded.tokenizer, is_causal=loaded.is_causal)
    return Stream(loaded, layout, layer, limit, spare)


def _positions(loaded: LoadedModel) -> int:
    positions = max_positions_of(loaded.model)
    if positions is None:
        return MAX_POSITION
    return positions - _OFFSET_POSITIONS.get(str(loaded.model.config.model_type), 0)  # type: ignore[union-attr]
