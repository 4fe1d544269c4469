"""The same pairs under other labels: what self-tests and planted worlds are made of.

Everything that is invariant under swapping sides (readings, lengths, knots, groups, which units are tested)
is kept; a redraw only turns pairs around. ``flip`` is +1 where a pair stays as it is and −1 where it is
swapped, so u and every odd covariate are multiplied by it.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.arrays import Disparity, PairArrays, PairSets
from engine.settings import StatsSettings
from engine.stats.calls import calls, q_values
from engine.stats.cell_models import Fitted
from engine.stats.cells import Cells, CellTests, cell_tests, index_contexts, restrict
from engine.stats.design import Design, length_ratio
from engine.stats.differs import Differs, differs
from engine.stats.effect import Effects, fit_effects, win_rates
from engine.stats.null import NullModel, fit_null
from engine.stats.score import score_tests
from engine.stats.sums import unit_sums
from engine.stats.taught import taught, two_sided

Vector = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bench:
    """One family of units on fixed pairs. P pairs, M units."""

    disparity: Disparity
    pairs: PairArrays
    design: Design
    weight: Vector
    """(P,) 0 for unlabelled pairs"""
    settings: StatsSettings
    tested: Flags
    """(M,) enough discordant prompt groups: the same under every relabelling"""


@dataclass(frozen=True, slots=True)
class EqualCalls:
    """The equal-length side of one redraw. All (M,)."""

    z: Vector
    called: Flags
    effects: Effects
    """Fitted where q passes only."""


def make_bench(
    disparity: Disparity, pairs: PairArrays, design: Design, weight: Vector, settings: StatsSettings
) -> Bench:
    """A family ready to be relabelled."""
    sums = unit_sums(disparity, pairs, weight)
    tested = sums.n_discordant_groups >= settings.min_discordant
    return Bench(disparity, pairs, design, weight, settings, tested)


def turn(disparity: Disparity, flip: Vector) -> Disparity:
    """Disparities after swapping the pairs where ``flip`` is −1."""
    return replace(disparity, u=disparity.u * flip.astype(np.float32)[disparity.pair])


def turn_design(design: Design, flip: Vector) -> Design:
    """Covariates after swapping the pairs where ``flip`` is −1."""
    return replace(design, z=np.ascontiguousarray(design.z * flip[:, None]))


def refit(bench: Bench, flip: Vector, design: Design | None = None) -> NullModel:
    """The null model fitted to the relabelled pairs (with another design if given)."""
    return fit_null(turn_design(design or bench.design, flip), bench.pairs.group, bench.weight)


def taught_calls(bench: Bench, flip: Vector) -> Flags:
    """(M,) units called *taught* under the relabelling."""
    result = taught(unit_sums(turn(bench.disparity, flip), bench.pairs, bench.weight))
    q = q_values(result.p, bench.tested)
    return np.asarray(calls(q, result.z, result.win_low, result.win_high, bench.settings) == 1)


def equal_calls(bench: Bench, flip: Vector, null: NullModel) -> EqualCalls:
    """Units called *taught at equal length* under the relabelling, beside the null model fitted to it."""
    turned = turn(bench.disparity, flip)
    scores = score_tests(turned, null)
    q = q_values(two_sided(scores.z), bench.tested)
    wanted = q <= bench.settings.q
    sums = unit_sums(turned, bench.pairs, bench.weight)
    effects = fit_effects(turned, null, sums, wanted)
    _, low, high = win_rates(effects, sums)
    called = calls(q, scores.z, low, high, bench.settings) == 1
    return EqualCalls(np.where(bench.tested, scores.z, np.nan), called, effects)


@dataclass(frozen=True, slots=True)
class CellBench:
    """Concepts inside contexts on fixed pairs."""

    bench: Bench
    sets: PairSets
    cells: Cells
    """The same under every relabelling, but for the signs of u."""


def make_cells(bench: Bench, sets: PairSets, null: NullModel) -> CellBench:
    """The cells of a family of concepts, ready to be relabelled.

    Args:
        bench: the concepts.
        sets: the contexts.
        null: the null model fitted to the labels as they are.
    """
    index = index_contexts(sets, null, length_ratio(bench.pairs))
    return CellBench(bench, sets, restrict(bench.disparity, index, null, bench.settings.min_discordant))


def cell_differs(bench: CellBench, flip: Vector, null: NullModel) -> Differs:
    """*Differs* tests of all cells under the relabelling, beside the null model fitted to it."""
    tests, fitted = relabelled_cells(bench, flip, null)
    return differs(bench.cells, tests, fitted, bench.bench.settings)


def relabelled_cells(cells: CellBench, flip: Vector, null: NullModel) -> tuple[CellTests, Fitted]:
    """Tests of all cells under the relabelling, and what they were made from."""
    bench = cells.bench
    turned = turn(bench.disparity, flip)
    sums = unit_sums(turned, bench.pairs, bench.weight)
    fitted = fit_effects(
        turned, null, sums, bench.tested & np.isfinite(score_tests(turned, null).z), has_errors=False
    )
    index = index_contexts(cells.sets, null, length_ratio(bench.pairs) * flip)
    tests = cell_tests(cells.cells, turned, null, index, fitted, bench.settings.min_discordant)
    return tests, Fitted(turned, null, index, fitted)
