"""Five worlds in which length acts on the labels in a known way, on the user's own readings.

Concepts are injected whose presence grows with length (so that length confounds all of them); half of them
act on the labels, the other half and every real unit do not. A call on one that does not act is confounded.
The same draws are judged by the total effect, by a linear length control, by the full null model and by an
oracle that knows how length acts, directly and through the injected concepts, up to its size.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from engine.arrays import Disparity, PairArrays
from engine.progress import Progress
from engine.settings import StatsSettings
from engine.stats.design import Design, length_ratio, linear_design
from engine.stats.redraw import equal_calls, make_bench, refit, taught_calls

Vector = NDArray[np.float64]

WORLDS = ("linear", "tanh", "clipped tokens", "kink", "topic slope")
N_INJECTED = 100


@dataclass(frozen=True, slots=True)
class WorldResult:
    """One judge in one world, over all draws."""

    world: str
    judge: str
    """taught, linear control, full null model, oracle"""
    draws: int
    calls: float
    """Mean calls per draw."""
    found: float
    """Mean calls on injected concepts that act."""
    confounded_share: float
    """Calls on units that do not act, as a share of all calls."""


def length_effects(
    pairs: PairArrays, topic: NDArray[np.int32], rng: np.random.Generator
) -> dict[str, Vector]:
    """(P,) log odds that the first side wins, by world; all odd in swapping sides."""
    ratio = length_ratio(pairs)
    spread = max(float(np.sqrt(np.mean(ratio**2))), 1e-9)
    tokens = np.concatenate([pairs.chosen_tokens, pairs.rejected_tokens])
    cap = float(np.median(tokens))
    clipped = np.minimum(pairs.chosen_tokens, cap) - np.minimum(pairs.rejected_tokens, cap)
    size = np.abs(ratio)
    slopes = np.append(rng.permutation(np.linspace(-1.5, 2.5, int(topic.max(initial=0)) + 1)), 0.9)
    return {
        "linear": 0.9 * ratio / spread,
        "tanh": 1.2 * np.tanh(4 * ratio),
        "clipped tokens": clipped / max(float(np.sqrt(np.mean(clipped**2))), 1e-9),
        "kink": 3 * np.sign(ratio) * np.maximum(size - np.quantile(size, 0.6), 0),
        "topic slope": slopes[topic] * ratio / spread,
    }


def inject(pairs: PairArrays, n: int, rng: np.random.Generator) -> tuple[NDArray[np.int8], Vector]:
    """Concepts that are the likelier the longer a response is, and nothing else.

    Returns:
        (P, n) disparities, and what they are on average given the two lengths.
    """
    typical = float(np.median(np.concatenate([pairs.chosen_tokens, pairs.rejected_tokens])))
    rate = np.exp(rng.uniform(np.log(0.03), np.log(0.4), n))
    sides, chances = [], []
    for tokens in (pairs.chosen_tokens, pairs.rejected_tokens):
        chance = 1 - np.exp(-tokens[:, None] * rate / max(typical, 1.0))
        chances.append(chance)
        sides.append(rng.random(chance.shape) < chance)
    return sides[0].astype(np.int8) - sides[1].astype(np.int8), chances[0] - chances[1]


def length_worlds(
    units: Disparity,
    pairs: PairArrays,
    design: Design,
    weight: Vector,
    topic: NDArray[np.int32],
    settings: StatsSettings,
    *,
    draws: int = 20,
    seed: int = 0,
    progress: Progress,
) -> list[WorldResult]:
    """Every judge in every world.

    Args:
        units: real units, none of which acts.
        pairs: lengths and groups; models are not looked at, so ``design`` should hold none.
        design: the null model's columns.
        weight: (P,) 0 for unlabelled pairs.
        topic: (P,) topic of each pair, −1 for none.
        settings: levels and floors.
        draws: relabellings per world.
        seed: of everything.
        progress: told about draws.
    """
    rng = np.random.default_rng(seed)
    injected, expected = inject(pairs, N_INJECTED, rng)
    n_acting = N_INJECTED // 2
    beta = rng.choice([-1, 1], n_acting) * rng.uniform(0.3, 0.9, n_acting)
    push = injected[:, :n_acting] @ beta
    every = _append(units, injected)
    acting = np.zeros(every.n_units, np.bool_)
    acting[units.n_units : units.n_units + n_acting] = True
    bench = make_bench(every, pairs, design, weight, settings)
    linear = linear_design(pairs)
    progress.start("self-test: length worlds", len(WORLDS) * draws, "draws")
    results = []
    for world, effect in length_effects(pairs, topic, rng).items():
        known = effect + expected[:, :n_acting] @ beta
        oracle = Design(("true effect",), np.ascontiguousarray(known[:, None]), ())
        counts = {judge: np.zeros(2) for judge in ("taught", "linear control", "full null model", "oracle")}
        for _ in range(draws):
            flip = np.where(rng.random(pairs.n_pairs) < expit(effect + push), 1.0, -1.0)
            called = {
                "taught": taught_calls(bench, flip),
                "linear control": equal_calls(bench, flip, refit(bench, flip, linear)).called,
                "full null model": equal_calls(bench, flip, refit(bench, flip)).called,
                "oracle": equal_calls(bench, flip, refit(bench, flip, oracle)).called,
            }
            for judge, found in called.items():
                counts[judge] += (found.sum(), (found & acting).sum())
            progress.advance()
        results += [
            WorldResult(world, j, draws, n / draws, k / draws, float(1 - k / n) if n else 0.0)
            for j, (n, k) in counts.items()
        ]
    progress.finish()
    return results


def _append(units: Disparity, dense: NDArray[np.int8]) -> Disparity:
    unit, pair = np.nonzero(dense.T)
    extra = np.searchsorted(unit, np.arange(1, dense.shape[1] + 1)) + units.indptr[-1]
    return Disparity(
        np.concatenate([units.indptr, extra]).astype(np.int64),
        np.concatenate([units.pair, pair.astype(np.uint32)]),
        np.concatenate([units.u, dense[pair, unit].astype(np.float32)]),
    )
