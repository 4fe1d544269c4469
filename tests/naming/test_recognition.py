"""A name is recognised when it says where its concept fires, and by chance no oftener than stated."""

from collections.abc import Collection

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.naming.recognition import Trial, can_be_recognised, chance, deal, interval, judge

LEVEL = 0.01


def trial(n_fires: int = 10, n_others: int = 10) -> Trial:
    fires = [f"with {i}" for i in range(n_fires)]
    others = [f"without {i}" for i in range(n_others)]
    return deal(fires, others, np.random.default_rng(1), are_silent=True)


def picks(asked: Trial, *, fires: bool) -> Collection[int]:
    return [i for i, has in enumerate(asked.fires) if has is fires]


def test_places_are_mixed_and_keep_what_they_are() -> None:
    asked = trial()
    assert sorted(asked.texts) == sorted(
        [f"with {i}" for i in range(10)] + [f"without {i}" for i in range(10)]
    )
    assert all(text.startswith("with ") is has for text, has in zip(asked.texts, asked.fires, strict=True))
    assert asked.fires != tuple(sorted(asked.fires)) != tuple(sorted(asked.fires, reverse=True))


def test_an_answer_without_a_mistake_is_recognised() -> None:
    found = judge(trial(), picks(trial(), fires=True), LEVEL)
    assert (found.n_right, found.n, found.n_hits, found.n_picked) == (20, 20, 10, 10)
    assert found.p == pytest.approx(1 / 184_756)  # ways to pick 10 of 20
    assert found.is_recognised


def test_the_name_of_the_opposite_is_not_recognised() -> None:
    found = judge(trial(), picks(trial(), fires=False), LEVEL)
    assert (found.n_right, found.p, found.is_recognised) == (0, 1.0, False)


@pytest.mark.parametrize("answer", [range(20), ()])
def test_saying_yes_or_no_to_everything_is_not_recognised(answer: Collection[int]) -> None:
    found = judge(trial(), answer, LEVEL)
    assert (found.n_right, found.p, found.is_recognised) == (10, 1.0, False)


def test_hits_and_false_alarms_are_counted_right() -> None:
    asked = trial()
    some = [*list(picks(asked, fires=True))[:9], *list(picks(asked, fires=False))[:1]]
    found = judge(asked, some, LEVEL)
    assert (found.n_right, found.n_hits, found.n_picked) == (18, 9, 10)
    assert found.p == pytest.approx((10 * 10 + 1) / 184_756)  # nine of ten, or all ten


@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_chance_is_the_upper_tail_of_the_hypergeometric_distribution(
    n_fires: int, n_others: int, data: st.DataObject
) -> None:
    n_picked = data.draw(st.integers(0, n_fires + n_others))
    n_hits = data.draw(st.integers(max(0, n_picked - n_others), min(n_fires, n_picked)))
    expected = stats.hypergeom.sf(n_hits - 1, n_fires + n_others, n_fires, n_picked)
    assert chance(n_fires, n_others, n_picked, n_hits) == pytest.approx(expected, rel=1e-9)


@given(st.integers(1, 60), st.data())
def test_the_interval_is_the_exact_one(n: int, data: st.DataObject) -> None:
    n_right = data.draw(st.integers(0, n))
    expected = stats.binomtest(n_right, n).proportion_ci(0.95, method="exact")
    assert interval(n_right, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(4, 20), st.sampled_from([0.05, 0.01, 0.001]))
def test_blind_picks_are_recognised_at_most_at_the_level_however_many_there_are(n: int, level: float) -> None:
    """Summed over everything that can come of a number of picks, by SciPy's probabilities."""
    for n_picked in range(2 * n + 1):
        hits = np.arange(max(0, n_picked - n), min(n, n_picked) + 1)
        passes = np.array([chance(n, n, n_picked, int(h)) <= level for h in hits])
        assert stats.hypergeom.pmf(hits, 2 * n, n, n_picked)[passes].sum() <= level * (1 + 1e-9)


@pytest.mark.parametrize("n_picked", [3, 8, 10, 15])
def test_a_server_that_guesses_is_recognised_at_most_at_the_stated_level(n_picked: int) -> None:
    """The rule itself, dealt 3,000 times; the bound is what one in 10,000 such tests would exceed."""
    rng, level, n_draws = np.random.default_rng(n_picked), 0.05, 3000
    n_recognised = 0
    for _ in range(n_draws):
        asked = deal(["a"] * 10, ["b"] * 10, rng, are_silent=True)
        guess = rng.choice(20, n_picked, replace=False)
        n_recognised += chance(10, 10, n_picked, sum(asked.fires[i] for i in guess)) <= level
    assert n_recognised <= stats.binom.ppf(1 - 1e-4, n_draws, level)


def test_a_server_that_always_picks_the_same_places_is_no_better_than_one_that_guesses() -> None:
    """Its answer has nothing to do with the concept: the order of the places has."""
    rng, level, n_draws = np.random.default_rng(0), 0.05, 3000
    n_recognised = 0
    for _ in range(n_draws):
        asked = deal(["a"] * 10, ["b"] * 10, rng, are_silent=True)
        n_recognised += chance(10, 10, 10, sum(asked.fires[:10])) <= level
    assert n_recognised <= stats.binom.ppf(1 - 1e-4, n_draws, level)


def test_too_few_places_can_tell_nothing() -> None:
    assert not can_be_recognised(4, 4, 0.01)  # even a perfect answer: 1 of 70
    assert can_be_recognised(5, 5, 0.01)  # 1 of 252
    assert not can_be_recognised(0, 10, 0.01)
    assert not can_be_recognised(10, 0, 0.01)
