"""Lists per pair to two files per column: pair by pair (CSR), then latent by latent (CSC).

Memory does not grow with the readings: pair-major columns are appended shard by shard, and one column at a
time is transposed from file to file, through pages that the system may write out and take back.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from engine.records import Span
from engine.store.shard_files import Lists, ShardRows, check_latents
from engine.store.transpose import (
    count_rows,
    merge_sides,
    scatter_column,
    transpose_column,
    transpose_pairs,
)

_SIDES = (Span.CHOSEN, Span.REJECTED)
Take = Callable[[ShardRows, Span, Sequence[str]], tuple[Lists, list[NDArray[Any]]]]
"""Latents of one side of a shard's pairs, ascending in each, and for each kind their values."""


class ColumnFile:
    """A ``.npy`` file of ``n`` values that are appended in order."""

    def __init__(self, path: Path, n: int, dtype: Any) -> None:
        self._file = path.open("wb")
        self._dtype = np.dtype(dtype)
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (n,)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, values: NDArray[Any]) -> None:
        """Write the next values."""
        np.ascontiguousarray(values, self._dtype).tofile(self._file)

    def __enter__(self) -> Self:
        """Open already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self._file.close()


def write_union(
    folder: Path,
    located: Sequence[ShardRows],
    n_pairs: int,
    n_latents: int,
    *,
    take: Take,
    dtypes: Mapping[str, Any],
    prefixes: tuple[str, str],
    advance: Callable[[], None] = lambda: None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Write the union of both responses' latents and their values in both orders.

    Args:
        folder: gets ``<row>_latent``, ``<column>_pair`` and for both ``…_<side>_<kind>``.
        located: where the pairs' readings lie.
        n_pairs: P.
        n_latents: L.
        take: what is taken of a shard.
        dtypes: of every kind of value; 0 stands where a side is silent.
        prefixes: names of the files by pair and by latent.
        advance: called twice per shard.

    Returns:
        indptr by pair (P + 1,) and by latent (L + 1,).

    Raises:
        StoreError: damaged shards, or latents that the SAE does not have.
    """
    row, column = prefixes
    counts = np.zeros(n_pairs, np.int64)
    per_latent = np.zeros(n_latents + 1, np.int64)
    for shard in located:
        chosen, rejected = (take(shard, side, ())[0] for side in _SIDES)
        check_latents((chosen.values, rejected.values), n_latents)
        count_rows(*chosen, *rejected, counts[shard.start : shard.stop], per_latent)
        advance()
    by_pair = np.concatenate([[0], np.cumsum(counts)])
    by_latent = np.cumsum(per_latent)  # counted one place on: the running sum is an indptr
    _write_rows(folder, located, by_pair, take, dtypes, row, advance)
    latent = _open(folder / f"{row}_latent.npy")
    pair = _create(folder / f"{column}_pair.npy", len(latent), np.uint32)
    transpose_pairs(by_pair, latent, by_latent.copy(), pair)
    del pair  # lets go of its pages
    for side in _SIDES:
        for kind, dtype in dtypes.items():
            out = _create(folder / f"{column}_{side}_{kind}.npy", len(latent), dtype)
            transpose_column(latent, by_latent.copy(), _open(folder / f"{row}_{side}_{kind}.npy"), out)
    return by_pair, by_latent


def _write_rows(
    folder: Path,
    located: Sequence[ShardRows],
    by_pair: NDArray[np.int64],
    take: Take,
    dtypes: Mapping[str, Any],
    prefix: str,
    advance: Callable[[], None],
) -> None:
    """Pair-major columns, shard by shard."""
    n, kinds = int(by_pair[-1]), tuple(dtypes)
    with ExitStack() as open_files:
        latents = open_files.enter_context(ColumnFile(folder / f"{prefix}_latent.npy", n, np.uint32))
        columns = {
            (side, kind): open_files.enter_context(
                ColumnFile(folder / f"{prefix}_{side}_{kind}.npy", n, dtypes[kind])
            )
            for side in _SIDES
            for kind in kinds
        }
        for shard in located:
            rows = by_pair[shard.start : shard.stop + 1] - by_pair[shard.start]
            taken = {side: take(shard, side, kinds) for side in _SIDES}
            latent = np.empty(int(rows[-1]), np.uint32)
            merge_sides(*taken[Span.CHOSEN][0], *taken[Span.REJECTED][0], latent)
            latents.append(latent)
            for side, (lists, values) in taken.items():
                for kind, found in zip(kinds, values, strict=True):
                    out = np.empty(len(latent), dtypes[kind])
                    scatter_column(rows, latent, *lists, found, out)
                    columns[side, kind].append(out)
            advance()


def _open(path: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, mmap_mode="r")
    return array


def _create(path: Path, n: int, dtype: Any) -> NDArray[Any]:
    if n == 0:  # a file of no bytes cannot be mapped
        np.save(path, np.zeros(0, dtype))
        return np.zeros(0, dtype)
    mapped: NDArray[Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(n,))
    return mapped
