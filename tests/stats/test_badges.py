"""A badge says which of the two questions was called; a missing call is not an absent effect."""

import numpy as np
import pytest

from engine.stats.calls import badges, lean

FLOOR = 0.02
CALLED, NOT_CALLED, UNTESTED = 1.0, 0.0, np.nan


def badge(
    taught: tuple[float, float, tuple[float, float]],
    equal: tuple[float, float, tuple[float, float]],
    is_tested: bool = True,
) -> str:
    """The badge of one unit from (call, z, interval) of both questions."""
    columns = []
    for call, z, (low, high) in (taught, equal):
        columns.append((np.array([call]), np.array([z]), lean(np.array([low]), np.array([high]), FLOOR)))
    return badges(np.array([is_tested]), columns[0], columns[1])[0]


@pytest.mark.parametrize(
    ("taught", "equal", "expected"),
    [
        ((CALLED, 5.0, (0.58, 0.66)), (CALLED, 4.0, (0.55, 0.63)), "both"),
        ((CALLED, 5.0, (0.58, 0.66)), (CALLED, -4.0, (0.37, 0.45)), "masked by length"),
        ((CALLED, 5.0, (0.58, 0.66)), (NOT_CALLED, 0.4, (0.47, 0.54)), "only with length"),
        ((CALLED, 5.0, (0.58, 0.66)), (NOT_CALLED, 2.2, (0.51, 0.69)), "length unclear"),
        ((CALLED, 9.0, (0.53, 0.54)), (NOT_CALLED, 6.0, (0.51, 0.515)), "only with length"),
        ((CALLED, 5.0, (0.58, 0.66)), (NOT_CALLED, -2.2, (0.31, 0.49)), "only with length"),
        ((NOT_CALLED, 0.4, (0.47, 0.54)), (CALLED, 4.0, (0.55, 0.63)), "masked by length"),
        ((NOT_CALLED, -2.3, (0.40, 0.49)), (CALLED, -4.0, (0.37, 0.45)), "length unclear"),
        ((NOT_CALLED, 2.3, (0.51, 0.60)), (NOT_CALLED, 2.2, (0.51, 0.59)), "neither"),
    ],
)
def test_a_missing_call_is_unclear_while_the_interval_leans_the_same_way(
    taught: tuple[float, float, tuple[float, float]],
    equal: tuple[float, float, tuple[float, float]],
    expected: str,
) -> None:
    assert badge(taught, equal) == expected


def test_a_unit_that_is_itself_a_length_is_judged_by_the_taught_call_alone() -> None:
    undefined = (UNTESTED, np.nan, (np.nan, np.nan))
    assert badge((CALLED, 5.0, (0.58, 0.66)), undefined) == "only with length"
    assert badge((NOT_CALLED, 2.0, (0.51, 0.60)), undefined) == "neither"


def test_untested_stays_untested() -> None:
    called = (CALLED, 5.0, (0.58, 0.66))
    assert badge(called, called, is_tested=False) == "untested"
