"""A null of forecasts: what the same forecast says about random concepts of the same sizes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def random_concepts(
    places: Sequence[NDArray[np.int64]],
    by_concept: Vector,
    by_latent: Vector,
    rng: np.random.Generator,
    n: int,
) -> NDArray[np.float64]:
    """Forecasts of concepts whose latents were drawn at random, (n, C): what knowing the concept is worth.

    A forecast of a concept is the mean of the same forecast of its latents; here of as many others. Concepts
    without latents (columns) are dealt each other's forecasts.

    Args:
        places: which of L latents each of C concepts has; none for columns.
        by_concept: (C,) forecasts.
        by_latent: (L,) forecasts of every latent that is in any concept.
        rng: of the draws.
        n: how many.
    """
    sizes = np.array([len(p) for p in places], np.int64)
    columns, made = np.nonzero(sizes == 0)[0], np.nonzero(sizes)[0]
    total, starts = int(sizes.sum()), np.cumsum(sizes[made]) - sizes[made]
    drawn = np.zeros((n, len(sizes)))
    for row in drawn:
        row[columns] = rng.permutation(by_concept[columns])
        if total:
            # Slices of whole permutations: a concept gets a latent twice only where one ends inside it.
            decks = [rng.permutation(len(by_latent)) for _ in range(-(-total // len(by_latent)))]
            row[made] = np.add.reduceat(by_latent[np.concatenate(decks)[:total]], starts) / sizes[made]
    return drawn
