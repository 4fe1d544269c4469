"""What `prosect outcome` says beside a concept that it does not score."""

import pytest

from engine.cli.train import _mark
from engine.stats.outcome import ConceptOutcome


def outcome(change: float, n_groups: int, *, is_scored: bool, is_moved: bool = False) -> ConceptOutcome:
    return ConceptOutcome(
        concept=0, forecast=0.1, forecast_se=0.01, forecast_low=0.0, forecast_high=0.2, change=change,
        change_se=None, change_low=None, change_high=None, p_value=None, q_value=None, n_groups=n_groups,
        is_scored=is_scored, is_moved=is_moved, agrees=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (outcome(0.3, 60, is_scored=True, is_moved=True), "moved"),
        (outcome(0.3, 60, is_scored=True), ""),
        (outcome(0.3, 2, is_scored=False), "too rare"),
        # The length of an answer is nowhere rare; after a few small steps it is the same as before.
        (outcome(0.0, 60, is_scored=False), "no change"),
        (outcome(0.3, 60, is_scored=False), "all changed alike"),
    ],
)
def test_the_reason_for_no_score_is_the_one_that_holds(line: ConceptOutcome, said: str) -> None:
    assert _mark(line) == said
