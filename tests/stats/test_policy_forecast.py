"""Covariances among answers to one prompt: by hand, their errors on known worlds, and a pilot's sign."""

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import StatsError
from engine.stats.policy_forecast import Answers, covariance_forecast

Matrix = NDArray[np.float64]


def test_covariance_is_taken_within_prompts_and_averaged_over_them() -> None:
    # prompt 0: φ 0, 1 with d 1, 3: (−.5)(−1) + (.5)(1) = 1, over n − 1 = 1; prompt 1: φ 1, 0, d 9, 9: 0
    # prompt 2 has one response and says nothing; mean (1 + 0) / 2
    found = covariance_forecast(
        np.array([[0.0], [1.0], [1.0], [0.0], [5.0]]),
        np.array([1.0, 3.0, 9.0, 9.0, 100.0]),
        Answers.of(np.array([0, 0, 1, 1, 2]), ["a", "a", "b", "b", "c"]),
    )
    assert found.n_prompts == 2
    assert found.mean == pytest.approx([0.5])
    # sqrt(2/1 · (.5² + .5²)) / 2
    assert found.se == pytest.approx([0.5])
    # t with one degree of freedom at 95%: 6.3138
    assert found.high - found.mean == pytest.approx([0.5 * 6.313752])


def test_a_push_moves_what_varies_with_it_when_the_policy_answers() -> None:
    """Cov from all responses of each prompt, written out; rows in any order."""
    rng = np.random.default_rng(0)
    prompt = rng.permutation(np.repeat(np.arange(40), 3))
    values = rng.normal(size=(120, 4)) + rng.normal(size=(40, 4))[prompt]  # prompts differ: not within-prompt
    values[:, 1] += values[:, 0]
    direction = np.array([1.0, 0.0, 0.5, 0.0])
    covariance = np.zeros((4, 4))
    for p in range(40):
        covariance += np.cov(values[prompt == p].T) / 40
    answers = Answers.of(prompt, [f"g{p}" for p in prompt])
    expected = covariance @ direction
    np.testing.assert_allclose(covariance_forecast(values, values @ direction, answers).mean, expected)
    np.testing.assert_allclose(answers.covariance(values, values @ direction[:, None])[:, 0], expected)


def simulate(rng: np.random.Generator) -> tuple[Matrix, Matrix, Answers, Matrix]:
    """Answers to 40 prompts in 20 groups with covariance [[1, .5], [.5, 1]], and a push with known noise."""
    prompt = np.repeat(np.arange(40), 4)
    values = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], 160) + rng.normal(size=(40, 2))[prompt]
    push = np.array([0.4, -0.1]) + 0.15 * rng.normal(size=2)
    draws = push + 0.15 * rng.normal(size=(400, 2))
    return values, push, Answers.of(prompt, [str(p // 2) for p in prompt]), draws


def test_interval_covers_the_truth_only_when_it_knows_the_error_of_the_pairs() -> None:
    truth = np.array([0.4 - 0.05, 0.2 - 0.1])  # Cov · push
    with_pairs: list[NDArray[np.bool_]] = []
    without: list[NDArray[np.bool_]] = []
    for seed in range(300):
        values, push, answers, draws = simulate(np.random.default_rng(seed))
        for hits, drawn in ((with_pairs, values @ draws.T), (without, None)):
            found = covariance_forecast(values, values @ push, answers, drawn)
            hits.append((found.low <= truth) & (truth <= found.high))
    assert np.mean(with_pairs) == pytest.approx(0.9, abs=0.035)
    assert np.mean(without) < 0.75


def test_pilot_of_swapped_sides_forecasts_the_opposite() -> None:
    # linear policy log π = θ·φ + const: one gradient step on pairs moves θ by lr · Σ (φ_chosen − φ_rejected)
    rng = np.random.default_rng(0)
    chosen, rejected, answers = rng.normal(size=(30, 4)), rng.normal(size=(30, 4)), rng.normal(size=(40, 4))
    prompt = np.repeat(np.arange(10), 4)
    whose = Answers.of(prompt, [str(p // 2) for p in prompt])

    def forecast(first: Matrix, second: Matrix) -> Matrix:
        return covariance_forecast(answers, answers @ (first - second).sum(0), whose).mean

    assert forecast(rejected, chosen) == pytest.approx(-forecast(chosen, rejected))


def test_pilot_that_stood_still_forecasts_nothing() -> None:
    whose = Answers.of(np.array([0, 0, 1, 1]), ["a", "a", "b", "b"])
    found = covariance_forecast(np.eye(4), np.zeros(4), whose)
    assert not found.mean.any()
    assert not found.se.any()


def test_dealing_anew_keeps_the_numbers_of_each_prompt() -> None:
    prompt = np.array([3, 1, 1, 3, 2, 3])  # prompt 2 has one response
    whose = Answers.of(prompt, ["c", "a", "a", "c", "b", "c"])
    along = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    dealt = whose.shuffled(along, np.random.default_rng(0), 50)
    assert np.all(np.sort(dealt[prompt == 1], axis=0) == np.array([[2.0], [3.0]]))
    assert np.all(np.sort(dealt[prompt == 3], axis=0) == np.array([[1.0], [4.0], [6.0]]))
    assert not dealt[prompt == 2].any()
    assert len({tuple(column) for column in dealt.T}) > 4


@pytest.mark.parametrize(
    ("prompt", "group"), [([0, 1, 2], ["a", "b", "c"]), ([0, 0, 1, 1], ["a", "a", "a", "a"]), ([], [])]
)
def test_one_response_per_prompt_or_one_group_is_refused(prompt: list[int], group: list[str]) -> None:
    with pytest.raises(StatsError, match="two responses"):
        Answers.of(np.array(prompt, np.int64), group)
