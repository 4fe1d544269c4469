"""Context × concept: is the effect here another than everywhere?

A cell is a concept restricted to the pairs of one context. Null of the *differs* test: the concept's global
effect β (converged), the null model, and a length slope λ_k of the context. The efficient score of the extra
effect θ_k projects out β and λ_k, and is summed by prompt group:

    s_g = a_g − h_β t_g − h_λ l_g,   U = Σ s_g,   z = U / √(Σ s_g²),

with a_g = Σ e·u inside the context, t_g = Σ e·u everywhere, l_g = Σ e·ℓ inside, and h the regression of θ's
score on those of β and λ_k. The null model's own columns are held at their fit, which leaves z slightly
conservative for contexts that hold a large share of the pairs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from engine.arrays import Disparity, PairSets
from engine.stats.cell_kernels import count_kernel, enclosed_kernel, restrict_kernel, side_kernel
from engine.stats.effect import Effects
from engine.stats.null import NullModel
from engine.stats.sums import for_chunks

Vector = NDArray[np.float64]

_SIDE_SUMS = ("U", "U_plain", "I", "J", "S", "aa", "at", "al", "tt", "tl", "ll", "II_here", "LL_here")
_FAR = 300.0
"""Log odds beyond which nothing changes; their exponentials and the products of two are finite."""


@dataclass(frozen=True, slots=True)
class ContextIndex:
    """Contexts by pair and by prompt group, with their fitted length slopes. N places = Σ sizes."""

    sets: PairSets
    ratio: Vector  # (P,) ℓ, the log length ratio
    pair_indptr: NDArray[np.int64]  # (P+1,)
    pair_context: NDArray[np.int32]  # (N,) contexts of each pair
    group_indptr: NDArray[np.int64]  # (G+1,)
    group_context: NDArray[np.int32]  # contexts that hold a labelled pair of the group
    group_length: Vector  # Σ e·ℓ over the group's pairs in that context, at the fitted slope
    slope: Vector  # (K,) λ_k
    information: Vector  # (K,) Σ w·ℓ² inside
    meat: Vector  # (K,) Σ_g l_g²
    n_pairs: Vector  # (K,) labelled pairs
    n_groups: Vector  # (K,) their prompt groups
    weight: Vector  # (K,) their summed weight


def index_contexts(sets: PairSets, null: NullModel, ratio: Vector) -> ContextIndex:
    """Fit each context's length slope beside the null model and turn the sets around.

    Args:
        sets: pairs of each context.
        null: the fitted null model; its weights say which pairs are labelled.
        ratio: (P,) log length ratio.
    """
    n_pairs, n_sets = len(null.eta), sets.n_sets
    context = np.repeat(np.arange(n_sets, dtype=np.int32), np.diff(sets.indptr))
    pair = sets.pair.astype(np.int64)
    live = null.weight[pair] > 0
    context, pair = context[live], pair[live]
    slope = _slopes(context, pair, null, ratio, n_sets)
    p = expit(null.eta[pair] + slope[context] * ratio[pair])
    e, w = null.weight[pair] * (1 - p), null.weight[pair] * p * (1 - p)
    key = null.group[pair].astype(np.int64) * max(n_sets, 1) + context
    unique, inverse = np.unique(key, return_inverse=True)
    length = np.bincount(inverse, e * ratio[pair], minlength=len(unique)).astype(np.float64)
    group_context = (unique % max(n_sets, 1)).astype(np.int32)

    def total(at: NDArray[np.int32], values: Vector) -> Vector:
        return np.bincount(at, values, minlength=n_sets).astype(np.float64)

    n_all = len(null.group_scores)
    group_indptr = np.searchsorted(unique // max(n_sets, 1), np.arange(n_all + 1)).astype(np.int64)
    order = np.lexsort((context, pair))
    pair_indptr = np.searchsorted(pair[order], np.arange(n_pairs + 1)).astype(np.int64)
    return ContextIndex(
        sets, ratio, pair_indptr, context[order], group_indptr, group_context, length, slope,
        total(context, w * ratio[pair] ** 2), total(group_context, length**2),
        total(context, np.ones(len(pair))), total(group_context, np.ones(len(length))),
        total(context, null.weight[pair]),
    )  # fmt: skip


def _slopes(
    context: NDArray[np.int32], pair: NDArray[np.int64], null: NullModel, ratio: Vector, n_sets: int
) -> Vector:
    """λ_k by Newton's method, all contexts at once; 0 where length does not vary inside."""
    slope = np.zeros(n_sets)
    for _ in range(30):
        p = expit(null.eta[pair] + slope[context] * ratio[pair])
        weight = null.weight[pair]
        gradient = np.bincount(context, weight * (1 - p) * ratio[pair], minlength=n_sets)
        information = np.bincount(context, weight * p * (1 - p) * ratio[pair] ** 2, minlength=n_sets)
        step = np.divide(gradient, information, out=np.zeros(n_sets), where=information > 1e-9)
        slope = np.clip(slope + np.clip(step, -1, 1), -20, 20)
        if np.abs(step).max(initial=0.0) < 1e-9:
            break
    return slope


@dataclass(frozen=True, slots=True)
class Cells:
    """The tested cells: B units in the order of (concept, context)."""

    concept: NDArray[np.int64]  # (B,)
    context: NDArray[np.int64]  # (B,) number in PairSets
    disparity: Disparity
    inside_groups: Vector
    """(B,) prompt groups with a discordant pair inside the context"""
    outside_groups: Vector
    """(B,) prompt groups with a discordant pair outside of it"""
    n_left_out: int
    """Cells with a discordant pair but too few discordant groups: counted, not listed."""


def restrict(disparity: Disparity, contexts: ContextIndex, null: NullModel, min_groups: int) -> Cells:
    """Every concept inside every context where it is discordant in at least ``min_groups`` prompt groups."""
    n_sets = len(contexts.slope)
    discordant = np.zeros((disparity.n_units, n_sets), np.int32)
    rows = np.zeros((disparity.n_units, n_sets), np.int64)
    own = (disparity.indptr, disparity.pair, disparity.u, null.weight)
    shared = (*own, contexts.pair_indptr, contexts.pair_context)
    for_chunks(disparity.indptr, lambda a, b: count_kernel(*shared, null.group, discordant, rows, a, b))
    enclosed = np.zeros((disparity.n_units, n_sets), np.int32)
    everywhere = np.zeros(disparity.n_units, np.int32)
    extra = (null.group, enclosed, everywhere)
    for_chunks(disparity.indptr, lambda a, b: enclosed_kernel(*shared, *extra, a, b))
    kept = discordant >= min_groups
    concept, context = np.nonzero(kept)
    indptr = np.concatenate([[0], np.cumsum(rows[kept])]).astype(np.int64)
    start = np.full(discordant.shape, -1, np.int64)
    start[kept] = indptr[:-1]
    pair = np.zeros(indptr[-1], np.uint32)
    u = np.zeros(indptr[-1], np.float32)
    for_chunks(disparity.indptr, lambda a, b: restrict_kernel(*shared, start, pair, u, a, b))
    left_out = int(((discordant > 0) & ~kept).sum())
    inside, outside = discordant[kept], everywhere[concept] - enclosed[kept]
    counts = (inside.astype(np.float64), outside.astype(np.float64))
    return Cells(concept, context, Disparity(indptr, pair, u), *counts, left_out)


@dataclass(frozen=True, slots=True)
class CellTests:
    """Per cell; NaN where undefined. All (B,)."""

    differs_z: Vector
    theta: Vector
    """One-step difference of β here from β everywhere."""
    theta_se: Vector
    groups: Vector
    """Discordant prompt groups inside or outside, whichever are fewer: what θ's interval counts."""
    h_beta: Vector
    """What of the concept's own score everywhere θ's efficient score leaves out, …"""
    h_length: Vector
    """… and of the context's length score."""
    left: Vector
    """Information about θ that is left."""


def cell_tests(
    cells: Cells,
    disparity: Disparity,
    null: NullModel,
    contexts: ContextIndex,
    everywhere: Effects,
    min_groups: int,
) -> CellTests:
    """*Differs* tests of every cell.

    Args:
        cells: the cells; only their numbers are looked at, so that they may be of other labels.
        disparity: u of every concept everywhere.
        null: the null model.
        contexts: contexts by pair and group.
        everywhere: converged effect of every concept.
        min_groups: discordant groups needed on both sides for *differs*.
    """
    sums = _side_sums(cells, disparity, null, contexts, everywhere)
    found = _differs(sums, contexts, cells)
    undefined = (cells.outside_groups < min_groups) | null.separates
    for values in (found.differs_z, found.theta, found.theta_se):
        values[undefined] = np.nan
    return found


def _side_sums(
    cells: Cells, disparity: Disparity, null: NullModel, contexts: ContextIndex, fit: Effects
) -> dict[str, Vector]:
    """The kernel's sums for each cell, by name."""
    out = np.zeros((len(cells.concept), len(_SIDE_SUMS)))
    totals = np.zeros((disparity.n_units, 3))
    first = np.searchsorted(cells.concept, np.arange(disparity.n_units + 1))
    rows = (disparity.indptr, disparity.pair, disparity.u, null.design.z, null.eta, null.weight, null.group)
    effect = (np.nan_to_num(fit.beta), np.nan_to_num(fit.delta))
    by_context = (*_tilted(contexts), contexts.pair_indptr, contexts.pair_context)
    by_group = (contexts.group_indptr, contexts.group_context, contexts.group_length)
    shared = (*rows, *effect, *by_context, *by_group, first, cells.context, len(contexts.slope), _FAR)
    for_chunks(disparity.indptr, lambda a, b: side_kernel(*shared, out, totals, a, b))
    sums = dict(zip(_SIDE_SUMS, out.T, strict=True))
    return sums | dict(zip(("T", "TT", "II"), totals[cells.concept].T, strict=True))


def _tilted(contexts: ContextIndex) -> tuple[Vector, Vector]:
    """(P,) ratios, and (N,) what the slope of each of a pair's contexts multiplies its odds by."""
    own = np.repeat(contexts.ratio, np.diff(contexts.pair_indptr))
    return contexts.ratio, np.exp(np.clip(contexts.slope[contexts.pair_context] * own, -_FAR, _FAR))


def _differs(s: dict[str, Vector], contexts: ContextIndex, cells: Cells) -> CellTests:
    """Efficient score of θ_k: z, one-step θ and its cluster-robust standard error."""
    k = cells.context
    length_information = (
        contexts.information[k] + s["LL_here"]
    )  # the concept's effect moves that of its pairs,
    total_information = s["II"] + s["II_here"]  # and the context's length slope that of β
    determinant = total_information * length_information - s["J"] ** 2
    safe = determinant > 1e-9 * total_information * np.maximum(length_information, 1e-300)
    divisor = np.where(safe, determinant, 1.0)
    # Where length does not vary inside the context, only β is projected out.
    h_beta = np.where(
        safe, (length_information * s["I"] - s["J"] ** 2) / divisor, safe_zero(s["I"], total_information)
    )
    h_length = np.where(safe, (total_information - s["I"]) * s["J"] / divisor, 0.0)
    total = s["T"] - s["U_plain"] + s["U"]
    score = s["U"] - h_beta * total - h_length * s["S"]
    all_squares = s["TT"] + s["tt"]
    length_squares = contexts.meat[k] + s["ll"]
    variance = s["aa"] + h_beta**2 * all_squares + h_length**2 * length_squares
    variance += 2 * (h_beta * h_length * s["tl"] - h_beta * s["at"] - h_length * s["al"])
    left = s["I"] * (1 - h_beta) - h_length * s["J"]
    usable = (left > 1e-6 * s["I"]) & (variance > 1e-9 * s["aa"])
    root = np.sqrt(np.maximum(variance, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        numbers = (score / root, score / left, root / left)
    z, theta, se = (np.where(usable, values, np.nan) for values in numbers)
    groups = np.minimum(cells.inside_groups, cells.outside_groups)
    return CellTests(z, theta, se, groups, h_beta, h_length, left)


def safe_zero(a: Vector, b: Vector) -> Vector:
    """``a / b``, 0 where b is not positive."""
    out: Vector = np.zeros(len(a))
    np.divide(a, b, out=out, where=b > 0)
    return out
