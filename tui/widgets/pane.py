"""A scrolling page of styled lines with places where a cursor stops. It knows no keys and no project."""

from collections.abc import Sequence
from typing import NamedTuple

from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui.format import Glyphs
from tui.lines import PaneLine, shown, to_strip
from tui.theme import Palette


class Spot(NamedTuple):
    """Where a person is on a page."""

    item: object | None
    """What the cursor is on."""
    line: int
    top: int


EDGES = 3
"""Lines of a screen that no pane has: the bar at the top, the place, and the keys at the bottom."""


class TextPane(Widget):
    """Lines with a cursor on those that carry an item; without items it only scrolls."""

    class Moved(Message):
        """The cursor stands on another line, or other lines are in view."""

        def can_replace(self, message: Message) -> bool:
            """Only the last of several moves matters."""
            return isinstance(message, TextPane.Moved)

    DEFAULT_CSS = "TextPane { height: 1fr; width: 1fr; }"
    can_focus = False

    def __init__(
        self, palette: Palette, glyphs: Glyphs, *, ident: str | None = None, is_framed: bool = False
    ) -> None:
        super().__init__(id=ident)
        self.palette, self.glyphs = palette, glyphs
        self.lines: list[PaneLine] = []
        self._top = 0
        self.cursor = -1
        self.matched = -1
        self.is_framed = is_framed
        self.way_to_rest = ""
        """How to see what does not fit, of a pane that no key scrolls; empty: this one is scrolled."""

    @property
    def top(self) -> int:
        """The first line in view."""
        return self._top

    @top.setter
    def top(self, line: int) -> None:
        if line != self._top:
            self._top = line
            if self.is_attached:
                self.post_message(self.Moved())

    def set_lines(self, lines: Sequence[PaneLine], *, keep_place: bool = False) -> None:
        """Show other lines; lines that stay as they were are not drawn again when the place is kept."""
        old, before = self.lines, self._look(self.lines)
        self.lines = list(lines)
        if keep_place:
            self.top = min(self.top, max(len(self.lines) - self.size.height, 0))
            self._follow(old[self.cursor].item if 0 <= self.cursor < len(old) else None)
            if not (0 <= self.cursor < len(self.lines) and self.lines[self.cursor].item is not None):
                self.cursor = self._stop(-1, 1)
                if not self.is_cursor_seen:
                    self.cursor = -1
            self._refresh_changed(before)
            return
        self.top, self.matched = 0, -1
        self.cursor = self._stop(-1, 1)
        if not self.is_cursor_seen:  # enter must not open what nobody sees
            self.cursor = -1
        self._refresh_changed(before)

    def _follow(self, item: object | None) -> None:
        """Keep the cursor on what it was on when lines came or went above it."""
        if item is None or self.item == item:
            return
        at = next((i for i, line in enumerate(self.lines) if line.item == item), None)
        if at is not None:
            self.cursor = at

    def _look(self, lines: Sequence[PaneLine]) -> list[tuple[PaneLine | None, bool, bool]]:
        """What stands on each row of the screen, and how it is marked."""
        return [
            (lines[at] if at < len(lines) else None, at == self.cursor, at == self.matched)
            for at in range(self.top, self.top + self.size.height)
        ]

    def _refresh_changed(self, before: Sequence[tuple[PaneLine | None, bool, bool]]) -> None:
        for y, (was, now) in enumerate(zip(before, self._look(self.lines), strict=True)):
            if was != now:
                self.refresh(Region(0, y, self.size.width, 1))

    @property
    def spot(self) -> Spot:
        """Where a person is on the page."""
        return Spot(self.item, self.cursor, self.top)

    def return_to(self, spot: Spot) -> None:
        """Go where a person was, or as near as the lines allow that are here now."""
        self.cursor = spot.line if spot.line < len(self.lines) else -1
        self._follow(spot.item)
        if self.item is None:
            self.cursor = self._stop(-1, 1)
        self.top = min(spot.top, max(len(self.lines) - self.size.height, 0))
        height = max(self.size.height, 1)
        if spot.item is not None and not self.top <= self.cursor < self.top + height:
            self.top = max(self.cursor - height // 2, 0)
        self.refresh()

    @property
    def width(self) -> int:
        """Cells for text."""
        return max(self.size.width - (2 if self.is_framed else 1), 1)

    @property
    def item(self) -> object | None:
        """What the cursor is on."""
        return self.lines[self.cursor].item if 0 <= self.cursor < len(self.lines) else None

    @property
    def is_cursor_seen(self) -> bool:
        """The cursor's line is in view."""
        height = self.size.height or max(self.app.size.height - EDGES, 1)  # before it is laid out
        return self.top <= self.cursor < self.top + height

    def _stop(self, start: int, step: int) -> int:
        at = start + step
        while 0 <= at < len(self.lines):
            if self.lines[at].item is not None:
                return at
            at += step
        return -1

    def step(self, by: int) -> None:
        """Next or previous stop; scrolls where there is none within a screen."""
        direction = 1 if by > 0 else -1
        for _ in range(abs(by)):
            height = max(self.size.height, 1)
            base = self.cursor if self.top <= self.cursor < self.top + height else self.top - 1
            if direction < 0 and base == self.top - 1:
                base = self.top + height
            stop = self._stop(base, direction)
            if stop < 0 or not self.top - height // 2 <= stop < self.top + height + height // 2:
                self.scroll_lines(direction)
                continue
            self.go(stop)

    def go(self, line: int) -> None:
        """Put the cursor on a line that carries an item."""
        old, self.cursor = self.cursor, line
        self.post_message(self.Moved())
        top = self.top
        height = max(self.size.height, 1)
        if line < self.top:
            self.top = max(line - 1, 0)
        elif line >= self.top + height:
            self.top = line - height + 1
        if self.top != top:
            self.refresh()
        else:
            for at in (old, line):
                if 0 <= at - self.top < height:
                    self.refresh(Region(0, at - self.top, self.size.width, 1))

    def scroll_lines(self, by: int) -> None:
        """Move the view."""
        top = min(max(self.top + by, 0), max(len(self.lines) - self.size.height, 0))
        if top != self.top:
            self.top = top
            self._take_along(by)
            self.refresh()

    def _take_along(self, by: int) -> None:
        """Keep the cursor among the lines in view where one of them has a stop: keys act on what is seen."""
        if self.cursor < 0 or self.is_cursor_seen:
            return
        stop = self._stop(self.top - 1, 1) if by > 0 else self._stop(self.top + self.size.height, -1)
        if self.top <= stop < self.top + self.size.height:
            self.cursor = stop

    def to_edge(self, *, is_end: bool) -> None:
        """Top or bottom, with the cursor on the nearest stop."""
        self.top = max(len(self.lines) - self.size.height, 0) if is_end else 0
        stop = self._stop(len(self.lines), -1) if is_end else self._stop(-1, 1)
        self.cursor = stop if self.top <= stop < self.top + max(self.size.height, 1) else -1
        self.refresh()

    def to_heading(self, step: int) -> None:
        """The next or previous section's title to the top, the cursor on its first stop."""
        lines = [i for i, line in enumerate(self.lines) if line.is_heading]
        seen = range(self.top, self.top + max(self.size.height, 1))
        here = max((i for i in (self.cursor, self.matched) if i in seen), default=self.top)
        current = max((i for i in lines if i <= here), default=-1)
        found = [i for i in lines if (i > here if step > 0 else i < current)]
        if not found:
            self.to_edge(is_end=step > 0)
            return
        at = found[0] if step > 0 else found[-1]
        self.top = min(at, max(len(self.lines) - self.size.height, 0))
        stop = self._stop(at, 1)
        following = next((i for i in lines if i > at), len(self.lines))
        self.cursor, self.matched = (stop if 0 <= stop < following else -1), at
        self.post_message(self.Moved())
        self.refresh()

    def search(self, text: str, direction: int) -> tuple[int, int]:
        """Go to the next line that holds the text, ignoring case, with the cursor where it can be opened.

        Returns:
            which of the matching lines that is, from 1, and how many there are; 0 and 0 without any.
        """
        needle = text.casefold()
        found = [
            at
            for at, line in enumerate(self.lines)
            if needle in "".join(shown(t) for t, _ in line.spans).casefold()
        ]
        if not found:
            return 0, 0
        start = self.matched if self.matched >= 0 else self.top - 1
        following = [at for at in found if (at > start if direction > 0 else at < start)]
        at = (following or found)[0 if direction > 0 else -1]
        self.matched = at
        if self.lines[at].item is not None:
            self.cursor = at
            self.post_message(self.Moved())
        if not self.top <= at < self.top + self.size.height:
            last = max(len(self.lines) - self.size.height, 0)
            self.top = min(max(at - self.size.height // 3, 0), last)
        self.refresh()
        return found.index(at) + 1, len(found)

    def plain_text(self) -> str:
        """The whole page without styles."""
        return "\n".join("".join(shown(t) for t, _ in line.spans).rstrip() for line in self.lines)

    def on_mouse_scroll_down(self, _event: events.MouseScrollDown) -> None:
        """The wheel scrolls."""
        self.scroll_lines(3)

    def on_mouse_scroll_up(self, _event: events.MouseScrollUp) -> None:
        """The wheel scrolls."""
        self.scroll_lines(-3)

    def render_line(self, y: int) -> Strip:
        """A gutter of one cell (two with a frame), then the line."""
        at = self.top + y
        frame = self.glyphs.column if self.is_framed else ""
        if at >= len(self.lines):
            return to_strip(((frame, "dim"),), self.size.width, self.palette)
        line = self.lines[at]
        n_below = len(self.lines) - at
        if self.way_to_rest and y == self.size.height - 1 and n_below > 1:
            line = PaneLine(((f"{self.glyphs.more} {n_below:,} more lines: {self.way_to_rest}", "key"),))
        is_cursor = at == self.cursor
        gutter = self.glyphs.cursor if is_cursor else " "
        flat = "cursor" if is_cursor else "mark" if at == self.matched else None
        return to_strip(
            ((frame, "dim"), (gutter, "selected"), *line.spans), self.size.width, self.palette, flat=flat
        )
