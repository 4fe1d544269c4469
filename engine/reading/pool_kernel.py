"""Compiled loops of the SAE step on a CPU: one pass over products while they are in the cache.

Products come as the bits of float32 or of bfloat16, a bias is added in float32, and only what exceeds a limit
is looked at more closely. Blocks of latents come in ascending order and have a multiple of ``RUN`` columns;
columns beyond the last latent hold what never exceeds anything.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from engine.reading.run_mask import RUN, lowest_bit, run_mask

Bits = NDArray[np.uint32] | NDArray[np.uint16]
Floats = NDArray[np.float32]
Counts = NDArray[np.uint16]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba ships no types
def _value(bits: Any, shift: Any) -> Any:
    """A float32 from its bits (shift 0), or from bfloat16's (shift 16)."""
    return np.uint32(np.uint32(bits) << np.uint32(shift)).view(np.float32)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _count(
    s: Any, latent: Any, at: Any, is_last: Any, value: Any,
    act_max: Any, n_fired: Any, act_sum: Any, peak: Any, act_last: Any,
) -> None:  # fmt: skip
    n_fired[s, latent] += np.uint16(1)
    act_sum[s, latent] += value
    if value > act_max[s, latent]:
        act_max[s, latent] = value
        peak[s, latent] = at
    if is_last:
        act_last[s, latent] = value


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def pool_over(
    bits: Bits, shift: int, bias: Floats, limit: Floats, bounds: NDArray[np.int64], left: int, right: int,
    offset: int, act_max: Floats, n_fired: Counts, act_sum: Floats, peak: Counts, act_last: Floats,
) -> None:  # fmt: skip
    """Add what exceeds its latent's limit in columns ``left:right`` of a block to the spans' readings.

    Args:
        bits: (T, B) products.
        shift: 0 for float32, 16 for bfloat16.
        bias: (B,)
        limit: (B,) ≥ 0; a token counts where product + bias exceeds it.
        bounds: S + 1 ascending rows; span s is ``bounds[s]:bounds[s + 1]``.
        left: first column, like ``right`` a multiple of ``RUN``.
        right: end of the columns.
        offset: latent of column 0.
        act_max: (S, L) zeros before the first block, like the other outputs.
        n_fired: (S, L)
        act_sum: (S, L) summed in the order of rows.
        peak: (S, L) row within the span of the first largest value.
        act_last: (S, L)
    """
    for s in range(len(bounds) - 1):
        start, end = bounds[s], bounds[s + 1]
        for row in range(start, end):
            values = bits[row]
            for a in range(left, right, RUN):
                mask = run_mask(values, a, bias, limit)
                while mask != 0:
                    c = a + lowest_bit(mask)
                    mask &= mask - np.uint64(1)
                    value = _value(values[c], shift) + bias[c]
                    _count(
                        s, offset + c, row - start, row == end - 1, value,
                        act_max, n_fired, act_sum, peak, act_last,
                    )  # fmt: skip


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _at_least(values: Any, pivot: Any) -> Any:
    n = np.int32(0)
    for i in range(len(values)):
        n += np.int32(values[i] >= pivot)
    return n


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _rank_bits(k: Any, slack: Any, values: Any, least: Any) -> Any:
    """Bits of a float that k of the values reach, or up to ``slack`` more; beyond that only equals.

    Returns also how many are to be kept. All of the values, or at least k, are ≥ ``least`` ≥ 0. Such floats
    are ordered as their bits are: the range between least and largest is halved until few enough are above.
    """
    bits = values.view(np.int32)
    low = np.float32(least).view(np.int32)  # at least k values are ≥ low, fewer are ≥ high
    high = low
    for i in range(len(bits)):
        high = max(high, bits[i])
    high += np.int32(1)
    while high - low > 1:
        middle = low + (high - low) // np.int32(2)
        found = _at_least(bits, middle)
        if found < k:
            high = middle
            continue
        low = middle
        if found <= k + slack:
            return low, found
    return low, np.int32(k)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _keep_top(k: Any, slack: Any, value: Any, latent: Any, least: Any) -> Any:
    """Move the largest of values above ``least`` ≥ 0, k of them or up to ``slack`` more, to the front.

    They stay in order. Of equals at the last place the first stay. Returns the smallest that stays, and how
    many do.
    """
    low, n = _rank_bits(k, slack, value, least)
    bits = value.view(np.int32)
    spare = n - _at_least(bits, low + np.int32(1))
    kept = 0
    for i in range(len(bits)):
        is_equal = bits[i] == low
        stays = (bits[i] > low) | (is_equal & (spare > 0))
        spare -= is_equal
        value[kept], latent[kept] = value[i], latent[i]
        kept += stays
    smallest = np.float32(np.inf)
    for i in range(n):
        smallest = min(smallest, value[i])
    return smallest, n


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _first_bound(k: Any, values: Any, shift: Any, bias: Any, tops: Any) -> Any:
    """A bound that at least k values of a row exceed, from the largest of each of ``len(tops)`` ≥ k sets."""
    width = len(tops)
    tops[:] = 0
    for a in range(0, len(values) - width + 1, width):
        part, of_part = values[a : a + width], bias[a : a + width]
        for j in range(width):
            found = _value(part[j], shift) + of_part[j]
            tops[j] = found if found > tops[j] else tops[j]
    low, _ = _rank_bits(k, k // 8, tops, np.float32(0))
    return np.int32(max(low - 1, 0)).view(np.float32)  # k of them are ≥ low: they exceed what is next below


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def gather_top(
    bits: Bits, shift: int, bias: Floats, offset: int, k: int, first: int, last: int,
    value: Floats, latent: NDArray[np.int32], n_held: NDArray[np.int32], bound: Floats,
) -> None:  # fmt: skip
    """Collect from a block candidates for the k largest values above 0 of rows ``first:last``.

    A value joins if it exceeds a bound that k values known before reach. The bound begins with the largest of
    2 k sets of latents and rises whenever a row's places run out. Values that equal it came first, so of
    equals at the k-th place the lowest latents stay.

    Args:
        bits: (T, B) products.
        shift: 0 for float32, 16 for bfloat16.
        bias: (B,)
        offset: latent of column 0.
        k: values to keep per row.
        first: first row.
        last: end of the rows.
        value: (T, C) candidates, C ≥ 2 k + ``RUN``.
        latent: (T, C)
        n_held: (T,) candidates held; zeros before the first block.
        bound: (T,) zeros before the first block.
    """
    tops = np.empty(2 * k, np.float32)
    for row in range(first, last):
        values, found, which = bits[row], value[row], latent[row]
        n, least = n_held[row], bound[row]
        if offset == 0 and 4 * len(tops) <= len(values):
            least = _first_bound(k, values, shift, bias, tops)
        for a in range(0, len(values), RUN):
            mask = run_mask(values, a, bias, least)
            if mask == 0:
                continue
            if n > len(found) - RUN:
                least, n = _keep_top(k, k // 4, found[:n], which[:n], least)
                mask = run_mask(values, a, bias, least)
            while mask != 0:
                c = a + lowest_bit(mask)
                mask &= mask - np.uint64(1)
                found[n], which[n] = _value(values[c], shift) + bias[c], offset + c
                n += 1
        n_held[row], bound[row] = n, least


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def finish_top(
    k: int, first: int, last: int,
    value: Floats, latent: NDArray[np.int32], n_held: NDArray[np.int32], bound: Floats,
) -> None:  # fmt: skip
    """Reduce the candidates of rows ``first:last`` to the k largest, ascending by latent."""
    for row in range(first, last):
        n = n_held[row]
        if n > k:
            bound[row], n_held[row] = _keep_top(k, 0, value[row, :n], latent[row, :n], bound[row])


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def pool_held(
    value: Floats, latent: NDArray[np.int32], n_held: NDArray[np.int32], bounds: NDArray[np.int64],
    first: int, last: int,
    act_max: Floats, n_fired: Counts, act_sum: Floats, peak: Counts, act_last: Floats,
) -> None:  # fmt: skip
    """Add the values held per row to the readings of spans ``first:last``.

    Arguments as in ``pool_over`` and ``gather_top``.
    """
    for s in range(first, last):
        start, end = bounds[s], bounds[s + 1]
        for row in range(start, end):
            for i in range(n_held[row]):
                _count(
                    s, latent[row, i], row - start, row == end - 1, value[row, i],
                    act_max, n_fired, act_sum, peak, act_last,
                )  # fmt: skip
