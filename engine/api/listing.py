"""Rows of a project's tables as programs take them: plain records, or a polars frame."""

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.views.tables import ColumnKind, ColumnSpec, FacetCount, GridRow, TableSpec

if TYPE_CHECKING:
    import polars

_WORDS = "tokens"
"""The column that holds a list, as JSON text."""
_TEXTS = (ColumnKind.TEXT, ColumnKind.VERDICT)


class Listing(NamedTuple):
    """Rows of one of the project's tables."""

    spec: TableSpec
    rows: tuple[GridRow, ...]
    n_rows: int
    """Rows that the filter selects."""
    n_total: int
    remark: str | None = None
    """What to know of the filter: a value that no row has."""

    def __repr__(self) -> str:
        """Short: a notebook shows what stands last in a cell, and this may be a million rows."""
        return f"<{len(self.rows):,} of {self.n_rows:,} {self.spec.name}: .records() or .frame()>"

    def _repr_html_(self) -> str:
        """The frame, where a notebook can show one."""
        return str(self.frame()._repr_html_())

    def records(self) -> list[dict[str, Any]]:
        """One plain dict per row, by column name; undefined is None.

        An interval ``taught`` is three numbers: ``taught_low``, ``taught`` and ``taught_high``; telling words
        are a list of texts.
        """
        return [_record(self.spec, row) for row in self.rows]

    def frame(self) -> "polars.DataFrame":
        """The same rows as a polars frame; the types of its columns are those of the table, rows or none."""
        import polars

        types: dict[str, Any] = {}
        for column in self.spec.columns:
            kind = _type(column)
            types |= dict.fromkeys(_names(column), kind)
        return polars.DataFrame(self.records(), schema=types)


class Counts(NamedTuple):
    """How many rows of a selection have each value of a column."""

    counts: tuple[FacetCount, ...]
    """Values by count, or bins of a number in their order."""
    n_rows: int
    """Rows that the filter selects."""
    n_total: int
    remark: str | None = None
    """What to know of the filter: a value that no row has."""


def telling_words(value: Any) -> list[str]:
    """Telling words, which the index holds as JSON text, as a list."""
    try:
        found = json.loads(value) if value else []
    except ValueError:
        return [str(value)]
    return [str(word) for word in found] if isinstance(found, list) else [str(found)]


def _names(column: ColumnSpec) -> tuple[str, ...]:
    """What the values of a column are called: an interval has three."""
    if column.kind is not ColumnKind.INTERVAL:
        return (column.name,)
    return (f"{column.name}_low", column.name, f"{column.name}_high")


def _type(column: ColumnSpec) -> Any:
    import polars

    if column.name == _WORDS:
        return polars.List(polars.String)
    if column.kind in _TEXTS:
        return polars.String
    if column.kind is ColumnKind.FLAG:
        return polars.Boolean
    return polars.Int64 if column.kind is ColumnKind.COUNT else polars.Float64


def _record(spec: TableSpec, row: GridRow) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for column, value in zip(spec.columns, row.values, strict=True):
        if column.name == _WORDS:
            found[column.name] = telling_words(value)
            continue
        values = value if column.kind is ColumnKind.INTERVAL else (value,)
        found |= zip(_names(column), values, strict=True)
    return found
