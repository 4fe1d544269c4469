"""Paging through a grid of any length: orderings as in-memory tables, pages by row number, all cancellable.

``ORDER BY … OFFSET n`` costs a sort per page. An ordering is therefore made once per filter and sort
(60 ms for a million rows) as ``memory.main.order_<k>(key)``, whose row ids are the places of the keys, and a
page is a join on a range of them. Rows in the order that the keys are numbered in need none: the key is
the place.
A slot runs one query at a time: a newer one interrupts the older, whose caller gets ``Cancelled``.
"""

import itertools
import threading
from dataclasses import dataclass
from typing import Any

from engine.errors import Cancelled, StoreError
from engine.store import database
from engine.store.connection import Parameters, Store, first_line
from engine.store.filters import Condition, is_met, nearest, parse_filter, text_term, unknown_column
from engine.store.grids import Grid, GridColumn
from engine.views.tables import ColumnKind, FacetCount, GridRow, SortKey

MAX_FETCH = 5_000
"""Rows per query: fetching a million at once holds the interpreter lock for 80 ms."""
FIRST_WINDOW = 1024
"""Rows among which the next undecided one is looked for first; every further window is four times as long."""
SORTED_CHARS = 48
"""Texts are ordered by this many first characters: whole prompts would have to be copied to be sorted."""
_numbers = itertools.count()


class QuerySlot:
    """One purpose, one running question. Starting one interrupts the one before it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._running: database.DuckDBPyConnection | None = None
        self._generation = 0

    def interrupt(self) -> None:
        """Stop what runs; its caller gets ``Cancelled``."""
        self._begin()

    def question(self) -> "Question":
        """Begin a question of several queries; the one before it gets ``Cancelled`` at its next query."""
        return Question(self._store, self, self._begin())

    def run(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """All rows of a query (at most some thousands).

        Raises:
            Cancelled: a newer query was started on this slot, or ``interrupt`` was called.
            StoreError: the database refused it.
        """
        return self._run(self._begin(), sql, parameters)

    def _begin(self) -> int:
        with self._lock:
            self._generation += 1
            if self._running is not None:
                self._running.interrupt()
            return self._generation

    def _run(self, mine: int, sql: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        cursor = self._store.cursor()
        with self._lock:
            if mine != self._generation:
                cursor.close()
                raise Cancelled("a newer query took over")
            self._running = cursor
        try:
            cursor.execute("SET enable_progress_bar = false")  # it would draw over the screen
            rows = self._fetch(cursor, sql, parameters)
        except database.InterruptException as error:
            raise Cancelled("a newer query took over") from error
        except database.Error as error:
            raise StoreError(f"the index cannot answer: {first_line(error)}") from error
        finally:
            with self._lock:
                is_stale = mine != self._generation
                if self._running is cursor:
                    self._running = None
            cursor.close()
        if is_stale:
            raise Cancelled("a newer query took over")
        return rows

    def _fetch(
        self, cursor: database.DuckDBPyConnection, sql: str, parameters: Parameters
    ) -> list[tuple[Any, ...]]:
        try:
            return cursor.execute(sql, parameters).fetchall()
        except database.OutOfMemoryException:
            if not self._store.lift_limit():
                raise
            return cursor.execute(sql, parameters).fetchall()


class Question(QuerySlot):
    """Queries of one purpose that stand or fall together: a newer question stops them all."""

    def __init__(self, store: Store, slot: QuerySlot, generation: int) -> None:
        super().__init__(store)
        self._slot, self._mine = slot, generation

    def run(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. Raises ``Cancelled`` once a newer question was begun."""
        return self._slot._run(self._mine, sql, parameters)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of a grid, in which order."""

    filter_text: str = ""
    sort: tuple[SortKey, ...] = ()
    context: int | None = None
    """Pairs only: members of this context."""


class TableCursor:
    """Rows of one grid under one filter and sort. Any thread may call; one query at a time per purpose.

    ``opening`` is the slot in which the ordering is made: a newer table opened on it cancels an older one.
    """

    def __init__(
        self, store: Store, grid: Grid, selection: Selection, opening: QuerySlot | None = None
    ) -> None:
        self.spec = grid.spec
        self.selection = selection
        self._store = store
        self._grid = grid
        self._table: str | None = f"memory.main.order_{next(_numbers)}"
        self._pages = QuerySlot(store)
        self._seeks = QuerySlot(store)
        self._condition = self._make_condition()
        self.n_total, is_dense = self._size()
        if is_dense and self._is_by_key() and self._condition.sql == "TRUE":
            self._table, self.n_rows = None, self.n_total
        else:
            self.n_rows = self._make_order(opening or self._pages)

    def _make_condition(self) -> Condition:
        condition = parse_filter(self.selection.filter_text, self._grid.filter_columns())
        if self.selection.context:
            inside = "t.pair IN (SELECT pair FROM context_pairs WHERE context = ?)"
            return Condition(
                f"{condition.sql} AND {inside}",
                (*condition.parameters, self.selection.context),
                condition.columns,
                condition.asked,
            )
        return condition

    def _size(self) -> tuple[int, bool]:
        """Rows of the whole grid, and whether its keys are 0, 1, 2 …: asked once per index."""
        sizes, grid = self._store.sizes, self._grid
        if grid.base not in sizes:
            question = f"SELECT count(*), min({grid.key}), max({grid.key}) FROM {grid.base}"
            n, low, high = self._pages.run(question)[0]
            sizes[grid.base] = (int(n), not n or (low == 0 and high == n - 1))
        return sizes[grid.base]

    def _is_by_key(self) -> bool:
        """The order asked for is the one that the keys are numbered in."""
        keys = self.selection.sort or self._grid.default_sort
        return self._grid.is_stored_sorted and keys == self._grid.default_sort

    def _lined_up(self, aliases: frozenset[str] = frozenset()) -> tuple[str, str]:
        """FROM clause over the rows of this selection with these joins; the expression of a row's place."""
        if self._table is None:
            return self._grid.source(aliases), f"t.{self._grid.key}"
        order = f"(SELECT rowid AS rn, key FROM {self._table})"
        return self._grid.ordered(order, aliases), "o.rn"

    def _make_order(self, slot: QuerySlot) -> int:
        keys = self.selection.sort or self._grid.default_sort
        columns = {c.spec.name: c for c in self._grid.columns}
        for key in keys:
            if key.column not in columns:
                raise unknown_column(key.column, columns, " to sort by")
        is_by_key = self._is_by_key()
        terms = [] if is_by_key else [_order_term(columns[k.column], descending=k.descending) for k in keys]
        used = self._condition.columns | {k.column for k in keys if not is_by_key}
        source = self._grid.source(self._grid.aliases(frozenset(used)))
        made = slot.run(
            f"CREATE TABLE {self._table} AS SELECT t.{self._grid.key} AS key FROM {source}"
            f" WHERE {self._condition.sql} ORDER BY {', '.join([*terms, 't.' + self._grid.key])}",
            self._condition.parameters,
        )
        return int(made[0][0])

    def rows(self, first: int, n: int, *, whole: bool = False) -> tuple[GridRow, ...]:
        """Rows ``first … first + n − 1`` of the ordering, fewer at its end.

        Args:
            first: place of the first row.
            n: rows at most.
            whole: texts from beginning to end, not only the start that a screen has room for.
        """
        grid = self._grid
        expressions = ", ".join(
            e for c in grid.columns for e in ((c.whole,) if whole and c.whole is not None else c.sql)
        )
        source, place = self._lined_up(grid.all_aliases)
        found = self._pages.run(
            f"SELECT t.{grid.key}, {grid.ident}, {expressions}"
            f" FROM {source} WHERE {place} BETWEEN ? AND ? ORDER BY {place}",
            [first, first + min(n, MAX_FETCH) - 1],
        )
        return tuple(_grid_row(row, grid.columns) for row in found)

    def position(self, ident: str, key: int | None = None) -> int | None:
        """Row of a record, None when the filter leaves it out.

        Args:
            ident: its id.
            key: its key if it was seen in this index: ids of a million rows need not be looked through then.
        """
        grid = self._grid
        if key is not None:
            same = f"SELECT 1 FROM {grid.base} t WHERE t.{grid.key} = ? AND {grid.ident} = ?"
            if self._seeks.run(same, [key, ident]):
                return self._place_of_key(key)
        source, place = self._lined_up()
        found = self._seeks.run(f"SELECT {place} FROM {source} WHERE {grid.ident} = ?", [ident])
        return int(found[0][0]) if found else None

    def _place_of_key(self, key: int) -> int | None:
        if self._table is None:
            return key
        found = self._seeks.run(f"SELECT rowid FROM {self._table} WHERE key = ?", [key])
        return int(found[0][0]) if found else None

    def next_undecided(self, after: int, *, backwards: bool = False) -> int | None:
        """The nearest row beyond ``after`` without a verdict; None when there is none on that side."""
        if "v" not in self._grid.joins:
            return None
        source, place = self._lined_up(self._grid.aliases(frozenset(["verdict"])))
        question = (
            f"SELECT {'max' if backwards else 'min'}({place}) FROM {source}"
            f" WHERE {place} BETWEEN ? AND ? AND v.verdict IS NULL"
        )
        edge, n = (after - 1 if backwards else after + 1), FIRST_WINDOW
        while 0 <= edge < self.n_rows:
            window = [edge - n + 1, edge] if backwards else [edge, edge + n - 1]
            found = self._seeks.run(question, window)[0][0]
            if found is not None:
                return int(found)
            edge, n = (edge - n if backwards else edge + n), n * 4
        return None

    def facet(self, column: str, limit: int = 200) -> tuple[FacetCount, ...]:
        """Counts of a column over the rows of this selection: see engine/store/facets.py."""
        from engine.store.facets import Column, facet

        grid = self._grid
        columns = {c.spec.name: c for c in grid.columns}
        if column not in columns:
            raise unknown_column(column, columns, " to count")
        found = columns[column]
        source, _ = self._lined_up(grid.aliases(frozenset([column])))
        sql = found.sql[len(found.sql) // 2]
        is_filtered = column in self._condition.columns
        return facet(self._seeks.question(), Column(column, found.spec.kind, sql, source, is_filtered), limit)

    def term(self, column: str, value: str | None) -> str:
        """Filter term that selects rows with a value in a column; empty where there is none."""
        return text_term(column, value)

    def remark(self) -> str | None:
        """What to know of the filter: a value of a column with few values that no row has."""
        few = {c.spec.name: c for c in self._grid.columns if c.has_few}
        for asked in self._condition.asked:
            column = few.get(asked.column)
            if column is None:
                continue
            source = self._grid.source(self._grid.aliases(frozenset([asked.column])))
            found = self._seeks.run(f"SELECT DISTINCT {column.sql[0]} FROM {source} LIMIT {MAX_FETCH}")
            values = sorted(str(value) for (value,) in found if value is not None)
            if len(found) < MAX_FETCH and not is_met(asked, values):
                return f"no row has `{asked.value}` in `{asked.column}`; {nearest(asked.value, values)}"
        return None

    def interrupt(self) -> None:
        """Cancel whatever this cursor is asked for right now."""
        self._pages.interrupt()
        self._seeks.interrupt()

    def close(self) -> None:
        """Free the ordering."""
        self.interrupt()
        if self._table is None:
            return
        try:
            self._store.execute(f"DROP TABLE IF EXISTS {self._table}")
        except database.Error:
            return  # the store was closed before its cursors: nothing is left to free


def _order_term(column: GridColumn, *, descending: bool) -> str:
    sql = column.sql[len(column.sql) // 2]
    if column.spec.kind is ColumnKind.TEXT:
        sql = f"lower(left({sql}, {SORTED_CHARS}))"
    return f"{sql} {'DESC' if descending else 'ASC'} NULLS LAST"


def _grid_row(row: tuple[Any, ...], columns: tuple[GridColumn, ...]) -> GridRow:
    values: list[Any] = []
    at = 2
    for column in columns:
        if len(column.sql) == 1:
            values.append(row[at])
        else:
            values.append(tuple(row[at : at + len(column.sql)]))
        at += len(column.sql)
    return GridRow(int(row[0]), str(row[1]), tuple(values))
