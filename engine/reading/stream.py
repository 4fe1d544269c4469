"""A model cut off after a layer, with its chat layout: text in, residual stream out."""

import inspect
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import ModelError
from engine.models.blocks import (
    SpareBlock,
    block_parameters,
    capture,
    check_layer,
    cut_after,
    inner_model,
    max_positions_of,
    n_layers_of,
    one_more_block,
    width_of,
)
from engine.models.chat import ChatLayout
from engine.models.identity import Known
from engine.models.loading import LoadedModel, load_to_read
from engine.models.memory import enough_memory, is_out_of_memory
from engine.models.outline import NotLoaded
from engine.reading.packed import (
    Row,
    attention_kinds,
    packed_inputs,
    probe_rows,
    short_window,
    split_rows,
)
from engine.settings import ReadingSettings

log = logging.getLogger(__name__)

NEVER = 1 << 40
"""``Stream.min_shared`` of a model whose prompts are not computed by themselves."""
SHARED_FLOPS, MIN_SHARED, MAX_SHARED = 5e8, 24, 128
"""A prompt is computed by itself from this much work on, and within these numbers of tokens: below, one more
call of the model costs more than it saves (measured at 1 M to 60 M weights)."""
_PROBE = 24
"""Tokens on which a model must show that it can go on after a prompt: the first third is the prompt."""
_PROBE_TOLERANCE = 2e-2
"""Largest difference, in root mean squares of the stream; half precision needs most of it."""
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
    min_shared: int = NEVER
    """Prompts of this many tokens or more are computed once for all their responses, on a CPU."""
    packs: tuple[str, ...] | None = None
    """Kinds of attention that rows of a prompt and its responses need masks for; None: they are not made."""
    n_embeddings: int = NEVER
    """Tokens that the model has embeddings for."""

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
        self._check_ids(sequences)
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
            with suppress(NotLoaded):  # before the cut: the next block but one was never loaded
                model(input_ids=ids.to(self.device), attention_mask=mask, **options)
            stream = captured.take()
        return [stream[i, : len(s)] for i, s in enumerate(sequences)]

    def rows(self, rows: Sequence[Row]) -> list[list[torch.Tensor]]:
        """Residual stream of each row's texts, one (T, D) tensor per response, computed as one batch.

        Args:
            rows: prompts with their responses; only for a stream that ``packs``.
        """
        if all(len(row.responses) == 1 for row in rows):  # the model's own mask is cheaper
            alone = self.residuals([np.concatenate([row.prompt, *row.responses]) for row in rows])
            return [[text] for text in alone]
        self._check_ids([part for row in rows for part in (row.prompt, *row.responses)])
        inputs = packed_inputs(rows, self.loaded, self.packs or ())
        model = inner_model(self.loaded.model)
        with torch.inference_mode(), capture(model, self.layer) as captured:
            model(**inputs, use_cache=False)
            return split_rows(captured.take(), rows)

    def begin(self, ids: NDArray[np.int64]) -> tuple[torch.Tensor, Any]:
        """Residual stream of a prompt, (T, D), and the model's memory of it for ``go_on``."""
        from transformers import DynamicCache

        memory = DynamicCache()  # without a configuration it keeps every token, also behind a sliding window
        return self._run(ids, memory), memory

    def go_on(self, memory: Any, ids: NDArray[np.int64]) -> torch.Tensor:
        """Residual stream of what follows a prompt, (T, D); the memory stays as it was."""
        after = self._run(ids, memory)
        memory.crop(-len(ids))
        return after

    def _run(self, ids: NDArray[np.int64], memory: Any) -> torch.Tensor:
        self._check_ids([ids])
        model = inner_model(self.loaded.model)
        tokens = torch.from_numpy(ids)[None].to(self.device)
        with torch.inference_mode(), capture(model, self.layer) as captured:
            model(input_ids=tokens, use_cache=True, **{_memory_name(model): memory})
            return captured.take()[0]

    def _check_ids(self, sequences: Sequence[NDArray[np.int64]]) -> None:
        """Raise ``ModelError`` for a token without an embedding: a GPU would end the process for it."""
        highest = max((int(s.max()) for s in sequences if len(s)), default=0)
        if highest >= self.n_embeddings:
            raise ModelError(
                f"{self.loaded.path} has embeddings for {self.n_embeddings:,} tokens, and its tokenizer gives"
                f" {self.layout.backend.id_to_token(highest)!r} the number {highest:,}",
                hint="the tokenizer is another checkpoint's, or tokens were added to it and not to the model:"
                " put the right tokenizer beside the weights",
            )

    def nothing(self) -> torch.Tensor:
        """The residual stream of no tokens."""
        width = width_of(self.loaded.model)
        return torch.zeros(0, width, device=self.device, dtype=self.loaded.dtype)


def _memory_name(model: Any) -> str:
    """What a model calls its memory: ``cache`` since transformers 5.24, which warns of the older name."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


@contextmanager
def neighbour(stream: Stream, offset: int) -> Iterator[Stream | None]:
    """The stream one layer earlier (−1) or later (+1) while the context lasts; None if there is none."""
    if offset == -1:
        yield replace(stream, layer=stream.layer - 1) if stream.layer > 0 else None
    elif stream.spare is None:
        yield None
    else:
        with one_more_block(inner_model(stream.loaded.model), stream.spare):
            longer = replace(stream, layer=stream.layer + 1, packs=None)
            # the block that is back may have a kind of attention that the others have not
            yield longer if stream.packs is None else with_packing(longer)


def load_stream_model(
    path: str, revision: str | None, layer: int, settings: ReadingSettings, known: Known | None = None
) -> LoadedModel:
    """Load of a checkpoint what a reading after ``layer`` needs."""
    return load_to_read(
        path, layer, revision=revision, device=settings.device, dtype=settings.dtype, known=known
    )


def cut_stream(loaded: LoadedModel, layer: int, max_tokens: int) -> Stream:
    """Forget the blocks after ``layer`` and lay the model out for reading.

    Raises:
        ModelError: the model has no such layer, or none that a residual stream could be read after.
    """
    inner = inner_model(loaded.model)
    check_layer(layer, n_layers_of(inner))
    limit = min(max_tokens, _positions(loaded), MAX_POSITION)
    layout = ChatLayout.of(loaded.tokenizer, is_causal=loaded.is_causal)
    stream = Stream(loaded, layout, layer, limit, n_embeddings=_embeddings(inner))
    with enough_memory(loaded.path, loaded.device):
        whole = _tried(stream)
        stream = replace(stream, spare=cut_after(inner, layer))
        alone = _tried(stream)
    off = (alone - whole).abs().max() / whole.square().mean().sqrt()
    if bool(whole.isfinite().all()) and not float(off) < _PROBE_TOLERANCE:
        raise ModelError(
            f"{loaded.path} gives another residual stream without the blocks behind layer {layer}",
            hint="this kind of model cannot be read",
        )
    if not loaded.is_causal:
        return stream
    if loaded.device.type != "cpu":
        return with_packing(stream)
    if not _can_go_on(stream, alone):
        return stream
    return replace(stream, min_shared=shared_from(block_parameters(inner, layer)))


def shared_from(n_weights: int) -> int:
    """Tokens from which a prompt is computed by itself, by the weights up to the layer."""
    return min(max(math.ceil(SHARED_FLOPS / (2.0 * n_weights)), MIN_SHARED), MAX_SHARED)


def _tried(stream: Stream) -> torch.Tensor:
    """The residual stream of a few tokens, (T, D) float32.

    Raises:
        ModelError: the model fails, or its blocks return something else.
    """
    try:
        found = stream.residuals([_probe(stream)])[0].float()
    except (RuntimeError, IndexError, ValueError, TypeError, KeyError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"{stream.loaded.path} cannot be read up to layer {stream.layer}: {str(error).splitlines()[0]}",
            hint="this kind of model keeps its blocks in a way of its own; use another checkpoint",
        ) from error
    expected = (_PROBE, width_of(stream.loaded.model))
    if tuple(found.shape) != expected:
        raise ModelError(
            f"the blocks of {stream.loaded.path} return {list(found.shape)} for {_PROBE} tokens,"
            f" not {list(expected)}: there is no single residual stream",
            hint="this kind of model cannot be read; use another checkpoint",
        )
    return found


def _embeddings(model: torch.nn.Module) -> int:
    """Rows of a model's token embedding."""
    try:
        weight = model.get_input_embeddings().weight  # type: ignore[operator]
    except (AttributeError, NotImplementedError):
        return NEVER
    return int(weight.shape[0])


def _probe(stream: Stream) -> NDArray[np.int64]:
    return np.arange(3, 3 + _PROBE, dtype=np.int64) % stream.n_embeddings


def _can_go_on(stream: Stream, whole: torch.Tensor) -> bool:
    """Does this model give the same stream when it goes on after a prompt? Some keep another memory."""
    ids = _probe(stream)
    try:
        head, memory = stream.begin(ids[: _PROBE // 3])
        for _ in range(2):  # the second time shows that the memory was left as it was
            tail = stream.go_on(memory, ids[_PROBE // 3 :])
        off = (torch.cat([head, tail]).float() - whole).abs().max() / whole.square().mean().sqrt()
    except Exception as error:  # noqa: BLE001 - whatever an unknown model does with a memory that is not its own
        log.info("prompts are read with every response: %s", error)
        return False
    if not float(off) < _PROBE_TOLERANCE:
        log.info("prompts are read with every response: going on is off by %.3g", float(off))
        return False
    return True


def with_packing(stream: Stream) -> Stream:
    """The same stream, with prompts and their responses in one row if its model gives the same so."""
    kinds = attention_kinds(stream.loaded)
    if kinds is None:
        log.info("prompts are read with every response: this model has kinds of attention of its own")
        return stream
    packing = replace(stream, packs=kinds)
    rows, texts = probe_rows()
    try:
        with short_window(stream.loaded):
            whole = [stream.residuals([ids])[0].float() for ids in texts]
            packed = [text.float() for row in packing.rows(rows) for text in row]
        scale = torch.cat(whole).square().mean().sqrt()
        off = max(float((a - b).abs().max() / scale) for a, b in zip(whole, packed, strict=True))
    except Exception as error:  # noqa: BLE001 - whatever an unknown model does with a mask that is not its own
        log.info("prompts are read with every response: %s", error)
        return stream
    if not off < _PROBE_TOLERANCE:
        log.info("prompts are read with every response: a packed row is off by %.3g", off)
        return stream
    return packing


def _positions(loaded: LoadedModel) -> int:
    positions = max_positions_of(loaded.model)
    if positions is None:
        return MAX_POSITION
    return positions - _OFFSET_POSITIONS.get(str(loaded.model.config.model_type), 0)  # type: ignore[union-attr]
