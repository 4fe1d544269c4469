"""Cells of a grid: which columns fit, and what each looks like. Pure."""

from collections.abc import Sequence
from typing import Any

from engine.safe_text import one_line
from engine.views import ColumnKind as K
from engine.views import ColumnSpec, GridRow, SortKey, TableSpec
from tui import format as fmt
from tui.format import Glyphs
from tui.lines import Line, Span, fit

MIN_FLEXIBLE = 22
"""Cells that the column which takes the rest needs before further columns are shown."""

Placed = tuple[int, ColumnSpec, int]


def columns_for(spec: TableSpec, width: int) -> list[Placed]:
    """Columns by rank as long as they fit, in the table's order, the flexible one taking what is left."""
    ranked = sorted((c.rank, i, c) for i, c in enumerate(spec.columns) if c.rank > 0)
    chosen: list[tuple[int, ColumnSpec]] = []
    used = 0
    for rank, i, column in ranked:
        need = (column.width or MIN_FLEXIBLE) + 1
        if rank > 1 and used + need > width:
            break
        chosen.append((i, column))
        used += need
    chosen.sort(key=lambda item: item[0])
    fixed = sum(c.width + 1 for _, c in chosen if c.width)
    n_flexible = sum(1 for _, c in chosen if not c.width)
    rest = max(width - fixed - n_flexible, 4) // max(n_flexible, 1)
    return [(i, c, c.width or min(rest, 90)) for i, c in chosen]


def title_line(columns: Sequence[Placed], sort: Sequence[SortKey], chosen: int, glyphs: Glyphs) -> Line:
    """Column titles; the sorted ones carry an arrow, the chosen one is marked."""
    spans: list[Span] = [("  ", "dim")]
    order = {key.column: (n, key.descending) for n, key in enumerate(sort)}
    for n, (_, column, width) in enumerate(columns):
        arrow = ""
        if column.name in order:
            arrow = glyphs.down if order[column.name][1] else glyphs.up
        text = column.title
        is_right = column.kind not in (K.TEXT, K.INTERVAL, K.VERDICT)
        if column.kind is K.INTERVAL:
            text = interval_title(column.title, width, glyphs)
        text = fit(text, width - len(arrow), right=is_right, more=glyphs.more) + arrow
        spans += [(text, "mark" if n == chosen else "dim"), (" ", "dim")]
    return tuple(spans)


def interval_title(title: str, width: int, glyphs: Glyphs) -> str:
    """``taught ¼    ½    ¾``: the axis that the bars are drawn on."""
    marks = ("¼", "½", "¾") if glyphs.axis != ":" else ("<", ":", ">")
    cells = [" "] * width
    word = title.split()[0] if len(title) > width // 2 - 2 else title
    cells[0], cells[width // 2], cells[-1] = marks
    for i, letter in enumerate(word[: width // 2 - 3]):
        cells[i + 2] = letter
    return "".join(cells)


def row_line(row: GridRow, columns: Sequence[Placed], mark: str, verdict: str | None, glyphs: Glyphs) -> Line:
    """One row; ``verdict`` is what holds now, whatever the page said when it was fetched."""
    spans: list[Span] = [(mark, "selected" if mark.strip() else "text")]
    for i, column, width in columns:
        if column.kind is K.VERDICT:
            spans.append(verdict_cell(verdict, glyphs))
        else:
            text, role = cell(row.values[i], column, width, glyphs)
            spans.append((text, role))
        spans.append((" ", "text"))
    return tuple(spans)


def verdict_cell(verdict: str | None, glyphs: Glyphs) -> Span:
    """One glyph; ``keep…`` is not on disk yet, ``keep~`` was carried over from an older index."""
    if verdict is None:
        return (".", "text")
    if verdict.endswith("…"):
        return (glyphs.pending, "dim")
    if verdict.endswith("~"):
        return ("~", verdict[:-1])
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
            text = fmt.badge(value)
        elif column.name == "tokens":
            text = fmt.token_list(value)
        else:
            text = fmt.UNDEFINED if value is None else one_line(str(value), width + 1)
        return fit(text, width, more=glyphs.more), "text" if value is not None else "dim"
    text = _number(value, kind, width, glyphs)
    return fit(text, width, right=True, more=glyphs.more), "text" if value is not None else "dim"


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
