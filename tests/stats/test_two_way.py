"""The second clustering: dense brute force, and worlds in which opponents do and do not share something."""

from dataclasses import replace

import numpy as np
import pytest

from engine.arrays import UNKNOWN, Readings
from engine.stats.design import build_design, linear_design
from engine.stats.null import NullModel, fit_null
from engine.stats.score import score_tests
from engine.stats.two_way import MIN_CLUSTERS, model_clusters, second_variance
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
    unknown = np.random.default_rng(0).random(400) < share_unknown
    chosen = np.where(unknown, UNKNOWN, readings.pairs.model_chosen).astype(np.int32)
    readings = with_pairs(readings, model_chosen=chosen)
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
    by_models = np.zeros((clusters.max() + 1, units.n_units))
    np.add.at(by_models, clusters[known], (part - (null.residual[:, None] * z) @ kappa.T)[known])
    left = scores.information / own
    n = clusters.max() + 1
    expected = (by_models**2).sum(axis=0) * n / (n - 1) - left * (part[known] ** 2).sum(axis=0)
    found = second_variance(units, clusters, (null.residual, null.curvature, z), kappa, scores.score, left)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


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
    assert two.z[1] == pytest.approx(one.z[1], rel=0.4)
    assert two.z[1] > 3.6  # above √12: few opponents do not bound a clear effect
