"""Build an index aside and publish it by renaming.

Tables arrive as Arrow, small ones whole, large ones batch by batch in order; each is cast to its declared
types, sorted, commented and written in one go. A
crash leaves a temporary file that the next build removes; readers keep the old index until the pointer
changes.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import StoreError
from engine.manifest import read_manifest, sync_folder, write_json
from engine.paths import ProjectPaths
from engine.progress import NullProgress, Progress
from engine.store import database
from engine.store.columns import Table
from engine.store.connection import first_line
from engine.store.schema import META, SCHEMA_VERSION, TABLES

if TYPE_CHECKING:
    import pyarrow as pa

MEMORY_LIMIT = "2GB"
"""Of the database while it builds: blocks on their way to the file, and sorts of what arrives unsorted."""


def build_index(
    path: Path,
    tables: "Mapping[str, pa.Table | pa.RecordBatchReader]",
    facts: Mapping[str, Any],
    progress: Progress | None = None,
    *,
    memory_limit: str = MEMORY_LIMIT,
) -> None:
    """Write an index file from one Arrow table per table of the schema.

    Args:
        path: where the finished index goes; a temporary file beside it is renamed at the end.
        tables: by name in ``schema.TABLES``, without ``meta`` and copies; an absent column becomes NULL.
            Tables are sorted where they are not; the rows of a reader are in the declared order already.
        facts: JSON values for ``meta`` beside the schema version.
        progress: counts the tables written; a stop on request leaves no file behind.
        memory_limit: DuckDB's own limit; what a sort needs beyond it goes to a folder beside the file.

    Raises:
        StoreError: an unknown table, a value outside its type, or no space.
    """
    unknown = set(tables) - {t.name for t in TABLES if not t.copied_from}
    if unknown:
        raise StoreError(f"the index has no table {', '.join(sorted(unknown))}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    import duckdb  # noqa: F401 - lets a connection read Arrow tables

    progress = progress or NullProgress()
    wanted = [table for table in TABLES if table is not META]
    progress.start("index", len(wanted), "tables")
    try:
        with database.connect(str(temporary)) as connection:
            connection.execute("SET memory_limit = ?", [memory_limit])
            _write_meta(connection, facts)
            for table in wanted:
                _write_table(connection, table, tables.get(table.name))
                progress.advance()
            connection.execute("CHECKPOINT")
        temporary.replace(path)
        sync_folder(path.parent)
        progress.finish()
    except (database.Error, OSError) as error:
        raise StoreError(
            f"cannot build {path.name}: {first_line(error)}", hint="check free space and permissions"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _write_meta(connection: database.DuckDBPyConnection, facts: Mapping[str, Any]) -> None:
    connection.execute(_create(META))
    rows = {"schema_version": SCHEMA_VERSION, **facts}
    connection.executemany(
        "INSERT INTO meta VALUES (?, ?)",
        [(key, json.dumps(value, sort_keys=True)) for key, value in sorted(rows.items())],
    )
    _comment(connection, META)


def _write_table(
    connection: database.DuckDBPyConnection, table: Table, data: "pa.Table | pa.RecordBatchReader | None"
) -> None:
    import pyarrow as pa

    connection.execute(_create(table))
    _comment(connection, table)
    if table.copied_from:
        names = ", ".join(_q(name) for name in table.column_names)
        connection.execute(
            f"INSERT INTO {_q(table.name)} SELECT {names} FROM {table.copied_from}{_order(table)}"
        )
    elif isinstance(data, pa.RecordBatchReader):
        # Each batch is committed by itself: one transaction over all would hold 11 bytes a row until its end.
        for batch in data:
            _insert(connection, table, pa.Table.from_batches([batch]), "")
    elif data is not None and data.num_rows:
        _insert(connection, table, data, "" if is_sorted(data, table.order_by) else _order(table))


def _insert(connection: database.DuckDBPyConnection, table: Table, rows: "pa.Table", order: str) -> None:
    present = set(rows.column_names)
    extra = present - set(table.column_names)
    if extra:
        raise StoreError(f"table {table.name} has no column {', '.join(sorted(extra))}")
    selected = ", ".join(
        f"CAST({_q(c.name)} AS {c.sql_type})" if c.name in present else f"CAST(NULL AS {c.sql_type})"
        for c in table.columns
    )
    connection.register("incoming", rows)
    connection.execute(f"INSERT INTO {_q(table.name)} SELECT {selected} FROM incoming{order}")
    connection.unregister("incoming")


def is_sorted(data: "pa.Table", keys: Sequence[str]) -> bool:
    """True when the rows are in lexicographic order of some integer columns, nulls excluded.

    Arrays arrive in order already: looking is cheaper than sorting, and insertion keeps the order of rows.
    """
    import numpy as np
    import pyarrow as pa

    tied: Any = True
    for key in keys:
        column = data[key] if key in data.column_names else None
        if column is None or column.null_count or not pa.types.is_integer(column.type):
            return False
        values = column.to_numpy()
        if bool(np.any((values[1:] < values[:-1]) & tied)):
            return False
        tied = (values[1:] == values[:-1]) & tied
    return True


def _order(table: Table) -> str:
    return " ORDER BY " + ", ".join(_q(name) for name in table.order_by)


def _create(table: Table) -> str:
    return (
        f"CREATE TABLE {_q(table.name)} ("
        + ", ".join(f"{_q(c.name)} {c.sql_type}" for c in table.columns)
        + ")"
    )


def _comment(connection: database.DuckDBPyConnection, table: Table) -> None:
    connection.execute(f"COMMENT ON TABLE {_q(table.name)} IS {_literal(table.comment)}")
    for column in table.columns:
        connection.execute(
            f"COMMENT ON COLUMN {_q(table.name)}.{_q(column.name)} IS {_literal(column.comment)}"
        )


def _q(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class Published:
    """One reader's published index."""

    reader_hash: str
    index_hash: str
    share_read: float
    """Share of the pairs that the index covers, 0–1; below 1 while an audit is under way."""
    ingest: str = field(default="", compare=False)
    """Fingerprint of the ingest that its pairs come from; empty where nobody wrote it down."""
    settings: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What the project's settings file said of the index then, by `stage.key`; empty likewise."""


def publish(paths: ProjectPaths, published: Published, *, make_default: bool = True) -> None:
    """Point ``current`` at a finished index, keeping the other readers' entries."""
    pointer = read_current(paths) or {"readers": {}, "default": published.reader_hash}
    pointer["readers"][published.reader_hash] = {
        "index": published.index_hash,
        "share_read": published.share_read,
        "ingest": published.ingest,
        "settings": dict(published.settings),
    }
    if make_default:
        pointer["default"] = published.reader_hash
    write_json(paths.current, pointer)


def read_current(paths: ProjectPaths) -> dict[str, Any] | None:
    """The pointer as written, None before the first index."""
    try:
        raw = paths.current.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        pointer = json.loads(raw)
        if isinstance(pointer["readers"], dict) and isinstance(pointer["default"], str):
            return dict(pointer)
    except (ValueError, KeyError, TypeError):
        pass
    raise StoreError(f"{paths.current} is damaged", hint="run `prosect audit` again: it rebuilds the pointer")


def current_index(paths: ProjectPaths, reader_hash: str | None = None) -> Published:
    """The published index of a reader (default: the project's default reader).

    Raises:
        StoreError: nothing has been published, or not for this reader.
    """
    pointer = read_current(paths)
    if pointer is None:
        what = paths.root if paths.pairs.exists() else "FILE"
        where = "" if paths.pairs.exists() else " -o DIR"
        hint = f"run `prosect audit {what} --reader R{where}` first"
        raise StoreError(f"{paths.root} has no index yet", hint=hint)
    chosen = reader_hash or pointer["default"]
    entry = pointer["readers"].get(chosen)
    if entry is None:
        known = ", ".join(sorted(pointer["readers"]))
        raise StoreError(f"no index was built with reader {chosen}", hint=f"this project has {known}")
    return Published(
        chosen,
        entry["index"],
        float(entry["share_read"]),
        entry.get("ingest", ""),
        entry.get("settings", {}),
    )


def ingest_of(paths: ProjectPaths) -> str:
    """Fingerprint of the pairs that the project holds now; empty before they are finished."""
    manifest = read_manifest(paths.pairs_dir)
    return manifest.fingerprint if manifest is not None else ""
