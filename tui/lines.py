"""Styled text of one line, and the choke point through which all of it reaches the terminal.

A line is a tuple of (text, role). Markup is never parsed. ``to_strip`` sanitises every span, cuts or pads to
the width in cells and gives every segment a style (a segment without one crashes under NO_COLOR).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from operator import itemgetter

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from engine.safe_text import sanitise
from tui.folding import cells, fold
from tui.theme import Palette

Span = tuple[str, str]
Line = tuple[Span, ...]

# The joiner and the presentation selectors of emoji: terminals disagree about the width of what they join, so
# emoji are shown unjoined. Anywhere else they can hide a word from a search and are shown as tokens.
_AFTER_PICTURE = re.compile("(?<=[\u2190-\u2bff\u3030\U0001f000-\U0001faff\ufe0f])[\u200d\ufe0e\ufe0f]")
JOINERS = "\u200d\ufe0e\ufe0f"
_JOINERS = re.compile(f"[{JOINERS}]")


_ASCII = str.maketrans("·–−≠␣«»…→×½¼¾⏎≤≥∞", ".--#_<>~>x=<>/<>8")
"""Signs of one cell that stand in texts of ours, and what ASCII has for them."""


@dataclass(frozen=True, slots=True)
class PaneLine:
    """A line of a text pane; ``item`` makes it a place where the cursor stops."""

    spans: Line
    item: object | None = None
    is_heading: bool = False
    """The title of a section."""


def shown(text: str) -> str:
    """Text as it may be shown on one line."""
    if text.isascii() and text.isprintable():
        return text
    text = sanitise(text).replace("\n", " ")
    if _JOINERS.search(text):
        text = _JOINERS.sub(lambda m: f"<U+{ord(m.group()):04X}>", _AFTER_PICTURE.sub("", text))
    return text


def fit(text: str, width: int, *, right: bool = False, more: str = "…") -> str:
    """Safe text in exactly ``width`` cells; ``more`` marks a cut."""
    text = shown(text)
    if width <= 0:
        return ""
    size = cells(text)
    if size > width:
        return set_cell_size(text, width - 1) + more
    return " " * (width - size) + text if right else text + " " * (width - size)


def width_of(line: Iterable[Span]) -> int:
    """Cells of a line."""
    return sum(cells(shown(text)) for text, _ in line)


def to_strip(
    line: Sequence[Span], width: int, palette: Palette, *, fill: str = "text", flat: str | None = None
) -> Strip:
    """A strip of exactly ``width`` cells.

    Args:
        line: spans; text beyond the width is cut, which the last cell says.
        width: cells.
        palette: styles of the roles.
        fill: role of the padding.
        flat: one role for everything, as on the cursor's line (one segment: fewest bytes).
    """
    parts: list[tuple[str, Style]] = []
    left = width
    flat_style = palette.style(flat) if flat else None
    for n, (text, role) in enumerate(line):
        if left <= 0:
            if parts and any(rest.strip() for rest, _ in line[n:]):
                last, style = parts[-1]
                parts[-1] = (_cut(last, cells(last) - 1) + _mark(palette), style)
            break
        safe = shown(text)
        size = cells(safe)
        if palette.is_ascii and not safe.isascii():
            safe = safe.translate(_ASCII)
        if size > left:
            is_blank = not safe.rstrip()
            safe, size = (" " * left if is_blank else _cut(safe, left - 1) + _mark(palette)), left
        if safe:
            parts.append((safe, flat_style or palette.style(role)))
            left -= size
    if left > 0:
        parts.append((" " * left, flat_style or palette.style(fill)))
    return Strip(_joined(parts), width)


def _mark(palette: Palette) -> str:
    return "~" if palette.is_ascii else "…"


def _cut(text: str, width: int) -> str:
    return set_cell_size(text, width) if width > 0 else ""


def _joined(parts: Sequence[tuple[str, Style]]) -> list[Segment]:
    """Segments, neighbours of one style as one: the palette has one object for each style it draws with."""
    segments: list[Segment] = []
    texts: list[str] = []
    last: Style | None = None
    for text, style in parts:
        if style is not last and last is not None:
            segments.append(Segment("".join(texts), last))
            texts = []
        texts.append(text)
        last = style
    if last is not None:
        segments.append(Segment("".join(texts), last))
    return segments


def fold_line(spans: Iterable[Span], width: int) -> list[Line]:
    """A long line as lines: where they end is a matter of the text alone, the roles are cut to it."""
    runs = [("".join(text for text, _ in run), role) for role, run in groupby(spans, key=itemgetter(1))]
    parts = [(shown(text), role) for text, role in runs]
    ends = list(accumulate(len(text) for text, _ in parts))
    lines: list[Line] = []
    part = 0
    for start, end in fold("".join(text for text, _ in parts), width):
        line: list[Span] = []
        at = start
        while at < end:
            while ends[part] <= at:
                part += 1
            text, role = parts[part]
            first = ends[part] - len(text)
            stop = min(end, ends[part])
            line.append((text[at - first : stop - first], role))
            at = stop
        lines.append(tuple(line))
    return lines


def wrap(text: str, width: int, role: str = "text", *, indent: str = "") -> list[Line]:
    """Safe text folded at spaces to lines of at most ``width`` cells; its own newlines are kept."""
    return [((indent + part, role),) for part in wrapped(text, width - len(indent))]


def wrap_plain(text: str, width: int) -> list[str]:
    """The same without roles; a word longer than a line is broken."""
    return list(wrapped(text, width))


def wrapped(text: str, width: int) -> Iterator[str]:
    """The same line by line, as far as somebody asks."""
    for paragraph in sanitise(text).split("\n"):
        safe = shown(paragraph)
        for start, end in fold(safe, width):
            yield safe[start:end]
