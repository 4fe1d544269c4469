"""Covariance with what a pilot makes likelier: by hand, and its sign when the pilot learns the opposite."""

import numpy as np
import pytest

from engine.errors import StatsError
from engine.stats.forecast import covariance_forecast


def test_covariance_is_taken_within_prompts_and_averaged_over_them() -> None:
    # prompt 0: φ 0, 1 with d 1, 3: (−.5)(−1) + (.5)(1) = 1, over n − 1 = 1; prompt 1: φ 1, 0, d 9, 9: 0
    # prompt 2 has one response and says nothing; mean (1 + 0) / 2
    found = covariance_forecast(
        np.array([[0.0], [1.0], [1.0], [0.0], [5.0]]),
        np.array([1.0, 3.0, 9.0, 9.0, 100.0]),
        np.array([0, 0, 1, 1, 2]),
        ["a", "a", "b", "b", "c"],
    )
    assert found.n_prompts == 2
    assert found.mean == pytest.approx([0.5])
    # sqrt(2/1 · (.5² + .5²)) / 2
    assert found.se == pytest.approx([0.5])
    # t with one degree of freedom at 95%: 6.3138
    assert found.high - found.mean == pytest.approx([0.5 * 6.313752])


def test_pilot_of_swapped_sides_forecasts_the_opposite() -> None:
    # linear policy log π = θ·φ + const: one gradient step on pairs moves θ by lr · Σ (φ_chosen − φ_rejected)
    rng = np.random.default_rng(0)
    chosen, rejected, answers = rng.normal(size=(30, 4)), rng.normal(size=(30, 4)), rng.normal(size=(40, 4))
    prompt = np.repeat(np.arange(10), 4)
    group = [str(p // 2) for p in prompt]

    def forecast(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return covariance_forecast(answers, answers @ (first - second).sum(0), prompt, group).mean

    assert forecast(rejected, chosen) == pytest.approx(-forecast(chosen, rejected))


def test_pilot_that_stood_still_forecasts_nothing() -> None:
    found = covariance_forecast(np.eye(4), np.zeros(4), np.array([0, 0, 1, 1]), ["a", "a", "b", "b"])
    assert not found.mean.any()
    assert not found.se.any()


def test_one_response_per_prompt_is_refused() -> None:
    with pytest.raises(StatsError, match="two responses"):
        covariance_forecast(np.eye(3), np.ones(3), np.arange(3), ["a", "b", "c"])
