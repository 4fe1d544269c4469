"""Held-out AUC and log-loss of every arm, with prompt groups kept together and strengths chosen inside.

Estimand: the chance that a random pair oriented by its label scores above a random pair oriented against
it, for prompts that were not seen. A model without intercept is fitted on oriented pairs, so a pair scored
s counts as (s, won) and (−s, lost): the AUC is exact over both orientations and needs no coin. The
penalty's strength is chosen on inner folds for every arm alike. Coverage is the share of the full reading's
gain in held-out log-loss that the concepts judged so far already have.

Where models are known there is a second AUC, *within*: only pairs of the same two models are compared, so
that "which model wrote it" is worth one half and what remains is what a judge leans to among the answers of
one model against another.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import log_expit
from scipy.stats import rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from engine.arrays import UNKNOWN, PairArrays
from engine.errors import StatsError
from engine.progress import Progress
from engine.stats.arms import Arm, Matrix

Vector = NDArray[np.float64]

OUTER = 5
INNER = 4
STRENGTHS = (0.0003, 0.003, 0.03, 0.3, 3.0)
"""Inverse penalties tried (scikit-learn's C)."""
BOOTSTRAPS = 200
DENSE_COLUMNS = 600
"""Up to here a dense Newton fit is faster than a sparse one."""


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
    within: float | None = None
    """AUC among pairs of the same two models; None where models are unknown."""
    within_low: float | None = None
    within_high: float | None = None


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
    strata = model_strata(pairs, rows, fold)
    progress.start("held-out AUC", len(arms) * OUTER, "fits")
    results = []
    for arm in arms:
        score, strengths, width = np.zeros(len(rows)), [], 0
        for k in range(OUTER):
            train = fold != k
            x = arm.features(rows, train)
            strength = _choose(arm.penalty, x[train], inner[train])
            score[~train] = x[~train] @ _fit(arm.penalty, strength, x[train])
            strengths.append(strength)
            width = x.shape[1]
            progress.advance()
        results.append(_result(arm.name, width, score, tuple(strengths), pairs.group[rows], strata, seed))
    progress.finish()
    return results


def _result(
    name: str,
    width: int,
    score: Vector,
    strengths: tuple[float, ...],
    group: NDArray[np.int32],
    strata: "Strata | None",
    seed: int,
) -> ArmResult:
    low, high = _bootstrap(lambda at: paired_auc(score[at]), group, seed)
    accuracy = float(np.mean((score > 0) + 0.5 * (score == 0)))
    loss = float(-log_expit(score).mean())
    if strata is None:
        return ArmResult(name, width, paired_auc(score), low, high, accuracy, loss, strengths)
    number, turned = strata

    def within(at: NDArray[np.int64]) -> float:
        return within_auc(score[at], number[at], turned[at])

    return ArmResult(
        name, width, paired_auc(score), low, high, accuracy, loss, strengths,
        within(np.arange(len(score))), *_bootstrap(within, group, seed),
    )  # fmt: skip


Strata = tuple[NDArray[np.int64], Vector]
"""Number of each row's two models (−1: unknown or the same), +1 where the first of them was chosen."""


def model_strata(pairs: PairArrays, rows: NDArray[np.int64], fold: NDArray[np.integer]) -> Strata | None:
    """Which two models met in each of some pairs, by fold; None where that is never known.

    By fold, because scores of different folds come from different fits: an opponent that wins more often in
    one fold was seen to win less often by the fit for it, and "who wrote it" would end up below one half.
    """
    a, b = pairs.model_chosen[rows].astype(np.int64), pairs.model_rejected[rows].astype(np.int64)
    known = (a != UNKNOWN) & (b != UNKNOWN) & (a != b)
    if not known.any():
        return None
    number = np.minimum(a, b) * (len(pairs.model_names) + 1) + np.maximum(a, b)
    number = number * OUTER + fold
    return np.where(known, number, -1), np.where(a < b, 1.0, -1.0)


def within_auc(score: Vector, stratum: NDArray[np.int64], turned: Vector) -> float:
    """AUC of "the first model wins" over all pairs of rows from one stratum, strata weighted by such pairs.

    Args:
        score: log odds of the labels as they are.
        stratum: number of the stratum, −1 for rows that are left out.
        turned: +1 where the stratum's first model was chosen, −1 where it was rejected.

    Returns:
        NaN where no stratum has a win of both models.
    """
    wins, total = 0.0, 0.0
    for number in np.unique(stratum[stratum >= 0]):
        at = stratum == number
        first = turned[at] > 0
        n_won, n_lost = int(first.sum()), int((~first).sum())
        if n_won == 0 or n_lost == 0:
            continue
        ranks = rankdata(score[at] * turned[at])
        wins += float(ranks[first].sum()) - n_won * (n_won + 1) / 2
        total += n_won * n_lost
    return wins / total if total else float("nan")


def coverage(judged: ArmResult, full: ArmResult) -> float | None:
    """(log 2 − loss of judged concepts) / (log 2 − loss of the full reading); None if that gains nothing."""
    gain = np.log(2) - full.log_loss
    return float((np.log(2) - judged.log_loss) / gain) if gain > 0 else None


def paired_auc(score: Vector) -> float:
    """P(s_i > −s_j) + ½ P(s_i = −s_j) over all i, j: the AUC of scores s for label 1 and −s for label 0."""
    n = len(score)
    ranks = rankdata(np.concatenate([score, -score]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * n))


def _choose(penalty: str, x: Matrix, fold: NDArray[np.int8]) -> float:
    """The strength with the lowest log-loss on inner folds, from weak fits on: the loss falls, then rises."""
    best, lowest = STRENGTHS[0], np.inf
    for strength in STRENGTHS:
        loss = 0.0
        for k in range(INNER):
            train = fold != k
            loss -= float(log_expit(x[~train] @ _fit(penalty, strength, x[train])).sum())
        if loss > lowest:
            break
        if loss < lowest:  # an L1 penalty keeps nothing at first: the same loss again and again
            best, lowest = strength, loss
    return best


def _fit(penalty: str, strength: float, x: Matrix) -> Vector:
    """(q,) coefficients on oriented pairs: every other pair is turned so that both labels occur."""
    if x.shape[1] == 0:
        return np.zeros(0)
    turn = np.where(np.arange(x.shape[0]) % 2 == 0, 1.0, -1.0)
    is_dense = penalty == "l2" and x.shape[1] <= DENSE_COLUMNS
    model = LogisticRegression(
        C=strength, l1_ratio=1.0 if penalty == "l1" else 0.0, fit_intercept=False, random_state=0,
        max_iter=200, solver="newton-cholesky" if is_dense else "liblinear",
    )  # fmt: skip
    if isinstance(x, np.ndarray) or is_dense:
        turned: Matrix = (x if isinstance(x, np.ndarray) else x.toarray()) * turn[:, None]
    else:
        turned = sp.csr_matrix(sp.diags(turn) @ x)
    with warnings.catch_warnings():
        # A fit cut short at the weakest penalty is judged by its held-out loss like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(turned, turn > 0)
    return np.asarray(model.coef_.ravel(), np.float64)


def _bootstrap(
    of: Callable[[NDArray[np.int64]], float], group: NDArray[np.int32], seed: int
) -> tuple[float, float]:
    """95% interval of a figure of some rows, prompt groups drawn with replacement."""
    rng = np.random.default_rng(seed)
    order = np.argsort(group, kind="stable")
    _, first = np.unique(group[order], return_index=True)
    edges, n_groups = np.append(first, len(group)), len(first)
    draws = []
    for _ in range(BOOTSTRAPS):
        picked = rng.integers(0, n_groups, n_groups)
        draws.append(of(np.concatenate([order[edges[g] : edges[g + 1]] for g in picked])))
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return float(low), float(high)
