"""Reading all pairs, shard by shard.

A shard that is on disk as it was written is skipped; a shard that is missing, changed or of other pairs is
made (again), from the readings that any such shard holds of the same texts, and by the model for the rest.
So a run may be killed at any time and started again, and a changed mix costs only what is new in it. Several
processes share the shards by rank (``RANK`` and ``WORLD_SIZE``, as torchrun sets them): shard i belongs to
process i mod world size, and the result does not depend on how many there were.
"""

import logging
import os
import time
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

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
from engine.progress import NullProgress, Progress
from engine.reading.check import check_sae
from engine.reading.jobs import response_job
from engine.reading.pair_file import Messages, PairFile
from engine.reading.reader import READER_VERSION, Reader, SpanReading
from engine.reading.session import Session
from engine.reading.shard_folder import ShardFolder
from engine.reading.shards import ShardPlan, plan_shards
from engine.records import Message
from engine.settings import ReadingSettings

log = logging.getLogger(__name__)

_NAMED = 3
"""Changed shards that are named; more are counted."""
_PACKAGES = ("prosect", "torch", "transformers", "tokenizers", "sae-lens", "numpy")


@dataclass(frozen=True, slots=True)
class ReadingReport:
    """What a call of ``read_pairs`` did, and where the reading stands."""

    n_pairs: int
    n_pairs_done: int
    """Pairs with readings, from this call or earlier ones."""
    n_pairs_read: int
    """Pairs of which at least one text went through the model in this call."""
    n_pairs_reused: int
    """Pairs whose readings were all in earlier shards, by content."""
    n_shards_changed: int
    """Shards that were not as they had been written, and were made again in this call."""
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
    n_without_tools: int
    """Conversations whose tools the template does not print (this call)."""
    seconds: float
    is_complete: bool

    def after(self, earlier: "Sequence[ReadingReport]") -> "ReadingReport":
        """The same with what earlier calls of the same work did."""
        summed = (
            "n_pairs_read", "n_pairs_reused", "n_shards_changed", "n_tokens", "n_truncated", "n_lost",
            "n_plain", "n_without_tools", "seconds",
        )  # fmt: skip
        totals = {name: sum(getattr(report, name) for report in (*earlier, self)) for name in summed}
        return replace(self, **totals)

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
    plans = plan_shards(pairs.idents, pairs.group_ids, settings.shard_pairs)
    rank, world = _rank()
    reader_dir.mkdir(parents=True, exist_ok=True)
    write_json(reader_dir / "reader.json", reader.describe())
    if rank == 0:
        check_sae(pairs, reader, reader_dir, settings, progress)
    shards = ShardFolder(reader_dir, reader.reader_hash, with_residuals=settings.store_residuals)
    looked = shards.look(progress)
    done = shards.done(plans, looked.intact)
    todo = [plan for plan in plans[:max_shards] if plan.number not in done and plan.number % world == rank]
    changed = [plan for plan in todo if plan.name in looked.changed]
    _note_changed(changed, len(plans), progress)
    if world == 1:  # else another process may be replacing one of them
        shards.remove(set(looked.changed) - {plan.name for plan in plans})
    if len(done) > 0 and todo:
        progress.note(f"{len(done)} of {len(plans)} shards are there already")
    session = Session(pairs, reader, reader_dir, settings, progress)
    session.run(todo, looked.intact)
    _note_losses(session, reader.max_tokens, progress)
    held = looked.intact | {plan.name for plan in todo}
    if world > 1:
        held |= shards.look(NullProgress()).intact
    report = _report(session, plans, shards.done(plans, held), len(changed), time.perf_counter() - started)
    if report.is_complete:
        _finish(pairs, plans, reader, reader_dir, settings, report)
    return report


def _report(
    session: Session, plans: Sequence[ShardPlan], done: Set[int], n_changed: int, seconds: float
) -> ReadingReport:
    prefix = next((i for i, plan in enumerate(plans) if plan.number not in done), len(plans))
    return ReadingReport(
        n_pairs=plans[-1].stop if plans else 0,
        n_pairs_done=sum(plan.stop - plan.start for plan in plans if plan.number in done),
        n_pairs_read=session.n_read,
        n_pairs_reused=session.n_reused,
        n_shards_changed=n_changed,
        n_shards=len(plans),
        n_shards_done=len(done),
        n_prefix_pairs=plans[prefix - 1].stop if prefix else 0,
        n_tokens=session.n_tokens,
        n_truncated=session.n_truncated,
        n_lost=session.n_lost,
        n_plain=session.n_plain,
        n_without_tools=session.n_without_tools,
        seconds=seconds,
        is_complete=len(done) == len(plans),
    )


def _note_changed(changed: Sequence[ShardPlan], n_shards: int, progress: Progress) -> None:
    if not changed:
        return
    names = ", ".join(plan.name for plan in changed[:_NAMED]) + (" …" if len(changed) > _NAMED else "")
    n_pairs = sum(plan.stop - plan.start for plan in changed)
    were, whose = ("was", "its") if len(changed) == 1 else ("were", "their")
    progress.note(
        f"{len(changed)} of {n_shards} shards {were} changed on disk since being written ({names}):"
        f" only {whose} {n_pairs:,} pairs are read again"
    )


def _note_losses(session: Session, max_tokens: int, progress: Progress) -> None:
    for n, what in (
        (session.n_truncated, f"texts were cut to {max_tokens} tokens"),
        (session.n_lost, "messages were changed by the chat template beyond recognition"),
        (session.n_plain, "conversations were refused by the chat template and read in the plain layout"),
        (session.n_without_tools, "conversations offer tools that the chat template does not print"),
    ):
        if n:
            progress.note(f"{n:,} {what}")


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
    inputs = {"pairs": hash_json(pairs.idents), "reader": reader.reader_hash}
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


def read_responses(
    reader: Reader,
    items: Sequence[tuple[Sequence[Message], Sequence[Message]]],
    progress: Progress,
    tools: Sequence[str | None] | None = None,
) -> list[SpanReading]:
    """Readings of responses to prompts, one per item (rollouts; any sampler's texts).

    Args:
        reader: an open reader.
        items: prompt and response each.
        progress: told about texts.
        tools: per item JSON of the tools that its prompt offers, or None; None: none does.
    """
    given = tools if tools is not None else [None] * len(items)
    frozen: list[tuple[Messages, Messages, str | None]] = [
        (tuple(prompt), tuple(response), offered)
        for (prompt, response), offered in zip(items, given, strict=True)
    ]
    unique = list(dict.fromkeys(frozen))
    encoded = reader.layout.encode_many(
        [(prompt, response) for prompt, response, _ in unique],
        tools=[offered for *_, offered in unique],
        max_tokens=reader.max_tokens,
    )
    jobs = [response_job(key, text, reader.layout) for key, text in zip(unique, encoded, strict=True)]
    progress.start("read responses", len(jobs), "texts")
    readings = reader.read(jobs, progress.advance)
    progress.finish()
    return [readings[key] for key in frozen]
