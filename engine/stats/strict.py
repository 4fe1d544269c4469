"""Stricter rules than Benjamini–Hochberg, for whoever wants to know which calls stand under them too.

* **BY**: Benjamini–Yekutieli, valid under any dependence between units.
* **max-T** (Westfall & Young 1993): the largest |z| of the family when whole prompt groups change sides at
  random; keeps the chance of a single false call, whatever the dependence. For *taught* the group sums of u
  are flipped, at equal length those of the efficient score e·(u − κᵀz) ("flip scores", arXiv 2403.02065).
* **Wilcoxon**: *taught* on signed ranks of |u|, summed by group: are calls carried by a few large
  disparities? The same as the flip score where every |u| is alike.
* **mirror**: for cells, ``M`` = the smaller |z| of the two halves, negative where they disagree;
  ``FDR(t) ≈ (1 + #{M ≤ −t}) / #{M ≥ t}``. Asks for replication instead of a small p. Valid where halves are
  independent and a null is as likely to lean either way in both.

All are applied to tests that label-blind counts chose.
"""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy import stats
from scipy.stats import rankdata

from engine.arrays import Disparity
from engine.stats.null import NullModel
from engine.stats.score import Scores

Vector = NDArray[np.float64]
Flags = NDArray[np.bool_]

_DRAWS_AT_ONCE = 64


def by_q(p: Vector, tested: Flags) -> Vector:
    """Benjamini–Yekutieli q over the tested, finite p; NaN elsewhere."""
    out = np.full(len(p), np.nan)
    usable = tested & np.isfinite(p)
    if usable.any():
        out[usable] = stats.false_discovery_control(p[usable], method="by")
    return out


def max_t_taught(
    disparity: Disparity, group: NDArray[np.int32], weight: Vector, tested: Flags, *, draws: int, seed: int
) -> Vector:
    """(M,) max-T p of the flip score; NaN where untested."""
    sums = _by_group(disparity, group, weight)
    scale = np.sqrt(np.asarray(sums.multiply(sums).sum(axis=1)).ravel())
    none = np.zeros((disparity.n_units, 0)), np.zeros((sums.shape[1], 0))
    return _max_t(sums, scale, none, tested, draws, seed)


def max_t_equal(
    disparity: Disparity, null: NullModel, scores: Scores, tested: Flags, *, draws: int, seed: int
) -> Vector:
    """(M,) max-T p of the score test at equal length; NaN where untested."""
    sums = _by_group(disparity, null.group, null.residual)
    kappa = scores.b @ null.inverse
    scale = np.sqrt(np.maximum(scores.variance, 0))
    usable = tested & np.isfinite(scores.z)
    return _max_t(sums, scale, (kappa, null.group_scores), usable, draws, seed)


def _max_t(
    sums: sp.csr_matrix, scale: Vector, projected: tuple[Vector, Vector], tested: Flags, draws: int, seed: int
) -> Vector:
    """Chance p of every tested unit against the largest |Σ_g s_g T_g| / scale of each draw of signs s."""
    rng = np.random.default_rng(seed)
    kappa, columns = projected
    at = np.nonzero(tested & (scale > 0))[0]
    out = np.full(sums.shape[0], np.nan)
    if len(at) == 0:
        return out
    own, largest = sums[at], []
    for start in range(0, draws, _DRAWS_AT_ONCE):
        signs = rng.choice([-1.0, 1.0], (sums.shape[1], min(_DRAWS_AT_ONCE, draws - start)))
        drawn = np.asarray(own @ signs) - kappa[at] @ (columns.T @ signs)
        largest.append(np.abs(drawn / scale[at, None]).max(axis=0))
    every = np.sort(np.concatenate(largest))
    ones = np.ones((sums.shape[1], 1))
    z = np.abs(np.asarray(own @ ones) - kappa[at] @ (columns.T @ ones)).ravel() / scale[at]
    above = len(every) - np.searchsorted(every, z - 1e-12)
    out[at] = (1 + above) / (1 + len(every))
    return out


def _by_group(disparity: Disparity, group: NDArray[np.int32], weight: Vector) -> sp.csr_matrix:
    """(M, G) Σ over each prompt group of weight · u."""
    n_pairs, n_groups = len(group), int(group.max(initial=-1)) + 1
    shape = (disparity.n_units, n_pairs)
    u = sp.csr_matrix(
        (disparity.u.astype(np.float64), disparity.pair.astype(np.int64), disparity.indptr), shape
    )
    into = sp.csr_matrix((weight, (np.arange(n_pairs), group)), (n_pairs, n_groups))
    return sp.csr_matrix(u @ into)


def signed_ranks(disparity: Disparity, weight: Vector) -> Disparity:
    """Signed mid-ranks of |u| among each unit's discordant labelled pairs, over their number, for u."""
    u = np.zeros_like(disparity.u)
    for m in range(disparity.n_units):
        rows = slice(int(disparity.indptr[m]), int(disparity.indptr[m + 1]))
        own = disparity.u[rows]
        counts = (own != 0) & (weight[disparity.pair[rows]] > 0)
        if counts.any():
            ranks = rankdata(np.abs(own[counts])) / counts.sum()
            u[rows][counts] = np.sign(own[counts]) * ranks
    return replace(disparity, u=u)


def mirror_calls(z_a: Vector, z_b: Vector, level: float) -> Flags:
    """Cells called by the mirror statistic of the two halves' z; NaN in either half is never called."""
    usable = np.isfinite(z_a) & np.isfinite(z_b)
    mirror = np.where(usable, np.sign(z_a * z_b) * np.minimum(np.abs(z_a), np.abs(z_b)), 0.0)
    candidates = np.unique(mirror[mirror > 0])
    for t in candidates:
        if (1 + (mirror <= -t).sum()) / max((mirror >= t).sum(), 1) <= level:
            return np.asarray(mirror >= t)
    return np.zeros(len(z_a), np.bool_)
