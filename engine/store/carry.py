"""Which concept of this index continues one of an older index: the best Jaccard match of their latents."""

from collections.abc import Sequence
from typing import NamedTuple

from engine.store.pages import QuerySlot

MIN_JACCARD = 0.5


class Match(NamedTuple):
    """A concept of this index and how much it shares."""

    concept_id: str
    jaccard: float
    """|A ∩ B| / |A ∪ B| over latents."""


def best_match(slot: QuerySlot, latents: Sequence[int]) -> Match | None:
    """The concept that shares most with a set of latents, None below a Jaccard index of one half."""
    if not latents:
        return None
    rows = slot.run(
        "WITH shared AS (SELECT concept, count(*) AS n FROM concept_members"
        " WHERE latent IN (SELECT unnest(?::UINTEGER[])) GROUP BY concept)"
        " SELECT c.concept_id, s.n / (c.n_latents + ? - s.n) AS jaccard"
        " FROM shared s JOIN concepts c ON c.concept = s.concept ORDER BY jaccard DESC, c.concept LIMIT 1",
        [list(latents), len(latents)],
    )
    if not rows or rows[0][1] < MIN_JACCARD:
        return None
    return Match(str(rows[0][0]), float(rows[0][1]))


def hypothesis_id(slot: QuerySlot, concept_id: str, context_id: str) -> str | None:
    """The hypothesis about a concept inside a context, None when this index has none."""
    rows = slot.run(
        "SELECT h.hypothesis_id FROM hypotheses h JOIN concepts c ON c.concept = h.concept"
        " JOIN contexts x ON x.context = h.context WHERE c.concept_id = ? AND x.context_id = ?",
        [concept_id, context_id],
    )
    return str(rows[0][0]) if rows else None
