"""How commands write results on stdout: aligned tables, TSV with --plain, JSON with --json."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import click

from engine.cli.fitting import GAP, Fit, Manners, cells, cut, fit, squeezed
from engine.safe_text import one_line

_PIPED = 160
"""Width of tables where neither a terminal nor COLUMNS says one."""


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


def interval_text(value: Sequence[float | None]) -> str | None:
    """``0.612 [0.551, 0.668]`` of (low, estimate, high), None when undefined."""
    low, estimate, high = value
    if estimate is None:
        return None
    return f"{estimate:.3f}" if low is None or high is None else f"{estimate:.3f} [{low:.3f}, {high:.3f}]"


def write_table(
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    plain: bool,
    flexible: int | tuple[int, ...] = (),
    ranks: Sequence[int] | None = None,
    copied: tuple[int, ...] = (),
    every: bool = False,
) -> None:
    """Rows under a header, as wide as the terminal at most.

    Args:
        header: name of each column.
        rows: their values.
        plain: as tab-separated values, whole.
        flexible: columns that give way first in a narrow terminal, the widest of them before the others.
        ranks: of each column; high ones are left out where the rest does not fit, 1 never.
        copied: columns with ids that people copy: never cut.
        every: somebody asked for all columns: none is left out, however wide the lines are.
    """
    if plain:
        click.echo("\t".join(header))
        for row in rows:
            click.echo("\t".join("" if _is_undefined(v) else one_line(str(v)) for v in row))
        return
    texts = [[cell(v) for v in row] for row in rows]
    manners = Manners((flexible,) if isinstance(flexible, int) else flexible, ranks, copied)
    available = shutil.get_terminal_size((0, 0)).columns
    if available and not every:
        found = fit(header, texts, manners, available)
    else:
        found = squeezed(header, texts, manners, available or _PIPED)
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        for i in range(len(header))
    ]
    for row in (header, *texts):
        click.echo(_line(row, found, numeric))
    left = [name for i, name in enumerate(header) if i not in found.columns]
    if left:
        said = f"no room here for {', '.join(left)}: a wider terminal or --json has them"
        click.echo(click.wrap_text(said, available))


def _is_undefined(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _line(values: Sequence[str], found: Fit, numeric: Sequence[bool]) -> str:
    parts = []
    for i in found.columns:
        shown = cut(values[i], found.widths[i])
        space = " " * (found.widths[i] - cells(shown))
        parts.append(space + shown if numeric[i] else shown + space)
    return (" " * GAP).join(parts).rstrip()
