"""Near-duplicate pairs: MinHash over word 5-grams of prompt and both responses, in a pass of its own.

Estimand: the Jaccard similarity of the sets of word 5-grams of two pairs, over prompt, chosen and rejected
together (so a pair with exchanged sides is a near-duplicate too). Words are split at ASCII white space and
compared without ASCII case. One-permutation MinHash with 128 bins (Li, Owen & Zhang 2012), empty bins filled
by optimal densification (Shrivastava 2017); the share of equal bins estimates the similarity with a standard
error of at most 0.035 at 0.8. Candidates come from 21 bands of 6 bins: a pair of pairs at similarity 0.8
meets in one with probability 1 − (1 − 0.8⁶)²¹ = 0.998. Within a band's bucket each pair is compared with the
first and with the one before it, which keeps the pass linear however many copies there are.
"""

from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from engine.ingest.columnar import own_batches
from engine.progress import Progress

N_BINS = 128
N_BANDS = 21
BAND_BINS = 6
THRESHOLD = 0.8
_EMPTY = np.uint32(0xFFFFFFFF)
_SPANS = ("prompt", "chosen", "rejected")


class NearDuplicates(NamedTuple):
    """Pairs that have a near-duplicate, with one partner each."""

    pair: NDArray[np.int64]
    """(D,) row of pairs.parquet."""
    partner: NDArray[np.int64]
    """(D,)"""
    similarity: NDArray[np.float64]
    """(D,) estimated Jaccard, 0.8–1."""
    copy: NDArray[np.int32]
    """(P,) number of every pair among those that it is joined with by near and exact duplicates, from 0."""


@numba.njit(cache=True)  # type: ignore[untyped-decorator]  # numba ships no types
def _mix(h: np.uint64) -> np.uint64:
    """Finaliser of SplitMix64: every bit of the input reaches every bit of the output."""
    h ^= h >> np.uint64(30)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    h ^= h >> np.uint64(27)
    h *= np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _put(signature: NDArray[np.uint32], words: NDArray[np.uint64], count: int) -> None:
    """Fold one 5-gram (or all words of a shorter text) into a signature."""
    n = min(count, 5)
    h = np.uint64(n)
    for k in range(count - n, count):
        h = _mix(h + words[k % 5] + np.uint64(0x9E3779B97F4A7C15))
    at = h % np.uint64(N_BINS)
    value = np.uint32(h >> np.uint64(32))
    signature[at] = min(signature[at], value)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _sign(
    signatures: NDArray[np.uint32],
    data: NDArray[np.uint8],
    text_at: NDArray[np.int64],
    turn_at: NDArray[np.int64],
) -> None:
    """Fold the texts of one span into the signatures of all pairs: (P, 128)."""
    words = np.zeros(5, np.uint64)
    for pair in range(len(turn_at) - 1):
        for turn in range(turn_at[pair], turn_at[pair + 1]):
            count = 0
            h = np.uint64(0)
            is_inside = False
            for i in range(text_at[turn], text_at[turn + 1] + 1):
                c = data[i] if i < text_at[turn + 1] else np.uint8(32)
                if c == 32 or 9 <= c <= 13:
                    if is_inside:
                        words[count % 5] = _mix(h)
                        count += 1
                        is_inside = False
                        h = np.uint64(0)
                        if count >= 5:
                            _put(signatures[pair], words, count)
                else:
                    if 65 <= c <= 90:
                        c += np.uint8(32)
                    h = (h ^ np.uint64(c)) * np.uint64(0x100000001B3) + np.uint64(1)
                    is_inside = True
            if 0 < count < 5:
                _put(signatures[pair], words, count)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _densify(signatures: NDArray[np.uint32], empty: np.uint32) -> None:
    """Fill empty bins from full ones, by the same probes in every signature."""
    for pair in range(len(signatures)):
        full = signatures[pair] != empty
        if full.all() or not full.any():
            continue
        for at in range(N_BINS):
            probe = np.int64(at)
            step = 0
            while not full[probe]:
                step += 1
                probe = np.int64(_mix(np.uint64(at * 65_537 + step)) % np.uint64(N_BINS))
            if probe != at:
                signatures[pair, at] = signatures[pair, probe]


def signatures_of(batch: pa.RecordBatch) -> NDArray[np.uint32]:
    """MinHash signatures of some pairs: (P, 128) uint32; all ones for pairs without words."""
    signatures = np.full((batch.num_rows, N_BINS), _EMPTY)
    for span in _SPANS:
        column = batch.column(span)
        content = column.values.field("content")
        buffers = content.buffers()
        offsets = np.frombuffer(buffers[1], np.int32)[content.offset : content.offset + len(content) + 1]
        data = np.frombuffer(buffers[2] or b"", np.uint8)
        _sign(signatures, data, offsets.astype(np.int64), column.offsets.to_numpy().astype(np.int64))
    _densify(signatures, _EMPTY)
    return signatures


def find_near_duplicates(pairs: Path, progress: Progress) -> NearDuplicates:
    """All pairs of pairs.parquet with a near-duplicate that is no exact duplicate.

    Memory: 0.5 kB a pair.
    """
    with pq.ParquetFile(pairs) as file:
        n_pairs = file.metadata.num_rows
        progress.start("near-duplicates", n_pairs, "pairs")
        signatures = np.empty((n_pairs, N_BINS), np.uint32)
        contents = np.empty(n_pairs, np.uint64)
        at = 0
        for batch in own_batches(file, [*_SPANS, "content_id"]):
            here = slice(at, at + batch.num_rows)
            signatures[here] = signatures_of(batch)
            contents[here] = [int(c[:16], 16) for c in batch["content_id"].to_pylist()]
            at += batch.num_rows
            progress.advance(batch.num_rows)
    found = _partners(signatures, contents)
    progress.finish()
    return found


def _partners(signatures: NDArray[np.uint32], content: NDArray[np.uint64]) -> NearDuplicates:
    worded = np.flatnonzero((signatures != _EMPTY).any(axis=1))
    partner = np.full(len(signatures), -1, np.int64)
    similarity = np.zeros(len(signatures))
    joined = np.unique(content, return_inverse=True)[1]
    for band in range(N_BANDS):
        bins = signatures[worded, band * BAND_BINS : (band + 1) * BAND_BINS].astype(np.uint64)
        key = np.zeros(len(bins), np.uint64)
        for k in range(BAND_BINS):  # an accidental meeting costs one comparison, nothing else
            key = (key ^ bins[:, k]) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(k)
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        is_new = np.ones(len(order), np.bool_)
        is_new[1:] = ordered[1:] != ordered[:-1]
        start = np.maximum.accumulate(np.where(is_new, np.arange(len(order)), 0))
        for other in (start, np.maximum(np.arange(len(order)) - 1, start)):
            i, j = worded[order[other]], worded[order]
            differs = (i != j) & (content[i] != content[j])
            near = _keep_best(signatures, i[differs], j[differs], partner, similarity)
            joined = _join(joined, i[differs][near], j[differs][near])
    pair = np.flatnonzero(partner >= 0)
    return NearDuplicates(pair, partner[pair], similarity[pair], _numbered(joined))


def _join(joined: NDArray[np.int64], i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.int64]:
    """Components, (P,) as numbers, after these pairs have been joined as well."""
    if not len(i):
        return joined
    n = int(joined.max()) + 1
    edges = coo_array((np.ones(len(i), np.int8), (joined[i], joined[j])), shape=(n, n))
    _, component = connected_components(edges, directed=False)
    return np.asarray(component[joined], np.int64)


def _numbered(joined: NDArray[np.int64]) -> NDArray[np.int32]:
    """Place of every pair in its component, in the order of pairs."""
    order = np.argsort(joined, kind="stable")
    ordered = joined[order]
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    start = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order)) - start
    return place


def _keep_best(
    signatures: NDArray[np.uint32],
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    partner: NDArray[np.int64],
    similarity: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Note for both sides of every candidate the most similar partner so far, in place; which are near."""
    found = np.zeros(len(i), np.bool_)
    for start in range(0, len(i), 65_536):
        a, b = i[start : start + 65_536], j[start : start + 65_536]
        share = (signatures[a] == signatures[b]).mean(axis=1)
        near = share >= THRESHOLD
        found[start : start + 65_536] = near
        by_share = np.argsort(share[near], kind="stable")  # the best is written last
        left, right, value = a[near][by_share], b[near][by_share], share[near][by_share]
        for x, y in ((left, right), (right, left)):
            better = value > similarity[x]
            partner[x[better]] = y[better]
            similarity[x[better]] = value[better]
    return found
