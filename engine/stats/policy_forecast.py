"""Forecasts through the starting checkpoint: what varies together among its answers to one prompt.

Where the pairs' own responses are not the policy's, a push along v moves what varies with it when the
*policy* answers: to first order E[φ] moves by Cov(φ, d), d = φ·v or, for a pilot, the change of
log-probability that its training brought. Cov is taken within prompts, since d/dε E_{π·e^{εd}}[φ] = Cov(φ, d)
at ε = 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy import special

from engine.errors import StatsError
from engine.stats.forecast import LEVEL, Vector

Matrix = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CovarianceForecast:
    """Mean within-prompt covariances with their errors. All arrays (C,)."""

    mean: Vector
    se: Vector
    low: Vector
    """90% interval"""
    high: Vector
    n_prompts: int


@dataclass(frozen=True, slots=True)
class Answers:
    """R responses that one checkpoint sampled, and the group of each prompt; prompts with several only."""

    kept: NDArray[np.bool_]  # (all responses,) those to prompts with two or more
    prompt: Integers  # (R,) 0 … P−1
    n: Integers  # (P,) responses to each prompt, ≥ 2
    group: Integers  # (P,) 0 … G−1

    @classmethod
    def of(cls, prompt: Integers, group: Sequence[str]) -> "Answers":
        """From the prompt number and the prompt group of every response.

        Raises:
            StatsError: fewer than two prompt groups with two responses to a prompt.
        """
        numbers, count = np.unique(prompt, return_inverse=True, return_counts=True)[1:]
        kept = count[numbers] > 1
        places, first, own = np.unique(numbers[kept], return_index=True, return_inverse=True)
        codes = np.unique(np.asarray(group)[kept][first], return_inverse=True)[1].astype(np.int64)
        if codes.max(initial=-1) < 1:
            raise StatsError(
                "a forecast through the policy needs two prompt groups with two responses to a prompt",
                hint="set training.rollouts_per_prompt to 4, or sample more prompts",
            )
        return cls(kept, own.astype(np.int64), count[places].astype(np.int64), codes)

    @property
    def n_groups(self) -> int:
        """G"""
        return int(self.group.max()) + 1

    def centred(self, values: Matrix) -> Matrix:
        """Values of all responses (… , k) less the mean of their prompt; only of the R kept."""
        inside: Matrix = np.asarray(values)[self.kept]
        means = np.asarray(self._gather() @ inside) / self.n[:, None]
        return np.asarray(inside - means[self.prompt])

    def covariance(self, values: Matrix, along: Matrix) -> Matrix:
        """(C, k) mean over prompts of Cov(values, along), Σ (φ − mean)(d − mean) / (n − 1) in each prompt."""
        share = 1 / ((self.n - 1) * len(self.n))
        return np.asarray(self.centred(values).T @ (self.centred(along) * share[self.prompt][:, None]))

    def by_prompt(self, values: Matrix, along: Vector) -> Matrix:
        """(P, C) the covariance inside each prompt."""
        product = self.centred(values) * self.centred(along[:, None])
        return np.asarray(self._gather() @ product) / (self.n - 1)[:, None]

    def _gather(self) -> sp.csr_matrix:
        n = len(self.prompt)
        return sp.csr_matrix((np.ones(n), (self.prompt, np.arange(n))), (len(self.n), n))

    def shuffled(self, along: Vector, rng: np.random.Generator, n: int) -> Matrix:
        """(all responses, n) ``along`` dealt out anew among the answers to one prompt; 0 where left out."""
        found = np.zeros((len(self.kept), n))
        places, order = np.nonzero(self.kept)[0], np.argsort(self.prompt, kind="stable")
        for k in range(n):
            random = np.lexsort((rng.random(len(self.prompt)), self.prompt))
            found[places[order], k] = along[places[random]]
        return found


def covariance_forecast(
    values: Matrix, along: Vector, answers: Answers, drawn: Matrix | None = None
) -> CovarianceForecast:
    """Mean over prompts of Cov(φ, d) within them, with errors from the rollouts and from the pairs.

    The error of the rollouts is linearised and summed by prompt group, ``sqrt(G/(G−1) · Σ_g (Σ_{p∈g} (c_p −
    mean))²) / P``; that of the pairs is the standard deviation of Cov(φ, d) over pushes from redrawn prompt
    groups of the pairs. The two have other prompts (fold 19 and the rest), so variances add. The interval has
    Student's quantile with G − 1 degrees of freedom, G the groups of the rollouts.

    Args:
        values: (R, C) φ, score of each response sampled from the start.
        along: (R,) d: score along the push, or log-probability under the pilot − under the start, nats.
        answers: whose answers they are.
        drawn: (R, B) d from redrawn pairs; None where d is taken as known.
    """
    each = answers.by_prompt(values, along)
    n_groups = answers.n_groups
    mean: Vector = each.mean(0)
    sums = np.zeros((n_groups, each.shape[1]))
    np.add.at(sums, answers.group, each - mean)
    variance = n_groups / (n_groups - 1) * np.square(sums).sum(0) / len(each) ** 2
    if drawn is not None:
        variance = variance + answers.covariance(values, drawn).var(axis=1, ddof=1)
    se: Vector = np.sqrt(variance)
    half = float(special.stdtrit(n_groups - 1, (1 + LEVEL) / 2)) * se
    return CovarianceForecast(mean, se, mean - half, mean + half, len(each))
