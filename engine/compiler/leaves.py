"""The first pass: one scan that turns everything rules read into columns of an in-memory table.

A leaf is what SQL must fetch from the index: a column, a reading, a text match. Its column is kept and found
again by its content hash, so that editing a threshold scans nothing. SQL is made of generated names only;
whatever a user wrote arrives as a named parameter.
"""

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.manifest import hash_bytes
from engine.records import HELD_OUT_FOLD, Label
from engine.rules.catalogue import Type
from engine.rules.terms import (
    NUMBER_IN_TEXT,
    TEXT_FUNCTIONS,
    Apply,
    Column,
    Concept,
    Constant,
    Inside,
    Matches,
    Meta,
    Reading,
    Term,
    walk,
)
from engine.store.connection import Store

_MAX_COLUMNS = 160
"""More than this and the table is made anew with what is needed now."""

PAIR_COLUMNS = {
    "id": "pair_id",
    "group": "group_id",
    "slot": "chosen_was",
    "prompt.text": "prompt_text",
    "chosen.text": "chosen_text",
    "rejected.text": "rejected_text",
    "prompt.tokens": "prompt_tokens",
    "chosen.tokens": "chosen_tokens",
    "rejected.tokens": "rejected_tokens",
    "prompt.turns": "prompt_turns",
    "prompt.truncated": "prompt_truncated",
    "chosen.truncated": "chosen_truncated",
    "rejected.truncated": "rejected_truncated",
    "chosen.score": "score_chosen",
    "rejected.score": "score_rejected",
    "chosen.model": "model_chosen",
    "rejected.model": "model_rejected",
}
"""Columns of the language whose name in the store is another."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Rank of a pair under a seed: md5(seed:pair_id), so that samples are nested and need no row order."""

    seed: int


Leaf = Term | Draw


def leaf_key(leaf: Leaf) -> str:
    """Content hash of a leaf."""
    if isinstance(leaf, Reading):
        return hash_bytes(f"{leaf.concept.key}|{leaf.span}|{leaf.aggregate}".encode())
    return hash_bytes(repr(leaf).encode("utf-8", "replace"))


def is_leaf(term: Term) -> bool:
    """True for what the first pass computes: everything that touches the index or a text."""
    if isinstance(term, Column | Meta | Reading | Inside | Matches):
        return True
    if isinstance(term, Apply):
        if term.operator in TEXT_FUNCTIONS:
            return True
        return term.operator in ("==", "in") and term.arguments[0].type is Type.TEXT
    return False


def leaves_of(terms: Sequence[Term]) -> list[Term]:
    """The leaves of some terms, each once."""
    found: dict[str, Term] = {}
    for term in terms:
        pending = [term]
        while pending:
            part = pending.pop()
            if is_leaf(part):
                found.setdefault(leaf_key(part), part)
            elif isinstance(part, Apply):
                pending.extend(part.arguments)
            else:
                pending.extend(walk(part)[1:2])
    return list(found.values())


@dataclass
class WideTable:
    """The in-memory table of one open index: a row per pair, a column per leaf."""

    columns: dict[str, str] = field(default_factory=dict)
    """Leaf key to column name."""
    name: str | None = None
    version: int = 0
    n_scans: int = 0
    """How often the index was scanned; tests hold it still."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def ensure(self, store: Store, leaves: Sequence[Leaf]) -> dict[str, str]:
        """Column names of these leaves, scanning the index for those that are new."""
        with self.lock:
            wanted = {leaf_key(leaf): leaf for leaf in leaves}
            missing = {k: leaf for k, leaf in wanted.items() if k not in self.columns}
            if missing or self.name is None:
                if len(self.columns) + len(missing) > _MAX_COLUMNS:
                    self._forget(store)
                    missing = wanted
                self._extend(store, missing)
            return {k: self.columns[k] for k in wanted}

    def _forget(self, store: Store) -> None:
        if self.name is not None:
            store.execute(f"DROP TABLE IF EXISTS memory.main.{self.name}")
        self.columns.clear()
        self.name = None

    def _extend(self, store: Store, missing: dict[str, Leaf]) -> None:
        self.version += 1
        self.n_scans += 1
        name = f"wide_{self.version}"
        scan = _Scan(self.version)
        fresh = {}
        for number, (key, leaf) in enumerate(missing.items()):
            fresh[key] = f"v{self.version}_{number}"
            scan.add(leaf, fresh[key])
        kept = [] if self.name is None else ["is_input", *self.columns.values()]
        scan.run(store, name, self.name, kept)
        if self.name is not None:
            store.execute(f"DROP TABLE memory.main.{self.name}")
        self.name = name
        self.columns |= fresh


_TABLES: "weakref.WeakKeyDictionary[Store, WideTable]" = weakref.WeakKeyDictionary()


def wide_table(store: Store) -> WideTable:
    """The wide table that belongs to an open index."""
    return _TABLES.setdefault(store, WideTable())


class _Scan:
    """Collects the columns of one scan, by the table they come from."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.parameters: dict[str, Any] = {}
        self.outputs: list[str] = []
        self.sets: dict[str, int] = {}
        """Key of a latent set to its number."""
        self.members: list[tuple[int, tuple[int, ...]]] = []
        self.aggregates: dict[str, list[str]] = {"acts": [], "prompt_acts": []}
        self.scores: list[tuple[int, str, str]] = []
        self.contexts: list[tuple[int, str]] = []

    def add(self, leaf: Leaf, name: str) -> None:
        """Plan one column."""
        if isinstance(leaf, Reading):
            self._reading(leaf, name)
        elif isinstance(leaf, Inside):
            self.contexts.append((leaf.number, name))
            self.outputs.append(f"coalesce(x.{name}, FALSE) AS {name}")
        elif isinstance(leaf, Draw):
            seed = self._parameter(str(leaf.seed))
            self.outputs.append(f"md5_number_lower({seed} || ':' || p.pair_id) AS {name}")
        else:
            self.outputs.append(f"{self._expression(leaf)} AS {name}")

    def _parameter(self, value: Any) -> str:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"

    def _expression(self, term: Term) -> str:
        match term:
            case Column():
                column = f'p."{PAIR_COLUMNS.get(term.name, term.name)}"'
                if term.type is Type.NUMBER:
                    return f"CASE WHEN isfinite(CAST({column} AS DOUBLE)) THEN CAST({column} AS DOUBLE) END"
                return column
            case Meta():
                return self._meta(term)
            case Constant():
                return self._parameter(term.value)
            case Matches():
                text = self._expression(term.text)
                return f"coalesce(regexp_matches({text}, {self._parameter(term.pattern)}), FALSE)"
            case Apply():
                return self._apply(term)
            case _:
                raise TypeError(f"{term!r} is no leaf")

    def _apply(self, term: Apply) -> str:
        first = self._expression(term.arguments[0])
        if term.operator == "length":
            return f"CAST(length({first}) AS DOUBLE)"
        if term.operator == "number":
            found = f"regexp_extract({first}, {self._parameter(NUMBER_IN_TEXT)}, 1)"
            number = f"TRY_CAST(nullif({found}, '') AS DOUBLE)"
            return f"CASE WHEN isfinite({number}) THEN {number} END"
        others = ", ".join(self._expression(a) for a in term.arguments[1:])
        return f"coalesce({first} IN ({others}), FALSE)" if others else "FALSE"

    def _meta(self, term: Meta) -> str:
        pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in term.path)
        at = self._parameter(pointer)
        kind = f"json_type(p.meta, {at})"
        text = f"json_extract_string(p.meta, {at})"
        if term.type is Type.TRUTH:
            return f"CASE WHEN {kind} = 'BOOLEAN' THEN {text} = 'true' END"
        if term.type is Type.TEXT:
            return f"CASE WHEN {kind} = 'VARCHAR' THEN {text} END"
        number = f"TRY_CAST({text} AS DOUBLE)"
        return f"CASE WHEN {kind} IN ('UBIGINT', 'BIGINT', 'HUGEINT', 'DOUBLE') THEN {number} END"

    def _reading(self, leaf: Reading, name: str) -> None:
        concept, span = leaf.concept, leaf.span
        if concept.kind == "built-in":
            tokens = f"p.{span}_tokens"
            self.outputs.append(
                f"CASE WHEN {tokens} > 0 THEN ln(CAST({tokens} AS DOUBLE)) ELSE 0 END AS {name}"
            )
        elif concept.kind == "scored":
            self.scores.append((concept.number or 0, span, name))
            self.outputs.append(f"CAST(coalesce(s.{name}, 0) AS DOUBLE) AS {name}")
        else:
            table = "prompt_acts" if span == "prompt" else "acts"
            number = self._set(concept)
            source = {"max": f"max({span}_max)", "sum": f"sum(CAST({span}_sum AS DOUBLE))"}.get(
                leaf.aggregate, f"sum(CAST({span}_n AS BIGINT))"
            )
            self.aggregates[table].append(f"{source} FILTER (WHERE m.k = {number}) AS {name}")
            value = f"CAST(coalesce({'b' if table == 'prompt_acts' else 'a'}.{name}, 0) AS DOUBLE)"
            if leaf.aggregate == "sum":
                value = f"round({value}, 6)"
            elif leaf.aggregate == "rate":
                value = f"CASE WHEN p.{span}_tokens > 0 THEN {value} / p.{span}_tokens END"
            self.outputs.append(f"{value} AS {name}")

    def _set(self, concept: Concept) -> int:
        if concept.key not in self.sets:
            self.sets[concept.key] = len(self.members)
            self.members.append((len(self.members), concept.members))
        return self.sets[concept.key]

    def run(self, store: Store, name: str, old: str | None, kept: Sequence[str]) -> None:
        """Make the new table: the old columns beside the new ones."""
        members = f"members_{self.version}"
        parts: list[str] = []
        joins: list[str] = []
        if self.members:
            self._write_members(store, members)
        for table, alias in (("acts", "a"), ("prompt_acts", "b")):
            if self.aggregates[table]:
                columns = ", ".join(self.aggregates[table])
                parts.append(
                    f"{alias} AS (SELECT t.pair, {columns} FROM {table} t"
                    f" JOIN memory.main.{members} m ON t.latent = m.latent GROUP BY t.pair)"
                )
                joins.append(f"LEFT JOIN {alias} ON {alias}.pair = p.pair")
        if self.scores:
            columns = ", ".join(
                f"max({span}) FILTER (WHERE concept = {c}) AS {n}" for c, span, n in self.scores
            )
            wanted = ", ".join(sorted({str(c) for c, _, _ in self.scores}))
            parts.append(
                f"s AS (SELECT pair, {columns} FROM concept_scores WHERE concept IN ({wanted}) GROUP BY pair)"
            )
            joins.append("LEFT JOIN s ON s.pair = p.pair")
        if self.contexts:
            columns = ", ".join(f"bool_or(context = {c}) AS {n}" for c, n in self.contexts)
            wanted = ", ".join(sorted({str(c) for c, _ in self.contexts}))
            parts.append(
                f"x AS (SELECT pair, {columns} FROM context_pairs WHERE context IN ({wanted}) GROUP BY pair)"
            )
            joins.append("LEFT JOIN x ON x.pair = p.pair")
        outputs = ["p.pair"]
        if old is None:
            is_input = f"p.label = '{Label.CHOSEN}' AND NOT p.is_evaluation AND p.fold <> {HELD_OUT_FOLD}"
            outputs.append(f"coalesce({is_input}, FALSE) AS is_input")
        else:
            joins.append(f"JOIN memory.main.{old} w ON w.pair = p.pair")
            outputs += [f"w.{c}" for c in kept]
        outputs += self.outputs
        with_clause = "WITH " + ", ".join(parts) + " " if parts else ""
        store.execute(
            f"CREATE TABLE memory.main.{name} AS {with_clause}SELECT {', '.join(outputs)}"
            f" FROM pairs p {' '.join(joins)} ORDER BY p.pair",
            self.parameters,
        )
        if self.members:
            store.execute(f"DROP TABLE memory.main.{members}")

    def _write_members(self, store: Store, table: str) -> None:
        store.execute(f"CREATE TABLE memory.main.{table} (k INTEGER, latent UINTEGER)")
        numbers = [k for k, latents in self.members for _ in latents]
        latents = [latent for _, members in self.members for latent in members]
        store.execute(
            f"INSERT INTO memory.main.{table} SELECT unnest($k), unnest($latent)",
            {"k": numbers, "latent": latents},
        )
