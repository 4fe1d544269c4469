"""Held-out comparison: exact AUC, honest folds, and arms that know what they should."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from engine.arrays import Readings
from engine.errors import StatsError
from engine.progress import NullProgress
from engine.stats.arms import format_arm, joined, length_arm, model_arm, reading_arm, unit_arm
from engine.stats.auc import coverage, held_out, paired_auc
from engine.stats.design import build_design
from engine.stats.null import fit_null
from engine.stats.unique import unique_contribution
from tests.stats.inputs import latents_of, with_pairs
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
    assert arm.x.shape == (100, 3)
    np.testing.assert_allclose(np.asarray(arm.x.multiply(arm.x).mean(axis=0)).ravel(), 1)


def test_too_few_groups_are_refused() -> None:
    readings = make_readings(10, 4)
    with pytest.raises(StatsError, match="nested folds"):
        held_out([length_arm(readings.pairs)], readings.pairs, progress=NullProgress())


def test_a_copy_of_a_concept_has_no_contribution_of_its_own() -> None:
    """Latent 0 teaches; column 12 repeats it with noise. Only the original is selected in most halves."""
    readings = make_readings(1500, 12, effects={0: 1.5})
    pairs = readings.pairs
    arm = unit_arm("concepts", latents_of(readings), readings.n_pairs)
    noisy = arm.x[:, [0]].toarray().ravel()
    noisy[np.random.default_rng(0).random(len(noisy)) < 0.4] = 0
    both = joined("with copy", arm, dataclasses.replace(arm, x=type(arm.x)(noisy[:, None])))
    null = fit_null(build_design(pairs), pairs.group, pairs.is_signed.astype(np.float64))
    found = unique_contribution(both, null, halves=20, progress=NullProgress())
    assert found.selected[0] == 1
    assert found.weight[0] > 0.3
    assert found.selected[12] < 0.7
    assert abs(found.weight[12]) < 0.3 * found.weight[0]
