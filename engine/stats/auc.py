"""Held-out AUC and log-loss of every arm, with prompt groups kept together and strengths chosen inside.

Estimand: the chance that a random pair oriented by its label scores above a random pair oriented against
it, for prompts that were not seen. A model without intercept is fitted on oriented pairs, so a pair scored
s counts as (s, won) and (−s, lost): the AUC is exact over both orientations and needs no coin. The
penalty's strength is chosen on inner folds for every arm alike. Coverage is the share of the full reading's
gain in held-out log-loss that the concepts judged so far already have. Every figure and every fit weighs
pairs as the mix does: a pair of weight 2 counts like the same pair twice in its group.

Where models are known there is a second AUC, *within*: only pairs of the same two models are compared, so
that "which model wrote it" is worth one half and what remains is what a judge leans to among the answers of
one model against another.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import log_expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from engine.arrays import UNKNOWN, PairArrays
from engine.errors import StatsError
from engine.progress import Progress
from engine.stats.arms import Arm, Matrix
from engine.stats.push import redrawn

Vector = NDArray[np.float64]

OUTER = 5
INNER = 4
STRENGTHS = (0.0003, 0.003, 0.03, 0.3, 3.0)
"""Inverse penalties tried (scikit-learn's C)."""
BOOTSTRAPS = 200
RATIO_DRAWS = 1000
"""Draws of prompt groups behind the interval of a coverage."""
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


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One arm's result, and what its held-out losses come to in each prompt group."""

    result: ArmResult
    group_loss: Vector  # (G,) Σ weight · log-loss over the group's labelled pairs, nats


def held_out(
    arms: Sequence[Arm], pairs: PairArrays, weight: Vector, *, seed: int = 0, progress: Progress
) -> list[HeldOut]:
    """Every arm on the same folds.

    Args:
        arms: features of all pairs.
        pairs: labels, groups and folds; only labelled pairs are used.
        weight: (P,) ≥ 0 of each pair.
        seed: of the bootstrap.
        progress: told about fits.

    Raises:
        StatsError: too few prompt groups for nested folds.
    """
    rows = np.nonzero(pairs.is_signed & (weight > 0))[0]
    fold = pairs.fold[rows] % OUTER
    if len(np.unique(pairs.fold[rows])) < OUTER * INNER:
        raise StatsError("too few prompt groups for nested folds", hint="at least a few hundred are needed")
    inner, own = pairs.fold[rows] // OUTER, weight[rows]
    scored = _Scored(pairs.group[rows], own, model_strata(pairs, rows, fold), seed)
    progress.start("held-out AUC", len(arms) * OUTER, "fits")
    results = []
    for arm in arms:
        score, strengths, width = np.zeros(len(rows)), [], 0
        for k in range(OUTER):
            train = fold != k
            x = arm.features(rows, train, own)
            strength = _choose(arm.penalty, x[train], own[train], inner[train])
            score[~train] = x[~train] @ _fit(arm.penalty, strength, x[train], own[train])
            strengths.append(strength)
            width = x.shape[1]
            progress.advance()
        loss = np.zeros(int(pairs.group.max(initial=-1)) + 1)
        np.add.at(loss, scored.group, -own * log_expit(score))
        results.append(HeldOut(scored.result(arm.name, width, score, tuple(strengths)), loss))
    progress.finish()
    return results


@dataclass(frozen=True, slots=True)
class _Scored:
    """The pairs that scores are judged on. Arrays (R,)."""

    group: NDArray[np.int32]
    weight: Vector
    strata: "Strata | None"
    seed: int

    def result(self, name: str, width: int, score: Vector, strengths: tuple[float, ...]) -> ArmResult:
        """Figures of one arm's held-out scores, with intervals."""
        weight = self.weight
        low, high = _bootstrap(lambda at: paired_auc(score[at], weight[at]), self.group, self.seed)
        accuracy = float(np.average((score > 0) + 0.5 * (score == 0), weights=weight))
        loss = float(-np.average(log_expit(score), weights=weight))
        plain = ArmResult(name, width, paired_auc(score, weight), low, high, accuracy, loss, strengths)
        if self.strata is None:
            return plain
        number, turned = self.strata

        def within(at: NDArray[np.int64]) -> float:
            return within_auc(score[at], number[at], turned[at], weight[at])

        whole = within(np.arange(len(score)))
        if not np.isfinite(whole):
            return plain  # no two models met with a win of both
        low, high = _bootstrap(within, self.group, self.seed)
        return replace(plain, within=whole, within_low=low, within_high=high)


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


def within_auc(score: Vector, stratum: NDArray[np.int64], turned: Vector, weight: Vector) -> float:
    """AUC of "the first model wins" over all pairs of rows from one stratum, each of weight w·w'.

    Args:
        score: log odds of the labels as they are.
        stratum: number of the stratum, −1 for rows that are left out.
        turned: +1 where the stratum's first model was chosen, −1 where it was rejected.
        weight: ≥ 0 of each row.

    Returns:
        NaN where no stratum has a win of both models.
    """
    wins, total = 0.0, 0.0
    for number in np.unique(stratum[stratum >= 0]):
        at = stratum == number
        first, w, oriented = turned[at] > 0, weight[at], score[at] * turned[at]
        both = float(w[first].sum()) * float(w[~first].sum())
        if both == 0:
            continue
        wins += float(w[first] @ _weight_below(oriented[first], oriented[~first], w[~first]))
        total += both
    return wins / total if total else float("nan")


def _weight_below(at: Vector, of: Vector, weight: Vector) -> Vector:
    """Σ of ``weight`` over values of ``of`` below each value of ``at``, half of it where they are equal."""
    order = np.argsort(of, kind="stable")
    upto, ordered = np.concatenate([[0.0], np.cumsum(weight[order])]), of[order]
    left, right = np.searchsorted(ordered, at, "left"), np.searchsorted(ordered, at, "right")
    return np.asarray((upto[left] + upto[right]) / 2)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Share of the full reading's gain over a coin that some concepts have. 95% interval."""

    share: float | None
    """None where the full reading gains nothing."""
    low: float | None
    high: float | None


def coverage(part: HeldOut, full: HeldOut, group_weight: Vector, *, seed: int = 0) -> Coverage:
    """(log 2 − loss of some concepts) / (log 2 − loss of the full reading), from held-out losses in nats.

    Args:
        part: of the concepts.
        full: of the full reading on the same folds.
        group_weight: (G,) Σ weight over the labelled pairs of each prompt group.
        seed: of the bootstrap.

    Returns:
        the share with a percentile interval: prompt groups are drawn with replacement, both losses summed
        over the same draw. No interval where the full reading gains nothing in some draw: the ratio has no
        sense there. Fits are not repeated, so how much they would differ on other pairs is not in it.
    """
    coin = np.log(2) * group_weight
    gain, whole = coin - part.group_loss, coin - full.group_loss
    if whole.sum() <= 0:
        return Coverage(None, None, None)
    share = float(gain.sum() / whole.sum())
    both = np.stack([gain, whole])
    drawn = np.concatenate([both @ n for n in redrawn(group_weight > 0, seed, RATIO_DRAWS)], axis=1)
    if np.any(drawn[1] <= 0):
        return Coverage(share, None, None)
    low, high = np.quantile(drawn[0] / drawn[1], [0.025, 0.975])
    return Coverage(share, float(low), float(high))


def paired_auc(score: Vector, weight: Vector) -> float:
    """Weighted share of s_i > −s_j (ties: half) over all i, j: AUC of scores s for label 1, −s for 0."""
    return float(weight @ _weight_below(score, -score, weight) / weight.sum() ** 2)


def _choose(penalty: str, x: Matrix, weight: Vector, fold: NDArray[np.int8]) -> float:
    """The strength with the lowest log-loss on inner folds, from weak fits on: the loss falls, then rises."""
    best, lowest = STRENGTHS[0], np.inf
    for strength in STRENGTHS:
        loss = 0.0
        for k in range(INNER):
            train = fold != k
            beta = _fit(penalty, strength, x[train], weight[train])
            loss -= float(weight[~train] @ log_expit(x[~train] @ beta))
        if loss > lowest:
            break
        if loss < lowest:  # an L1 penalty keeps nothing at first: the same loss again and again
            best, lowest = strength, loss
    return best


def _fit(penalty: str, strength: float, x: Matrix, weight: Vector) -> Vector:
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
        model.fit(turned, turn > 0, sample_weight=weight)
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
