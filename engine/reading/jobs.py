"""From pairs to sequences for the model: every distinct text once.

A language model reads prompt and response together; the prompt's own reading is taken from the first
sequence with that prompt, since no token sees what follows it. An encoder reads the prompt alone, and prompt
and response cut to the response. What is read once is shared by content: the same prompt, the same prompt
and response.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.models.chat import ChatLayout
from engine.reading.pair_file import Messages, PairFile, PairTexts
from engine.reading.stream import Stream
from engine.records import Span


@dataclass(frozen=True, slots=True)
class Want:
    """A span that a job should read."""

    key: Hashable
    own: NDArray[np.int64]
    """Indices of the span's own tokens in the job's ids."""
    is_truncated: bool


@dataclass(frozen=True, slots=True)
class Job:
    """One sequence for the model, and the spans to read in it."""

    ids: NDArray[np.int64]
    wants: tuple[Want, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """Sequences to run, and where each pair's readings will be found."""

    jobs: list[Job]
    keys: list[dict[Span, Hashable]]
    """Per pair: the key of each span's reading."""
    n_lost: int
    n_plain: int


def plan_work(pairs: Sequence[PairTexts], layout: ChatLayout, max_tokens: int) -> Work:
    """Tokenise the distinct texts of some pairs."""
    keys: list[dict[Span, Hashable]] = []
    conversations: dict[tuple[Messages, Messages | None], None] = {}
    for pair in pairs:
        if not layout.is_causal:
            conversations[(pair.prompt, None)] = None
        conversations[(pair.prompt, pair.chosen)] = None
        conversations[(pair.prompt, pair.rejected)] = None
        keys.append(
            {
                Span.PROMPT: (pair.prompt, None),
                Span.CHOSEN: (pair.prompt, pair.chosen),
                Span.REJECTED: (pair.prompt, pair.rejected),
            }
        )
    jobs, seen, n_lost, n_plain = [], set(), 0, 0
    encoded = layout.encode_many(list(conversations), max_tokens=max_tokens)
    for key, text in zip(conversations, encoded, strict=True):
        prompt, response = key
        wants = []
        if (layout.is_causal or response is None) and prompt not in seen:
            seen.add(prompt)
            wants.append(Want((prompt, None), text.prompt_own, text.prompt_truncated))
        if response is not None:
            wants.append(Want(key, text.response_own, text.response_truncated))
        jobs.append(Job(text.ids, tuple(wants)))
        n_lost += text.n_lost
        n_plain += layout.has_template and not text.has_template
    return Work(jobs, keys, n_lost, n_plain)


def own_residuals(
    pairs: PairFile, stream: Stream, start: int, stop: int
) -> Iterator[tuple[str, torch.Tensor]]:
    """Residual vectors of the spans' own tokens of some pairs, each distinct text once.

    Yields:
        Where the span comes from, ``source/span``, and its (T, D) float32 vectors; T > 0.
    """
    work = plan_work(pairs.texts(start, stop), stream.layout, stream.max_tokens)
    owner = {
        key: f"{pairs.sources[start + i]}/{span}"
        for i, keys in enumerate(work.keys)
        for span, key in keys.items()
    }
    for job in work.jobs:
        residuals = stream.residuals([job.ids])[0]
        for want in job.wants:
            if len(want.own):
                yield owner[want.key], residuals[torch.from_numpy(want.own).to(residuals.device)].float()
