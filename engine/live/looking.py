"""What front ends ask of a published index: tables and details of it, and moving over to a newer one.

Reads only. When ``current`` points to a newer index, ``reopen_if_changed`` moves over; cursors of the old one
keep working until they are closed. Methods may be called from any thread.
"""

import json
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.errors import StoreError
from engine.live.carried import Carrier
from engine.live.undertakings import Undertakings
from engine.paths import ProjectPaths
from engine.settings import RulesSettings
from engine.store.build import Published, current_index
from engine.store.connection import Store
from engine.store.grids import GRIDS
from engine.store.lookup import (
    find,
    find_context,
    find_hypothesis,
    find_pair,
    hypothesis_named,
    names_beginning,
    pair_of_number,
)
from engine.store.pages import QuerySlot, Selection, TableCursor
from engine.store.stale import stale_text
from engine.views.tables import ProjectSummary, SortKey, TableSpec, Target

if TYPE_CHECKING:
    from engine.live.strips import Strips
    from engine.views.details import ConceptDetail, ContextDetail, LatentDetail, PairDetail
    from engine.views.scrutiny import Mix


_KINDS = ("concept", "context", "pair")
SLOTS = (
    "summary", "snapshot", "known", "journal", "mix", "values", *_KINDS, *(f"{k} brief" for k in _KINDS),
    *(f"open {name}" for name in GRIDS),
)  # fmt: skip
"""Purposes: a newer question interrupts an older one of the same purpose only.

What the journal asks of the index is asked with the lock held, one question at a time: nothing interrupts it,
or a decision could be on disk and said to have failed.
"""


MEMORY = "96MB"
"""What an index may keep in memory while people look at it; reviewing is no slower with more."""


class Looking(Undertakings):
    """An index as people look at it."""

    def __init__(self, paths: ProjectPaths, rules: RulesSettings | None = None) -> None:
        super().__init__(paths, rules)
        self._lock = threading.RLock()
        self._stores: list[Store] = []
        self._cursors: weakref.WeakSet[TableCursor] = weakref.WeakSet()
        self._strips: Strips | None = None

    def _open(self, published: Published) -> None:
        store = Store(self.paths.index(published.index_hash), memory_limit=MEMORY)
        with self._lock:
            self._stores.append(store)
            self._store = store
            self._published = published
            self._slots = {name: QuerySlot(store) for name in SLOTS}
            self._carrier = Carrier(self._slots["journal"], published.reader_hash)
            if self._strips is not None:
                self._strips.follow(published.reader_hash, published.index_hash)
            self._opened()

    def _opened(self) -> None:
        """Another index is open."""

    @property
    def strips(self) -> "Strips":
        """Texts token by token, asked for without waiting."""
        with self._lock:
            if self._strips is None:
                from engine.live.strips import Strips

                self._strips = Strips(self.paths)
                self._strips.follow(self._published.reader_hash, self._published.index_hash)
            return self._strips

    def interrupt(self) -> None:
        """Stop every question that runs; its asker gets ``Cancelled``. What is decided is not stopped."""
        for name, slot in self._slots.items():
            if name != "journal":
                slot.interrupt()
        for cursor in list(self._cursors):
            cursor.interrupt()

    def close(self) -> None:
        """Let go of the index. Nothing may be asked any more."""
        self.interrupt()
        self.put_away()
        if self._strips is not None:
            self._strips.close()
        for store in self._stores:  # those of older indexes stayed open for their cursors
            store.close()
        self._stores.clear()

    def reopen_if_changed(self) -> bool:
        """Follow ``current`` to a newer index; True when it moved. The old one stays open for its cursors."""
        published = current_index(self.paths)
        if published == self._published:
            return False
        self._open(published)
        return True

    # -- reading ----------------------------------------------------------------------------------------

    def summary(self) -> ProjectSummary:
        """Counts of the open index."""
        from engine.store import details

        root = self.paths.root
        found = details.summary(self._slots["summary"], self._store, root.name or str(root))
        return replace(found, folder=str(root), stale=stale_text(self.paths))

    def reader_facts(self) -> Mapping[str, Any]:
        """What the index says of its reader: model, layer, sae, n_latents …; empty where it does not."""
        held = self._slots["known"].run("SELECT value FROM meta WHERE key = 'reader'")
        found: dict[str, Any] = json.loads(held[0][0]) if held else {}
        return found

    def stale(self) -> str | None:
        """What to know when mix or settings have changed since the audit; None while they have not."""
        return stale_text(self.paths)

    def tables(self) -> tuple[TableSpec, ...]:
        """What ``open_table`` can open."""
        return tuple(grid.spec for grid in GRIDS.values())

    def open_table(
        self, name: str, filter_text: str = "", sort: Sequence[SortKey] = (), *, context_id: str | None = None
    ) -> TableCursor:
        """Rows of a table under a filter and a sort.

        Args:
            name: ``hypotheses``, ``contexts`` or ``pairs``.
            filter_text: see engine/store/filters.py.
            sort: most significant first; empty: the table's own.
            context_id: ``pairs`` only: members of this context.

        Raises:
            StoreError: an unknown table, column or context, or a filter that makes no sense.
        """
        if name not in GRIDS:
            raise StoreError(f"there is no table `{name}`", hint="tables: " + ", ".join(GRIDS))
        context = None
        if context_id is not None:
            context = self._store.value("SELECT context FROM contexts WHERE context_id = ?", [context_id])
            if context is None:
                raise StoreError(f"this index has no context {context_id}")
        selection = Selection(filter_text, tuple(sort), context)
        cursor = TableCursor(self._store, GRIDS[name], selection, self._slots[f"open {name}"])
        self._cursors.add(cursor)
        return cursor

    def filter_values(self, name: str, column: str, part: str = "", limit: int = 200) -> tuple[str, ...]:
        """Values of a column as a filter writes them, quoted where that is needed; none of numbers.

        Args:
            name: of the table.
            column: one of its columns.
            part: what they hold, ignoring case; those that begin so come first.
            limit: values at most.

        Raises:
            StoreError: an unknown table.
        """
        from engine.store.values import values

        if name not in GRIDS:
            raise StoreError(f"there is no table `{name}`", hint="tables: " + ", ".join(GRIDS))
        return values(self._slots["values"].question(), GRIDS[name], column, part, limit)

    def concept(
        self, concept_id: str, context_id: str | None = None, *, is_brief: bool = False
    ) -> "ConceptDetail":
        """A concept with its evidence; a newer call interrupts an older one.

        Args:
            concept_id: its id.
            context_id: dose and top pairs inside this context; None: everywhere.
            is_brief: leave out sources and neighbours; brief calls interrupt brief ones only.
        """
        from engine.store import details

        slot = self._slot("concept", is_brief)
        return details.concept_detail(slot, concept_id, context_id, is_brief=is_brief)

    def latent(self, number: int) -> "LatentDetail":
        """A latent with its own estimates. Raises ``StoreError`` for one that fires nowhere."""
        from engine.store.latents import latent_detail

        return latent_detail(self._slots["known"].question(), number)

    def context(self, context_id: str, *, is_brief: bool = False) -> "ContextDetail":
        """A context with its concepts and examples."""
        from engine.store import details

        return details.context_detail(self._slot("context", is_brief), context_id)

    def pair(self, pair: int, concept_id: str | None = None, *, is_brief: bool = False) -> "PairDetail":
        """A pair; with the peaks of a concept when one is named."""
        from engine.store.pair_detail import pair_detail

        return pair_detail(self._slot("pair", is_brief), pair, concept_id)

    def mix(self, facet: str) -> "Mix":
        """Every concept by ``source``, ``model`` or ``annotator``, and without each of them."""
        from engine.store.scrutiny import mix

        return mix(self._slots["mix"], facet)

    def find(self, what: str, context: str | None = None) -> "PairDetail | ConceptDetail":
        """A concept by id or name, or a pair by id; the beginning suffices where it is unique.

        Args:
            what: what it is called.
            context: likewise the context that a concept is shown in; None: everywhere.

        Raises:
            StoreError: nothing, or more than one thing, is called so; a pair, which is in no context.
        """
        slot = self._slots["known"]
        named = self.hypothesis_named(what)
        if named is not None and context is None:
            return self.concept(*named)
        found = find(slot, what)
        if isinstance(found, str):
            return self.concept(found, None if context is None else find_context(slot, context))
        if context is not None:
            raise StoreError(f"{what!r} is a pair", hint="only a concept is shown inside a context")
        return self.pair(found)

    def hypothesis_named(self, what: str) -> tuple[str, str | None] | None:
        """Concept and context of the hypothesis with this id, as lists copy it; None: there is none."""
        return hypothesis_named(self._slots["known"], what)

    def context_named(self, what: str) -> str:
        """The id of the context with this name, id or start of an id. Raises ``StoreError`` for none."""
        return find_context(self._slots["known"], what)

    def names_beginning(self, kind: str, start: str, limit: int) -> list[tuple[str, str]]:
        """Names of concepts or contexts (``kind``) that begin so, with what they are, strongest first."""
        return names_beginning(self._slots["known"], kind, start, limit)

    def pair_of_number(self, what: str) -> int | None:
        """The pair whose number this text is; None where it is no number, or of no pair."""
        return pair_of_number(self._slots["known"], what)

    def find_pair(self, what: str) -> int:
        """The pair whose number this is, else the one whose id begins so. Raises ``StoreError`` for none."""
        return find_pair(self._slots["known"], what)

    def hypothesis(self, concept_id: str, what: str) -> Target:
        """A concept inside the context that ``what`` names, as something to decide on.

        Raises:
            StoreError: no such context, or nothing was estimated there.
        """
        slot = self._slots["known"]
        context_id = find_context(slot, what)
        ident = find_hypothesis(slot, concept_id, context_id)
        return Target("hypothesis", ident, concept_id, context_id)

    def _slot(self, name: str, is_brief: bool) -> QuerySlot:
        return self._slots[f"{name} brief" if is_brief else name].question()
