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
from engine.stats.cell_kernels import (
    cell_kernel,
    count_kernel,
    enclosed_kernel,
    lookup_kernel,
    restrict_kernel,
)
from engine.stats.effect import HEAD, PRIOR, Effects, effects_from, fit_kernel
from engine.stats.null import NullModel
from engine.stats.sums import Sums, for_chunks
from engine.stats.taught import safe_ratio
from engine.stats.two_way import rows_of, without_models

Vector = NDArray[np.float64]

SIDE_SUMS = 16


@dataclass(frozen=True, slots=True)
class ContextIndex:
    """Contexts by pair and by prompt group, with their fitted length slopes. N places = Σ sizes."""

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
        pair_indptr, context[order], group_indptr, group_context, length, slope,
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
    enclosed_groups: Vector
    """(B,) discordant prompt groups with no discordant pair outside the context"""
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
    for_chunks(disparity.indptr, lambda a, b: enclosed_kernel(*shared, null.group, enclosed, a, b))
    kept = discordant >= min_groups
    concept, context = np.nonzero(kept)
    indptr = np.concatenate([[0], np.cumsum(rows[kept])]).astype(np.int64)
    start = np.full(discordant.shape, -1, np.int64)
    start[kept] = indptr[:-1]
    pair = np.zeros(indptr[-1], np.uint32)
    u = np.zeros(indptr[-1], np.float32)
    for_chunks(disparity.indptr, lambda a, b: restrict_kernel(*shared, start, pair, u, a, b))
    left_out = int(((discordant > 0) & ~kept).sum())
    inside_only = enclosed[kept].astype(np.float64)
    return Cells(concept, context, Disparity(indptr, pair, u), inside_only, left_out)


@dataclass(frozen=True, slots=True)
class CellTests:
    """Per cell; NaN where undefined. All (B,)."""

    equal_z: Vector
    beta: Vector
    effects: Effects
    differs_z: Vector
    theta: Vector
    """One-step difference of β here from β everywhere."""
    theta_se: Vector
    groups: Vector
    """Discordant prompt groups inside or outside, whichever are fewer: what θ's interval counts."""


def cell_tests(
    cells: Cells,
    disparity: Disparity,
    null: NullModel,
    contexts: ContextIndex,
    ratio: Vector,
    everywhere: Effects,
    cell_sums: Sums,
    outside_groups: Vector,
    min_groups: int,
) -> CellTests:
    """Tests of every cell.

    Args:
        cells: the cells.
        disparity: u of every concept everywhere.
        null: the null model.
        contexts: contexts by pair and group.
        ratio: (P,) log length ratio.
        everywhere: converged effect of every concept.
        cell_sums: sums of the cells.
        outside_groups: (B,) discordant groups of the concept outside the context.
        min_groups: needed on both sides for *differs*.
    """
    sums = _side_sums(cells, disparity, null, contexts, ratio, everywhere)
    equal_z = _equal_z(sums, contexts, cells.context)
    differs_z, theta, theta_se = _differs(sums, contexts, cells)
    undefined = (outside_groups < min_groups) | null.separates
    for values in (differs_z, theta, theta_se):
        values[undefined] = np.nan
    if null.separates:
        equal_z[:] = np.nan
    effects = _cell_effects(cells, null, contexts, ratio, cell_sums, np.isfinite(equal_z))
    fewer = np.minimum(cell_sums.n_discordant_groups, outside_groups)
    return CellTests(equal_z, effects.beta, effects, differs_z, theta, theta_se, fewer)


def _side_sums(
    cells: Cells, disparity: Disparity, null: NullModel, contexts: ContextIndex, ratio: Vector, fit: Effects
) -> dict[str, Vector]:
    """The kernel's sums for each cell, by name."""
    n_sets = len(contexts.slope)
    out = np.zeros((len(cells.concept), SIDE_SUMS))
    concept_sums = np.zeros((disparity.n_units, 3))
    first = np.searchsorted(cells.concept, np.arange(disparity.n_units + 1))

    def chunk(start: int, stop: int) -> None:
        for m in range(start, stop):
            if first[m] == first[m + 1]:
                continue
            rows = slice(int(disparity.indptr[m]), int(disparity.indptr[m + 1]))
            pair, u = disparity.pair[rows], disparity.u[rows].astype(np.float64)
            live = (u != 0) & (null.weight[pair] > 0)
            pair, u = pair[live], u[live]
            beta = fit.beta[m] if np.isfinite(fit.beta[m]) else 0.0
            delta = np.where(np.isfinite(fit.delta[m]), fit.delta[m], 0.0)
            eta = null.eta[pair] + null.design.z[pair] @ delta + beta * u
            table = np.zeros((n_sets, SIDE_SUMS))
            concept_sums[m] = cell_kernel(
                pair, u, eta, null.eta[pair], null.weight[pair], ratio[pair], null.group[pair],
                contexts.pair_indptr, contexts.pair_context, contexts.group_indptr, contexts.group_context,
                contexts.group_length, contexts.slope, table,
            )  # fmt: skip
            out[first[m] : first[m + 1]] = table[cells.context[first[m] : first[m + 1]]]

    for_chunks(disparity.indptr, chunk)
    names = (
        "U",
        "U_plain",
        "I",
        "J",
        "S",
        "aa",
        "at",
        "al",
        "tt",
        "tl",
        "ll",
        "U0",
        "I0",
        "J0",
        "aa0",
        "al0",
    )
    sums = dict(zip(names, out.T, strict=True))
    return sums | dict(zip(("T", "TT", "II"), concept_sums[cells.concept].T, strict=True))


def _equal_z(s: dict[str, Vector], contexts: ContextIndex, k: NDArray[np.int64]) -> Vector:
    """Score test of β_k = 0 inside the context, length slope of the context projected out."""
    kappa = safe_zero(s["J0"], contexts.information[k])
    variance = s["aa0"] - 2 * kappa * s["al0"] + kappa**2 * contexts.meat[k]
    left = s["I0"] - kappa * s["J0"]
    z = safe_ratio(s["U0"], np.sqrt(np.maximum(variance, 0)))
    return np.where((left > 1e-6 * s["I0"]) & (variance > 1e-6 * s["aa0"]), z, np.nan)


def _differs(s: dict[str, Vector], contexts: ContextIndex, cells: Cells) -> tuple[Vector, Vector, Vector]:
    """Efficient score of θ_k: z, one-step θ and its cluster-robust standard error."""
    k = cells.context
    length_information = contexts.information[k]
    total_information = s["II"]
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
        z, theta, se = score / root, score / left, root / left
    return tuple(np.where(usable, v, np.nan) for v in (z, theta, se))  # type: ignore[return-value] # three


def safe_zero(a: Vector, b: Vector) -> Vector:
    """``a / b``, 0 where b is not positive."""
    out: Vector = np.zeros(len(a))
    np.divide(a, b, out=out, where=b > 0)
    return out


def _cell_effects(
    cells: Cells,
    null: NullModel,
    contexts: ContextIndex,
    ratio: Vector,
    sums: Sums,
    wanted: NDArray[np.bool_],
) -> Effects:
    """Converged β inside each cell, its context's length slope refitted beside it."""
    disparity = cells.disparity
    out = np.full((disparity.n_units, HEAD + 1), np.nan)
    typical, no_models = safe_ratio(sums.size, sums.n), without_models(1)

    def chunk(start: int, stop: int) -> None:
        for b in range(start, stop):
            if not wanted[b]:
                continue
            k = int(cells.context[b])
            rows = slice(int(disparity.indptr[b]), int(disparity.indptr[b + 1]))
            pair, u = disparity.pair[rows], disparity.u[rows].astype(np.float64)
            live = u != 0
            pair, u = pair[live], u[live]
            group = null.group[pair]
            has_length = contexts.information[k] > 1e-9
            length = ratio[pair] if has_length else np.zeros(len(pair))
            information = contexts.information[k] if has_length else 1.0
            out[b] = fit_kernel(
                u, length[:, None].copy(), null.eta[pair] + contexts.slope[k] * length, null.weight[pair],
                group, _group_lengths(contexts, group, k)[:, None].copy() * has_length,
                np.array([[information]]), np.array([[1 / information]]),
                np.array([[contexts.meat[k] * has_length]]), PRIOR, typical[b], rows_of(no_models, pair),
            )  # fmt: skip

    for_chunks(disparity.indptr, chunk)
    return effects_from(out, sums, typical)


def _group_lengths(contexts: ContextIndex, group: NDArray[np.int32], k: int) -> Vector:
    found = lookup_kernel(contexts.group_indptr, contexts.group_context, contexts.group_length, group, k)
    return np.asarray(found)
