"""Concepts of an index as arrays: what forecasts and outcomes are computed on."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engine.arrays import Disparity, PairSets
from engine.store.connection import Store


@dataclass(frozen=True, slots=True)
class IndexConcepts:
    """M concepts in order of their number."""

    ids: tuple[str, ...]
    names: tuple[str, ...]
    members: tuple[NDArray[np.int64], ...]
    """Latents of each concept; empty for columns."""
    disparity: Disparity


@dataclass(frozen=True, slots=True)
class IndexPairs:
    """P pairs in order of their number."""

    pair_ids: tuple[str, ...]
    group: NDArray[np.int32]
    log_length_ratio: NDArray[np.float64]
    """log chosen tokens − log rejected tokens; an empty response counts as one token."""


def load_concepts(store: Store) -> IndexConcepts:
    """Every concept with its members and its disparity on every pair."""
    rows = store.rows("SELECT concept_id, name FROM concepts ORDER BY concept")
    n = len(rows)
    member = store.columns("SELECT concept, latent FROM concept_members ORDER BY concept, latent")
    bounds = np.searchsorted(member["concept"], np.arange(n + 1))
    latents = np.asarray(member["latent"]).astype(np.int64)
    score = store.columns("SELECT concept, pair, u FROM concept_scores ORDER BY concept, pair")
    return IndexConcepts(
        tuple(str(r[0]) for r in rows),
        tuple(str(r[1]) for r in rows),
        tuple(latents[a:b] for a, b in pairwise(bounds)),
        Disparity(
            np.searchsorted(score["concept"], np.arange(n + 1)).astype(np.int64),
            np.asarray(score["pair"]).astype(np.uint32),
            np.asarray(score["u"]).astype(np.float32),
        ),
    )


def load_pairs(store: Store) -> IndexPairs:
    """Ids, groups and lengths of every pair."""
    found = store.columns(
        "SELECT pair_id, group_index,"
        " ln(greatest(chosen_tokens, 1)) - ln(greatest(rejected_tokens, 1)) AS ratio FROM pairs ORDER BY pair"
    )
    return IndexPairs(
        tuple(str(i) for i in found["pair_id"]),
        np.asarray(found["group_index"]).astype(np.int32),
        np.asarray(found["ratio"]).astype(np.float64),
    )


def load_column_deltas(store: Store, n_pairs: int) -> dict[str, NDArray[np.float64]]:
    """Chosen − rejected of every column concept by name, (P,) each."""
    rows = store.rows("SELECT concept, name FROM concepts WHERE kind = 'column' ORDER BY concept")
    deltas = {}
    for concept, name in rows:
        found = store.columns(
            "SELECT pair, CAST(chosen AS DOUBLE) - CAST(rejected AS DOUBLE) AS delta FROM concept_scores"
            " WHERE concept = ?",
            [concept],
        )
        delta = np.zeros(n_pairs)
        delta[np.asarray(found["pair"]).astype(np.int64)] = np.asarray(found["delta"])
        deltas[str(name)] = delta
    return deltas


def load_own_columns(store: Store) -> dict[str, str]:
    """Pattern of every column that a person defined, by its name."""
    rows = store.rows("SELECT name, pattern FROM concepts WHERE kind = 'column' AND name_source = 'pattern'")
    return {str(name): str(pattern) for name, pattern in rows}


def load_column_scales(store: Store) -> dict[str, float]:
    """Root mean square delta of every column concept by name: what one unit of its disparity is."""
    rows = store.rows(
        "SELECT c.name, max_by((CAST(s.chosen AS DOUBLE) - s.rejected) / s.u, abs(s.u)) FROM concept_scores s"
        " JOIN concepts c USING (concept) WHERE c.kind = 'column' AND s.u <> 0 GROUP BY 1"
    )
    return {str(name): float(scale) for name, scale in rows}


def load_topics(store: Store, n_pairs: int) -> NDArray[np.int32] | None:
    """(P,) topic 0 … K−1 of each pair, −1 for none; None where the index has no topics."""
    found = store.columns(
        "SELECT p.pair, dense_rank() OVER (ORDER BY p.context) - 1 AS topic FROM context_pairs p"
        " JOIN contexts c USING (context) WHERE c.kind = 'topic'"
    )
    if len(found["pair"]) == 0:
        return None
    topic = np.full(n_pairs, -1, np.int32)
    topic[np.asarray(found["pair"]).astype(np.int64)] = np.asarray(found["topic"])
    return topic


def load_contexts(store: Store) -> PairSets:
    """Every context that is tested: all but everywhere and the silent pairs."""
    tested = "context > 0 AND kind <> 'silent'"
    rows = store.rows(f"SELECT context, context_id, kind FROM contexts WHERE {tested} ORDER BY context")
    found = store.columns(
        f"SELECT context, pair FROM context_pairs JOIN contexts USING (context) WHERE {tested}"
        " ORDER BY context, pair"
    )
    numbers = np.array([int(row[0]) for row in rows], np.int64)
    context = np.asarray(found["context"]).astype(np.int64)
    bounds = np.append(np.searchsorted(context, numbers), len(context)).astype(np.int64)
    return PairSets(
        tuple(str(row[1]) for row in rows),
        tuple(str(row[2]) for row in rows),
        bounds,
        np.asarray(found["pair"]).astype(np.uint32),
    )
