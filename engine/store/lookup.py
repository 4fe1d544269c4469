"""Finding a concept, a pair or a context by what a person types."""

from collections.abc import Collection

from engine.errors import StoreError
from engine.store.pages import QuerySlot

_LIMIT = 6


def find(slot: QuerySlot, what: str) -> str | int:
    """The concept id or the pair number that ``what`` names.

    An exact id or name wins, then the working label of a concept that people named otherwise; else a
    beginning of an id or a name that only one thing has, ignoring case.

    Raises:
        StoreError: nothing, or more than one thing, is called so.
    """
    word = what.strip().lower()
    named = (
        "SELECT c.concept_id, coalesce(n.name, c.name) AS name, c.name AS label FROM concepts c"
        " LEFT JOIN memory.main.names n ON n.concept_id = c.concept_id"
    )
    for where in (
        "concept_id = $w OR lower(name) = $w",
        "lower(label) = $w",
        "starts_with(concept_id, $w) OR starts_with(lower(name), $w)",
    ):
        concepts = slot.run(
            f"SELECT concept_id, name FROM ({named}) WHERE {where} ORDER BY 1 LIMIT {_LIMIT}", {"w": word}
        )
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


def shown_names(slot: QuerySlot, concept_ids: Collection[str]) -> dict[str, str]:
    """Concept id → what the concept is called now: the name that people gave it, else its working label.

    Concepts that the index does not have are absent.
    """
    rows = slot.run(
        "SELECT c.concept_id, coalesce(n.name, c.name) FROM concepts c"
        " LEFT JOIN memory.main.names n ON n.concept_id = c.concept_id"
        " WHERE c.concept_id IN (SELECT unnest(?::VARCHAR[]))",
        [list(concept_ids)],
    )
    return {str(ident): str(name) for ident, name in rows}


def find_context(slot: QuerySlot, what: str) -> str:
    """The id of the context that ``what`` names, by the same rules.

    Raises:
        StoreError: no context, or more than one, is called so.
    """
    word = what.strip().lower()
    for where in (
        "context_id = $w OR lower(name) = $w",
        "starts_with(context_id, $w) OR starts_with(lower(name), $w)",
    ):
        rows = slot.run(
            f"SELECT context_id, name FROM contexts WHERE {where} ORDER BY 1 LIMIT {_LIMIT}", {"w": word}
        )
        if len(rows) == 1:
            return str(rows[0][0])
        if rows:
            shown = ", ".join(f"{name} ({ident[:10]})" for ident, name in rows)
            raise StoreError(f"{what!r} names more than one context: {shown}", hint="type more of the id")
    raise StoreError(f"no context is called {what!r}", hint="`prosect contexts` lists them by name")


def find_hypothesis(slot: QuerySlot, concept_id: str, context_id: str) -> str:
    """The id of a concept's hypothesis inside a context.

    Raises:
        StoreError: nothing was estimated there.
    """
    rows = slot.run(
        "SELECT h.hypothesis_id FROM hypotheses h JOIN concepts c ON c.concept = h.concept"
        " JOIN contexts x ON x.context = h.context WHERE c.concept_id = ? AND x.context_id = ?",
        [concept_id, context_id],
    )
    if not rows:
        raise StoreError(
            "this concept has no estimate inside that context",
            hint="too few pairs there carry it; `prosect show` lists the contexts of a concept",
        )
    return str(rows[0][0])
