"""Pooling on a CPU of the latents that fire in a span: one pass over their columns. Compiled on first use."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=False, nogil=True)  # type: ignore[untyped-decorator]
def pool_columns(
    h: NDArray[np.float32],
    columns: NDArray[np.int64],
    threshold: NDArray[np.float32],
    act_max: NDArray[np.float32],
    n_fired: NDArray[np.uint16],
    act_sum: NDArray[np.float32],
    peak: NDArray[np.uint16],
) -> Any:
    """Largest value, count, sum and first position of the largest over the rows above a threshold.

    Args:
        h: (T, L) pre-activations.
        columns: (N,) which columns to pool.
        threshold: (N,) a row counts where it exceeds this, ≥ 0.
        act_max: (N,) zeros on entry, like the other outputs.
        n_fired: (N,)
        act_sum: (N,) summed in row order in float32.
        peak: (N,)
    """
    for row in range(h.shape[0]):
        for i in range(len(columns)):
            value = h[row, columns[i]]
            if value > threshold[i]:
                n_fired[i] += np.uint16(1)
                act_sum[i] += value
                if value > act_max[i]:
                    act_max[i] = value
                    peak[i] = row
