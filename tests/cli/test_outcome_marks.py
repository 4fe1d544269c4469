"""What `prosect outcome` lists, and what it says beside a concept that it does not score."""

from dataclasses import replace
from pathlib import Path

import pytest

from engine.cli.train import _mark, _show
from engine.errors import TrainError
from engine.pipeline.ledger import shaped_targets
from engine.pipeline.outcome import NamedOutcome
from engine.stats.outcome import ConceptOutcome
from engine.stats.outcome_score import Outcome


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


def named(*, n_scored: int) -> NamedOutcome:
    """Concepts c0, c1, … with falling forecasts, and a target among those too rare to be scored."""
    scored = [
        replace(outcome(-9.25e-19, 60, is_scored=True), forecast=0.5 - i / 100) for i in range(n_scored)
    ]
    concepts = (*scored, outcome(0.0, 2, is_scored=False), outcome(0.0, 2, is_scored=False))
    return NamedOutcome(
        Outcome(concepts, None, 60, 60, n_scored, 0, is_null_result=True, ceiling=None, forecasts=()),
        None,
        (*(f"c{i}" for i in range(n_scored)), "rare", "wanted"),
        (*(f"id{i}" for i in range(n_scored)), "idr", "idw"),
        (*(False for _ in range(n_scored)), False, True),
        ("of a prompt",),
        3,
        ("the report",),
    )


def test_the_largest_forecasts_come_first_targets_always_and_the_report_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _show(named(n_scored=30), plain=False, limit=20)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:22]] == [*(f"c{i}" for i in range(20)), "wanted"]
    assert lines[21].endswith("target, too rare")
    assert lines[1].split()[3] == "0.000"
    assert lines[22] == "… and 10 more scored concepts: -n or --all"
    assert "of a prompt" in lines[23]
    assert lines[-1] == "the report"
    _show(named(n_scored=30), plain=False, limit=None)
    whole = capsys.readouterr().out
    assert "rare " in whole
    assert "more scored" not in whole


def test_targets_are_read_from_the_plan_of_the_shaped_dataset(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="missing or damaged"):
        shaped_targets(tmp_path)
    (tmp_path / "plan.json").write_text(
        '{"collateral": [{"concept_id": "a", "is_target": true}, {"concept_id": "b", "is_target": false}]}'
    )
    assert shaped_targets(tmp_path) == {"a"}
