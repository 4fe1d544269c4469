"""What must not change, or must change sign only: swapping sides, pair order, weights, duplicates."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.arrays import PairArrays, PairSets, Readings
from engine.progress import NullProgress
from engine.settings import StatsSettings
from engine.stats.design import build_design
from engine.stats.effect import fit_effects, win_rates
from engine.stats.null import fit_null, mix_weights, signed_weight
from engine.stats.run import StatsInput, StatsTables, estimate
from engine.stats.sums import unit_sums
from engine.stats.taught import taught
from tests.stats.inputs import dense_of, disparity_of, latents_of, units_of, with_pairs
from tests.worlds import make_readings

SETTINGS = StatsSettings(min_discordant=6)
SIGNED = ("mean_u", "taught_z", "equal_z", "linear_z", "differs_z", "paper_delta", "paper_z", "paper_d")
MIRRORED = {"win_rate": "win_rate", "win_low": "win_high", "equal_win_rate": "equal_win_rate",
            "equal_low": "equal_high", "half_a": "half_a", "half_b": "half_b"}  # fmt: skip
SAME = ("n_carry", "n_discordant", "n_discordant_groups", "prevalence", "taught_p", "equal_p", "differs_p",
        "taught_q", "equal_q", "taught_call", "equal_call", "badge", "skip_reason", "is_stable", "min_effect",
        "paper_delta_min", "differs_call")  # fmt: skip


def _run(readings: Readings, units: StatsInput) -> StatsTables:
    return estimate(readings, units, SETTINGS, NullProgress())


def _columns(tables: StatsTables, name: str) -> list[Any]:
    return list(tables.hypotheses.column(name).to_pylist())


def _agree(a: list[Any], b: list[Any], tolerance: float = 1e-6) -> None:
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        if isinstance(x, float) and isinstance(y, float):
            assert x == pytest.approx(y, rel=tolerance, abs=tolerance)
        else:
            assert x == y


def _swap_some(readings: Readings, swap: NDArray[np.bool_]) -> tuple[Readings, NDArray[np.float64]]:
    p = readings.pairs
    turned = with_pairs(
        readings,
        chosen_tokens=np.where(swap, p.rejected_tokens, p.chosen_tokens),
        rejected_tokens=np.where(swap, p.chosen_tokens, p.rejected_tokens),
        model_chosen=np.where(swap, p.model_rejected, p.model_chosen),
        model_rejected=np.where(swap, p.model_chosen, p.model_rejected),
    )
    return turned, np.where(swap, -1.0, 1.0)


@given(st.integers(0, 1000))
@settings(max_examples=8)
def test_swapping_every_pair_negates_every_signed_number_and_mirrors_rates(seed: int) -> None:
    readings = make_readings(260, 8, seed=seed, effects={0: 1.0})
    units = units_of(readings)
    turned, _ = _swap_some(readings, np.ones(readings.n_pairs, np.bool_))
    opposite = dataclasses.replace(units.concepts, u=-units.concepts.u)
    mirrored = dataclasses.replace(units, concepts=opposite, latents=opposite)
    one, other = _run(readings, units), _run(turned, mirrored)
    for name in SIGNED:
        _agree(_columns(one, name), [None if x is None else -x for x in _columns(other, name)])
    for name, partner in MIRRORED.items():
        _agree(_columns(one, name), [None if x is None else 1 - x for x in _columns(other, partner)])
    for name in SAME:
        _agree(_columns(one, name), _columns(other, name))


@given(st.integers(0, 1000))
@settings(max_examples=8)
def test_order_of_pairs_inside_groups_and_of_groups_never_matters(seed: int) -> None:
    readings = make_readings(240, 6, seed=seed)
    units = units_of(readings)
    rng = np.random.default_rng(seed)
    old_group = readings.pairs.group
    relabel = rng.permutation(int(old_group.max()) + 1)
    order = np.lexsort((rng.random(len(old_group)), relabel[old_group]))
    moved_pairs = {
        f.name: getattr(readings.pairs, f.name)[order]
        for f in dataclasses.fields(PairArrays)
        if not f.name.endswith("_names") and f.name != "base_weight"
    }
    moved_pairs["group"] = relabel[old_group][order].astype(np.int32)
    moved = with_pairs(readings, **moved_pairs)
    dense = dense_of(units.concepts, readings.n_pairs)
    carries = np.zeros(dense.shape, np.bool_)
    for m in range(dense.shape[1]):
        carries[units.concepts.pair[units.concepts.indptr[m] : units.concepts.indptr[m + 1]], m] = True
    shuffled = disparity_of(dense[order], carries[order])
    place = np.argsort(order)
    sets = units.contexts
    pair = np.concatenate([np.sort(place[sets.pair[a:b]]) for a, b in _ranges(sets)]).astype(np.uint32)
    other_units = dataclasses.replace(
        units, concepts=shuffled, latents=shuffled, contexts=dataclasses.replace(sets, pair=pair)
    )
    one, other = _run(readings, units), _run(moved, other_units)
    for name in one.hypotheses.column_names:
        _agree(_columns(one, name), _columns(other, name), 1e-5)


def _ranges(sets: PairSets) -> list[tuple[int, int]]:
    return [(int(sets.indptr[k]), int(sets.indptr[k + 1])) for k in range(sets.n_sets)]


def test_weights_of_one_equal_no_weights() -> None:
    readings = make_readings(300, 8, effects={1: 1.0})
    units = units_of(readings)
    weighted = dataclasses.replace(units, weights=np.ones(readings.n_pairs))
    one, other = _run(readings, units), _run(readings, weighted)
    for name in one.hypotheses.column_names:
        _agree(_columns(one, name), _columns(other, name), 1e-12)


def test_only_ratios_of_mix_weights_matter_and_equal_ones_are_none() -> None:
    readings = make_readings(200, 6, seed=5, effects={1: 1.0})
    rng = np.random.default_rng(1)
    weight = np.where(rng.random(readings.n_pairs) < 0.4, 2.0, 1.0)
    units = units_of(readings)

    def tables(base: NDArray[np.float64]) -> StatsTables:
        pairs = dataclasses.replace(readings.pairs, base_weight=base)
        return _run(readings, dataclasses.replace(units, weights=mix_weights(pairs)))

    plain, one, quarter = tables(np.full(len(weight), 0.5)), tables(weight), tables(weight / 4)
    for name in ("win_rate", "win_low", "taught_z", "equal_win_rate", "equal_z", "differs_z"):
        _agree(_columns(one, name), _columns(quarter, name), 1e-12)
        assert _columns(plain, name) == _columns(_run(readings, units), name)
    assert _columns(one, "win_rate") != _columns(plain, "win_rate")


def test_the_win_rate_of_two_weighted_sources_is_their_weighted_mean() -> None:
    """Source a: concept wins 30 of 40; source b: 10 of 40. Weights 1 and 0.5: (30 + 5) / (40 + 20) = 7/12."""
    n = 80
    wins = np.array([True] * 30 + [False] * 10 + [True] * 10 + [False] * 30)
    unit = disparity_of(np.where(wins, 1.0, -1.0)[:, None])
    pairs = with_pairs(make_readings(n, 1, seed=0), group=np.arange(n, dtype=np.int32)).pairs
    weight = np.repeat([1.0, 0.5], 40)
    signed = np.ones(n, np.bool_)
    pairs = dataclasses.replace(pairs, is_signed=signed, base_weight=weight)
    found = taught(unit_sums(unit, pairs, signed_weight(signed, mix_weights(pairs))))
    assert found.win_rate[0] == pytest.approx(7 / 12, abs=1e-12)


def test_a_weight_of_two_is_the_pair_twice_in_its_group() -> None:
    """Counts are of pairs, so they differ; every estimate agrees, intervals where no bound counts pairs."""
    readings = make_readings(300, 8, seed=4, effects={1: 1.0})
    rng = np.random.default_rng(0)
    twice = rng.random(readings.n_pairs) < 0.4
    units = units_of(readings)
    weighted = dataclasses.replace(units, weights=np.where(twice, 2.0, 1.0))
    copy = np.repeat(np.arange(readings.n_pairs), np.where(twice, 2, 1))
    doubled_pairs = {
        f.name: getattr(readings.pairs, f.name)[copy]
        for f in dataclasses.fields(PairArrays)
        if not f.name.endswith("_names") and f.name != "base_weight"
    }
    dense = dense_of(units.concepts, readings.n_pairs)[copy]
    doubled_unit = disparity_of(dense)
    members = [np.nonzero(np.isin(copy, units.contexts.pair[a:b]))[0] for a, b in _ranges(units.contexts)]
    sets = dataclasses.replace(
        units.contexts,
        indptr=np.concatenate([[0], np.cumsum([len(m) for m in members])]).astype(np.int64),
        pair=np.concatenate(members).astype(np.uint32),
    )
    doubled = dataclasses.replace(units, concepts=doubled_unit, latents=doubled_unit, contexts=sets)
    # The null's knots are quantiles over pairs, not weights: hold them by comparing what has no knots.
    one, other = _run(readings, weighted), _run(with_pairs(readings, **doubled_pairs), doubled)
    for name in ("mean_u", "win_rate", "taught_z", "half_a", "half_b", "linear_z"):
        _agree(_columns(one, name), _columns(other, name), 1e-6)
    for name in ("win_low", "win_high"):
        _agree(_columns(one, name), _columns(other, name), 0.01)


@pytest.mark.parametrize("factor", [0.1, 7.0])
def test_a_source_has_the_intervals_that_it_would_have_alone_whatever_it_weighs(factor: float) -> None:
    readings = make_readings(600, 8, seed=6, effects={0: 1.0})
    units = units_of(readings)
    inside = np.zeros(readings.n_pairs, np.bool_)
    inside[units.contexts.pair[units.contexts.indptr[0] : units.contexts.indptr[1]]] = True
    weighted = dataclasses.replace(units, weights=np.where(inside, factor, 1.0))
    one, other = _run(readings, units), _run(readings, weighted)
    cells = [i for i, k in enumerate(_columns(one, "context")) if k == 1]
    assert cells
    for name in ("win_rate", "win_low", "win_high", "taught_z", "taught_p", "n_discordant"):
        before, after = _columns(one, name), _columns(other, name)
        _agree([before[i] for i in cells], [after[i] for i in cells], 1e-9)


def test_effects_at_equal_length_depend_on_ratios_of_weights_only() -> None:
    readings = make_readings(600, 8, seed=7, effects={0: 1.0})
    disparity, pairs = latents_of(readings), readings.pairs
    weight = np.where(pairs.is_signed, np.random.default_rng(1).choice([1.0, 2.0], 600), 0.0)
    found = []
    for factor in (1.0, 0.1):
        null = fit_null(build_design(pairs), pairs.group, factor * weight)
        sums = unit_sums(disparity, pairs, factor * weight)
        wanted = sums.n_discordant_groups >= 10
        rates = win_rates(fit_effects(disparity, null, sums, wanted), sums)
        found.append(np.stack([values[wanted] for values in rates]))
    assert np.isfinite(found[0]).all()
    assert found[1] == pytest.approx(found[0], abs=1e-6)


def test_a_weight_of_zero_is_the_pair_left_out() -> None:
    readings = make_readings(300, 8, seed=5)
    gone = np.random.default_rng(1).random(readings.n_pairs) < 0.2
    units = units_of(readings)
    silenced = with_pairs(readings, is_signed=readings.pairs.is_signed & ~gone)
    one = _run(readings, dataclasses.replace(units, weights=np.where(gone, 0.0, 1.0)))
    other = _run(silenced, units)
    for name in ("n_pairs", "n_groups", "n_carry", "n_plus", "win_rate", "win_low", "taught_z", "linear_z"):
        _agree(_columns(one, name), _columns(other, name), 1e-9)


def test_ties_never_enter_signed_statistics() -> None:
    readings = make_readings(300, 8, seed=6)
    units = units_of(readings)
    tied = ~readings.pairs.is_signed
    changed = with_pairs(
        readings, chosen_tokens=np.where(tied, 1, readings.pairs.chosen_tokens).astype(np.int32)
    )
    one, other = _run(readings, units), _run(changed, units)
    for name in one.hypotheses.column_names:
        _agree(_columns(one, name), _columns(other, name), 1e-9)
