"""What cards are put together from: code spans, tables, parts that are folded. Pure.

Texts that may come from a dataset or a person stand in code, where Markdown makes no links, pictures or
mentions of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from engine.paths import is_path
from engine.safe_text import code_span

_WIDTH = 80
"""Characters of a name; longer ones are cut."""
OPEN_ROWS = 10
"""Rows of a long table that are seen before it is unfolded."""
_FIXED = "\u00a0"
"""A blank at which no line is broken."""


def code(text: str, limit: int | None = _WIDTH) -> str:
    """Text of somebody else's as a code span; empty stays empty."""
    return code_span(text, limit)


def shared(name: object) -> str:
    """A hub id as it is; of a path only the last part, since the rest is one machine's."""
    text = str(name)
    return code(PurePath(text).name if is_path(text) else text)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; columns whose title ends in ``>`` are aligned to the right."""
    titles = [title.removesuffix(" >") for title in header]
    rules = ["---:" if title.endswith(" >") else "---" for title in header]
    return [f"| {' | '.join(cells)} |" for cells in (titles, rules, *rows)]


def long_table(header: Sequence[str], rows: Sequence[Sequence[str]], n_all: int) -> list[str]:
    """A table whose first rows are seen and whose others are unfolded; says how many rows it leaves out.

    Args:
        header: titles, as ``table`` takes them.
        rows: cells.
        n_all: rows that there are, those that are left out included.
    """
    if not rows:
        return []
    lines = ["", *table(header, rows[:OPEN_ROWS])]
    if rest := rows[OPEN_ROWS:]:
        lines += ["", *folded(f"{len(rest):,} more", table(header, rest))]
    return [*lines, "", f"… and {n_all - len(rows):,} more."] if n_all > len(rows) else lines


def folded(title: str, lines: Iterable[str]) -> list[str]:
    """A part that is unfolded by a click; where HTML is not shown, its lines stand there as they are."""
    return ["<details>", f"<summary>{title}</summary>", "", *lines, "", "</details>"]


def interval(row: Mapping[str, Any], name: str) -> str:
    """``68.0% (62.5 to 73.2)``, never broken over lines; – where there is none."""
    low, middle, high = row[f"{name}_low"], row[name], row[f"{name}_high"]
    if middle is None:
        return "–"
    if low is None or high is None:
        return f"{middle:.1%}"
    return f"{middle:.1%} ({100 * low:.1f} to {100 * high:.1f})".replace(" ", _FIXED)


def small(value: float | None) -> str:
    """A q or p value."""
    return "–" if value is None else f"{value:.1g}"
