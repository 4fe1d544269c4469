"""Read-only access to a published index.

DuckDB lets any number of processes read a file that nobody writes. An index is never written after it is
published, so readers need no locks. Every query runs on its own cursor, which another thread may interrupt.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import gettempdir
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from engine.errors import StoreError
from engine.store import database
from engine.store.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    import pyarrow as pa

Parameters = Sequence[Any] | Mapping[str, Any]


def _rebuild(path: Path) -> str:
    """What to type for another index in the place of this file."""
    return f"`prosect audit {shlex.quote(str(path.parent))}` builds it again; what was read stays read"


class Store:
    """An open index. Tables are visible by their plain names; nothing in the file can be changed.

    The connection is an in-memory database with the index attached read-only, so that orderings and
    scratch tables can be made beside it (``CREATE TABLE memory.main.name``).
    """

    def __init__(self, path: Path, *, threads: int | None = None, memory_limit: str | None = None) -> None:
        """Open an index.

        Args:
            path: the file.
            threads: of a query; None: one a core.
            memory_limit: for cached blocks and for sorting, such as ``128MB``; what a sort needs beyond it
                goes to a temporary folder. None: most of the machine's memory.

        Raises:
            StoreError: no such file, no index, or one of another schema.
        """
        if not path.exists():
            raise StoreError(f"there is no index at {path}", hint="run `prosect audit` first")
        config: dict[str, Any] = {"threads": threads} if threads else {}
        if memory_limit:
            config |= {
                "memory_limit": memory_limit,
                "temp_directory": f"{gettempdir()}/prosect-{os.getpid()}",
            }
        try:
            self._connection = database.connect(":memory:", config=config)
            quoted = str(path).replace("'", "''")
            self._connection.execute(f"ATTACH '{quoted}' AS store (READ_ONLY)")
        except database.Error as error:
            raise StoreError(f"{path} cannot be opened: {first_line(error)}", hint=_rebuild(path)) from error
        self.path = path
        self._is_limited = memory_limit is not None
        self.sizes: dict[str, tuple[int, bool]] = {}
        """Of tables whose size was asked for: rows, and whether their keys are 0, 1, 2 …"""
        self._check_version()

    def _check_version(self) -> None:
        try:
            found = int(self.value("SELECT value FROM meta WHERE key = 'schema_version'"))
        except (database.Error, TypeError, ValueError) as error:
            raise StoreError(f"{self.path} is not a prosect index", hint=_rebuild(self.path)) from error
        if found != SCHEMA_VERSION:
            age = "a newer" if found > SCHEMA_VERSION else "an older"
            raise StoreError(
                f"{self.path.name} was built by {age} prosect"
                f" (schema {found}, this one reads {SCHEMA_VERSION})",
                hint="update prosect" if found > SCHEMA_VERSION else _rebuild(self.path),
            )

    def lift_limit(self) -> bool:
        """Allow as much memory as the machine has for good, for a query that cannot do with less; False when
        there was no limit.
        """
        if not self._is_limited:
            return False
        self._is_limited = False
        self._connection.execute("RESET GLOBAL memory_limit")
        return True

    def cursor(self) -> database.DuckDBPyConnection:
        """A cursor of its own for one thread; call ``interrupt()`` on it from another to cancel."""
        cursor = self._connection.cursor()
        cursor.execute("USE store")  # a cursor is a session of its own: the schema it looks in is, too
        return cursor

    def rows(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        cursor = self.cursor()
        try:
            return cursor.execute(sql, parameters).fetchall()
        finally:
            cursor.close()

    def row(self, sql: str, parameters: Parameters = ()) -> tuple[Any, ...] | None:
        """The first row, None if there is none."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def value(self, sql: str, parameters: Parameters = ()) -> Any:
        """The first column of the first row, None if there is none."""
        found = self.row(sql, parameters)
        return found[0] if found else None

    def arrow(self, sql: str, parameters: Parameters = ()) -> "pa.Table":
        """A query's result as an Arrow table."""
        import duckdb  # noqa: F401 - puts relations on the connection

        cursor = self.cursor()
        try:
            return cursor.sql(sql, params=parameters).to_arrow_table()
        finally:
            cursor.close()

    def columns(self, sql: str, parameters: Parameters = ()) -> dict[str, Any]:
        """A query's result as NumPy arrays by column name."""
        cursor = self.cursor()
        try:
            return dict(cursor.execute(sql, parameters).fetchnumpy())
        finally:
            cursor.close()

    def execute(self, sql: str, parameters: Parameters = ()) -> None:
        """Run a statement for its effect on the in-memory side."""
        cursor = self.cursor()
        try:
            cursor.execute(sql, parameters)
        finally:
            cursor.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        """Open already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def first_line(error: BaseException) -> str:
    """The first line of a database error; the rest is advice for SQL authors."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
