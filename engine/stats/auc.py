"""Held-out AUC and log-loss of every arm, with prompt groups kept together and strengths chosen inside.

Estimand: the chance that a random pair oriented by its label scores above a random pair oriented against
it, for prompts that were not seen. A model without intercept is fitted on oriented pairs, so a pair scored
s counts as (s, won) and (−s, lost): the AUC is exact over both orientations and needs no coin. The
penalty's strength is chosen on inner folds for every arm alike. Coverage is the share of the full reading's
gain in held-out log-loss that the concepts judged so far already have.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import log_expit
from scipy.stats import rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from engine.arrays import PairArrays
from engine.errors import StatsError
from engine.progress import Progress
from engine.stats.arms import Arm

Vector = NDArray[np.float64]

OUTER = 5
INNER = 4
STRENGTHS = (0.003, 0.03, 0.3, 3.0)
"""Inverse penalties tried (scikit-learn's C)."""
BOOTSTRAPS = 200


@dataclass(frozen=True, slots=True)
class ArmResult:
    """How well one arm predicts held-out labels."""

    name: str
    n_columns: int
    auc: float
    low: float
    """95% interval, bootstrap over prompt groups."""
    high: float
    accuracy: float
    log_loss: float
    """Nats per pair; log 2 is a coin."""
    strengths: tuple[float, ...]
    """Chosen in each outer fold."""


def held_out(arms: Sequence[Arm], pairs: PairArrays, *, seed: int = 0, progress: Progress) -> list[ArmResult]:
    """Every arm on the same folds.

    Args:
        arms: features of all pairs.
        pairs: labels, groups and folds; only labelled pairs are used.
        seed: of the bootstrap.
        progress: told about fits.

    Raises:
        StatsError: too few prompt groups for nested folds.
    """
    rows = np.nonzero(pairs.is_signed)[0]
    fold = pairs.fold[rows] % OUTER
    if len(np.unique(pairs.fold[rows])) < OUTER * INNER:
        raise StatsError("too few prompt groups for nested folds", hint="at least a few hundred are needed")
    inner = pairs.fold[rows] // OUTER
    progress.start("held-out AUC", len(arms) * OUTER, "fits")
    results = []
    for arm in arms:
        x = arm.x[rows]
        score = np.zeros(len(rows))
        strengths = []
        for k in range(OUTER):
            train = fold != k
            strength = _choose(arm, x[train], inner[train])
            score[~train] = x[~train] @ _fit(arm.penalty, strength, x[train])
            strengths.append(strength)
            progress.advance()
        low, high = _bootstrap(score, pairs.group[rows], np.random.default_rng(seed))
        results.append(
            ArmResult(
                arm.name, int(x.shape[1]), paired_auc(score), low, high,
                float(np.mean((score > 0) + 0.5 * (score == 0))), float(-log_expit(score).mean()),
                tuple(strengths),
            )
        )  # fmt: skip
    progress.finish()
    return results


def coverage(judged: ArmResult, full: ArmResult) -> float | None:
    """(log 2 − loss of judged concepts) / (log 2 − loss of the full reading); None if that gains nothing."""
    gain = np.log(2) - full.log_loss
    return float((np.log(2) - judged.log_loss) / gain) if gain > 0 else None


def paired_auc(score: Vector) -> float:
    """P(s_i > −s_j) + ½ P(s_i = −s_j) over all i, j: the AUC of scores s for label 1 and −s for label 0."""
    n = len(score)
    ranks = rankdata(np.concatenate([score, -score]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * n))


def _choose(arm: Arm, x: sp.csr_matrix, fold: NDArray[np.int8]) -> float:
    """The strength with the lowest log-loss on inner folds."""
    loss = np.zeros(len(STRENGTHS))
    for k in range(INNER):
        train = fold != k
        for s, strength in enumerate(STRENGTHS):
            held = x[~train] @ _fit(arm.penalty, strength, x[train])
            loss[s] -= log_expit(held).sum()
    return STRENGTHS[int(loss.argmin())]


def _fit(penalty: str, strength: float, x: sp.csr_matrix) -> Vector:
    """(q,) coefficients on oriented pairs: every other pair is turned so that both labels occur."""
    turn = np.where(np.arange(x.shape[0]) % 2 == 0, 1.0, -1.0)
    model = LogisticRegression(
        C=strength, l1_ratio=1.0 if penalty == "l1" else 0.0, solver="liblinear", fit_intercept=False,
        random_state=0, max_iter=200,
    )  # fmt: skip
    with warnings.catch_warnings():
        # A fit cut short at the weakest penalty is judged by its held-out loss like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(sp.diags(turn) @ x, turn > 0)
    return np.asarray(model.coef_.ravel(), np.float64)


def _bootstrap(score: Vector, group: NDArray[np.int32], rng: np.random.Generator) -> tuple[float, float]:
    order = np.argsort(group, kind="stable")
    _, first = np.unique(group[order], return_index=True)
    edges, n_groups = np.append(first, len(group)), len(first)
    draws = []
    for _ in range(BOOTSTRAPS):
        picked = rng.integers(0, n_groups, n_groups)
        rows = np.concatenate([order[edges[g] : edges[g + 1]] for g in picked])
        draws.append(paired_auc(score[rows]))
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)
