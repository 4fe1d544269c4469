"""Cells against dense brute force, and what they find when a context really differs."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

from engine.arrays import Disparity, PairSets, Readings
from engine.progress import NullProgress
from engine.settings import StatsSettings
from engine.stats.cell_models import Fitted
from engine.stats.cells import Cells, CellTests, ContextIndex, cell_tests, index_contexts, restrict
from engine.stats.design import build_design, length_ratio
from engine.stats.differs import could_pass, differs
from engine.stats.effect import Effects, fit_effects
from engine.stats.null import NullModel, fit_null
from engine.stats.redraw import cell_differs, make_bench, make_cells, refit, turn
from engine.stats.run import estimate
from engine.stats.sums import unit_sums
from tests.stats.inputs import dense_of, latents_of, thirds, units_of
from tests.worlds import make_readings

Vector = NDArray[np.float64]
Built = tuple[Readings, Disparity, NullModel, Vector, ContextIndex, Effects, Cells, CellTests]


def build_cells(n_pairs: int = 1500, sets: PairSets | None = None) -> Built:
    readings = make_readings(n_pairs, 6, seed=2, effects={0: 0.8})
    pairs, units = readings.pairs, latents_of(readings)
    null = fit_null(build_design(pairs), pairs.group, pairs.is_signed.astype(np.float64))
    ratio = length_ratio(pairs)
    index = index_contexts(sets or thirds(n_pairs), null, ratio)
    sums = unit_sums(units, pairs, null.weight)
    fitted = fit_effects(units, null, sums, np.ones(6, np.bool_))
    cells = restrict(units, index, null, 15)
    tests = cell_tests(cells, units, null, index, fitted, 15)
    return readings, units, null, ratio, index, fitted, cells, tests


def _overlapping(n_pairs: int) -> PairSets:
    """Every other pair, every third, ten pairs (too few for a cell), and the first half."""
    at = np.arange(n_pairs)
    member = [np.flatnonzero(m) for m in (at % 2 == 0, at % 3 == 0, at < 10, at < n_pairs // 2)]
    indptr = np.cumsum([0, *map(len, member)]).astype(np.int64)
    return PairSets(("a", "b", "c", "d"), ("topic",) * 4, indptr, np.concatenate(member).astype(np.uint32))


@pytest.mark.parametrize("make_sets", [thirds, _overlapping])
def test_differs_is_the_efficient_score_of_the_extra_effect(make_sets: Callable[[int], PairSets]) -> None:
    sets = make_sets(1500)
    readings, units, null, ratio, index, fitted, cells, tests = build_cells(1500, sets)
    assert set(cells.context.tolist()) == {0, 1, 2} if make_sets is thirds else {0, 1, 3}
    dense = dense_of(units, readings.n_pairs)
    for b in range(0, len(cells.concept), 4):
        m, k = int(cells.concept[b]), int(cells.context[b])
        inside = (
            np.isin(np.arange(readings.n_pairs), sets.pair[sets.indptr[k] : sets.indptr[k + 1]])
            & readings.pairs.is_signed
        )
        u = dense[:, m]
        eta = null.eta + np.where(u != 0, null.design.z @ fitted.delta[m], 0) + fitted.beta[m] * u
        eta = eta + index.slope[k] * ratio * inside
        p = expit(eta)
        e, w = null.weight * (1 - p), null.weight * p * (1 - p)
        nuisance = np.stack([u, ratio * inside], axis=1)
        target = u * inside
        h = np.linalg.solve((nuisance * w[:, None]).T @ nuisance, (nuisance * w[:, None]).T @ target)
        own = np.bincount(readings.pairs.group, e * (target - nuisance @ h))
        assert tests.differs_z[b] == pytest.approx(own.sum() / np.sqrt((own**2).sum()), abs=1e-6)


def test_cells_are_counted_by_prompt_groups_inside_and_outside() -> None:
    sets = _overlapping(1500)
    readings, units, *_, cells, _ = build_cells(1500, sets)
    dense, group = dense_of(units, 1500), readings.pairs.group
    kept, n_left_out = {}, 0
    for m in range(dense.shape[1]):
        for k in range(4):
            inside = np.isin(np.arange(1500), sets.pair[sets.indptr[k] : sets.indptr[k + 1]])
            discordant = readings.pairs.is_signed & (dense[:, m] != 0)
            here, all_groups = set(group[discordant & inside]), set(group[discordant])
            enclosed = all_groups - set(group[discordant & ~inside])
            if len(here) >= 15:
                kept[m, k] = (len(here), len(all_groups) - len(enclosed))
            else:
                n_left_out += bool(here)
    found = zip(cells.concept, cells.context, cells.inside_groups, cells.outside_groups, strict=True)
    assert {(int(m), int(k)): (a, b) for m, k, a, b in found} == kept
    assert cells.n_left_out == n_left_out > 0


def test_a_relabelling_keeps_the_cells_and_swapping_every_pair_negates_them() -> None:
    readings = make_readings(900, 4, effects={0: 1.0})
    pairs, units = readings.pairs, latents_of(readings)
    weight = pairs.is_signed.astype(np.float64)
    bench = make_bench(units, pairs, build_design(pairs), weight, StatsSettings())
    ones = np.ones(900)
    cells = make_cells(bench, thirds(900), refit(bench, ones))
    plain = cell_differs(cells, ones, refit(bench, ones))
    swapped = cell_differs(cells, -ones, refit(bench, -ones))
    assert np.isfinite(plain.z).any()
    np.testing.assert_allclose(swapped.z, -plain.z, rtol=1e-9)
    flip = np.random.default_rng(1).choice([-1.0, 1.0], 900)
    relabelled = make_cells(
        replace(bench, disparity=turn(units, flip)), thirds(900), refit(bench, flip)
    ).cells
    for name in ("concept", "context", "inside_groups", "outside_groups"):
        np.testing.assert_array_equal(getattr(relabelled, name), getattr(cells.cells, name))


def test_prompt_groups_inside_and_outside_are_counted() -> None:
    readings, units, null, _, _, _, cells, _ = build_cells(400)
    dense = dense_of(units, readings.n_pairs)
    group = readings.pairs.group
    for b in range(len(cells.concept)):
        discordant = (dense[:, cells.concept[b]] != 0) & (null.weight > 0)
        inside = np.arange(readings.n_pairs) % 3 == cells.context[b]
        assert cells.outside_groups[b] == len(set(group[discordant & ~inside].tolist()))
        assert cells.inside_groups[b] == len(set(group[discordant & inside].tolist()))


def test_an_effect_that_turns_round_in_one_context_is_called_there_only() -> None:
    readings = make_readings(3000, 4, seed=5, effects={1: 1.0})
    units = units_of(readings)
    turn = np.where(np.arange(3000) % 3 == 1, -1, 1).astype(np.float32)
    mixed = latents_of(readings)
    mixed = Disparity(mixed.indptr, mixed.pair, mixed.u * turn[mixed.pair])
    rows = estimate(
        readings, units_of(readings, mixed), StatsSettings(), NullProgress()
    ).hypotheses.to_pylist()
    cell = {(r["context"], r["concept"]): r for r in rows if r["context"] > 0}
    assert cell[2, 1]["differs_call"]
    assert cell[2, 1]["differs_z"] < -8
    assert cell[2, 1]["win_rate"] < 0.35
    assert not any(cell[c, m]["differs_call"] for c, m in cell if m != 1)
    plain = estimate(readings, units, StatsSettings(), NullProgress()).hypotheses.to_pylist()
    assert not any(r["differs_call"] for r in plain if r["context"] > 0)
    whole = next(r for r in plain if r["context"] == 0 and r["concept"] == 1)
    assert whole["badge"] == "both"


def test_the_papers_numbers_are_welch_and_cohen() -> None:
    readings = make_readings(900, 4, effects={0: 1.0})
    rows = estimate(readings, units_of(readings), StatsSettings(), NullProgress()).hypotheses.to_pylist()
    dense = dense_of(latents_of(readings), 900)
    signed = readings.pairs.is_signed
    for row in rows:
        if row["context"] == 0:
            assert row["paper_delta"] is None
            continue
        inside = (np.arange(900) % 3 == row["context"] - 1) & signed
        a, b = dense[inside, row["concept"]], dense[signed & ~inside, row["concept"]]
        welch = stats.ttest_ind(a, b, equal_var=False)
        assert row["paper_delta"] == pytest.approx(a.mean() - b.mean())
        assert row["paper_z"] == pytest.approx(float(welch.statistic))
        pooled = np.sqrt(
            ((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / (len(a) + len(b) - 2)
        )
        assert row["paper_d"] == pytest.approx((a.mean() - b.mean()) / pooled)


def test_the_floor_is_asked_of_students_interval_over_the_groups_of_the_smaller_side() -> None:
    """θ = 1 ± 0.42·t: clear of 2 points with 100 groups (t 1.98), not with 15 (t 2.14), whatever the z."""
    none = np.zeros(2, np.int64)
    cells = Cells(
        none,
        none,
        Disparity(np.zeros(3, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.float32)),
        np.array([100.0, 100.0]),
        np.array([100.0, 15.0]),
        0,
    )
    one = np.ones(1)
    effects = Effects(0 * one, one, one, one, np.zeros((1, 0)), np.nan * one, np.nan * one)
    groups = np.array([100.0, 15.0])
    theta = np.ones(2)
    tests = CellTests(theta * 6, theta, theta * 0.44, groups, theta, theta, theta)
    _, units, null, _, index, *_ = build_cells(60)  # without models nothing else is looked at
    found = differs(cells, tests, Fitted(units, null, index, effects), StatsSettings())
    for g, call in zip(groups, found.call, strict=True):
        near = 1 - stats.t.ppf(0.975, g - 1) * 0.44
        assert call == float(expit(near) - 0.5 >= 0.02)
    assert found.call.tolist() == [1.0, 0.0]
    weak = replace(tests, differs_z=np.array([6.0, 1.5]), theta_se=theta * 0.1)  # both clear the floor
    found = differs(cells, weak, Fitted(units, null, index, effects), StatsSettings())
    assert found.call.tolist() == [1.0, 0.0]  # but p = .13 is no call
    _, _, _, _, _, _, built, tests = build_cells()
    assert (tests.groups >= 15)[np.isfinite(tests.differs_z)].all()
    assert len(tests.groups) == len(built.concept)


def test_cells_that_could_never_pass_are_no_tests() -> None:
    """900 cells of 15 groups, 100 of 40: |z| ≤ √15, p ≥ 1.1e-4 > 0.05/1000; √40 = 6.3 passes 0.05/100."""
    n = np.array([15.0] * 900 + [40.0] * 100)
    np.testing.assert_array_equal(could_pass(n, 0.05), n == 40)
    assert could_pass(np.array([15.0] * 100), 0.05).all()  # 0.05/100 = 5e-4 is within reach
    assert not could_pass(np.array([3.0]), 0.05).any()
    assert could_pass(np.zeros(0), 0.05).shape == (0,)
