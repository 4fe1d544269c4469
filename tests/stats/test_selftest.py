"""The self-tests pass on calibrated machinery, fail on broken machinery, and find what is planted."""

import dataclasses

import numpy as np
import pytest

from engine.errors import StatsError
from engine.progress import NullProgress
from engine.settings import StatsSettings
from engine.stats.design import build_design
from engine.stats.length_worlds import length_effects, length_worlds
from engine.stats.redraw import make_bench
from engine.stats.selftest import null_test, planted_concept, random_contexts
from tests.stats.inputs import latents_of, thirds
from tests.worlds import make_readings


def _parts(n_pairs: int, n_latents: int, seed: int = 0):  # type: ignore[no-untyped-def] # a bundle for tests
    readings = make_readings(n_pairs, n_latents, seed=seed, effects={0: 1.5})
    weight = readings.pairs.is_signed.astype(np.float64)
    return latents_of(readings), readings.pairs, build_design(readings.pairs), weight


def test_nulls_call_nothing_although_the_real_labels_teach_something() -> None:
    units, pairs, design, weight = _parts(400, 30)
    results = null_test(
        {"latents": units}, pairs, design, weight, StatsSettings(), draws=40,
        cells=(units, thirds(400)), progress=NullProgress(),
    )  # fmt: skip
    assert results[-1].draws_with_call <= 6
    assert results[-1].family == "cells"
    results = results[:-1]
    assert [r.test for r in results] == ["null (a) taught", "null (a) equal", "null (b) equal"]
    assert all(r.low <= r.share <= r.high for r in results)
    assert sum(r.draws_with_call for r in results) <= 12  # 6 expected of 120 at 5%


def test_a_threshold_that_calls_too_much_fails_the_null_test() -> None:
    """With q ≤ 0.6 and no floor most draws show a call: the test must say so."""
    units, pairs, design, weight = _parts(400, 30)
    loose = StatsSettings(q=0.6, effect_floor=0.0)
    results = null_test({"x": units}, pairs, design, weight, loose, draws=40, progress=NullProgress())
    assert not all(r.passed for r in results)


def test_a_family_without_a_tested_unit_passes_nothing() -> None:
    units, pairs, design, weight = _parts(400, 30)
    rare = dataclasses.replace(units, indptr=units.indptr[:1], pair=units.pair[:0], u=units.u[:0])
    results = null_test(
        {"latents": units, "rare": rare}, pairs, design, weight, StatsSettings(), draws=10,
        progress=NullProgress(),
    )  # fmt: skip
    of = {family: [r for r in results if r.family == family] for family in ("latents", "rare")}
    assert all(r.tested == 30 and r.passed is not None for r in of["latents"])
    assert all(r.tested == 0 and r.passed is None and np.isnan(r.share) for r in of["rare"])


def test_a_null_test_of_nothing_is_refused() -> None:
    units, pairs, design, weight = _parts(60, 5)
    strict = StatsSettings(min_discordant=1000)
    with pytest.raises(StatsError, match="nothing is discordant in 1000 prompt groups") as caught:
        null_test({"x": units}, pairs, design, weight, strict, draws=2, progress=NullProgress())
    assert "min_discordant" in (caught.value.hint or "")


def test_null_b_is_refused_where_origin_separates_the_labels() -> None:
    units, pairs, _, weight = _parts(300, 5)
    one = dataclasses.replace(
        pairs, model_chosen=np.zeros(300, np.int32), model_rejected=np.ones(300, np.int32)
    )
    with pytest.raises(StatsError, match="separate"):
        null_test(
            {"x": units}, one, build_design(one), weight, StatsSettings(), draws=2, progress=NullProgress()
        )


def test_random_contexts_have_standard_normal_z() -> None:
    units, pairs, design, weight = _parts(2000, 40)
    result = random_contexts(units, pairs, design, weight, StatsSettings(), n_contexts=6)
    assert result.passed
    assert result.n_cells > 150
    assert result.calls == 0


def test_a_planted_concept_is_found_the_more_the_stronger_it_is() -> None:
    units, pairs, design, weight = _parts(600, 30)
    bench = make_bench(units, pairs, design, weight, StatsSettings())
    curve = planted_concept(bench, 4, (1.0, 4.0), draws=20, progress=NullProgress())
    assert curve[0].recall <= 0.1
    assert curve[1].recall >= 0.9
    assert curve[1].median_rank == 1
    assert curve[1].win_rate == pytest.approx(0.8, abs=0.03)
    assert curve[1].true_win_rate == pytest.approx(0.8)
    assert curve[1].other_calls < 0.5


def test_length_effects_are_odd_in_swapping_sides() -> None:
    _, pairs, _, _ = _parts(300, 5)
    turned = dataclasses.replace(
        pairs, chosen_tokens=pairs.rejected_tokens, rejected_tokens=pairs.chosen_tokens
    )
    topic = (np.arange(300) % 4).astype(np.int32)
    one = length_effects(pairs, topic, np.random.default_rng(0))
    other = length_effects(turned, topic, np.random.default_rng(0))
    for world in one:
        np.testing.assert_allclose(one[world], -other[world])


@pytest.mark.slow
def test_in_five_length_worlds_equal_length_calls_are_hardly_confounded() -> None:
    """Confounded share ≤ 8% with ≥ 0.9 of the oracle's power; the raw audit drowns."""
    units, pairs, _, weight = _parts(3000, 200, seed=7)
    pairs = dataclasses.replace(
        pairs, model_chosen=np.full(3000, -1, np.int32), model_rejected=np.full(3000, -1, np.int32)
    )
    topic = (pairs.group % 6).astype(np.int32)
    design = build_design(pairs, topic=topic)
    results = length_worlds(
        units, pairs, design, weight, topic, StatsSettings(), draws=20, progress=NullProgress()
    )
    by = {(r.world, r.judge): r for r in results}
    for world in {r.world for r in results}:
        assert by[world, "full null model"].confounded_share <= 0.08
        assert by[world, "full null model"].found >= 0.9 * by[world, "oracle"].found
        assert by[world, "taught"].confounded_share > by[world, "full null model"].confounded_share
    assert by["kink", "taught"].confounded_share > 0.3


@pytest.mark.slow
def test_nulls_hold_over_four_hundred_draws() -> None:
    units, pairs, design, weight = _parts(1500, 100, seed=3)
    results = null_test(
        {"latents": units}, pairs, design, weight, StatsSettings(), draws=400, progress=NullProgress()
    )
    assert all(r.passed for r in results), results
