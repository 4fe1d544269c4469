"""Readings as sparse arrays: what the numeric kernels compute on.

The store writes and memory-maps them (arrays-<hash>/); concepts and statistics only read them. Pairs are
numbered 0 … P−1 in the order of pairs.parquet (sorted by group_id, pair_id), so a group's pairs are
neighbours and the order of the input files never matters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1
"""Code of a missing source, model or annotator."""


@dataclass(frozen=True, slots=True)
class PairArrays:
    """What statistics know of each pair. P pairs; every array has shape (P,) unless said."""

    is_signed: NDArray[np.bool_]
    """True for labelled pairs: the only ones that signed statistics use."""
    group: NDArray[np.int32]
    """0 … G−1, ascending: pairs that share a prompt."""
    fold: NDArray[np.int8]
    prompt_tokens: NDArray[np.int32]
    chosen_tokens: NDArray[np.int32]
    rejected_tokens: NDArray[np.int32]
    source: NDArray[np.int32]
    """Code into ``source_names``."""
    model_chosen: NDArray[np.int32]
    """Code into ``model_names``, −1 unknown."""
    model_rejected: NDArray[np.int32]
    annotator: NDArray[np.int32]
    """Code into ``annotator_names``, −1 unknown."""
    source_names: tuple[str, ...]
    model_names: tuple[str, ...]
    annotator_names: tuple[str, ...]
    base_weight: NDArray[np.float64] | None = None
    """Weight of each pair in the mix, > 0; None: 1 for every pair."""

    @property
    def n_pairs(self) -> int:
        """P"""
        return len(self.is_signed)


@dataclass(frozen=True, slots=True)
class SpanValues:
    """Readings of one span at N stored (pair, latent) places; 0 where the span is silent there."""

    act_max: NDArray[np.float32]  # (N,)
    n_fired: NDArray[np.uint16]  # (N,)
    act_sum: NDArray[np.float32]  # (N,)
    peak: NDArray[np.uint16]  # (N,) position of act_max among the span's own tokens


@dataclass(frozen=True, slots=True)
class LatentMajor:
    """CSC: the places of latent j are ``indptr[j]:indptr[j+1]``, pairs ascending."""

    indptr: NDArray[np.int64]  # (L+1,)
    pair: NDArray[np.uint32]  # (N,)
    chosen: SpanValues
    rejected: SpanValues

    @property
    def n_latents(self) -> int:
        """L"""
        return len(self.indptr) - 1


@dataclass(frozen=True, slots=True)
class PairMajor:
    """CSR: the places of pair i are ``indptr[i]:indptr[i+1]``, latents ascending."""

    indptr: NDArray[np.int64]  # (P+1,)
    latent: NDArray[np.uint32]  # (N,)
    chosen: SpanValues
    rejected: SpanValues


@dataclass(frozen=True, slots=True)
class PromptMajor:
    """CSR of the prompt's own readings."""

    indptr: NDArray[np.int64]  # (P+1,)
    latent: NDArray[np.uint32]  # (N_p,)
    values: SpanValues


@dataclass(frozen=True, slots=True)
class LastTokens:
    """Activations at the last own token of the responses: "last" pooling of statistics.md.

    CSC like ``LatentMajor``, but only of the M places where the latent fires on the last token of either
    response: the rows of latent j are ``indptr[j]:indptr[j+1]``, pairs ascending; absent rows are zeros on
    both sides.
    """

    indptr: NDArray[np.int64]  # (L+1,)
    pair: NDArray[np.uint32]  # (M,)
    chosen: NDArray[np.float32]  # (M,) 0 where silent on that side's last token
    rejected: NDArray[np.float32]  # (M,)


@dataclass(frozen=True, slots=True)
class Readings:
    """All readings of one reader."""

    pairs: PairArrays
    by_latent: LatentMajor
    by_pair: PairMajor
    prompts: PromptMajor
    last: LastTokens | None = None
    """None where only the other poolings are at hand."""

    @property
    def n_pairs(self) -> int:
        """P"""
        return self.pairs.n_pairs

    @property
    def n_latents(self) -> int:
        """L"""
        return self.by_latent.n_latents


@dataclass(frozen=True, slots=True)
class Disparity:
    """CSC of the tested statistic u, chosen minus rejected, for M units (concepts or latents).

    The rows of unit m are ``indptr[m]:indptr[m+1]``, pairs ascending. A row exists where either response
    carries the unit, also where u is 0; absent rows are zeros that nobody carries.
    """

    indptr: NDArray[np.int64]  # (M+1,)
    pair: NDArray[np.uint32]  # (N,)
    u: NDArray[np.float32]  # (N,)

    @property
    def n_units(self) -> int:
        """M"""
        return len(self.indptr) - 1

    def take(self, units: Sequence[int] | NDArray[np.int64]) -> "Disparity":
        """Only some units, in the order given."""
        rows = [np.arange(self.indptr[m], self.indptr[m + 1]) for m in units]
        at = np.concatenate([np.zeros(0, np.int64), *rows])
        indptr = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
        return Disparity(indptr, self.pair[at], self.u[at])


@dataclass(frozen=True, slots=True)
class PairSets:
    """K contexts as sets of pairs; *everywhere* is left out, so set k is context k + 1 of the index."""

    ids: tuple[str, ...]
    """context_id of each set"""
    kinds: tuple[str, ...]
    """records.ContextKind of each set"""
    indptr: NDArray[np.int64]  # (K+1,)
    pair: NDArray[np.uint32]  # ascending inside a set

    @property
    def n_sets(self) -> int:
        """K"""
        return len(self.ids)
