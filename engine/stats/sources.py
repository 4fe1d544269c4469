"""Every unit decomposed by source, model or annotator, and what is left of it when one of them is left out.

This is how people edit a mix. Per level the total effect (*taught*) with its clustered interval and what the
level adds to the mean u; without the level both effects with their calls, the null model refitted; over
levels the random-effects mean of the log odds (DerSimonian–Laird) and I², the share of the spread between
levels that is not noise. A high I² says that the concept is taught by some levels and not, or against, by
others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from engine.arrays import Disparity, PairArrays
from engine.errors import StatsError
from engine.settings import StatsSettings
from engine.stats.calls import calls, q_values
from engine.stats.design import Design
from engine.stats.effect import fit_effects, win_rates
from engine.stats.null import fit_null
from engine.stats.score import score_tests
from engine.stats.sums import Sums, unit_sums
from engine.stats.taught import effective_discordant, safe_ratio, student, taught, two_sided

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

FACETS = ("source", "model", "annotator")
MAX_LEVELS = 24
"""Largest levels that are shown of each facet; each costs two passes over the rows and a null model."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One effect of every unit on some pairs; NaN where undefined or untested. All (M,)."""

    win_rate: Vector
    low: Vector
    high: Vector
    call: Vector
    """1 called, 0 not called."""


@dataclass(frozen=True, slots=True)
class Level:
    """One source, model or annotator. M units."""

    name: str
    n_pairs: int
    """Labelled pairs of the level; a pair counts for both its models."""
    n_groups: int
    n_discordant: Vector  # (M,)
    push: Vector
    """(M,) Σ w·u over the level / Σ w over all pairs: over sources, this adds up to the mean u."""
    taught: Shown
    without: Shown
    """Taught by all other pairs."""
    equal_without: Shown
    """At equal length by all other pairs, null model refitted."""


@dataclass(frozen=True, slots=True)
class Decomposition:
    """All levels of a facet, and how they agree; NaN where undefined. Vectors are (M,)."""

    facet: str
    levels: tuple[Level, ...]
    """Largest first."""
    n_left_out: int
    """Levels with too few prompt groups to test anything, or beyond the largest ``MAX_LEVELS``."""
    n_compared: NDArray[np.int64]
    """(M,) levels in which the unit has an effect, which the following are about."""
    mean: Vector
    """Random-effects mean win rate over levels, with the interval for levels like these …"""
    mean_low: Vector
    mean_high: Vector
    tau: Vector
    """… and the standard deviation of the log odds between levels."""
    i2: Vector  # 0–1


def decompose(
    disparity: Disparity,
    pairs: PairArrays,
    weight: Vector,
    design: Design,
    facet: str,
    settings: StatsSettings,
) -> Decomposition:
    """Per-level effects and leave-one-level-out.

    Args:
        disparity: u of every unit.
        pairs: sources, models, annotators.
        weight: (P,) 0 for unlabelled pairs.
        design: the null model's columns, refitted without each level.
        facet: one of ``FACETS``. A pair belongs to the levels of both models that wrote it.
        settings: levels and floors of a call; families are the units of one level, or of its complement.

    Raises:
        StatsError: an unknown facet, or one that these pairs say nothing about.
    """
    members = _members(pairs, facet)
    sizes = [(_n_groups(pairs, weight, member), name, member) for name, member in members]
    if not any(n for n, _, _ in sizes):
        raise StatsError(f"no labelled pair has a known {facet}")
    kept = sorted((s for s in sizes if s[0] >= settings.min_discordant), key=lambda s: (-s[0], s[1]))
    levels, sums = [], []
    for n, name, member in kept[:MAX_LEVELS]:
        own = unit_sums(disparity, pairs, np.where(member, weight, 0.0))
        rest = np.where(member, 0.0, weight)
        others = unit_sums(disparity, pairs, rest)
        sums.append(own)
        levels.append(
            Level(
                name,
                int((weight[member] > 0).sum()),
                n,
                own.n_discordant,
                own.wu / weight.sum(),
                _taught(own, settings),
                _taught(others, settings),
                _equal(disparity, others, design, pairs, rest, settings),
            )
        )
    log_odds, variance = _log_odds(sums, disparity.n_units)
    known = [member for _, _, member in kept[:MAX_LEVELS]]
    mean, half, tau, i2 = random_effects(log_odds, variance * _overlap(known, weight))
    n_compared = (np.isfinite(log_odds) & np.isfinite(variance) & (variance > 0)).sum(axis=0)
    return Decomposition(
        facet, tuple(levels), sum(1 for n, _, _ in sizes if n) - len(levels), n_compared, expit(mean),
        expit(mean - half), expit(mean + half), tau, i2,
    )  # fmt: skip


def _overlap(levels: Sequence[NDArray[np.bool_]], weight: Vector) -> float:
    """How many levels a pair counts for on average, which widens every level's variance.

    A pair of two models is evidence of both; counted twice it would be evidence of more than it is.
    """
    counts = np.sum(levels, axis=0, dtype=np.float64) if levels else np.zeros(len(weight))
    distinct = float(weight[counts > 0].sum())
    return float(weight @ counts) / distinct if distinct > 0 else 1.0


def _n_groups(pairs: PairArrays, weight: Vector, member: NDArray[np.bool_]) -> int:
    return len(np.unique(pairs.group[member & (weight > 0)]))


def _taught(sums: Sums, settings: StatsSettings) -> Shown:
    effect = taught(sums)
    q = q_values(effect.p, sums.n_discordant_groups >= settings.min_discordant)
    call = calls(q, effect.z, effect.win_low, effect.win_high, settings)
    return Shown(effect.win_rate, effect.win_low, effect.win_high, call)


def _members(pairs: PairArrays, facet: str) -> Sequence[tuple[str, NDArray[np.bool_]]]:
    if facet == "source":
        return [(name, pairs.source == k) for k, name in enumerate(pairs.source_names)]
    if facet == "annotator":
        return [(name, pairs.annotator == k) for k, name in enumerate(pairs.annotator_names)]
    if facet == "model":
        return [
            (name, (pairs.model_chosen == k) | (pairs.model_rejected == k))
            for k, name in enumerate(pairs.model_names)
        ]
    raise StatsError(f"there is no facet `{facet}`", hint="known: " + ", ".join(FACETS))


def _equal(
    disparity: Disparity,
    sums: Sums,
    design: Design,
    pairs: PairArrays,
    weight: Vector,
    settings: StatsSettings,
) -> Shown:
    null = fit_null(design, pairs.group, weight)
    z = score_tests(disparity, null).z
    tested = sums.n_discordant_groups >= settings.min_discordant
    rate, low, high = win_rates(fit_effects(disparity, null, sums, tested & np.isfinite(z)), sums)
    return Shown(rate, low, high, calls(q_values(two_sided(z), tested), z, low, high, settings))


def _log_odds(by_level: Sequence[Sums], n_units: int) -> tuple[Matrix, Matrix]:
    """(K, M) log odds with half a win and half a loss added, and their clustered variances."""
    values, variances = [np.zeros((0, n_units))], [np.zeros((0, n_units))]
    for sums in by_level:
        rate = safe_ratio(sums.y, sums.n)
        n_eff = effective_discordant(sums, rate)
        shrunk = (rate * n_eff + 0.5) / (n_eff + 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            values.append(np.log(shrunk / (1 - shrunk))[None])
            variances.append((1 / ((n_eff + 1) * shrunk * (1 - shrunk)))[None])
    return np.concatenate(values), np.concatenate(variances)


def random_effects(value: Matrix, variance: Matrix) -> tuple[Vector, Vector, Vector, Vector]:
    """DerSimonian–Laird over the first axis; NaN entries are left out.

    Returns:
        mean, half the width of its 95% interval, τ and I², all (M,). The interval is Hartung and Knapp's with
        Student's t over levels, never narrower than with the usual error (Röver, Knapp & Friede 2015): with
        that one and the normal's quantile it is far too narrow with few levels. All but the mean are NaN with
        fewer than two levels.
    """
    known = np.isfinite(value) & np.isfinite(variance) & (variance > 0)
    count = known.sum(axis=0)
    inverse = np.where(known, 1 / np.where(known, variance, 1.0), 0.0)
    filled = np.where(known, value, 0.0)
    total = inverse.sum(axis=0)
    fixed = safe_ratio((inverse * filled).sum(axis=0), total)
    q = (inverse * (filled - np.where(count > 0, fixed, 0.0)) ** 2).sum(axis=0)
    scale = total - safe_ratio((inverse**2).sum(axis=0), total)
    freedom = count - 1
    tau2 = np.where(scale > 0, np.maximum(q - freedom, 0) / np.where(scale > 0, scale, 1.0), 0.0)
    pooled = np.where(known, 1 / (np.where(known, variance, 1.0) + tau2), 0.0)
    mean = safe_ratio((pooled * filled).sum(axis=0), pooled.sum(axis=0))
    spread = (pooled * (filled - np.where(count > 0, mean, 0.0)) ** 2).sum(axis=0)
    scale_up = np.maximum(spread / np.maximum(freedom, 1), 1.0)
    half = student(count.astype(np.float64)) * np.sqrt(safe_ratio(scale_up, pooled.sum(axis=0)))
    i2 = np.where(q > 0, np.maximum(q - freedom, 0) / np.where(q > 0, q, 1.0), 0.0)
    several = count >= 2
    return mean, half, np.where(several, np.sqrt(tau2), np.nan), np.where(several, i2, np.nan)
