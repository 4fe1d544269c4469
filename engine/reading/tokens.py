"""Tokens of a pair's spans as text, and every activation on them: what token strips are drawn from.

Positions are those of the readings: a span's own tokens, counted from 0, cut as the reader cut them.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from engine.models.chat import EncodedText
from engine.reading.jobs import Job, plan_work
from engine.reading.pair_file import PairTexts
from engine.reading.reader import Reader
from engine.reading.residual_batches import in_order
from engine.records import Span

MAX_DENSE_BYTES = 256 << 20
"""Activations held dense at a time; longer spans are read in pieces."""

_Places = tuple[NDArray[np.int32], NDArray[np.uint32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class SpanTokens:
    """Every activation on a span's own tokens: N places, tokens ascending, latents ascending in a token."""

    tokens: tuple[str, ...]
    """Text of each token; joined, they are the span's text up to white space between messages."""
    token: NDArray[np.int32]  # (N,)
    latent: NDArray[np.uint32]  # (N,)
    value: NDArray[np.float32]  # (N,) > 0
    is_truncated: bool


def own_texts(encoded: EncodedText, own: NDArray[np.int64]) -> tuple[str, ...]:
    """Text of each own token.

    Tokens of one character (bytes of a rare one) show it once: the first has it, the others are empty.
    """
    texts: list[str] = []
    reached = -1
    for index in own:
        start, end = (int(v) for v in encoded.offsets[index])
        texts.append(encoded.text[max(start, reached) : end] if end > reached else "")
        reached = max(reached, end)
    return tuple(texts)


def pair_tokens(reader: Reader, pair: PairTexts) -> dict[Span, SpanTokens]:
    """All activations on all own tokens of a pair.

    Args:
        reader: an open reader.
        pair: its prompt and responses.

    Raises:
        ModelError: the chat template is broken, or the texts do not fit into memory.
    """
    work = plan_work([pair], reader.layout, reader.max_tokens)
    read = in_order(reader.batches.each(work.jobs, partial(_read, reader)))
    found: dict[Hashable, SpanTokens] = {}
    for job, text, places in zip(work.jobs, work.texts, read, strict=True):
        for want, at in zip(job.wants, places, strict=True):
            found[want.key] = SpanTokens(own_texts(text, want.own), *at, want.is_truncated)
    return {span: found[key] for span, key in work.keys[0].items()}


def _read(reader: Reader, jobs: Sequence[Job], streams: Sequence[torch.Tensor]) -> list[list[_Places]]:
    """Per job the activations on each wanted span."""
    with torch.inference_mode():
        return [
            [_places(reader, stream[torch.from_numpy(want.own).to(stream.device)]) for want in job.wants]
            for job, stream in zip(jobs, streams, strict=True)
        ]


def _places(reader: Reader, x: torch.Tensor) -> _Places:
    """Token, latent and value of every activation, (T, D) residual vectors in."""
    parts = [(np.zeros(0, np.int32), np.zeros(0, np.uint32), np.zeros(0, np.float32))]
    n_at_once = max(MAX_DENSE_BYTES // (4 * reader.n_latents), 1)
    for start in range(0, len(x), n_at_once):
        dense = reader.encoder.dense(x[start : start + n_at_once])
        at = (dense > 0).nonzero()
        value = dense[at[:, 0], at[:, 1]].float().cpu().numpy()
        places = at.cpu().numpy()
        parts.append(((places[:, 0] + start).astype(np.int32), places[:, 1].astype(np.uint32), value))
    tokens, latents, values = zip(*parts, strict=True)
    return np.concatenate(tokens), np.concatenate(latents), np.concatenate(values)
