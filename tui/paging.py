"""Actions of pages: stops, sections, searching, and going on to the next record without leaving the page."""

from engine.views.details import ConceptDetail
from tui.moving import Moving
from tui.places import Place
from tui.views.moves import StatementLine
from tui.views.top_pairs import More


class Paging(Moving):
    """Actions that move on a page."""

    _last_search: str = ""

    def do_page_next(self, count: int | None = None) -> None:
        """Next stop."""
        self.desk.page.step(count or 1)

    def do_page_previous(self, count: int | None = None) -> None:
        """Previous stop."""
        self.desk.page.step(-(count or 1))

    def do_page_first(self) -> None:
        """Top."""
        self.desk.page.to_edge(is_end=False)

    def do_page_last(self) -> None:
        """Bottom."""
        self.desk.page.to_edge(is_end=True)

    def do_scroll_half_down(self) -> None:
        """Half a screen down."""
        self.desk.page.scroll_lines(self.desk.page.size.height // 2)

    def do_scroll_half_up(self) -> None:
        """Half a screen up."""
        self.desk.page.scroll_lines(-(self.desk.page.size.height // 2))

    def do_scroll_down(self) -> None:
        """A screen down."""
        self.desk.page.scroll_lines(self.desk.page.size.height - 1)

    def do_scroll_up(self) -> None:
        """A screen up."""
        self.desk.page.scroll_lines(1 - self.desk.page.size.height)

    def do_scroll_line_down(self, count: int | None = None) -> None:
        """A line down."""
        self.desk.page.scroll_lines(count or 1)

    def do_scroll_line_up(self, count: int | None = None) -> None:
        """A line up."""
        self.desk.page.scroll_lines(-(count or 1))

    def do_section_next(self) -> None:
        """Next section."""
        self.desk.page.to_heading(1)

    def do_section_previous(self) -> None:
        """Previous section."""
        self.desk.page.to_heading(-1)

    def do_open_item(self) -> None:
        """Open what the cursor is on; show the rest of a section."""
        from tui.views.jobs import ShapedItem

        item = self.desk.page.item if self.desk.page.is_cursor_seen else None
        if isinstance(item, Place):
            self.desk.beside = self._siblings(item)
            self.desk.go(item)
        elif isinstance(item, StatementLine):
            self.desk.doing.open_statement(item.line)
        elif isinstance(item, More):
            self.desk.expanded = self.desk.expanded ^ {item.section}
            self.desk.draw_page(keep_place=True)
        elif isinstance(item, ShapedItem):
            command = Place("shaped", item.ident).shell(self.desk.root)
            self.desk.say(f"T trains on it; for another trainer (y s copies this): {command}", "key")
        elif item is None:
            self.desk.page.step(1)  # nothing is chosen yet: go to the next thing that can be opened

    def _siblings(self, place: Place) -> tuple[Place, ...]:
        """What stands beside a place on the page that is left: the list through which J and K go."""
        detail = self.desk.detail
        if isinstance(detail, ConceptDetail) and place.view == "pair":
            return tuple(Place("pair", str(p.pair), detail.concept_id) for p in detail.top_pairs)
        items = (line.item for line in self.desk.page.lines)
        return tuple(i for i in items if isinstance(i, Place) and i.view == place.view)

    def place_among(self) -> int | None:
        """Which of the places beside each other is shown; None: one from the list."""
        here = (self.desk.place.view, self.desk.place.ident)
        return next((n for n, p in enumerate(self.desk.beside) if (p.view, p.ident) == here), None)

    def do_record_next(self, count: int | None = None) -> None:
        """Next record of the list."""
        self._record(count or 1)

    def do_record_previous(self, count: int | None = None) -> None:
        """Previous record of the list."""
        self._record(-(count or 1))

    def _record(self, by: int) -> None:
        among = self.place_among()
        if among is not None:
            at = among + by
            if 0 <= at < len(self.desk.beside):
                self.desk.show(self.desk.beside[at])
            else:
                self.desk.say("no further one on the page that this came from")
            return
        before = self.grid.cursor
        self.grid.move_to(before + by)
        if self.grid.cursor == before and self.grid.n_rows:
            self.desk.say(f"this is the {'last' if by > 0 else 'first'} record of the list")
            return
        place = self.row_place()
        if place is not None and place != self.desk.place:
            self.desk.show(place)

    def do_search(self, argument: str | None = None) -> None:
        """Search the page."""

        def done(text: str) -> None:
            self._last_search = text
            self.do_search_next()

        if argument is not None:
            done(argument)
        else:
            self.ask_line("search", "/", done)

    def do_search_next(self) -> None:
        """Next match."""
        self._search(1)

    def do_search_previous(self) -> None:
        """Previous match."""
        self._search(-1)

    def _search(self, step: int) -> None:
        if not self._last_search:
            self.desk.say("/ searches first", "warn")
            return
        at, n = self.desk.page.search(self._last_search, step)
        if not n:
            self.desk.say(f"{self._last_search!r} is not on this page", "warn")
        else:
            self.desk.say(f"match {at:,} of {n:,}", "dim")
