"""Changes of concepts and their standard errors, by arithmetic and against statsmodels."""

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.errors import StatsError
from engine.stats.outcome import (
    Changes,
    Estimate,
    ResponseReadings,
    clustered_mean,
    concept_outcomes,
    concept_presence,
    estimate,
    measure_movement,
    prompt_changes,
)


def test_presence_is_the_share_of_latents_over_the_threshold() -> None:
    """Response 0: latent 3 fires on 2 of 10 tokens, latent 5 on 1 of 10; response 1 is empty; τ = 0.1."""
    readings = ResponseReadings(
        indptr=np.array([0, 2, 2, 3]),
        latent=np.array([3, 5, 5]),
        n_fired=np.array([2, 1, 4]),
        n_tokens=np.array([10, 0, 20]),
    )
    presence = concept_presence(readings, [np.array([3, 5]), np.array([5]), np.array([9])], 0.1)
    # 2/10 > 0.1 fires, 1/10 does not exceed 0.1, 4/20 does
    assert presence.tolist() == [[0.5, 0.0, 0.0], [0.0, 0.0, 0.0], [0.5, 1.0, 0.0]]
    with pytest.raises(StatsError, match="without latents"):
        concept_presence(readings, [np.array([], np.int64)], 0.1)


def test_a_change_is_the_difference_of_prompt_means_over_common_prompts() -> None:
    before = np.array([[0.0], [1.0], [0.5], [0.3]])  # prompt 0 twice, 1, 9
    after = np.array([[1.0], [1.0], [0.0]])  # prompt 1 twice, 0
    group_of = {0: "g", 1: "h", 9: "h"}
    changes = prompt_changes(before, np.array([0, 0, 1, 9]), after, np.array([1, 1, 0]), group_of)
    # prompt 0: 0 − (0 + 1)/2; prompt 1: (1 + 1)/2 − 0.5; prompt 9 was answered once only
    assert changes.change.tolist() == [[-0.5], [0.5]]
    assert changes.carried.tolist() == [[True], [True]]
    came, went, never = (np.array([[0.0], [0.2]]), np.array([[0.2], [0.0]]), np.zeros((2, 1)))
    for first, last in ((never, came), (went, never)):
        seen = prompt_changes(first, np.array([0, 1]), last, np.array([0, 1]), group_of)
        assert seen.carried.ravel().tolist() == ((first + last) > 0).ravel().tolist()
    assert changes.group.tolist() == [0, 1]
    with pytest.raises(StatsError, match="1 prompts in 1 groups were answered by both"):
        prompt_changes(before, np.array([0, 0, 1, 9]), after[:1], np.array([0]), group_of)


def test_clustered_standard_errors_equal_statsmodels() -> None:
    rng = np.random.default_rng(0)
    group = np.sort(rng.integers(0, 12, 60))
    group = np.unique(group, return_inverse=True)[1]
    values = rng.normal(size=(60, 3)) + rng.normal(size=12)[group][:, None]
    mean, se = clustered_mean(values, group)
    for c in range(3):
        fit = sm.OLS(values[:, c], np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": group})
        assert (mean[c], se[c]) == pytest.approx((fit.params[0], fit.bse[0]))


@given(st.integers(2, 6), st.integers(0, 10_000))
def test_swapping_before_and_after_flips_every_sign(n_groups: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    prompts = np.arange(4 * n_groups)
    group_of = {int(p): f"g{p % n_groups}" for p in prompts}
    a, b = rng.random((len(prompts), 3)), rng.random((len(prompts), 3))
    one = prompt_changes(a, prompts, b, prompts, group_of)
    order = rng.permutation(len(prompts))
    two = prompt_changes(b[order], prompts[order], a, prompts, group_of)
    np.testing.assert_allclose(one.change, -two.change)
    first, second = (
        concept_outcomes(c, np.full(3, 0.1), np.full(3, 0.01), np.full(3, 0.02)) for c in (one, two)
    )
    for x, y in zip(first, second, strict=True):
        assert x.change == pytest.approx(-y.change)
        assert x.change_se == pytest.approx(y.change_se)
        assert x.p_value == pytest.approx(y.p_value)
        assert (x.agrees, y.agrees) in ((True, False), (False, True), (None, None))


def flat_changes(columns: list[list[float]]) -> Changes:
    change = np.array(columns).T
    return Changes(change, change != 0, np.arange(len(change)))


def test_lines_say_what_moved_agreed_and_was_never_seen() -> None:
    rng = np.random.default_rng(1)
    strong, silent, rare = rng.normal(0.5, 0.1, 40), np.zeros(40), np.r_[0.5, np.zeros(39)]
    lines = concept_outcomes(
        flat_changes([list(strong), list(silent), list(rare), list(-strong)]),
        np.array([0.2, 0.2, 0.2, 0.001]),
        np.array([0.02, 0.02, 0.02, 0.02]),
        np.array([0.03, 0.03, 0.03, 0.03]),
    )
    assert [line.is_scored for line in lines] == [True, False, False, True]
    assert [line.is_moved for line in lines] == [True, False, False, True]
    assert [line.agrees for line in lines] == [True, None, None, None]  # the last forecast is not clear
    assert lines[1].change_se is None
    assert (lines[1].p_value, lines[1].change_low, lines[1].change_high) == (None, None, None)
    assert [line.n_groups for line in lines] == [40, 0, 1, 40]
    assert (lines[0].forecast_low, lines[0].forecast_high) == pytest.approx((0.17, 0.23))
    exact = stats.ttest_1samp(strong, 0.0)  # every prompt its own group
    assert lines[0].p_value == pytest.approx(exact.pvalue)
    interval = exact.confidence_interval(0.9)
    assert (lines[0].change_low, lines[0].change_high) == pytest.approx((interval.low, interval.high))


def test_a_sign_counts_where_the_forecast_is_beyond_two_of_its_standard_errors() -> None:
    strong = list(np.random.default_rng(1).normal(0.5, 0.1, 40))
    found = [
        concept_outcomes(flat_changes([strong]), *(np.array([v]) for v in (forecast, 0.02, 0.03)))[0].agrees
        for forecast in (0.03, 0.0399, 0.0401, -0.0401)
    ]
    assert found == [None, None, True, False]


def test_estimates_are_clear_beyond_two_standard_errors_with_students_interval() -> None:
    values = np.array([2, 1.9, 2.1, 2.2])
    found = estimate(values, ["a", "b", "c", "d"])
    half = stats.t.ppf(0.95, 3) * values.std(ddof=1) / 2
    assert (found.low, found.high) == pytest.approx((2.05 - half, 2.05 + half))
    assert [Estimate(v, 0.1, None, None, 4).is_clear for v in (0.15, 0.2, 0.21, -0.21)] == [
        False, False, True, True,
    ]  # fmt: skip
    assert estimate(np.zeros(0), []).n_groups == 0


def test_undefined_forecasts_are_refused() -> None:
    changes = flat_changes([[0.1] * 5])
    with pytest.raises(StatsError, match="undefined"):
        concept_outcomes(changes, np.array([np.nan]), np.array([0.1]), np.array([0.2]))
    with pytest.raises(StatsError, match="2 forecast"):
        concept_outcomes(changes, np.zeros(2), np.zeros(2), np.zeros(2))


def test_movement_reports_signs_and_a_falling_chosen_side() -> None:
    pairs: dict[str, list[Any]] = {
        "group_id": ["a", "b", "c", "d"],
        "chosen_start": [-10.0, -20.0, -30.0, -40.0],
        "chosen_tuned": [-11.0, -21.1, -30.9, -41.0],
        "rejected_start": [-10.0, -20.0, -30.0, -40.0],
        "rejected_tuned": [-13.0, -23.0, -33.0, -43.2],
    }
    moved = measure_movement(pairs, {"group_id": ["a", "b"], "kl": [0.5, 0.7]})
    # Δθ = 2, 1.9, 2.1, 2.2: mean 2.05
    assert moved.log_ratio.value == pytest.approx(2.05)
    assert moved.log_ratio.se == pytest.approx(np.std([2, 1.9, 2.1, 2.2], ddof=1) / 2)
    assert moved.is_moved
    assert moved.chosen_fell
    assert moved.share_preferred == 1.0
    assert moved.divergence is not None
    assert moved.divergence.value == pytest.approx(0.6)
    unmoved = measure_movement(
        pairs | {"chosen_tuned": pairs["chosen_start"], "rejected_tuned": pairs["rejected_start"]}
    )
    assert not unmoved.is_moved
    still = {"chosen_tuned": pairs["chosen_start"], "rejected_tuned": pairs["rejected_start"]}
    for kl, is_moved in ((0.5, True), (0.01, False)):
        drifted = measure_movement(
            pairs | still, {"group_id": ["a", "b", "c"], "kl": [kl, kl * 1.1, kl * 0.9]}
        )
        assert drifted.is_moved is is_moved
    assert not unmoved.chosen_fell
    noisy = measure_movement(pairs | still, {"group_id": ["a", "b"], "kl": [0.0, 5.0]})
    assert not noisy.is_moved  # 2.5 ± 2.5


def test_one_group_has_no_standard_error() -> None:
    assert estimate(np.array([1.0, 2.0]), ["a", "a"]).se is None
