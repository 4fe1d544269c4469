"""Does a hypothesis survive another way of pooling a latent over a response?

The primary measure is presence (``1{fire_rate > τ}``). Here the same concepts are tested on the difference of
the largest activation, the fire rate, the mean activation and, where readers stored it, the last token's
activation, each as the mean over the concept's latents of the delta over its root mean square (uncentred, so
the scale is label-blind). A pooling *agrees* with presence when it calls every effect that presence calls,
with the same sign; where presence calls none, when it calls none either. What changes with pooling is about
the pooling as much as about the data. Maxima grow with length even where nothing else differs, so a *taught*
call under them says less than one at equal length.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import expit

from engine.arrays import Disparity, PairArrays, Readings, SpanValues
from engine.settings import StatsSettings
from engine.stats.calls import calls, q_values
from engine.stats.null import NullModel
from engine.stats.score import Scores, score_tests
from engine.stats.sums import Sums, unit_sums
from engine.stats.taught import safe_ratio, student, taught, two_sided
from engine.stats.two_way import wider

Vector = NDArray[np.float64]

POOLINGS = ("largest activation", "fire rate", "mean activation", "last token")
BLOCK_ROWS = 4_000_000
"""Rows of pooled deltas that are made at once."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One question's answer for every concept; NaN where undefined. All (M,)."""

    win_rate: Vector
    low: Vector
    high: Vector
    z: Vector
    q: Vector
    call: Vector
    """1 called, 0 not called."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """Every concept under one pooling."""

    pooling: str
    n_discordant: Vector  # (M,)
    taught: Effect
    equal: Effect
    """At equal length; the win rate is σ(β·ū) with β after one Newton step, for the call's floor."""


def poolings_of(readings: Readings) -> tuple[str, ...]:
    """The poolings that these readings allow."""
    return POOLINGS if readings.last is not None else POOLINGS[:-1]


@dataclass(frozen=True, slots=True)
class Members:
    """Latents of each concept: those of concept m are ``latent[indptr[m]:indptr[m+1]]``."""

    indptr: NDArray[np.int64]  # (M+1,)
    latent: NDArray[np.int64]

    @property
    def some(self) -> NDArray[np.bool_]:
        """(M,) concepts made of latents."""
        return np.asarray(np.diff(self.indptr) > 0)


def members_of(latents: Sequence[Sequence[int]]) -> Members:
    """From the latents of each concept; columns have none."""
    indptr = np.concatenate([[0], np.cumsum([len(own) for own in latents])]).astype(np.int64)
    return Members(indptr, np.array([latent for own in latents for latent in own], np.int64))


def pooling_sensitivity(
    readings: Readings,
    members: Members,
    tested: NDArray[np.bool_],
    null: NullModel,
    settings: StatsSettings,
) -> list[Pooled]:
    """Test every concept that is made of latents under every pooling.

    Args:
        readings: all readings.
        members: latents of each of M concepts.
        tested: (M,) concepts that presence tests; q is taken over those of them that are made of latents.
        null: the fitted null model.
        settings: levels and floors of a call.
    """
    found = []
    family = tested & members.some
    for pooling in poolings_of(readings) if family.any() else ():
        blocks = [
            _numbers(disparity, readings.pairs, null)
            for disparity in pooled_blocks(readings, members, pooling)
        ]
        n, *numbers = (np.concatenate(part) for part in zip(*blocks, strict=True))
        first, second = numbers[:4], numbers[4:]
        found.append(Pooled(pooling, n, _effect(first, family, settings), _effect(second, family, settings)))
    return found


def agreement(found: list[Pooled], own: tuple[Vector, Vector], z: tuple[Vector, Vector]) -> Vector:
    """(poolings, M) whether a pooling agrees with presence: 1, 0, or NaN where it tests neither question.

    Args:
        found: every pooling.
        own: presence's calls, taught and at equal length; 1, 0 or NaN, (M,) each.
        z: their z.
    """
    called = [call == 1 for call in own]
    out = []
    for pooled in found:
        theirs = (pooled.taught, pooled.equal)
        with np.errstate(invalid="ignore"):
            same = [(t.call == 1) & (t.z * mine > 0) for t, mine in zip(theirs, z, strict=True)]
        survives = (~called[0] | same[0]) & (~called[1] | same[1])
        silent = (pooled.taught.call != 1) & (pooled.equal.call != 1)
        agrees = np.where(called[0] | called[1], survives, silent).astype(np.float64)
        is_open = np.isnan(pooled.taught.z) & np.isnan(pooled.equal.z)
        out.append(np.where(is_open, np.nan, agrees))
    return np.array(out, np.float64).reshape(len(found), len(own[0]))


def pooled_blocks(readings: Readings, members: Members, pooling: str) -> Iterator[Disparity]:
    """Concepts in order, some at a time: mean over a concept's latents of delta / RMS(delta)."""
    sizes = np.diff(_indptr(readings, pooling))[members.latent]
    rows = np.concatenate([[0], np.cumsum(sizes)])[members.indptr]  # before each concept
    n, start = len(members.indptr) - 1, 0
    while start < n:
        stop = max(int(np.searchsorted(rows, rows[start] + BLOCK_ROWS, side="right")) - 1, start + 1)
        yield _block(readings, pooling, members, slice(start, min(stop, n)))
        start = stop


def _block(readings: Readings, pooling: str, members: Members, at: slice) -> Disparity:
    own = slice(int(members.indptr[at.start]), int(members.indptr[at.stop]))
    latents, per_concept = members.latent[own], np.diff(members.indptr[at.start : at.stop + 1])
    indptr = _indptr(readings, pooling)
    sizes = np.diff(indptr)[latents]
    edges = np.concatenate([[0], np.cumsum(sizes)])
    place = np.arange(edges[-1]) + np.repeat(indptr[latents] - edges[:-1], sizes)
    pair, delta = _deltas(readings, pooling, place)
    member = np.repeat(np.arange(len(latents)), sizes)
    square = np.bincount(member, delta**2, minlength=len(latents)) / max(readings.n_pairs, 1)
    scale = np.sqrt(np.where(square > 0, square, np.inf))
    values = sp.csr_matrix((delta / scale[member], pair, edges), (len(latents), readings.n_pairs))
    share = np.repeat(1 / np.maximum(per_concept, 1), per_concept)
    mix = sp.csr_matrix(
        (share, np.arange(len(latents)), members.indptr[at.start : at.stop + 1] - own.start),
        (at.stop - at.start, len(latents)),
    )
    u = (mix @ values).tocsr()
    u.sort_indices()
    return Disparity(u.indptr.astype(np.int64), u.indices.astype(np.uint32), u.data.astype(np.float32))


def _indptr(readings: Readings, pooling: str) -> NDArray[np.int64]:
    if pooling == POOLINGS[3] and readings.last is not None:
        return readings.last.indptr
    return readings.by_latent.indptr


def _deltas(readings: Readings, pooling: str, at: NDArray[np.int64]) -> tuple[NDArray[np.int64], Vector]:
    """Pairs and chosen − rejected of some places."""
    if pooling == POOLINGS[3] and readings.last is not None:
        last = readings.last
        return last.pair[at].astype(np.int64), last.chosen[at].astype(np.float64) - last.rejected[at]
    by_latent, pairs = readings.by_latent, readings.pairs
    pair = by_latent.pair[at].astype(np.int64)
    chosen = _pooled(by_latent.chosen, pairs.chosen_tokens[pair], pooling, at)
    return pair, chosen - _pooled(by_latent.rejected, pairs.rejected_tokens[pair], pooling, at)


def _pooled(values: SpanValues, tokens: NDArray[np.int32], pooling: str, at: NDArray[np.int64]) -> Vector:
    if pooling == POOLINGS[0]:
        return values.act_max[at].astype(np.float64)
    total = values.n_fired if pooling == POOLINGS[1] else values.act_sum
    return np.asarray(total[at] / np.maximum(tokens, 1), np.float64)


def _numbers(disparity: Disparity, pairs: PairArrays, null: NullModel) -> tuple[Vector, ...]:
    """Discordant pairs; win rate, interval and z; the same at equal length."""
    sums = unit_sums(disparity, pairs, null.weight)
    first, scores = taught(sums), score_tests(disparity, null)
    second = _one_step(scores, sums)
    return (sums.n_discordant, first.win_rate, first.win_low, first.win_high, first.z, *second, scores.z)


def _one_step(scores: Scores, sums: Sums) -> tuple[Vector, Vector, Vector]:
    """σ(β·ū) with β = U / I, and its 95% interval from the clustered variance of U."""
    typical = safe_ratio(sums.size, sums.n)
    usable = np.where(np.isfinite(scores.z), scores.information, np.nan)
    beta = safe_ratio(scores.score, usable)
    error = safe_ratio(np.sqrt(np.maximum(scores.variance, 0)), usable)
    half = wider(student(sums.n_discordant_groups) * error, error**2, scores.degrees)
    return expit(beta * typical), expit((beta - half) * typical), expit((beta + half) * typical)


def _effect(numbers: list[Vector], tested: NDArray[np.bool_], settings: StatsSettings) -> Effect:
    rate, low, high, z = numbers
    q = q_values(two_sided(z), tested)
    return Effect(rate, low, high, z, q, calls(q, z, low, high, settings))
