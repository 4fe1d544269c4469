"""Nulls whose effect differs between opponents, inside contexts: share called, over the nominal share.

    PROSECT_DRAWS=500 pytest -s -m benchmark tests/benchmarks/test_opponents.py

24 opponents, 200 prompts each; per draw one concept whose log odds of winning has a standard deviation of ½
over opponents and a mean of 0. *Crossed*: a context holds every other prompt, so every opponent is met inside
and outside. *Nested*: a context holds half of the opponents, as a source may.
"""

import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

from engine.arrays import PairSets
from engine.stats.cell_equal import equal_inside
from engine.stats.cell_models import Fitted, two_way_theta
from engine.stats.cells import cell_tests, index_contexts, restrict
from engine.stats.design import length_ratio, linear_design
from engine.stats.effect import fit_effects
from engine.stats.null import fit_null
from engine.stats.sums import unit_sums
from engine.stats.taught import two_sided
from engine.stats.two_way import cautious_z, model_clusters
from tests.stats.inputs import disparity_of, halves, met_by_all

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]
DRAWS = int(os.environ.get("PROSECT_DRAWS", "500"))
OPPONENTS, PROMPTS, SPREAD = 24, 200, 0.5
LEVELS = (0.05, 0.01, 0.001)
Vector = NDArray[np.float64]
N = OPPONENTS * PROMPTS
OPPONENT, GROUP = np.arange(N) % OPPONENTS, (np.arange(N) // OPPONENTS).astype(np.int32)
READINGS = met_by_all(OPPONENTS, PROMPTS)


def _draw(sets: PairSets, seed: int) -> dict[str, list[float]]:
    """Z of one draw in every way; the halves have nearly the same |z| of *differs*, so one is taken."""
    rng = np.random.default_rng(seed)
    wins = expit(rng.normal(0, SPREAD, OPPONENTS))[OPPONENT]
    units, pairs = disparity_of(np.where(rng.random(N) < wins, 1.0, -1.0)[:, None]), READINGS.pairs
    found: dict[str, list[float]] = {}
    for name, second in (("prompts", None), ("two-way", model_clusters(pairs))):
        null = fit_null(replace(linear_design(pairs), second=second), pairs.group, np.ones(N))
        index = index_contexts(sets, null, length_ratio(pairs))
        cells = restrict(units, index, null, 15)
        inside = equal_inside(cells, null, index, unit_sums(cells.disparity, pairs, null.weight))
        found[f"equal length inside, {name}"] = inside.z.tolist()
        effects = fit_effects(units, null, unit_sums(units, pairs, null.weight), np.ones(1, np.bool_))
        tests = cell_tests(cells, units, null, index, effects, 15)
        which = np.arange(len(cells.concept))
        variance, degrees = two_way_theta(cells, tests, which, Fitted(units, null, index, effects))
        found[f"differs, {name}"] = cautious_z(tests.differs_z, tests.theta, variance, degrees)[:1].tolist()
    return found


@pytest.mark.parametrize("kind", ["crossed", "nested"])
def test_shares_called(kind: str) -> None:
    sets = halves(GROUP % 2 == 0 if kind == "crossed" else OPPONENT < OPPONENTS // 2)
    every: dict[str, list[float]] = {}
    for seed in range(DRAWS):
        for name, z in _draw(sets, seed).items():
            every.setdefault(name, []).extend(z)
    for name, values in every.items():
        p: Vector = two_sided(np.array(values))
        shares = "  ".join(f"{(p <= level).mean() / level:6.1f}" for level in LEVELS)
        sys.stdout.write(f"{kind:8} {name:30} {len(p):5} z   {shares}\n")
        if name.endswith("two-way"):
            assert stats.binomtest(int((p <= 0.05).sum()), len(p), 0.05, "greater").pvalue > 0.001
    assert (two_sided(np.array(every["equal length inside, prompts"])) <= 0.05).mean() > 0.15
