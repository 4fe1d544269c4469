"""*Taught at equal length*: score tests of every unit against the null model, in one sparse pass.

For a unit with disparity u, residuals e and curvatures w of the null model with columns Z:
``U = Σ e·u``, ``κ = (ZᵀwZ)⁻¹ Zᵀwu``, and with the efficient score ``s_i = e_i (u_i − κᵀz_i)`` summed by
prompt group, ``z = U / √(Σ_g s_g²)``. Expanding the square leaves sums over rows with u ≠ 0 only:
``Σ_g s_g² = Σ_g a_g² − 2 κᵀ Σ_i e_i u_i c_g(i) + κᵀ C κ`` with ``a_g = Σ e·u``, ``c_g = Σ e·z``,
``C = Σ c_g c_gᵀ``. The variance carries the usual G/(G − q) for the q fitted columns; where models are known,
z is never larger than the normal score of the t that is clustered by the models that met too (``two_way``).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.arrays import Disparity
from engine.stats.null import NullModel
from engine.stats.score_kernels import narrow_kernel, pack_narrow, pack_wide, tile_ends, wide_kernel
from engine.stats.sums import for_chunks
from engine.stats.two_way import cautious_z, cross, freedom, second_variance

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
    variance: Vector
    """Of U: Σ_g s_g² · G/(G − q), or the two-way variance where that is larger."""
    b: Matrix  # (M, q) Zᵀwu
    degrees: Vector
    """Of freedom of the two-way variance; NaN where models do not count."""


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
    usable = (information > EXPLAINED * own) & (variance > EXPLAINED * squares) & (not null.separates)
    z = np.divide(score, np.sqrt(np.maximum(variance, 0)), out=np.full(len(score), np.nan), where=usable)
    scores = Scores(z, score, information, variance, b, np.full(len(z), np.nan))
    return scores if null.design.second is None else _with_models(disparity, null, scores, own, kappa)


def _with_models(disparity: Disparity, null: NullModel, found: Scores, own: Vector, kappa: Matrix) -> Scores:
    """The second clustering beside the one by prompt group: never a larger z, never a smaller variance."""
    left = np.divide(found.information, own, out=np.zeros(len(own)), where=own > 0)
    crossed = cross(null.design.second, null.group, null.residual, null.design.z)
    terms = (null.group, null.residual, null.curvature)
    second = second_variance(disparity, crossed, terms, kappa, found.score, left)
    two_way = found.variance + second.by_models - second.by_both
    degrees = freedom(second.counts, found.variance, second.by_models, two_way)
    z = cautious_z(found.z, found.score, two_way, degrees)
    variance = np.where(np.isfinite(degrees), np.maximum(found.variance, two_way), found.variance)
    return replace(found, z=z, variance=variance, degrees=degrees)


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
