"""Does a name say where its concept fires? A test on excerpts that the name was not made from.

A model sees the name alone and excerpts in mixed order, some of which carry the concept, and says which fit.
If its answer has nothing to do with the concept, every way of dealing the excerpts out is equally likely
whatever it picked, so the number of hits is hypergeometric given the number of picks (Fisher's exact test):
the stated level holds for any number of picks, for a model that always says yes, and for one that guesses.
"""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from engine.views.names import Recognition

CONFIDENCE = 0.95
"""Of the interval that is shown."""


class Trial(NamedTuple):
    """Excerpts in mixed order."""

    texts: tuple[str, ...]
    fires: tuple[bool, ...]
    """Which of them carry the concept."""
    are_silent: bool
    """The others are of responses without the concept."""


def deal(fires: Sequence[str], others: Sequence[str], rng: np.random.Generator, *, are_silent: bool) -> Trial:
    """Mix excerpts where a concept fires with others."""
    texts = [*((t, True) for t in fires), *((t, False) for t in others)]
    order = rng.permutation(len(texts))
    mixed = [texts[int(i)] for i in order]
    return Trial(tuple(t for t, _ in mixed), tuple(f for _, f in mixed), are_silent)


def judge(trial: Trial, picked: Collection[int], level: float) -> Recognition:
    """How well an answer tells the excerpts apart.

    Args:
        trial: what was asked.
        picked: positions (from 0) that the model said the name fits.
        level: p at most for which the name counts as recognised.
    """
    n_fires = sum(trial.fires)
    n_others = len(trial.fires) - n_fires
    chosen = set(picked)
    n_hits = sum(1 for at in chosen if trial.fires[at])
    n_right = n_hits + n_others - (len(chosen) - n_hits)
    low, high = interval(n_right, len(trial.fires))
    return Recognition(
        n_fires, n_others, len(chosen), n_hits, chance(n_fires, n_others, len(chosen), n_hits), level,
        low, high, trial.are_silent,
    )  # fmt: skip


def chance(n_fires: int, n_others: int, n_picked: int, n_hits: int) -> float:
    """P(hits ≥ ``n_hits``) when ``n_picked`` of the excerpts are picked blindly, exactly."""
    ways = sum(
        math.comb(n_fires, hits) * math.comb(n_others, n_picked - hits)
        for hits in range(max(n_hits, n_picked - n_others, 0), min(n_fires, n_picked) + 1)
    )
    return ways / math.comb(n_fires + n_others, n_picked)


def can_be_recognised(n_fires: int, n_others: int, level: float) -> bool:
    """True when an answer without a mistake would do: with fewer excerpts nobody needs to be asked."""
    return n_fires > 0 and n_others > 0 and 1 / math.comb(n_fires + n_others, n_fires) <= level


def interval(n_right: int, n: int) -> tuple[float, float]:
    """Exact interval (Clopper–Pearson) of a share of which ``n_right`` of ``n`` were seen."""
    from scipy.stats import beta

    tail = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, n_right, n - n_right + 1)) if n_right else 0.0
    high = float(beta.ppf(1 - tail, n_right + 1, n - n_right)) if n_right < n else 1.0
    return low, high
