"""The columns of schema.ESTIMATES for any list of units: concepts, latents or cells."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.settings import StatsSettings
from engine.stats.calls import badges, calls, lean, min_effects, q_values, skip_reasons, threshold
from engine.stats.sums import Sums
from engine.stats.taught import Taught, two_sided

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EqualLength:
    """What *taught at equal length* says of each unit; NaN where undefined. All (M,)."""

    z: Vector
    win_rate: Vector
    low: Vector
    high: Vector
    linear_z: Vector


def testable(sums: Sums, settings: StatsSettings) -> NDArray[np.bool_]:
    """(M,) units with enough discordant prompt groups: a label-blind choice."""
    return sums.n_discordant_groups >= settings.min_discordant


def estimate_columns(
    sums: Sums,
    taught: Taught,
    equal: EqualLength,
    totals: tuple[Vector, Vector, Vector],
    settings: StatsSettings,
) -> dict[str, Any]:
    """Columns of schema.ESTIMATES for one family.

    Args:
        sums: counts and sums of each unit.
        taught: total effect.
        equal: effect at equal length.
        totals: labelled pairs, their prompt groups and their summed weight, per unit (its context's).
        settings: levels and floors.
    """
    n_pairs, n_groups, total_weight = totals
    tested = testable(sums, settings)
    first = _tested(tested, taught.z, (taught.win_low, taught.win_high), settings)
    second = _tested(tested, equal.z, (equal.low, equal.high), settings)
    with np.errstate(invalid="ignore"):
        same_half = _apart(taught.half_a) * _apart(taught.half_b)
    stable = np.where(np.isfinite(same_half), (same_half > 0).astype(np.float64), np.nan)
    numbers = {
        "prevalence": _ratio(sums.n_carry, n_pairs),
        "mean_u": _ratio(sums.wu, total_weight),
        "win_rate": taught.win_rate,
        "win_low": taught.win_low,
        "win_high": taught.win_high,
        "taught_z": first.z,
        "taught_p": first.p,
        "taught_q": first.q,
        "equal_win_rate": equal.win_rate,
        "equal_low": equal.low,
        "equal_high": equal.high,
        "equal_z": second.z,
        "equal_p": second.p,
        "equal_q": second.q,
        "linear_z": _where(tested, equal.linear_z),
        "half_a": taught.half_a,
        "half_b": taught.half_b,
        "min_effect": min_effects(sums.n_discordant_groups, threshold(first.q, settings.q)),
    }
    flags = {"taught_call": first.call, "equal_call": second.call, "is_stable": stable}
    return (
        _counts(sums, n_pairs, n_groups)
        | {name: nullable(v) for name, v in numbers.items()}
        | {name: nullable_flag(v) for name, v in flags.items()}
        | _words(sums, tested, first, second, settings)
    )


def _apart(rate: Vector) -> Vector:
    """How far a win rate is from one half: 0 where only the rounding of weights keeps it from there."""
    apart = rate - 0.5
    return np.where(np.abs(apart) < 1e-12, 0.0, apart)


@dataclass(frozen=True, slots=True)
class _Tested:
    """One question's test; NaN where untested. All (M,)."""

    z: Vector
    p: Vector
    q: Vector
    call: Vector
    lean: Vector


def _tested(
    tested: NDArray[np.bool_], z: Vector, interval: tuple[Vector, Vector], settings: StatsSettings
) -> _Tested:
    z = _where(tested, z)
    p = two_sided(z)
    q = q_values(p, tested)
    return _Tested(z, p, q, calls(q, z, *interval, settings), lean(*interval, settings.effect_floor))


def _words(
    sums: Sums, tested: NDArray[np.bool_], first: _Tested, second: _Tested, settings: StatsSettings
) -> dict[str, Any]:
    badge = badges(tested, (first.call, first.z, first.lean), (second.call, second.z, second.lean))
    reason = skip_reasons(sums.n_carry, sums.n_discordant, sums.n_discordant_groups, settings.min_discordant)
    return {"badge": pa.array(badge, pa.string()), "skip_reason": pa.array(reason, pa.string())}


def _counts(sums: Sums, n_pairs: Vector, n_groups: Vector) -> dict[str, Any]:
    counts = {
        "n_pairs": n_pairs,
        "n_groups": n_groups,
        "n_carry": sums.n_carry,
        "n_discordant": sums.n_discordant,
        "n_plus": sums.n_plus,
        "n_discordant_groups": sums.n_discordant_groups,
    }
    return {name: pa.array(values.astype(np.uint32)) for name, values in counts.items()}


def nullable(values: Vector) -> pa.Array:
    """Doubles with NULL for whatever is not finite."""
    return pa.array(values, pa.float64(), mask=~np.isfinite(values))


def nullable_flag(values: Vector) -> pa.Array:
    """Booleans from 1, 0 and NaN (NULL)."""
    return pa.array(values == 1, pa.bool_(), mask=~np.isfinite(values))


def _where(tested: NDArray[np.bool_], values: Vector) -> Vector:
    return np.where(tested, values, np.nan)


def _ratio(a: Vector, b: Vector) -> Vector:
    out: Vector = np.full(len(a), np.nan)
    np.divide(a, b, out=out, where=b > 0)
    return out
