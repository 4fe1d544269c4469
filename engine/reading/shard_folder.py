"""Are the shards on disk what was written? Their hashes are recorded beside them, and compared before use.

A parquet page has a checksum of its own, which finds a bit that fell over, but neither a shard that another
program wrote again nor residual summaries. A shard of a version that recorded nothing is read once, page by
page, and recorded if every checksum holds.
"""

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from engine.manifest import hash_file
from engine.progress import Progress
from engine.reading.shards import (
    ShardPlan,
    ShardRecord,
    is_done,
    record_file,
    residual_file,
    shard_file,
    write_record,
)

_THREADS = 4
"""Files hashed at a time: BLAKE2b lets go of the interpreter lock."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Shards of a folder by name, without suffix."""

    intact: frozenset[str]
    """As they were written, residual summaries included where they are wanted."""
    changed: tuple[str, ...]
    """There, and not as they were written."""


class _Stamp(NamedTuple):
    """What tells within one call that a file is still the one that was hashed."""

    path: Path
    size: int
    modified_ns: int
    inode: int


class ShardFolder:
    """A reader's shards; a file is hashed once per call, and again only if it was replaced."""

    def __init__(self, reader_dir: Path, reader_hash: str, *, with_residuals: bool) -> None:
        self._dir, self._reader_hash, self._with_residuals = reader_dir, reader_hash, with_residuals
        self._hashes: dict[_Stamp, str] = {}

    def look(self, progress: Progress) -> Looked:
        """Compare every shard that is there with what was recorded of it. Raises ``Cancelled``."""
        names = sorted(path.stem for path in (self._dir / "shards").glob("[0-9]*.parquet"))
        if not names:
            return Looked(frozenset(), ())
        progress.start("check earlier shards", len(names), "shards")
        states: dict[str, bool | None] = {}
        with ThreadPoolExecutor(max_workers=_THREADS) as pool:
            for name, state in zip(names, pool.map(self._is_intact, names), strict=True):
                states[name] = state
                progress.advance()
        progress.finish()
        return Looked(
            frozenset(name for name, state in states.items() if state),
            tuple(name for name, state in states.items() if state is False),
        )

    def done(self, plans: Sequence[ShardPlan], intact: Iterable[str]) -> set[int]:
        """Numbers of the planned shards that are intact, and of this reader."""
        held = set(intact)
        is_there = partial(is_done, self._dir, with_residuals=self._with_residuals)
        return {
            plan.number
            for plan in plans
            if plan.name in held and is_there(plan, reader_hash=self._reader_hash)
        }

    def remove(self, names: Iterable[str]) -> None:
        """Remove shards that nothing can be taken from."""
        for name in names:
            for file in (shard_file, record_file, residual_file):
                file(self._dir, name).unlink(missing_ok=True)

    def _is_intact(self, name: str) -> bool | None:
        """None where residual summaries are wanted and not there."""
        shard, residuals = shard_file(self._dir, name), residual_file(self._dir, name)
        if self._with_residuals and not residuals.exists():
            return None
        record = read_record(self._dir, name)
        try:
            if record is None:
                return self._record(name)
            if self._hash(shard) != record.shard:
                return False
            return not self._with_residuals or self._hash(residuals) == record.residuals
        except OSError:  # another process replaced it just now, or the disk fails
            return False

    def _record(self, name: str) -> bool:
        """Take a shard without a record for what was written if all its checksums hold, and say so."""
        shard, residuals = shard_file(self._dir, name), residual_file(self._dir, name)
        try:
            file = pq.ParquetFile(shard, page_checksum_verification=True)
            for i in range(file.metadata.num_row_groups):
                file.read_row_group(i)
        except pa.ArrowException:
            return False
        write_record(
            self._dir,
            name,
            ShardRecord(self._hash(shard), self._hash(residuals) if residuals.exists() else None),
        )
        return True

    def _hash(self, path: Path) -> str:
        facts = path.stat()
        stamp = _Stamp(path, facts.st_size, facts.st_mtime_ns, facts.st_ino)
        if stamp not in self._hashes:
            self._hashes[stamp] = hash_file(path)
        return self._hashes[stamp]


def read_record(reader_dir: Path, name: str) -> ShardRecord | None:
    """What was recorded of a shard; None if nothing, or something damaged."""
    with suppress(OSError, ValueError, TypeError):
        return ShardRecord(**json.loads(record_file(reader_dir, name).read_text(encoding="utf-8")))
    return None
