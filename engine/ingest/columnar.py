"""Parquet and Arrow files → rows, a few at a time."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import IngestError
from engine.ingest.json_values import Part

_BATCH_BYTES = 8 << 20


def count_row_groups(path: Path) -> int:
    """Row groups of a parquet file."""
    with pq.ParquetFile(path) as file:
        return int(file.metadata.num_row_groups)


def own_batches(file: pq.ParquetFile, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Batches of a file written here, one row group (32 MB) in memory at a time."""
    for group in range(file.num_row_groups):
        yield from file.read_row_group(group, columns=columns).to_batches(max_chunksize=2048)


def parquet_rows(
    path: Path, max_columns: int, part: Part | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbered rows of a parquet file; batches hold about 8 MB going by the file's own average."""
    with pq.ParquetFile(path) as file:
        _check_columns(path, file.schema_arrow, max_columns)
        metadata = file.metadata
        size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
        per_row = max(size // max(metadata.num_rows, 1), 1)
        groups = range(metadata.num_row_groups) if part is None else range(part.start, part.end)
        number = sum(metadata.row_group(i).num_rows for i in range(groups.start))
        rows_at_once = max(1, min(4096, _BATCH_BYTES // per_row))
        for group in groups:  # one at a time: asked for several, the reader fetches far ahead
            for batch in file.iter_batches(batch_size=rows_at_once, row_groups=[group]):
                yield from enumerate(_rows(batch), number)
                number += batch.num_rows


def arrow_rows(path: Path, max_columns: int) -> Iterator[dict[str, Any]]:
    """Rows of an Arrow file or stream (Feather 2, `datasets` cache files)."""
    with pa.memory_map(str(path)) as source:
        try:
            file = pa.ipc.open_file(source)
        except pa.ArrowInvalid:
            source.seek(0)
            stream = pa.ipc.open_stream(source)
            _check_columns(path, stream.schema, max_columns)
            for batch in stream:
                yield from _sliced(batch)
            return
        _check_columns(path, file.schema, max_columns)
        for i in range(file.num_record_batches):
            yield from _sliced(file.get_batch(i))


def _check_columns(path: Path, schema: pa.Schema, max_columns: int) -> None:
    if len(schema) > max_columns:
        raise IngestError(f"{path} has {len(schema):,} columns; {max_columns:,} are the most that is read")
    double = _doubles(schema.names) or [d for f in schema for d in _inner_doubles(f.type, f.name)]
    if double:
        raise IngestError(f"{path}: columns occur twice: {', '.join(double[:5])}", hint="rename them")


def _doubles(names: list[str]) -> list[str]:
    return sorted(name for name, n in Counter(names).items() if n > 1)


def _inner_doubles(kind: pa.DataType, where: str) -> list[str]:
    """Fields that the structures of a column have twice, as column.field."""
    fields = [kind.field(i) for i in range(kind.num_fields)]
    found = [f"{where}.{name}" for name in _doubles([f.name for f in fields])]
    return found + [d for f in fields for d in _inner_doubles(f.type, where)]


def _sliced(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """A large batch in pieces of about 8 MB as Python objects."""
    step = max(1, min(4096, batch.num_rows * _BATCH_BYTES // max(batch.nbytes, 1)))
    for start in range(0, batch.num_rows, step):
        yield from _rows(batch.slice(start, step))


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    names = batch.schema.names
    columns = [_plain(batch.column(i)).to_pylist() for i in range(len(names))]
    for cells in zip(*columns, strict=True):
        yield dict(zip(names, cells, strict=True))


def _plain(column: pa.Array) -> pa.Array:
    """Times and decimals as text: they only ever end up in ``meta``."""
    kind = column.type
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        return column.cast(pa.string())
    if pa.types.is_decimal(kind):
        return column.cast(pa.string())
    if pa.types.is_duration(kind):
        return column.cast(pa.int64())
    return column
