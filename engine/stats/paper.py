"""The paper's own statistics of a cell, for comparison: Welch inside against outside (paper.md §1.3).

``Δ = mean_in(u) − mean_out(u)``, Welch z with Bessel's correction, Cohen's d with pooled variance, and
``Δ_min``, the smaller |Δ| of the two halves where their signs agree. z treats pairs as independent, which
they are not: it is for ranking only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PaperCell:
    """Per cell; NaN where undefined. All (B,)."""

    delta: Vector
    z: Vector
    d: Vector
    delta_min: Vector


@dataclass(frozen=True, slots=True)
class Moments:
    """n (summed weight), Σ w·u and Σ w·u² of a set of pairs, whole and by half. All (B,)."""

    n: Vector
    total: Vector
    squares: Vector
    n_a: Vector
    total_a: Vector
    n_b: Vector
    total_b: Vector


def paper_cells(inside: Moments, everywhere: Moments) -> PaperCell:
    """The paper's statistics of each cell from its own moments and those of all labelled pairs."""
    n_out = everywhere.n - inside.n
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_in = inside.total / inside.n
        mean_out = (everywhere.total - inside.total) / n_out
        var_in = (inside.squares - inside.n * mean_in**2) / (inside.n - 1)
        var_out = (everywhere.squares - inside.squares - n_out * mean_out**2) / (n_out - 1)
        delta = mean_in - mean_out
        z = delta / np.sqrt(var_in / inside.n + var_out / n_out)
        pooled = ((inside.n - 1) * var_in + (n_out - 1) * var_out) / (inside.n + n_out - 2)
        d = delta / np.sqrt(pooled)
        a = inside.total_a / inside.n_a
        a = a - (everywhere.total_a - inside.total_a) / (everywhere.n_a - inside.n_a)
        b = inside.total_b / inside.n_b
        b = b - (everywhere.total_b - inside.total_b) / (everywhere.n_b - inside.n_b)
    agree = (np.sign(a) == np.sign(b)) & (np.minimum(np.abs(a), np.abs(b)) > 1e-6)
    smaller = np.where(agree, np.minimum(np.abs(a), np.abs(b)), np.nan)
    delta, z, d = (np.where(np.isfinite(v), v, np.nan) for v in (delta, z, d))
    return PaperCell(delta, z, d, smaller)
