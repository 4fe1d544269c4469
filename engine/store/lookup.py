"""Finding a concept, a pair or a context by what a person types."""

import re
from collections.abc import Collection, Sequence

from engine.errors import StoreError
from engine.store.pages import QuerySlot
from engine.views.names import MARK

_LIMIT = 6
_GIVEN = "coalesce(CASE WHEN n.given THEN n.name END, c.name)"
_NAMED = (
    f"SELECT c.concept_id AS id, {_GIVEN} AS name, c.name AS label,"
    " CASE WHEN NOT n.given THEN n.name END AS proposed FROM concepts c"
    " LEFT JOIN memory.main.names n ON n.concept_id = c.concept_id"
)
"""Every concept with what it is called now, its working label and, where nobody has named it, the name that a
model proposed for it."""
_DIGITS = 9
"""Of a pair number at most."""
_BEGINS = "starts_with(id, $w) OR starts_with(lower(name), $w)"


def find(slot: QuerySlot, what: str) -> str | int:
    """The concept id or the pair number that ``what`` names.

    An exact id or name wins, then the working label of a concept that people named otherwise, then either
    written as rule files write it: with or without ``@`` and quotes; then a proposed name, with or without
    its mark. Else a beginning of an id or a name that only one thing has. Case is ignored throughout.

    Raises:
        StoreError: nothing, or more than one thing, is called so.
    """
    word = what.strip().lower()
    ways = ["id = $w OR lower(name) = $w", "lower(label) = $w", "lower(proposed) = $p", _BEGINS]
    if _bare_text(word):
        ways[2:2] = [f"{_bare('name')} = $b", f"{_bare('label')} = $b"]
        ways += [f"starts_with({_bare('name')}, $b)", "starts_with(lower(proposed), $p)"]
    concept = _named(slot, "concept", word, f"({_NAMED})", ways)
    if concept is not None:
        return concept
    pair = _by_id(slot, what)
    if pair is not None:
        return pair
    near = _near(slot, _bare_text(word))
    hint = f"did you mean {near}?" if near else "`prosect concepts` lists concepts by name"
    raise StoreError(f"nothing is called {what!r}", hint=hint)


def name_taken(slot: QuerySlot, concept_id: str, name: str) -> str | None:
    """What another concept that goes by a name is called; None where the name means nothing yet."""
    rows = slot.run(
        f"SELECT label FROM ({_NAMED}) WHERE id <> $i AND ({_bare('name')} = $b OR {_bare('label')} = $b)"
        " ORDER BY id LIMIT 1",
        {"i": concept_id, "b": _bare_text(name.strip().lower())},
    )
    return str(rows[0][0]) if rows else None


def _bare(column: str) -> str:
    return f"ltrim(replace(lower({column}), '\"', ''), '@')"


def _bare_text(word: str) -> str:
    """A name as rule files may write it, without what marks it as one."""
    return word.replace('"', "").lstrip("@")


def _near(slot: QuerySlot, word: str) -> str:
    """Names that hold a word or are nearly it, in words; for a latent its concepts; empty for none."""
    if re.fullmatch(r"#\d{1,9}", word):
        rows = slot.run(
            f"SELECT k.name FROM ({_NAMED}) k JOIN concepts c ON c.concept_id = k.id"
            " JOIN concept_members m ON m.concept = c.concept WHERE m.latent = ? ORDER BY c.concept LIMIT 3",
            [int(word[1:])],
        )
        return " or ".join(f"`{name}`" for (name,) in rows)
    rows = slot.run(
        f"SELECT name FROM (SELECT name, {_bare('name')} AS bare FROM ({_NAMED}))"
        " WHERE contains(bare, $b) OR jaro_winkler_similarity(bare, $b) > 0.85"
        " ORDER BY contains(bare, $b) DESC, jaro_winkler_similarity(bare, $b) DESC, name LIMIT 3",
        {"b": word},
    )
    return " or ".join(f"`{name}`" for (name,) in rows) if word else ""


def pair_of_number(slot: QuerySlot, what: str) -> int | None:
    """The pair whose number ``what`` is; None where it is no number, or of no pair."""
    word = what.strip()
    if not (word.isascii() and word.isdigit()) or len(word.lstrip("0")) > _DIGITS:
        return None
    found = slot.run("SELECT pair FROM pairs WHERE pair = ?", [int(word)])
    return int(found[0][0]) if found else None


def find_pair(slot: QuerySlot, what: str) -> int:
    """The pair whose number ``what`` is, else the one whose id begins so.

    Raises:
        StoreError: no pair has such a number or id, or several ids begin so.
    """
    pair = pair_of_number(slot, what)
    if pair is None:
        pair = _by_id(slot, what)
    if pair is None:
        raise StoreError(f"this index has no pair {what}", hint="`prosect pairs` lists them by number")
    return pair


def _by_id(slot: QuerySlot, what: str) -> int | None:
    """The pair whose id begins so. Raises ``StoreError`` where several do."""
    word = what.strip().lower()
    pairs = slot.run(f"SELECT pair FROM pairs WHERE starts_with(pair_id, ?) LIMIT {_LIMIT}", [word])
    if len(pairs) > 1:
        raise StoreError(f"{what!r} begins the ids of several pairs", hint="type more of the id")
    return int(pairs[0][0]) if pairs else None


def _named(slot: QuerySlot, kind: str, word: str, source: str, ways: Sequence[str]) -> str | None:
    """The id of what a lower-case word names, the first of some ways before the next; None: of nothing.

    Raises:
        StoreError: more than one thing is called so.
    """
    for where in ways:
        given = {"w": word, "b": _bare_text(word), "p": word.removeprefix(MARK)}
        used = {key: value for key, value in given.items() if f"${key}" in where}
        rows = slot.run(f"SELECT id, name FROM {source} WHERE {where} ORDER BY 1 LIMIT {_LIMIT}", used)
        if len(rows) == 1:
            return str(rows[0][0])
        if rows:
            shown = ", ".join(f"{name} ({ident[:10]})" for ident, name in rows)
            raise StoreError(f"`{word}` names more than one {kind}: {shown}", hint="type more of the id")
    return None


def shown_names(slot: QuerySlot, concept_ids: Collection[str]) -> dict[str, str]:
    """Concept id → what the concept is called now: the name that people gave it, else its working label.

    The strongest evidence first; concepts that the index does not have are absent.
    """
    rows = slot.run(
        f"SELECT c.concept_id, {_GIVEN} FROM concepts c"
        " LEFT JOIN memory.main.names n ON n.concept_id = c.concept_id"
        " LEFT JOIN hypotheses h ON h.concept = c.concept AND h.context = 0"
        " WHERE c.concept_id IN (SELECT unnest(?::VARCHAR[]))"
        " ORDER BY h.hypothesis NULLS LAST, c.concept",
        [list(concept_ids)],
    )
    return {str(ident): str(name) for ident, name in rows}


def names_beginning(slot: QuerySlot, kind: str, start: str, limit: int) -> list[tuple[str, str]]:
    """Names of concepts or contexts that begin so, with what they are: strongest or largest first.

    Where none does, those that do once the quotation mark or ``@`` before them is left out.
    """
    sql = _CONCEPTS_BEGINNING if kind == "concept" else _CONTEXTS_BEGINNING
    found = slot.run(sql.format("shown"), [start, limit]) or slot.run(sql.format(_UNMARKED), [start, limit])
    return [(str(name), str(said)) for name, said in found]


_UNMARKED = "ltrim(shown, '\"@')"
_CONCEPTS_BEGINNING = """
    SELECT coalesce(n.name, c.name) AS shown, concat_ws(', ', c.kind, h.badge) FROM concepts c
    LEFT JOIN hypotheses h ON h.concept = c.concept AND h.context = 0
    LEFT JOIN memory.main.names n ON n.concept_id = c.concept_id
    WHERE starts_with({}, ?) ORDER BY h.hypothesis NULLS LAST LIMIT ?
"""
_CONTEXTS_BEGINNING = """
    SELECT name AS shown, concat_ws(', ', kind, n_pairs || ' pairs') FROM contexts
    WHERE starts_with({}, ?) ORDER BY n_pairs DESC LIMIT ?
"""


def find_context(slot: QuerySlot, what: str) -> str:
    """The id of the context that ``what`` names, by the same rules.

    Raises:
        StoreError: no context, or more than one, is called so.
    """
    contexts = "(SELECT context_id AS id, name FROM contexts)"
    word = what.strip().lower()
    found = _named(slot, "context", word, contexts, ("id = $w OR lower(name) = $w", _BEGINS))
    if found is not None:
        return found
    raise StoreError(f"no context is called {what!r}", hint="`prosect contexts` lists them by name")


def hypothesis_named(slot: QuerySlot, what: str) -> tuple[str, str | None] | None:
    """Concept and context (None: everywhere) of the hypothesis whose id this is, or begins so."""
    word = what.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{6,32}", word):
        return None
    rows = slot.run(
        "SELECT c.concept_id, CASE WHEN h.context > 0 THEN x.context_id END FROM hypotheses h"
        " JOIN concepts c ON c.concept = h.concept JOIN contexts x ON x.context = h.context"
        " WHERE starts_with(h.hypothesis_id, ?) LIMIT 2",
        [word],
    )
    return (str(rows[0][0]), rows[0][1]) if len(rows) == 1 else None


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
