"""Scores of forecasts on synthetic runs whose truth is known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from engine.errors import StatsError
from engine.stats.outcome import Changes, Movement, clustered_mean, estimate, measure_movement
from engine.stats.outcome_report import report_lines
from engine.stats.outcome_score import Forecast, Outcome, _Halves, score_outcome

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
    return score(changes, forecast, seed)


def written(forecast: Vector, name: str = "mean delta", **nulls: NDArray[np.float64]) -> Forecast:
    """A forecast of known error with a normal interval."""
    se = np.full(len(forecast), SE)
    return Forecast(name, forecast, se, Forecast.normal(name, forecast, se).half, nulls)


def score(changes: Changes, forecast: Vector, seed: int = 0, **options: Any) -> Outcome:
    """Of one forecast."""
    return score_outcome(changes, [written(forecast)], np.random.default_rng(seed), **options)


def test_a_run_that_follows_its_forecast_scores_high() -> None:
    outcome = scored(0, slope=0.5)
    assert not outcome.is_null_result
    assert outcome.n_moved > 30
    assert outcome.leading.slope == pytest.approx(0.5, rel=0.15)
    assert outcome.leading.r2.value is not None
    assert outcome.leading.r2.low is not None
    assert outcome.leading.r2.high is not None
    assert outcome.leading.r2.low < outcome.leading.r2.value < outcome.leading.r2.high
    assert outcome.leading.r2.value > 0.8
    assert outcome.ceiling is not None
    assert outcome.leading.r2.value <= outcome.ceiling + 0.05
    assert outcome.leading.r2_without_largest.value is not None
    assert outcome.leading.r2_without_largest.value < outcome.leading.r2.value
    assert outcome.leading.sign_accuracy.value == 1.0
    assert outcome.leading.sign_chance == pytest.approx(0.5, abs=0.1)
    assert outcome.leading.nulls[0].share_as_good == pytest.approx(1 / 401)
    assert outcome.leading.nulls[0].median < 0.1


def test_intervals_of_a_true_forecast_cover_nine_in_ten() -> None:
    shares = [scored(seed, slope=0.7).leading.coverage for seed in range(12)]
    assert np.mean([s for s in shares if s is not None]) == pytest.approx(0.9, abs=0.03)  # 12 × 60 concepts


def test_a_model_that_did_not_move_is_a_null_result() -> None:
    outcomes = [scored(seed, slope=0.0) for seed in range(20)]
    assert sum(o.is_null_result for o in outcomes) >= 17  # false alarms in 5% of runs
    r2 = [o.leading.r2.value for o in outcomes if o.leading.r2.value is not None]
    assert np.mean(r2) < 0.02
    assert all(any("null result" in line for line in report_lines(o)) for o in outcomes if o.is_null_result)


def test_a_forecast_with_the_wrong_sign_is_found_out() -> None:
    changes, forecast = simulate(3, slope=0.5)
    outcome = score(changes, -forecast)
    assert outcome.leading.sign_accuracy.value is not None
    assert outcome.leading.sign_accuracy.value < 0.1
    assert outcome.leading.slope is not None
    assert outcome.leading.slope < 0
    against = "  changes go against this forecast (slope below 0): R² is that of the opposite forecast"
    assert against in report_lines(outcome)
    assert against not in report_lines(score(changes, forecast))


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


def test_scores_are_what_a_plain_loop_over_concepts_finds() -> None:
    """Nine concepts; the last four forecasts are within two standard errors of 0 and have no sign."""
    changes, forecast = simulate(6, slope=0.4, n_concepts=9, n_prompts=40)
    forecast[:5] = np.copysign(np.maximum(np.abs(forecast[:5]), 3 * SE), forecast[:5])
    forecast[5:] = np.copysign(SE, forecast[5:])
    found = score(changes, forecast, 3).leading
    y, se = clustered_mean(changes.change, changes.group)
    half = stats.t.ppf(0.95, changes.n_groups - 1) * se
    own = stats.norm.ppf(0.95) * SE
    slope = sum(forecast * y) / sum(forecast**2)
    assert found.slope == pytest.approx(slope)
    for b, coverage in (
        (slope, found.coverage),
        (0.0, found.coverage_of_zero),
        (1.0, found.coverage_unscaled),
    ):
        inside = [
            abs(v - b * x) <= np.sqrt((b * own) ** 2 + h**2)
            for x, v, h in zip(forecast, y, half, strict=True)
        ]
        assert coverage == pytest.approx(np.mean(inside))
    clear = [k for k in range(9) if abs(forecast[k]) > 2 * SE]
    assert found.n_signs == len(clear) == 5
    assert found.sign_accuracy.value == pytest.approx(
        np.mean([np.sign(forecast[k]) == np.sign(y[k]) for k in clear])
    )
    drawn = _Halves.draw(changes.change, changes.group, np.random.default_rng(3)).whole[1:, clear]
    agree = (np.sign(drawn) == np.sign(forecast[clear])).mean(1)
    assert found.sign_accuracy.low == pytest.approx(np.quantile(agree, 0.05))
    assert found.sign_accuracy.high == pytest.approx(np.quantile(agree, 0.95))
    assert np.ptp(agree) > 0
    up, went_up = np.mean(forecast[clear] > 0), np.mean(y[clear] > 0)
    assert found.sign_chance == pytest.approx(up * went_up + (1 - up) * (1 - went_up))
    assert found.r2_without_largest.value is None  # four are left
    permuted = found.nulls[0]
    assert (permuted.name, permuted.n) == ("forecasts in random order", 400)


def test_the_ceiling_is_the_share_of_the_variance_that_is_not_noise() -> None:
    changes, _ = simulate(6, slope=0.4, n_concepts=9, n_prompts=40)
    halves = _Halves.draw(changes.change, changes.group, np.random.default_rng(7))
    half_of = np.random.default_rng(7).permutation(changes.n_groups) % 2
    noise = total = 0.0
    for half in (0, 1):
        inside = half_of[changes.group] == half
        codes = np.unique(changes.group[inside], return_inverse=True)[1]
        y, se = clustered_mean(changes.change[inside], codes)
        noise += sum(se**2)
        total += sum((y - y.mean()) ** 2)
    assert halves.ceiling() == pytest.approx(1 - noise / total)
    assert halves.take(np.arange(4, 9)).ceiling() is not None  # five concepts are enough
    few = np.arange(5, 9)
    assert halves.take(few).ceiling() is None
    assert halves.take(few).score(np.ones((1, 4))).value is None


def test_what_length_explains_is_not_credited_to_the_forecast() -> None:
    changes, length = simulate(8, slope=0.6)
    rng = np.random.default_rng(0)
    follows_length = length + rng.normal(0, 0.01, len(length))
    outcome = score(changes, follows_length, length_forecast=length)
    assert outcome.leading.r2.value is not None
    assert outcome.leading.r2.value > 0.7
    assert outcome.leading.r2_partial.value is not None
    assert outcome.leading.r2_partial.value < 0.1


def test_given_nulls_are_scored_beside_the_random_order() -> None:
    changes, forecast = simulate(9, slope=0.5)
    knowing = np.stack([forecast] * 3)
    blind = np.random.default_rng(1).normal(0, 0.1, (50, 60))
    outcome = score_outcome(
        changes, [written(forecast, blind=blind, cheat=knowing)], np.random.default_rng(0)
    )
    by_name = {null.name: null for null in outcome.leading.nulls}
    assert by_name["blind"].share_as_good == pytest.approx(1 / 51)
    assert by_name["cheat"].share_as_good == 1.0


def test_too_few_concepts_have_no_r2_but_still_lines() -> None:
    outcome = scored(1, slope=0.5, n_concepts=3)
    assert outcome.leading.r2.value is None
    assert outcome.ceiling is None
    assert outcome.leading.nulls == ()
    assert len(outcome.concepts) == 3
    assert any("R² –" in line for line in report_lines(outcome))


def test_the_report_says_first_whether_the_model_moved() -> None:
    still = estimate(np.array([0.1, -0.1, 0.0]), ["a", "b", "c"])
    fell = estimate(np.array([-1.0, -1.1, -0.9]), ["a", "b", "c"])
    movement = Movement(3, still, 0.5, fell, fell, None)
    changes, forecast = simulate(2, slope=0.0)
    outcome = score(changes, forecast, movement=movement)
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
        outcome = score(silent, np.full(n_concepts, 0.1))
        assert outcome.is_null_result
        leading = outcome.leading
        assert (outcome.n_scored, leading.n_signs, leading.slope, leading.coverage) == (0, 0, None, None)
        assert outcome.leading.r2.value is None
        assert report_lines(outcome)


def test_every_forecast_is_scored_in_full_on_the_same_concepts() -> None:
    changes, forecast = simulate(3, slope=1.0)
    noise = np.random.default_rng(9).normal(0, 0.1, len(forecast))
    found = score_outcome(
        changes,
        [written(forecast), written(forecast, "same"), written(noise, "noise", blind=noise[None])],
        np.random.default_rng(0),
    )
    leading, same, blind = found.forecasts
    assert found.leading is leading
    assert replace(same, name=leading.name, nulls=leading.nulls) == leading
    assert blind.r2.value is not None
    assert blind.r2.value < 0.2
    assert blind.coverage is not None
    assert blind.coverage < 0.6  # of what it forecasts nothing happens
    assert {null.name for null in blind.nulls} == {"blind", "forecasts in random order"}
    lines = report_lines(found)
    assert lines.count("  null, blind: median R² " + f"{blind.r2.value:.2f}, as good in 100.0% of 1") == 1
    assert any(line.startswith("another forecast, noise: signs right") for line in lines)


def test_coverage_tells_how_much_of_it_a_forecast_of_nothing_would_have() -> None:
    still = scored(0, slope=0.0).leading
    moved = scored(0, slope=0.7).leading
    assert still.coverage_of_zero == pytest.approx(0.9, abs=0.08)
    assert moved.coverage_of_zero is not None
    assert moved.coverage_of_zero < 0.4


def test_signs_are_taken_over_the_forecasts_that_are_clear_by_their_own_error() -> None:
    changes, forecast = simulate(4, slope=1.0)
    wide = Forecast.normal("wide", forecast, np.full(60, 10.0))
    exact = written(forecast)
    both = score_outcome(changes, [exact, wide], np.random.default_rng(0))
    assert both.leading.n_signs == int(np.sum(np.abs(forecast) > 2 * SE))
    assert both.forecasts[1].n_signs == 0
    assert both.forecasts[1].sign_accuracy.value is None


def test_half_of_one_prompt_group_has_no_ceiling_and_no_interval() -> None:
    rng = np.random.default_rng(0)
    changes = Changes(rng.normal(size=(8, 9)), np.ones((8, 9), bool), np.repeat([0, 1, 2], [3, 3, 2]))
    halves = _Halves.draw(changes.change, changes.group, rng)
    assert halves.ceiling() is None
    score_of = halves.score(rng.normal(size=(1, 9)))
    assert score_of.value is not None
    assert score_of.low is None


def test_outcome_without_a_forecast_or_with_an_undefined_one_is_refused() -> None:
    changes, forecast = simulate(4, slope=1.0)
    with pytest.raises(StatsError, match="at least one forecast"):
        score_outcome(changes, [], np.random.default_rng(0))
    with pytest.raises(StatsError, match="undefined"):
        score_outcome(changes, [written(forecast), written(forecast * np.nan)], np.random.default_rng(0))


def test_movement_of_no_pair_is_undefined_and_not_zero() -> None:
    columns = ("group_id", "chosen_start", "chosen_tuned", "rejected_start", "rejected_tuned")
    nothing = measure_movement({name: [] for name in columns})
    assert nothing.log_ratio.value is None
    assert not nothing.is_moved
    changes, forecast = simulate(2, slope=0.5)
    outcome = score(changes, forecast, movement=nothing)
    assert report_lines(outcome)[0].startswith("no held-out pair fits")
    assert outcome.as_dict()["movement"]["log_ratio"]["value"] is None
