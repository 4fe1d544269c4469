"""Cells of a grid: which columns fit, and what each looks like. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from engine.safe_text import one_line
from engine.views.tables import ColumnKind as K
from engine.views.tables import ColumnSpec, GridRow, SortKey, TableSpec
from tui import format as fmt
from tui.format import Glyphs
from tui.lines import Line, Span, fit


class Room(NamedTuple):
    """How wide columns are that can be drawn narrower than their specification says."""

    flexible: int
    """Cells that the column which takes the rest needs before further columns are shown."""
    bar: int
    badge: int
    context: int

    def need(self, column: ColumnSpec) -> int:
        """Cells of a column."""
        if not column.width:
            return self.flexible
        own = {"badge": self.badge, "context": self.context}.get(column.name, column.width)
        return min(column.width, self.bar if column.kind is K.INTERVAL else own)


ROOMS = (
    Room(24, 19, 8, 12), Room(22, 15, 8, 12), Room(20, 11, 8, 12), Room(18, 11, 4, 12), Room(16, 11, 4, 9),
)  # fmt: skip
"""From wide to narrow."""
ESSENTIAL = 4
"""Columns up to this rank are made narrower before one of them is left out."""

Placed = tuple[int, ColumnSpec, int]


def columns_for(spec: TableSpec, width: int) -> list[Placed]:
    """Columns by rank as long as they fit, in the table's order, the flexible one taking what is left.

    Where not all essential ones fit as they are, they become narrower, and no others are shown. Names are
    not cut below 18 cells for the last of them.
    """
    ranked = sorted((c.rank, i, c) for i, c in enumerate(spec.columns) if c.rank > 0)
    n_essential = sum(1 for rank, _, _ in ranked if rank <= ESSENTIAL)
    n_before = sum(1 for rank, _, _ in ranked if rank < ESSENTIAL)
    can_shrink = any(c.kind is K.INTERVAL for c in spec.columns)
    for room in ROOMS if can_shrink else ROOMS[1:2]:
        chosen = _fitting(ranked, room, width)
        if len(chosen) >= (n_before + 1 if room is ROOMS[-2] else n_essential):
            break
    if can_shrink and room is not ROOMS[0]:
        chosen = chosen[:n_essential]
    chosen.sort(key=lambda item: item[0])
    fixed = sum(room.need(c) + 1 for _, c in chosen if c.width)
    n_flexible = sum(1 for _, c in chosen if not c.width)
    rest = max(width - fixed - n_flexible, 4) // max(n_flexible, 1)
    return [(i, c, room.need(c) if c.width else min(rest, 90)) for i, c in chosen]


def _fitting(
    ranked: Sequence[tuple[int, int, ColumnSpec]], room: Room, width: int
) -> list[tuple[int, ColumnSpec]]:
    chosen: list[tuple[int, ColumnSpec]] = []
    used = 0
    for rank, i, column in ranked:
        used += room.need(column) + 1
        if rank > 1 and used > width:
            break
        chosen.append((i, column))
    return chosen


_SHORT_TITLES = {"badge": "len", "context": "context"}


def title_line(columns: Sequence[Placed], sort: Sequence[SortKey], chosen: int, glyphs: Glyphs) -> Line:
    """Column titles; the sorted ones carry an arrow, the chosen one is marked."""
    spans: list[Span] = [("  ", "dim")]
    order = {key.column: (n, key.descending) for n, key in enumerate(sort)}
    for n, (_, column, width) in enumerate(columns):
        arrow = ""
        if column.name in order:
            arrow = glyphs.down if order[column.name][1] else glyphs.up
        text = column.title if len(column.title) <= width else _SHORT_TITLES.get(column.name, column.title)
        is_right = column.kind not in (K.TEXT, K.INTERVAL, K.VERDICT)
        if column.kind is K.INTERVAL:
            text = interval_title(column.title, width, glyphs)
            text = text[: width - len(arrow)]  # the arrow stands for the end of the axis
        text = fit(text, width - len(arrow), right=is_right, more=glyphs.more) + arrow
        spans += [(text, "mark" if n == chosen else "dim"), (" ", "dim")]
    return tuple(spans)


def interval_title(title: str, width: int, glyphs: Glyphs) -> str:
    """``¼ taught ½    ¾``: the axis that the bars are drawn on; a short one has room for the word alone."""
    word = title.split()[0]
    if len(word) + 3 > width // 2:  # half of its marks would be hidden, and the other half say nothing
        return word[:width].ljust(width)
    marks = ("¼", "½", "¾") if glyphs.axis != ":" else ("<", ":", ">")
    cells = [" "] * width
    cells[0], cells[width // 2], cells[-1] = marks
    cells[2 : 2 + len(word)] = word
    return "".join(cells)


def row_line(row: GridRow, columns: Sequence[Placed], mark: str, verdict: str | None, glyphs: Glyphs) -> Line:
    """One row; ``verdict`` is what holds now, whatever the page said when it was fetched."""
    spans: list[Span] = []
    held, last = mark, "selected" if mark.strip() else "text"
    for i, column, width in columns:
        if column.kind is K.VERDICT:
            text, role = verdict_cell(verdict, glyphs)
            if len(text) > width:  # somebody else's: its mark stands in the gap behind the column
                spans += [(held, last), (text, role)]
                held, last = "", "text"
                continue
        else:
            text, role = cell(row.values[i], column, width, glyphs)
        if role == last:  # a page is drawn at every key: neighbours of one role are checked and cut as one
            held += text
        else:
            spans.append((held, last))
            held, last = text, role
        if last == "text":
            held += " "
        else:
            spans.append((held, last))
            held, last = " ", "text"
    spans.append((held, last))
    return tuple(spans)


def verdict_cell(verdict: str | None, glyphs: Glyphs) -> Span:
    """One glyph; ``keep…`` is not on disk yet, ``keep~`` was carried over from an older index.

    ``keep'`` is somebody else's: a second glyph, in the gap behind the column.
    """
    if verdict is None:
        return (".", "text")
    if verdict.endswith("…"):
        return (glyphs.pending, "dim")
    if verdict.endswith("~"):
        return ("~", verdict[:-1])
    if verdict.endswith("'"):
        text, role = verdict_cell(verdict[:-1], glyphs)
        return (f"{text}'", role)
    return (
        {"keep": glyphs.keep, "suppress": glyphs.suppress, "amplify": glyphs.amplify}.get(
            verdict, glyphs.ignore
        ),
        verdict,
    )


def cell(value: Any, column: ColumnSpec, width: int, glyphs: Glyphs) -> Span:
    """Text of exactly ``width`` cells with its role."""
    kind = column.kind
    if kind is K.INTERVAL:
        return fmt.interval_bar(value, width, glyphs), fmt.leaning(value)
    if kind is K.TEXT:
        if column.name == "badge":
            text = fmt.badge(value, width)
        elif column.name == "context" and column.width:  # where the kind stands in no column of its own
            text = fmt.context_name(value, width)
        elif column.name == "tokens":
            text = fmt.token_list(value)
        elif column.name == "prompt" and value is not None:
            text = one_line(fmt.first_question(str(value)), width + 1)
        else:
            text = fmt.UNDEFINED if value is None else one_line(str(value), width + 1)
        return fit(text, width, more=glyphs.more), "text" if value is not None else "dim"
    text = _number(value, kind, width, glyphs)
    return fit(text, width, right=True, more=glyphs.more), "text" if value is not None else "dim"


def plain(value: Any, column: ColumnSpec) -> str:
    """A value for another program: numbers whole, an interval as low/estimate/high, undefined empty."""
    if value is None:
        return ""
    if column.kind is K.INTERVAL:
        return "/".join("" if part is None else repr(part) for part in value)
    if column.kind is K.FLAG:
        return "yes" if value else "no"
    if column.name == "tokens":
        return one_line(fmt.token_list(value))
    return one_line(str(value))  # of a float all digits that tell it from its neighbours


def _number(value: Any, kind: K, width: int, glyphs: Glyphs) -> str:
    if kind is K.COUNT:
        text = fmt.count(value)
        return text if len(text) <= width else fmt.compact(value)
    if kind is K.FLAG:
        return fmt.flag(value, glyphs)
    if kind is K.SHARE:
        return fmt.share(value)
    if kind is K.Q:
        return fmt.q_value(value)
    return fmt.signed(value) if kind is K.SIGNED else fmt.number(value)
