"""Activations of sets of latents at single tokens, batch by batch: what token masks are decided on."""

from collections.abc import Collection, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from engine.models.chat import EncodedText
from engine.reading.jobs import Job, response_job
from engine.reading.reader import Reader

Peaks = dict[tuple[int, ...], NDArray[np.float32]]


def token_peaks(
    reader: Reader, texts: Sequence[EncodedText], groups: Collection[tuple[int, ...]]
) -> Iterator[tuple[int, Peaks]]:
    """Largest activation within each set of latents at every own token of a response.

    Args:
        reader: an open reader.
        texts: prompts with responses, as its layout encoded them; neighbours share their prompt.
        groups: sets of latents.

    Yields:
        index into ``texts`` and, per set, (T,) float32 over the response's own tokens; texts without own
        tokens are left out. The order is that of the batches.

    Raises:
        ModelError: a text does not fit into memory.
    """
    wanted = [i for i, text in enumerate(texts) if len(text.response_own)]
    jobs = [response_job(i, texts[i], reader.layout) for i in wanted]
    for batch, found in reader.batches.each(jobs, partial(_peaks, reader, groups)):
        yield from zip([wanted[k] for k in batch], found, strict=True)


def _peaks(
    reader: Reader,
    groups: Collection[tuple[int, ...]],
    jobs: Sequence[Job],
    streams: Sequence[torch.Tensor],
) -> list[Peaks]:
    out = []
    with torch.inference_mode():
        for job, stream in zip(jobs, streams, strict=True):
            own = torch.from_numpy(job.wants[0].own).to(stream.device)
            acts = reader.encoder.dense(stream[own])  # (T, L)
            out.append({g: acts[:, list(g)].amax(dim=1).float().cpu().numpy() for g in groups})
    return out
