"""Where a concept is strong and where it is silent, response by response: what naming draws on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.store.connection import Store

_SIDES = (("chosen", 0), ("rejected", 1))


class Responses(NamedTuple):
    """Every response, by pair and side (0 chosen, 1 rejected)."""

    group: NDArray[np.int64]
    """(P,) prompt group."""
    text: NDArray[np.uint64]
    """(P, 2) hash of the text."""
    is_empty: NDArray[np.bool_]
    """(P, 2)"""


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


def single_latents(store: Store) -> dict[str, int]:
    """Concept id → latent, of every concept that is one latent."""
    rows = store.rows(
        "SELECT c.concept_id, m.latent FROM concepts c JOIN concept_members m ON m.concept = c.concept"
        " WHERE c.kind = 'latent' AND c.n_latents = 1 ORDER BY c.concept"
    )
    return {str(ident): int(latent) for ident, latent in rows}


def responses(store: Store) -> Responses:
    """Groups and texts of every response. Reads every text once: ask for it once."""
    sides = [side for side, _ in _SIDES]
    hashes = ", ".join(f"hash({side}_text) AS {side}" for side in sides)
    empty = ", ".join(f"coalesce(trim({side}_text), '') = '' AS {side}_empty" for side in sides)
    found = store.columns(f"SELECT group_index, {hashes}, {empty} FROM pairs ORDER BY pair")
    return Responses(
        np.asarray(found["group_index"]).astype(np.int64),
        np.stack([np.asarray(found[side]).astype(np.uint64) for side in sides], axis=1),
        np.stack([np.asarray(found[f"{side}_empty"]).astype(np.bool_) for side in sides], axis=1),
    )


def scores(store: Store, concept: int, n_pairs: int) -> NDArray[np.float64]:
    """(P, 2) score of a concept on each response, 0 where it is silent."""
    found = store.columns("SELECT pair, chosen, rejected FROM concept_scores WHERE concept = ?", [concept])
    score = np.zeros((n_pairs, len(_SIDES)))
    for side, number in _SIDES:
        score[np.asarray(found["pair"]).astype(np.int64), number] = np.ma.filled(found[side], 0)
    return score


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
