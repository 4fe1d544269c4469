"""Which sequences go through the model together."""

from collections.abc import Sequence


def plan_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group sequences so that padded size (sequences × longest) stays within a token budget.

    Args:
        lengths: tokens of each sequence.
        budget: tokens per batch, padding included; 0: one sequence at a time, in the order given (a CPU is
            saturated by one sequence, and padding is lost work).

    Returns:
        Indices into ``lengths``, longest first, so that memory is at its peak at the start. A sequence
        longer than the budget gets a batch of its own.
    """
    if budget <= 0:
        return [[i] for i in range(len(lengths))]
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches
