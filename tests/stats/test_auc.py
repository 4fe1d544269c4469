"""Held-out comparison: exact AUC, honest folds, and arms that know what they should."""

from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from engine.arrays import PairArrays, Readings
from engine.errors import StatsError
from engine.progress import NullProgress
from engine.stats.arms import (
    difference_arm,
    embedding_arm,
    format_arm,
    joined,
    length_arm,
    model_arm,
    reading_arm,
    unit_arm,
)
from engine.stats.auc import ArmResult, Coverage, HeldOut, coverage, held_out, paired_auc, within_auc
from engine.stats.design import build_design
from engine.stats.difference_sae import fit_difference_sae
from engine.stats.null import fit_null
from engine.stats.score import score_tests
from engine.stats.unique import unique_contribution
from tests.stats.inputs import dense_of, disparity_of, latents_of, with_pairs
from tests.worlds import make_readings


def _spread_folds(readings: Readings) -> Readings:
    return with_pairs(readings, fold=(readings.pairs.group % 20).astype(np.int8))


def test_paired_auc_is_scikit_learns_over_both_orientations() -> None:
    score = np.random.default_rng(0).normal(0.3, 1, 200).round(1)
    label = np.concatenate([np.ones(200), np.zeros(200)])
    both = np.concatenate([score, -score])
    assert paired_auc(score, np.ones(200)) == pytest.approx(roc_auc_score(label, both))


@given(st.integers(0, 10**6), st.integers(2, 40))
@settings(max_examples=60)
def test_weights_equal_repetition_in_auc_within_and_coverage(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    score, weight = rng.normal(size=n).round(1), rng.integers(0, 4, n)
    weight[0] = 1
    stratum, turned = rng.integers(-1, 3, n), rng.choice([-1.0, 1.0], n)
    again = np.repeat(np.arange(n), weight)
    ones = np.ones(len(again))
    assert paired_auc(score, weight.astype(float)) == pytest.approx(paired_auc(score[again], ones))
    np.testing.assert_allclose(
        within_auc(score, stratum, turned, weight.astype(float)),
        within_auc(score[again], stratum[again], turned[again], ones),
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_held_out_figures_of_weighted_pairs_are_those_of_repeated_pairs(seed: int) -> None:
    readings = _spread_folds(make_readings(300, 6, effects={0: 2.0}, seed=seed))
    weight = np.random.default_rng(seed).integers(1, 4, 300)
    rows = np.repeat(np.arange(300), weight)
    units = dense_of(latents_of(readings), 300)
    weighted, repeated = (
        held_out(
            [length_arm(pairs), unit_arm("units", disparity_of(u), len(u))], pairs, w, progress=NullProgress()
        )
        for pairs, u, w in (
            (readings.pairs, units, weight.astype(float)),
            (_taken(readings.pairs, rows), units[rows], np.ones(len(rows))),
        )
    )
    by_group = np.bincount(readings.pairs.group, weight * readings.pairs.is_signed).astype(float)
    for one, two in zip(weighted, repeated, strict=True):
        a, b = asdict(one.result), asdict(two.result)
        assert a.pop("strengths") == b.pop("strengths")
        assert a.pop("name") == b.pop("name")
        assert [v for v in a.values() if v is not None] == pytest.approx(
            [v for v in b.values() if v is not None], abs=2e-3
        )
        np.testing.assert_allclose(one.group_loss, two.group_loss, atol=0.02)
    share, same = (coverage(f[0], f[1], by_group) for f in (weighted, repeated))
    assert (share.share, share.low, share.high) == pytest.approx((same.share, same.low, same.high), abs=0.02)


def _taken(pairs: PairArrays, rows: NDArray[np.int64]) -> PairArrays:
    """Some pairs, also several times."""
    n = len(pairs.group)
    picked: dict[str, Any] = {
        f.name: v[rows]
        for f in fields(pairs)
        if isinstance(v := getattr(pairs, f.name), np.ndarray) and v.shape[:1] == (n,)
    }
    return replace(pairs, **picked)


def _losses(gain: list[float]) -> HeldOut:
    """An arm that gains so much over a coin in each of the prompt groups of one pair."""
    result = ArmResult("arm", 1, 0.5, 0.4, 0.6, 0.5, float(np.log(2) - np.mean(gain)), (1.0,))
    return HeldOut(result, np.log(2) - np.array(gain))


def test_coverage_is_the_ratio_of_gains_with_the_error_of_a_ratio() -> None:
    rng = np.random.default_rng(0)
    whole = rng.normal(0.2, 0.3, 500)
    part = 0.6 * whole + rng.normal(0, 0.1, 500)
    found = coverage(_losses(list(part)), _losses(list(whole)), np.ones(500))
    share = part.sum() / whole.sum()
    # linearised: sd of (part − share·whole) / mean(whole) / √n
    half = 1.96 * np.std(part - share * whole) / whole.mean() / np.sqrt(500)
    assert found.share == pytest.approx(share)
    assert (found.low, found.high) == pytest.approx((share - half, share + half), abs=0.15 * half)


def test_coverage_covers_its_truth() -> None:
    """Gains with ratio 0.6 in truth; 95% intervals over 200 worlds."""
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        whole = rng.normal(0.2, 0.3, 200)
        found = coverage(
            _losses(list(0.6 * whole + rng.normal(0, 0.1, 200))), _losses(list(whole)), np.ones(200)
        )
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0.6 <= found.high
    assert 0.9 <= hits / 200 <= 0.99


def test_coverage_of_a_reading_that_may_gain_nothing_has_no_interval() -> None:
    assert coverage(_losses([0.1, 0.2]), _losses([-0.1, -0.2]), np.ones(2)) == Coverage(None, None, None)
    unsure = coverage(_losses([0.3, -0.1]), _losses([0.3, -0.1]), np.ones(2))
    assert unsure == Coverage(1.0, None, None)


def test_arms_find_a_planted_concept_and_length_alone_does_not() -> None:
    readings = _spread_folds(make_readings(1200, 12, effects={0: 2.0, 1: -1.0}))
    pairs = readings.pairs
    units = unit_arm("concepts", latents_of(readings), readings.n_pairs)
    length = length_arm(pairs)
    rows = held_out(
        [length, units, joined("both", length, units), reading_arm(readings)],
        pairs,
        np.ones(1200),
        progress=NullProgress(),
    )
    by = {r.result.name: r.result for r in rows}
    assert abs(by["length only"].auc - 0.5) < 0.05
    assert by["concepts"].auc > 0.7
    assert by["full reading"].auc > 0.65
    assert by["concepts"].low < by["concepts"].auc < by["concepts"].high
    assert by["concepts"].log_loss < np.log(2) < by["length only"].log_loss + 0.02
    share = coverage(rows[1], rows[2], np.bincount(pairs.group).astype(float))
    assert share.share is not None
    assert share.low is not None
    assert share.high is not None
    assert share.low < share.share < share.high
    assert 0.9 < share.share < 1.2


def test_pure_noise_does_not_pass_for_signal() -> None:
    readings = _spread_folds(make_readings(800, 60))
    [row] = held_out(
        [reading_arm(readings)], readings.pairs, np.ones(readings.n_pairs), progress=NullProgress()
    )
    assert row.result.low <= 0.5 <= row.result.high


def test_who_wrote_it_is_an_arm_only_where_models_are_known() -> None:
    readings = _spread_folds(make_readings(600, 4))
    better = np.where(np.arange(600) % 10 < 9, 0, 1).astype(np.int32)
    known = with_pairs(readings, model_chosen=better, model_rejected=(1 - better).astype(np.int32))
    arm = model_arm(known.pairs)
    assert arm is not None
    [row] = held_out([arm], known.pairs, np.ones(600), progress=NullProgress())
    assert row.result.accuracy == pytest.approx(0.9, abs=0.03)
    unknown = np.full(600, -1, np.int32)
    assert model_arm(replace(known.pairs, model_chosen=unknown)) is None


def test_formatting_joins_length() -> None:
    readings = make_readings(100, 4)
    arm = format_arm(readings.pairs, {"@bold": np.random.default_rng(0).normal(size=100)})
    x = arm.features(np.arange(100), np.ones(100, np.bool_), np.ones(100))
    assert isinstance(x, np.ndarray)
    assert x.shape == (100, 3)
    np.testing.assert_allclose((x**2).mean(axis=0), 1)


def test_auc_within_two_models_is_blind_to_who_wrote_it() -> None:
    """Model 0 wins 90% against 1 and 50% against 2: known, but the same for every pair of one opponent."""
    readings = _spread_folds(make_readings(1000, 12, effects={0: 2.0}))
    rng = np.random.default_rng(0)
    opponent = 1 + np.arange(1000) % 2
    wins = rng.random(1000) < np.where(opponent == 1, 0.9, 0.5)
    chosen, rejected = np.where(wins, 0, opponent), np.where(wins, opponent, 0)
    known = with_pairs(
        readings, model_chosen=chosen.astype(np.int32), model_rejected=rejected.astype(np.int32),
        model_names=("a", "b", "c"),
    )  # fmt: skip
    arm = model_arm(known.pairs)
    assert arm is not None
    units = unit_arm("concepts", latents_of(readings), readings.n_pairs)
    by = {
        r.result.name: r.result
        for r in held_out([arm, units], known.pairs, np.ones(1000), progress=NullProgress())
    }
    who, what = by["which model wrote it"], by["concepts"]
    assert who.within is not None
    assert who.within_low is not None
    assert who.within_high is not None
    assert what.within is not None
    assert who.auc > 0.7
    assert who.within == 0.5  # constant among pairs of one opponent in one fold
    assert who.within_low == who.within_high == 0.5
    assert what.within > 0.65


def test_auc_within_is_scikit_learns_in_each_stratum() -> None:
    """Two strata with 2·3 and 1·2 comparisons; a third has no loss, and rows with −1 are left out."""
    score = np.array([1.0, -0.5, 2.0, 0.2, 0.3, 0.7, -1.0, 0.1, 5.0, 9.0])
    stratum = np.array([4, 4, 4, 4, 4, 7, 7, 7, 9, -1])
    turned = np.array([1.0, 1, -1, -1, -1, 1, -1, -1, 1, 1])
    parts = [
        roc_auc_score(turned[s] > 0, score[s] * turned[s]) * n
        for s, n in ((stratum == 4, 6), (stratum == 7, 2))
    ]
    assert within_auc(score, stratum, turned, np.ones(10)) == pytest.approx(sum(parts) / 8)
    assert np.isnan(within_auc(score, np.full(10, -1), turned, np.ones(10)))


def test_a_difference_sae_finds_sparse_directions_and_is_odd() -> None:
    """Each difference is ±1 to ±2 along 2 of 16 directions in 48 dimensions."""
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(48, 16)))[0].T
    weight = np.zeros((1500, 16))
    for row in weight:
        row[rng.choice(16, 2, replace=False)] = rng.choice([-1, 1], 2) * rng.uniform(1, 2, 2)
    delta = (weight @ directions).astype(np.float32)
    sae = fit_difference_sae(delta[:1200], seed=1)
    assert sae.unexplained(delta[1200:]) < 0.2
    match = np.abs(sae.decoder @ directions.T).max(axis=0)
    assert (match > 0.9).mean() > 0.75
    np.testing.assert_array_equal(sae.features(-delta), -sae.features(delta))
    assert 2 < (sae.features(delta) != 0).sum(axis=1).mean() < 6


def test_embedding_arms_learn_from_training_pairs_only_and_find_a_planted_direction() -> None:
    readings = _spread_folds(make_readings(800, 4))
    rng = np.random.default_rng(1)
    delta = rng.normal(size=(800, 20)).astype(np.float32)
    delta[:, 3] += 1.0  # chosen has more of it
    probe, sparse = embedding_arm(delta), difference_arm(delta)
    found = held_out(
        [probe, sparse, joined("all", probe, sparse)], readings.pairs, np.ones(800), progress=NullProgress()
    )
    by = {r.result.name: r.result for r in found}
    assert by["embedding (linear probe)"].auc > 0.85
    assert by["difference SAE (WIMHF)"].auc > 0.7
    assert by["all"].n_columns == 20 + by["difference SAE (WIMHF)"].n_columns
    train = np.arange(800) < 600
    changed = delta.copy()
    changed[~train] *= 1.7
    first = sparse.blocks[0].learn
    assert first is not None
    ones = np.ones(800)
    before = first(delta.astype(np.float64), train, ones)[train]
    np.testing.assert_allclose(before, first(changed.astype(np.float64), train, ones)[train])


def test_too_few_groups_are_refused() -> None:
    readings = make_readings(10, 4)
    with pytest.raises(StatsError, match="nested folds"):
        held_out([length_arm(readings.pairs)], readings.pairs, np.ones(10), progress=NullProgress())


def test_a_copy_of_a_concept_has_no_contribution_of_its_own() -> None:
    """Latent 0 teaches; unit 12 repeats it with noise. Only the original is selected in most halves."""
    readings = make_readings(1500, 12, effects={0: 1.5})
    pairs = readings.pairs
    dense = dense_of(latents_of(readings), readings.n_pairs)
    noisy = np.where(np.random.default_rng(0).random(1500) < 0.4, 0, dense[:, 0])
    units = disparity_of(np.column_stack([dense, noisy]))
    null = fit_null(build_design(pairs), pairs.group, pairs.is_signed.astype(np.float64))
    found = unique_contribution(
        units, null, score_tests(units, null), np.ones(13, np.bool_), pairs.fold, halves=20
    )
    assert found.selected[0] == 1
    assert found.beta[0] > 0.3
    assert found.selected[12] < 0.7
    assert abs(found.beta[12]) < 0.3 * found.beta[0]
