"""The multipliers of matching as a function of a pair: solved on some pairs, evaluated on others.

    w(pair) = min(u, q·exp(λᵀ a(pair)))

a holds the pair's matched statistics (in the standard deviations, and beyond the length slopes, of the pairs
that λ was solved on), one indicator per stratum, and the held concepts. Nothing of a pair's label beyond its
own readings enters, so pairs that λ has never seen get weights, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.compiler.match_targets import Bools, Held, TargetRow
from engine.compiler.matching import balance
from engine.compiler.population import Floats
from engine.errors import CompileError


@dataclass(frozen=True, slots=True)
class Half:
    """The pairs of one half that matching touches, and their rows of the linear system."""

    at: NDArray[np.int64]  # (n,) places among the input pairs
    features: Floats  # (k, n) targets, then one indicator per stratum
    n_targets: int
    held: Floats  # (h, n) u of held concepts
    base: Floats  # (n,) weight before matching
    group: NDArray[np.int64]  # (n,) group number, from 0 without gaps
    n_groups: int


def two_halves(
    solved: Sequence[TargetRow],
    measured: Sequence[TargetRow],
    held: Sequence[Held],
    base: Floats,
    group: NDArray[np.int64],
) -> tuple[Half, Half]:
    """One linear system over both halves.

    Args:
        solved: targets of the half that is solved on; their values cover every input pair.
        measured: targets of the other half, whose selections are taken.
        held: concepts whose mean must not move.
        base: weight of every input pair before matching, (N,).
        group: prompt group of every input pair, (N,).

    Raises:
        CompileError: the other half has no pair that a statement selects.
    """
    places = {(r.statement, r.statistic, r.stratum): r.inside for r in measured}
    nowhere = np.zeros(len(base), bool)
    inside = [(r.inside, places.get((r.statement, r.statistic, r.stratum), nowhere)) for r in solved]
    strata: dict[bytes, tuple[Bools, Bools]] = {}
    for here, there in inside:
        strata.setdefault(here.tobytes(), (here, there))
    halves = []
    for side in (0, 1):
        touched: Bools = np.logical_or.reduce([pair[side] for pair in inside])
        if not touched.any():
            raise CompileError("half of the groups has no pair to match", hint="widen the selection")
        at = np.nonzero(touched)[0]
        targets = [
            np.where(pair[side], r.value - r.target, 0.0)[at] for r, pair in zip(solved, inside, strict=True)
        ]
        masses = [pair[side][at].astype(np.float64) for pair in strata.values()]
        codes = np.unique(group[at], return_inverse=True)[1]
        halves.append(
            Half(
                at,
                np.stack([*targets, *masses]),
                len(targets),
                np.stack([h.value[at] for h in held]) if held else np.zeros((0, len(at))),
                base[at],
                codes,
                int(codes.max()) + 1,
            )
        )
    return halves[0], halves[1]


def multipliers(
    half: Half, upper: float, drawn: NDArray[np.int64] | None = None, start: Floats | None = None
) -> Floats | None:
    """λ, (k + h,); None when no weights up to ``upper`` meet the targets.

    Args:
        half: pairs to solve on.
        upper: largest weight.
        drawn: columns to solve on, repeated ones counting twice; all once by default.
        start: multipliers of the columns as they are, which those of a draw are near to.
    """
    chosen = np.arange(len(half.at)) if drawn is None else drawn
    rows = np.concatenate([half.features, half.held])[:, chosen]
    q = half.base[chosen]
    wanted = rows @ q  # masses and held means stay what they are
    wanted[: half.n_targets] = 0.0  # a target's row is its distance from the goal
    found = balance(rows, wanted, q, upper, start)
    return found.multiplier if found.converged else None


def weights(half: Half, multiplier: Floats, upper: float) -> Floats:
    """Weights of a half, (n,)."""
    exponent = np.concatenate([half.features, half.held]).T @ multiplier
    return np.asarray(np.minimum(upper, half.base * np.exp(np.clip(exponent, -50, 50))), np.float64)
