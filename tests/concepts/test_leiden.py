"""Communities must not change from call to call: concept ids are made from them."""

import numpy as np
import scipy.sparse as sp

from engine.concepts.leiden import leiden_communities


def blocks(n_blocks: int, size: int, seed: int) -> sp.csr_matrix:
    """Dense blocks with a little noise between them."""
    rng = np.random.default_rng(seed)
    n = n_blocks * size
    own = np.repeat(np.arange(n_blocks), size)
    chance = np.where(own[:, None] == own[None], 0.5, 0.08)
    upper = np.triu(rng.random((n, n)) < chance, 1)
    return sp.csr_matrix((upper | upper.T).astype(np.float64))


def test_same_graph_and_seed_give_the_same_communities_at_every_call() -> None:
    rng = np.random.default_rng(1)  # no structure: many partitions are about as good, chance decides
    upper = sp.csr_matrix(np.where(rng.random((600, 600)) < 0.02, rng.random((600, 600)), 0.0))
    edges = sp.csr_matrix(upper + upper.T)
    first = leiden_communities(edges, 1.0, 0)
    for _ in range(5):
        np.testing.assert_array_equal(leiden_communities(edges, 1.0, 0), first)


def test_clear_blocks_are_found() -> None:
    found = leiden_communities(blocks(4, 30, 2), 1.0, 0)
    for block in range(4):
        assert len(set(found[block * 30 : (block + 1) * 30].tolist())) == 1
    assert len(set(found.tolist())) == 4
