"""Response-delta clusters: latents whose readings change together from the rejected to the chosen response.

Source: paper.md §1.4 (R_m, clusters of the columns of D = X_chosen − X_rejected). Ours: RMS scaling instead
of z-scores, so that the clusters are the same whichever side was chosen; and they are scored like every other
set of latents (the thresholded disparity), so that their rows can be compared with those of co-firing
clusters.
"""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from engine.arrays import Readings
from engine.concepts.context_words import contrast_words
from engine.concepts.geometry import cluster_columns, scaled
from engine.concepts.scores import ConceptScores
from engine.concepts.texts import PairTexts
from engine.settings import ConceptSettings

MIN_PAIRS = 200
"""Fewer pairs than this span no geometry worth clustering."""
NAMING_PROMPTS = 200


def delta_groups(
    readings: Readings, settings: ConceptSettings
) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    """Latents of each cluster of two or more, most central first, with their cosine to its centre."""
    by_latent = readings.by_latent
    kept = np.nonzero(np.diff(by_latent.indptr) >= settings.min_pairs)[0]
    wanted = settings.n_delta_clusters
    wanted = int(np.clip(len(kept) / 32, 16, 256)) if wanted is None else wanted
    n_clusters = min(wanted, len(kept) // 2)
    if n_clusters < 2 or readings.n_pairs < MIN_PAIRS:
        return []
    delta = by_latent.chosen.act_max.astype(np.float64) - by_latent.rejected.act_max
    columns = sp.csc_matrix(
        (delta, by_latent.pair.astype(np.int64), by_latent.indptr), (readings.n_pairs, readings.n_latents)
    )
    # One thread: mini-batches are too small to share, and the result is then the same on every machine.
    with threadpool_limits(limits=1):
        clusters = cluster_columns(scaled(columns[:, kept].tocsr()), n_clusters, settings.seed)
    found = [
        (tuple(int(kept[c]) for c in cluster.columns), tuple(float(s) for s in cluster.similarity))
        for cluster in clusters
        if len(cluster.columns) > 1
    ]
    return sorted(found, key=lambda group: (-len(group[0]), group[0]))


def delta_words(
    scores: ConceptScores, concept: int, texts: PairTexts, group: NDArray[np.int32]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Words that the side with more of a delta has more often than the other, and the pairs looked at.

    A delta is a large set of latents: the strongest places of three of them say little of the whole. The most
    different pair of each of ``NAMING_PROMPTS`` prompts is taken; which side won plays no part.
    """
    rows = scores.rows(concept)
    pair, u = scores.pair[rows].astype(np.int64), scores.u[rows]
    pair, u = pair[u != 0], u[u != 0]
    order = np.lexsort((pair, -np.abs(u)))
    order = order[np.sort(np.unique(group[pair[order]], return_index=True)[1])[:NAMING_PROMPTS]]
    more, less = [], []
    for i, has_more in zip(pair[order], u[order] > 0, strict=True):
        more.append(texts.chosen[i] if has_more else texts.rejected[i])
        less.append(texts.rejected[i] if has_more else texts.chosen[i])
    return contrast_words(more, less), tuple(sorted(int(i) for i in pair[order]))
