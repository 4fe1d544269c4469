"""Concepts of an index measured on sampled responses, in the unit that their disparity has."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.concepts.surface import text_column
from engine.progress import Progress
from engine.stats.outcome import ResponseReadings, concept_presence
from engine.store.concepts import IndexConcepts

if TYPE_CHECKING:
    from engine.reading.reader import Reader
    from engine.training.rollouts import Rollouts

Matrix = NDArray[np.float64]


def measurable(concepts: IndexConcepts, scales: Mapping[str, float]) -> list[int]:
    """Concepts that responses can be scored for: those made of latents, and built-in columns with a scale."""
    empty = np.zeros(0, np.int64)
    return [
        i
        for i, name in enumerate(concepts.names)
        if len(concepts.members[i]) or (name in scales and text_column(name, [], empty) is not None)
    ]


def measure_rollouts(
    reader: "Reader",
    rollouts: "Rollouts",
    concepts: IndexConcepts,
    scales: Mapping[str, float],
    used: list[int],
    threshold: float,
    progress: Progress,
) -> Matrix:
    """(R, C) score of each response.

    Latent concepts: share of their latents that fire. Columns: their value over the root mean square delta
    of the pairs, so that a difference of two responses is a disparity.
    """
    from engine.reading.run import read_responses

    items = rollouts.items()
    readings = read_responses(reader, items, progress)
    sizes = [len(r.pooled.latent) for r in readings]
    tokens = np.array([r.n_tokens for r in readings], np.int64)
    flat = ResponseReadings(
        indptr=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        latent=np.concatenate([r.pooled.latent for r in readings]).astype(np.int64),
        n_fired=np.concatenate([r.pooled.n_fired for r in readings]).astype(np.int64),
        n_tokens=tokens,
    )
    out = np.zeros((len(items), len(used)))
    latent = [k for k, i in enumerate(used) if len(concepts.members[i])]
    if latent:
        out[:, latent] = concept_presence(flat, [concepts.members[used[k]] for k in latent], threshold)
    texts = ["\n\n".join(m.content for m in response) for _, response in items]
    for k, i in enumerate(used):
        if not len(concepts.members[i]):
            values = text_column(concepts.names[i], texts, tokens)
            if values is not None:
                out[:, k] = values / scales[concepts.names[i]]
    return out
