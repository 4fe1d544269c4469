"""Shards: what one restart can lose, and what a later run can use again.

A shard holds the readings of a run of whole prompt groups. Its file name carries a fingerprint of exactly
the pairs in it, and the file itself names its reader, so that neither a shard of other pairs nor one of
another reader is ever taken for it. Pair ids are hashes of the pairs' content: when a source is added, rows
of older shards are used again by pair id and only new pairs are read.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from engine.errors import StoreError
from engine.manifest import hash_json, sync_folder, write_atomic
from engine.reading.reader import SpanReading
from engine.records import Span, reading_schema

_META = b"prosect"
_SUMMARIES = tuple(f"{span}_{kind}" for span in Span for kind in ("mean", "last"))


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """Which pairs a shard holds."""

    number: int
    start: int
    """First pair number."""
    stop: int
    """One past the last pair number."""
    fingerprint: str
    """Hash over the pair ids, in order."""

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
    packages: dict[str, str] = field(default_factory=dict)


def plan_shards(pair_ids: Sequence[str], group_ids: Sequence[str], size: int) -> list[ShardPlan]:
    """Cut the pairs into runs of whole groups with about ``size`` pairs each.

    Pairs come sorted by (group_id, pair_id), and group ids are hashes: every prefix is a random sample.
    """
    plans: list[ShardPlan] = []
    start = 0
    for i in range(1, len(pair_ids) + 1):
        is_boundary = i == len(pair_ids) or group_ids[i] != group_ids[i - 1]
        if is_boundary and (i - start >= size or i == len(pair_ids)):
            plans.append(ShardPlan(len(plans), start, i, hash_json(list(pair_ids[start:i]))))
            start = i
    return plans


def rows_table(pair_ids: Sequence[str], spans: Mapping[Span, Sequence[SpanReading]]) -> pa.Table:
    """Arrow table in ``records.reading_schema``: one row per pair."""
    columns: dict[str, pa.Array] = {"pair_id": pa.array(pair_ids, pa.string())}
    for span in Span:
        readings = spans[span]
        columns[f"{span}_tokens"] = pa.array([r.n_tokens for r in readings], pa.int32())
        columns[f"{span}_truncated"] = pa.array([r.is_truncated for r in readings], pa.bool_())
        offsets = np.cumsum([0, *(len(r.pooled.latent) for r in readings)]).astype(np.int32)
        for column, attribute in (
            ("latent", "latent"),
            ("max", "act_max"),
            ("n", "n_fired"),
            ("sum", "act_sum"),
            ("peak", "peak"),
            ("last", "act_last"),
        ):
            values = [getattr(r.pooled, attribute) for r in readings]
            flat = np.concatenate(values) if values else np.zeros(0)
            kind = reading_schema().field(f"{span}_{column}").type.value_type
            columns[f"{span}_{column}"] = pa.ListArray.from_arrays(offsets, pa.array(flat, kind))
    return pa.table(columns, schema=reading_schema())


def summaries(spans: Mapping[Span, Sequence[SpanReading]]) -> dict[str, NDArray[np.float16]]:
    """Mean and last residual of every span: ``prompt_mean`` … ``rejected_last``, each (P, D)."""
    return {
        f"{span}_{kind}": np.stack([getattr(r, kind) for r in spans[span]])
        for span in Span
        for kind in ("mean", "last")
    }


def write_shard(
    reader_dir: Path,
    plan: ShardPlan,
    rows: pa.Table,
    residuals: dict[str, NDArray[np.float16]] | None,
    facts: ShardFacts,
) -> None:
    """Write residuals, then the shard: a shard that exists is complete.

    Raises:
        StoreError: no space, or no permission.
    """
    if residuals is not None:
        write_atomic(residual_file(reader_dir, plan.name), save(residuals))
    path = shard_file(reader_dir, plan.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    table = rows.replace_schema_metadata({_META: json.dumps(asdict(facts)).encode()})
    try:
        with temporary.open("wb") as f:
            pq.write_table(table, f, compression="zstd", write_page_checksum=True)
            f.flush()
            os.fsync(f.fileno())
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


class OldRows:
    """Rows of shards that an earlier run left behind, by pair id."""

    def __init__(
        self, reader_dir: Path, keep: Iterable[str], reader_hash: str, *, with_residuals: bool
    ) -> None:
        self._dir = reader_dir
        self._with_residuals = with_residuals
        self._place: dict[str, tuple[str, int]] = {}
        known = set(keep)
        for path in sorted((reader_dir / "shards").glob("*.parquet")):
            facts = shard_facts(path) if path.stem not in known else None
            if facts is None or facts.reader_hash != reader_hash:
                continue
            if with_residuals and not residual_file(reader_dir, path.stem).exists():
                continue
            ids = pq.read_table(path, columns=["pair_id"])["pair_id"].to_pylist()
            self._place.update({pair_id: (path.stem, row) for row, pair_id in enumerate(ids)})

    def __contains__(self, pair_id: str) -> bool:
        return pair_id in self._place

    def __len__(self) -> int:
        return len(self._place)

    def take(self, pair_ids: Sequence[str]) -> tuple[pa.Table, dict[str, NDArray[np.float16]] | None]:
        """Rows of the given pairs, in that order, with their residual summaries."""
        names = sorted({self._place[p][0] for p in pair_ids})
        tables = {name: _read_rows(shard_file(self._dir, name)) for name in names}
        rows = [tables[name].slice(row, 1) for name, row in (self._place[p] for p in pair_ids)]
        table = pa.concat_tables(rows).combine_chunks() if rows else reading_schema().empty_table()
        if not self._with_residuals:
            return table, None
        files = {name: read_residuals(residual_file(self._dir, name)) for name in names}
        stacked = (
            {
                key: np.stack([files[name][key][row] for name, row in (self._place[p] for p in pair_ids)])
                for key in _SUMMARIES
            }
            if pair_ids
            else {}
        )
        return table, stacked


def _read_rows(path: Path) -> pa.Table:
    table = pq.read_table(path, page_checksum_verification=True)
    return table.replace_schema_metadata(None)


def read_residuals(path: Path) -> dict[str, NDArray[np.float16]]:
    """Residual summaries of one shard, as ``summaries`` made them.

    Raises:
        StoreError: missing or damaged.
    """
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path} is missing or damaged", hint="remove it and read again") from error
