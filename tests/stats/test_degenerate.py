"""Bad input gives NULL with a reason, or a clear error; never NaN, never a made-up number."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from engine.arrays import Readings
from engine.errors import StatsError
from engine.progress import NullProgress
from engine.settings import StatsSettings
from engine.stats.collateral import side_effects
from engine.stats.design import build_design
from engine.stats.effect import fit_effects, win_rates
from engine.stats.null import fit_null
from engine.stats.run import StatsInput, estimate
from engine.stats.sums import unit_sums
from engine.store.schema import HYPOTHESES, LATENTS
from tests.stats.inputs import disparity_of, latents_of, units_of, with_pairs
from tests.worlds import make_readings


def _rows(
    readings: Readings, units: StatsInput | None = None, settings: StatsSettings | None = None
) -> list[dict[str, Any]]:
    tables = estimate(readings, units or units_of(readings), settings or StatsSettings(), NullProgress())
    assert set(tables.hypotheses.column_names) == set(HYPOTHESES.column_names)
    assert set(tables.latents.column_names) == set(LATENTS.column_names)
    rows = tables.hypotheses.to_pylist()
    for row in rows:
        assert not any(isinstance(v, float) and not math.isfinite(v) for v in row.values())
    return list(rows)


def test_all_columns_of_the_schema_are_there_and_finite_or_null() -> None:
    rows = _rows(make_readings(300, 20, effects={0: 2.0}))
    assert rows[0]["badge"] == "both"
    assert rows[0]["win_low"] < rows[0]["win_rate"] < rows[0]["win_high"]


def test_no_labelled_pair_leaves_every_estimate_null_with_a_reason() -> None:
    readings = make_readings(60, 5)
    rows = _rows(with_pairs(readings, is_signed=np.zeros(60, np.bool_)))
    assert {r["skip_reason"] for r in rows} == {"no labelled pair carries it"}
    assert all(r["win_rate"] is None and r["taught_z"] is None and r["badge"] == "untested" for r in rows)


def test_one_pair_is_not_tested() -> None:
    rows = _rows(make_readings(1, 5))
    assert all(r["taught_p"] is None and r["equal_p"] is None for r in rows)


def test_one_group_is_not_tested_but_described() -> None:
    readings = make_readings(120, 5)
    rows = _rows(with_pairs(readings, group=np.zeros(120, np.int32)))
    assert all(r["skip_reason"] is not None and r["win_low"] is None for r in rows)
    assert rows[0]["win_rate"] is not None


def test_a_unit_on_both_sides_everywhere_has_no_win_rate() -> None:
    readings = make_readings(200, 5)
    units = units_of(readings)
    alike = disparity_of(np.zeros((200, 1)), np.ones((200, 1), np.bool_))
    rows = _rows(readings, dataclasses.replace(units, concepts=alike, concept_ids=["x"]))
    assert rows[0]["skip_reason"] == "both sides always carry it alike"
    assert rows[0]["win_rate"] is None
    assert rows[0]["prevalence"] == 1.0


def test_a_side_that_always_wins_has_a_finite_effect_and_an_honest_interval() -> None:
    """20 wins in 20 groups: the rule of three puts the lower end near 1 − 3/20."""
    readings = make_readings(400, 5, seed=2)
    u = np.zeros((400, 1))
    signed = np.nonzero(readings.pairs.is_signed)[0]
    first = signed[np.unique(readings.pairs.group[signed], return_index=True)[1]]
    u[first[:20]] = 1.0
    units = dataclasses.replace(units_of(readings), concepts=disparity_of(u), concept_ids=["x"])
    row = _rows(readings, units)[0]
    assert row["win_rate"] == 1.0
    assert 0.75 < row["win_low"] < 0.9
    assert row["win_high"] == 1.0
    assert 0.9 < row["equal_win_rate"] < 1
    assert 0.6 < row["equal_low"] < 0.95


def test_when_models_alone_separate_the_labels_nothing_is_said_at_equal_length() -> None:
    readings = make_readings(400, 5, seed=3)
    one = with_pairs(readings, model_chosen=np.zeros(400, np.int32), model_rejected=np.ones(400, np.int32))
    units = units_of(one)
    tables = estimate(one, units, StatsSettings(), NullProgress())
    assert tables.facts["null_separates"]
    assert "separate" in tables.facts["warning"]
    rows = tables.hypotheses.to_pylist()
    assert all(r["equal_z"] is None and r["equal_win_rate"] is None for r in rows)
    assert any(r["taught_z"] is not None for r in rows)


def test_a_length_column_is_undefined_at_equal_length() -> None:
    readings = make_readings(400, 5, seed=3)
    ratio = np.log(readings.pairs.chosen_tokens) - np.log(readings.pairs.rejected_tokens)
    units = dataclasses.replace(
        units_of(readings), concepts=disparity_of(ratio[:, None]), concept_ids=["length"]
    )
    row = _rows(readings, units)[0]
    assert row["taught_z"] is not None
    assert row["equal_z"] is None
    assert row["linear_z"] is None


def test_constant_lengths_still_leave_both_questions_answerable() -> None:
    readings = make_readings(400, 5, seed=3, effects={0: 1.5})
    same = np.full(400, 50, np.int32)
    rows = _rows(with_pairs(readings, chosen_tokens=same, rejected_tokens=same))
    assert rows[0]["badge"] == "both"


def test_infinite_covariates_unknown_names_and_bad_weights_are_refused() -> None:
    readings = make_readings(100, 5)
    units = units_of(readings)
    bad = dataclasses.replace(units, columns={"@x": np.full(100, np.inf)})
    with pytest.raises(StatsError, match="not finite"):
        _rows(readings, bad, StatsSettings(covariates=("@x",)))
    with pytest.raises(StatsError, match="no covariate"):
        _rows(readings, units, StatsSettings(covariates=("nonsense",)))
    with pytest.raises(StatsError, match="weights must be finite"):
        _rows(readings, dataclasses.replace(units, weights=np.full(100, -1.0)))
    with pytest.raises(StatsError, match="3 weights for 100 pairs"):
        _rows(readings, dataclasses.replace(units, weights=np.ones(3)))


def test_groups_out_of_order_are_refused() -> None:
    readings = make_readings(100, 5)
    with pytest.raises(StatsError, match="ascend"):
        _rows(with_pairs(readings, group=readings.pairs.group[::-1].copy()))


def test_when_one_model_mostly_wins_the_audit_says_so_first() -> None:
    """90% of battles won by model 0: −(.9 log .9 + .1 log .1) / log 2 = .469 of a coin's loss is left."""
    readings = make_readings(1000, 4, seed=3)
    first = (np.arange(1000) % 10 == 0).astype(np.int32)
    known = with_pairs(
        readings, model_chosen=first, model_rejected=1 - first, is_signed=np.ones(1000, np.bool_)
    )
    facts = estimate(known, units_of(known), StatsSettings(), NullProgress()).facts
    assert facts["models_explain"] == pytest.approx(1 - 0.469, abs=1e-3)
    assert facts["warning"].startswith("Which model wrote the response explains 53%")
    assert estimate(readings, units_of(readings), StatsSettings(), NullProgress()).facts["warning"] is None


def test_a_unit_that_always_wins_on_every_pair_has_an_effect_at_equal_length() -> None:
    """Chosen always has it and is nearly always longer: β and the length slope run off together."""
    readings = make_readings(120, 3)
    rng = np.random.default_rng(0)
    rejected = rng.integers(10, 20, 120).astype(np.int32)
    longer = (rejected + rng.integers(0, 4, 120) - (rng.random(120) < 0.1) * 3).astype(np.int32)
    turned = with_pairs(readings, chosen_tokens=longer, rejected_tokens=rejected)
    pairs = turned.pairs
    units = disparity_of(np.column_stack([np.ones(120), rng.choice([-1.0, 0.0, 1.0], 120)]))
    weight = pairs.is_signed.astype(np.float64)
    null = fit_null(build_design(pairs), pairs.group, weight)
    sums = unit_sums(units, pairs, weight)
    effects = fit_effects(units, null, sums, np.ones(2, np.bool_))
    rate, low, high = win_rates(effects, sums)
    assert np.isfinite([rate, low, high]).all()
    assert rate[0] > 0.95
    assert low[0] < rate[0] <= high[0]


def test_a_unit_that_every_pair_carries_alike_cannot_be_halved() -> None:
    units = disparity_of(np.column_stack([np.ones(40), np.tile([1.0, 0.0], 20)]))
    every = np.ones(2, np.bool_)
    found = side_effects(units, np.arange(40, dtype=np.int32), np.ones(40), every, every)
    assert 0 not in found.unit


def test_a_half_without_discordant_pairs_has_no_win_rate_whatever_the_weights_are() -> None:
    """Weights such as 0.3 add up with an error: nothing is taken as the rest of a sum."""
    readings = make_readings(400, 6)
    pairs = readings.pairs
    disparity = latents_of(readings)
    weight = np.where(pairs.is_signed, np.random.default_rng(3).choice([0.3, 1.7, 0.1], 400), 0.0)
    odd = np.where(np.isin(np.arange(400), disparity.pair[: disparity.indptr[1]]), 1, pairs.fold)
    sums = unit_sums(disparity, dataclasses.replace(pairs, fold=odd.astype(pairs.fold.dtype)), weight)
    assert sums.n[0] > 0
    assert (sums.y_a[0], sums.n_a[0], sums.wu_a[0]) == (0, 0, 0)
    assert sums.n_a + sums.n_b == pytest.approx(sums.n)
    assert (sums.y_a <= sums.n_a).all()
