"""Pairs on their way from input order to (group, pair) order, in bounded memory.

Pairs are written to a spool as they are read. Once all keys are known, the spool is dealt out to buckets
that each cover one stretch of the final order, and every bucket is sorted in memory and written. Only the
keys (about 100 bytes a pair) and one bucket are held at a time.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.ingest.drafts import Draft
from engine.ingest.keys import Hashed, Sealed
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
_LATE = ("pair_id", "content_id", "copy", "group_id", "fold", "base_weight", "is_evaluation")
_LAST = "near_copy"
"""Known only once the sorted pairs can be compared; empty until then."""
_UNREAD = frozenset({*_LATE, _LAST})
"""Columns that no row determines."""


def spool_schema() -> pa.Schema:
    """Columns of the spool: those of a pair that its row alone determines."""
    return pa.schema([f for f in pair_schema() if f.name not in _UNREAD])


@dataclass(slots=True)
class _Column:
    """Turns of one span as flat lists."""

    offsets: list[int] = field(default_factory=lambda: [0])
    roles: list[str] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)

    def add(self, span: Hashed) -> None:
        for role, _ in span.turns:
            self.roles.append(role)
        self.texts += span.texts
        self.offsets.append(len(self.roles))

    def array(self) -> pa.Array:
        values = pa.StructArray.from_arrays(
            [pa.array(self.roles, pa.string()), _text_array(self.texts)], ["role", "content"]
        )
        return pa.ListArray.from_arrays(pa.array(self.offsets, pa.int32()), values).cast(message_type())


def _text_array(texts: list[bytes]) -> pa.Array:
    """Texts that are UTF-8 already, as an Arrow array: one copy, no second encoding."""
    ends = np.zeros(len(texts) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, texts), np.int32, len(texts)), out=ends[1:])
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(texts)))


class Spool:
    """Append-only file of pairs in the order in which they were read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.paths: list[Path] = []
        """The files that make up the spool, in order."""
        self._schema = spool_schema()
        self._open()
        self._reset()

    def _open(self) -> None:
        self.paths.append(self._folder / f"spool-{len(self.paths):03}.arrow")
        self._writer = pa.ipc.new_stream(str(self.paths[-1]), self._schema)

    def attach(self, paths: list[Path]) -> None:
        """Append the files of another spool, which must be closed."""
        self.close()
        self.paths += paths
        self._open()

    def _reset(self) -> None:
        self._texts = {name: _Column() for name in _TEXTS}
        self._plain: list[tuple[Any, ...]] = []
        self._bytes = 0

    def add(self, draft: Draft, sealed: Sealed, *, source: str, file: str, row: int) -> None:
        """Append one pair."""
        texts = self._texts
        texts["prompt"].add(sealed.prompt)
        texts["chosen"].add(sealed.chosen)
        texts["rejected"].add(sealed.rejected)
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
                draft.weight,
                sealed.meta,
            )
        )
        self._bytes += sealed.size
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
    base_weight: NDArray[np.float64]
    is_evaluation: NDArray[np.bool_]

    def columns(self, at: NDArray[np.int64]) -> dict[str, pa.Array]:
        """Arrow columns of some pairs."""
        found = {name: pa.array(getattr(self, name)[at], pair_schema().field(name).type) for name in _LATE}
        return found | {_LAST: pa.nulls(len(at), pair_schema().field(_LAST).type)}


def write_sorted(
    spool: list[Path],
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
    with _writer(target) as writer:
        for table in _prepared(paths, bucket, rank, late):
            if table.num_rows:
                rows = max(1, table.num_rows * _ROW_GROUP_BYTES // max(table.nbytes, 1))
                writer.write_table(table, row_group_size=rows)
            progress.advance()
    progress.finish()


def _writer(target: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        target, pair_schema(), compression="zstd", compression_level=1, use_dictionary=_DICTIONARY
    )


def write_near_copies(pairs: Path, near_copy: NDArray[np.int32]) -> None:
    """Put the numbers of near-duplicates, (P,) in the file's order, into a finished file of pairs."""
    target = pairs.with_name(f"near-{pairs.name}")
    at = pair_schema().get_field_index(_LAST)
    start = 0
    with pq.ParquetFile(pairs) as file, _writer(target) as writer:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            numbers = pa.array(near_copy[start : start + table.num_rows], pa.int32())
            start += table.num_rows
            writer.write_table(table.set_column(at, pair_schema().field(at), numbers))
    target.replace(pairs)


def _deal(spool: list[Path], bucket: NDArray[np.int64], n_buckets: int) -> list[Path]:
    """Split the spool into one file per bucket; files of the spool go as they have been read."""
    if n_buckets == 1 and len(spool) == 1:
        return spool
    paths = [spool[0].with_name(f"bucket-{i:03}.arrow") for i in range(n_buckets)]
    writers = [pa.ipc.new_stream(str(p), spool_schema()) for p in paths]
    start = 0
    for segment in spool:
        for batch in batches(segment):
            inside = bucket[start : start + batch.num_rows]
            start += batch.num_rows
            by_bucket = np.argsort(inside, kind="stable")
            dealt = batch.take(pa.array(by_bucket))
            numbers, firsts = np.unique(inside[by_bucket], return_index=True)
            for number, first, last in zip(numbers, firsts, [*firsts[1:], len(inside)], strict=True):
                writers[number].write_batch(dealt.slice(first, last - first))
        segment.unlink()
    for writer in writers:
        writer.close()
    return paths


def batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Record batches of one file of a spool."""
    with pa.OSFile(str(path), "rb") as source, pa.ipc.open_stream(source) as reader:
        yield from reader


def _prepared(
    paths: list[Path], bucket: NDArray[np.int64], rank: NDArray[np.int64], late: Late
) -> Iterator[pa.Table]:
    """Each bucket in final order; one is read and sorted while the one before is being written."""

    def prepare(number: int) -> pa.Table:
        members = np.flatnonzero(bucket == number)  # ascending: the order in which they were dealt
        table = _sorted_bucket(paths[number], members, rank[members], late)
        paths[number].unlink()
        return table

    with ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(prepare, 0)
        for number in range(len(paths)):
            table = following.result()
            if number + 1 < len(paths):
                following = ahead.submit(prepare, number + 1)
            yield table


def _sorted_bucket(path: Path, members: NDArray[np.int64], rank: NDArray[np.int64], late: Late) -> pa.Table:
    table = pa.Table.from_batches(batches(path), spool_schema()).combine_chunks()
    order = np.argsort(rank)
    table = table.take(pa.array(order))
    columns = dict(zip(table.column_names, table.columns, strict=True)) | late.columns(members[order])
    schema = pair_schema()
    return pa.Table.from_arrays([columns[n] for n in schema.names], schema=schema)
