"""By source, collateral, pooling: against independent implementations and brute force."""

import dataclasses

import numpy as np
import pytest
from scipy.special import expit
from statsmodels.stats.meta_analysis import combine_effects

from engine.errors import StatsError
from engine.stats.collateral import collateral, collateral_matrix
from engine.stats.design import build_design
from engine.stats.null import fit_null
from engine.stats.sensitivity import POOLINGS, pooling_sensitivity
from engine.stats.sources import decompose, random_effects
from engine.stats.sums import unit_sums
from tests.stats.inputs import dense_of, latents_of
from tests.worlds import make_readings


def test_random_effects_are_statsmodels_dersimonian_laird() -> None:
    rng = np.random.default_rng(0)
    value, variance = rng.normal(0.3, 0.5, (6, 3)), rng.uniform(0.02, 0.2, (6, 3))
    mean, se, tau, i2 = random_effects(value, variance)
    for m in range(3):
        expected = combine_effects(value[:, m], variance[:, m], method_re="dl")
        is_random = expected.tau2 > 0  # statsmodels lets a variance between levels be negative
        centre = expected.mean_effect_re if is_random else expected.mean_effect_fe
        spread = expected.sd_eff_w_re if is_random else expected.sd_eff_w_fe
        assert mean[m] == pytest.approx(centre)
        assert se[m] == pytest.approx(spread)
        assert tau[m] ** 2 == pytest.approx(max(expected.tau2, 0))
        assert i2[m] == pytest.approx(max(expected.i2, 0))


def test_missing_levels_are_left_out_of_the_mean() -> None:
    value = np.array([[0.5, np.nan], [0.7, 0.2], [np.nan, np.nan]])
    mean, _, _, i2 = random_effects(value, np.full((3, 2), 0.1))
    assert mean[0] == pytest.approx(0.6)
    assert mean[1] == pytest.approx(0.2)
    assert np.isnan(i2[1])


def test_by_source_rates_are_those_of_the_sources_own_pairs() -> None:
    readings = make_readings(600, 6, effects={0: 1.0})
    pairs, units = readings.pairs, latents_of(readings)
    weight = pairs.is_signed.astype(np.float64)
    found = decompose(units, pairs, weight, build_design(pairs), "source")
    dense = dense_of(units, readings.n_pairs)
    assert found.levels == ("alpha", "beta")
    for k in range(2):
        own = pairs.is_signed & (pairs.source == k)
        for m in range(6):
            u = dense[own, m]
            rest = dense[pairs.is_signed & ~own, m]
            assert found.win_rate[k, m] == pytest.approx((u > 0).sum() / (u != 0).sum())
            assert found.without[k, m] == pytest.approx((rest > 0).sum() / (rest != 0).sum())
    assert abs(found.mean[0] - expit(1.0)) < 0.06
    assert found.mean_low[0] < found.mean[0] < found.mean_high[0]
    assert abs(found.equal_without[0, 0] - found.without[0, 0]) < 0.05


def test_a_concept_taught_by_one_source_and_against_by_the_other_shows_in_i2() -> None:
    readings = make_readings(1500, 3, effects={0: 1.5})
    units = latents_of(readings)
    turn = np.where(readings.pairs.source == 0, -1, 1).astype(np.float32)
    units = dataclasses.replace(units, u=units.u * turn[units.pair])
    pairs = readings.pairs
    found = decompose(units, pairs, pairs.is_signed.astype(np.float64), build_design(pairs), "source")
    assert found.i2[0] > 0.9
    assert found.without[0, 0] > 0.7
    assert found.without[1, 0] < 0.3


def test_facets_without_data_are_refused() -> None:
    readings = make_readings(100, 3)
    pairs = readings.pairs
    weight = pairs.is_signed.astype(np.float64)
    with pytest.raises(StatsError, match="known annotator"):
        decompose(latents_of(readings), pairs, weight, build_design(pairs), "annotator")
    with pytest.raises(StatsError, match="no facet"):
        decompose(latents_of(readings), pairs, weight, build_design(pairs), "weather")


def test_collateral_change_and_its_error_match_a_group_bootstrap() -> None:
    readings = make_readings(800, 4, effects={0: 1.0})
    pairs, units = readings.pairs, latents_of(readings)
    rng = np.random.default_rng(0)
    before = pairs.is_signed.astype(np.float64)
    dense = dense_of(units, readings.n_pairs)
    after = before * np.where(dense[:, 0] > 0, 0.3, 1.0)
    turn = np.where(rng.random(800) < 0.05, -1.0, 1.0)
    found = collateral(units, pairs.group, before, after, turn)
    change = (after * turn) @ dense / after.sum() - before @ dense / before.sum()
    np.testing.assert_allclose(found.change, change, atol=1e-12)
    n_groups = int(pairs.group.max()) + 1
    draws = []
    for _ in range(400):
        times = np.bincount(rng.integers(0, n_groups, n_groups), minlength=n_groups)[pairs.group]
        b, a = before * times, after * times
        draws.append((a * turn) @ dense / a.sum() - b @ dense / b.sum())
    spread = np.std(draws, axis=0)
    np.testing.assert_allclose((found.high - found.low) / (2 * 1.96), spread, rtol=0.2)


def test_the_collateral_matrix_is_brute_force_leaving_out() -> None:
    readings = make_readings(200, 5)
    units = latents_of(readings)
    weight = readings.pairs.is_signed.astype(np.float64)
    dense = dense_of(units, 200)
    matrix = collateral_matrix(units, weight)
    for k in range(5):
        left = weight * (dense[:, k] <= 0)
        np.testing.assert_allclose(matrix[k], left @ dense / left.sum() - weight @ dense / weight.sum())
    assert (np.diag(matrix) <= 0).all()


def test_a_taught_concept_keeps_its_sign_under_every_pooling() -> None:
    readings = make_readings(800, 6, effects={0: 2.0})
    pairs = readings.pairs
    null = fit_null(build_design(pairs), pairs.group, pairs.is_signed.astype(np.float64))
    concept_of = np.array([0, 1, 1, 1, -1, 2], np.int32)
    found = pooling_sensitivity(readings, concept_of, 3, null)
    assert tuple(p.pooling for p in found) == POOLINGS
    assert all(p.taught_z[0] > 4 and p.equal_z[0] > 4 for p in found)


def test_any_token_pooling_of_one_latent_is_its_presence_test() -> None:
    readings = make_readings(400, 4)
    pairs = readings.pairs
    null = fit_null(build_design(pairs), pairs.group, pairs.is_signed.astype(np.float64))
    found = pooling_sensitivity(readings, np.arange(4, dtype=np.int32), 4, null)[3]
    sums = unit_sums(latents_of(readings), pairs, null.weight)
    np.testing.assert_allclose(found.taught_z, sums.wu / np.sqrt(sums.tt), rtol=1e-5)
