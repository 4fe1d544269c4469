"""Unique contribution: which concepts still matter when all others are in the model.

L1 logistic on oriented pairs without intercept, the null model's columns unpenalised, with stability
selection: the model is refitted on random halves of the prompt groups and the share of halves that select a
concept is reported beside its weight. Univariate rank says nothing about independent causes; this says a
little more: of several concepts that carry the same signal, L1 keeps one, and which one may change from
half to half.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from engine.progress import Progress
from engine.stats.arms import Arm
from engine.stats.null import NullModel

Vector = NDArray[np.float64]

HALVES = 50
SELECTED_AT = 1e-8
_FREE = 100.0
"""Covariates are blown up by this factor, so that the penalty on their coefficients is a hundredth."""


@dataclass(frozen=True, slots=True)
class Unique:
    """Per column of the arm. All (q,)."""

    weight: Vector
    """Log odds per root mean square of the column, all pairs, shrunk by the L1 penalty."""
    selected: Vector
    """Share of halves in which the weight is not 0 …"""
    same_sign: Vector
    """… and has the sign it mostly has."""


def unique_contribution(
    arm: Arm,
    null: NullModel,
    *,
    strength: float = 0.05,
    halves: int = HALVES,
    seed: int = 0,
    progress: Progress,
) -> Unique:
    """L1 weights and selection shares of every column.

    Args:
        arm: features of all pairs; rows with weight 0 in the null model are left out.
        null: whose columns are controlled for without penalty.
        strength: inverse penalty (scikit-learn's C); smaller selects fewer.
        halves: refits on random halves of the prompt groups.
        seed: of the halves.
        progress: told about halves.
    """
    rng = np.random.default_rng(seed)
    rows = np.nonzero(null.weight > 0)[0]
    x = sp.hstack([sp.csr_matrix(null.design.z[rows] * _FREE), arm.x[rows]]).tocsr()
    group, weight, q = null.group[rows], null.weight[rows], null.design.n_columns
    whole = _fit(x, weight, strength)[q:]
    groups = np.unique(group)
    drawn = np.zeros((halves, x.shape[1] - q))
    progress.start("unique contribution", halves, "halves")
    for k in range(halves):
        inside = np.isin(group, rng.choice(groups, len(groups) // 2, replace=False))
        drawn[k] = _fit(x[inside], weight[inside], strength)[q:]
        progress.advance()
    progress.finish()
    plus, minus = (drawn > SELECTED_AT).mean(axis=0), (drawn < -SELECTED_AT).mean(axis=0)
    return Unique(whole, plus + minus, np.maximum(plus, minus))


def _fit(x: sp.csr_matrix, weight: Vector, strength: float) -> Vector:
    turn = np.where(np.arange(x.shape[0]) % 2 == 0, 1.0, -1.0)
    model = LogisticRegression(
        C=strength, l1_ratio=1.0, solver="liblinear", fit_intercept=False, random_state=0, max_iter=500
    )
    model.fit(sp.diags(turn) @ x, turn > 0, sample_weight=weight)
    return np.asarray(model.coef_.ravel(), np.float64)
