"""Stage 3: statements about the set of survivors, in file order: quota, limit, sample, cap weight.

Draws rank pairs by md5(seed:pair_id), so a smaller sample is part of a larger one, and neither the order of
rows nor that of statements with other seeds matters.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.compiler.evaluation import Evaluation
from engine.compiler.population import Floats
from engine.rules.checked import CheckedSet

Bools = NDArray[np.bool_]


def apply_sets(
    sets: Sequence[CheckedSet], evaluation: Evaluation, alive: Bools, weight: Floats
) -> tuple[Bools, Floats, dict[str, Bools]]:
    """Survivors and weights after all set statements.

    Returns:
        alive (N,), weight (N,), and per statement the pairs that it removed or whose weight it changed.
    """
    alive, weight = alive.copy(), weight.copy()
    touched: dict[str, Bools] = {}
    for statement in sets:
        if statement.kind == "cap":
            capped = np.clip(weight, statement.low, statement.high)
            touched[statement.name] = alive & (capped != weight)
            weight = np.where(alive, capped, weight)
            continue
        stays = _stays(statement, evaluation, alive)
        touched[statement.name] = alive & ~stays
        alive &= stays
    return alive, weight, touched


def _stays(statement: CheckedSet, evaluation: Evaluation, alive: Bools) -> Bools:
    """Which of the pairs that are alive stay; (N,), False where not alive."""
    n = len(alive)
    codes = (
        np.zeros(n, np.int64) if statement.key is None else evaluation.keys[statement.key].astype(np.int64)
    )
    rank = evaluation.ranks[statement.seed]
    at = np.nonzero(alive)[0]
    order_value = np.zeros(len(at))
    if statement.order is not None:
        value = evaluation.values[statement.order][at]
        order_value = -value if statement.is_descending else value
        order_value = np.where(np.isnan(order_value), np.inf, order_value)
    # by value, then by the wanted order, then by draw; the pair number only breaks a tie of md5 itself
    ordered = at[np.lexsort((at, rank[at], order_value, codes[at]))]
    sizes = np.bincount(codes[at], minlength=int(codes[at].max(initial=0)) + 1)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    place = np.arange(len(ordered)) - np.repeat(starts, sizes)
    allowed = _allowed(statement, sizes)
    stays = np.zeros(n, bool)
    stays[ordered[place < np.repeat(allowed, sizes)]] = True
    return stays


def _allowed(statement: CheckedSet, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many pairs of each value stay; a sample keeps the values' proportions (largest remainders)."""
    if statement.kind != "sample":
        few: NDArray[np.int64] = np.minimum(sizes, int(statement.amount))
        return few
    total = int(sizes.sum())
    wanted = round(statement.amount / 100 * total) if statement.is_share else int(statement.amount)
    wanted = min(wanted, total)
    exact = sizes * (wanted / max(total, 1))
    allowed = np.floor(exact).astype(np.int64)
    rest = wanted - int(allowed.sum())
    by_remainder = np.argsort(-(exact - allowed), kind="stable")
    allowed[by_remainder[:rest]] += 1
    capped: NDArray[np.int64] = np.minimum(allowed, sizes)
    return capped
