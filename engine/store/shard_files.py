"""Finding the readings of the pairs of an index in the shard files that reading left behind."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.errors import StoreError


class Lists(NamedTuple):
    """A list column: row r is ``values[indptr[r]:indptr[r + 1]]``."""

    indptr: NDArray[np.int64]
    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class ShardRows:
    """Rows of one shard file that are neighbours in pairs.parquet, too. Columns are read when asked for."""

    path: Path
    offset: int
    """First row inside the file."""
    start: int
    """Pair number of that row."""
    stop: int
    """One past the last pair number."""

    def column(self, name: str) -> pa.Array:
        """One column of these rows. Raises ``StoreError`` for a damaged file."""
        column = _read(self.path, [name])[name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks)
        return column.slice(self.offset, self.stop - self.start)

    def values(self, name: str) -> NDArray[Any]:
        """A plain column."""
        array: NDArray[Any] = self.column(name).to_numpy(zero_copy_only=False)
        return array

    def lists(self, name: str) -> Lists:
        """A list column, with offsets from 0."""
        column = self.column(name)
        offsets = column.offsets.to_numpy().astype(np.int64)
        return Lists(offsets - offsets[0], column.flatten().to_numpy())


def locate_shards(shards: Path, pair_ids: Sequence[str], max_pairs: int | None = None) -> list[ShardRows]:
    """The rows that cover pairs.parquet from its start, in order.

    Rows are found by pair id alone; shards of other pairs are left out. Shards of an earlier mix may lie
    beside those of this one and overlap them. Coverage ends at the first pair without readings.

    Raises:
        StoreError: the first pair has no reading, or a shard is damaged.
    """
    number = {pair_id: i for i, pair_id in enumerate(pair_ids)}
    runs = [run for path in sorted(shards.glob("*.parquet")) for run in _runs(path, number)]
    runs.sort(key=lambda run: (run.start, -run.stop))
    limit = len(pair_ids) if max_pairs is None else min(max_pairs, len(pair_ids))
    found: list[ShardRows] = []
    at = 0
    for run in runs:
        if run.start > at or at >= limit:
            break
        if run.stop > at:
            stop = min(run.stop, limit)
            found.append(ShardRows(run.path, run.offset + at - run.start, at, stop))
            at = stop
    if not found:
        raise StoreError(f"{shards} has no readings of these pairs", hint="run `prosect read` first")
    return found


def _runs(path: Path, number: dict[str, int]) -> Iterator[ShardRows]:
    """Stretches of a shard whose rows are neighbours in pairs.parquet."""
    ids = _read(path, ["pair_id"])["pair_id"].to_pylist()
    places = np.array([number.get(p, -2) for p in ids], dtype=np.int64)
    breaks = (np.flatnonzero(np.diff(places) != 1) + 1).tolist()
    for first, last in zip([0, *breaks], [*breaks, len(places)], strict=True):
        if last > first and places[first] >= 0:
            yield ShardRows(path, first, int(places[first]), int(places[first]) + last - first)


def _read(path: Path, columns: list[str]) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} is damaged", hint="remove it and read again: only it is read") from error


def check_latents(columns: Sequence[NDArray[Any]], n_latents: int) -> None:
    """Raise ``StoreError`` if readings name latents that this SAE does not have."""
    if any(len(c) and int(c.max()) >= n_latents for c in columns):
        raise StoreError(
            f"shards hold latents beyond {n_latents}", hint="these readings are of another SAE; read again"
        )
