"""When a cell is called: q over cells, and a difference of win rates that clears the floor."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from engine.settings import StatsSettings
from engine.stats.calls import q_values
from engine.stats.cells import Cells, CellTests
from engine.stats.effect import Effects
from engine.stats.taught import two_sided

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Differs:
    """Per cell; NaN where untested. All (B,)."""

    z: Vector
    p: Vector
    q: Vector
    call: Vector
    """1 called, 0 not called"""


def differs(cells: Cells, tests: CellTests, effects: Effects, settings: StatsSettings) -> Differs:
    """Calls of the *differs* test.

    The floor is on the change of the win rate at equal length from β everywhere to β + θ, taken at the end of
    θ's 95% interval that is nearer to no difference.
    """
    p = two_sided(tests.differs_z)
    q = q_values(p, np.isfinite(tests.differs_z))
    near = tests.theta - np.sign(tests.theta) * 1.96 * tests.theta_se
    beta, typical = effects.beta[cells.concept], effects.typical[cells.concept]
    shift = expit((beta + near) * typical) - expit(beta * typical)
    clears = (np.sign(near) == np.sign(tests.theta)) & (np.abs(shift) >= settings.effect_floor)
    call = np.where(np.isfinite(q), ((q <= settings.q) & clears).astype(np.float64), np.nan)
    return Differs(tests.differs_z, p, q, call)
