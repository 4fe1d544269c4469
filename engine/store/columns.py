"""What a table of an index is made of."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    sql_type: str
    comment: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the index."""

    name: str
    comment: str
    order_by: tuple[str, ...]
    """Physical order: makes range look-ups touch few row groups."""
    columns: tuple[Column, ...]
    copied_from: str = ""
    """Table whose rows it holds once more in another order; empty: it has rows of its own."""

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(c.name for c in self.columns)


def columns(*rows: tuple[str, str, str]) -> tuple[Column, ...]:
    """Columns from (name, SQL type, comment)."""
    return tuple(Column(*row) for row in rows)
