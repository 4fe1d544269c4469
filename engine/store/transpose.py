"""Kernels that turn lists per pair into arrays by pair and by latent. Compiled on first use."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
LatentArray = NDArray[np.uint32]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def count_rows(
    a_indptr: IntArray,
    a: LatentArray,
    b_indptr: IntArray,
    b: LatentArray,
    counts: IntArray,
    per_latent: IntArray,
) -> None:
    """Count the union of two ascending lists per row.

    ``counts`` (rows,) is set; ``per_latent`` (L + 1,) is added to at latent + 1, so that its running sum is
    an indptr.
    """
    for row in range(len(counts)):
        i, i_end = a_indptr[row], a_indptr[row + 1]
        j, j_end = b_indptr[row], b_indptr[row + 1]
        n = 0
        while i < i_end or j < j_end:
            if j >= j_end or (i < i_end and a[i] <= b[j]):
                latent = a[i]
                if j < j_end and b[j] == latent:
                    j += 1
                i += 1
            else:
                latent = b[j]
                j += 1
            per_latent[latent + 1] += 1
            n += 1
        counts[row] = n


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def merge_sides(
    a_indptr: IntArray, a: LatentArray, b_indptr: IntArray, b: LatentArray, out: LatentArray
) -> None:
    """Write the union of two ascending lists per row, row after row."""
    at = 0
    for row in range(len(a_indptr) - 1):
        i, i_end = a_indptr[row], a_indptr[row + 1]
        j, j_end = b_indptr[row], b_indptr[row + 1]
        while i < i_end or j < j_end:
            if j >= j_end or (i < i_end and a[i] <= b[j]):
                latent = a[i]
                if j < j_end and b[j] == latent:
                    j += 1
                i += 1
            else:
                latent = b[j]
                j += 1
            out[at] = latent
            at += 1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def transpose_pairs(by_pair: IntArray, latent: LatentArray, next_free: IntArray, out: LatentArray) -> None:
    """Pair numbers in latent-major order by a counting sort, which keeps pairs ascending.

    ``next_free`` starts as the latent-major indptr and is used up.
    """
    for pair in range(len(by_pair) - 1):
        for at in range(by_pair[pair], by_pair[pair + 1]):
            to = next_free[latent[at]]
            next_free[latent[at]] = to + 1
            out[to] = pair


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def transpose_column(
    latent: LatentArray, next_free: IntArray, column: NDArray[Any], out: NDArray[Any]
) -> None:
    """One column of values in latent-major order, as ``transpose_pairs`` orders the pairs."""
    for at in range(len(latent)):
        to = next_free[latent[at]]
        next_free[latent[at]] = to + 1
        out[to] = column[at]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def scatter_column(
    rows: IntArray,
    latent: LatentArray,
    side_indptr: IntArray,
    side_latent: LatentArray,
    values: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Values of one side at the places of the union, 0 where the side is silent.

    ``rows`` is the union's indptr, ``latent`` its latents.
    """
    for row in range(len(rows) - 1):
        i, i_end = side_indptr[row], side_indptr[row + 1]
        for at in range(rows[row], rows[row + 1]):
            if i < i_end and side_latent[i] == latent[at]:
                out[at] = values[i]
                i += 1
            else:
                out[at] = 0


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def count_latents(latent: LatentArray, counts: IntArray) -> None:
    """Add the number of places of every latent to ``counts`` (L,)."""
    for at in range(len(latent)):
        counts[latent[at]] += 1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def transpose_some(
    by_pair: IntArray,
    latent: LatentArray,
    first: int,
    stop: int,
    next_free: IntArray,
    act_max: NDArray[np.float32],
    n_fired: NDArray[np.uint16],
    act_sum: NDArray[np.float32],
    peak: NDArray[np.uint16],
    pair_out: LatentArray,
    max_out: NDArray[np.float32],
    n_out: NDArray[np.uint16],
    sum_out: NDArray[np.float32],
    peak_out: NDArray[np.uint16],
) -> None:
    """Pairs and values of the latents ``first … stop − 1`` in latent-major order.

    ``next_free`` starts as the indptr of these latents and is used up.
    """
    for pair in range(len(by_pair) - 1):
        for at in range(by_pair[pair], by_pair[pair + 1]):
            if first <= latent[at] < stop:
                to = next_free[latent[at] - first]
                next_free[latent[at] - first] = to + 1
                pair_out[to] = pair
                max_out[to] = act_max[at]
                n_out[to] = n_fired[at]
                sum_out[to] = act_sum[at]
                peak_out[to] = peak[at]
