"""Concepts inside a context at equal length: each context as a world of its own.

The null model is held at its fit; beside it the context's own length slope is the one fitted column. Score
tests, converged effects and both clusterings are then those of *everywhere*, on the context's pairs alone.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from engine.arrays import Disparity
from engine.stats.cells import Cells, ContextIndex
from engine.stats.design import Design
from engine.stats.effect import Effects, fit_effects
from engine.stats.null import NullModel, null_at
from engine.stats.score import score_tests
from engine.stats.sums import Sums

Vector = NDArray[np.float64]

_LENGTH_VARIES = 1e-9
"""Information about length in a context below which it has no slope."""


@dataclass(frozen=True, slots=True)
class EqualInside:
    """Per cell; NaN where undefined."""

    z: Vector  # (B,)
    effects: Effects


def equal_inside(cells: Cells, null: NullModel, contexts: ContextIndex, sums: Sums) -> EqualInside:
    """Score tests and converged effects of all cells.

    Args:
        cells: the cells.
        null: the fitted null model; its weights say which pairs are labelled.
        contexts: their pairs and fitted length slopes.
        sums: of the cells' disparities.
    """
    sets, ratio = contexts.sets, contexts.ratio
    order = np.argsort(cells.context, kind="stable")
    first = np.searchsorted(cells.context[order], np.arange(sets.n_sets + 1))
    place = np.zeros(len(ratio), np.uint32)
    z, effects = [], []
    for k in range(sets.n_sets):
        own = order[first[k] : first[k + 1]]
        if len(own) == 0:
            continue
        members = sets.pair[sets.indptr[k] : sets.indptr[k + 1]]
        members = members[null.weight[members] > 0]
        place[members] = np.arange(len(members), dtype=np.uint32)
        inside = _inside(null, members, ratio[members], contexts, k)
        rows = _rows(cells.disparity, own, place)
        z.append(score_tests(rows, inside).z)
        effects.append(fit_effects(rows, inside, sums.take(own), np.isfinite(z[-1])))
    if not z:
        none = np.zeros(0)
        return EqualInside(none, Effects(none, none, none, none, np.zeros((0, 1)), none, none))
    back = np.argsort(order)
    names = [f.name for f in fields(Effects)]
    joined = (np.concatenate([getattr(part, name) for part in effects])[back] for name in names)
    return EqualInside(np.concatenate(z)[back], Effects(*joined))


def _inside(
    null: NullModel, members: NDArray[np.uint32], ratio: Vector, contexts: ContextIndex, k: int
) -> NullModel:
    """The null model of one context's labelled pairs; its only column is the log length ratio."""
    ratio = ratio if contexts.information[k] > _LENGTH_VARIES else np.zeros(len(ratio))
    second = null.design.second
    group = np.unique(null.group[members], return_inverse=True)[1].astype(np.int32)
    design = Design(("length in the context",), ratio[:, None], (), _renumbered(second, members))
    eta = null.eta[members] + contexts.slope[k] * ratio
    return null_at(design, contexts.slope[k : k + 1], eta, group, null.weight[members])


def _renumbered(second: NDArray[np.int32] | None, members: NDArray[np.uint32]) -> NDArray[np.int32] | None:
    """The second clustering of some pairs, its numbers without gaps; −1 stays."""
    if second is None:
        return None
    own = second[members]
    known = own >= 0
    own[known] = np.unique(own[known], return_inverse=True)[1]
    return own


def _rows(disparity: Disparity, units: NDArray[np.int64], place: NDArray[np.uint32]) -> Disparity:
    """Some units' rows, their pairs numbered by ``place``."""
    sizes = np.diff(disparity.indptr)[units]
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    at = np.repeat(disparity.indptr[units] - indptr[:-1], sizes) + np.arange(indptr[-1])
    return Disparity(indptr, place[disparity.pair[at]], disparity.u[at])
