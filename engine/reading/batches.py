"""Which sequences go through the model together."""

from collections.abc import Sequence

from engine.reading.jobs import Job
from engine.reading.packed import Row


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


def plan_rows(jobs: Sequence[Job], longest: int) -> list[list[int]]:
    """Neighbours with the same prompt, as rows of one prompt and several responses.

    Args:
        jobs: sequences; those with the same prompt are neighbours.
        longest: tokens of a row; a longer text has a row of its own.

    Returns:
        Indices into ``jobs``, in order.
    """
    rows: list[list[int]] = []
    held, length = b"", 0
    for i, job in enumerate(jobs):
        prompt = job.ids[: job.n_prompt].tobytes()
        more = len(job.ids) - job.n_prompt
        if prompt and prompt == held and length + more <= longest:
            rows[-1].append(i)
            length += more
        else:
            rows.append([i])
            held, length = prompt, len(job.ids)
    return rows


def row_of(jobs: Sequence[Job]) -> Row:
    """The row of jobs that begin with the same prompt; a single one needs no split."""
    n = jobs[0].n_prompt if len(jobs) > 1 else 0
    return Row(jobs[0].ids[:n], tuple(job.ids[n:] for job in jobs))


def row_length(jobs: Sequence[Job]) -> int:
    """Tokens of that row."""
    return row_of(jobs).n_tokens
