"""Finding a concept or a pair by what a person types."""

from engine.errors import StoreError
from engine.store.pages import QuerySlot

_LIMIT = 6


def find(slot: QuerySlot, what: str) -> str | int:
    """The concept id or the pair number that ``what`` names.

    An exact id or name wins; else a beginning of an id or a name that only one thing has, ignoring case.

    Raises:
        StoreError: nothing, or more than one thing, is called so.
    """
    word = what.strip().lower()
    named = (
        "SELECT c.concept_id, coalesce(n.name, c.name) AS name FROM concepts c"
        " LEFT JOIN memory.main.names n ON n.concept_id = c.concept_id"
    )
    for where in (
        "concept_id = $w OR lower(name) = $w",
        "starts_with(concept_id, $w) OR starts_with(lower(name), $w)",
    ):
        concepts = slot.run(f"SELECT * FROM ({named}) WHERE {where} ORDER BY 1 LIMIT {_LIMIT}", {"w": word})
        if len(concepts) == 1:
            return str(concepts[0][0])
        if concepts:
            shown = ", ".join(f"{name} ({ident[:10]})" for ident, name in concepts)
            raise StoreError(f"{what!r} names more than one concept: {shown}", hint="type more of the id")
    pairs = slot.run(f"SELECT pair FROM pairs WHERE starts_with(pair_id, ?) LIMIT {_LIMIT}", [word])
    if len(pairs) == 1:
        return int(pairs[0][0])
    if pairs:
        raise StoreError(f"{what!r} begins the ids of several pairs", hint="type more of the id")
    raise StoreError(f"nothing is called {what!r}", hint="`prosect hypotheses` lists concepts by name")
