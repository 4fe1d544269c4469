"""When a cell is called: q over cells, and a difference of win rates that clears the floor.

Cells with too few groups to pass the correction even if every one of them leant the same way are left out of
it (after Tarone 1990): n group sums inside have |z| ≤ √n. That takes the rest of the data as known; with it
|z| can reach √n (1 + r)/√(1 + r³), r the groups inside over those outside, so in large contexts a few cells
are left out that might have passed. Only counts that hold under every labelling decide, so the false
discovery rate is untouched.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from engine.settings import StatsSettings
from engine.stats.calls import q_values
from engine.stats.cell_models import Fitted, two_way_theta
from engine.stats.cells import Cells, CellTests
from engine.stats.taught import student, two_sided
from engine.stats.two_way import cautious_z, wider

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Differs:
    """Per cell; NaN where untested. All (B,)."""

    z: Vector
    p: Vector
    q: Vector
    call: Vector
    """1 called, 0 not called"""


def could_pass(n_groups: Vector, level: float) -> NDArray[np.bool_]:
    """(B,) cells with enough discordant groups to pass Bonferroni over all cells with as many or more.

    The smallest n with ``2 Φ(−√n) ≤ level / #{cells with n groups or more}``; none where no n does.
    """
    counts, cells = np.unique(np.asarray(n_groups, np.int64), return_counts=True)
    as_many = np.cumsum(cells[::-1])[::-1]
    enough = two_sided(np.sqrt(counts.astype(np.float64))) <= level / as_many
    return n_groups >= counts[enough].min() if enough.any() else np.zeros(len(n_groups), np.bool_)


def differs(cells: Cells, tests: CellTests, fitted: Fitted, settings: StatsSettings) -> Differs:
    """Calls of the *differs* test.

    Args:
        cells: concepts inside contexts.
        tests: their z, θ and its error.
        fitted: what they were tested with.
        settings: level and floor.

    The floor is on the change of the win rate at equal length from β everywhere to β + θ, taken at the end of
    θ's 95% interval that is nearer to no difference (Student's t over the groups of the smaller side). Cells
    that pass by prompt group must pass in the second clustering too (``cell_models``).
    """
    z, half_width = tests.differs_z.copy(), student(tests.groups) * tests.theta_se
    tested = np.isfinite(z) & could_pass(cells.inside_groups, settings.q)
    passing = np.flatnonzero(q_values(two_sided(z), tested) <= settings.q)
    variance, degrees = two_way_theta(cells, tests, passing, fitted)
    z[passing] = cautious_z(z[passing], tests.theta[passing], variance, degrees)
    half_width[passing] = wider(half_width[passing], variance, degrees)
    p = two_sided(z)
    q = q_values(p, tested)
    near = tests.theta - np.sign(tests.theta) * half_width
    effects = fitted.everywhere
    beta, typical = effects.beta[cells.concept], effects.typical[cells.concept]
    shift = expit((beta + near) * typical) - expit(beta * typical)
    clears = (np.sign(near) == np.sign(tests.theta)) & (np.abs(shift) >= settings.effect_floor)
    call = np.where(np.isfinite(q), ((q <= settings.q) & clears).astype(np.float64), np.nan)
    return Differs(z, p, q, call)
