"""Find a record by what a person calls it: a pair id, a concept id, the beginning of one, or a name."""

from dataclasses import dataclass

from engine.errors import StoreError
from engine.store.connection import Store

_MIN_PREFIX = 4


@dataclass(frozen=True, slots=True)
class Found:
    """Exactly one of the two is set."""

    pair: int | None = None
    concept_id: str | None = None


def find(store: Store, what: str) -> Found:
    """The one pair or concept meant.

    Raises:
        StoreError: nothing is called so, or more than one thing is; the candidates are listed.
    """
    if len(what) >= _MIN_PREFIX:
        pairs = store.rows("SELECT pair FROM pairs WHERE starts_with(pair_id, lower(?)) LIMIT 2", [what])
        concepts = store.rows(
            "SELECT concept_id FROM concepts WHERE starts_with(concept_id, lower(?)) LIMIT 2", [what]
        )
        if len(pairs) + len(concepts) > 1:
            raise StoreError(f"`{what}` begins more than one id", hint="give more of it")
        if pairs:
            return Found(pair=int(pairs[0][0]))
        if concepts:
            return Found(concept_id=str(concepts[0][0]))
    return Found(concept_id=_by_name(store, what))


def _by_name(store: Store, what: str) -> str:
    for condition in ("lower(name) = lower(?)", "contains(lower(name), lower(?))"):
        rows = store.rows(
            "SELECT concept_id, name FROM ("
            "SELECT c.concept_id, coalesce(n.name, c.name) AS name FROM concepts c"
            " LEFT JOIN memory.main.names n ON n.concept_id = c.concept_id)"
            f" WHERE {condition} ORDER BY name LIMIT 6",
            [what],
        )
        if len(rows) == 1:
            return str(rows[0][0])
        if rows:
            listed = ", ".join(f"{name} ({concept_id[:8]})" for concept_id, name in rows[:5])
            raise StoreError(f"`{what}` could be {listed}", hint="give the start of the id instead")
    raise StoreError(
        f"no pair or concept is called `{what}`",
        hint="numbers and ids are in `prosect pairs` and `prosect concepts`",
    )
