"""From tests to calls: families, floors, badges, power.

A call needs q ≤ 0.05 inside its family **and** an interval that clears the effect floor, because at 270k
pairs everything differs from zero. Which units are tested depends on label-blind counts only.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from engine.records import Badge
from engine.settings import StatsSettings

Vector = NDArray[np.float64]

POWER = 0.8


def q_values(p: Vector, tested: NDArray[np.bool_]) -> Vector:
    """Benjamini–Hochberg q over the tested, finite p; NaN elsewhere."""
    out = np.full(len(p), np.nan)
    usable = tested & np.isfinite(p)
    if usable.any():
        out[usable] = stats.false_discovery_control(p[usable])
    return out


def clears_floor(low: Vector, high: Vector, floor: float) -> NDArray[np.bool_]:
    """True where the interval of a win rate lies beyond one half by at least ``floor`` on one side."""
    return (low >= 0.5 + floor) | (high <= 0.5 - floor)


def calls(q: Vector, z: Vector, low: Vector, high: Vector, settings: StatsSettings) -> Vector:
    """1 called, 0 not called, NaN untested. Test and interval must lean the same way."""
    same_way = np.where(z > 0, low > 0.5, high < 0.5)
    called = (q <= settings.q) & clears_floor(low, high, settings.effect_floor) & same_way
    return np.where(np.isfinite(q), called.astype(np.float64), np.nan)


def skip_reasons(
    n_carry: Vector, n_discordant: Vector, n_groups: Vector, min_groups: int
) -> list[str | None]:
    """Why a unit is not tested, None where it is. Counts are invariant under swapping sides."""
    reasons: list[str | None] = []
    for carry, discordant, groups in zip(n_carry, n_discordant, n_groups, strict=True):
        if carry == 0:
            reasons.append("no labelled pair carries it")
        elif discordant == 0:
            reasons.append("both sides always carry it alike")
        elif groups < min_groups:
            reasons.append(f"fewer than {min_groups} discordant prompt groups")
        else:
            reasons.append(None)
    return reasons


def lean(low: Vector, high: Vector, floor: float) -> Vector:
    """+1 where an interval of a win rate lies above one half and reaches beyond the floor, −1 likewise below.

    0 where it holds one half, and where all of it is nearer to one half than the floor: too small to matter.
    """
    above = (low > 0.5) & (high > 0.5 + floor)
    below = (high < 0.5) & (low < 0.5 - floor)
    return above.astype(np.float64) - below


def badges(
    tested: NDArray[np.bool_],
    taught: tuple[Vector, Vector, Vector],
    equal: tuple[Vector, Vector, Vector],
) -> list[str]:
    """Which of the two effects was called.

    Where both are called with opposite signs, length hides what is taught: *masked by length*. Where one is
    called and the other leans the same way (``lean``), nobody can say what length does: *length unclear*, for
    a missing call is not an absent effect. Where the test at equal length is undefined (the unit is itself a
    length), only the taught call counts.

    Args:
        tested: (M,) whether the unit was tested.
        taught: (M,) call, z and lean of the interval, total effect.
        equal: the same at equal length.
    """
    columns = (tested, *taught, *equal)
    return [_badge(*row).value for row in zip(*columns, strict=True)]


def _badge(
    is_tested: bool,
    taught_call: float,
    taught_z: float,
    taught_lean: float,
    equal_call: float,
    equal_z: float,
    equal_lean: float,
) -> Badge:
    is_taught, is_equal = taught_call == 1, equal_call == 1
    if not is_tested:
        return Badge.UNTESTED
    if is_taught and is_equal:
        return Badge.BOTH if taught_z * equal_z > 0 else Badge.MASKED_BY_LENGTH
    if is_taught:
        return Badge.LENGTH_UNCLEAR if taught_z * equal_lean > 0 else Badge.ONLY_WITH_LENGTH
    if is_equal:
        return Badge.LENGTH_UNCLEAR if equal_z * taught_lean > 0 else Badge.MASKED_BY_LENGTH
    return Badge.NEITHER


def min_effects(n_groups: Vector, threshold_p: float) -> Vector:
    """Smallest |win rate − 1/2| that this many discordant groups had 80% power to show at ``threshold_p``.

    Solves δ√n = z_α/2 + z_β √(1 − 4δ²)/2, groups counted as single observations; NaN where even a rate of 1
    would not reach it.
    """
    z_alpha, z_power = stats.norm.isf(threshold_p / 2), stats.norm.ppf(POWER)
    n = np.maximum(n_groups, 1e-9)
    # (δ√n − z_α/2)² = z_β²(1 − 4δ²)/4 is quadratic in δ; the larger root is the one above z_α/2.
    a, b = n + z_power**2, -z_alpha * np.sqrt(n)
    c = (z_alpha**2 - z_power**2) / 4
    root = (-b + np.sqrt(np.maximum(b**2 - 4 * a * c, 0))) / (2 * a)
    reachable = (root <= 0.5) & (root * np.sqrt(n) >= z_alpha / 2)
    return np.where((n_groups > 0) & reachable, root, np.nan)


def threshold(q: Vector, level: float) -> float:
    """The p that this family's Benjamini–Hochberg step asked for: level · max(1, rejections) / tests."""
    tested = np.isfinite(q)
    n = int(tested.sum())
    return level * max(1, int((q[tested] <= level).sum())) / n if n else level
