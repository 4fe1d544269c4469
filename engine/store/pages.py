"""Paging through a grid of any length: orderings as in-memory tables, pages by row number, all cancellable.

``ORDER BY … OFFSET n`` costs a sort per page. An ordering is therefore made once per filter and sort
(90 ms for a million rows) as ``memory.main.order_<k>(rn, key)``, and a page is a join on a range of ``rn``.
A slot runs one query at a time: a newer one interrupts the older, whose caller gets ``Cancelled``.
"""

import itertools
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from engine.errors import Cancelled, StoreError
from engine.store import database
from engine.store.connection import Parameters, Store, first_line
from engine.store.filters import Condition, parse_filter
from engine.store.grids import Grid, GridColumn
from engine.views import ColumnKind, FacetCount, GridRow, SortKey

MAX_FETCH = 5_000
"""Rows per query: fetching a million at once holds the interpreter lock for 80 ms."""
_numbers = itertools.count()


class QuerySlot:
    """One purpose, one running query. Starting a query interrupts the one before it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._running: database.DuckDBPyConnection | None = None
        self._generation = 0

    def interrupt(self) -> None:
        """Stop what runs; its caller gets ``Cancelled``."""
        with self._lock:
            self._generation += 1
            if self._running is not None:
                self._running.interrupt()

    def run(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """All rows of a query (at most some thousands).

        Raises:
            Cancelled: a newer query was started on this slot, or ``interrupt`` was called.
            StoreError: the database refused it.
        """
        cursor = self._store.cursor()
        with self._lock:
            self._generation += 1
            mine = self._generation
            if self._running is not None:
                self._running.interrupt()
            self._running = cursor
        try:
            cursor.execute("SET enable_progress_bar = false")  # it would draw over the screen
            rows = cursor.execute(sql, parameters).fetchall()
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
        self._order = f"memory.main.order_{next(_numbers)}"
        self._pages = QuerySlot(store)
        self._seeks = QuerySlot(store)
        self._condition = self._make_condition()
        self._make_order(opening or self._pages)
        self.n_rows = int(self._pages.run(f"SELECT count(*) FROM {self._order}")[0][0])
        self.n_total = int(self._pages.run(f"SELECT count(*) FROM {grid.base}")[0][0])

    def _make_condition(self) -> Condition:
        condition = parse_filter(self.selection.filter_text, self._grid.filter_columns())
        if self.selection.context:
            inside = "t.pair IN (SELECT pair FROM context_pairs WHERE context = ?)"
            return Condition(
                f"{condition.sql} AND {inside}",
                (*condition.parameters, self.selection.context),
                condition.columns,
            )
        return condition

    def _make_order(self, slot: QuerySlot) -> None:
        keys = self.selection.sort or self._grid.default_sort
        columns = {c.spec.name: c for c in self._grid.columns}
        for key in keys:
            if key.column not in columns:
                raise StoreError(f"there is no column `{key.column}` to sort by")
        terms = [_order_term(columns[k.column], descending=k.descending) for k in keys]
        used = self._condition.columns | {k.column for k in keys}
        source = self._grid.source(self._grid.aliases(frozenset(used)))
        slot.run(
            # A window without an order streams over the sorted rows: half the time of ordering inside it.
            f"CREATE TABLE {self._order} AS SELECT row_number() OVER () - 1 AS rn, key FROM"
            f" (SELECT t.{self._grid.key} AS key FROM {source} WHERE {self._condition.sql}"
            f" ORDER BY {', '.join([*terms, 't.' + self._grid.key])})",
            self._condition.parameters,
        )

    def rows(self, first: int, n: int) -> tuple[GridRow, ...]:
        """Rows ``first … first + n − 1`` of the ordering, fewer at its end."""
        grid = self._grid
        expressions = ", ".join(e for c in grid.columns for e in c.sql)
        found = self._pages.run(
            f"SELECT t.{grid.key}, {grid.ident}, {expressions}"
            f" FROM {grid.ordered(self._order, grid.all_aliases)} WHERE o.rn BETWEEN ? AND ? ORDER BY o.rn",
            [first, first + min(n, MAX_FETCH) - 1],
        )
        return tuple(_grid_row(row, grid.columns) for row in found)

    def position(self, ident: str) -> int | None:
        """Row of a record, None when the filter leaves it out."""
        found = self._seeks.run(
            f"SELECT o.rn FROM {self._order} o JOIN {self._grid.base} t ON t.{self._grid.key} = o.key"
            f" WHERE {self._grid.ident} = ?",
            [ident],
        )
        return int(found[0][0]) if found else None

    def next_undecided(self, after: int, *, backwards: bool = False) -> int | None:
        """The nearest row beyond ``after`` without a verdict; None when there is none on that side."""
        if "v" not in self._grid.joins:
            return None
        grid = self._grid
        source = grid.ordered(self._order, grid.aliases(frozenset(["verdict"])))
        compare, pick = ("<", "max") if backwards else (">", "min")
        found = self._seeks.run(
            f"SELECT {pick}(o.rn) FROM {source} WHERE o.rn {compare} ? AND v.verdict IS NULL",
            [after],
        )
        return None if found[0][0] is None else int(found[0][0])

    def search(self, text: str, after: int, *, backwards: bool = False) -> int | None:
        """The nearest row beyond ``after`` that a filter text matches, None when there is none."""
        condition = parse_filter(text, self._grid.filter_columns())
        source = self._grid.ordered(self._order, self._grid.aliases(condition.columns))
        compare, pick = ("<", "max") if backwards else (">", "min")
        found = self._seeks.run(
            f"SELECT {pick}(o.rn) FROM {source} WHERE o.rn {compare} ? AND {condition.sql}",
            [after, *condition.parameters],
        )
        return None if found[0][0] is None else int(found[0][0])

    def facet(self, column: str, limit: int = 200) -> tuple[FacetCount, ...]:
        """Value counts of a column over the rows of this selection, most frequent first."""
        grid = self._grid
        found = {c.spec.name: c for c in grid.columns}.get(column)
        if found is None:
            raise StoreError(f"there is no column `{column}`")
        source = grid.ordered(self._order, grid.aliases(frozenset([column])))
        sql = found.sql[len(found.sql) // 2]
        rows = self._seeks.run(
            f"SELECT {_facet_value(found, sql)} AS value, count(*) AS n FROM {source}"
            " GROUP BY 1 ORDER BY n DESC, value LIMIT ?",
            [limit],
        )
        return tuple(FacetCount(None if v is None else str(v), int(n)) for v, n in rows)

    def interrupt(self) -> None:
        """Cancel whatever this cursor is asked for right now."""
        self._pages.interrupt()
        self._seeks.interrupt()

    def close(self) -> None:
        """Free the ordering."""
        self.interrupt()
        try:
            self._store.execute(f"DROP TABLE IF EXISTS {self._order}")
        except database.Error:
            return  # the store was closed before its cursors: nothing is left to free


def mirror(store: Store, verdicts: Iterable[tuple[str, str]], names: Iterable[tuple[str, str]]) -> None:
    """Copy the journal's state into the in-memory tables that filters and sorts join."""
    cursor = store.cursor()
    try:
        cursor.execute("CREATE OR REPLACE TABLE memory.main.verdicts (target VARCHAR, verdict VARCHAR)")
        cursor.execute("CREATE OR REPLACE TABLE memory.main.names (concept_id VARCHAR, name VARCHAR)")
        for table, rows in (("verdicts", list(verdicts)), ("names", list(names))):
            _insert(cursor, table, rows)
    finally:
        cursor.close()


def update_mirror(store: Store, verdicts: Iterable[tuple[str, str | None]]) -> None:
    """Change some targets' verdicts in the mirror; None removes."""
    changes = list(verdicts)
    cursor = store.cursor()
    try:
        cursor.execute("BEGIN")
        cursor.execute(
            "DELETE FROM memory.main.verdicts WHERE target IN (SELECT unnest(?::VARCHAR[]))",
            [[target for target, _ in changes]],
        )
        _insert(cursor, "verdicts", [(t, v) for t, v in changes if v is not None])
        cursor.execute("COMMIT")
    finally:
        cursor.close()


def _insert(cursor: database.DuckDBPyConnection, table: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        cursor.execute(
            f"INSERT INTO memory.main.{table} SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[])",
            [[a for a, _ in rows], [b for _, b in rows]],
        )


def _order_term(column: GridColumn, *, descending: bool) -> str:
    sql = column.sql[len(column.sql) // 2]
    if column.spec.kind is ColumnKind.TEXT:
        sql = f"lower({sql})"
    return f"{sql} {'DESC' if descending else 'ASC'} NULLS LAST"


def _facet_value(column: GridColumn, sql: str) -> str:
    if column.spec.kind in (ColumnKind.SHARE, ColumnKind.INTERVAL, ColumnKind.Q):
        return f"printf('%.1f', floor({sql} * 10) / 10)"
    return f"left(CAST({sql} AS VARCHAR), 200)"


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
