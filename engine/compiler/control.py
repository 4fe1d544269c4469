"""A random plan of equal size: the same drops, weights, offsets and flips, dealt to other pairs.

An arm trained on it tells how much of a shaped run's change comes from training on less or uneven data.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from engine.compiler.plan import Draft


def randomised(
    draft: "Draft", pair_ids: NDArray[np.object_], base: NDArray[np.float64], seed: int
) -> "Draft":
    """Deal what the plan does to pairs among all input pairs, by md5(control:seed:pair_id).

    ``base`` is the weight of each pair in the mix: what is dealt is the factor by which rules change it.
    """
    from dataclasses import replace

    keys = [hashlib.md5(f"control:{seed}:{i}".encode(), usedforsecurity=False).digest() for i in pair_ids]
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)

    return replace(
        draft,
        alive=draft.alive[order],
        weight=(draft.weight / base)[order] * base,
        offset=draft.offset[order],
        flipped=draft.flipped[order],
        touched={"control": np.ones(len(order), bool)},
        dropped_by={"control": ~draft.alive[order]},
        tags={},
        matched=(),
    )
