"""What of a concept's preference other things do not explain: matching `unique` and at equal length.

A delta x is regressed, over the pairs of a stratum with their weights, on controls Z that change sign when
the sides are exchanged (length ratio, disparities of other concepts), with an intercept. The mean of x − Zβ
is that intercept: the preference left where the controls are balanced. Matching it to zero removes that part
only.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
_KNEE = 0.7
"""|log length ratio| (a factor of two) beyond which length may act with another slope."""
_RIDGE = 1e-3
"""Shrinks slopes of concepts that hardly vary; in units of the mean square of a column."""


def length_controls(chosen_tokens: Floats, rejected_tokens: Floats) -> sparse.csr_matrix:
    """Log length ratio and its excess over a factor of two, (2, N); both are odd under a swap."""
    ratio = np.log(np.maximum(chosen_tokens, 1.0)) - np.log(np.maximum(rejected_tokens, 1.0))
    excess = np.sign(ratio) * np.maximum(np.abs(ratio) - _KNEE, 0.0)
    return sparse.csr_matrix(np.stack([ratio, excess]))


def unexplained(
    value: Floats, controls: sparse.csr_matrix, weight: Floats, inside: NDArray[np.bool_]
) -> Floats:
    """Value − Zβ on every pair, β fitted on ``inside`` with ``weight``.

    Args:
        value: x, (N,).
        controls: Z, (k, N), already turned for flipped pairs.
        weight: (N,) ≥ 0.
        inside: pairs of the stratum, (N,).
    """
    at = np.nonzero(inside)[0]
    if not len(at) or controls.shape[0] == 0:
        return value
    z = controls[:, at].tocsr()
    w = weight[at] / max(float(weight[at].sum()), 1e-300)
    x = value[at]
    mean_z, mean_x = np.asarray(z @ w), float(w @ x)
    second = np.asarray((z @ sparse.diags_array(w) @ z.T).todense())
    covariance = second - np.outer(mean_z, mean_z)
    cross = np.asarray(z @ (w * x)) - mean_z * mean_x
    scale = float(np.mean(np.diag(second))) or 1.0
    slope = np.linalg.solve(covariance + _RIDGE * scale * np.eye(len(cross)), cross)
    return np.asarray(value - controls.T @ slope, np.float64)
