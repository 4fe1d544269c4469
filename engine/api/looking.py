"""Questions of headless front ends: tables, one pair or concept, warnings, strips."""

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from engine.api.base import Base
from engine.api.listing import Counts, Listing
from engine.errors import StoreError
from engine.views.tables import OF_CONCEPTS, GridRow, SortKey

if TYPE_CHECKING:
    from engine.store.pages import TableCursor
    from engine.views.details import ConceptDetail, LatentDetail, PairDetail
    from engine.views.strips import PairStrip


class Looking(Base):
    """Looking at what was found."""

    def hypotheses(self, filter_text: str = "", sort: str = "", limit: int | None = None) -> Listing:
        """What the data teaches, everywhere and inside contexts; arguments as in ``listing``."""
        return self.listing("hypotheses", filter_text, sort, limit, whole=True)

    def concepts(self, filter_text: str = "", sort: str = "", limit: int | None = None) -> Listing:
        """Every concept with its effect everywhere; arguments as in ``listing``."""
        return self.listing("hypotheses", filter_text, sort, limit, within=OF_CONCEPTS, whole=True)

    def contexts(self, filter_text: str = "", sort: str = "", limit: int | None = None) -> Listing:
        """Topics, prompt concepts and sources, largest first; arguments as in ``listing``."""
        return self.listing("contexts", filter_text, sort, limit, whole=True)

    def pairs(
        self, filter_text: str = "", sort: str = "", limit: int | None = None, *, context: str | None = None
    ) -> Listing:
        """The pairs with their whole texts, in the order of their numbers; arguments as in ``listing``."""
        return self.listing("pairs", filter_text, sort, limit, context=context, whole=True)

    def listing(
        self,
        table: str,
        filter_text: str = "",
        sort: str = "",
        limit: int | None = 40,
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
            limit: rows at most; None: all that there are.
            context: pairs only: a context whose pairs are wanted, by name, id or start of an id.
            within: a filter for the part of the table that is meant at all: ``n_total`` counts its rows.
            whole: texts from beginning to end; without, the start that a screen has room for.
        """
        keys = [
            SortKey(k.strip().lstrip("-"), k.strip().startswith("-")) for k in sort.split(",") if k.strip()
        ]
        inside = None if context is None else self.browser.context_named(context)
        cursor = self.browser.open_table(table, f"{within} {filter_text}".strip(), keys, context_id=inside)
        rows: list[GridRow] = []
        with closing(cursor):
            most = cursor.n_rows if limit is None else limit
            while len(rows) < most:
                page = cursor.rows(len(rows), min(most - len(rows), 1000), whole=whole)
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
            context: pairs only: a context whose pairs are counted, likewise.
            within: a filter for the part of the table that is meant at all: ``n_total`` counts its rows.

        Raises:
            StoreError: there is no such column, with the nearest one.
        """
        inside = None if context is None else self.browser.context_named(context)
        cursor = self.browser.open_table(table, f"{within} {filter_text}".strip(), context_id=inside)
        with closing(cursor):
            n_total = self._n_within(table, within, cursor)
            return Counts(cursor.facet(column, limit), cursor.n_rows, n_total, cursor.remark())

    def _n_within(self, table: str, within: str, cursor: "TableCursor") -> int:
        """Rows of the part of a table that is meant at all."""
        if not within:
            return cursor.n_total
        with closing(self.browser.open_table(table, within)) as whole:
            return whole.n_rows

    def warning(self) -> str | None:
        """What to know before any row is read: whether authorship or length alone explain the labels."""
        from engine.pipeline.index import stored_warning

        return stored_warning(self.paths)

    def stale(self) -> str | None:
        """What to know when mix or settings have changed since the audit; None while they have not."""
        from engine.store.stale import stale_text

        return stale_text(self.paths)

    def concept(self, what: str, context: str | None = None) -> "ConceptDetail":
        """A concept with its evidence, everywhere or in a context, by name, id or start of an id.

        Raises:
            StoreError: nothing or more than one thing is called so; a pair is.
        """
        from engine.views.details import ConceptDetail

        found = self.browser.find(what, context)
        if not isinstance(found, ConceptDetail):
            raise StoreError(f"`{what}` is a pair, not a concept", hint="ask `pair` for it")
        return found

    def pair(self, what: int | str) -> "PairDetail":
        """A pair with its texts and concepts, by number, id or start of an id. Raises ``StoreError``."""
        return self.browser.pair(self.browser.find_pair(str(what)))

    def find(self, what: str, context: str | None = None) -> "PairDetail | ConceptDetail":
        """A pair by number or id, or a concept (in a context); beginnings suffice where they are unique.

        Raises:
            StoreError: nothing or more than one thing is called so.
        """
        number = self.browser.pair_of_number(what) if context is None else None
        return self.browser.find(what, context) if number is None else self.browser.pair(number)

    def names_beginning(self, kind: str, start: str = "", limit: int = 400) -> list[tuple[str, str]]:
        """Names of concepts or contexts that begin so, with what they are: strongest or largest first.

        Args:
            kind: concept or context.
            start: as the names are spelt; empty: all.
            limit: names at most.
        """
        return self.browser.names_beginning(kind, start, limit)

    def latent(self, number: int) -> "LatentDetail":
        """A latent by its number in the SAE: its own estimates, the concepts it is in, top pairs.

        Raises:
            StoreError: it fires on no span of this index.
        """
        return self.browser.latent(number)

    def strip(self, pair: int, latents: Sequence[int]) -> "PairStrip":
        """A pair token by token with activations, read now unless cached; `browser.strips` does not wait."""
        from engine.pipeline.strips import read_strip

        return read_strip(self.paths, self.settings, pair, latents)
