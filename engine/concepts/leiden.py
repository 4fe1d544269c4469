"""Leiden communities that are the same for the same seed.

scikit-network's Leiden draws from the C library's ``rand()``, which its ``random_state`` does not seed: the
same graph gave other communities at every call, so concept ids changed from run to run. The C generator is
seeded here before each fit. Another C library may draw other numbers and find other, as good communities.
"""

import ctypes

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sknetwork.clustering import Leiden


def leiden_communities(edges: sp.csr_matrix, resolution: float, seed: int) -> NDArray[np.int64]:
    """(N,) community of each node of a weighted graph, by Newman modularity.

    Args:
        edges: (N, N) symmetric, non-negative.
        resolution: 1 is plain modularity; more gives smaller communities.
        seed: of every random choice.
    """
    ctypes.CDLL(None).srand(ctypes.c_uint(seed & 0xFFFFFFFF))
    leiden = Leiden(resolution=resolution, modularity="newman", random_state=seed)
    return np.asarray(leiden.fit_predict(edges), np.int64)
