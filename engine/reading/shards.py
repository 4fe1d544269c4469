"""Shards: what one restart can lose, and what a later run can use again.

A shard holds the readings of a run of whole prompt groups. Its file name carries a fingerprint of exactly
the pairs in it, and the file itself names its reader, so that neither a shard of other pairs nor one of
another reader is ever taken for it.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from engine.errors import StoreError
from engine.manifest import hash_file, hash_json, sync_folder, write_atomic, write_json

_META = b"prosect"


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """Which pairs a shard holds."""

    number: int
    start: int
    """First pair number."""
    stop: int
    """One past the last pair number."""
    fingerprint: str
    """Hash over what decides the readings of its pairs, in order."""

    @property
    def name(self) -> str:
        """File name without suffix: sorts by number, says which pairs."""
        return f"{self.number:06d}-{self.fingerprint[:16]}"


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What is known of a shard beside its rows; stored in the file."""

    reader_hash: str
    fingerprint: str
    n_lost: int = 0
    """Message contents that the chat template changed beyond recognition."""
    n_plain: int = 0
    """Conversations that the chat template refused, read in the plain layout."""
    n_without_tools: int = 0
    """Conversations whose tools the chat template does not print."""
    packages: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """Hashes of a shard's files, kept beside it."""

    shard: str
    residuals: str | None
    """None where none were kept."""


def plan_shards(idents: Sequence[str], group_ids: Sequence[str], size: int) -> list[ShardPlan]:
    """Cut the pairs into runs of whole groups with about ``size`` pairs each.

    Pairs come sorted by (group_id, pair_id), and group ids are hashes: every prefix is a random sample.
    ``idents`` says of each pair what decides its readings (``PairFile.idents``).
    """
    plans: list[ShardPlan] = []
    start = 0
    for i in range(1, len(idents) + 1):
        is_boundary = i == len(idents) or group_ids[i] != group_ids[i - 1]
        if is_boundary and (i - start >= size or i == len(idents)):
            plans.append(ShardPlan(len(plans), start, i, hash_json(list(idents[start:i]))))
            start = i
    return plans


def write_shard(
    reader_dir: Path,
    plan: ShardPlan,
    rows: pa.Table,
    residuals: dict[str, NDArray[np.float16]] | None,
    facts: ShardFacts,
) -> None:
    """Write residuals, the record, then the shard: a shard that exists is complete.

    Raises:
        StoreError: no space, or no permission.
    """
    summaries = residual_file(reader_dir, plan.name)
    if residuals is not None:
        write_atomic(summaries, save(residuals))
    path = shard_file(reader_dir, plan.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    table = rows.replace_schema_metadata({_META: json.dumps(asdict(facts)).encode()})
    try:
        with temporary.open("wb") as f:
            pq.write_table(table, f, compression="zstd", write_page_checksum=True)
            f.flush()
            os.fsync(f.fileno())
        record = ShardRecord(hash_file(temporary), None if residuals is None else hash_file(summaries))
        write_record(reader_dir, plan.name, record)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}",
            hint="free some space; what is read so far is kept, the same command goes on from here",
        ) from error
    sync_folder(path.parent)


def shard_file(reader_dir: Path, name: str) -> Path:
    """Where a shard's rows lie."""
    return reader_dir / "shards" / f"{name}.parquet"


def record_file(reader_dir: Path, name: str) -> Path:
    """Where the hashes of a shard's files lie."""
    return reader_dir / "shards" / f"{name}.json"


def write_record(reader_dir: Path, name: str, record: ShardRecord) -> None:
    """Put the hashes of a shard's files beside it. Raises ``StoreError``."""
    write_json(record_file(reader_dir, name), asdict(record))


def residual_file(reader_dir: Path, name: str) -> Path:
    """Where a shard's residual summaries lie."""
    return reader_dir / "residuals" / f"{name}.safetensors"


def shard_facts(path: Path) -> ShardFacts | None:
    """What a shard says of itself; None if it is damaged."""
    try:
        raw = (pq.read_schema(path).metadata or {}).get(_META)
        return None if raw is None else ShardFacts(**json.loads(raw))
    except (OSError, ValueError, TypeError, pa.ArrowException):
        return None


def is_done(reader_dir: Path, plan: ShardPlan, reader_hash: str, *, with_residuals: bool) -> bool:
    """True if exactly this shard of exactly this reader is on disk."""
    path = shard_file(reader_dir, plan.name)
    if not path.exists() or (with_residuals and not residual_file(reader_dir, plan.name).exists()):
        return False
    facts = shard_facts(path)
    return facts is not None and (facts.reader_hash, facts.fingerprint) == (reader_hash, plan.fingerprint)


def read_residuals(path: Path) -> dict[str, NDArray[np.float16]]:
    """Residual summaries of one shard, as ``summaries`` made them.

    Raises:
        StoreError: missing or damaged.
    """
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path} is missing or damaged", hint="remove it and read again") from error
