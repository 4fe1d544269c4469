"""Residual streams of many texts: in padded batches on a GPU, one after the other on a CPU.

A GPU takes batches within a token budget, with a prompt and its responses in one row where the model takes
such rows; a batch that does not fit into its memory is planned again in half. A CPU is saturated by one text,
and padding is lost work there: it goes on after a prompt that neighbours share.
"""

import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from engine.errors import ModelError
from engine.models.memory import is_out_of_memory
from engine.reading.batches import plan_batches, plan_rows, row_length, row_of
from engine.reading.jobs import Job, plan_work
from engine.reading.pair_file import PairFile
from engine.reading.stream import Stream
from engine.settings import ReadingSettings

log = logging.getLogger(__name__)

MIN_ROW = 2048
"""Tokens that a prompt and its responses may have together at least before they take more than one row."""
PAIRS_AT_ONCE = 16
"""Pairs that ``own_residuals`` takes at least, up to the end of their last group."""
MOST_AT_ONCE = 1024
"""Pairs of one group beyond which a step ends all the same."""
BATCHES_AT_ONCE = 8
"""What ``own_residuals`` plans and holds at a time, in token budgets; with more of them less is padding."""

Result = TypeVar("Result")
Use = Callable[[Sequence[Job], Sequence[torch.Tensor]], Result]
"""What is made of some jobs and their residual streams, (T, D) each."""


@dataclass
class ResidualBatches:
    """A stream, and how many tokens of it are computed at a time."""

    stream: Stream
    batch_tokens: int
    """Token budget of a batch on a GPU, halved when memory runs out; 0 on a CPU: one text at a time."""

    @classmethod
    def of(cls, stream: Stream, settings: ReadingSettings) -> "ResidualBatches":
        """As the stream's device wants it."""
        return cls(stream, 0 if stream.device.type == "cpu" else settings.batch_tokens)

    def each(self, jobs: Sequence[Job], use: Use[Result]) -> Iterator[tuple[list[int], Result]]:
        """Compute all jobs, batch by batch.

        Args:
            jobs: sequences; those with the same prompt are neighbours.
            use: called once per batch that fits into memory; where it runs out in ``use``, that counts too.

        Yields:
            Indices into ``jobs`` and what ``use`` made of them: on a CPU one job after the other, else
            longest batches first.

        Raises:
            ModelError: a single text does not fit into memory.
        """
        if not self.batch_tokens:
            yield from self._in_turn(jobs, use)
            return
        waiting = self._plan(jobs, self._rows(jobs))
        while waiting:
            batch = waiting.pop(0)
            indices = [i for row in batch for i in row]
            try:
                streams = self._compute([[jobs[i] for i in row] for row in batch])
                result = use([jobs[i] for i in indices], streams)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                rows = self._smaller(jobs, batch, error)
                waiting = self._plan(jobs, [*rows, *(row for later in waiting for row in later)])
                continue
            del streams  # not held while the next batch is computed
            yield indices, result

    def n_computed(self, jobs: Sequence[Job]) -> int:
        """Tokens that ``each`` sends through the model for these jobs, padding aside."""
        if not self.batch_tokens:
            return n_computed(jobs, self.stream.min_shared)
        return sum(row_length([jobs[i] for i in row]) for row in self._rows(jobs))

    def _in_turn(self, jobs: Sequence[Job], use: Use[Result]) -> Iterator[tuple[list[int], Result]]:
        streams = job_residuals(self.stream, jobs)
        for i, job in enumerate(jobs):
            try:
                result = use([job], [next(streams)])
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                raise _too_long(job) from error
            yield [i], result

    def _rows(self, jobs: Sequence[Job]) -> list[list[int]]:
        if self.stream.packs is None:
            return [[i] for i in range(len(jobs))]
        return plan_rows(jobs, max(self.stream.max_tokens, MIN_ROW))

    def _plan(self, jobs: Sequence[Job], rows: Sequence[list[int]]) -> list[list[list[int]]]:
        """Rows that go through the model together; those of a single text apart, since they need no mask."""
        batches = []
        for is_shared in (True, False):
            chosen = [row for row in rows if (len(row) > 1) is is_shared]
            lengths = [row_length([jobs[i] for i in row]) for row in chosen]
            batches += [[chosen[k] for k in batch] for batch in plan_batches(lengths, self.batch_tokens)]
        return batches

    def _compute(self, batch: Sequence[Sequence[Job]]) -> list[torch.Tensor]:
        """Streams of rows of jobs that begin with the same prompt, each with one text or more."""
        rows = [row_of(row) for row in batch]
        filled = [row for row in rows if row.n_tokens]
        found = iter(self.stream.rows(filled)) if filled else iter(())
        return [text for row in rows for text in (next(found) if row.n_tokens else [self.stream.nothing()])]

    def _smaller(self, jobs: Sequence[Job], batch: list[list[int]], error: BaseException) -> list[list[int]]:
        """A batch that did not fit, cut in two if it was one row; later ones are of half its size.

        Raises:
            ModelError: it was a single text.
        """
        if self.stream.device.type == "cuda":
            torch.cuda.empty_cache()
        padded = len(batch) * max(row_length([jobs[i] for i in row]) for row in batch)
        self.batch_tokens = max(min(self.batch_tokens, padded) // 2, 1)
        log.warning("out of memory with %d sequences: batches of %d tokens", len(batch), self.batch_tokens)
        if len(batch) > 1:
            return batch
        if len(batch[0]) == 1:
            raise _too_long(jobs[batch[0][0]]) from error
        half = len(batch[0]) // 2
        return [batch[0][:half], batch[0][half:]]


def in_order(found: Iterable[tuple[Sequence[int], Sequence[Result]]]) -> Iterator[Result]:
    """One result per job, in the order of the jobs, from results of batches; what comes early is held."""
    held: dict[int, Result] = {}
    at = 0
    for indices, results in found:
        held.update(zip(indices, results, strict=True))
        while at in held:
            yield held.pop(at)
            at += 1


@dataclass(frozen=True, slots=True)
class _Step:
    """Consecutive pairs whose distinct texts are read once."""

    jobs: list[Job]
    owner: dict[Hashable, str]
    """``source/span`` of each reading."""
    n_pairs: int

    @classmethod
    def of(cls, pairs: PairFile, stream: Stream, start: int, stop: int) -> "_Step":
        work = plan_work(pairs.texts(start, stop), stream.layout, stream.max_tokens)
        owner: dict[Hashable, str] = {
            key: f"{pairs.sources[start + i]}/{span}"
            for i, keys in enumerate(work.keys)
            for span, key in keys.items()
        }
        return cls(work.jobs, owner, stop - start)


def own_residuals(
    pairs: PairFile,
    batches: ResidualBatches,
    start: int,
    stop: int,
    *,
    step: int = PAIRS_AT_ONCE,
    on_pairs: Callable[[int], None] | None = None,
) -> Iterator[tuple[str, torch.Tensor]]:
    """Residual vectors of the spans' own tokens of some pairs.

    Args:
        pairs: where the texts are.
        batches: computes them.
        start: first pair.
        stop: pair after the last.
        step: pairs that are taken at a time, and those of their last group: only pairs of one group can share
            a text, so each is read and given once.
        on_pairs: called with the number of pairs whenever a step's texts have all been given.

    Yields:
        Where the span comes from, ``source/span``, and its (T, D) float32 vectors; T > 0. The order is that
        of the pairs, whatever the batches were.

    Raises:
        ModelError: a text does not fit into memory.
    """
    for window in _windows(pairs, batches, group_steps(pairs.group_ids, start, stop, step)):
        vectors = in_order(batches.each([job for part in window for job in part.jobs], _own_tokens))
        for part in window:
            for job, of_job in zip(part.jobs, vectors, strict=False):  # vectors of the next part stay
                for want, own in zip(job.wants, of_job, strict=True):
                    if len(own):
                        yield part.owner[want.key], own.float()
            if on_pairs is not None:
                on_pairs(part.n_pairs)


def group_steps(group_ids: Sequence[str], start: int, stop: int, size: int) -> Iterator[range]:
    """Runs of ``size`` pairs and those of the last one's group, at most ``MOST_AT_ONCE`` in all."""
    while start < stop:
        end, limit = min(start + size, stop), min(start + max(size, MOST_AT_ONCE), stop)
        while end < limit and group_ids[end] == group_ids[end - 1]:
            end += 1
        yield range(start, end)
        start = end


def own_tokens_per_pair(pairs: PairFile, stream: Stream, start: int, n: int = 16) -> float:
    """Vectors that ``own_residuals`` gives per pair, from texts all over and without the model."""
    runs = list(group_steps(pairs.group_ids, start, len(pairs), PAIRS_AT_ONCE))
    chosen = np.unique(np.linspace(0, max(len(runs) - 1, 0), n).astype(int)) if runs else ()
    steps = [_Step.of(pairs, stream, runs[i].start, runs[i].stop) for i in chosen]
    n_tokens = sum(len(want.own) for step in steps for job in step.jobs for want in job.wants)
    return n_tokens / max(sum(step.n_pairs for step in steps), 1)


def _windows(pairs: PairFile, batches: ResidualBatches, runs: Iterable[range]) -> Iterator[list[_Step]]:
    """Steps that are planned together: a few batches' worth, so that a batch's texts are of like length."""
    window, n = [], 0
    for run in runs:
        window.append(_Step.of(pairs, batches.stream, run.start, run.stop))
        n += sum(len(job.ids) for job in window[-1].jobs)
        if n >= BATCHES_AT_ONCE * batches.batch_tokens:
            yield window
            window, n = [], 0
    if window:
        yield window


def _own_tokens(jobs: Sequence[Job], streams: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Per job the vectors of each wanted span, (T, D): copies, so that the batch can be let go of."""
    return [
        [stream[torch.from_numpy(want.own).to(stream.device)] for want in job.wants]
        for job, stream in zip(jobs, streams, strict=True)
    ]


def _too_long(job: Job) -> ModelError:
    return ModelError(
        f"a text of {len(job.ids)} tokens does not fit into memory", hint="lower reading.max_tokens"
    )


def job_residuals(stream: Stream, jobs: Iterable[Job]) -> Iterator[torch.Tensor]:
    """Residual stream of each job in turn, (T, D); a prompt that neighbours share is computed once.

    Whether a prompt is computed by itself depends on its length alone, so that a text gets the same
    activations whatever it is read with.
    """
    held: tuple[bytes, torch.Tensor, object] | None = None
    for job in jobs:
        n = job.n_prompt
        if n < stream.min_shared:
            yield stream.residuals([job.ids])[0] if len(job.ids) else stream.nothing()
            continue
        key = job.ids[:n].tobytes()
        if held is None or held[0] != key:
            held = (key, *stream.begin(job.ids[:n]))
        after = stream.go_on(held[2], job.ids[n:]) if len(job.ids) > n else stream.nothing()
        yield torch.cat([held[1], after])


def n_computed(jobs: Sequence[Job], min_shared: int) -> int:
    """Tokens that ``job_residuals`` sends through the model."""
    n, held = 0, b""
    for job in jobs:
        n += len(job.ids)
        prompt = job.ids[: job.n_prompt].tobytes() if job.n_prompt >= min_shared else b""
        n -= job.n_prompt if prompt and prompt == held else 0
        held = prompt or held
    return n
