"""The tables of scrutiny hold what was found, each number in its own column and beside its own concept."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from engine.arrays import Disparity, Readings
from engine.errors import StatsError
from engine.settings import StatsSettings
from engine.stats.collateral import side_effects
from engine.stats.design import build_design
from engine.stats.null import NullModel, fit_null
from engine.stats.score import score_tests
from engine.stats.scrutiny import Calls, Scrutiny, calls_of, scrutinise
from engine.stats.sensitivity import Effect, agreement, members_of, pooling_sensitivity
from engine.stats.sources import decompose
from engine.stats.sums import unit_sums
from engine.stats.taught import safe_ratio, taught
from engine.stats.unique import unique_contribution
from tests.stats.inputs import dense_of, latents_of, with_pairs
from tests.worlds import make_readings

Vector = NDArray[np.float64]
SETTINGS = StatsSettings()
COLUMN, UNTESTED = 7, 5
"""A concept without latents, and one that is not tested."""


@dataclass(frozen=True, repr=False)
class Found:
    """Eight latents as concepts, the last one as a column, and what scrutiny says of them."""

    readings: Readings
    units: Disparity
    null: NullModel
    own: Calls
    scrutiny: Scrutiny


@pytest.fixture(scope="module")
def found() -> Found:
    made = make_readings(600, 8, effects={0: 1.5, 2: -1.2})
    source = np.random.default_rng(1).integers(0, 3, 600).astype(np.int32)
    readings = with_pairs(made, source=source, source_names=("alpha", "beta", "gamma"))
    pairs, units = readings.pairs, latents_of(readings)
    null = fit_null(build_design(pairs), pairs.group, pairs.is_signed.astype(np.float64))
    sums = unit_sums(units, pairs, null.weight)
    tested = np.arange(8) != UNTESTED
    z = (taught(sums).z, score_tests(units, null).z)
    called = tuple(np.where(tested, (np.abs(own) > 3).astype(float), np.nan) for own in z)
    own = Calls(tested, z, (called[0], called[1]), safe_ratio(sums.size, sums.n))
    members = members_of([[k] if k != COLUMN else [] for k in range(8)])
    return Found(readings, units, null, own, scrutinise(readings, units, members, null, own, SETTINGS))


def rows_of(table: pa.Table, **wanted: object) -> dict[str, Vector]:
    rows = [r for r in table.to_pylist() if all(r[k] == v for k, v in wanted.items())]
    names = [n for n in table.column_names if not pa.types.is_string(table.schema.field(n).type)]
    return {n: np.array([np.nan if r[n] is None else r[n] for r in rows], np.float64) for n in names}


def same(rows: dict[str, Vector], **expected: Vector | NDArray[np.int64]) -> None:
    for name, values in expected.items():
        np.testing.assert_allclose(rows[name], values, rtol=1e-12, err_msg=name)


def test_a_call_of_either_question_counts() -> None:
    no, yes, never = 0.0, 1.0, np.nan
    called = (np.array([yes, no, no, never]), np.array([no, yes, no, never]))
    own = Calls(np.ones(4, np.bool_), called, called, np.ones(4))
    assert own.any_call.tolist() == [True, True, False, False]


def test_calls_are_read_back_from_the_columns_of_the_concepts(found: Found) -> None:
    sums = unit_sums(found.units, found.readings.pairs, found.null.weight)
    columns = {name: pa.array(np.arange(8) + k / 10) for k, name in enumerate(("taught_z", "equal_z"))}
    columns["taught_call"] = pa.array([True, False, None] + [False] * 5)
    columns["equal_call"] = pa.array([None, True, None] + [False] * 5)
    columns["skip_reason"] = pa.array([None, None, "too few"] + [None] * 5, pa.string())
    own = calls_of(columns, sums, np.ones(8))
    assert own.tested.tolist() == [True, True, False] + [True] * 5
    assert [z[3] for z in own.z] == [3.0, 3.1]
    np.testing.assert_array_equal(own.called[0][:3], [1, 0, np.nan])
    np.testing.assert_array_equal(own.called[1][:3], [np.nan, 1, np.nan])
    with pytest.raises(StatsError, match="different units"):
        calls_of(columns | {"skip_reason": pa.array([None] * 7, pa.string())}, sums, np.ones(8))


def test_every_pooling_stands_beside_its_concept_under_both_questions(found: Found) -> None:
    members = members_of([[k] if k != COLUMN else [] for k in range(8)])
    pooled = pooling_sensitivity(found.readings, members, found.own.tested, found.null, SETTINGS)
    agrees = agreement(pooled, found.own.called, found.own.z)
    known = np.array([k for k in range(8) if k not in (COLUMN, UNTESTED)])

    def effect(of: Effect, name: str, prefix: str, interval: str) -> dict[str, Vector]:
        return {
            f"{prefix}win_rate": of.win_rate[known], f"{interval}low": of.low[known],
            f"{interval}high": of.high[known], f"{name}z": of.z[known], f"{name}q": of.q[known],
            f"{name}call": of.call[known],
        }  # fmt: skip

    for k, one in enumerate(pooled):
        rows = rows_of(found.scrutiny.tables["poolings"], pooling=one.pooling)
        same(
            rows, concept=known.astype(float), agrees=agrees[k][known], n_discordant=one.n_discordant[known],
            **effect(one.taught, "taught_", "", "win_"), **effect(one.equal, "equal_", "equal_", "equal_"),
        )  # fmt: skip
    columns = {name: found.scrutiny.columns[name].to_pylist() for name in ("poolings", "poolings_agree")}
    for k in range(8):
        is_known = k in known
        assert columns["poolings"][k] == (np.isfinite(agrees[:, k]).sum() if is_known else None)
        assert columns["poolings_agree"][k] == ((agrees[:, k] == 1).sum() if is_known else None)


def test_what_only_this_concept_explains_is_shown_as_a_win_rate(found: Found) -> None:
    pairs = found.readings.pairs
    unique = unique_contribution(
        found.units, found.null, score_tests(found.units, found.null), found.own.tested, pairs.fold,
        halves=SETTINGS.halves,
    )  # fmt: skip
    rates = found.scrutiny.columns["unique_win_rate"].to_pylist()
    for k in range(8):
        expected = expit(unique.beta[k] * found.own.typical[k])
        assert rates[k] is None if np.isnan(expected) else rates[k] == pytest.approx(expected)
    assert rates[UNTESTED] is None
    assert found.scrutiny.columns["unique_selected"].to_pylist()[0] == unique.selected[0]
    assert found.scrutiny.facts["unique_halves"] == SETTINGS.halves


def test_side_effects_are_those_of_called_concepts_on_tested_ones(found: Found) -> None:
    called = np.array([0, 2])
    assert np.flatnonzero(found.own.any_call).tolist() == called.tolist()
    moved = side_effects(
        found.units, found.null.group, found.null.weight, found.own.any_call, found.own.tested
    )
    assert set(moved.unit) <= set(called)
    assert UNTESTED not in moved.moved
    same(
        rows_of(found.scrutiny.tables["side_effects"]), concept=moved.unit, moved=moved.moved,
        dropped=moved.dropped, before=moved.before, after=moved.after, change_low=moved.low,
        change_high=moved.high,
    )  # fmt: skip


def test_levels_push_what_they_push_and_stand_beside_what_is_left_without_them(found: Found) -> None:
    pairs, weight = found.readings.pairs, found.null.weight
    parts = decompose(found.units, pairs, weight, found.null.design, "source", SETTINGS)
    table = found.scrutiny.tables["levels"]
    push = np.zeros(8)
    assert len(parts.levels) == 3
    for rank, level in enumerate(parts.levels):
        rows = rows_of(table, facet="source", level=level.name)
        push += rows["push"]
        same(rows, concept=np.arange(8.0), rank=np.full(8, float(rank)), n_discordant=level.n_discordant)
        same(rows, n_pairs=np.full(8, float(level.n_pairs)), n_groups=np.full(8, float(level.n_groups)))
        for prefix, shown in (
            ("", level.taught),
            ("without_", level.without),
            ("equal_", level.equal_without),
        ):
            same(rows, **{f"{prefix}{n}": getattr(shown, n) for n in ("win_rate", "low", "high", "call")})
        inside = np.where(pairs.source == pairs.source_names.index(level.name), weight, 0.0)
        assert level.n_pairs == (inside > 0).sum()
        same(rows, win_rate=taught(unit_sums(found.units, pairs, inside)).win_rate)
        same(rows, without_win_rate=taught(unit_sums(found.units, pairs, weight - inside)).win_rate)
    dense = dense_of(found.units, 600)
    np.testing.assert_allclose(push, weight @ dense / weight.sum(), atol=1e-12)
    spread = rows_of(found.scrutiny.tables["spreads"], facet="source")
    same(
        spread, concept=np.arange(8.0), n_levels=parts.n_compared, mean_win_rate=parts.mean,
        mean_low=parts.mean_low, mean_high=parts.mean_high, tau=parts.tau, i2=parts.i2,
    )  # fmt: skip
    assert found.scrutiny.facts["levels_left_out"] == {"source": 0, "model": 0}
