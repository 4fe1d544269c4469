"""Null model, score tests and converged effects against statsmodels' GLM, intervals against SciPy."""

import dataclasses

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import stats

from engine.arrays import Readings
from engine.stats.design import build_design
from engine.stats.effect import fit_effects, win_rates
from engine.stats.null import NullModel, fit_null, signed_weight
from engine.stats.score import freedom_correction, score_tests
from engine.stats.sums import unit_sums
from engine.stats.taught import taught
from tests.stats.inputs import dense_of, disparity_of, latents_of
from tests.worlds import make_readings

Vector = NDArray[np.float64]


def _world(n_pairs: int = 1500, seed: int = 1) -> tuple[Readings, NullModel]:
    readings = make_readings(n_pairs, 12, seed=seed, effects={0: 1.0, 3: -0.6})
    pairs = readings.pairs
    weight = signed_weight(pairs.is_signed, None)
    return readings, fit_null(build_design(pairs), pairs.group, weight)


def _glm(y: Vector, x: Vector, **weights: Vector) -> sm.GLM:
    return sm.GLM(y, x, family=sm.families.Binomial(), **weights)


def _oriented(x: Vector, rng: np.random.Generator) -> tuple[Vector, Vector]:
    """Randomly turned pairs: labels then vary, as GLM wants, and the likelihood is the same."""
    turn = rng.choice([-1.0, 1.0], len(x))
    return (turn > 0).astype(np.float64), x * turn[:, None]


def test_null_model_is_the_binomial_glm_without_intercept() -> None:
    readings, null = _world()
    signed = readings.pairs.is_signed
    y, x = _oriented(null.design.z[signed], np.random.default_rng(0))
    fit = _glm(y, x).fit(tol=1e-12, maxiter=200)
    np.testing.assert_allclose(null.gamma, fit.params, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(null.inverse, fit.cov_params(), rtol=1e-5, atol=1e-8)
    assert null.has_converged


def test_weighted_null_model_is_the_glm_with_frequency_weights() -> None:
    readings, null = _world()
    pairs = readings.pairs
    weight = signed_weight(pairs.is_signed, np.random.default_rng(3).uniform(0.2, 3, pairs.n_pairs))
    weighted = fit_null(null.design, pairs.group, weight)
    signed = pairs.is_signed
    y, x = _oriented(null.design.z[signed], np.random.default_rng(0))
    fit = _glm(y, x, freq_weights=weight[signed]).fit(tol=1e-12, maxiter=200)
    np.testing.assert_allclose(weighted.gamma, fit.params, rtol=1e-5, atol=1e-6)


def test_independent_score_test_is_the_glms_score_test() -> None:
    """With every pair its own group the clustered score test is the robust one of the GLM."""
    readings, null = _world()
    signed = np.nonzero(readings.pairs.is_signed)[0]
    u = latents_of(readings)
    alone = np.arange(readings.n_pairs, dtype=np.int32)
    null = fit_null(null.design, alone, null.weight)
    scores = score_tests(u, null)
    rng = np.random.default_rng(0)
    dense = dense_of(u, readings.n_pairs)
    for m in (0, 3, 7):
        both = np.concatenate([null.design.z, dense[:, [m]]], axis=1)[signed]
        y, x = _oriented(both, rng)
        q = null.design.n_columns
        model = _glm(y, x[:, :q])
        fit = model.fit(tol=1e-12, maxiter=200)
        statistic, _, _ = model.score_test(fit.params, exog_extra=x[:, q:])
        model_based = scores.score[m] ** 2 / scores.information[m]
        assert model_based == pytest.approx(float(np.squeeze(statistic)), rel=1e-6)
        e = y - fit.fittedvalues
        w = fit.fittedvalues * (1 - fit.fittedvalues)
        z = x[:, :q]
        rest = x[:, q] - z @ np.linalg.solve((z * w[:, None]).T @ z, (z * w[:, None]).T @ x[:, q])
        robust = (e * rest).sum() / np.sqrt(((e * rest) ** 2).sum())
        assert scores.z[m] * np.sqrt(freedom_correction(null)) == pytest.approx(robust, rel=1e-6)


def test_fitted_columns_cost_degrees_of_freedom() -> None:
    readings, null = _world()
    n_groups = len(np.unique(readings.pairs.group[readings.pairs.is_signed]))
    assert freedom_correction(null) == n_groups / (n_groups - null.design.n_columns)


def test_clustered_variance_sums_scores_by_group() -> None:
    readings, null = _world()
    u = latents_of(readings)
    scores = score_tests(u, null)
    dense = dense_of(u, readings.n_pairs)
    for m in range(4):
        x = dense[:, m]
        kappa = null.inverse @ (null.design.z.T @ (null.curvature * x))
        own = null.residual * (x - null.design.z @ kappa)
        by_group = np.bincount(readings.pairs.group, own)
        by_hand = (null.residual * x).sum() / np.sqrt((by_group**2).sum() * freedom_correction(null))
        assert scores.z[m] == pytest.approx(by_hand, rel=1e-6)


def _joint_fit(readings: Readings, null: NullModel, x: Vector) -> tuple[float, float, float]:
    """β, its model-based and its cluster-robust standard error from statsmodels."""
    signed = readings.pairs.is_signed
    both = np.concatenate([null.design.z, x[:, None]], axis=1)[signed]
    y, turned = _oriented(both, np.random.default_rng(0))
    model = _glm(y, turned)
    plain = model.fit(tol=1e-12, maxiter=200)
    groups = readings.pairs.group[signed]
    clustered = model.fit(
        tol=1e-12, maxiter=200, cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    return float(plain.params[-1]), float(plain.bse[-1]), float(clustered.bse[-1])


def test_converged_effect_is_the_joint_glm_fit_with_cluster_robust_errors() -> None:
    """Every row has u ≠ 0 here, so nothing is approximated: agreement to many digits."""
    readings, null = _world()
    rng = np.random.default_rng(5)
    x = rng.normal(0.3, 1, readings.n_pairs).astype(np.float32).astype(np.float64)
    unit = disparity_of(x[:, None])
    sums = unit_sums(unit, readings.pairs, null.weight)
    fit = fit_effects(unit, null, sums, np.array([True]), prior=0)
    beta, se_model, se_cluster = _joint_fit(readings, null, x)
    groups = sums.n_discordant_groups[0]
    assert fit.beta[0] == pytest.approx(beta, rel=1e-6)
    assert fit.se_model[0] == pytest.approx(se_model, rel=1e-5)
    assert fit.se_cluster[0] == pytest.approx(se_cluster * np.sqrt(groups / (groups - 1)), rel=1e-5)


@pytest.mark.parametrize("latent", [0, 3, 6])
def test_sparse_effect_stays_within_a_hundredth_of_a_standard_error(latent: int) -> None:
    """Rows with u = 0 enter to second order only; the price is far below the noise."""
    readings, null = _world()
    u = latents_of(readings)
    sums = unit_sums(u, readings.pairs, null.weight)
    fit = fit_effects(u, null, sums, np.ones(u.n_units, np.bool_), prior=0)
    beta, se_model, se_cluster = _joint_fit(readings, null, dense_of(u, readings.n_pairs)[:, latent])
    groups = sums.n_discordant_groups[latent]
    assert abs(fit.beta[latent] - beta) < 0.01 * se_model
    assert fit.se_model[latent] == pytest.approx(se_model, rel=0.01)
    assert fit.se_cluster[latent] == pytest.approx(se_cluster * np.sqrt(groups / (groups - 1)), rel=0.02)


def test_effect_at_equal_length_is_the_logistic_of_the_typical_disparity() -> None:
    readings, null = _world()
    u = latents_of(readings)
    sums = unit_sums(u, readings.pairs, null.weight)
    fit = fit_effects(u, null, sums, np.ones(u.n_units, np.bool_))
    rate, low, high = win_rates(fit, sums)
    quantile = stats.t.ppf(0.975, sums.n_discordant_groups[0] - 1)
    assert fit.typical[0] == 1
    assert rate[0] == pytest.approx(1 / (1 + np.exp(-fit.beta[0])))
    assert low[0] == pytest.approx(1 / (1 + np.exp(-fit.beta[0] + quantile * fit.se[0])))
    assert low[0] < rate[0] < high[0]


def test_win_rates_at_equal_length_do_not_depend_on_the_unit_of_the_disparity() -> None:
    """A concept of several latents has u of thirds: β is per unit of u, the win rate at its typical size."""
    readings, null = _world()
    rng = np.random.default_rng(7)
    dense = rng.choice(
        [-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3, 1], (readings.n_pairs, 2), p=[0.1, 0.1, 0.1, 0.3, 0.2, 0.1, 0.1]
    )
    found = []
    for scale in (1.0, 0.25):
        unit = disparity_of(scale * dense)
        sums = unit_sums(unit, readings.pairs, null.weight)
        fit = fit_effects(unit, null, sums, np.ones(2, np.bool_))
        signed = np.abs(scale * dense[readings.pairs.is_signed])
        typical = signed.sum(0) / (signed > 0).sum(0)
        np.testing.assert_allclose(fit.typical, typical, rtol=1e-6)
        rate, low, high = win_rates(fit, sums)
        np.testing.assert_allclose(rate, 1 / (1 + np.exp(-fit.beta * typical)), rtol=1e-6)
        np.testing.assert_allclose(
            high, 1 / (1 + np.exp(-(fit.beta + fit.half_width(sums)) * typical)), rtol=1e-6
        )
        found.append((rate, low, high))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_ungrouped_sign_statistics_match_scipy() -> None:
    """One pair per group: z is the sign test's, the interval Wilson's with Student's quantile."""
    rng = np.random.default_rng(2)
    n = 400
    readings = make_readings(n, 3)
    pairs = dataclasses.replace(
        readings.pairs, group=np.arange(n, dtype=np.int32), is_signed=np.ones(n, np.bool_)
    )
    dense = rng.choice([-1.0, 0.0, 1.0], (n, 3), p=[0.2, 0.4, 0.4])
    sums = unit_sums(disparity_of(dense), pairs, np.ones(n))
    result = taught(sums)
    for m in range(3):
        plus, minus = int((dense[:, m] > 0).sum()), int((dense[:, m] < 0).sum())
        assert result.z[m] == pytest.approx((plus - minus) / np.sqrt(plus + minus))
        exact = stats.binomtest(plus, plus + minus)
        assert result.p[m] == pytest.approx(exact.pvalue, rel=0.35)
        wilson = exact.proportion_ci(0.95, method="wilson")
        assert result.win_low[m] == pytest.approx(wilson.low, abs=2e-3)
        assert result.win_high[m] == pytest.approx(wilson.high, abs=2e-3)


def test_clustered_win_rate_variance_is_that_of_a_clustered_linear_model() -> None:
    """The ratio's variance is OLS of y on a constant with cluster-robust errors (correction G/(G−1))."""
    readings, null = _world()
    u = latents_of(readings)
    sums = unit_sums(u, readings.pairs, null.weight)
    dense = dense_of(u, readings.n_pairs)[:, 3]
    rows = (dense != 0) & readings.pairs.is_signed
    y = (dense[rows] > 0).astype(np.float64)
    fit = sm.OLS(y, np.ones(len(y))).fit(
        cov_type="cluster", cov_kwds={"groups": readings.pairs.group[rows], "use_correction": False}
    )
    rate = sums.y[3] / sums.n[3]
    groups = sums.n_discordant_groups[3]
    spread = (sums.yy[3] - 2 * rate * sums.yn[3] + rate**2 * sums.nn[3]) / sums.n[3] ** 2
    assert rate == pytest.approx(float(fit.params[0]))
    assert np.sqrt(spread) == pytest.approx(float(fit.bse[0]))
    n_eff = min(rate * (1 - rate) / (spread * groups / (groups - 1)), sums.n[3])
    quantile = stats.t.ppf(0.975, groups - 1)
    centre = (rate + quantile**2 / (2 * n_eff)) / (1 + quantile**2 / n_eff)
    result = taught(sums)
    assert (result.win_low[3] + result.win_high[3]) / 2 == pytest.approx(centre)
