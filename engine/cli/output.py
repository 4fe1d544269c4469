"""How commands write results on stdout: aligned tables, TSV with --plain, JSON with --json."""

import json
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import click

from engine.safe_text import one_line


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
    """One JSON document on stdout."""
    click.echo(json.dumps(plain_value(value), ensure_ascii=False, indent=1))


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
    header: Sequence[str], rows: Sequence[Sequence[Any]], *, plain: bool, flexible: int | None = None
) -> None:
    """Rows under a header; the column ``flexible`` gives way when the terminal is too narrow."""
    if plain:
        click.echo("\t".join(header))
        for row in rows:
            click.echo("\t".join("" if _is_undefined(v) else one_line(str(v)) for v in row))
        return
    texts = [[cell(v) for v in row] for row in rows]
    widths = [max([len(name), *(len(row[i]) for row in texts)]) for i, name in enumerate(header)]
    if flexible is not None:
        available = shutil.get_terminal_size((120, 40)).columns if sys.stdout.isatty() else 160
        excess = sum(widths) + 2 * (len(widths) - 1) - available
        widths[flexible] = max(widths[flexible] - max(excess, 0), len(header[flexible]), 12)
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        for i in range(len(header))
    ]
    click.echo(_line(header, widths, numeric))
    for row in texts:
        click.echo(_line(row, widths, numeric))


def _is_undefined(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _line(values: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    parts = []
    for value, width, right in zip(values, widths, numeric, strict=True):
        cut = value if len(value) <= width else value[: width - 1] + "…"
        parts.append(cut.rjust(width) if right else cut.ljust(width))
    return "  ".join(parts).rstrip()
