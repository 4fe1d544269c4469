"""Activations of sets of latents at single tokens, batch by batch: what token masks are decided on."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from engine.models.chat import EncodedText
from engine.reading.batches import plan_batches
from engine.reading.reader import Reader


def token_peaks(
    reader: Reader, texts: Sequence[EncodedText], groups: Collection[tuple[int, ...]]
) -> Iterator[tuple[int, dict[tuple[int, ...], NDArray[np.float32]]]]:
    """Largest activation within each set of latents at every own token of a response.

    Args:
        reader: an open reader.
        texts: prompts with responses, as its layout encoded them.
        groups: sets of latents.

    Yields:
        index into ``texts`` and, per set, (T,) float32 over the response's own tokens; texts without own
        tokens are left out. The order is that of the batches.
    """
    wanted = [i for i, text in enumerate(texts) if len(text.response_own)]
    budget = 0 if reader.loaded.device.type == "cpu" else reader.batch_tokens
    for batch in plan_batches([len(texts[i].ids) for i in wanted], budget):
        chosen = [wanted[k] for k in batch]
        yield from zip(chosen, _peaks(reader, [texts[i] for i in chosen], groups), strict=True)


def _peaks(
    reader: Reader, texts: Sequence[EncodedText], groups: Collection[tuple[int, ...]]
) -> list[dict[tuple[int, ...], NDArray[np.float32]]]:
    out = []
    with torch.inference_mode():
        for text, stream in zip(texts, reader.residuals([t.ids for t in texts]), strict=True):
            acts = reader.encoder.dense(
                stream[torch.from_numpy(text.response_own).to(stream.device)]
            )  # (T, L)
            out.append({g: acts[:, list(g)].amax(dim=1).float().cpu().numpy() for g in groups})
    return out
