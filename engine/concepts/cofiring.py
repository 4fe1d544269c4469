"""How strongly latents fire together: normalised binary mutual information over a bounded sample of spans.

Source: paper.md §1.3 (mutual information over √(H_g·H_h), the top 1% of edges). Ours: only latents that fire
together more often than by chance get an edge (mutual information alone also links latents that avoid each
other), the sample is of response spans of these pairs, and edges are capped at ``EDGES_PER_LATENT · L``.
Nothing here sees a label: both sides of a pair enter alike.
"""

from dataclasses import dataclass

import numba as nb
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import chi2

from engine.arrays import Readings
from engine.progress import Progress

INCREMENT_BUDGET = 20_000_000_000
"""Most co-firing counts made (Σ over spans of latents²); fewer spans are sampled where spans are dense."""
EDGES_PER_LATENT = 100
"""Most edges kept per eligible latent, on average."""
CHANCE = 0.05
"""Level, over all pairs together, at which an edge must differ from independence."""
_THRESHOLD_ROWS = 1024


@dataclass(frozen=True, slots=True)
class SpanSample:
    """Which latents fire on which sampled response, both ways round."""

    latents: NDArray[np.int64]
    """Eligible latents, ascending; columns below are positions in this list."""
    by_span: sp.csr_matrix  # (S, L') of 1
    by_latent: sp.csr_matrix  # (L', S) of 1

    @property
    def n_spans(self) -> int:
        """S"""
        return int(self.by_span.shape[0])


def sample_spans(
    readings: Readings, eligible: NDArray[np.bool_], max_spans: int, rng: np.random.Generator
) -> SpanSample:
    """A seeded sample of response spans (both sides of sampled pairs) restricted to eligible latents."""
    latents = np.nonzero(eligible)[0]
    column = np.full(readings.n_latents, -1, np.int64)
    column[latents] = np.arange(len(latents))
    n_pairs = readings.n_pairs
    per_pair = np.diff(readings.by_pair.indptr).astype(np.float64)
    cost = 2 * float(np.mean(per_pair**2)) if n_pairs else 0.0
    wanted = min(n_pairs, max(max_spans // 2, 1), int(INCREMENT_BUDGET / max(cost, 1.0)) + 1)
    pairs = np.sort(rng.choice(n_pairs, wanted, replace=False)) if wanted < n_pairs else np.arange(n_pairs)
    by_pair = readings.by_pair
    widths = np.diff(by_pair.indptr)[pairs]
    at = np.repeat(by_pair.indptr[pairs] - np.concatenate([[0], np.cumsum(widths)[:-1]]), widths)
    at = at + np.arange(len(at))
    row = np.repeat(np.arange(len(pairs)), widths)
    col = column[by_pair.latent[at]]
    parts = []
    for side, values in enumerate((by_pair.chosen, by_pair.rejected)):
        keep = (values.n_fired[at] > 0) & (col >= 0)
        parts.append((2 * row[keep] + side, col[keep]))
    rows, cols = (np.concatenate([p[k] for p in parts]) for k in range(2))
    shape = (2 * len(pairs), len(latents))
    by_span = sp.csr_matrix((np.ones(len(rows), np.int8), (rows, cols)), shape=shape)
    return SpanSample(latents, by_span, by_span.T.tocsr())


def strongest_edges(sample: SpanSample, share: float, progress: Progress) -> sp.csr_matrix:
    """Symmetric (L', L') weights of the strongest ``share`` of off-diagonal pairs, zero diagonal.

    The cut is the quantile over all rows up to 1,024 eligible latents, else over 1,024 evenly spaced rows.
    An edge must also be more than chance would give (likelihood-ratio test, Bonferroni over all pairs), so
    that few latents do not fill their share with noise.
    """
    n = len(sample.latents)
    empty = sp.csr_matrix((n, n), dtype=np.float64)
    if n < 2 or sample.n_spans < 2:
        return empty
    fired = np.diff(sample.by_latent.indptr).astype(np.float64)
    share = min(share, EDGES_PER_LATENT * 2.0 / (n - 1))
    probes = np.unique(np.linspace(0, n - 1, min(n, _THRESHOLD_ROWS)).astype(np.int64))
    strengths = np.concatenate(
        [np.delete(_rows(sample, fired, int(j))[0], j)[:: max(1, n // 4096)] for j in probes]
    )
    cut = float(np.quantile(strengths, 1 - share))
    chance = float(chi2.isf(CHANCE / (n * (n - 1) / 2), 1)) / (2 * sample.n_spans)
    progress.start("co-firing", n, "latents")
    rows, cols, weights = [], [], []
    for j in range(n):
        strength, information = (row[:j] for row in _rows(sample, fired, j))
        near = np.nonzero((strength >= cut) & (information > chance))[0]
        rows.append(np.full(len(near), j))
        cols.append(near)
        weights.append(strength[near])
        progress.advance()
    progress.finish()
    half = sp.coo_matrix(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(cols))), shape=(n, n)
    ).tocsr()
    return (half + half.T).tocsr()


def _rows(
    sample: SpanSample, fired: NDArray[np.float64], j: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    together = _together(
        sample.by_latent.indptr, sample.by_latent.indices, sample.by_span.indptr, sample.by_span.indices,
        len(fired), j,
    )  # fmt: skip
    return normalised_information(together, fired[j], fired, sample.n_spans)


@nb.njit(cache=True, nogil=True)
def _together(  # type: ignore[no-untyped-def] # numba infers the types of kernels
    l_indptr, spans, s_indptr, latents, n_latents, j
):
    count = np.zeros(n_latents, np.int32)
    for k in range(l_indptr[j], l_indptr[j + 1]):
        span = spans[k]
        for e in range(s_indptr[span], s_indptr[span + 1]):
            count[latents[e]] += 1
    return count


def normalised_information(
    together: NDArray[np.int32], fired_j: float, fired: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Binary mutual information over √(H_j·H_k), and itself in nats; 0 where latents avoid each other.

    Args:
        together: spans on which j and each latent fire.
        fired_j: spans on which j fires.
        fired: spans on which each latent fires.
        n: spans.
    """
    n11 = together.astype(np.float64)
    total = np.zeros_like(n11)
    for joint, row, col in (
        (n11, fired_j, fired),
        (fired_j - n11, fired_j, n - fired),
        (fired - n11, n - fired_j, fired),
        (n - fired_j - fired + n11, n - fired_j, n - fired),
    ):
        expected = row * col / n
        positive = joint > 0
        total[positive] += (joint[positive] / n) * np.log(joint[positive] / expected[positive])
    entropy = _entropy(fired / n) * float(_entropy(np.array([fired_j / n]))[0])
    usable = (entropy > 0) & (n11 * n > fired_j * fired)
    normalised = np.zeros_like(total)
    normalised[usable] = total[usable] / np.sqrt(entropy[usable])
    return normalised, np.where(usable, total, 0.0)


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = (p > 0) & (p < 1)
    out = np.zeros_like(p)
    q = p[inside]
    out[inside] = -(q * np.log(q) + (1 - q) * np.log(1 - q))
    return out
