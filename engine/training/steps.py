"""Pairs in whole steps: every pair of an optimiser step counts the same, however it is spread.

A step is a mean over its pairs. Processes and micro batches each average over what they hold, so where the
last step of an epoch is short their means are of unequal sizes, and accelerate fills the places of processes
that would stay empty with the first pairs again. Here those places are taken by fillers that count nothing,
and each pair has a share, a factor of its gradient and of what is logged, that makes the mean of means the
mean of the pairs. In a full step, and on one process without micro batches, every share is exactly 1.
"""

import os
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

SHARE = "share"
"""Column: factor of a pair in the mean of its step; 0 for a filler."""
_CUT = ("prompt_ids", "reference_ids", "chosen_ids", "rejected_ids", "keep_chosen", "keep_rejected")
"""Lists of a filler are one token long: it costs a forward pass of nothing."""


def n_processes() -> int:
    """Processes that train together, as torchrun says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def n_reached(steps: int | None, batch_pairs: int, n_pairs: int) -> int:
    """Pairs, from the first in training order, that a run sees."""
    return n_pairs if steps is None else min(n_pairs, steps * batch_pairs * n_processes())


def step_shares(n_pairs: int, micro: int, accumulation: int, processes: int) -> list[float]:
    """Shares of the pairs, in order, and of the fillers behind them.

    Args:
        n_pairs: pairs of an epoch.
        micro: pairs per forward pass of one process.
        accumulation: forward passes of a process per step.
        processes: that train together.
    """
    together = micro * processes
    last = n_pairs % (together * accumulation)
    shares = [1.0] * (n_pairs - last)
    passes = -(-last // together)
    if processes > 1:
        fillers = passes * together - last
        return shares + [passes * together / last] * last + [0.0] * fillers if last else shares
    for start in range(0, last, micro):
        held = min(micro, last - start)
        shares += [passes * held / last] * held
    return shares


def in_whole_steps(table: pa.Table, micro: int, accumulation: int, processes: int) -> pa.Table:
    """The encoded pairs with their shares; fillers behind them where processes would stay empty."""
    shares = step_shares(table.num_rows, micro, accumulation, processes)
    n_fillers = len(shares) - table.num_rows
    if n_fillers:
        filler = _filler(table)
        table = pa.concat_tables([table, *[filler] * n_fillers])
    return table.append_column(SHARE, pa.array(shares, pa.float32()))


def _filler(table: pa.Table) -> pa.Table:
    """One row that stands for nothing."""
    row = table.slice(table.num_rows - 1)
    columns: dict[str, Any] = {}
    for name in row.column_names:
        column = row.column(name)
        columns[name] = pc.list_slice(column, 0, 1).cast(column.type) if name in _CUT else column
    return pa.table(columns, schema=table.schema)
