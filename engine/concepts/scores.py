"""Scores of latent concepts on pairs: one pass over the readings, pair by pair.

Every latent belongs to at most one concept, so a pair's concepts are found by walking its latents once.
Firing means ``n_fired / tokens > τ`` everywhere here (paper.md §1.3: τ = 0.01).
"""

from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from engine.arrays import Disparity, Readings


@dataclass(frozen=True, slots=True)
class ConceptScores:
    """CSC of scores: rows of concept m are ``indptr[m]:indptr[m+1]``, pairs ascending; absent rows: 0."""

    indptr: NDArray[np.int64]  # (M+1,)
    pair: NDArray[np.uint32]  # (N,)
    chosen: NDArray[np.float32]  # (N,) largest act_max of the members, or the column's value
    rejected: NDArray[np.float32]  # (N,)
    prompt: NDArray[np.float32]  # (N,)
    u: NDArray[np.float32]  # (N,) disparity, chosen − rejected
    activity: NDArray[np.float32]  # (N,) Σ over members of fire rates on both responses: swap-invariant
    chosen_fires: NDArray[np.bool_]  # (N,) any member above τ
    rejected_fires: NDArray[np.bool_]  # (N,)
    prompt_fires: NDArray[np.bool_]  # (N,)

    @property
    def n_concepts(self) -> int:
        """M"""
        return len(self.indptr) - 1

    def disparity(self) -> Disparity:
        """Only the rows in which either response carries the concept: what statistics test."""
        carries = self.chosen_fires | self.rejected_fires
        kept = np.concatenate([[0], np.cumsum(carries)]).astype(np.int64)
        return Disparity(kept[self.indptr], self.pair[carries], self.u[carries])

    def rows(self, concept: int) -> slice:
        """Where the concept's rows are."""
        return slice(int(self.indptr[concept]), int(self.indptr[concept + 1]))


def concept_scores(
    readings: Readings, concept_of: NDArray[np.int32], n_concepts: int, tau: float
) -> ConceptScores:
    """Scores of every latent concept.

    Args:
        readings: all readings.
        concept_of: (L,) concept number of each latent, −1 for none.
        n_concepts: M; numbers run from 0.
        tau: a latent fires on a span when its fire rate exceeds this.
    """
    sizes = np.bincount(concept_of[concept_of >= 0], minlength=n_concepts).astype(np.float64)
    bound = (*_kernel_arguments(readings), concept_of, n_concepts, tau)
    nothing = (np.zeros((0, 5), np.float32), np.zeros((0, 3), np.bool_), np.zeros(0, np.uint32))
    counts = _score_kernel(*bound, np.zeros(0, np.int64), True, *nothing)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    n = int(indptr[-1])
    values = np.zeros((n, 5), np.float32)  # chosen, rejected, prompt, disparity count, activity
    fires = np.zeros((n, 3), np.bool_)
    pair = np.zeros(n, np.uint32)
    _score_kernel(*bound, indptr[:-1].copy(), False, values, fires, pair)
    width = np.repeat(np.maximum(sizes, 1), np.diff(indptr))
    return ConceptScores(
        indptr,
        pair,
        values[:, 0].copy(),
        values[:, 1].copy(),
        values[:, 2].copy(),
        (values[:, 3] / width).astype(np.float32),
        values[:, 4].copy(),
        fires[:, 0].copy(),
        fires[:, 1].copy(),
        fires[:, 2].copy(),
    )


def latent_disparity(readings: Readings, tau: float) -> Disparity:
    """Disparity u of every single latent: 1{chosen fires} − 1{rejected fires}."""
    by_latent, pairs = readings.by_latent, readings.pairs
    at = by_latent.pair
    chosen = by_latent.chosen.n_fired / np.maximum(pairs.chosen_tokens[at], 1) > tau
    rejected = by_latent.rejected.n_fired / np.maximum(pairs.rejected_tokens[at], 1) > tau
    carries = chosen | rejected
    kept = np.concatenate([[0], np.cumsum(carries)]).astype(np.int64)
    u = chosen[carries].astype(np.float32) - rejected[carries].astype(np.float32)
    return Disparity(kept[by_latent.indptr], at[carries], u)


def prompt_counts(readings: Readings, tau: float) -> NDArray[np.int64]:
    """(L,) prompts on which each latent fires."""
    prompts = readings.prompts
    pair = np.repeat(np.arange(readings.n_pairs), np.diff(prompts.indptr))
    tokens = np.maximum(readings.pairs.prompt_tokens[pair], 1)
    fires = prompts.values.n_fired / tokens > tau
    return np.bincount(prompts.latent[fires], minlength=readings.n_latents)


def _kernel_arguments(readings: Readings) -> tuple[NDArray[np.generic], ...]:
    by_pair, prompts, pairs = readings.by_pair, readings.prompts, readings.pairs
    return (
        by_pair.indptr, by_pair.latent, by_pair.chosen.act_max, by_pair.chosen.n_fired,
        by_pair.rejected.act_max, by_pair.rejected.n_fired, prompts.indptr, prompts.latent,
        prompts.values.act_max, prompts.values.n_fired, pairs.chosen_tokens, pairs.rejected_tokens,
        pairs.prompt_tokens,
    )  # fmt: skip


@nb.njit(cache=True, nogil=True)
def _score_kernel(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    indptr, latent, c_max, c_n, r_max, r_n, p_indptr, p_latent, p_max, p_n, c_tokens, r_tokens, p_tokens,
    concept_of, n_concepts, tau, start, count_only, values, fires, pair_out,
):  # fmt: skip
    counts = np.zeros(n_concepts, np.int64)
    at = np.full(n_concepts, -1, np.int64)  # row of the concept for the current pair
    stamp = np.full(n_concepts, -1, np.int64)
    for i in range(len(indptr) - 1):
        c_len, r_len, p_len = max(c_tokens[i], 1), max(r_tokens[i], 1), max(p_tokens[i], 1)
        for k in range(indptr[i], indptr[i + 1]):
            m = concept_of[latent[k]]
            if m < 0:
                continue
            if stamp[m] != i:
                stamp[m] = i
                if not count_only:
                    at[m] = start[m] + counts[m]
                    pair_out[at[m]] = i
                counts[m] += 1
            if count_only:
                continue
            row = at[m]
            c_rate, r_rate = c_n[k] / c_len, r_n[k] / r_len
            values[row, 0] = max(values[row, 0], c_max[k])
            values[row, 1] = max(values[row, 1], r_max[k])
            values[row, 3] += np.float32(c_rate > tau) - np.float32(r_rate > tau)
            values[row, 4] += c_rate + r_rate
            fires[row, 0] |= c_rate > tau
            fires[row, 1] |= r_rate > tau
        for k in range(p_indptr[i], p_indptr[i + 1]):
            m = concept_of[p_latent[k]]
            if m < 0:
                continue
            if stamp[m] != i:
                stamp[m] = i
                if not count_only:
                    at[m] = start[m] + counts[m]
                    pair_out[at[m]] = i
                counts[m] += 1
            if not count_only:
                row = at[m]
                values[row, 2] = max(values[row, 2], p_max[k])
                fires[row, 2] |= p_n[k] / p_len > tau
    return counts
