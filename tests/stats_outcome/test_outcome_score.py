"""Scores of forecasts on synthetic runs whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.stats.outcome import Changes, Movement, estimate
from engine.stats.outcome_score import Outcome, _Halves, report_lines, score_outcome

Vector = NDArray[np.float64]
SE = 0.02


def simulate(
    seed: int, *, slope: float, n_concepts: int = 60, n_prompts: int = 200, noise: float = 0.1
) -> tuple[Changes, Vector]:
    """Changes slope · truth + noise that prompts of a group share, and noisy forecasts of the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 0.1, n_concepts)
    group = np.sort(rng.integers(0, n_prompts * 2 // 3, n_prompts))
    group = np.unique(group, return_inverse=True)[1].astype(np.int64)
    shared = rng.normal(0, noise / 2, (int(group.max()) + 1, n_concepts))[group]
    change = slope * truth + shared + rng.normal(0, noise, (n_prompts, n_concepts))
    return Changes(change, np.ones_like(change, bool), group), truth + rng.normal(0, SE, n_concepts)


def scored(seed: int, **options: float) -> Outcome:
    changes, forecast = simulate(seed, **options)  # type: ignore[arg-type]  # numbers by name
    return score_outcome(changes, forecast, np.full(len(forecast), SE), np.random.default_rng(seed))


def test_a_run_that_follows_its_forecast_scores_high() -> None:
    outcome = scored(0, slope=0.5)
    assert not outcome.is_null_result
    assert outcome.n_moved > 30
    assert outcome.slope == pytest.approx(0.5, rel=0.15)
    assert outcome.r2.value is not None
    assert outcome.r2.low is not None
    assert outcome.r2.high is not None
    assert outcome.r2.low < outcome.r2.value < outcome.r2.high
    assert outcome.r2.value > 0.8
    assert outcome.ceiling is not None
    assert outcome.r2.value <= outcome.ceiling + 0.05
    assert outcome.r2_without_largest.value is not None
    assert outcome.r2_without_largest.value < outcome.r2.value
    assert outcome.sign_accuracy.value == 1.0
    assert outcome.sign_chance == pytest.approx(0.5, abs=0.1)
    assert outcome.nulls[0].share_as_good == pytest.approx(1 / 401)
    assert outcome.nulls[0].median < 0.1


def test_intervals_of_a_true_forecast_cover_nine_in_ten() -> None:
    shares = [scored(seed, slope=0.7).coverage for seed in range(12)]
    assert np.mean([s for s in shares if s is not None]) == pytest.approx(0.9, abs=0.03)  # 12 × 60 concepts


def test_a_model_that_did_not_move_is_a_null_result() -> None:
    outcomes = [scored(seed, slope=0.0) for seed in range(20)]
    assert sum(o.is_null_result for o in outcomes) >= 17  # false alarms in 5% of runs
    r2 = [o.r2.value for o in outcomes if o.r2.value is not None]
    assert np.mean(r2) < 0.02
    assert all(any("null result" in line for line in report_lines(o)) for o in outcomes if o.is_null_result)


def test_a_forecast_with_the_wrong_sign_is_found_out() -> None:
    changes, forecast = simulate(3, slope=0.5)
    outcome = score_outcome(changes, -forecast, np.full(len(forecast), SE), np.random.default_rng(0))
    assert outcome.sign_accuracy.value is not None
    assert outcome.sign_accuracy.value < 0.1
    assert outcome.slope is not None
    assert outcome.slope < 0


def test_r2_equals_a_plain_loop_over_the_two_halves() -> None:
    changes, forecast = simulate(5, slope=0.3, n_concepts=9, n_prompts=30)
    halves = _Halves.draw(changes.change, changes.group, np.random.default_rng(7))
    half_of = np.random.default_rng(7).permutation(changes.n_groups) % 2
    error = total = 0.0
    for half in (0, 1):
        y = changes.change[half_of[changes.group] == half].mean(0)
        other = changes.change[half_of[changes.group] != half].mean(0)
        b = sum(forecast * other) / sum(forecast**2)
        error += sum((y - b * forecast) ** 2)
        total += sum((y - y.mean()) ** 2)
    assert halves.score(forecast[None]).value == pytest.approx(1 - error / total)


def test_what_length_explains_is_not_credited_to_the_forecast() -> None:
    changes, length = simulate(8, slope=0.6)
    rng = np.random.default_rng(0)
    follows_length = length + rng.normal(0, 0.01, len(length))
    outcome = score_outcome(
        changes, follows_length, np.full(len(length), SE), np.random.default_rng(0), length_forecast=length
    )
    assert outcome.r2.value is not None
    assert outcome.r2.value > 0.7
    assert outcome.r2_partial.value is not None
    assert outcome.r2_partial.value < 0.1


def test_given_nulls_are_scored_beside_the_random_order() -> None:
    changes, forecast = simulate(9, slope=0.5)
    knowing = np.stack([forecast] * 3)
    outcome = score_outcome(
        changes,
        forecast,
        np.full(len(forecast), SE),
        np.random.default_rng(0),
        null_forecasts={
            "shuffled labels": np.random.default_rng(1).normal(0, 0.1, (50, 60)),
            "cheat": knowing,
        },
    )
    by_name = {null.name: null for null in outcome.nulls}
    assert by_name["shuffled labels"].share_as_good == pytest.approx(1 / 51)
    assert by_name["cheat"].share_as_good == 1.0


def test_too_few_concepts_have_no_r2_but_still_lines() -> None:
    outcome = scored(1, slope=0.5, n_concepts=3)
    assert outcome.r2.value is None
    assert outcome.ceiling is None
    assert outcome.nulls == ()
    assert len(outcome.concepts) == 3
    assert any("R² –" in line for line in report_lines(outcome))


def test_the_report_says_first_whether_the_model_moved() -> None:
    still = estimate(np.array([0.1, -0.1, 0.0]), ["a", "b", "c"])
    fell = estimate(np.array([-1.0, -1.1, -0.9]), ["a", "b", "c"])
    movement = Movement(3, still, 0.5, fell, fell, None)
    changes, forecast = simulate(2, slope=0.0)
    outcome = score_outcome(changes, forecast, np.full(60, SE), np.random.default_rng(0), movement=movement)
    lines = report_lines(outcome)
    assert "not beyond two standard errors" in lines[0]
    assert "less likely" in lines[1]
    assert lines[2].startswith("null result: the model did not move")
    went = replace(movement, log_ratio=fell)
    told = report_lines(replace(outcome, movement=went))
    assert "log-probabilities moved, concepts did not" in told[2]
    assert outcome.as_dict()["movement"]["n_pairs"] == 3


def test_an_outcome_without_any_scored_concept_is_a_null_result() -> None:
    for n_concepts in (0, 3):
        silent = Changes(np.zeros((8, n_concepts)), np.zeros((8, n_concepts), bool), np.arange(8))
        outcome = score_outcome(
            silent, np.full(n_concepts, 0.1), np.full(n_concepts, 0.01), np.random.default_rng(0)
        )
        assert outcome.is_null_result
        assert (outcome.n_scored, outcome.n_signs, outcome.slope, outcome.coverage) == (0, 0, None, None)
        assert outcome.r2.value is None
        assert report_lines(outcome)


def test_another_forecast_is_scored_on_the_same_concepts() -> None:
    changes, forecast = simulate(3, slope=1.0)
    noise = np.random.default_rng(9).normal(0, 0.1, len(forecast))
    errors = np.full(len(forecast), SE)
    found = score_outcome(
        changes, forecast, errors, np.random.default_rng(0), rivals={"same": forecast, "noise": noise}
    )
    same, blind = found.rivals
    assert same.r2.value == found.r2.value
    assert same.sign_accuracy.value == found.sign_accuracy.value
    assert blind.r2.value is not None
    assert blind.r2.value < 0.2
    assert any("another forecast, noise" in line for line in report_lines(found))
