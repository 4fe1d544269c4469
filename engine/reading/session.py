"""One call's reading, shard by shard: known readings where there are any, the model for the rest."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.manifest import package_versions
from engine.progress import Progress
from engine.reading.jobs import Work, plan_work
from engine.reading.pair_file import PairFile, content_keys
from engine.reading.reader import Reader, SpanReading
from engine.reading.shards import ShardFacts, ShardPlan, write_shard
from engine.reading.span_rows import KnownSpans, SpanRows, join_rows, shard_rows, span_rows
from engine.reading.token_workers import TokenWorkers, wanted_workers
from engine.records import Span
from engine.settings import ReadingSettings


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A shard's pairs, tokenised where their readings are not known already."""

    keys: list[dict[Span, bytes]]
    places: dict[Span, NDArray[np.int64]]
    """(P,) where each span's reading lies, −1 for those to read."""
    work: Work

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """(P,) no span of the pair has to be read."""
        known: NDArray[np.bool_] = np.all([place >= 0 for place in self.places.values()], axis=0)
        return known


class Session:
    """One call's work over its shards: tokenises the next shard while the model reads the current one."""

    def __init__(
        self,
        pairs: PairFile,
        reader: Reader,
        reader_dir: Path,
        settings: ReadingSettings,
        progress: Progress,
    ) -> None:
        self._pairs, self._reader, self._dir = pairs, reader, reader_dir
        self._settings, self._progress = settings, progress
        self.n_read = self.n_reused = self.n_tokens = 0
        self.n_truncated = self.n_lost = self.n_plain = self.n_without_tools = 0

    def run(self, todo: Sequence[ShardPlan], intact: Collection[str]) -> None:
        """Read the shards in order; readings of the same texts are taken from ``intact`` ones."""
        if not todo:
            return
        self._known = KnownSpans(
            self._dir, self._reader.reader_hash, intact, with_residuals=self._settings.store_residuals
        )
        if len(self._known):
            self._say_known(todo)
        n_pairs = sum(plan.stop - plan.start for plan in todo)
        n_workers = wanted_workers(self._settings, self._reader.loaded.device, n_pairs)
        self._progress.start("read", n_pairs, "pairs")
        self._workers = TokenWorkers(self._reader.layout, n_workers)
        with self._workers, ThreadPoolExecutor(max_workers=1) as pool:
            following: Future[_Prepared] = pool.submit(self._prepare, todo[0])
            for i, plan in enumerate(todo):
                prepared = following.result()
                if i + 1 < len(todo):
                    following = pool.submit(self._prepare, todo[i + 1])
                self._read_shard(plan, prepared)
        self._progress.finish()
        if self._workers.n_ended:
            self._progress.note(
                f"{self._workers.n_ended} of {n_workers} tokenising processes ended early:"
                " the reader went on without them"
            )

    def _say_known(self, todo: Sequence[ShardPlan]) -> None:
        """How much of the work earlier readings save, before the model runs: hashing is all it costs."""
        n_pairs = sum(plan.stop - plan.start for plan in todo)
        self._progress.start("look for earlier readings", n_pairs, "pairs")
        n_known = 0
        for plan in todo:
            keys = [content_keys(text) for text in self._pairs.texts(plan.start, plan.stop)]
            n_known += int(np.all([place >= 0 for place in self._find(keys).values()], axis=0).sum())
            self._progress.advance(plan.stop - plan.start)
        self._progress.finish()
        if n_known:
            self._progress.note(f"{n_known:,} of {n_pairs:,} pairs already read")

    def _find(self, keys: Sequence[dict[Span, bytes]]) -> dict[Span, NDArray[np.int64]]:
        return {span: self._known.find([of_pair[span] for of_pair in keys]) for span in Span}

    def _prepare(self, plan: ShardPlan) -> _Prepared:
        """Tokens of the shard's texts that no shard holds the reading of."""
        texts = self._pairs.texts(plan.start, plan.stop)
        keys = [content_keys(text) for text in texts]
        places = self._find(keys)
        wanted = [[span for span in Span if places[span][i] < 0] for i in range(len(texts))]
        layout, encode = self._reader.layout, self._workers.encode_many
        work = plan_work(texts, layout, self._reader.max_tokens, wanted, encode)
        return _Prepared(keys, places, work)

    def _read_shard(self, plan: ShardPlan, prepared: _Prepared) -> None:
        n_pairs, work = plan.stop - plan.start, prepared.work
        reported = jobs_done = 0

        def on_batch(n_jobs: int) -> None:
            nonlocal reported, jobs_done
            jobs_done += n_jobs
            reached = n_pairs * jobs_done // max(len(work.jobs), 1)
            self._progress.advance(reached - reported)
            reported = reached

        found = self._reader.read(work.jobs, on_batch)
        spans = {span: self._rows(span, prepared, found) for span in Span}
        table, residuals = shard_rows(self._pairs.pair_ids[plan.start : plan.stop], spans)
        facts = ShardFacts(
            self._reader.reader_hash,
            plan.fingerprint,
            work.n_lost,
            work.n_plain,
            work.n_without_tools,
            package_versions("torch", "transformers", "tokenizers"),
        )
        write_shard(self._dir, plan, table, residuals, facts)
        self._count(prepared, found)
        self._progress.advance(n_pairs - reported)

    def _rows(self, span: Span, prepared: _Prepared, found: Mapping[Hashable, SpanReading]) -> SpanRows:
        """One span's rows in the shard's order, fresh and known."""
        places = prepared.places[span]
        fresh, known = np.flatnonzero(places < 0), np.flatnonzero(places >= 0)
        rows = span_rows(
            [prepared.keys[i][span] for i in fresh],
            [found[prepared.work.keys[i][span]] for i in fresh],
            with_residuals=self._settings.store_residuals,
        )
        if not len(known):
            return rows
        both = join_rows([rows, self._known.take(places[known].tolist())])
        return both.take(np.argsort(np.concatenate([fresh, known]), kind="stable").tolist())

    def _count(self, prepared: _Prepared, found: Mapping[Hashable, SpanReading]) -> None:
        work = prepared.work
        n_known = int(prepared.is_known.sum())
        self.n_read += len(prepared.keys) - n_known
        self.n_reused += n_known
        self.n_tokens += self._reader.batches.n_computed(work.jobs)
        self.n_truncated += sum(reading.is_truncated for reading in found.values())
        self.n_lost += work.n_lost
        self.n_plain += work.n_plain
        self.n_without_tools += work.n_without_tools
