"""Held-out comparison: exact AUC, honest folds, and arms that know what they should."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from engine.arrays import Readings
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
from engine.stats.auc import coverage, held_out, paired_auc, within_auc
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
    assert paired_auc(score) == pytest.approx(roc_auc_score(label, np.concatenate([score, -score])))


def test_arms_find_a_planted_concept_and_length_alone_does_not() -> None:
    readings = _spread_folds(make_readings(1200, 12, effects={0: 2.0, 1: -1.0}))
    pairs = readings.pairs
    units = unit_arm("concepts", latents_of(readings), readings.n_pairs)
    length = length_arm(pairs)
    rows = held_out(
        [length, units, joined("both", length, units), reading_arm(readings)], pairs, progress=NullProgress()
    )
    by = {r.name: r for r in rows}
    assert abs(by["length only"].auc - 0.5) < 0.05
    assert by["concepts"].auc > 0.7
    assert by["full reading"].auc > 0.65
    assert by["concepts"].low < by["concepts"].auc < by["concepts"].high
    assert by["concepts"].log_loss < np.log(2) < by["length only"].log_loss + 0.02
    share = coverage(by["concepts"], by["both"])
    assert share is not None
    assert 0.9 < share < 1.2


def test_pure_noise_does_not_pass_for_signal() -> None:
    readings = _spread_folds(make_readings(800, 60))
    [row] = held_out([reading_arm(readings)], readings.pairs, progress=NullProgress())
    assert row.low <= 0.5 <= row.high


def test_who_wrote_it_is_an_arm_only_where_models_are_known() -> None:
    readings = _spread_folds(make_readings(600, 4))
    better = np.where(np.arange(600) % 10 < 9, 0, 1).astype(np.int32)
    known = with_pairs(readings, model_chosen=better, model_rejected=(1 - better).astype(np.int32))
    arm = model_arm(known.pairs)
    assert arm is not None
    [row] = held_out([arm], known.pairs, progress=NullProgress())
    assert row.accuracy == pytest.approx(0.9, abs=0.03)
    unknown = np.full(600, -1, np.int32)
    assert model_arm(dataclasses.replace(known.pairs, model_chosen=unknown)) is None


def test_formatting_joins_length() -> None:
    readings = make_readings(100, 4)
    arm = format_arm(readings.pairs, {"@bold": np.random.default_rng(0).normal(size=100)})
    x = arm.features(np.arange(100), np.ones(100, np.bool_))
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
    by = {r.name: r for r in held_out([arm, units], known.pairs, progress=NullProgress())}
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
    assert within_auc(score, stratum, turned) == pytest.approx(sum(parts) / 8)
    assert np.isnan(within_auc(score, np.full(10, -1), turned))


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
    found = held_out([probe, sparse, joined("all", probe, sparse)], readings.pairs, progress=NullProgress())
    by = {r.name: r for r in found}
    assert by["embedding (linear probe)"].auc > 0.85
    assert by["difference SAE (WIMHF)"].auc > 0.7
    assert by["all"].n_columns == 20 + by["difference SAE (WIMHF)"].n_columns
    train = np.arange(800) < 600
    changed = delta.copy()
    changed[~train] *= 1.7
    first = sparse.blocks[0].learn
    assert first is not None
    before = first(delta.astype(np.float64), train)[train]
    np.testing.assert_allclose(before, first(changed.astype(np.float64), train)[train])


def test_too_few_groups_are_refused() -> None:
    readings = make_readings(10, 4)
    with pytest.raises(StatsError, match="nested folds"):
        held_out([length_arm(readings.pairs)], readings.pairs, progress=NullProgress())


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
