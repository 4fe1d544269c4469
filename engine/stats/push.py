"""Where the pairs push, and where other prompt groups of the same kind would have pushed.

A push is a direction in the space of all concepts: the mean delta, or the ridge weights of a preference
model with all of them. What the push of one run has beyond that of another is a push again, with an error
that knows that both runs saw the same pairs: prompt groups are drawn with replacement for both at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from engine.arrays import Disparity
from engine.errors import StatsError
from engine.stats.forecast import Vector, group_sums, row_sums, unit_matrix

Matrix = NDArray[np.float64]
Flags = NDArray[np.bool_]

N_DRAWS = 400
"""Draws of prompt groups behind the error of a push: it is known to 4%."""
_CHUNK = 50
"""Draws at a time: counts of a hundred thousand groups are 40 MB."""


@dataclass(frozen=True, slots=True)
class Push:
    """A direction in M units; draws of two pushes go together where they come from one ``redrawn``."""

    value: Vector  # (M,)
    draws: Matrix  # (B, M) from prompt groups drawn with replacement

    @property
    def se(self) -> Vector:
        """(M,) standard deviation over the draws."""
        return np.asarray(self.draws.std(axis=0, ddof=1))

    def __sub__(self, other: "Push") -> "Push":
        return Push(self.value - other.value, self.draws - other.draws)

    def take(self, units: list[int]) -> "Push":
        """Only some units."""
        return Push(self.value[units], self.draws[:, units])


def redrawn(used: Flags, seed: int, n: int = N_DRAWS) -> Iterator[Matrix]:
    """How often each of G groups is drawn when the used ones are drawn with replacement: (G, b) at a time."""
    rng, places = np.random.default_rng(seed), np.nonzero(used)[0]
    for begin in range(0, n, _CHUNK):
        counts = np.zeros((len(used), min(_CHUNK, n - begin)))
        even = np.full(len(places), 1 / len(places))
        counts[places] = rng.multinomial(len(places), even, size=counts.shape[1]).T
        yield counts


def coin_signs(n_groups: int, rng: np.random.Generator, n: int) -> Matrix:
    """(G, n) a fair coin of ±1 for each prompt group: labels that cannot know."""
    return np.asarray(rng.choice(np.array([-1.0, 1.0]), (n_groups, n)))


class WeightedPairs:
    """A weighted set of P pairs in G prompt groups, and what M units get from it.

    Args:
        disparity: u of M units.
        group: (P,) prompt group of each pair.
        weight: (P,) ≥ 0; 0 leaves a pair out.
        turn: (P,) factor of u, as for ``mean_delta``.

    Raises:
        StatsError: weights that are negative, undefined or of fewer than two groups.
    """

    def __init__(self, disparity: Disparity, group: NDArray[np.int32], weight: Vector, turn: Vector) -> None:
        if np.any(weight < 0) or not np.all(np.isfinite(weight)):
            raise StatsError("weights must be finite and not negative")
        self._u, self._group = unit_matrix(disparity, len(weight)), group
        self._weight, self._turn, self._total = weight, turn, float(weight.sum())
        self._by_group = np.bincount(group, weight).astype(np.float64)  # (G,)
        self._sums = group_sums(self._u, group, weight * turn)  # (M, G) Σ w·t·u
        if int(self.used.sum()) < 2:
            raise StatsError(
                "a forecast needs pairs of at least two prompt groups", hint="the rules leave too few pairs"
            )

    @property
    def used(self) -> Flags:
        """(G,) groups with weight."""
        return np.asarray(self._by_group > 0)

    def mean_push(self, used: Flags, seed: int) -> Push:
        """The mean delta. ``used`` and ``seed`` fix which groups each draw has."""
        draws = [
            # A draw that has no pair of this set (only of another one) pushes nowhere.
            np.asarray(self._sums @ counts) / np.maximum(self._by_group @ counts, 1e-12 * self._total)
            for counts in redrawn(used, seed)
        ]
        return Push(row_sums(self._sums) / self._total, np.concatenate(draws, axis=1).T)

    def ridge_push(self, used: Flags, seed: int) -> Push:
        """Ridge weights ŵ of all units at once: which of them the labels ask for beside the others.

        One Newton step of Bradley–Terry from a coin, ``A⁻¹ Uᵀ D t / 2`` with ``A = Uᵀ D U / 4 + λI`` and D
        the weights. The prior weighs as much as M pairs of average information: λ = M · mean information of
        a unit / Σ D. A draw is to first order ŵ + A⁻¹ Σ_g (n_g − 1) Σ_{i∈g} w·u·(t/2 − u·ŵ/4), n_g how often
        its group is drawn; λ is held.
        """
        information = self._information()
        value = np.asarray(np.linalg.solve(information, row_sums(self._sums) / 2), np.float64)
        left = self._turn / 2 - np.asarray(self._u.T @ value) / 4
        scores = group_sums(self._u, self._group, self._weight * left)
        moved = [np.asarray(scores @ (counts - used[:, None])) for counts in redrawn(used, seed)]
        draws = np.linalg.solve(information, np.concatenate(moved, axis=1)).T
        return Push(value, value + draws)

    def shuffled_means(self, signs: Matrix) -> Matrix:
        """(n, M) mean deltas when the label of each prompt group is turned by ``signs`` (G, n)."""
        return np.asarray(self._sums @ signs).T / self._total

    def shuffled_ridge(self, signs: Matrix) -> Matrix:
        """(n, M) ridge weights of the same shuffled labels."""
        return np.asarray(np.linalg.solve(self._information(), np.asarray(self._sums @ signs) / 2)).T

    def _information(self) -> Matrix:
        gram = np.asarray((self._u @ sp.diags(self._weight) @ self._u.T).todense()) / 4
        m = len(gram)
        ridge = m * float(np.trace(gram)) / max(m, 1) / self._total
        return np.asarray(gram + max(ridge, 1e-12) * np.eye(m))
