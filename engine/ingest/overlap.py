"""Which prompts occur in an evaluation set: whole, or by runs of words in a pass of its own.

Words are stretches of ASCII letters and digits, compared without case, and of characters beyond ASCII; system
turns are left aside. A prompt *occurs whole* where all its words are those of an evaluation prompt. Otherwise
its runs of ``overlap_words`` words (13, the n-gram of common decontamination practice: Brown et al. 2020,
appendix C) are looked up. The *share* is the part of an evaluation prompt's distinct runs that occur in it,
or the part of its own that occur there, whichever is larger; the largest over evaluation prompts counts. Runs
that more than ten evaluation prompts have (instructions, templates) say nothing and are left aside. Only
hashes are held: at most ``MAX_RUNS`` runs, 16 bytes each; larger sets are sampled by hash, which leaves
shares unbiased.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.ingest.spool import batches
from engine.progress import Progress

MAX_RUNS = 20_000_000
MAX_PROMPTS_PER_RUN = 10
_TABLE_BITS = 24
Hashes = NDArray[np.uint64]


class PromptRuns(NamedTuple):
    """Words of P prompts as hashes."""

    whole: Hashes
    """(P,) all words in order; 0 for a prompt without words."""
    at: NDArray[np.int64]
    """(P+1,) where each prompt's runs begin."""
    runs: Hashes
    """(R,)"""


@numba.njit(cache=True)  # type: ignore[untyped-decorator]  # numba ships no types
def _scan(
    data: NDArray[np.uint8],
    text_at: NDArray[np.int64],
    turn_at: NDArray[np.int64],
    is_skipped: NDArray[np.bool_],
    n_words: int,
    whole: Hashes,
    at: NDArray[np.int64],
    runs: Hashes,
) -> None:
    """Hash all words of every prompt and, once ``runs`` has room for them, every run; else count runs."""
    base = np.uint64(0x9E3779B97F4A7C15)
    oldest = np.uint64(1)
    for _ in range(n_words):
        oldest *= base
    words = np.zeros(n_words, np.uint64)
    is_filling = len(runs) > 0
    n_runs = 0
    for pair in range(len(turn_at) - 1):
        everything = np.uint64(0)
        for turn in range(turn_at[pair], turn_at[pair + 1]):
            if is_skipped[turn]:
                continue
            count = 0
            rolling = np.uint64(0)
            h = np.uint64(0)
            is_inside = False
            for i in range(text_at[turn], text_at[turn + 1] + 1):
                c = data[i] if i < text_at[turn + 1] else np.uint8(32)
                if 65 <= c <= 90:
                    c += np.uint8(32)
                if c >= 128 or 97 <= c <= 122 or 48 <= c <= 57:
                    h = (h ^ np.uint64(c)) * np.uint64(0x100000001B3) + np.uint64(1)
                    is_inside = True
                elif is_inside:
                    word = h ^ (h >> np.uint64(29))
                    everything = (everything + word) * base + np.uint64(1)
                    rolling = rolling * base + word - words[count % n_words] * oldest
                    words[count % n_words] = word
                    count += 1
                    h = np.uint64(0)
                    is_inside = False
                    if count >= n_words:
                        if is_filling:
                            mixed = rolling ^ (rolling >> np.uint64(31))
                            runs[n_runs] = mixed * np.uint64(0xBF58476D1CE4E5B9)
                        n_runs += 1
            words[:] = np.uint64(0)
        whole[pair] = everything
        at[pair + 1] = n_runs


def _scanned(
    data: NDArray[np.uint8],
    text_at: NDArray[np.int64],
    turn_at: NDArray[np.int64],
    is_skipped: NDArray[np.bool_],
    n_words: int,
) -> PromptRuns:
    n = len(turn_at) - 1
    whole, at = np.zeros(n, np.uint64), np.zeros(n + 1, np.int64)
    _scan(data, text_at, turn_at, is_skipped, n_words, whole, at, np.zeros(0, np.uint64))
    runs = np.zeros(at[-1], np.uint64)
    if len(runs):
        _scan(data, text_at, turn_at, is_skipped, n_words, whole, at, runs)
    return PromptRuns(whole, at, runs)


def runs_of_texts(prompts: Sequence[Sequence[str]], n_words: int) -> PromptRuns:
    """Hashes of prompts that are given as the texts of their turns."""
    texts = [text.encode("utf-8", "replace") for prompt in prompts for text in prompt]
    text_at = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    turn_at = np.cumsum([0, *map(len, prompts)]).astype(np.int64)
    data = np.frombuffer(b"".join(texts), np.uint8)
    return _scanned(data, text_at, turn_at, np.zeros(len(texts), np.bool_), n_words)


def runs_of_batch(batch: pa.RecordBatch, n_words: int) -> PromptRuns:
    """Hashes of the prompts of some pairs."""
    column = batch.column("prompt")
    content, role = column.values.field("content"), column.values.field("role")
    buffers = content.buffers()
    offsets = np.frombuffer(buffers[1], np.int32)[content.offset : content.offset + len(content) + 1]
    data = np.frombuffer(buffers[2] or b"", np.uint8)
    is_system = pc.equal(role, "system").to_numpy(zero_copy_only=False).astype(np.bool_)
    turn_at = column.offsets.to_numpy().astype(np.int64)
    return _scanned(data, offsets.astype(np.int64), turn_at, is_system, n_words)


PROMPTS_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("whole", pa.uint64()),
        ("runs", pa.list_(pa.uint64())),
    ]
)
"""Evaluation prompts as they are compared: where they come from, their words and runs as hashes."""


def prompts_table(path: str, files: Sequence[str], rows: Sequence[int], found: PromptRuns) -> pa.Table:
    """Evaluation prompts of one input."""
    runs = pa.ListArray.from_arrays(pa.array(found.at, pa.int32()), pa.array(found.runs))
    columns = [pa.array([path] * len(rows)), pa.array(files), pa.array(rows), pa.array(found.whole), runs]
    arrays = [a.cast(f.type) for a, f in zip(columns, PROMPTS_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=PROMPTS_SCHEMA)


def distinct(prompts: pa.Table) -> pa.Table:
    """The first of all prompts that have the same words: battles and expanded rows repeat theirs."""
    whole = prompts["whole"].to_numpy().astype(np.uint64)
    _, first = np.unique(whole, return_index=True)
    return prompts.take(pa.array(np.sort(first[whole[first] != 0])))


class EvaluationIndex:
    """Evaluation prompts, to be looked up by words. E prompts."""

    def __init__(self, prompts: pa.Table) -> None:
        prompts = distinct(prompts)
        whole = prompts["whole"].to_numpy().astype(np.uint64)
        order = np.argsort(whole, kind="stable")
        self._whole, self._whole_of = whole[order], order
        self._file = prompts["file"].to_pylist()
        self._row = prompts["row"].to_pylist()
        lists = prompts["runs"].combine_chunks()
        prompt = np.repeat(np.arange(len(whole)), pc.list_value_length(lists).to_numpy())
        runs = lists.flatten().to_numpy().astype(np.uint64)
        every = np.uint64(1)
        while (runs % every == 0).sum() > MAX_RUNS:
            every *= np.uint64(2)
        is_held = runs % every == 0
        self._every = every
        self._runs, self._prompt_of_run = _distinctive(runs[is_held], prompt[is_held])
        self._n_runs = np.bincount(self._prompt_of_run, minlength=len(whole))
        self._table = np.zeros(1 << _TABLE_BITS, np.bool_)
        self._table[self._places(self._runs)] = True

    @staticmethod
    def _places(runs: Hashes) -> Hashes:
        return runs >> np.uint64(64 - _TABLE_BITS)

    def where(self, prompt: int) -> str:
        """File and row of an evaluation prompt, for people."""
        return f"{self._file[prompt]} row {self._row[prompt]}"

    def exact(self, found: PromptRuns) -> NDArray[np.int64]:
        """(P,) an evaluation prompt of the same words, −1 for none."""
        at = np.searchsorted(self._whole, found.whole).clip(0, max(len(self._whole) - 1, 0))
        if not len(self._whole):
            return np.full(len(found.whole), -1, np.int64)
        is_same = (self._whole[at] == found.whole) & (found.whole != 0)
        return np.where(is_same, self._whole_of[at], -1)

    def shared(self, found: PromptRuns) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(P,) the evaluation prompt that each prompt shares most with (−1: none), and the share."""
        n = len(found.whole)
        best, share = np.full(n, -1, np.int64), np.zeros(n)
        maybe = np.flatnonzero(self._table[self._places(found.runs)])
        pair = np.searchsorted(found.at, maybe, side="right") - 1
        both = np.unique(np.stack([pair.astype(np.uint64), found.runs[maybe]], axis=1), axis=0)
        run = both[:, 1].copy()
        first, last = (np.searchsorted(self._runs, run, side=side) for side in ("left", "right"))
        size = last - first
        pair = np.repeat(both[:, 0].astype(np.int64), size)
        start = np.repeat(first - np.concatenate([[0], np.cumsum(size)[:-1]]) if len(size) else first, size)
        prompt = self._prompt_of_run[start + np.arange(len(pair))] if len(pair) else np.zeros(0, np.int64)
        width = np.int64(len(self._n_runs) or 1)
        met, times = np.unique(pair * width + prompt, return_counts=True)
        value = np.zeros(0)
        if len(met):
            of_prompt = times / self._n_runs[met % width]
            value = np.maximum(of_prompt, times / self._n_own(found, met // width))
        for i in np.argsort(value, kind="stable").tolist():  # the best is written last
            best[met[i] // width], share[met[i] // width] = met[i] % width, value[i]
        return best, share

    def _n_own(self, found: PromptRuns, pair: NDArray[np.int64]) -> NDArray[np.int64]:
        """Distinct runs of some prompts, of those that would be held."""
        runs = [found.runs[found.at[i] : found.at[i + 1]] for i in pair.tolist()]
        return np.array([len(np.unique(r[r % self._every == 0])) for r in runs], np.int64)


def _distinctive(runs: Hashes, prompt: NDArray[np.int64]) -> tuple[Hashes, NDArray[np.int64]]:
    """Distinct (run, prompt) in order of run, without runs of too many prompts."""
    order = np.lexsort((prompt, runs))
    runs, prompt = runs[order], prompt[order]
    if not len(runs):
        return runs, prompt
    is_new = np.concatenate([[True], (runs[1:] != runs[:-1]) | (prompt[1:] != prompt[:-1])])
    runs, prompt = runs[is_new], prompt[is_new]
    _, number, times = np.unique(runs, return_inverse=True, return_counts=True)
    kept = times[number] <= MAX_PROMPTS_PER_RUN
    return runs[kept], prompt[kept]


class Overlaps(NamedTuple):
    """What was found of P pairs, in spool order."""

    is_exact: NDArray[np.bool_]
    share: NDArray[np.float64]
    """Of the runs of the evaluation prompt that is met most; 0 for none."""
    where: dict[int, str]
    """Pair to the evaluation prompt, for those that meet one."""


def evaluation_pairs(
    spool: Sequence[Path], is_evaluation: NDArray[np.bool_], n_words: int
) -> Iterator[pa.Table]:
    """Prompts of the pairs that are an evaluation set themselves."""
    for start, batch in _numbered(spool if is_evaluation.any() else ()):
        inside = is_evaluation[start : start + batch.num_rows]
        if inside.any():
            ours = batch.filter(pa.array(inside))
            files, rows = ours["source_file"].to_pylist(), ours["source_row"].to_pylist()
            yield prompts_table("", files, rows, runs_of_batch(ours, n_words))


def find_overlaps(
    spool: Sequence[Path],
    is_evaluation: NDArray[np.bool_],
    index: EvaluationIndex,
    n_words: int,
    progress: Progress,
) -> Overlaps:
    """Compare the prompts of all pairs that are no evaluation set with those that are."""
    n = len(is_evaluation)
    found = Overlaps(np.zeros(n, np.bool_), np.zeros(n), {})
    progress.start("compare with evaluation sets", n, "pairs")
    for start, batch in _numbered(spool):
        prompts = runs_of_batch(batch, n_words)
        same = index.exact(prompts)
        best, share = index.shared(prompts)
        is_other = ~is_evaluation[start : start + batch.num_rows]
        found.is_exact[start : start + batch.num_rows] = (same >= 0) & is_other
        found.share[start : start + batch.num_rows] = np.where(is_other, share, 0)
        best = np.where(same >= 0, same, best)
        for i in np.flatnonzero((best >= 0) & is_other).tolist():
            found.where[start + i] = index.where(int(best[i]))
        progress.advance(batch.num_rows)
    progress.finish()
    return found


def _numbered(spool: Sequence[Path]) -> Iterator[tuple[int, Any]]:
    start = 0
    for path in spool:
        for batch in batches(path):
            yield start, batch
            start += batch.num_rows
