"""The second clustering: dense brute force, and worlds in which opponents do and do not share something."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit
from statsmodels.stats.sandwich_covariance import cov_cluster, cov_cluster_2groups

from engine.arrays import UNKNOWN, Readings
from engine.stats.design import build_design, linear_design
from engine.stats.effect import fit_effects, win_rates
from engine.stats.null import NullModel, fit_null
from engine.stats.score import score_tests
from engine.stats.sums import unit_sums
from engine.stats.two_way import MIN_CLUSTERS, cross, freedom, model_clusters, second_variance
from tests.stats.inputs import dense_of, disparity_of, latents_of, with_pairs
from tests.worlds import make_readings


def _met(n_pairs: int, n_models: int, effects: dict[int, float] | None = None) -> Readings:
    """Model 0 against each of the others in turn, winning always."""
    readings = make_readings(n_pairs, 6, effects=effects or {})
    opponent = (1 + np.arange(n_pairs) % (n_models - 1)).astype(np.int32)
    return with_pairs(
        readings, model_chosen=np.zeros(n_pairs, np.int32), model_rejected=opponent,
        model_names=tuple(f"m{k}" for k in range(n_models)),
    )  # fmt: skip


def _fit(readings: Readings) -> NullModel:
    pairs = readings.pairs
    return fit_null(linear_design(pairs), pairs.group, pairs.is_signed.astype(np.float64))


def test_clusters_are_unordered_pairs_of_models_and_need_ten() -> None:
    readings = _met(300, 13)
    clusters = model_clusters(readings.pairs)
    assert clusters is not None
    assert clusters[readings.pairs.is_signed].max() == 11
    turned = with_pairs(
        readings, model_chosen=readings.pairs.model_rejected, model_rejected=readings.pairs.model_chosen
    )
    np.testing.assert_array_equal(clusters, model_clusters(turned.pairs))
    assert model_clusters(_met(300, MIN_CLUSTERS).pairs) is None  # nine opponents
    assert build_design(readings.pairs).second is not None


@pytest.mark.parametrize("share_unknown", [0.0, 0.7])
def test_added_variance_is_the_dense_sum(share_unknown: float) -> None:
    """A unit's effect is that of all its pairs, also where most were written by models that nobody knows."""
    readings = _met(400, 13, {0: 1.0})
    rng = np.random.default_rng(0)
    chosen = np.where(rng.random(400) < share_unknown, UNKNOWN, readings.pairs.model_chosen)
    group = np.arange(400, dtype=np.int32) // 25  # every group meets each opponent about twice
    readings = with_pairs(readings, model_chosen=chosen.astype(np.int32), group=group)
    units, null = latents_of(readings), _fit(readings)
    clusters = model_clusters(readings.pairs)
    assert clusters is not None
    scores = score_tests(units, null)
    kappa = scores.b @ null.inverse
    u, z = dense_of(units, readings.n_pairs), null.design.z
    own = (null.curvature[:, None] * u**2).sum(axis=0)
    beta = scores.score / own
    part = null.residual[:, None] * u - beta * null.curvature[:, None] * u**2  # (P, M)
    known = clusters >= 0
    n = clusters.max() + 1
    by_models = np.zeros((n, units.n_units))
    np.add.at(by_models, clusters[known], (part - (null.residual[:, None] * z) @ kappa.T)[known])
    by_both = np.zeros((16 * n, units.n_units))
    np.add.at(by_both, (group * n + clusters)[known], part[known])
    left = scores.information / own
    expected = (by_models**2).sum(axis=0) * n / (n - 1) - left * (by_both**2).sum(axis=0)
    crossed = cross(clusters, group, null.residual, z)
    terms = (group, null.residual, null.curvature)
    found = second_variance(units, crossed, terms, kappa, scores.score, left)
    np.testing.assert_allclose(found.by_models - found.by_both, expected, rtol=1e-9)
    models = [len(np.unique(clusters[known & (u[:, m] != 0)])) for m in range(units.n_units)]
    groups = [len(np.unique(group[(null.weight > 0) & (u[:, m] != 0)])) for m in range(units.n_units)]
    np.testing.assert_array_equal(found.counts, [groups, models])


def test_degrees_of_freedom_follow_whichever_clustering_carries_the_variance() -> None:
    groups, models = np.array([800.0, 800.0, 800.0, 800.0, 5.0]), np.array([17.0, 17.0, 17.0, 9.0, 17.0])
    by_group = np.array([1.0, 1e-6, 1.0, 1.0, 1.0])
    by_models = np.array([1e-6, 1.0, 0.5, 1.0, 1.0])
    found = freedom((groups, models), by_group, by_models, np.array([1.0, 1.0, 1.2, 1.0, 1.0]))
    expected = 1.2**2 / (1 / 799 + 0.25 / 16)  # Satterthwaite
    np.testing.assert_allclose(found[:3], [799, 16, expected], rtol=1e-4)
    assert np.isnan(found[3])  # nine pairs of models say nothing
    assert found[4] == 4  # never below the fewer clusters, nor above those of prompts


def test_two_way_errors_of_a_converged_effect_are_those_of_statsmodels() -> None:
    """Groups and opponents cross, some cells hold several pairs; with u ≠ 0 nothing is approximated."""
    readings = _met(600, 13)
    rng = np.random.default_rng(1)
    group = np.sort(rng.integers(0, 60, 600)).astype(np.int32)
    readings = with_pairs(readings, group=group, is_signed=np.ones(600, np.bool_))
    pairs = readings.pairs
    clusters = model_clusters(pairs)
    assert clusters is not None
    x = rng.normal(0.3, 1, 600).astype(np.float32)
    design = replace(linear_design(pairs), second=clusters)
    null, unit = fit_null(design, group, np.ones(600)), disparity_of(x[:, None])
    sums = unit_sums(unit, pairs, null.weight)
    fit = fit_effects(unit, null, sums, np.array([True]), prior=0)
    side = np.where(rng.random(600) < 0.5, 1.0, -1.0)
    both = np.column_stack([null.design.z, x]) * side[:, None]
    result = sm.GLM((side > 0).astype(float), both, family=sm.families.Binomial()).fit(tol=1e-12)
    cells = group * 12 + clusters
    variance = {}
    for name, code in (("group", group), ("models", clusters), ("both", cells)):
        n = len(np.unique(code))
        variance[name] = float(cov_cluster(result, code, use_correction=False)[-1, -1]) * n / (n - 1)
    plain, _, _ = cov_cluster_2groups(result, group, clusters, use_correction=False)
    assert len(np.unique(cells)) < 600
    assert fit.beta[0] == pytest.approx(float(result.params[-1]), rel=1e-6)
    assert fit.se_cluster[0] ** 2 == pytest.approx(variance["group"], rel=1e-5)
    expected = variance["group"] + variance["models"] - variance["both"]
    assert fit.variance_two_way[0] == pytest.approx(expected, rel=1e-4)
    satterthwaite = expected**2 / (variance["group"] ** 2 / 59 + variance["models"] ** 2 / 11)
    assert fit.degrees[0] == pytest.approx(np.clip(satterthwaite, 11, 59), rel=1e-3)
    # and the uncorrected sums are statsmodels' own two-way covariance
    undone = [variance[name] * (n - 1) / n for name, n in (("group", 60), ("models", 12))]
    uncorrected = sum(undone) - variance["both"] * (len(np.unique(cells)) - 1) / len(np.unique(cells))
    assert uncorrected == pytest.approx(float(plain[-1, -1]), rel=1e-9)


def _split_world(spread: float, seed: int) -> tuple[Readings, NDArray[np.float64]]:
    """Twelve opponents against each of whom the unit has a log odds of its own, 0 on average."""
    readings = _met(2400, 13)
    rng = np.random.default_rng(seed)
    readings = with_pairs(
        readings, group=(np.arange(2400) // 12).astype(np.int32), is_signed=np.ones(2400, np.bool_)
    )
    slope = rng.normal(0, spread, 12)[readings.pairs.model_rejected - 1]
    return readings, np.where(rng.random(2400) < expit(slope), 1.0, -1.0)[:, None]


def test_what_opponents_share_widens_the_variance_and_a_clear_effect_survives() -> None:
    """Latent 0 wins against half of the opponents and loses against the other half; latent 1 always wins."""
    readings = _met(2400, 13)
    rng = np.random.default_rng(0)
    clusters = model_clusters(readings.pairs)
    assert clusters is not None
    pairs = readings.pairs
    n = readings.n_pairs
    by_opponent = np.where(clusters % 2 == 0, 0.9, 0.1)
    split = np.where(rng.random(n) < by_opponent, 1.0, -1.0)
    clear = np.where(rng.random(n) < 0.7, 1.0, -1.0)
    dense = np.column_stack([split, clear, rng.choice([-1.0, 1.0], n)])
    units = disparity_of(dense)
    null = _fit(readings)
    second = fit_null(replace(null.design, second=clusters), pairs.group, null.weight)
    one, two = score_tests(units, null), score_tests(units, second)
    assert two.variance[0] > 10 * one.variance[0]
    assert two.variance[2] < 2.5 * one.variance[2]
    assert (np.abs(two.z) <= np.abs(one.z)).all()
    assert two.z[1] > 3.6  # above √12: few opponents do not bound a clear effect


def test_interval_and_z_agree_about_what_opponents_share() -> None:
    """Both say nothing where prompts alone would have called a draw of opponents; both see a clear effect."""
    readings, split = _split_world(1.0, 2)
    clear = np.where(np.random.default_rng(3).random(2400) < 0.7, 1.0, -1.0)[:, None]
    units = disparity_of(np.concatenate([split, clear], axis=1))
    pairs, null = readings.pairs, _fit(readings)
    second = fit_null(replace(null.design, second=model_clusters(pairs)), pairs.group, null.weight)
    sums = unit_sums(units, pairs, null.weight)
    every = np.ones(2, np.bool_)
    one, two = (fit_effects(units, model, sums, every) for model in (null, second))
    np.testing.assert_array_equal(one.beta, two.beta)
    _, low, high = win_rates(one, sums)
    assert two.degrees[0] < 20
    assert high[0] < 0.5 or low[0] > 0.5  # by prompt alone this draw looks like an effect
    _, low, high = win_rates(two, sums)
    assert low[0] < 0.5 < high[0]
    assert abs(score_tests(units, second).z[0]) < 1.96
    assert low[1] > 0.6
    assert score_tests(units, second).z[1] > 4
    assert two.half_width(sums)[0] == pytest.approx(
        stats.t.ppf(0.975, two.degrees[0]) * np.sqrt(two.variance_two_way[0]), rel=1e-9
    )


def test_a_unit_that_met_few_pairs_of_models_is_judged_by_prompt_group() -> None:
    readings, split = _split_world(1.0, 2)
    pairs, null = readings.pairs, _fit(readings)
    few = np.where(pairs.model_rejected[:, None] < MIN_CLUSTERS, split, 0.0)  # nine opponents
    units = disparity_of(np.concatenate([split, few], axis=1))
    second = fit_null(replace(null.design, second=model_clusters(pairs)), pairs.group, null.weight)
    sums = unit_sums(units, pairs, null.weight)
    one, two = score_tests(units, null), score_tests(units, second)
    assert abs(two.z[0]) < abs(one.z[0])
    assert two.z[1] == one.z[1]
    fits = [fit_effects(units, model, sums, np.ones(2, np.bool_)) for model in (null, second)]
    assert fits[0].half_width(sums)[1] == fits[1].half_width(sums)[1]


def test_z_of_few_opponents_has_the_tails_of_a_normal() -> None:
    """Nulls whose effect differs between twelve opponents: 5% and 1% of the z lie where a normal's would."""
    found = []
    for seed in range(400):
        readings, split = _split_world(0.5, seed)
        pairs, null = readings.pairs, _fit(readings)
        second = fit_null(replace(null.design, second=model_clusters(pairs)), pairs.group, null.weight)
        found.append(score_tests(disparity_of(split), second).z[0])
    size = np.abs(np.array(found))
    assert stats.binomtest(int((size > 1.96).sum()), 400, 0.05).pvalue > 0.01
    assert (size > 2.576).sum() <= 10  # above 10 of 400 has probability .3% at 1%


def test_a_weight_of_two_is_the_pair_twice_also_between_models() -> None:
    readings, split = _split_world(0.5, 1)
    pairs, cluster = readings.pairs, model_clusters(readings.pairs)
    assert cluster is not None
    twice = np.sort(np.append(np.arange(2400), np.arange(0, 2400, 7)))
    weight = np.where(np.arange(2400) % 7 == 0, 2.0, 1.0)
    design = replace(linear_design(pairs), second=cluster)
    copied = replace(design, z=np.ascontiguousarray(design.z[twice]), second=cluster[twice])
    weighted = fit_null(design, pairs.group, weight)
    doubled = fit_null(copied, pairs.group[twice], np.ones(len(twice)))
    one, two = score_tests(disparity_of(split), weighted), score_tests(disparity_of(split[twice]), doubled)
    assert one.z[0] == pytest.approx(two.z[0], rel=1e-5)
    assert one.degrees[0] == pytest.approx(two.degrees[0], rel=1e-5)
