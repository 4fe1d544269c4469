"""Compiled loops behind the score tests: one pass over the rows with a packed table of the pairs.

What a row needs of its pair lies side by side in 32-bit floats, so that one look-up serves it: 4 numbers with
one null column, else the columns, residual and curvature, padded to 16. Products are summed eight rows at a
time into 64-bit sums. That costs 1e-7 of a unit's own size and a third of the time of 64-bit columns, which
are bound by memory; loops of known width stay in registers, so a kernel is compiled for each width.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import numba as nb
import numpy as np
from numpy.typing import NDArray

from engine.stats.null import NullModel

BLOCK = 128
"""Rows whose pairs are looked up before their products are summed: what the first cache holds."""
LANES = 16
TILE_BYTES = 4 * 1024 * 1024
"""Part of a wide table that near caches hold (¼ to 4 MiB tried); beyond it every row waits for memory."""
_FAST = {"contract", "reassoc", "nsz", "arcp"}


def pack_narrow(null: NullModel) -> NDArray[np.float32]:
    """(P, 4): the null's only column, residual, curvature, the group's score."""
    columns = (null.design.z[:, 0], null.residual, null.curvature, null.group_scores[null.group, 0])
    return np.ascontiguousarray(np.stack(columns, axis=1).astype(np.float32))


def pack_wide(null: NullModel) -> NDArray[np.float32]:
    """(P, width): the null's columns, zeros, residual, curvature; width is a multiple of ``LANES``."""
    q = null.design.n_columns
    table = np.zeros((len(null.eta), -(-(q + 2) // LANES) * LANES), np.float32)
    table[:, :q] = null.design.z
    table[:, -2], table[:, -1] = null.residual, null.curvature
    return table


def tile_ends(group: NDArray[np.int32], width: int) -> NDArray[np.int64]:
    """Ends of the runs of pairs that are worked through together; no prompt group is cut in two."""
    first = np.flatnonzero(np.diff(group)) + 1
    step = max(TILE_BYTES // (4 * width), 1)
    at = np.searchsorted(first, np.arange(step, len(group), step))
    return np.unique(np.append(first[at[at < len(first)]], len(group)))


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def narrow_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    indptr, pair, u, group, table, out, b, cross, start, stop
):
    """U, Σ w·u², Σ_g a_g², Zᵀwu and Σ e·u·c_g of units with one null column; rows with u = 0 add nothing."""
    for m in range(start, stop):
        total, own, squares, a, first, second = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        g = -1
        for k in range(indptr[m], indptr[m + 1]):
            i = pair[k]
            d = np.float64(u[k])
            e, w = table[i, 1] * d, table[i, 2] * d
            if group[i] != g:
                squares += a * a
                a = 0.0
                g = group[i]
            a += e
            total += e
            own += w * d
            first += w * table[i, 0]
            second += e * table[i, 3]
        squares += a * a
        out[m, 0] = total
        out[m, 1] = own
        out[m, 2] = squares
        b[m, 0] = first
        cross[m, 0] = second


@nb.njit(inline="always", fastmath=_FAST)
def _add_products(table, place, ws, fs, n, own_b, own_cross, width):  # type: ignore[no-untyped-def] # as above
    r = 0
    while r + 8 <= n:
        p0, p1, p2, p3 = place[r], place[r + 1], place[r + 2], place[r + 3]
        p4, p5, p6, p7 = place[r + 4], place[r + 5], place[r + 6], place[r + 7]
        w0, w1, w2, w3 = ws[r], ws[r + 1], ws[r + 2], ws[r + 3]
        w4, w5, w6, w7 = ws[r + 4], ws[r + 5], ws[r + 6], ws[r + 7]
        f0, f1, f2, f3 = fs[r], fs[r + 1], fs[r + 2], fs[r + 3]
        f4, f5, f6, f7 = fs[r + 4], fs[r + 5], fs[r + 6], fs[r + 7]
        for c in range(width):
            z0, z1, z2, z3 = table[p0, c], table[p1, c], table[p2, c], table[p3, c]
            z4, z5, z6, z7 = table[p4, c], table[p5, c], table[p6, c], table[p7, c]
            left, right = (w0 * z0 + w1 * z1) + (w2 * z2 + w3 * z3), w4 * z4 + w5 * z5
            own_b[c] += left + (right + (w6 * z6 + w7 * z7))
            left, right = (f0 * z0 + f1 * z1) + (f2 * z2 + f3 * z3), f4 * z4 + f5 * z5
            own_cross[c] += left + (right + (f6 * z6 + f7 * z7))
        r += 8
    while r < n:
        for c in range(width):
            own_b[c] += ws[r] * table[place[r], c]
            own_cross[c] += fs[r] * table[place[r], c]
        r += 1


@lru_cache(maxsize=16)
def wide_kernel(width: int) -> Callable[..., Any]:
    """The same for tables of ``width``, added to zeros; columns of b and cross beyond the null's are scrap.

    Pairs are taken tile by tile (``tile_ends``), and of each tile the rows of every unit: the tile's part of
    the table stays in the second cache.
    A pair that is alone in its group has its group's score in its own row; what the rows of other groups add
    to the cross sums is added once per group.
    """

    @nb.njit(cache=True, nogil=True, fastmath=_FAST)
    def kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
        indptr, pair, u, group, is_alone, table, group_scores, ends, out, b, cross, start, stop
    ):
        place = np.zeros(BLOCK + 1, np.uint32)
        ws, fs = np.zeros(BLOCK + 1, np.float32), np.zeros(BLOCK + 1, np.float32)
        own_b, own_cross = np.zeros(width), np.zeros(width)
        at = indptr[start:stop].copy()
        for end in ends:
            for m in range(start, stop):
                k, last = at[m - start], indptr[m + 1]
                if k >= last or pair[k] >= end:
                    continue
                total, own, squares, a = 0.0, 0.0, 0.0, 0.0
                g = -1
                for c in range(width):
                    own_b[c] = 0.0
                    own_cross[c] = 0.0
                while k < last and pair[k] < end:
                    n = 0
                    block = min(k + BLOCK, last)
                    while k < block and pair[k] < end:
                        i, d = pair[k], u[k]
                        residual = table[i, width - 2]
                        e, w = residual * d, table[i, width - 1] * d
                        total += e
                        own += w * d
                        f = np.float32(0.0)
                        if is_alone[i]:
                            squares += e * e
                            f = e * residual
                        elif d != 0:
                            if group[i] != g:
                                if g >= 0:
                                    squares += a * a
                                    for c in range(group_scores.shape[1]):
                                        own_cross[c] += a * group_scores[g, c]
                                a = 0.0
                                g = group[i]
                            a += e
                        place[n] = i
                        ws[n] = w
                        fs[n] = f
                        n += d != 0  # without a branch: zeros come at random
                        k += 1
                    _add_products(table, place, ws, fs, n, own_b, own_cross, width)
                at[m - start] = k
                if g >= 0:
                    squares += a * a
                    for c in range(group_scores.shape[1]):
                        own_cross[c] += a * group_scores[g, c]
                out[m, 0] += total
                out[m, 1] += own
                out[m, 2] += squares
                for c in range(width):
                    b[m, c] += own_b[c]
                    cross[m, c] += own_cross[c]

    return cast("Callable[..., Any]", kernel)
