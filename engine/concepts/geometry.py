"""Latents clustered by which pairs they are strong on together: the geometry of the paper's local view.

Source: paper.md §1.4 (columns scaled, embedded by a randomised SVD of sampled rows to 128, k-means on the
unit embeddings). Ours: the scale is the uncentred root mean square, so that for differences (chosen −
rejected), whose sign turns with the label, neither the scale nor the singular vectors depend on any label.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import randomized_svd

SVD_ROWS = 30_000
SVD_RANK = 128


class ColumnCluster(NamedTuple):
    """Some columns of a matrix, nearest to their centre first."""

    columns: NDArray[np.int64]
    similarity: NDArray[np.float64]
    """Cosine of each column's embedding to the centre."""


def scaled(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Columns of unit root mean square."""
    scale = np.sqrt(np.asarray(matrix.multiply(matrix).mean(axis=0)).ravel())
    return sp.csr_matrix(matrix @ sp.diags(1 / np.maximum(scale, 1e-12)))


def cluster_columns(matrix: sp.csr_matrix, n_clusters: int, seed: int) -> list[ColumnCluster]:
    """Clusters of the columns of a (P, L) scaled matrix; call it with one thread to get the same anywhere."""
    rng = np.random.default_rng(seed)
    n_rows, n_columns = matrix.shape
    rows = np.sort(rng.choice(n_rows, min(n_rows, SVD_ROWS), replace=False))
    rank = min(SVD_RANK, min(len(rows), n_columns) - 1)
    _, weights, directions = randomized_svd(matrix[rows], rank, random_state=seed)
    embedding = normalize((weights[:, None] * directions).T)
    labels = k_means(embedding, n_clusters, seed)
    found = []
    for k in np.unique(labels):
        columns = np.nonzero(labels == k)[0]
        centre = normalize(embedding[columns].sum(axis=0, keepdims=True))[0]
        similarity = embedding[columns] @ centre
        order = np.lexsort((columns, -similarity))
        found.append(ColumnCluster(columns[order], similarity[order]))
    return found


def k_means(rows: sp.csr_matrix | NDArray[np.float64], k: int, seed: int) -> NDArray[np.int32]:
    """(N,) cluster of each row."""
    clustering = MiniBatchKMeans(k, random_state=seed, n_init=3, batch_size=4096)
    return np.asarray(clustering.fit_predict(rows), np.int32)
