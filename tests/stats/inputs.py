"""Statistics' inputs from synthetic readings: latents as units, a few contexts, no clustering."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from engine.arrays import Disparity, PairArrays, PairSets, Readings
from engine.manifest import hash_json
from engine.stats.run import StatsInput
from tests.worlds import make_readings

Vector = NDArray[np.float64]


def disparity_of(dense: NDArray[np.generic], carries: NDArray[np.bool_] | None = None) -> Disparity:
    """Disparity from a dense (P, M) array of u; rows where u ≠ 0 unless ``carries`` says more."""
    shown = (np.asarray(dense) != 0) if carries is None else carries
    unit, pair = np.nonzero(shown.T)
    indptr = np.searchsorted(unit, np.arange(dense.shape[1] + 1)).astype(np.int64)
    return Disparity(indptr, pair.astype(np.uint32), np.asarray(dense)[pair, unit].astype(np.float32))


def dense_of(disparity: Disparity, n_pairs: int) -> Vector:
    """(P, M) dense u."""
    out = np.zeros((n_pairs, disparity.n_units))
    for m in range(disparity.n_units):
        rows = slice(int(disparity.indptr[m]), int(disparity.indptr[m + 1]))
        out[disparity.pair[rows], m] = disparity.u[rows]
    return out


def latents_of(readings: Readings) -> Disparity:
    """Disparity of every latent of synthetic readings at τ = 0."""
    by_latent = readings.by_latent
    u = (by_latent.chosen.n_fired > 0).astype(np.float32) - (by_latent.rejected.n_fired > 0)
    return Disparity(by_latent.indptr, by_latent.pair, u.astype(np.float32))


def thirds(n_pairs: int) -> PairSets:
    """Three disjoint contexts that hold every pair."""
    members = [np.arange(k, n_pairs, 3) for k in range(3)]
    sizes = [len(m) for m in members]
    return PairSets(
        tuple(hash_json(["third", k]) for k in range(3)),
        ("topic",) * 3,
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate(members).astype(np.uint32),
    )


def units_of(readings: Readings, concepts: Disparity | None = None) -> StatsInput:
    """Latents twice: as concepts and as latents."""
    own = latents_of(readings)
    chosen = own if concepts is None else concepts
    return StatsInput(
        chosen,
        [hash_json(["unit", m]) for m in range(chosen.n_units)],
        own,
        np.full(own.n_units, -1, np.int32),
        np.zeros(own.n_units, np.int64),
        thirds(readings.n_pairs),
    )


def with_pairs(readings: Readings, **changes: object) -> Readings:
    """The same readings with some per-pair arrays replaced."""
    pairs: PairArrays = dataclasses.replace(readings.pairs, **changes)  # type: ignore[arg-type] # by field
    return dataclasses.replace(readings, pairs=pairs)


def met_by_all(opponents: int, prompts: int) -> Readings:
    """One model against every opponent on every prompt; pair i meets opponent i mod ``opponents``."""
    n = opponents * prompts
    return with_pairs(
        make_readings(n, 1), group=(np.arange(n) // opponents).astype(np.int32),
        is_signed=np.ones(n, np.bool_), model_chosen=np.zeros(n, np.int32),
        model_rejected=(1 + np.arange(n) % opponents).astype(np.int32),
        model_names=tuple(f"m{k}" for k in range(opponents + 1)),
    )  # fmt: skip


def halves(member: NDArray[np.bool_]) -> PairSets:
    """Two contexts: the members and the others."""
    sets = [np.flatnonzero(member), np.flatnonzero(~member)]
    indptr = np.cumsum([0, *map(len, sets)]).astype(np.int64)
    return PairSets(("a", "b"), ("source",) * 2, indptr, np.concatenate(sets).astype(np.uint32))
