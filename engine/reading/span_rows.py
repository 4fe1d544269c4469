"""Readings of spans as Arrow rows, and finding those that earlier shards hold.

A span's reading depends on its own content, what comes before it, and the reader; never on the pair, the
source or the side it stands on. So rows are found again by content key when sources are added, removed,
renamed or relabelled, and also where a new pair puts a known response beside another one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.errors import StoreError
from engine.reading.reader import SpanReading
from engine.reading.shards import read_residuals, residual_file, shard_facts, shard_file
from engine.records import Span, reading_schema

_COLUMNS = ("key", "tokens", "truncated", "latent", "max", "n", "sum", "peak", "last")
_LISTS = (
    ("latent", "latent"), ("max", "act_max"), ("n", "n_fired"), ("sum", "act_sum"), ("peak", "peak"),
    ("last", "act_last"),
)  # fmt: skip
SUMMARIES = ("mean", "last")
"""Residual summaries of a span."""


@dataclass(frozen=True, slots=True)
class SpanRows:
    """Readings of N spans."""

    table: pa.Table
    """The columns that a shard has per span, without the span's name."""
    residuals: dict[str, NDArray[np.float16]] | None
    """mean and last, (N, D) each; None where they are not kept. Empty for no spans."""

    def take(self, order: Sequence[int]) -> "SpanRows":
        """Rows in another order."""
        at = np.asarray(order, dtype=np.int64)
        residuals = None
        if self.residuals is not None:
            residuals = {kind: value[at] for kind, value in self.residuals.items()}
        return SpanRows(self.table.take(pa.array(at)), residuals)


def span_rows(keys: Sequence[bytes], readings: Sequence[SpanReading], *, with_residuals: bool) -> SpanRows:
    """Rows of fresh readings."""
    kinds = {name: reading_schema().field(f"{Span.PROMPT}_{name}").type for name in _COLUMNS}
    columns: dict[str, pa.Array] = {
        "key": pa.array(keys, kinds["key"]),
        "tokens": pa.array([r.n_tokens for r in readings], kinds["tokens"]),
        "truncated": pa.array([r.is_truncated for r in readings], kinds["truncated"]),
    }
    offsets = np.cumsum([0, *(len(r.pooled.latent) for r in readings)]).astype(np.int32)
    for name, attribute in _LISTS:
        values = [getattr(r.pooled, attribute) for r in readings]
        flat = pa.array(np.concatenate(values) if values else np.zeros(0), kinds[name].value_type)
        columns[name] = pa.ListArray.from_arrays(offsets, flat)
    residuals = None
    if with_residuals:
        residuals = {kind: np.stack([getattr(r, kind) for r in readings]) for kind in SUMMARIES if readings}
    return SpanRows(pa.table(columns), residuals)


def join_rows(parts: Sequence[SpanRows]) -> SpanRows:
    """Rows one after the other."""
    table = pa.concat_tables([part.table for part in parts]).combine_chunks()
    held = [part.residuals for part in parts if part.residuals]
    if any(part.residuals is None for part in parts):
        return SpanRows(table, None)
    return SpanRows(table, {kind: np.concatenate([r[kind] for r in held]) for kind in SUMMARIES if held})


def shard_rows(
    pair_ids: Sequence[str], spans: Mapping[Span, SpanRows]
) -> tuple[pa.Table, dict[str, NDArray[np.float16]] | None]:
    """A shard's table in ``records.reading_schema`` and its residual summaries."""
    columns = {"pair_id": pa.array(pair_ids, pa.string())}
    for span, rows in spans.items():
        columns |= {f"{span}_{name}": rows.table[name].combine_chunks() for name in _COLUMNS}
    residuals: dict[str, NDArray[np.float16]] = {}
    for span, rows in spans.items():
        if rows.residuals is None:
            return pa.table(columns, schema=reading_schema()), None
        residuals |= {f"{span}_{kind}": value for kind, value in rows.residuals.items()}
    return pa.table(columns, schema=reading_schema()), residuals


class KnownSpans:
    """Readings that a reader's shards hold already, by content key: of those called ``intact`` only."""

    def __init__(
        self, reader_dir: Path, reader_hash: str, intact: Collection[str], *, with_residuals: bool
    ) -> None:
        self._dir, self._with_residuals = reader_dir, with_residuals
        self._names: list[str] = []
        keys, places = [np.zeros(0, "V16")], [np.zeros((0, 3), np.int32)]
        for path in (shard_file(reader_dir, name) for name in sorted(intact)):
            facts = shard_facts(path)
            if facts is None or facts.reader_hash != reader_hash:
                continue
            found = _keys_of(path)
            if found is None:
                continue
            n = len(found[Span.PROMPT])
            for number, span in enumerate(Span):
                keys.append(found[span])
                place = np.empty((n, 3), np.int32)  # shard, row, span
                place[:, 0], place[:, 1], place[:, 2] = len(self._names), np.arange(n), number
                places.append(place)
            self._names.append(path.stem)
        flat = _sortable(np.concatenate(keys))
        order = np.argsort(flat, kind="stable")
        self._keys, self._places = flat[order], np.concatenate(places)[order]

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, keys: Sequence[bytes]) -> NDArray[np.int64]:
        """Place of each key's reading, −1 for none; for ``take``."""
        if not len(self._keys) or not len(keys):
            return np.full(len(keys), -1, np.int64)
        wanted = _sortable(np.frombuffer(b"".join(keys), "V16"))
        at = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.where(self._keys[at] == wanted, at, -1)

    def take(self, places: Sequence[int]) -> SpanRows:
        """Readings at these places, in this order.

        Raises:
            StoreError: a shard or its residual summaries are damaged.
        """
        chosen = self._places[np.asarray(places, dtype=np.int64)]
        parts, start, starts = [span_rows([], [], with_residuals=self._with_residuals)], 0, {}
        for shard, number in sorted({(int(s), int(k)) for s, _, k in chosen}):
            part = self._part(self._names[shard], list(Span)[number])
            starts[shard, number] = start
            start += part.table.num_rows
            parts.append(part)
        return join_rows(parts).take([starts[int(s), int(k)] + int(row) for s, row, k in chosen])

    def _part(self, name: str, span: Span) -> SpanRows:
        path = shard_file(self._dir, name)
        columns = [f"{span}_{column}" for column in _COLUMNS]
        try:
            table = pq.read_table(path, columns=columns, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as error:
            raise StoreError(
                f"{path} is damaged", hint="remove it and read again: only it is read"
            ) from error
        table = table.rename_columns(list(_COLUMNS)).replace_schema_metadata(None)
        if not self._with_residuals:
            return SpanRows(table, None)
        stored = read_residuals(residual_file(self._dir, name))
        return SpanRows(table, {kind: stored[f"{span}_{kind}"] for kind in SUMMARIES})


def _keys_of(path: Path) -> dict[Span, NDArray[np.void]] | None:
    """Content keys of a shard's spans; None for a damaged file."""
    try:
        table = pq.read_table(path, columns=[f"{span}_key" for span in Span])
    except (OSError, pa.ArrowException):
        return None
    columns = {span: b"".join(table[f"{span}_key"].to_pylist()) for span in Span}
    return {span: np.frombuffer(joined, "V16") for span, joined in columns.items()}


def _sortable(keys: NDArray[np.void]) -> NDArray[np.void]:
    """16 bytes as two numbers: NumPy orders and compares those, but not raw bytes with trailing zeros."""
    pairs: NDArray[np.void] = np.ascontiguousarray(keys).view([("a", ">u8"), ("b", ">u8")])
    return pairs
