"""*Taught at equal length*: score tests of every unit against the null model, in one sparse pass.

For a unit with disparity u, residuals e and curvatures w of the null model with columns Z:
``U = Σ e·u``, ``κ = (ZᵀwZ)⁻¹ Zᵀwu``, and with the efficient score ``s_i = e_i (u_i − κᵀz_i)`` summed by
prompt group, ``z = U / √(Σ_g s_g²)``. Expanding the square leaves sums over rows with u ≠ 0 only:
``Σ_g s_g² = Σ_g a_g² − 2 κᵀ Σ_i e_i u_i c_g(i) + κᵀ C κ`` with ``a_g = Σ e·u``, ``c_g = Σ e·z``,
``C = Σ c_g c_gᵀ``. The variance carries the usual G/(G − q) for the q fitted columns; where models are known
it is never less than the two-way variance by group and by the models that met (``two_way``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.arrays import Disparity
from engine.stats.null import NullModel
from engine.stats.score_kernels import narrow_kernel, pack_narrow, pack_wide, tile_ends, wide_kernel
from engine.stats.sums import for_chunks
from engine.stats.two_way import second_variance

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

EXPLAINED = 1e-6
"""Share of a unit's own information below which the null model's columns contain it."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Per unit; NaN where undefined. All (M,) unless said."""

    z: Vector
    score: Vector  # U
    information: Vector  # Σ w·u² − bᵀκ: what is left of the information after the null's columns
    variance: Vector  # Σ_g s_g²
    b: Matrix  # (M, q) Zᵀwu


def score_tests(disparity: Disparity, null: NullModel) -> Scores:
    """Group-clustered score test of every unit against the null model.

    z is NaN for a unit that the null's columns contain (a length column, say), that no labelled pair carries,
    or when length and origin separate the labels.
    """
    out, b, cross = _sums(disparity, null)
    kappa = b @ null.inverse
    score, own, squares = out.T
    information = own - np.einsum("mq,mq->m", b, kappa)
    variance = squares - 2 * np.einsum("mq,mq->m", cross, kappa)
    variance += np.einsum("mq,mq->m", kappa @ null.meat, kappa)
    variance *= freedom_correction(null)
    if null.design.second is not None:
        left = np.divide(information, own, out=np.zeros(len(own)), where=own > 0)
        terms = (null.residual, null.curvature, null.design.z)
        added = second_variance(disparity, null.design.second, terms, kappa, score, left)
        variance += np.maximum(added, 0)
    usable = (information > EXPLAINED * own) & (variance > EXPLAINED * squares) & (not null.separates)
    z = np.divide(score, np.sqrt(np.maximum(variance, 0)), out=np.full(len(score), np.nan), where=usable)
    return Scores(z, score, information, variance, b)


def freedom_correction(null: NullModel) -> float:
    """G / (G − q): residuals of a model with q fitted columns over G groups are that much too small."""
    n_groups = len(np.unique(null.group[null.weight > 0]))
    return n_groups / max(n_groups - null.design.n_columns, 1)


def _sums(disparity: Disparity, null: NullModel) -> tuple[Matrix, Matrix, Matrix]:
    """(M, 3) U, Σ w·u², Σ_g a_g²; (M, q) Zᵀwu; (M, q) Σ e·u·c_g."""
    q, n = null.design.n_columns, disparity.n_units
    out = np.zeros((n, 3))
    rows = (disparity.indptr, disparity.pair, disparity.u, null.group)
    if q == 1:
        table = pack_narrow(null)
        b, cross = np.zeros((n, 1)), np.zeros((n, 1))
        for_chunks(disparity.indptr, lambda i, j: narrow_kernel(*rows, table, out, b, cross, i, j))
        return out, b, cross
    table = pack_wide(null)
    b, cross = np.zeros((n, table.shape[1])), np.zeros((n, table.shape[1]))
    is_alone = np.bincount(null.group, minlength=1)[null.group] == 1
    kernel = wide_kernel(table.shape[1])
    extra = (is_alone, table, null.group_scores, tile_ends(null.group, table.shape[1]))
    for_chunks(disparity.indptr, lambda i, j: kernel(*rows, *extra, out, b, cross, i, j))
    return out, b[:, :q], cross[:, :q]
