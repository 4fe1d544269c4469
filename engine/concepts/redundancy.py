"""Which concepts say the same thing, found without looking at labels.

Two concepts are redundant when they are carried by nearly the same responses (phi coefficient of presence
over sampled responses, both sides alike). Groups are connected components.
"""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from engine.concepts.scores import ConceptScores

SAME_AT = 0.85
"""Phi coefficient from which two concepts share a redundancy group."""
MAX_RESPONSES = 20_000


def redundancy_groups(
    scores: ConceptScores, n_pairs: int, rng: np.random.Generator, same_at: float = SAME_AT
) -> list[int | None]:
    """Group number of each concept, None where nothing else says the same."""
    n = scores.n_concepts
    presence = _presence(scores, n_pairs, rng)
    n_responses = presence.shape[1]
    carried = np.asarray(presence.sum(axis=1)).ravel().astype(np.float64)
    together = (presence @ presence.T).tocoo()
    a, b, n11 = together.row, together.col, together.data.astype(np.float64)
    upper = a < b
    a, b, n11 = a[upper], b[upper], n11[upper]
    spread = np.sqrt(carried * (n_responses - carried))
    usable = (spread[a] > 0) & (spread[b] > 0)
    a, b, n11 = a[usable], b[usable], n11[usable]
    phi = (n11 * n_responses - carried[a] * carried[b]) / (spread[a] * spread[b])
    same = phi >= same_at
    graph = sp.coo_matrix((np.ones(int(same.sum())), (a[same], b[same])), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    sizes = np.bincount(component)
    return [int(c) if sizes[c] > 1 else None for c in component]


def _presence(scores: ConceptScores, n_pairs: int, rng: np.random.Generator) -> sp.csr_matrix:
    wanted = MAX_RESPONSES // 2
    column = np.full(n_pairs, -1)
    picked = np.sort(rng.choice(n_pairs, wanted, replace=False)) if wanted < n_pairs else np.arange(n_pairs)
    column[picked] = np.arange(len(picked))
    concept = np.repeat(np.arange(scores.n_concepts), np.diff(scores.indptr))
    col = column[scores.pair]
    rows, cols = [], []
    for side, fires in enumerate((scores.chosen_fires, scores.rejected_fires)):
        keep = fires & (col >= 0)
        rows.append(concept[keep])
        cols.append(2 * col[keep] + side)
    row, at = np.concatenate(rows), np.concatenate(cols)
    return sp.csr_matrix((np.ones(len(row), np.int32), (row, at)), shape=(scores.n_concepts, 2 * len(picked)))
