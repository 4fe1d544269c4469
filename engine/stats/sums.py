"""Sums that every statistic of *taught* is made of, for all units in one pass over the discordant rows.

Pairs ascend inside a unit and prompt groups ascend with pairs, so a group's rows are neighbours and sums of
squares by group need no table.
"""

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numba as nb
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from engine.arrays import Disparity, PairArrays
from engine.machine import cores

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

MOST_THREADS = 32
"""Threads that passes over rows are given; beyond it they wait for memory, not for cores."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Per unit, over labelled pairs with weight > 0. y is 1{u > 0}; all arrays (M,)."""

    n_carry: Vector
    n_discordant: Vector
    n_plus: Vector
    n_discordant_groups: Vector
    wu: Vector  # Σ w·u
    tt: Vector  # Σ_g (Σ w·u)²
    y: Vector  # Σ w·y over discordant pairs
    n: Vector  # Σ w over discordant pairs
    yy: Vector  # Σ_g (Σ w·y)²
    yn: Vector  # Σ_g (Σ w·y)(Σ w)
    nn: Vector  # Σ_g (Σ w)²
    y_a: Vector  # as y and n, in half A
    n_a: Vector
    y_b: Vector
    n_b: Vector
    size: Vector  # Σ w·|u|
    uu: Vector  # Σ w·u²
    wu_a: Vector  # Σ w·u in half A
    wu_b: Vector
    ww: Vector  # Σ w² over discordant pairs

    def take(self, units: NDArray[np.int64]) -> "Sums":
        """Those of some units."""
        return Sums(*(getattr(self, f.name)[units] for f in fields(self)))


def half_of(pairs: PairArrays) -> NDArray[np.bool_]:
    """(P,) True in half B: odd folds. The fold is a hash of the prompt group, so groups never straddle."""
    return np.asarray(pairs.fold % 2 == 1)


def unit_sums(disparity: Disparity, pairs: PairArrays, weight: Vector) -> Sums:
    """All sums of all units.

    Args:
        disparity: u of every unit.
        pairs: groups and folds.
        weight: (P,) weight of each pair, 0 for unlabelled pairs.
    """
    out = np.zeros((disparity.n_units, 20))
    half = half_of(pairs)

    def chunk(start: int, stop: int) -> None:
        _sums_kernel(
            disparity.indptr, disparity.pair, disparity.u, pairs.group, weight, half, out, start, stop
        )

    for_chunks(disparity.indptr, chunk)
    return Sums(*np.ascontiguousarray(out.T))


def sums_by(number: NDArray[np.int32], n: int, rows: Matrix) -> Matrix:
    """(n, q) sums of rows (P, q) by their number (P,), in order: ``np.add.at``, ten times as fast."""
    places = sp.csr_array((np.ones(len(number)), (number, np.arange(len(number)))), shape=(n, len(number)))
    return np.asarray(places @ rows, np.float64)


def for_chunks(indptr: NDArray[np.int64], work: Any) -> None:
    """Call ``work(start, stop)`` for ranges of units of similar size, on threads (kernels drop the GIL)."""
    n_units = len(indptr) - 1
    if n_units == 0:
        return
    n_threads = min(cores(), MOST_THREADS)
    wanted = np.linspace(0, indptr[-1], 8 * n_threads + 1)
    edges = np.unique(np.concatenate([[0], np.searchsorted(indptr, wanted), [n_units]]).clip(0, n_units))
    ranges = list(itertools.pairwise(edges))
    # Kernels multiply small matrices: a library that starts threads for each of them, in every thread here,
    # takes twice as long.
    with _blas().limit(limits=1, user_api="blas"), ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(lambda r: work(int(r[0]), int(r[1])), ranges))


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


@nb.njit(cache=True, nogil=True)
def _sums_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    indptr, pair, u, group, weight, half, out, start, stop
):
    for m in range(start, stop):
        carry, discordant, plus, groups = 0, 0, 0, 0
        wu_a, y_a, n_a, wu_b, y_b, n_b, size, uu = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        wu, all_y, all_n, tt, yy, yn, nn = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        t, y, n, ww = 0.0, 0.0, 0.0, 0.0
        g = -1
        for k in range(indptr[m], indptr[m + 1]):
            i = pair[k]
            w = weight[i]
            if w > 0:
                carry += 1
            d = np.float64(u[k])
            if d == 0 or w <= 0:
                continue
            if group[i] != g:
                tt += t * t
                yy += y * y
                yn += y * n
                nn += n * n
                wu += t
                all_y += y
                all_n += n
                groups += 1
                g = group[i]
                t, y, n = 0.0, 0.0, 0.0
            is_plus = d > 0
            discordant += 1
            if is_plus:
                plus += 1
            if half[i]:
                y_b += w * is_plus
                n_b += w
                wu_b += w * d
            else:  # by itself: what is left of a sum of weights is not exactly 0 where nothing is left
                y_a += w * is_plus
                n_a += w
                wu_a += w * d
            size += w * abs(d)
            uu += w * d * d
            ww += w * w
            t += w * d
            y += w * is_plus
            n += w
        tt, yy, yn, nn = tt + t * t, yy + y * y, yn + y * n, nn + n * n
        wu, all_y, all_n = wu + t, all_y + y, all_n + n
        o = out[m]
        o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7] = carry, discordant, plus, groups, wu, tt, all_y, all_n
        o[8], o[9], o[10], o[11], o[12], o[13], o[14] = yy, yn, nn, y_a, n_a, y_b, n_b
        o[15], o[16], o[17], o[18], o[19] = size, uu, wu_a, wu_b, ww
