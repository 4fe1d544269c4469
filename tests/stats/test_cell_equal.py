"""Concepts inside a context at equal length: dense brute force, likelihoods, and what *everywhere* says."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from engine.arrays import PairSets
from engine.stats.cell_equal import equal_inside
from engine.stats.cells import index_contexts, restrict
from engine.stats.design import length_ratio, linear_design
from engine.stats.effect import fit_effects
from engine.stats.null import fit_null
from engine.stats.score import score_tests
from engine.stats.sums import unit_sums
from engine.stats.two_way import model_clusters
from tests.stats.inputs import dense_of, latents_of, with_pairs
from tests.stats.test_cells import build_cells
from tests.worlds import make_readings

Vector = NDArray[np.float64]


def test_the_contexts_own_length_slope_is_projected_out() -> None:
    readings, units, null, ratio, index, _, cells, _ = build_cells()
    sums = unit_sums(cells.disparity, readings.pairs, null.weight)
    found = equal_inside(cells, null, index, sums)
    dense = dense_of(units, readings.n_pairs)
    for b in range(0, len(cells.concept), 5):
        m, k = int(cells.concept[b]), int(cells.context[b])
        inside = (np.arange(readings.n_pairs) % 3 == k) & readings.pairs.is_signed
        length = ratio * inside
        p = expit(null.eta + index.slope[k] * length)
        e, w = null.weight * (1 - p) * inside, null.weight * p * (1 - p) * inside
        assert (e * length).sum() == pytest.approx(0, abs=1e-6)  # the slope is fitted
        u = dense[:, m] * inside
        kappa = (w * u * length).sum() / (w * length**2).sum()
        own = np.bincount(readings.pairs.group, e * (u - kappa * length))
        n_groups = len(np.unique(readings.pairs.group[inside]))
        variance = (own**2).sum() * n_groups / (n_groups - 1)  # one fitted column
        assert found.z[b] == pytest.approx(own.sum() / np.sqrt(variance), rel=1e-5)


def test_an_effect_is_the_maximum_of_its_own_likelihood() -> None:
    """β and the context's slope beside the null model's fit, half a pseudo-win and pseudo-loss at |u|."""
    readings, units, null, ratio, index, _, cells, _ = build_cells()
    sums = unit_sums(cells.disparity, readings.pairs, null.weight)
    found = equal_inside(cells, null, index, sums)
    dense = dense_of(units, readings.n_pairs)
    for b in range(0, len(cells.concept), 4):
        inside = (np.arange(readings.n_pairs) % 3 == cells.context[b]) & readings.pairs.is_signed
        u, length, eta0 = dense[inside, cells.concept[b]], ratio[inside], null.eta[inside]
        typical = np.abs(u[u != 0]).mean()

        def loss(
            at: Vector, u: Vector = u, length: Vector = length, eta0: Vector = eta0, size: float = typical
        ) -> float:
            prior = np.logaddexp(0, -at[0] * size) + np.logaddexp(0, at[0] * size)
            return float(np.logaddexp(0, -(eta0 + at[0] * u + at[1] * length)).sum() + prior / 2)

        best = minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-8})
        assert found.effects.beta[b] == pytest.approx(best.x[0], abs=2e-3)


def test_a_context_that_holds_every_pair_says_what_everywhere_says() -> None:
    """Also in the second clustering, by the twelve pairs of models that met."""
    readings = make_readings(1200, 5, seed=4, effects={0: 0.8})
    opponent = (1 + np.random.default_rng(0).integers(0, 12, 1200)).astype(np.int32)
    readings = with_pairs(
        readings, model_chosen=np.zeros(1200, np.int32), model_rejected=opponent,
        model_names=tuple(f"m{k}" for k in range(13)),
    )  # fmt: skip
    pairs, units = readings.pairs, latents_of(readings)
    design = replace(linear_design(pairs), second=model_clusters(pairs))
    null = fit_null(design, pairs.group, pairs.is_signed.astype(np.float64))
    every = PairSets(
        ("all", "none"), ("topic",) * 2, np.array([0, 1200, 1200]), np.arange(1200, dtype=np.uint32)
    )
    ratio = length_ratio(pairs)
    index = index_contexts(every, null, ratio)
    cells = restrict(units, index, null, 15)
    sums = unit_sums(cells.disparity, pairs, null.weight)
    found = equal_inside(cells, null, index, sums)
    scores = score_tests(units, null)
    whole = fit_effects(units, null, unit_sums(units, pairs, null.weight), np.isfinite(scores.z))
    assert np.isfinite(scores.degrees).any()
    np.testing.assert_allclose(found.z, scores.z[cells.concept], rtol=1e-4)
    for name in ("beta", "se_model", "se_cluster", "variance_two_way", "degrees"):
        expected = getattr(whole, name)[cells.concept]
        np.testing.assert_allclose(getattr(found.effects, name), expected, rtol=1e-4)


def test_no_cell_at_all_is_an_empty_answer() -> None:
    readings, units, null, _, index, *_ = build_cells(300)
    cells = restrict(units, index, null, 10_000)
    found = equal_inside(cells, null, index, unit_sums(cells.disparity, readings.pairs, null.weight))
    assert found.z.shape == found.effects.beta.shape == (0,)
