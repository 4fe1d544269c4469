"""First-order forecasts against hand arithmetic and a cluster-robust regression."""

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray

from engine.arrays import Disparity
from engine.errors import StatsError
from engine.stats.forecast import length_only, mean_delta


def disparity(dense: NDArray[np.float64]) -> Disparity:
    unit, pair = np.nonzero(dense)
    indptr = np.searchsorted(unit, np.arange(len(dense) + 1)).astype(np.int64)
    return Disparity(indptr, pair.astype(np.uint32), dense[unit, pair].astype(np.float32))


def test_mean_is_the_weighted_mean() -> None:
    u = np.array([[1.0, -1.0, 0.0, 0.5]])
    found = mean_delta(disparity(u), np.arange(4, dtype=np.int32), np.array([1.0, 2.0, 1.0, 0.0]), np.ones(4))
    assert found.mean[0] == pytest.approx((1 - 2) / 4)
    assert found.n_active[0] == 2  # the fourth pair has no weight


def test_standard_error_equals_cluster_robust_weighted_regression() -> None:
    rng = np.random.default_rng(1)
    n = 200
    group = np.sort(rng.integers(0, 60, n)).astype(np.int32)
    weight = rng.choice([0.25, 1.0, 2.0], n)
    u = rng.choice([-1.0, 0.0, 0.0, 1.0], (3, n))
    found = mean_delta(disparity(u), group, weight, np.ones(n))
    n_groups = len(np.unique(group))
    for unit in range(3):
        fit = sm.WLS(u[unit], np.ones(n), weights=weight).fit(
            cov_type="cluster", cov_kwds={"groups": group, "use_correction": False}
        )
        expected = float(fit.bse[0]) * np.sqrt(n_groups / (n_groups - 1))
        assert found.mean[unit] == pytest.approx(float(fit.params[0]), abs=1e-12)
        assert found.se[unit] == pytest.approx(expected, rel=1e-6)
    # 90% of a normal lies within 1.6449 standard errors
    np.testing.assert_allclose(found.high - found.mean, 1.6448536 * found.se, rtol=1e-6)
    np.testing.assert_allclose(found.mean - found.low, 1.6448536 * found.se, rtol=1e-6)


def test_a_unit_that_never_varies_has_no_error_whatever_rounding_says() -> None:
    rng = np.random.default_rng(4)
    u, group = np.full((1, 60), 0.1), np.sort(rng.integers(0, 20, 60)).astype(np.int32)
    errors = [mean_delta(disparity(u), group, rng.uniform(0, 1, 60), np.ones(60)).se[0] for _ in range(40)]
    assert max(errors) < 1e-8  # and never the root of something below 0


def test_flipping_every_pair_negates_the_forecast() -> None:
    rng = np.random.default_rng(2)
    u = disparity(rng.choice([-1.0, 0.0, 1.0], (4, 50)))
    group = np.arange(50, dtype=np.int32)
    straight = mean_delta(u, group, np.ones(50), np.ones(50))
    flipped = mean_delta(u, group, np.ones(50), -np.ones(50))
    np.testing.assert_allclose(flipped.mean, -straight.mean)
    np.testing.assert_allclose(flipped.se, straight.se)
    np.testing.assert_allclose(flipped.low, -straight.high)


def test_weight_two_equals_the_pair_twice_in_its_group() -> None:
    u = np.array([[1.0, -1.0, 1.0, 0.0]])
    group = np.array([0, 1, 2, 3], np.int32)
    doubled = mean_delta(disparity(u), group, np.array([2.0, 1.0, 1.0, 1.0]), np.ones(4))
    repeated = mean_delta(disparity(u[:, [0, 0, 1, 2, 3]]), group[[0, 0, 1, 2, 3]], np.ones(5), np.ones(5))
    np.testing.assert_allclose(doubled.mean, repeated.mean)
    np.testing.assert_allclose(doubled.se, repeated.se)


@pytest.mark.parametrize("weight", [[0.0, 0.0], [1.0, 0.0], [-1.0, 2.0], [np.nan, 1.0]])
def test_too_little_or_broken_weight_is_an_error(weight: list[float]) -> None:
    with pytest.raises(StatsError):
        mean_delta(
            disparity(np.array([[1.0, -1.0]])), np.array([0, 1], np.int32), np.array(weight), np.ones(2)
        )


@pytest.mark.parametrize("odd", [-1.0, np.nan, np.inf])
def test_a_single_odd_weight_among_others_is_an_error(odd: float) -> None:
    u, group = np.array([[1.0, -1.0, 1.0, 0.0]]), np.arange(4, dtype=np.int32)
    with pytest.raises(StatsError, match="finite and not negative"):
        mean_delta(disparity(u), group, np.array([1.0, odd, 1.0, 2.0]), np.ones(4))


def test_length_only_forecast_is_the_regression_through_the_origin() -> None:
    rng = np.random.default_rng(3)
    u, length = rng.choice([-1.0, 0.0, 1.0], (2, 80)), rng.normal(size=80)
    weight = rng.choice([0.5, 1.0], 80)
    found = length_only(disparity(u), length, weight, np.ones(80))
    for unit in range(2):
        slope = float(sm.WLS(u[unit], length, weights=weight).fit().params[0])
        assert found[unit] == pytest.approx(slope * np.average(length, weights=weight))


def test_equal_lengths_forecast_nothing_from_length() -> None:
    assert length_only(disparity(np.array([[1.0, -1.0]])), np.zeros(2), np.ones(2), np.ones(2)).tolist() == [
        0.0
    ]
