"""Does a hypothesis survive another way of pooling a latent over a response?

The primary measure is presence (``1{fire_rate > τ}``). Here the same units are tested on the difference of
the largest activation, of the fire rate, of the mean activation and of bare presence (any token), each as
the mean over the unit's latents of the delta over its root mean square. A sign or a call that changes with
pooling is about the pooling as much as about the data. Maxima grow with length even where nothing else
differs, so the equal-length column is the one to compare.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from engine.arrays import Disparity, Readings
from engine.stats.null import NullModel
from engine.stats.score import score_tests
from engine.stats.sums import unit_sums
from engine.stats.taught import taught

Vector = NDArray[np.float64]

POOLINGS = ("largest activation", "fire rate", "mean activation", "any token")


@dataclass(frozen=True, slots=True)
class Pooled:
    """One pooling; NaN where undefined. All (M,)."""

    pooling: str
    taught_z: Vector
    equal_z: Vector


def pooling_sensitivity(
    readings: Readings, concept_of: NDArray[np.int32], n_concepts: int, null: NullModel
) -> list[Pooled]:
    """Test every latent concept under every pooling.

    Args:
        readings: all readings.
        concept_of: (L,) concept of each latent, −1 for none.
        n_concepts: latent concepts; numbers run from 0.
        null: the fitted null model.
    """
    found = []
    for pooling in POOLINGS:
        disparity = pooled_disparity(readings, concept_of, n_concepts, pooling)
        sums = unit_sums(disparity, readings.pairs, null.weight)
        found.append(Pooled(pooling, taught(sums).z, score_tests(disparity, null).z))
    return found


def pooled_disparity(
    readings: Readings, concept_of: NDArray[np.int32], n_concepts: int, pooling: str
) -> Disparity:
    """Mean over a unit's latents of delta / RMS(delta) for one of ``POOLINGS``."""
    by_latent, pairs = readings.by_latent, readings.pairs
    at = by_latent.pair
    sides = []
    for values, tokens in (
        (by_latent.chosen, np.maximum(pairs.chosen_tokens[at], 1)),
        (by_latent.rejected, np.maximum(pairs.rejected_tokens[at], 1)),
    ):
        sides.append(
            {
                "largest activation": values.act_max.astype(np.float64),
                "fire rate": values.n_fired / tokens,
                "mean activation": values.act_sum / tokens,
                "any token": (values.n_fired > 0).astype(np.float64),
            }[pooling]
        )
    delta = sides[0] - sides[1]
    latent = np.repeat(np.arange(readings.n_latents), np.diff(by_latent.indptr))
    square = np.bincount(latent, delta**2, minlength=readings.n_latents) / max(readings.n_pairs, 1)
    scale = np.sqrt(np.where(square > 0, square, np.inf))
    matrix = sp.csc_matrix(
        (delta / scale[latent], at.astype(np.int64), by_latent.indptr), (readings.n_pairs, readings.n_latents)
    )
    members = np.nonzero(concept_of >= 0)[0]
    sizes = np.bincount(concept_of[members], minlength=n_concepts)
    mix = sp.csc_matrix(
        (1 / sizes[concept_of[members]], (members, concept_of[members])), (readings.n_latents, n_concepts)
    )
    u = (matrix @ mix).tocsc()
    u.sort_indices()
    return Disparity(u.indptr.astype(np.int64), u.indices.astype(np.uint32), u.data.astype(np.float32))
