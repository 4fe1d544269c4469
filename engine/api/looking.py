"""Questions of headless front ends: tables, one pair or concept, warnings, strips."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from engine.api.base import Base
from engine.views.tables import FacetCount, GridRow, SortKey, TableSpec

if TYPE_CHECKING:
    from engine.store.pages import TableCursor
    from engine.views.details import ConceptDetail, PairDetail
    from engine.views.strips import PairStrip


class Listing(NamedTuple):
    """Rows of one of the project's tables."""

    spec: TableSpec
    rows: tuple[GridRow, ...]
    n_rows: int
    """Rows that the filter selects."""
    n_total: int
    remark: str | None = None
    """What to know of the filter: a value that no row has."""


class Counts(NamedTuple):
    """How many rows of a selection have each value of a column."""

    counts: tuple[FacetCount, ...]
    """Values by count, or bins of a number in their order."""
    n_rows: int
    """Rows that the filter selects."""
    n_total: int
    remark: str | None = None
    """What to know of the filter: a value that no row has."""


class Looking(Base):
    """Looking at what was found."""

    def listing(
        self,
        table: str,
        filter_text: str = "",
        sort: str = "",
        limit: int = 40,
        *,
        context: str | None = None,
        within: str = "",
        whole: bool = False,
    ) -> Listing:
        """The first rows of a table.

        Args:
            table: hypotheses, contexts or pairs.
            filter_text: as in the workstation's filter line.
            sort: columns, comma-separated, ``-`` in front for largest first; empty: the table's own order.
            limit: rows at most.
            context: pairs only: id of a context whose pairs are wanted.
            within: a filter for the part of the table that is meant at all: ``n_total`` counts its rows.
            whole: texts from beginning to end; without, the start that a screen has room for.
        """
        keys = [
            SortKey(k.strip().lstrip("-"), k.strip().startswith("-")) for k in sort.split(",") if k.strip()
        ]
        cursor = self.browser.open_table(table, f"{within} {filter_text}".strip(), keys, context_id=context)
        rows: list[GridRow] = []
        while len(rows) < limit:
            page = cursor.rows(len(rows), min(limit - len(rows), 1000), whole=whole)
            rows += page
            if not page:
                break
        n_total = self._n_within(table, within, cursor)
        return Listing(cursor.spec, tuple(rows), cursor.n_rows, n_total, cursor.remark())

    def counts(
        self,
        table: str,
        column: str,
        filter_text: str = "",
        limit: int = 40,
        *,
        context: str | None = None,
        within: str = "",
    ) -> Counts:
        """Values of a column over the rows that a filter selects, numbers in bins, with the filter of each.

        Args:
            table: hypotheses, contexts or pairs.
            column: whose values are counted.
            filter_text: as in the workstation's filter line.
            limit: values at most, the most frequent ones; bins are always whole.
            context: pairs only: id of a context whose pairs are counted.
            within: a filter for the part of the table that is meant at all: ``n_total`` counts its rows.

        Raises:
            StoreError: there is no such column, with the nearest one.
        """
        cursor = self.browser.open_table(table, f"{within} {filter_text}".strip(), context_id=context)
        n_total = self._n_within(table, within, cursor)
        return Counts(cursor.facet(column, limit), cursor.n_rows, n_total, cursor.remark())

    def _n_within(self, table: str, within: str, cursor: "TableCursor") -> int:
        """Rows of the part of a table that is meant at all."""
        if not within:
            return cursor.n_total
        whole = self.browser.open_table(table, within)
        try:
            return whole.n_rows
        finally:
            whole.close()

    def warning(self) -> str | None:
        """What to know before any row is read: whether authorship or length alone explain the labels."""
        from engine.pipeline.audit import stored_warning

        return stored_warning(self.paths)

    def stale(self) -> str | None:
        """What to know when mix or settings have changed since the audit; None while they have not."""
        from engine.store.stale import stale_text

        return stale_text(self.paths)

    def find(self, what: str, context: str | None = None) -> "PairDetail | ConceptDetail":
        """A pair by number or id, or a concept (in a context); beginnings suffice where they are unique.

        Raises:
            StoreError: nothing or more than one thing is called so.
        """
        number = self.browser.pair_of_number(what) if context is None else None
        return self.browser.find(what, context) if number is None else self.browser.pair(number)

    def strip(self, pair: int, latents: Sequence[int]) -> "PairStrip":
        """A pair token by token with activations, read now unless cached; `browser.strips` does not wait."""
        from engine.pipeline.strips import read_strip

        return read_strip(self.paths, self.settings, pair, latents)
