"""Entropy balancing against a general-purpose solver, and its limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, minimize

from engine.compiler.matching import balance, reachable
from engine.compiler.residual import length_controls, unexplained

Floats = NDArray[np.float64]


def problem(n: int, k: int, seed: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    delta = rng.normal(size=(k, n)) * (rng.random((k, n)) < 0.5) + 0.05
    return np.vstack([delta, np.ones(n)]), np.append(np.zeros(k), n)


def test_weights_are_the_closest_that_meet_the_targets() -> None:
    rows, goal = problem(60, 2, 0)
    base = np.random.default_rng(1).uniform(0.5, 2.0, 60)
    goal[-1] = base.sum()
    upper = 2.5
    found = balance(rows, goal, base, upper)
    assert found.converged

    def divergence(w: Floats) -> float:
        return float((w * np.log(w / base) - w + base).sum())

    general = minimize(
        divergence,
        base,
        bounds=Bounds(1e-9, upper),
        constraints=LinearConstraint(rows, goal, goal),
        method="SLSQP",
        tol=1e-12,
        options={"maxiter": 500},
    )
    assert divergence(found.weight) == pytest.approx(general.fun, abs=1e-6)
    assert found.weight == pytest.approx(general.x, abs=1e-3)


@settings(max_examples=40)
@given(n=st.integers(50, 400), k=st.integers(1, 4), seed=st.integers(0, 10_000), upper=st.floats(3, 20))
def test_targets_hold_and_bounds_are_kept(n: int, k: int, seed: int, upper: float) -> None:
    rows, goal = problem(n, k, seed)
    found = balance(rows, goal, np.ones(n), upper)
    assert found.weight.min() >= 0
    assert found.weight.max() <= upper
    if found.converged:
        assert rows @ found.weight == pytest.approx(goal, abs=1e-4 * n)


def test_counting_equal_pairs_changes_nothing() -> None:
    rows, goal = problem(300, 1, 3)
    rows[0, :200] = 0.0  # silent pairs, counted as one kind
    rows[0, 200:] += 0.2
    found = balance(rows, goal, np.ones(300), 4.0)
    jittered = rows.copy()
    jittered[0, :200] = np.linspace(1e-12, 2e-12, 200)  # all different: nothing to count together
    plain = balance(jittered, goal, np.ones(300), 4.0)
    assert found.weight == pytest.approx(plain.weight, abs=1e-6)


def test_what_cannot_be_met_does_not_converge() -> None:
    rows, goal = np.vstack([np.ones(20) * 0.5, np.ones(20)]), np.array([0.0, 20.0])
    assert not balance(rows, goal, np.ones(20), 5.0).converged


def test_the_reachable_range_is_a_greedy_filling() -> None:
    values = np.array([0.0, 1.0, 2.0, 3.0])
    # total weight 4, at most 2 each: lowest is (0·2 + 1·2)/4, highest (3·2 + 2·2)/4
    assert reachable(values, np.ones(4), 2.0) == (0.5, 2.5)
    # at most 3 each: the last one that is filled gets what is left, (0·3 + 1·1)/4 and (3·3 + 2·1)/4
    assert reachable(values, np.ones(4), 3.0) == (0.25, 2.75)
    # every pair is at the bound already: nothing can move
    assert reachable(values, np.full(4, 2.0), 2.0) == (1.5, 1.5)


def test_what_length_explains_is_left_alone() -> None:
    """X = 0.3 + 2·ratio: the intercept is the preference at equal length."""
    rng = np.random.default_rng(5)
    chosen, rejected = rng.integers(10, 200, 500).astype(float), rng.integers(10, 100, 500).astype(float)
    controls = length_controls(chosen, rejected)
    value = 0.3 + 2 * np.log(chosen / rejected)
    found = unexplained(value, controls, np.ones(500), np.ones(500, bool))
    assert value.mean() > 1
    assert found.mean() == pytest.approx(0.3, abs=0.02)  # the ridge shrinks the slope by less than 1%
    assert found.std() < 0.02 * value.std()


def test_exchanging_the_sides_turns_the_unexplained_part() -> None:
    rng = np.random.default_rng(6)
    chosen, rejected = rng.integers(10, 200, 300).astype(float), rng.integers(10, 100, 300).astype(float)
    value = rng.normal(size=300)
    weight, inside = rng.uniform(0.1, 2, 300), rng.random(300) < 0.8
    one = unexplained(value, length_controls(chosen, rejected), weight, inside)
    two = unexplained(-value, length_controls(rejected, chosen), weight, inside)
    assert one == pytest.approx(-two)
