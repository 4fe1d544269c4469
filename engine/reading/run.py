"""Reading all pairs, shard by shard.

A shard that is on disk is skipped; a shard that is missing, damaged or of other pairs is read (again). So a
run may be killed at any time and started again, and adding a source reads only what is new. Several
processes share the shards by rank (``RANK`` and ``WORLD_SIZE``, as torchrun sets them): shard i belongs to
process i mod world size, and the result does not depend on how many there were.
"""

import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.errors import ModelError
from engine.manifest import (
    Manifest,
    fingerprint,
    hash_json,
    is_current,
    package_versions,
    write_json,
    write_manifest,
)
from engine.progress import Progress
from engine.reading.check import check_sae
from engine.reading.jobs import Job, Want, Work, plan_work
from engine.reading.pair_file import Messages, PairFile
from engine.reading.reader import READER_VERSION, Reader, SpanReading
from engine.reading.shards import (
    OldRows,
    ShardFacts,
    ShardPlan,
    is_done,
    plan_shards,
    rows_table,
    summaries,
    write_shard,
)
from engine.records import Message, Span
from engine.settings import ReadingSettings

log = logging.getLogger(__name__)

_PACKAGES = ("prosect", "torch", "transformers", "tokenizers", "sae-lens", "numpy")


@dataclass(frozen=True, slots=True)
class ReadingReport:
    """What a call of ``read_pairs`` did, and where the reading stands."""

    n_pairs: int
    n_pairs_done: int
    """Pairs with readings, from this call or earlier ones."""
    n_pairs_read: int
    """Pairs that went through the model in this call."""
    n_pairs_reused: int
    """Pairs whose rows came from shards of an earlier plan."""
    n_shards: int
    n_shards_done: int
    n_prefix_pairs: int
    """Pairs from the start without a gap: what an index can be built from."""
    n_tokens: int
    """Tokens that went through the model in this call."""
    n_truncated: int
    """Spans that were cut to ``max_tokens`` (this call)."""
    n_lost: int
    """Message contents that the template changed beyond recognition (this call)."""
    n_plain: int
    """Conversations that the template refused (this call)."""
    seconds: float
    is_complete: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain dict for manifests and screens."""
        return asdict(self)


def read_pairs(
    pairs_path: Path,
    reader: Reader,
    reader_dir: Path,
    settings: ReadingSettings,
    progress: Progress,
    *,
    max_shards: int | None = None,
) -> ReadingReport:
    """Read pairs into ``reader_dir/shards``, going on from what is there.

    Args:
        pairs_path: pairs.parquet as ingest wrote it.
        reader: an open reader.
        reader_dir: this reader's folder; its shards are all of one reader.
        settings: shard size, SAE check and residuals.
        progress: told about pairs.
        max_shards: stop when the first so many shards are done (an index over a first sample).

    Raises:
        ModelError: the SAE does not fit these texts, or a text does not fit into memory.
        StoreError: pairs cannot be read or shards not written.
        Cancelled: the user stopped; finished shards stay.
    """
    started = time.perf_counter()
    pairs = PairFile(pairs_path)
    plans = plan_shards(pairs.pair_ids, pairs.group_ids, settings.shard_pairs)
    rank, world = _rank()
    reader_dir.mkdir(parents=True, exist_ok=True)
    write_json(reader_dir / "reader.json", reader.describe())
    if rank == 0:
        check_sae(pairs, reader, reader_dir, settings, progress)
    done = _done(plans, reader, reader_dir, settings)
    wanted = plans[:max_shards]
    todo = [plan for plan in wanted if plan.number not in done and plan.number % world == rank]
    if len(done) > 0 and todo:
        progress.note(f"{len(done)} of {len(plans)} shards are there already")
    session = _Session(pairs, reader, reader_dir, settings, progress, plans)
    progress.start("read", sum(plan.stop - plan.start for plan in todo), "pairs")
    session.run(todo)
    progress.finish()
    _note_losses(session, reader.max_tokens, progress)
    done = _done(plans, reader, reader_dir, settings)  # looked up again: other processes work, too
    prefix = next((i for i, plan in enumerate(plans) if plan.number not in done), len(plans))
    report = ReadingReport(
        n_pairs=len(pairs),
        n_pairs_done=sum(plan.stop - plan.start for plan in plans if plan.number in done),
        n_pairs_read=session.n_read,
        n_pairs_reused=session.n_reused,
        n_shards=len(plans),
        n_shards_done=len(done),
        n_prefix_pairs=plans[prefix - 1].stop if prefix else 0,
        n_tokens=session.n_tokens,
        n_truncated=session.n_truncated,
        n_lost=session.n_lost,
        n_plain=session.n_plain,
        seconds=time.perf_counter() - started,
        is_complete=len(done) == len(plans),
    )
    if report.is_complete:
        _finish(pairs, plans, reader, reader_dir, settings, report)
    return report


def _note_losses(session: "_Session", max_tokens: int, progress: Progress) -> None:
    for n, what in (
        (session.n_truncated, f"texts were cut to {max_tokens} tokens"),
        (session.n_lost, "messages were changed by the chat template beyond recognition"),
        (session.n_plain, "conversations were refused by the chat template and read in the plain layout"),
    ):
        if n:
            progress.note(f"{n:,} {what}")


def _done(
    plans: Sequence[ShardPlan], reader: Reader, reader_dir: Path, settings: ReadingSettings
) -> set[int]:
    return {
        plan.number
        for plan in plans
        if is_done(reader_dir, plan, reader.reader_hash, with_residuals=settings.store_residuals)
    }


def _rank() -> tuple[int, int]:
    """Number of this process and how many there are, as torchrun or a job array tells."""
    try:
        rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    except ValueError as error:
        raise ModelError(
            "RANK and WORLD_SIZE must be whole numbers", hint="unset them, or use torchrun"
        ) from error
    if not 0 <= rank < world:
        raise ModelError(f"RANK {rank} is not below WORLD_SIZE {world}", hint="unset them, or use torchrun")
    return rank, world


def _finish(
    pairs: PairFile,
    plans: Sequence[ShardPlan],
    reader: Reader,
    reader_dir: Path,
    settings: ReadingSettings,
    report: ReadingReport,
) -> None:
    inputs = {"pairs": hash_json(pairs.pair_ids), "reader": reader.reader_hash}
    chosen = {"shard_pairs": settings.shard_pairs, "store_residuals": settings.store_residuals}
    print_ = fingerprint("read", READER_VERSION, inputs, chosen)
    if not is_current(reader_dir, print_):
        facts = {"reader": reader.describe(), "report": report.as_dict(), "shards": [p.name for p in plans]}
        write_manifest(
            reader_dir,
            Manifest(
                "read", READER_VERSION, print_, inputs, asdict(settings), facts, package_versions(*_PACKAGES)
            ),
        )
    keep = {plan.name for plan in plans}
    for folder in ("shards", "residuals"):  # every pair of an older plan is in the new shards, or gone
        for path in (reader_dir / folder).glob("[0-9]*"):
            if path.stem not in keep:
                path.unlink(missing_ok=True)


class _Session:
    """One call's work over its shards: tokenises the next shard while the model reads the current one."""

    def __init__(
        self,
        pairs: PairFile,
        reader: Reader,
        reader_dir: Path,
        settings: ReadingSettings,
        progress: Progress,
        plans: Sequence[ShardPlan],
    ) -> None:
        self._pairs, self._reader, self._dir = pairs, reader, reader_dir
        self._settings, self._progress = settings, progress
        self._plans = plans
        self.n_read = self.n_reused = self.n_tokens = self.n_truncated = self.n_lost = self.n_plain = 0

    def run(self, todo: Sequence[ShardPlan]) -> None:
        """Read the shards in order."""
        if not todo:
            return
        self._old = OldRows(
            self._dir,
            [plan.name for plan in self._plans],
            self._reader.reader_hash,
            with_residuals=self._settings.store_residuals,
        )
        with ThreadPoolExecutor(max_workers=1) as pool:
            following: Future[tuple[list[int], Work]] = pool.submit(self._prepare, todo[0])
            for i, plan in enumerate(todo):
                fresh, work = following.result()
                if i + 1 < len(todo):
                    following = pool.submit(self._prepare, todo[i + 1])
                self._read_shard(plan, fresh, work)

    def _prepare(self, plan: ShardPlan) -> tuple[list[int], Work]:
        """Numbers and tokens of the shard's pairs that no older shard knows."""
        fresh = [i for i in range(plan.start, plan.stop) if self._pairs.pair_ids[i] not in self._old]
        texts = self._pairs.texts(plan.start, plan.stop) if fresh else []
        chosen = [texts[i - plan.start] for i in fresh]
        return fresh, plan_work(chosen, self._reader.layout, self._reader.max_tokens)

    def _read_shard(self, plan: ShardPlan, fresh: list[int], work: Work) -> None:
        n_pairs = plan.stop - plan.start
        reported = jobs_done = 0

        def on_batch(n_jobs: int) -> None:
            nonlocal reported, jobs_done
            jobs_done += n_jobs
            reached = n_pairs * jobs_done // max(len(work.jobs), 1)
            self._progress.advance(reached - reported)
            reported = reached

        found = self._reader.read(work.jobs, on_batch)
        spans = {span: [found[key[span]] for key in work.keys] for span in Span}
        ids = [self._pairs.pair_ids[i] for i in range(plan.start, plan.stop)]
        fresh_ids = [self._pairs.pair_ids[i] for i in fresh]
        rows = rows_table(fresh_ids, spans)
        residuals = summaries(spans) if fresh and self._settings.store_residuals else None
        if len(fresh) < n_pairs:
            rows, residuals = self._merge(ids, fresh_ids, rows, residuals)
        facts = ShardFacts(
            self._reader.reader_hash,
            plan.fingerprint,
            work.n_lost,
            work.n_plain,
            package_versions("torch", "transformers", "tokenizers"),
        )
        write_shard(self._dir, plan, rows, residuals, facts)
        self.n_read += len(fresh)
        self.n_reused += n_pairs - len(fresh)
        self.n_tokens += sum(len(job.ids) for job in work.jobs)
        self.n_truncated += sum(r.is_truncated for readings in spans.values() for r in readings)
        self.n_lost += work.n_lost
        self.n_plain += work.n_plain
        self._progress.advance(n_pairs - reported)

    def _merge(
        self,
        ids: Sequence[str],
        fresh_ids: Sequence[str],
        rows: pa.Table,
        residuals: dict[str, NDArray[np.float16]] | None,
    ) -> tuple[pa.Table, dict[str, NDArray[np.float16]] | None]:
        """Old and fresh rows in the shard's order."""
        known = set(fresh_ids)
        old_ids = [p for p in ids if p not in known]
        old_rows, old_residuals = self._old.take(old_ids)
        place = {p: i for i, p in enumerate([*fresh_ids, *old_ids])}
        order = np.array([place[p] for p in ids])
        merged = pa.concat_tables([rows, old_rows]).take(pa.array(order))
        if old_residuals is None:
            return merged, None
        if residuals is None:
            return merged, {key: value[order] for key, value in old_residuals.items()}
        return merged, {
            key: np.concatenate([residuals[key], value])[order] for key, value in old_residuals.items()
        }


def read_responses(
    reader: Reader,
    items: Sequence[tuple[Sequence[Message], Sequence[Message]]],
    progress: Progress,
) -> list[SpanReading]:
    """Readings of responses to prompts, one per item (rollouts; any sampler's texts).

    Args:
        reader: an open reader.
        items: prompt and response each.
        progress: told about texts.
    """
    frozen: list[tuple[Messages, Messages]] = [(tuple(prompt), tuple(response)) for prompt, response in items]
    unique = list(dict.fromkeys(frozen))
    encoded = reader.layout.encode_many(unique, max_tokens=reader.max_tokens)
    jobs = [
        Job(text.ids, (Want(key, text.response_own, text.response_truncated),))
        for key, text in zip(unique, encoded, strict=True)
    ]
    progress.start("read responses", len(jobs), "texts")
    readings = reader.read(jobs, progress.advance)
    progress.finish()
    return [readings[key] for key in frozen]
