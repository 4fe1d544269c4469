"""A prompt and all its responses as one row of a batch, so that a GPU computes the prompt once, too.

Every response follows the prompt in the row, at the positions that it would have alone, and sees the prompt
and itself, never another response: an attention mask says so. A row costs what its distinct tokens cost, and
rows are padded like any sequences. What a model is given instead of its own mask depends on its kinds of
attention; whether it takes it as meant is tried at opening, on a few tokens and with a short window.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.models.blocks import inner_model, text_config
from engine.models.loading import LoadedModel

log = logging.getLogger(__name__)

FULL, SLIDING = "full_attention", "sliding_attention"
_PROBE_WINDOW = 5

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and what follows it in each of its texts."""

    prompt: IntArray
    responses: tuple[IntArray, ...]

    @property
    def n_tokens(self) -> int:
        """Length of the row."""
        return len(self.prompt) + sum(len(r) for r in self.responses)


def attention_kinds(loaded: LoadedModel) -> tuple[str, ...] | None:
    """The kinds of attention in a model's blocks; None if there is one that rows cannot be made for."""
    config = text_config(inner_model(loaded.model))
    types = getattr(config, "layer_types", None)
    if not types:
        return (SLIDING if _window(config) else FULL,)
    kinds = tuple(dict.fromkeys(types))
    return kinds if set(kinds) <= {FULL, SLIDING} else None


def _window(config: Any) -> int:
    """Tokens that a token sees through a sliding window, itself among them; 0: there is none."""
    if getattr(config, "use_sliding_window", True) is False:
        return 0
    return int(getattr(config, "sliding_window", None) or 0)


def packed_inputs(rows: Sequence[Row], loaded: LoadedModel, kinds: Sequence[str]) -> dict[str, Any]:
    """Keyword arguments of a forward over rows: ids, positions and masks.

    A single kind of attention takes one additive mask (B, 1, T, T), several take one by kind.
    """
    longest = max(row.n_tokens for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    position, branch = torch.zeros_like(ids), torch.full_like(ids, -1)
    for i, row in enumerate(rows):
        at = 0
        for number, part in enumerate((row.prompt, *row.responses)):
            here = slice(at, at + len(part))
            start = len(row.prompt) if number else 0
            ids[i, here] = torch.from_numpy(part)
            position[i, here] = torch.arange(start, start + len(part))
            branch[i, here] = number
            at += len(part)
    ids, position, branch = (t.to(loaded.device) for t in (ids, position, branch))
    masks = {kind: _mask(position, branch, loaded, kind) for kind in kinds}
    return {
        "input_ids": ids,
        "position_ids": position,
        "attention_mask": masks if len(masks) > 1 else masks[kinds[0]],
    }


def _mask(position: torch.Tensor, branch: torch.Tensor, loaded: LoadedModel, kind: str) -> torch.Tensor:
    n = position.shape[1]
    index = torch.arange(n, device=position.device)
    key, query = branch[:, None, :], branch[:, :, None]
    sees = (index[None, :] <= index[:, None]) & ((key == 0) | (key == query)) & (key >= 0) & (query >= 0)
    if kind == SLIDING:
        window = _window(text_config(inner_model(loaded.model)))
        sees &= position[:, :, None] - position[:, None, :] < window
    sees |= torch.eye(
        n, dtype=torch.bool, device=position.device
    )  # padding sees itself: nothing is undefined
    mask = torch.full(sees.shape, torch.finfo(loaded.dtype).min, dtype=loaded.dtype, device=position.device)
    return mask.masked_fill_(sees, 0.0)[:, None]


def split_rows(stream: torch.Tensor, rows: Sequence[Row]) -> list[list[torch.Tensor]]:
    """Residual vectors (T, D) of each of a row's texts, prompt and response, from those of rows (B, T, D)."""
    found = []
    for vectors, row in zip(stream, rows, strict=True):
        at = len(row.prompt)
        prompt, texts = vectors[:at], []
        for response in row.responses:
            texts.append(torch.cat([prompt, vectors[at : at + len(response)]]))
            at += len(response)
        found.append(texts)
    return found


@contextmanager
def short_window(loaded: LoadedModel) -> Iterator[None]:
    """A sliding window of a few tokens while the context lasts, so that a short text shows what it does."""
    config = text_config(inner_model(loaded.model))
    kept = _window(config)
    if not kept:
        yield
        return
    config.sliding_window = min(_PROBE_WINDOW, kept)
    try:
        yield
    finally:
        config.sliding_window = kept


def probe_rows() -> tuple[list[Row], list[IntArray]]:
    """Rows of different lengths to try a model on, and the texts in them."""
    ids = np.arange(3, 35, dtype=np.int64)
    rows = [Row(ids[:9], (ids[9:16], ids[14:17], ids[16:25])), Row(ids[20:23], (ids[23:30],))]
    return rows, [np.concatenate([row.prompt, part]) for row in rows for part in row.responses]
