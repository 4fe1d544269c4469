"""How commands write results on stdout: aligned tables, TSV with --plain, JSON with --json."""

import json
import math
import shutil
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import click

from engine.safe_text import one_line

_PIPED = 160
"""Width of tables where neither a terminal nor COLUMNS says one."""
_NARROWEST = 12
"""Cells that a column keeps, however narrow the terminal."""


def plain_value(value: Any) -> Any:
    """A JSON value for anything the façade returns: records become objects, enums their value, NaN null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key: plain_value(item) for key, item in asdict(value).items()}
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(value: Any) -> None:
    """One JSON document on stdout; a lone surrogate, which UTF-8 cannot hold, stands as its JSON escape."""
    text = json.dumps(plain_value(value), ensure_ascii=False, indent=1)
    click.echo(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def cell(value: Any) -> str:
    """One table cell: undefined is –, numbers to four significant places, text sanitised."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if not math.isfinite(value):
            return "–"
        return f"{value:.3f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.2e}"
    if isinstance(value, int):
        return f"{value:,}"
    return one_line(str(value))


def write_table(
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    plain: bool,
    flexible: int | tuple[int, ...] | None = None,
) -> None:
    """Rows under a header; in a narrow terminal the columns ``flexible`` give way, the widest first."""
    if plain:
        click.echo("\t".join(header))
        for row in rows:
            click.echo("\t".join("" if _is_undefined(v) else one_line(str(v)) for v in row))
        return
    texts = [[cell(v) for v in row] for row in rows]
    widths = [max([cells(name), *(cells(row[i]) for row in texts)]) for i, name in enumerate(header)]
    if flexible is not None:
        columns = (flexible,) if isinstance(flexible, int) else flexible
        available = shutil.get_terminal_size((_PIPED, 40)).columns
        least = {i: max(cells(header[i]), _NARROWEST) for i in columns}
        _give_way(widths, least, sum(widths) + 2 * (len(widths) - 1) - available)
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        for i in range(len(header))
    ]
    click.echo(_line(header, widths, numeric))
    for row in texts:
        click.echo(_line(row, widths, numeric))


def _give_way(widths: list[int], least: Mapping[int, int], excess: int) -> None:
    """Take ``excess`` cells from the columns in ``least``, always from the widest that still can."""
    for _ in range(excess):
        can = [i for i in least if widths[i] > least[i]]
        if not can:
            return
        widths[max(can, key=widths.__getitem__)] -= 1


def cells(text: str) -> int:
    """Terminal cells that a text takes: none for combining marks, two for wide characters."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _is_undefined(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _line(values: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    parts = []
    for value, width, right in zip(values, widths, numeric, strict=True):
        cut = _cut(value, width)
        space = " " * (width - cells(cut))
        parts.append(space + cut if right else cut + space)
    return "  ".join(parts).rstrip()


def _cut(text: str, width: int) -> str:
    """The text, or as much of it as fits beside an ellipsis."""
    if cells(text) <= width:
        return text
    kept = text[: width - 1]
    while cells(kept) > width - 1:
        kept = kept[:-1]
    return kept + "…"
