"""Pushes of the pairs and their errors, against hand arithmetic, refits and known worlds."""

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import StatsError
from engine.stats.forecast import mean_delta
from engine.stats.push import WeightedPairs, coin_signs, redrawn
from engine.stats.random_concepts import random_concepts
from tests.stats.inputs import disparity_of

Vector = NDArray[np.float64]


def world(seed: int, n: int = 300, n_groups: int = 90) -> tuple[Vector, NDArray[np.int32], Vector, Vector]:
    """(P, 3) u of which the second rides on the first, groups, weights, and labels that the first decides."""
    rng = np.random.default_rng(seed)
    acts = rng.choice([-1.0, 0.0, 1.0], n)
    rides = np.where(rng.random(n) < 0.8, acts, rng.choice([-1.0, 0.0, 1.0], n))
    turn = np.where(rng.random(n) < 1 / (1 + np.exp(-acts)), 1.0, -1.0)
    group = np.sort(rng.integers(0, n_groups, n)).astype(np.int32)
    return np.stack([acts, rides, rng.choice([-1.0, 0.0, 1.0], n)], 1), group, rng.choice([0.5, 2.0], n), turn


def ridge(u: Vector, weight: Vector, turn: Vector) -> Vector:
    """The estimate, written out."""
    gram = (u * weight[:, None]).T @ u / 4
    penalty = len(gram) * np.trace(gram) / len(gram) / weight.sum()
    return np.asarray(np.linalg.solve(gram + penalty * np.eye(len(gram)), u.T @ (weight * turn) / 2))


def test_mean_push_is_the_mean_delta_with_the_error_of_its_linearisation() -> None:
    u, group, weight, turn = world(0)
    pairs = WeightedPairs(disparity_of(u), group, weight, turn)
    push = pairs.mean_push(pairs.used, 1)
    known = mean_delta(disparity_of(u), group, weight, turn)
    np.testing.assert_allclose(push.value, known.mean)
    np.testing.assert_allclose(push.se, known.se, rtol=0.12)  # 400 draws know it to 4%


def test_ridge_push_equals_refits_on_the_redrawn_groups_to_first_order() -> None:
    u, group, weight, turn = world(1, n=1500, n_groups=450)
    pairs = WeightedPairs(disparity_of(u), group, weight, turn)
    push = pairs.ridge_push(pairs.used, 2)
    np.testing.assert_allclose(push.value, ridge(u, weight, turn))
    counts = np.concatenate(list(redrawn(pairs.used, 2)), axis=1)
    refits = np.array([ridge(u, weight * c[group], turn) for c in counts.T])
    assert np.corrcoef(push.draws[:, 0], refits[:, 0])[0, 1] > 0.98
    np.testing.assert_allclose(push.se, refits.std(axis=0, ddof=1), rtol=0.08)


def test_ridge_weights_credit_the_concept_that_acts_not_the_one_that_rides_along() -> None:
    u, group, weight, turn = world(2, n=4000, n_groups=4000)
    pairs = WeightedPairs(disparity_of(u), group, np.ones_like(weight), turn)
    found = pairs.ridge_push(pairs.used, 0).value
    assert 0.7 < found[0] < 1.1  # log odds 1; a step from a coin falls a little short
    assert abs(found[1]) < 0.15


def test_difference_of_two_datasets_knows_that_most_pairs_are_the_same() -> None:
    u, group, weight, turn = world(3)
    less = np.where(u[:, 2] > 0, 0.0, weight)  # rules drop what carries the third concept
    both = [WeightedPairs(disparity_of(u), group, w, turn) for w in (less, weight)]
    used = both[0].used | both[1].used
    shaped, plain = (s.mean_push(used, 5) for s in both)
    gap = shaped - plain
    apart = np.sqrt(shaped.se**2 + plain.se**2)
    assert gap.se[0] < 0.7 * apart[0]
    assert not (plain - plain).draws.any()
    counts = np.concatenate(list(redrawn(used, 9)), axis=1)[group]  # other draws, written out
    direct = [
        np.average(u * turn[:, None], axis=0, weights=less * c)
        - np.average(u * turn[:, None], axis=0, weights=weight * c)
        for c in counts.T
    ]
    np.testing.assert_allclose(gap.se, np.std(direct, axis=0, ddof=1), rtol=0.15)
    means = [np.average(u * turn[:, None], axis=0, weights=w) for w in (less, weight)]
    np.testing.assert_allclose(gap.value, means[0] - means[1])


def test_shuffled_labels_average_to_nothing_with_the_error_of_the_forecast() -> None:
    u, group, _, turn = world(4)
    pairs = WeightedPairs(disparity_of(u), group, np.ones(300), turn)
    signs = coin_signs(len(pairs.used), np.random.default_rng(4), 4000)
    means, weights = pairs.shuffled_means(signs), pairs.shuffled_ridge(signs)
    sums = np.zeros((len(pairs.used), 3))
    np.add.at(sums, group, u * turn[:, None])
    expected = np.sqrt(np.square(sums).sum(0)) / 300
    np.testing.assert_allclose(means.std(axis=0), expected, rtol=0.05)
    assert np.all(np.abs(means.mean(axis=0)) < 4 * expected / np.sqrt(4000))
    turned = ridge(u, np.ones(300), turn * signs[group, 7])
    np.testing.assert_allclose(weights[7], turned)


@pytest.mark.parametrize("weight", [[0.0, 0.0], [1.0, 0.0], [-1.0, 2.0], [np.nan, 1.0]])
def test_too_little_or_broken_weight_is_refused(weight: list[float]) -> None:
    with pytest.raises(StatsError):
        WeightedPairs(
            disparity_of(np.array([[1.0], [-1.0]])), np.array([0, 1], np.int32), np.array(weight), np.ones(2)
        )


def test_two_prompt_groups_are_enough_and_one_is_not() -> None:
    u, group = np.array([[1.0], [-1.0], [1.0]]), np.array([0, 1, 1], np.int32)
    pairs = WeightedPairs(disparity_of(u), group, np.ones(3), np.ones(3))
    assert pairs.mean_push(pairs.used, 0).value == pytest.approx(1 / 3)
    with pytest.raises(StatsError):
        WeightedPairs(disparity_of(u), np.zeros(3, np.int32), np.ones(3), np.ones(3))


def test_random_concepts_have_the_sizes_of_the_real_ones_and_columns_trade_places() -> None:
    places = [np.array([0, 1, 2]), np.array([], np.int64), np.array([3]), np.array([], np.int64)]
    by_concept = np.array([1.0, 50.0, 8.0, -50.0])
    by_latent = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    drawn = random_concepts(places, by_concept, by_latent, np.random.default_rng(0), 3000)
    threes = {sum(c) / 3 for c in ([1, 2, 4], [1, 2, 8], [1, 2, 16], [1, 4, 8], [1, 4, 16], [1, 8, 16],
                                   [2, 4, 8], [2, 4, 16], [2, 8, 16], [4, 8, 16])}  # fmt: skip
    assert set(np.round(drawn[:, 0], 9)) == {round(t, 9) for t in threes}
    assert set(drawn[:, 2]) == set(by_latent)
    assert drawn.mean(axis=0)[[0, 2]] == pytest.approx([6.2, 6.2], rel=0.05)
    assert set(map(tuple, drawn[:, [1, 3]])) == {(50.0, -50.0), (-50.0, 50.0)}
    only_columns = random_concepts(places[1:2], by_concept[1:2], np.zeros(0), np.random.default_rng(0), 2)
    assert only_columns.tolist() == [[50.0], [50.0]]
