"""Which concept and context of this index continue those of an older one: the best Jaccard matches.

Concepts are matched by their latents, contexts by their pairs. Of a context's pairs only the ``SKETCH``
smallest pair ids are kept with a verdict: ids are hashes of content, so the smallest of two sets are a sample
of their union, and the share of it that lies in both estimates their Jaccard index (Broder 1997).
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from engine.store.pages import QuerySlot

MIN_JACCARD = 0.5


SKETCH = 64
"""Pair ids kept of a context: an index of one half is known to ±0.06."""


class Match(NamedTuple):
    """A concept of this index and how much it shares."""

    concept_id: str
    jaccard: float
    """|A ∩ B| / |A ∪ B| over latents."""


def vocabulary(slot: QuerySlot) -> str | None:
    """Fingerprint of the SAE whose latents this index numbers; None where the index does not say.

    Latent 17 of the same SAE means the same whatever the precision, the length limit or the version that
    read with it, so verdicts are carried across these; the index of another SAE counts other things.
    """
    rows = slot.run("SELECT value FROM meta WHERE key = 'reader'")
    found = json.loads(rows[0][0]).get("sae_fingerprint") if rows else None
    return None if found is None else str(found)


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


def context_sketch(slot: QuerySlot, context_id: str) -> list[str]:
    """The smallest pair ids of a context, ascending."""
    return _sketches(slot, "x.context_id = ?", [context_id]).get(context_id, [])


def best_context(slot: QuerySlot, sketch: Sequence[str]) -> tuple[str, float] | None:
    """The context that shares most pairs with one known by its sketch, and the estimated Jaccard index."""
    if not sketch:
        return None
    scored = [
        (sketch_jaccard(sketch, own), ident) for ident, own in _sketches(slot, "x.context > 0", []).items()
    ]
    best = max(scored, default=(0.0, ""))
    return (best[1], best[0]) if best[0] >= MIN_JACCARD else None


def sketch_jaccard(a: Sequence[str], b: Sequence[str]) -> float:
    """Jaccard index of two sets from their smallest members; exact where both are kept whole."""
    both = set(a) & set(b)
    union = sorted(set(a) | set(b))
    whole = len(a) < SKETCH and len(b) < SKETCH
    seen = union if whole else union[:SKETCH]
    return sum(ident in both for ident in seen) / len(seen) if seen else 0.0


def _sketches(slot: QuerySlot, where: str, values: list[str]) -> dict[str, list[str]]:
    rows = slot.run(
        "SELECT x.context_id, min(p.pair_id, ?) FROM context_pairs m JOIN pairs p ON p.pair = m.pair"
        f" JOIN contexts x ON x.context = m.context WHERE {where} GROUP BY x.context_id",
        [SKETCH, *values],
    )
    return {str(ident): [str(i) for i in smallest] for ident, smallest in rows}
