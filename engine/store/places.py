"""Where a concept is strong and where it is silent, response by response: what naming draws on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.store.connection import Store

Columns = dict[str, NDArray[Any]]
_SIDES = (("chosen", 0), ("rejected", 1))


def nameable(store: Store) -> list[tuple[int, str, str, int]]:
    """Number, id, working label and number of latents of every concept, the strongest evidence first.

    Hypotheses are numbered in the order of their evidence; concepts without one come last.
    """
    rows = store.rows(
        "SELECT c.concept, c.concept_id, c.name, c.n_latents FROM concepts c"
        " LEFT JOIN hypotheses h ON h.concept = c.concept AND h.context = 0"
        " ORDER BY h.hypothesis NULLS LAST, c.concept"
    )
    return [(int(n), str(ident), str(name or ""), int(latents or 0)) for n, ident, name, latents in rows]


def carriers(store: Store, concept: int) -> Columns:
    """Responses that carry a concept: pair, side (0 chosen, 1 rejected), group, text (a hash), score."""
    parts = " UNION ALL ".join(
        f"SELECT s.pair, {number} AS side, p.group_index, hash(p.{side}_text) AS text, s.{side} AS score"
        f" FROM concept_scores s JOIN pairs p ON p.pair = s.pair WHERE s.concept = $c AND s.{side} > 0"
        for side, number in _SIDES
    )
    found = store.columns(f"SELECT * FROM ({parts}) ORDER BY pair, side", {"c": concept})
    return _as_arrays(found)


def responses(store: Store) -> Columns:
    """Every response that is not empty: pair, side, group, text (a hash)."""
    parts = " UNION ALL ".join(
        f"SELECT pair, {number} AS side, group_index, hash({side}_text) AS text, 0.0 AS score FROM pairs"
        f" WHERE length(trim({side}_text)) > 0"
        for side, number in _SIDES
    )
    return _as_arrays(store.columns(f"SELECT * FROM ({parts}) ORDER BY pair, side"))


def _as_arrays(found: Columns) -> Columns:
    kinds = {
        "pair": np.int64,
        "side": np.int64,
        "group_index": np.int64,
        "text": np.uint64,
        "score": np.float64,
    }
    return {name: np.asarray(found[name]).astype(kind) for name, kind in kinds.items()}


def peaks(store: Store, concept: int, pairs: Sequence[int]) -> dict[tuple[int, int], int]:
    """(pair, side) → token of a concept's largest activation on that response."""
    found: dict[tuple[int, int], int] = {}
    for side, number in _SIDES:
        rows = store.rows(
            f"SELECT pair, arg_max({side}_peak, {side}_max) FROM acts"
            " WHERE latent IN (SELECT latent FROM concept_members WHERE concept = ?)"
            f" AND pair IN (SELECT unnest(?::UINTEGER[])) AND {side}_n > 0 GROUP BY pair",
            [concept, list(pairs)],
        )
        found |= {(int(pair), number): int(token) for pair, token in rows}
    return found


def pair_ids(store: Store) -> tuple[str, ...]:
    """Id of every pair, in the order of their numbers."""
    return tuple(str(row[0]) for row in store.rows("SELECT pair_id FROM pairs ORDER BY pair"))
