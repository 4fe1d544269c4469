"""By source, collateral, pooling: against independent implementations and brute force."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit
from statsmodels.stats.meta_analysis import combine_effects

from engine.arrays import Disparity, LastTokens, PairArrays
from engine.errors import StatsError
from engine.settings import StatsSettings
from engine.stats.collateral import collateral, side_effects
from engine.stats.design import build_design, linear_design
from engine.stats.null import fit_null
from engine.stats.score import score_tests
from engine.stats.sensitivity import (
    POOLINGS,
    Effect,
    Pooled,
    agreement,
    members_of,
    pooled_blocks,
    pooling_sensitivity,
    poolings_of,
)
from engine.stats.sources import decompose, random_effects
from engine.stats.sums import unit_sums
from engine.stats.taught import effective_discordant, two_sided
from engine.stats.unique import STABLE, threshold, unique_contribution
from tests.stats.inputs import dense_of, disparity_of, latents_of, met_by_all, with_pairs
from tests.worlds import make_readings

SETTINGS = StatsSettings()


def test_random_effects_are_statsmodels_dersimonian_laird() -> None:
    rng = np.random.default_rng(0)
    value, variance = rng.normal(0.3, 0.5, (6, 3)), rng.uniform(0.02, 0.2, (6, 3))
    mean, half, tau, i2 = random_effects(value, variance)
    for m in range(3):
        expected = combine_effects(value[:, m], variance[:, m], method_re="dl")
        is_random = expected.tau2 > 0  # statsmodels lets a variance between levels be negative
        centre = expected.mean_effect_re if is_random else expected.mean_effect_fe
        usual = expected.sd_eff_w_re if is_random else expected.sd_eff_w_fe
        weight = 1 / (variance[:, m] + max(expected.tau2, 0))
        scale = (weight * (value[:, m] - centre) ** 2).sum() / 5  # Hartung and Knapp's
        assert mean[m] == pytest.approx(centre)
        assert half[m] == pytest.approx(stats.t.ppf(0.975, 5) * usual * max(scale, 1) ** 0.5)
        assert tau[m] ** 2 == pytest.approx(max(expected.tau2, 0))
        assert i2[m] == pytest.approx(max(expected.i2, 0))


def test_missing_levels_are_left_out_of_the_mean() -> None:
    value = np.array([[0.5, np.nan], [0.7, 0.2], [np.nan, np.nan]])
    mean, _, _, i2 = random_effects(value, np.full((3, 2), 0.1))
    assert mean[0] == pytest.approx(0.6)
    assert mean[1] == pytest.approx(0.2)
    assert np.isnan(i2[1])


def test_the_interval_over_three_levels_that_differ_holds_their_mean_nineteen_times_in_twenty() -> None:
    """With the usual error and the normal's quantile it holds it in eight or nine of ten."""
    rng = np.random.default_rng(1)
    variance = np.full((3, 20_000), 0.01)
    value = rng.normal(0.3, np.sqrt(0.09 + 0.01), (3, 20_000))
    mean, half, tau, _ = random_effects(value, variance)
    missed = np.abs(mean - 0.3)
    assert np.mean(missed < 1.96 * np.sqrt((tau**2 + 0.01) / 3)) < 0.9
    assert np.mean(missed < half) >= 0.945


def test_models_that_share_every_pair_are_not_two_observations_of_it() -> None:
    """Two models that only met each other are one level twice: its own error, and t's quantile for two."""
    readings = make_readings(600, 3, effects={0: 0.5})
    pairs = dataclasses.replace(
        readings.pairs, model_chosen=np.zeros(600, np.int32), model_rejected=np.ones(600, np.int32)
    )
    weight = pairs.is_signed.astype(np.float64)
    units = latents_of(readings)
    found = decompose(units, pairs, weight, linear_design(pairs), "model", SETTINGS)
    rate = found.levels[0].taught.win_rate
    n_eff = effective_discordant(unit_sums(units, pairs, weight), rate)
    shrunk = (rate * n_eff + 0.5) / (n_eff + 1)
    own = np.sqrt(1 / ((n_eff + 1) * shrunk * (1 - shrunk)))
    half = logit(found.mean_high) - logit(found.mean)
    np.testing.assert_allclose(half, stats.t.ppf(0.975, 1) * own, rtol=1e-9)


def test_by_source_rates_are_those_of_the_sources_own_pairs() -> None:
    readings = make_readings(600, 6, effects={0: 1.0})
    pairs, units = readings.pairs, latents_of(readings)
    weight = pairs.is_signed.astype(np.float64)
    found = decompose(units, pairs, weight, build_design(pairs), "source", SETTINGS)
    dense = dense_of(units, readings.n_pairs)
    assert {level.name for level in found.levels} == {"alpha", "beta"}
    for level in found.levels:
        own = pairs.is_signed & (pairs.source == pairs.source_names.index(level.name))
        for m in range(6):
            u = dense[own, m]
            rest = dense[pairs.is_signed & ~own, m]
            assert level.taught.win_rate[m] == pytest.approx((u > 0).sum() / (u != 0).sum())
            assert level.without.win_rate[m] == pytest.approx((rest > 0).sum() / (rest != 0).sum())
        assert level.without.call[0] == 1
        assert level.equal_without.call[0] == 1
        assert abs(level.equal_without.win_rate[0] - level.without.win_rate[0]) < 0.05
    assert abs(found.mean[0] - expit(1.0)) < 0.06
    assert found.mean_low[0] < found.mean[0] < found.mean_high[0]
    whole = weight @ dense / weight.sum()
    np.testing.assert_allclose(sum(level.push for level in found.levels), whole, atol=1e-12)


def test_a_concept_taught_by_one_source_and_against_by_the_other_shows_in_i2() -> None:
    readings = make_readings(1500, 3, effects={0: 1.5})
    units = latents_of(readings)
    turn = np.where(readings.pairs.source == 0, -1, 1).astype(np.float32)
    units = dataclasses.replace(units, u=units.u * turn[units.pair])
    pairs = readings.pairs
    weight = pairs.is_signed.astype(np.float64)
    found = decompose(units, pairs, weight, build_design(pairs), "source", SETTINGS)
    without = {level.name: level.without.win_rate[0] for level in found.levels}
    assert found.i2[0] > 0.9
    assert without["alpha"] > 0.7
    assert without["beta"] < 0.3


def test_levels_too_small_to_test_anything_are_counted_not_listed() -> None:
    readings = make_readings(600, 3)
    source = np.where(np.arange(600) < 8, 1, 0).astype(np.int32)
    pairs = dataclasses.replace(readings.pairs, source=source, source_names=("alpha", "beta", "of no pair"))
    weight = pairs.is_signed.astype(np.float64)
    found = decompose(latents_of(readings), pairs, weight, build_design(pairs), "source", SETTINGS)
    assert [level.name for level in found.levels] == ["alpha"]
    assert found.n_left_out == 1  # a source without labelled pairs is none


def test_facets_without_data_are_refused() -> None:
    readings = make_readings(100, 3)
    pairs = readings.pairs
    weight = pairs.is_signed.astype(np.float64)
    with pytest.raises(StatsError, match="known annotator"):
        decompose(latents_of(readings), pairs, weight, build_design(pairs), "annotator", SETTINGS)
    with pytest.raises(StatsError, match="no facet"):
        decompose(latents_of(readings), pairs, weight, build_design(pairs), "weather", SETTINGS)


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


def test_side_effects_are_those_of_halving_a_concepts_push() -> None:
    """Units 0 and 1 fire together, unit 2 alone: leaving out what teaches 0 halves 1 as well."""
    rng = np.random.default_rng(1)
    n = 3000
    both, alone = (np.where(rng.random(n) < p, rng.choice([-1, 1, 1], n), 0) for p in (0.4, 0.4))
    units = disparity_of(np.stack([both, both, alone], axis=1))
    weight = np.ones(n)
    every = np.ones(3, np.bool_)
    found = side_effects(units, np.arange(n, dtype=np.int32), weight, np.array([True, False, False]), every)
    assert found.unit.tolist() == [0]
    assert found.moved.tolist() == [1]
    assert found.before[0] == pytest.approx(both.mean())
    assert found.after[0] == pytest.approx(both.mean() / 2)
    plus, minus = (both > 0).sum(), (both < 0).sum()
    # (plus − d − minus) / (n − d) = (plus − minus) / 2n, solved for the d pairs that go.
    gone = (plus - minus) / 2 / (1 - (plus - minus) / (2 * n))
    assert found.dropped[0] == pytest.approx(gone)
    assert found.high[0] < 0


def test_what_every_pair_carries_almost_alike_cannot_be_halved() -> None:
    """Whatever is left out, the mean of the rest is at least the smallest u, more than half of the mean."""
    only = np.ones(1, np.bool_)
    rng = np.random.default_rng(0)
    for _ in range(200):
        u = np.round(rng.uniform(0.6, 1, int(rng.integers(2, 6))), 2)
        group = np.arange(len(u), dtype=np.int32)
        # A second unit that fires on the first pair only: it would be listed as moved.
        units = disparity_of(np.stack([u, group == 0], axis=1))
        wanted = np.array([True, False])
        found = side_effects(units, group, np.ones(len(u)), wanted, ~wanted)
        assert len(found.unit) == 0
        assert len(side_effects(disparity_of(u[:, None]), group, np.ones(len(u)), only, only).unit) == 0


def test_a_concept_without_a_push_has_nothing_to_halve() -> None:
    units = disparity_of(np.array([[1.0], [-1.0], [0.0]]))
    only = np.ones(1, np.bool_)
    assert len(side_effects(units, np.arange(3, dtype=np.int32), np.ones(3), only, only).unit) == 0


def test_a_taught_concept_is_called_under_every_pooling() -> None:
    readings = make_readings(800, 6, effects={0: 2.0})
    pairs = readings.pairs
    null = fit_null(build_design(pairs), pairs.group, pairs.is_signed.astype(np.float64))
    members = members_of([(0,), (1, 2, 3), (), (5,)])
    found = pooling_sensitivity(readings, members, np.ones(4, np.bool_), null, SETTINGS)
    assert tuple(p.pooling for p in found) == POOLINGS[:3]
    assert all(p.taught.call[0] == 1 and p.equal.call[0] == 1 for p in found)
    assert all(np.isnan(p.taught.call[2]) for p in found)  # a column has nothing to pool
    own = (np.array([1.0, 0.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0, np.nan]))
    agrees = agreement(found, own, (np.array([5.0, 0.3, 0.1, 0.1]), np.array([5.0, 0.2, 0.1, np.nan])))
    assert agrees[:, 0].all()
    against = agreement(found, own, (np.array([-5.0, 0.3, 0.1, 0.1]), np.array([5.0, 0.2, 0.1, np.nan])))
    assert not against[:, 0].any()


def test_pooled_values_are_mean_deltas_over_their_root_mean_square(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.stats.sensitivity.BLOCK_ROWS", 50)  # several blocks
    readings = make_readings(120, 5)
    last = LastTokens(
        readings.by_latent.indptr, readings.by_latent.pair, readings.by_latent.chosen.act_max,
        readings.by_latent.rejected.act_max,
    )  # fmt: skip
    readings = dataclasses.replace(readings, last=last)
    assert poolings_of(readings) == POOLINGS
    members = members_of([(1,), (0, 2), (), (4, 2)])
    pairs, sides = readings.pairs, (readings.by_latent.chosen, readings.by_latent.rejected)
    tokens = (pairs.chosen_tokens, pairs.rejected_tokens)
    by_latent = readings.by_latent
    latent = np.repeat(np.arange(5), np.diff(by_latent.indptr))
    chosen, rejected = (1 / n[by_latent.pair] for n in tokens)
    largest = sides[0].act_max.astype(np.float64) - sides[1].act_max
    fired = sides[0].n_fired * chosen - sides[1].n_fired * rejected
    mean = sides[0].act_sum * chosen - sides[1].act_sum * rejected
    for pooling, delta in zip(POOLINGS, (largest, fired, mean, largest), strict=True):
        dense = np.zeros((120, 5))
        dense[by_latent.pair, latent] = delta
        scaled = dense / np.sqrt((dense**2).mean(axis=0))
        columns = [
            scaled[:, 1],
            (scaled[:, 0] + scaled[:, 2]) / 2,
            np.zeros(120),
            (scaled[:, 2] + scaled[:, 4]) / 2,
        ]
        blocks = list(pooled_blocks(readings, members, pooling))
        assert len(blocks) > 1
        found = np.concatenate([dense_of(block, 120) for block in blocks], axis=1)
        np.testing.assert_allclose(found, np.stack(columns, axis=1), atol=1e-6)


@pytest.mark.parametrize("has_models", [False, True])
def test_an_effect_under_a_pooling_is_one_newton_step_with_the_clustered_error(has_models: bool) -> None:
    """β = U / I with the error √Var(U) / I, at the typical size of a pooled difference."""
    readings = make_readings(780, 1, effects={0: 1.0})
    if has_models:  # one model against thirteen, which wins half of the time: fewer degrees of freedom
        met = met_by_all(13, 60)
        sides = np.stack([met.pairs.model_chosen, met.pairs.model_rejected])
        lost = np.random.default_rng(0).random(780) < 0.5
        sides = np.where(lost, sides[::-1], sides)
        readings = with_pairs(met, model_chosen=sides[0], model_rejected=sides[1])
    pairs = readings.pairs
    null = fit_null(build_design(pairs), pairs.group, pairs.is_signed.astype(np.float64))
    (pooled, *_) = pooling_sensitivity(readings, members_of([(0,)]), np.ones(1, np.bool_), null, SETTINGS)
    (units,) = pooled_blocks(readings, members_of([(0,)]), POOLINGS[0])
    scores = score_tests(units, null)
    signed = np.abs(dense_of(units, 780))[pairs.is_signed, 0]
    typical = signed.sum() / (signed > 0).sum()
    beta, error = scores.score / scores.information, np.sqrt(scores.variance) / scores.information
    groups = len(np.unique(pairs.group[pairs.is_signed][signed > 0]))
    assert np.isfinite(scores.degrees[0]) == has_models
    degrees = min(scores.degrees[0], groups - 1) if has_models else groups - 1
    half = stats.t.ppf(0.975, degrees) * error
    np.testing.assert_allclose(pooled.equal.win_rate, expit(beta * typical), rtol=1e-6)
    np.testing.assert_allclose(pooled.equal.low, expit((beta - half) * typical), rtol=1e-6)
    np.testing.assert_allclose(pooled.equal.high, expit((beta + half) * typical), rtol=1e-6)


def _twins(n: int = 4000) -> tuple[Disparity, PairArrays]:
    """Unit 0 acts; unit 1 is 0 with noise, so it is taught too; units 2 … 41 are noise."""
    readings = make_readings(n, 42, seed=3)
    rng = np.random.default_rng(4)
    dense = np.where(rng.random((n, 42)) < 0.3, rng.choice([-1, 1], (n, 42)), 0)
    turn = np.where(rng.random(n) < expit(1.5 * dense[:, 0]), 1, -1)
    dense[:, 1] = np.where(rng.random(n) < 0.7, dense[:, 0], dense[:, 1])
    return disparity_of(dense * turn[:, None]), readings.pairs


def test_of_two_carriers_of_one_signal_only_the_one_that_acts_contributes() -> None:
    units, pairs = _twins()
    null = fit_null(build_design(pairs), pairs.group, pairs.is_signed.astype(np.float64))
    scores = score_tests(units, null)
    assert two_sided(scores.z)[1] < 1e-6  # the twin is taught as well …
    found = unique_contribution(units, null, scores, np.ones(42, np.bool_), pairs.fold, halves=40)
    assert found.selected[0] == 1
    assert found.beta[0] > 0.8  # log odds 1.5, shrunk
    assert found.selected[1] < STABLE  # … but has nothing of its own
    assert (found.selected[2:] >= STABLE).sum() <= 1


def test_l1_weights_solve_the_penalised_likelihood() -> None:
    """Subgradient conditions: |score| is the penalty where a weight is not 0, and no more elsewhere."""
    units, pairs = _twins(800)
    null = fit_null(build_design(pairs), pairs.group, pairs.is_signed.astype(np.float64))
    scores = score_tests(units, null)
    found = unique_contribution(units, null, scores, np.ones(42, np.bool_), pairs.fold, halves=2)
    u, weight = dense_of(units, 800), null.weight
    eta = u @ found.beta
    gamma = null.gamma.copy()
    for _ in range(30):  # the null's columns, unpenalised
        p = expit(null.design.z @ gamma + eta)
        hessian = (null.design.z * (weight * p * (1 - p))[:, None]).T @ null.design.z
        gamma += np.linalg.solve(hessian, null.design.z.T @ (weight * (1 - p)))
    score = u.T @ (weight * expit(-(null.design.z @ gamma + eta)))
    penalty = threshold(42) * np.sqrt(scores.variance)
    active = found.beta != 0
    assert active.any()
    np.testing.assert_allclose(score[active], (penalty * np.sign(found.beta))[active], rtol=1e-3)
    assert (np.abs(score[~active]) <= penalty[~active] * 1.001).all()


def test_a_pooling_that_tests_neither_question_neither_agrees_nor_disagrees() -> None:
    nothing = np.full(2, np.nan)
    some = np.array([np.nan, 0.5])
    empty = Effect(nothing, nothing, nothing, nothing, nothing, np.array([np.nan, np.nan]))
    tested = Effect(nothing, nothing, nothing, some, nothing, np.array([np.nan, 0.0]))
    own = (np.zeros(2), np.zeros(2))
    agrees = agreement([Pooled("last token", np.zeros(2), tested, empty)], own, own)
    assert np.isnan(agrees[0, 0])
    assert agrees[0, 1] == 1


def test_only_levels_in_which_a_unit_has_an_effect_are_compared() -> None:
    readings = make_readings(600, 4, seed=2)
    pairs = readings.pairs
    disparity = latents_of(readings)
    names = ("a", "b", "c")
    source = (np.arange(600) % 3).astype(pairs.source.dtype)
    keep = ~(
        (np.repeat(np.arange(disparity.n_units), np.diff(disparity.indptr)) == 0)
        & (source[disparity.pair] == 2)
    )
    counts = np.bincount(
        np.repeat(np.arange(disparity.n_units), np.diff(disparity.indptr))[keep], minlength=disparity.n_units
    )
    without = Disparity(np.concatenate([[0], np.cumsum(counts)]), disparity.pair[keep], disparity.u[keep])
    mixed = dataclasses.replace(pairs, source=source, source_names=names)
    weight = mixed.is_signed.astype(np.float64)
    found = decompose(without, mixed, weight, build_design(mixed), "source", StatsSettings())
    assert found.n_compared.tolist() == [2] + [3] * (disparity.n_units - 1)
