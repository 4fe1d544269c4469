"""A virtual grid: any number of rows, fetched by page, drawn by line. It knows no keys and no project."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from engine.views.tables import ColumnKind, ColumnSpec, GridRow, SortKey, TableSpec
from tui.cells import columns_for, plain, row_line, title_line
from tui.format import Glyphs
from tui.lines import to_strip
from tui.rows import PAGE_ROWS
from tui.theme import Palette

if TYPE_CHECKING:
    from textual.timer import Timer

MAX_PAGES = 64
MAX_STRIPS = 1024
AHEAD_S = 0.05


class GridView(Widget):
    """Rows of a table. The owner supplies pages through ``put_page`` when ``PagesWanted`` asks for them."""

    DEFAULT_CSS = "GridView { height: 1fr; width: 1fr; }"
    can_focus = False

    class PagesWanted(Message):
        """Pages that are on screen or next to it and not here yet."""

        def __init__(self, grid: "GridView", pages: list[int]) -> None:
            super().__init__()
            self.grid, self.pages = grid, pages

    class Moved(Message):
        """The cursor stands on another row."""

        def can_replace(self, message: Message) -> bool:
            """Only the last of several moves matters."""
            return isinstance(message, GridView.Moved)

    def __init__(
        self, spec: TableSpec, palette: Palette, glyphs: Glyphs, verdict_of: Callable[[str], str | None]
    ) -> None:
        super().__init__()
        self.spec = spec
        self.palette, self.glyphs, self._verdict_of = palette, glyphs, verdict_of
        self.n_rows = 0
        self.cursor = self.top = self.column = 0
        self.sort: tuple[SortKey, ...] = spec.default_sort
        self._column_name = ""
        self.selected: set[int] = set()
        self.range_start: int | None = None
        self._pages: dict[int, tuple[GridRow, ...]] = {}
        self._stale: set[int] = set()
        self._asked: list[int] = []
        self._drawn: dict[int, str | None] = {}
        self._strips: dict[int, tuple[tuple[int, str, str | None], Strip]] = {}
        self._ahead: Timer | None = None
        self._layout: tuple[int, list[tuple[int, ColumnSpec, int]]] = (-1, [])
        self._has_verdicts = any(c.kind is ColumnKind.VERDICT for c in spec.columns)
        self._target = spec.index("target") if self._has_verdicts else -1

    # -- data -------------------------------------------------------------------------------------------

    def reset(self, n_rows: int, *, cursor: int = 0) -> None:
        """New rows under the grid; what was fetched and selected is forgotten."""
        self.n_rows = n_rows
        self._pages.clear()
        self._stale.clear()
        self._strips.clear()
        self._asked = []
        self.selected.clear()
        self.range_start = None
        self.cursor = min(max(cursor, 0), max(n_rows - 1, 0))
        self._drawn.clear()
        self._clamp_top()
        self.refresh()
        self.want()

    def put_pages(self, pages: dict[int, tuple[GridRow, ...]]) -> None:
        """Pages arrived."""
        here = self.cursor // PAGE_ROWS
        had_current = here in self._pages and here not in self._stale
        self._pages.update(pages)
        self._stale -= pages.keys()
        for row in [row for row in self._strips if row // PAGE_ROWS in pages]:
            del self._strips[row]
        while len(self._pages) > MAX_PAGES:
            del self._pages[max(self._pages, key=lambda p: abs(p - here))]
        self._stale &= self._pages.keys()
        first, last = self.top // PAGE_ROWS, (self.top + self.body_height) // PAGE_ROWS
        if any(first <= p <= last for p in pages):
            self.refresh()
        if here in pages and not had_current:
            self.post_message(self.Moved())
        self._asked = []
        self.want()

    def fetch_again(self) -> None:
        """What was fetched is out of date: it stays, page by page, until its successor is here."""
        self._stale = set(self._pages)
        self._asked = []
        self.want()

    def want(self) -> None:
        """Ask for pages on screen that are missing; when none is, for one beyond either edge."""
        if not self.n_rows:
            return
        last_page = (self.n_rows - 1) // PAGE_ROWS
        first = self.top // PAGE_ROWS
        last = min((self.top + self.body_height) // PAGE_ROWS, last_page)
        fresh = self._pages.keys() - self._stale
        missing = [p for p in range(first, last + 1) if p not in fresh]
        missing = missing or [p for p in (last + 1, first - 1) if 0 <= p <= last_page and p not in fresh]
        if missing and missing != self._asked:
            self._asked = missing
            self.post_message(self.PagesWanted(self, missing))

    def row(self, number: int) -> GridRow | None:
        """A row, None while it is under way."""
        page = self._pages.get(number // PAGE_ROWS)
        at = number % PAGE_ROWS
        return page[at] if page is not None and at < len(page) else None

    def row_of(self, *targets: str) -> int | None:
        """The first loaded row about one of these targets."""
        if not self._has_verdicts:
            return None
        sought = frozenset(targets)
        return next(
            (
                page * PAGE_ROWS + at
                for page in sorted(self._pages)
                for at, row in enumerate(self._pages[page])
                if row.values[self._target] in sought
            ),
            None,
        )

    @property
    def current(self) -> GridRow | None:
        """The row under the cursor."""
        return self.row(self.cursor) if self.n_rows else None

    # -- moving -----------------------------------------------------------------------------------------

    @property
    def body_height(self) -> int:
        """Rows on screen."""
        return max(self.size.height - 1, 1)

    def move_to(self, row: int) -> None:
        """Put the cursor on a row and keep it on screen."""
        row = min(max(row, 0), max(self.n_rows - 1, 0))
        if row == self.cursor:
            return
        old, self.cursor = self.cursor, row
        old_top = self.top
        self._clamp_top()
        if self.top != old_top or self.range_start is not None:
            self.refresh()
        else:
            self.refresh_rows(old, row)
        self.want()
        self.post_message(self.Moved())

    def _clamp_top(self) -> None:
        height = self.body_height
        if self.cursor < self.top:
            self.top = self.cursor if self.top - self.cursor < height else self.cursor - height // 2
        elif self.cursor >= self.top + height:
            far = self.cursor - self.top >= 2 * height
            self.top = self.cursor - height // 2 if far else self.cursor - height + 1
        self.top = min(max(self.top, 0), max(self.n_rows - height, 0))

    def scroll_rows(self, by: int) -> None:
        """Move the view with the cursor in it, as half and whole pages do."""
        self.top = min(max(self.top + by, 0), max(self.n_rows - self.body_height, 0))
        self.cursor = min(max(self.cursor + by, 0), max(self.n_rows - 1, 0))
        self._clamp_top()
        self.refresh()
        self.want()
        self.post_message(self.Moved())
        self._draw_soon(self.body_height if by > 0 else -self.body_height)

    def scroll_view(self, by: int) -> None:
        """Move the view; the cursor stays on its row as long as that is on screen."""
        top = min(max(self.top + by, 0), max(self.n_rows - self.body_height, 0))
        if top == self.top:
            return
        self.top = top
        self.refresh()
        self.want()
        inside = min(max(self.cursor, top), min(top + self.body_height, self.n_rows) - 1)
        if inside != self.cursor:
            self.cursor = inside
            self.post_message(self.Moved())

    def move_on_screen(self, place: int | None) -> None:
        """Put the cursor on a row of the screen.

        Args:
            place: from the first row on, negative from the last one on; None: the middle.
        """
        shown = min(self.body_height, self.n_rows - self.top)
        if place is None:
            place = (shown - 1) // 2
        elif place < 0:
            place = max(shown + place, 0)
        self.move_to(self.top + min(place, shown - 1))

    def _draw_soon(self, by: int) -> None:
        """Leave time first for this screen to be written, which another thread does."""
        if self._ahead is not None:
            self._ahead.stop()
        self._ahead = self.set_timer(AHEAD_S, partial(self._draw_ahead, by))

    def _draw_ahead(self, by: int) -> None:
        """Prepare the lines that the same key would show next, while nobody waits for them."""
        for number in range(max(self.top + by, 0), min(self.top + by + self.body_height, self.n_rows)):
            row = self.row(number)
            if row is not None and number not in self._strips:
                self._row_strip(number, row, self.size.width)

    def refresh_rows(self, *rows: int) -> None:
        """Draw some rows again."""
        for row in set(rows):
            y = row - self.top + 1
            if 1 <= y < self.size.height:
                self.refresh(Region(0, y, self.size.width, 1))

    def refresh_verdicts(self) -> None:
        """Draw rows again whose verdict is not the one they were drawn with."""
        for number, drawn in list(self._drawn.items()):
            row = self.row(number)
            if row is not None and self._verdict_of(str(row.values[self._target])) != drawn:
                self.refresh_rows(number)

    def move_column(self, by: int) -> None:
        """Choose another visible column."""
        self.column = min(max(self.chosen_place + by, 0), max(len(self.columns()) - 1, 0))
        self._column_name = self.columns()[self.column][1].name
        self.refresh(Region(0, 0, self.size.width, 1))

    @property
    def chosen_column(self) -> ColumnSpec:
        """The column that sort and facets act on."""
        return self.columns()[self.chosen_place][1]

    @property
    def chosen_place(self) -> int:
        """Its place among the visible ones: with more or fewer of them it stays the same column."""
        names = [column.name for _, column, _ in self.columns()]
        if self._column_name in names:
            return names.index(self._column_name)
        return min(self.column, len(names) - 1)

    # -- selecting --------------------------------------------------------------------------------------

    def toggle_select(self, row: int) -> None:
        """Select a row or let it go."""
        self.selected.symmetric_difference_update({row})
        self.refresh_rows(row)

    def selection(self) -> list[int]:
        """Selected rows, an open range included."""
        rows = set(self.selected)
        if self.range_start is not None:
            rows.update(range(min(self.range_start, self.cursor), max(self.range_start, self.cursor) + 1))
        return sorted(rows)

    def clear_selection(self) -> None:
        """Nothing is selected."""
        if self.selected or self.range_start is not None:
            self.selected.clear()
            self.range_start = None
            self.refresh()

    def _is_selected(self, row: int) -> bool:
        if row in self.selected:
            return True
        start = self.range_start
        return start is not None and min(start, self.cursor) <= row <= max(start, self.cursor)

    # -- drawing ----------------------------------------------------------------------------------------

    def columns(self) -> list[tuple[int, ColumnSpec, int]]:
        """(index in values, spec, width) of what fits, in order."""
        width = self.size.width
        if self._layout[0] != width:
            self._layout = (width, columns_for(self.spec, max(width - 2, 1)))
        return self._layout[1]

    def on_resize(self, _event: events.Resize) -> None:
        """Another height shows other rows."""
        self._clamp_top()
        self.want()

    def on_mouse_scroll_down(self, _event: events.MouseScrollDown) -> None:
        """The wheel moves the view."""
        self.scroll_rows(3)

    def on_mouse_scroll_up(self, _event: events.MouseScrollUp) -> None:
        """The wheel moves the view."""
        self.scroll_rows(-3)

    def on_click(self, event: events.Click) -> None:
        """A click puts the cursor there."""
        if event.y >= 1 and self.top + event.y - 1 < self.n_rows:
            self.move_to(self.top + event.y - 1)

    def render_line(self, y: int) -> Strip:
        """Title line, then rows."""
        width = self.size.width
        if y == 0:
            line = title_line(self.columns(), self.sort, self.chosen_place, self.glyphs)
            return to_strip(line, width, self.palette)
        number = self.top + y - 1
        if number >= self.n_rows:
            return Strip([*to_strip((), width, self.palette)], width)
        row = self.row(number)
        if row is None:
            line = ((self._mark(number), "dim"), (self.glyphs.more, "dim"))
            return to_strip(line, width, self.palette, flat="cursor" if number == self.cursor else None)
        return self._row_strip(number, row, width)

    def _mark(self, number: int) -> str:
        mark = self.glyphs.cursor if number == self.cursor else " "
        return mark + (self.glyphs.selected if self._is_selected(number) else " ")

    def _row_strip(self, number: int, row: GridRow, width: int) -> Strip:
        """A row as it stands; drawn once for as long as nothing about it changes."""
        mark, verdict = self._mark(number), None
        if self._has_verdicts:
            verdict = self._verdict_of(str(row.values[self._target]))
            self._drawn[number] = verdict
        looks = (width, mark, verdict)
        held = self._strips.get(number)
        if held is not None and held[0] == looks:
            return held[1]
        line = row_line(row, self.columns(), mark, verdict, self.glyphs)
        strip = to_strip(line, width, self.palette, flat="cursor" if number == self.cursor else None)
        if len(self._strips) >= MAX_STRIPS:
            self._strips.clear()
        self._strips[number] = (looks, strip)
        return strip

    def cell_text(self, row: GridRow, column: ColumnSpec) -> str:
        """A cell's value as plain text, for copying; of a verdict what holds now."""
        if column.kind is ColumnKind.VERDICT:
            return (self._verdict_of(str(row.values[self._target])) or "").rstrip("…~'")
        return plain(row.values[self.spec.index(column.name)], column)
