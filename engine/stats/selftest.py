"""Self-tests on the user's own readings: does the machinery call what is not there, and find what is?

* **null (a)**: whole prompt groups are swapped at random. Nothing is taught, so any call is false; tests
  clustering.
* **null (b)**: labels are drawn anew from the fitted null model. Length and origin then carry the labels and
  nothing else does; judges the equal-length call only.
* **random contexts**: prompt groups dealt into contexts at random; z of *differs* must have spread 1.
* **planted concept**: labels randomised, then pairs oriented with known odds on one concept: a power curve.

Worlds with a known length effect are in ``length_worlds``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

from engine.arrays import Disparity, PairArrays, PairSets
from engine.errors import StatsError
from engine.progress import Paced, Progress
from engine.settings import StatsSettings
from engine.stats.design import Design
from engine.stats.null import fit_null
from engine.stats.redraw import (
    Bench,
    cell_differs,
    equal_calls,
    make_bench,
    make_cells,
    refit,
    relabelled_cells,
    taught_calls,
    turn_design,
)

Vector = NDArray[np.float64]

NOMINAL = 0.05
"""Share of draws in which a full null may show any call (the FDR under a full null)."""
SD_RANGE = (0.9, 1.1)
"""Where the standard deviation of random-context z must lie."""


@dataclass(frozen=True, slots=True)
class NullResult:
    """One family under one null."""

    test: str
    """null (a) taught, null (a) equal, null (b) equal"""
    family: str
    tested: int
    """Units (or cells) that have enough discordant prompt groups to be called at all."""
    draws: int
    draws_with_call: int
    share: float
    """NaN, and its interval too, where nothing is tested."""
    low: float
    """95% Clopper–Pearson interval of the share."""
    high: float
    passed: bool | None
    """False when so many hits have probability below 5% at a true share of 5% (28 of 400); None where nothing
    is tested."""


def null_test(
    families: Mapping[str, Disparity],
    pairs: PairArrays,
    design: Design,
    weight: Vector,
    settings: StatsSettings,
    *,
    draws: int = 400,
    seed: int = 0,
    cells: tuple[Disparity, PairSets] | None = None,
    progress: Progress,
) -> list[NullResult]:
    """P(any call) per family under both nulls.

    Args:
        families: units by family name.
        pairs: lengths, groups, origins.
        design: the null model's columns.
        weight: (P,) 0 for unlabelled pairs.
        settings: levels and floors.
        draws: relabellings of each kind.
        seed: of the draws.
        cells: concepts and contexts: their *differs* calls are judged too, under null (b).
        progress: told about draws.

    Raises:
        StatsError: length and origin separate the labels, or nothing is tested in any family.
    """
    rng = np.random.default_rng(seed)
    fitted = fit_null(design, pairs.group, weight)
    if fitted.separates:
        raise StatsError(
            "length and origin alone separate the labels", hint="null (b) cannot be drawn from such a model"
        )
    benches = {name: make_bench(d, pairs, design, weight, settings) for name, d in families.items()}
    counts = _tested(benches, settings)
    hits = {
        (test, name): 0
        for test in ("null (a) taught", "null (a) equal", "null (b) equal")
        for name in benches
    }
    inner = None
    if cells:
        inner = make_cells(make_bench(cells[0], pairs, design, weight, settings), cells[1], fitted)
    differing = n_cells = 0
    n_groups = int(pairs.group.max()) + 1
    paced = Paced(progress, "self-test: nulls", draws, "draws")
    for _ in range(draws):
        whole = rng.choice([-1.0, 1.0], n_groups)[pairs.group]
        redrawn = np.where(fitted.redraw(rng), -1.0, 1.0)
        nulls = [fit_null(turn_design(design, flip), pairs.group, weight) for flip in (whole, redrawn)]
        for name, bench in benches.items():
            if not counts[name]:
                continue
            hits["null (a) taught", name] += bool(taught_calls(bench, whole).any())
            hits["null (a) equal", name] += bool(equal_calls(bench, whole, nulls[0]).called.any())
            hits["null (b) equal", name] += bool(equal_calls(bench, redrawn, nulls[1]).called.any())
        if inner:
            call = cell_differs(inner, redrawn, nulls[1]).call  # NaN where untested
            differing += bool((call == 1).any())
            n_cells = max(n_cells, int(np.isfinite(call).sum()))
        paced.advance()
    paced.finish()
    found = [_null_result(test, name, counts[name], draws, n) for (test, name), n in hits.items()]
    if cells:
        found.append(_null_result("null (b) differs", "cells", n_cells, draws, differing))
    return found


def _tested(benches: Mapping[str, Bench], settings: StatsSettings) -> dict[str, int]:
    """Tested units by family. Raises ``StatsError`` where there is none at all."""
    counts = {name: int(bench.tested.sum()) for name, bench in benches.items()}
    if not any(counts.values()):
        raise StatsError(
            f"nothing is discordant in {settings.min_discordant} prompt groups or more, so nothing is tested",
            hint="audit more pairs, or lower stats.min_discordant",
        )
    return counts


def _null_result(test: str, family: str, tested: int, draws: int, hits: int) -> NullResult:
    if tested == 0:
        nan = float("nan")
        return NullResult(test, family, 0, draws, 0, nan, nan, nan, None)
    interval = stats.binomtest(hits, draws).proportion_ci(0.95)
    passed = bool(stats.binom.sf(hits - 1, draws, NOMINAL) >= NOMINAL)
    return NullResult(
        test, family, tested, draws, hits, hits / draws, float(interval.low), float(interval.high), passed
    )


@dataclass(frozen=True, slots=True)
class ContextsResult:
    """z of *differs* over random contexts."""

    n_cells: int
    mean: float
    sd: float
    calls: int
    """Cells with q ≤ 0.05: should be none."""
    passed: bool


def random_contexts(
    concepts: Disparity,
    pairs: PairArrays,
    design: Design,
    weight: Vector,
    settings: StatsSettings,
    *,
    n_contexts: int = 8,
    seed: int = 0,
) -> ContextsResult:
    """Deal prompt groups into contexts at random and look at the spread of z.

    Raises:
        StatsError: no cell has enough discordant groups on both sides.
    """
    rng = np.random.default_rng(seed)
    own = rng.integers(0, n_contexts, int(pairs.group.max()) + 1)[pairs.group]
    order = np.argsort(own, kind="stable")
    indptr = np.searchsorted(own[order], np.arange(n_contexts + 1)).astype(np.int64)
    names = tuple(f"random {k}" for k in range(n_contexts))
    sets = PairSets(names, ("random",) * n_contexts, indptr, order.astype(np.uint32))
    null = fit_null(design, pairs.group, weight)
    bench = make_cells(make_bench(concepts, pairs, design, weight, settings), sets, null)
    tests, _ = relabelled_cells(bench, np.ones(pairs.n_pairs), null)
    z = tests.differs_z[np.isfinite(tests.differs_z)]
    if len(z) < 2:
        raise StatsError(
            "no concept is discordant often enough in random contexts",
            hint="use fewer contexts or more pairs",
        )
    q = stats.false_discovery_control(2 * stats.norm.sf(np.abs(z)))
    sd = float(z.std(ddof=1))
    return ContextsResult(
        len(z), float(z.mean()), sd, int((q <= settings.q).sum()), SD_RANGE[0] <= sd <= SD_RANGE[1]
    )


@dataclass(frozen=True, slots=True)
class PlantResult:
    """One strength of one planted concept, over all draws."""

    unit: int
    odds: float
    """Odds that the chosen side of a discordant pair is the one that has it."""
    draws: int
    recall: float
    """Share of draws in which it was called at equal length."""
    low: float
    high: float
    median_rank: float
    """Of |z| at equal length among the tested units; 1 is first."""
    win_rate: float
    """Mean estimated win rate at equal length, where called."""
    true_win_rate: float
    other_calls: float
    """Mean number of other calls among units whose u hardly correlates with the planted one (|r| < 0.05)."""


def planted_concept(
    bench: Bench, unit: int, odds: Sequence[float], *, draws: int = 50, seed: int = 0, progress: Progress
) -> list[PlantResult]:
    """Power curve of one unit on these readings: labels randomised, then oriented on it with known odds.

    Args:
        bench: the family.
        unit: number of the planted unit; its own u says which side has it.
        odds: strengths; 1 is no effect.
        draws: relabellings per strength.
        seed: of the draws.
        progress: told about draws.
    """
    rng = np.random.default_rng(seed)
    u = np.zeros(bench.pairs.n_pairs)
    rows = slice(int(bench.disparity.indptr[unit]), int(bench.disparity.indptr[unit + 1]))
    u[bench.disparity.pair[rows]] = bench.disparity.u[rows]
    unrelated = bench.tested & (np.abs(_correlation(bench.disparity, u)) < 0.05)
    paced = Paced(progress, "self-test: planted concept", len(odds) * draws, "draws")
    results = []
    for strength in odds:
        found, ranks, rates, others = 0, [], [], 0
        for _ in range(draws):
            wins = np.where(u != 0, expit(np.log(strength)), 0.5)
            has = np.where(u != 0, np.sign(u), 1.0)
            flip = np.where(rng.random(len(u)) < wins, has, -has)
            result = equal_calls(bench, flip, refit(bench, flip))
            size = np.where(np.isfinite(result.z), np.abs(result.z), -1)
            ranks.append(1 + int((size > size[unit]).sum()))
            others += int((result.called & unrelated).sum())
            if result.called[unit]:
                found += 1
                rates.append(float(expit(result.effects.beta[unit] * result.effects.typical[unit])))
            paced.advance()
        interval = stats.binomtest(found, draws).proportion_ci(0.95)
        results.append(
            PlantResult(
                unit, strength, draws, found / draws, float(interval.low), float(interval.high),
                float(np.median(ranks)), float(np.mean(rates)) if rates else float("nan"),
                strength / (1 + strength), others / draws,
            )
        )  # fmt: skip
    paced.finish()
    return results


def _correlation(disparity: Disparity, u: Vector) -> Vector:
    """(M,) uncentred correlation of every unit with ``u``; its size is the same under every relabelling."""
    unit = np.repeat(np.arange(disparity.n_units), np.diff(disparity.indptr))
    product = np.bincount(unit, disparity.u * u[disparity.pair], minlength=disparity.n_units)
    own = np.bincount(unit, disparity.u.astype(np.float64) ** 2, minlength=disparity.n_units)
    scale = np.sqrt(own * (u @ u))
    return np.asarray(np.divide(product, scale, out=np.zeros(len(scale)), where=scale > 0))
