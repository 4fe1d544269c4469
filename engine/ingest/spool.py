"""Pairs on their way from input order to (group, pair) order, in bounded memory.

Pairs are written to a spool as they are read. Once all keys are known, the spool is dealt out to buckets
that each cover one stretch of the final order, and every bucket is sorted in memory and written. Only the
keys (about 100 bytes a pair) and one bucket are held at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.ingest.drafts import Draft, Turns
from engine.progress import Progress
from engine.records import message_type, pair_schema

_FLUSH_BYTES = 16 << 20
_BUCKET_BYTES = 64 << 20
_MAX_BUCKETS = 256
_ROW_GROUP_BYTES = 32 << 20
_TEXTS = ("prompt", "chosen", "rejected")
_DICTIONARY = [
    *("source", "source_file", "label", "chosen_was", "model_chosen", "model_rejected"),
    *("annotator", "language", "tools", *(f"{t}.list.element.role" for t in _TEXTS)),
]
_LATE = frozenset({"pair_id", "content_id", "copy", "group_id", "fold", "is_evaluation"})
"""Columns that are known only after all rows have been read."""


def spool_schema() -> pa.Schema:
    """Columns of the spool: those of a pair that its row alone determines."""
    return pa.schema([f for f in pair_schema() if f.name not in _LATE])


@dataclass(slots=True)
class _Column:
    """Turns of one span as flat lists."""

    offsets: list[int] = field(default_factory=lambda: [0])
    roles: list[str] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)

    def add(self, turns: Turns) -> None:
        for role, content in turns:
            self.roles.append(role)
            self.contents.append(content)
        self.offsets.append(len(self.roles))

    def array(self) -> pa.Array:
        values = pa.StructArray.from_arrays(
            [pa.array(self.roles, pa.string()), pa.array(self.contents, pa.string())], ["role", "content"]
        )
        return pa.ListArray.from_arrays(pa.array(self.offsets, pa.int32()), values).cast(message_type())


class Spool:
    """Append-only file of pairs in the order in which they were read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "spool.arrow"
        self._schema = spool_schema()
        self._writer = pa.ipc.new_stream(str(self.path), self._schema)
        self._reset()

    def _reset(self) -> None:
        self._texts = {name: _Column() for name in _TEXTS}
        self._plain: list[tuple[Any, ...]] = []
        self._bytes = 0

    def add(self, draft: Draft, *, source: str, file: str, row: int, meta: str, size: int) -> None:
        """Append one pair; ``size`` is the bytes of its texts."""
        texts = self._texts
        texts["prompt"].add(draft.prompt)
        texts["chosen"].add(draft.chosen)
        texts["rejected"].add(draft.rejected)
        self._plain.append(
            (
                source,
                file,
                row,
                draft.label.value,
                draft.chosen_was,
                draft.strength,
                draft.score_chosen,
                draft.score_rejected,
                draft.model_chosen,
                draft.model_rejected,
                draft.annotator,
                draft.language,
                draft.conversation_id,
                draft.tools,
                meta,
            )
        )
        self._bytes += size + len(meta)
        if self._bytes >= _FLUSH_BYTES:
            self._flush()

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """Append pairs that come from an earlier ingest."""
        self._flush()
        self._writer.write_batch(batch.select(self._schema.names).cast(self._schema))

    def _flush(self) -> None:
        if not self._plain:
            return
        columns = iter(zip(*self._plain, strict=True))
        arrays = [
            self._texts[f.name].array() if f.name in self._texts else pa.array(next(columns), f.type)
            for f in self._schema
        ]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._reset()

    def close(self) -> None:
        """Finish the file."""
        self._flush()
        self._writer.close()


@dataclass(frozen=True, slots=True)
class Late:
    """The columns that are known last, in spool order."""

    pair_id: NDArray[np.object_]
    content_id: NDArray[np.object_]
    copy: NDArray[np.int32]
    group_id: NDArray[np.object_]
    fold: NDArray[np.int8]
    is_evaluation: NDArray[np.bool_]

    def columns(self, at: NDArray[np.int64]) -> dict[str, pa.Array]:
        """Arrow columns of some pairs."""
        names = ("pair_id", "content_id", "copy", "group_id", "fold", "is_evaluation")
        return {name: pa.array(getattr(self, name)[at], pair_schema().field(name).type) for name in names}


def write_sorted(
    spool: Path,
    target: Path,
    order: NDArray[np.int64],
    sizes: NDArray[np.int64],
    late: Late,
    progress: Progress,
) -> None:
    """Write the spool's pairs to a parquet file in final order.

    ``order`` is (P,) spool position of each pair of the final order, ``sizes`` (P,) bytes of text of each
    pair in spool order.
    """
    ends = np.cumsum(sizes[order])
    total = int(ends[-1]) if len(ends) else 0
    n_buckets = int(min(max(total // _BUCKET_BYTES, 1), _MAX_BUCKETS))
    bucket = np.empty(len(order), np.int64)
    bucket[order] = np.minimum((ends - 1) * n_buckets // max(total, 1), n_buckets - 1)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    paths = _deal(spool, bucket, n_buckets)
    progress.start("sort pairs", n_buckets, "buckets")
    with pq.ParquetWriter(
        target, pair_schema(), compression="zstd", compression_level=1, use_dictionary=_DICTIONARY
    ) as writer:
        for number, path in enumerate(paths):
            members = np.flatnonzero(bucket == number)  # ascending: the order in which they were dealt
            _write_bucket(writer, path, members, rank[members], late)
            path.unlink()
            progress.advance()
    progress.finish()


def _deal(spool: Path, bucket: NDArray[np.int64], n_buckets: int) -> list[Path]:
    """Split the spool into one file per bucket; the spool itself when there is only one."""
    if n_buckets == 1:
        return [spool]
    paths = [spool.with_name(f"bucket-{i:03}.arrow") for i in range(n_buckets)]
    writers = [pa.ipc.new_stream(str(p), spool_schema()) for p in paths]
    start = 0
    for batch in _batches(spool):
        inside = bucket[start : start + batch.num_rows]
        start += batch.num_rows
        by_bucket = np.argsort(inside, kind="stable")
        dealt = batch.take(pa.array(by_bucket))
        numbers, firsts = np.unique(inside[by_bucket], return_index=True)
        for number, first, last in zip(numbers, firsts, [*firsts[1:], len(inside)], strict=True):
            writers[number].write_batch(dealt.slice(first, last - first))
    for writer in writers:
        writer.close()
    spool.unlink()
    return paths


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(path), "rb") as source, pa.ipc.open_stream(source) as reader:
        yield from reader


def _write_bucket(
    writer: pq.ParquetWriter, path: Path, members: NDArray[np.int64], rank: NDArray[np.int64], late: Late
) -> None:
    if not len(members):
        return
    table = pa.Table.from_batches(_batches(path), spool_schema()).combine_chunks()
    order = np.argsort(rank)
    table = table.take(pa.array(order))
    columns = dict(zip(table.column_names, table.columns, strict=True)) | late.columns(members[order])
    schema = pair_schema()
    ordered = pa.Table.from_arrays([columns[n] for n in schema.names], schema=schema)
    rows = max(1, ordered.num_rows * _ROW_GROUP_BYTES // max(ordered.nbytes, 1))
    writer.write_table(ordered, row_group_size=rows)
