"""What is called, what could have been, and how small an effect was in reach: by hand and by root finding."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from engine.settings import StatsSettings
from engine.stats.calls import calls, clears_floor, min_effects, q_values, skip_reasons, threshold
from engine.stats.differs import could_pass
from engine.stats.rows import testable as is_testable
from engine.stats.sums import unit_sums
from tests.stats.inputs import latents_of
from tests.worlds import make_readings

NAN = np.nan


def test_q_values_are_benjamini_hochberg_over_what_is_tested() -> None:
    """Of four tests, p = .01, .02, .03 all give .03·4/3 = .04 or what is smaller above; .5 stays."""
    p = np.array([0.03, 0.001, 0.5, NAN, 0.01, 0.02])
    tested = np.array([True, False, True, True, True, True])
    found = q_values(p, tested)
    np.testing.assert_allclose(found, [0.04, NAN, 0.5, NAN, 0.04, 0.04])
    assert np.isnan(q_values(p, np.zeros(6, np.bool_))).all()


def test_a_call_needs_q_and_an_interval_beyond_the_floor_on_the_side_of_its_z() -> None:
    settings = StatsSettings(q=0.05, effect_floor=0.02)
    rows = [
        (0.05, 3.0, 0.52, 0.6, 1.0),  # at both limits
        (0.0501, 3.0, 0.52, 0.6, 0.0),
        (0.01, 3.0, 0.5199, 0.6, 0.0),
        (0.01, -3.0, 0.4, 0.48, 1.0),
        (0.01, -3.0, 0.4, 0.4801, 0.0),
        (0.01, -3.0, 0.53, 0.6, 0.0),  # test and interval contradict each other
        (NAN, 3.0, 0.6, 0.7, NAN),
    ]
    q, z, low, high, expected = np.array(rows).T
    np.testing.assert_array_equal(calls(q, z, low, high, settings), expected)
    assert clears_floor(np.array([0.4]), np.array([0.6]), 0.02).tolist() == [False]


def test_units_are_left_out_for_the_first_reason_that_holds() -> None:
    found = skip_reasons(np.array([0, 5, 5, 5]), np.array([0, 0, 3, 3]), np.array([0, 0, 9, 10]), 10)
    assert found == [
        "no labelled pair carries it",
        "both sides always carry it alike",
        "fewer than 10 discordant prompt groups",
        None,
    ]


def test_what_is_tested_is_what_has_no_reason_against_it() -> None:
    settings, readings = StatsSettings(min_discordant=10), make_readings(60, 3)
    sums = unit_sums(latents_of(readings), readings.pairs, np.ones(60))
    groups = np.array([9.0, 10, 11])
    assert is_testable(replace(sums, n_discordant_groups=groups), settings).tolist() == [False, True, True]
    assert [r is None for r in skip_reasons(groups, groups, groups, 10)] == [False, True, True]


@pytest.mark.parametrize("p", [0.05, 0.001])
def test_the_smallest_effect_in_reach_solves_its_equation(p: float) -> None:
    """δ√n = z_α/2 + z_β√(1 − 4δ²)/2: found by bisection where it has a root, NaN elsewhere."""
    z_alpha, z_power = stats.norm.isf(p / 2), stats.norm.isf(0.2)

    def missing(delta: float, n: float) -> float:
        return float(delta * np.sqrt(n) - z_alpha / 2 - z_power * np.sqrt(1 - 4 * delta**2) / 2)

    n_groups = np.array([0.0, 2, 3, 4, 8, 11, 12, 50, 1000])
    expected = [
        brentq(missing, 0, 0.5, args=(n,), xtol=1e-13) if missing(0.5, n) > 0 else NAN for n in n_groups
    ]
    np.testing.assert_allclose(min_effects(n_groups, p), expected, rtol=1e-9)
    assert np.isnan(expected).sum() == {0.05: 3, 0.001: 5}[p]  # √n/2 < z_α/2: n below 3.84 and 10.83


def test_the_p_that_a_family_asked_for_grows_with_its_rejections() -> None:
    q = np.array([0.01, 0.05, 0.2, NAN])
    assert threshold(q, 0.05) == pytest.approx(0.05 * 2 / 3)  # two rejections of three tests
    assert threshold(np.array([0.2, 0.3]), 0.05) == pytest.approx(0.05 / 2)  # the smallest p of two
    assert threshold(np.array([NAN]), 0.05) == 0.05


def test_cells_that_could_not_pass_if_all_groups_agreed_are_left_out() -> None:
    """As z ≤ √n: √10 has p .0016, below .05 over three cells of as many groups; √3 has p .083."""
    assert could_pass(np.array([3, 10, 10, 50]), 0.05).tolist() == [False, True, True, True]
    assert could_pass(np.array([4]), 0.05).tolist() == [True]  # p = .0455 for one cell
    assert could_pass(np.array([4, 4]), 0.05).tolist() == [False, False]  # but not below .05 / 2
    assert could_pass(np.array([2, 1]), 0.05).tolist() == [False, False]
