"""*Differs* by the models that met: dense sums, and nulls whose effect differs between opponents."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

from engine.settings import StatsSettings
from engine.stats.cell_models import Fitted, two_way_theta
from engine.stats.cells import Cells, CellTests, cell_tests, index_contexts, restrict
from engine.stats.design import length_ratio, linear_design
from engine.stats.differs import differs
from engine.stats.effect import fit_effects
from engine.stats.null import fit_null
from engine.stats.sums import unit_sums
from engine.stats.two_way import intersections, model_clusters
from tests.stats.inputs import disparity_of, halves, met_by_all

OPPONENTS, PROMPTS = 24, 100
N = OPPONENTS * PROMPTS
OPPONENT = np.arange(N) % OPPONENTS
GROUP = (np.arange(N) // OPPONENTS).astype(np.int32)


def _tested(u: NDArray[np.float64], member: NDArray[np.bool_]) -> tuple[Cells, CellTests, Fitted]:
    readings = met_by_all(OPPONENTS, PROMPTS)
    pairs, units = readings.pairs, disparity_of(u)
    design = replace(linear_design(pairs), second=model_clusters(pairs))
    null = fit_null(design, pairs.group, np.ones(N))
    index = index_contexts(halves(member), null, length_ratio(pairs))
    effects = fit_effects(units, null, unit_sums(units, pairs, null.weight), np.ones(u.shape[1], np.bool_))
    cells = restrict(units, index, null, 15)
    return cells, cell_tests(cells, units, null, index, effects, 15), Fitted(units, null, index, effects)


def test_the_variance_is_the_dense_sum_over_pairs_of_models() -> None:
    rng = np.random.default_rng(0)
    u = rng.choice([-1.0, 0.0, 1.0], (N, 2), p=[0.3, 0.2, 0.5])
    member = OPPONENT < 11
    cells, tests, fitted = _tested(u, member)
    variance, degrees = two_way_theta(cells, tests, np.arange(len(cells.concept)), fitted)
    null, index = fitted.null, fitted.contexts
    both = intersections(null.design.second, null.group)  # type: ignore[arg-type] # models are known here
    for b in range(len(cells.concept)):
        m, inside = int(cells.concept[b]), member if cells.context[b] == 0 else ~member
        own, length = u[:, m], index.ratio * inside
        refit = null.design.z @ fitted.everywhere.delta[m] + fitted.everywhere.beta[m] * own
        p = expit(null.eta + refit * (own != 0) + index.slope[cells.context[b]] * length)
        x = own * inside - tests.h_beta[b] * own - tests.h_length[b] * length
        score, information = (1 - p) * x, p * (1 - p) * x**2
        squares = {}
        for name, cluster in (("group", null.group), ("models", OPPONENT), ("both", both)):
            moved = score - tests.theta[b] * information * (name != "group")
            squares[name] = (np.bincount(cluster, moved) ** 2).sum()
        two_way = squares["group"] + squares["models"] * 24 / 23 - squares["both"]
        assert variance[b] == pytest.approx(two_way / tests.left[b] ** 2, rel=2e-3)
        # eleven opponents on one side, thirteen on the other; a hundred prompts
        satterthwaite = two_way**2 / (
            squares["group"] ** 2 / (tests.groups[b] - 1) + (squares["models"] * 24 / 23) ** 2 / 10
        )
        assert degrees[b] == pytest.approx(np.clip(satterthwaite, 10, tests.groups[b] - 1), rel=1e-2)


def test_fewer_than_ten_pairs_of_models_on_a_side_say_nothing() -> None:
    u = np.random.default_rng(1).choice([-1.0, 1.0], (N, 1))
    cells, tests, fitted = _tested(u, OPPONENT < 9)
    variance, degrees = two_way_theta(cells, tests, np.arange(2), fitted)
    assert np.isfinite(variance).all()
    assert np.isnan(degrees).all()
    second = replace(fitted.null, design=replace(fitted.null.design, second=None))
    variance, _ = two_way_theta(cells, tests, np.arange(2), replace(fitted, null=second))
    assert np.isnan(variance).all()


def test_contexts_with_opponents_of_their_own_are_not_called_for_what_opponents_share() -> None:
    """Log odds that differ between opponents by chance: by prompt alone, half the draws look like effects."""
    by_prompt, called = 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        wins = expit(rng.normal(0, 0.6, OPPONENTS))[OPPONENT]
        cells, tests, fitted = _tested(np.where(rng.random(N) < wins, 1.0, -1.0)[:, None], OPPONENT < 12)
        by_prompt += abs(tests.differs_z[0]) > 1.96
        called += bool((differs(cells, tests, fitted, StatsSettings()).call == 1).any())
    assert by_prompt > 25
    assert stats.binomtest(called, 60, 0.05, "greater").pvalue > 0.01


def test_a_difference_that_every_opponent_shows_is_still_called() -> None:
    rng = np.random.default_rng(3)
    member = GROUP % 2 == 0
    u = np.where(rng.random(N) < np.where(member, 0.65, 0.4), 1.0, -1.0)[:, None]
    cells, tests, fitted = _tested(u, member)
    found = differs(cells, tests, fitted, StatsSettings())
    assert (found.call == 1).all()
    assert (np.abs(found.z) <= np.abs(tests.differs_z)).all()
