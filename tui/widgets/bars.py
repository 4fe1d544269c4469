"""Widgets of one line: the status at the top, and hints, messages and typing at the bottom."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.lines import Line, Span, fold_line, shown, to_strip, width_of
from tui.theme import Palette


class LineBar(Widget):
    """One line that is drawn again only when it changes; a message that is longer may take a few."""

    DEFAULT_CSS = "LineBar { height: 1; width: 1fr; }"
    can_focus = False

    def __init__(self, palette: Palette, role: str = "text", *, ident: str | None = None) -> None:
        super().__init__(id=ident)
        self.palette, self._role = palette, role
        self._line: Line = ()
        self._rows: list[Line] = [()]
        self._max_rows = 1

    def set_line(self, line: Line, *, max_rows: int = 1) -> None:
        """Show a line; only the cells from the first change on are drawn again.

        Args:
            line: what to show.
            max_rows: as many rows as it may take where it is longer than one; what they cannot hold is cut.
        """
        if line == self._line and max_rows == self._max_rows:
            return
        old, self._line, self._max_rows = self._line, line, max_rows
        if not self._lay_out() and len(self._rows) == 1:
            same = 0
            while same < min(len(old), len(line)) and old[same] == line[same]:
                same += 1
            start = width_of(line[:same])
            end = min(max(width_of(old), width_of(line)), self.size.width)
            self.refresh(Region(start, 0, max(end - start, 1), 1))

    def _lay_out(self) -> bool:
        """Fold the line; True when everything is drawn again."""
        n_before, width = len(self._rows), self.size.width
        self._rows = [self._line]
        if self._max_rows > 1 and width and width_of(self._line) > width:
            rows = fold_line(self._line, width)
            kept, rest = rows[: self._max_rows - 1], rows[self._max_rows - 1 :]
            last = tuple(span for row in rest for span in (*row, (" ", self._role)))
            self._rows = [*kept, last] if rest else kept
        if len(self._rows) != n_before:
            self.styles.height = len(self._rows)
        if len(self._rows) > 1 or n_before > 1:
            self.refresh(layout=len(self._rows) != n_before)
            return True
        return False

    def on_resize(self, _event: events.Resize) -> None:
        """Another width holds more or less of the line."""
        self._lay_out()

    def render_line(self, y: int) -> Strip:
        """The line, padded in the bar's role."""
        row = self._rows[y] if y < len(self._rows) else ()
        return to_strip(row, self.size.width, self.palette, fill=self._role)


ROOM = 16
"""Cells of a line that a question leaves at least to what is typed."""


@dataclass(slots=True)
class Typing:
    """A line being typed. Pure: keys in, text and cursor out."""

    label: str
    text: str = ""
    cursor: int = 0
    history: Sequence[str] = ()
    complete: Callable[[str], str | None] | None = None
    hint: Callable[[str], str] | None = None
    """Shown after the text while the cursor is at its end."""
    _at: int = field(default=-1)
    _draft: str = field(default="")

    def __post_init__(self) -> None:
        self.cursor = len(self.text)

    def restart(self, label: str) -> None:
        """Another question, with nothing typed yet."""
        self.label, self.text, self.cursor = label, "", 0

    def insert(self, text: str) -> None:
        """Put text at the cursor; line ends become spaces."""
        text = " ".join(text.splitlines()) if "\n" in text or "\r" in text else text
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)

    def key(self, key: str, character: str | None) -> bool:
        """Take an editing key; False when the key means nothing to a line of text."""
        if key in {"backspace", "ctrl+h"}:
            self.text = self.text[: max(self.cursor - 1, 0)] + self.text[self.cursor :]
            self.cursor = max(self.cursor - 1, 0)
        elif key == "delete":
            self.text = self.text[: self.cursor] + self.text[self.cursor + 1 :]
        elif key == "ctrl+w":
            head = self.text[: self.cursor].rstrip()
            cut = head.rfind(" ") + 1
            self.text, self.cursor = head[:cut] + self.text[self.cursor :], cut
        elif key == "ctrl+u":
            self.text, self.cursor = self.text[self.cursor :], 0
        elif key == "ctrl+k":
            self.text = self.text[: self.cursor]
        elif key in {"left", "right", "home", "end", "ctrl+a", "ctrl+e"}:
            self._move(key)
        elif key in {"up", "down", "ctrl+p", "ctrl+n"}:
            self._recall(-1 if key in {"up", "ctrl+p"} else 1)
        elif key == "tab" and self.complete is not None:
            completed = self.complete(self.text)
            if completed is not None:
                self.text, self.cursor = completed, len(completed)
        elif character is not None and character.isprintable():
            self.insert(character)
        else:
            return False
        return True

    def _move(self, key: str) -> None:
        places = {"left": self.cursor - 1, "right": self.cursor + 1, "home": 0, "ctrl+a": 0}
        self.cursor = min(max(places.get(key, len(self.text)), 0), len(self.text))

    def _recall(self, by: int) -> None:
        if not self.history:
            return
        if self._at < 0:
            self._draft, self._at = self.text, len(self.history)
        self._at = min(max(self._at + by, 0), len(self.history))
        self.text = self._draft if self._at == len(self.history) else self.history[self._at]
        self.cursor = len(self.text)

    def is_wordy(self, width: int) -> bool:
        """The question leaves too little of a line to see what is typed: both are shown on several."""
        return cell_len(self.label) > width - ROOM

    def line(self, width: int) -> Line:
        """What to show, scrolled so that the cursor is in sight."""
        room = width if self.is_wordy(width) else max(width - cell_len(self.label) - 1, 4)
        before = self.text[max(self.cursor - 2 * room, 0) : self.cursor]  # a pasted text may be long
        at = shown(self.text[self.cursor : self.cursor + 1]) or " "
        while cell_len(shown(before)) >= room:
            before = before[1:]
        rest: Span = (shown(self.text[self.cursor + 1 : self.cursor + 1 + width]), "text")
        if self.hint is not None and self.cursor == len(self.text):
            rest = ("  " + self.hint(self.text), "dim")
        return ((self.label, "key"), (before, "text"), (at, "cursor"), rest)
