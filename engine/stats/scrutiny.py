"""What is known of a concept beyond its estimates: does it survive pooling and the other concepts, what moves
with it, which part of the mix teaches it. One table each, and four columns beside the concept's own row.

Cost: a pooling costs two passes over the latents' rows; the unique contribution one product per pair and pair
of concepts that it carries; side effects one pass over the concepts' rows per called concept; a level of a
facet three such passes, a null model and the converged effects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import expit

from engine.arrays import Disparity, Readings
from engine.errors import StatsError
from engine.settings import StatsSettings
from engine.stats.collateral import side_effects
from engine.stats.null import NullModel
from engine.stats.rows import nullable, nullable_flag
from engine.stats.score import score_tests
from engine.stats.sensitivity import Effect, Members, agreement, pooling_sensitivity
from engine.stats.sources import FACETS, Decomposition, Level, Shown, decompose
from engine.stats.sums import Sums
from engine.stats.unique import MAX_CONCEPTS, unique_contribution

Vector = NDArray[np.float64]
Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Calls:
    """Presence's own answers for M concepts, beside which everything here is read; NaN where untested."""

    tested: NDArray[np.bool_]
    z: tuple[Vector, Vector]
    """Taught and at equal length."""
    called: tuple[Vector, Vector]
    typical: Vector
    """Mean |u| over discordant pairs."""

    @property
    def any_call(self) -> NDArray[np.bool_]:
        """(M,) called, taught or at equal length."""
        return np.asarray((self.called[0] == 1) | (self.called[1] == 1))


@dataclass(frozen=True, slots=True)
class Scrutiny:
    """Arrow tables of the index by name, columns of the concepts' own rows, and facts."""

    tables: dict[str, pa.Table]
    columns: dict[str, pa.Array]
    facts: dict[str, Any]


def calls_of(columns: dict[str, Any], sums: Sums, typical: Vector) -> Calls:
    """What ``rows.estimate_columns`` made of a family, as arrays again."""

    def numbers(name: str) -> Vector:
        return np.asarray(columns[name].cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)

    tested = np.array([reason is None for reason in columns["skip_reason"].to_pylist()], np.bool_)
    if len(tested) != len(sums.n):
        raise StatsError("columns and sums of different units")
    return Calls(
        tested,
        (numbers("taught_z"), numbers("equal_z")),
        (numbers("taught_call"), numbers("equal_call")),
        typical,
    )


def scrutinise(
    readings: Readings,
    concepts: Disparity,
    members: Members,
    null: NullModel,
    own: Calls,
    settings: StatsSettings,
) -> Scrutiny:
    """All of it.

    Args:
        readings: all readings.
        concepts: u of every concept.
        members: latents of every concept.
        null: the fitted null model.
        own: presence's answers.
        settings: levels, floors, halves.
    """
    poolings, columns = _poolings(readings, members, null, own, settings)
    unique = unique_contribution(
        concepts, null, score_tests(concepts, null), own.tested, readings.pairs.fold, halves=settings.halves
    )
    columns["unique_win_rate"] = nullable(expit(unique.beta * own.typical))
    columns["unique_selected"] = nullable(unique.selected)
    facets, left_out = _facets(readings, concepts, null, settings)
    return Scrutiny(
        {
            "poolings": poolings,
            "side_effects": _side_effects(concepts, null, own),
            "levels": _stacked(
                [_level(f.facet, k, level) for f in facets for k, level in enumerate(f.levels)]
            ),
            "spreads": _stacked([_spread(f) for f in facets]),
        },
        columns,
        {
            "unique_halves": settings.halves if own.tested.sum() <= MAX_CONCEPTS else 0,
            "levels_left_out": left_out,
        },
    )


def _poolings(
    readings: Readings, members: Members, null: NullModel, own: Calls, settings: StatsSettings
) -> tuple[pa.Table, dict[str, pa.Array]]:
    found = pooling_sensitivity(readings, members, own.tested, null, settings)
    agrees = agreement(found, own.called, own.z)
    known = own.tested & members.some
    tested = np.nonzero(known)[0]
    rows = [
        {
            "concept": tested.astype(np.uint32),
            "pooling": pa.array([pooled.pooling] * len(tested), pa.string()),
            "agrees": nullable_flag(agrees[k][tested]),
            "n_discordant": pooled.n_discordant[tested].astype(np.uint32),
        }
        | _effect("", pooled.taught, tested)
        | _effect("equal_", pooled.equal, tested)
        for k, pooled in enumerate(found)
    ]
    return _stacked(rows), {
        "poolings_agree": pa.array(np.nansum(agrees, axis=0).astype(np.uint8), mask=~known),
        "poolings": pa.array(np.isfinite(agrees).sum(axis=0).astype(np.uint8), mask=~known),
    }


def _effect(prefix: str, effect: Effect, at: NDArray[np.int64]) -> Table:
    low, high = ("win_low", "win_high") if not prefix else ("equal_low", "equal_high")
    name = prefix or "taught_"
    return {
        f"{prefix}win_rate": nullable(effect.win_rate[at]),
        low: nullable(effect.low[at]),
        high: nullable(effect.high[at]),
        f"{name}z": nullable(effect.z[at]),
        f"{name}q": nullable(effect.q[at]),
        f"{name}call": nullable_flag(effect.call[at]),
    }


def _side_effects(concepts: Disparity, null: NullModel, own: Calls) -> pa.Table:
    found = side_effects(concepts, null.group, null.weight, own.any_call, own.tested)
    return pa.table(
        {
            "concept": found.unit.astype(np.uint32),
            "moved": found.moved.astype(np.uint32),
            "dropped": found.dropped,
            "before": found.before,
            "after": found.after,
            "change_low": found.low,
            "change_high": found.high,
        }
    )


def _facets(
    readings: Readings, concepts: Disparity, null: NullModel, settings: StatsSettings
) -> tuple[list[Decomposition], dict[str, int]]:
    """Facets with at least two levels that can be tested; and how many levels of each are left out."""
    found: list[Decomposition] = []
    left_out: dict[str, int] = {}
    for facet in FACETS:
        if len(getattr(readings.pairs, f"{facet}_names")) < 2:
            continue
        try:
            parts = decompose(concepts, readings.pairs, null.weight, null.design, facet, settings)
        except StatsError:  # no labelled pair has one
            continue
        left_out[facet] = parts.n_left_out
        if len(parts.levels) > 1:
            found.append(parts)
    return found, left_out


def _level(facet: str, number: int, level: Level) -> Table:
    n = len(level.push)
    return {
        "facet": pa.array([facet] * n, pa.string()),
        "level": pa.array([level.name] * n, pa.string()),
        "rank": np.full(n, number, np.uint16),
        "concept": np.arange(n, dtype=np.uint32),
        "n_pairs": np.full(n, level.n_pairs, np.uint32),
        "n_groups": np.full(n, level.n_groups, np.uint32),
        "n_discordant": level.n_discordant.astype(np.uint32),
        "push": nullable(level.push),
    } | {
        name: column
        for prefix, shown in (
            ("", level.taught),
            ("without_", level.without),
            ("equal_", level.equal_without),
        )
        for name, column in _shown(prefix, shown).items()
    }


def _shown(prefix: str, shown: Shown) -> Table:
    return {
        f"{prefix}win_rate": nullable(shown.win_rate),
        f"{prefix}low": nullable(shown.low),
        f"{prefix}high": nullable(shown.high),
        f"{prefix}call": nullable_flag(shown.call),
    }


def _spread(parts: Decomposition) -> Table:
    n = len(parts.mean)
    return {
        "facet": pa.array([parts.facet] * n, pa.string()),
        "concept": np.arange(n, dtype=np.uint32),
        "n_levels": parts.n_compared.astype(np.uint16),
        "mean_win_rate": nullable(parts.mean),
        "mean_low": nullable(parts.mean_low),
        "mean_high": nullable(parts.mean_high),
        "tau": nullable(parts.tau),
        "i2": nullable(parts.i2),
    }


def _stacked(parts: Sequence[Table]) -> pa.Table:
    """Parts below each other; an empty table without columns where there are none."""
    return pa.concat_tables([pa.table(part) for part in parts]) if parts else pa.table({})
