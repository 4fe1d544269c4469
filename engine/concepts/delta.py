"""Response-delta clusters: latents whose readings change together from the rejected to the chosen response.

Source: paper.md §1.4 (R_m, clusters of the columns of D = X_chosen − X_rejected). Ours: RMS scaling instead
of z-scores, so that the clusters are the same whichever side was chosen; and they are scored like every other
set of latents (the thresholded disparity), so that their rows can be compared with those of co-firing
clusters.
"""

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from engine.arrays import Readings
from engine.concepts.geometry import cluster_columns, scaled
from engine.settings import ConceptSettings

MIN_PAIRS = 200
"""Fewer pairs than this span no geometry worth clustering."""


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
