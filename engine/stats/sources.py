"""Every unit decomposed by source, model or annotator, and what is left of it when one of them is left out.

This is how people edit a mix. Per level the total effect (*taught*) with its clustered interval; over levels
the random-effects mean of the log odds (DerSimonian–Laird) and I², the share of the spread between levels
that is not noise. A high I² says that the concept is taught by some levels and not, or against, by others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from engine.arrays import Disparity, PairArrays
from engine.errors import StatsError
from engine.stats.design import Design
from engine.stats.effect import fit_effects, win_rates
from engine.stats.null import fit_null
from engine.stats.sums import Sums, unit_sums
from engine.stats.taught import effective_discordant, safe_ratio, taught

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

FACETS = ("source", "model", "annotator")


@dataclass(frozen=True, slots=True)
class Decomposition:
    """K levels × M units; NaN where undefined. Counts and rates are of labelled pairs."""

    facet: str
    levels: tuple[str, ...]
    n_pairs: Vector  # (K,) pairs of the level; a pair counts for both its models
    n_discordant: Matrix  # (K, M)
    win_rate: Matrix  # (K, M)
    win_low: Matrix
    win_high: Matrix
    without: Matrix  # (K, M) win rate of all other pairs
    equal_without: Matrix  # (K, M) win rate at equal length of all other pairs, null model refitted
    mean: Vector  # (M,) random-effects mean win rate over levels
    mean_low: Vector
    mean_high: Vector
    tau: Vector  # (M,) standard deviation of the log odds between levels
    i2: Vector  # (M,) 0–1


def decompose(
    disparity: Disparity, pairs: PairArrays, weight: Vector, design: Design, facet: str
) -> Decomposition:
    """Per-level effects and leave-one-level-out.

    Args:
        disparity: u of every unit.
        pairs: sources, models, annotators.
        weight: (P,) 0 for unlabelled pairs.
        design: the null model's columns, refitted without each level.
        facet: one of ``FACETS``. A pair belongs to the levels of both models that wrote it.

    Raises:
        StatsError: an unknown facet, or one that these pairs say nothing about.
    """
    inside = _members(pairs, facet)
    kept = [(name, member) for name, member in inside if (weight[member] > 0).any()]
    if not kept:
        raise StatsError(f"no labelled pair has a known {facet}")
    by_level = [unit_sums(disparity, pairs, np.where(member, weight, 0.0)) for _, member in kept]
    rates = [taught(s) for s in by_level]
    without, equal_without = [], []
    for _, member in kept:
        rest = np.where(member, 0.0, weight)
        others = unit_sums(disparity, pairs, rest)
        without.append(safe_ratio(others.y, others.n))
        equal_without.append(_equal(disparity, others, design, pairs, rest))
    log_odds, variance = _log_odds(by_level)
    mean, se, tau, i2 = random_effects(log_odds, variance)
    return Decomposition(
        facet,
        tuple(name for name, _ in kept),
        np.array([float((weight[member] > 0).sum()) for _, member in kept]),
        np.stack([s.n_discordant for s in by_level]),
        np.stack([r.win_rate for r in rates]),
        np.stack([r.win_low for r in rates]),
        np.stack([r.win_high for r in rates]),
        np.stack(without),
        np.stack(equal_without),
        expit(mean),
        expit(mean - 1.96 * se),
        expit(mean + 1.96 * se),
        tau,
        i2,
    )


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


def _equal(disparity: Disparity, sums: Sums, design: Design, pairs: PairArrays, weight: Vector) -> Vector:
    null = fit_null(design, pairs.group, weight)
    wanted = (sums.n_discordant_groups >= 2) & (not null.separates)
    return win_rates(fit_effects(disparity, null, sums, wanted), sums)[0]


def _log_odds(by_level: Sequence[Sums]) -> tuple[Matrix, Matrix]:
    """(K, M) log odds with half a win and half a loss added, and their clustered variances."""
    values, variances = [], []
    for sums in by_level:
        rate = safe_ratio(sums.y, sums.n)
        n_eff = effective_discordant(sums, rate)
        shrunk = (rate * n_eff + 0.5) / (n_eff + 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            values.append(np.log(shrunk / (1 - shrunk)))
            variances.append(1 / ((n_eff + 1) * shrunk * (1 - shrunk)))
    return np.stack(values), np.stack(variances)


def random_effects(value: Matrix, variance: Matrix) -> tuple[Vector, Vector, Vector, Vector]:
    """DerSimonian–Laird over the first axis; NaN entries are left out.

    Returns:
        mean, its standard error, τ and I², all (M,); τ and I² are NaN with fewer than two levels.
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
    se = np.sqrt(safe_ratio(np.ones(len(mean)), pooled.sum(axis=0)))
    i2 = np.where(q > 0, np.maximum(q - freedom, 0) / np.where(q > 0, q, 1.0), 0.0)
    several = count >= 2
    return mean, se, np.where(several, np.sqrt(tau2), np.nan), np.where(several, i2, np.nan)
