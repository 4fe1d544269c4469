"""Readings and pairs of a large synthetic project, written quickly: a few shards' worth of noise, repeated.

The shape is that of a 16k SAE over chat pairs: 121 latents per response, prevalence falling off as one over
rank. Pair ids differ from shard to shard; readings repeat every ``N_DISTINCT`` shards, which no index sees.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.arrays import Readings
from engine.manifest import hash_bytes
from engine.records import Span, pair_schema, reading_schema

N_LATENTS = 16_384
PER_SPAN = 121
ROWS_PER_PAIR = 187  # the union of two responses
SHARD_PAIRS = 4096
N_DISTINCT = 24
_TEXT = "The garden table is bright and the river runs past the house. " * 12


def write_world(folder: Path, n_rows: float) -> int:
    """Shards and pairs.parquet for about ``n_rows`` readings of a pair and latent; the number of pairs."""
    n_pairs = int(n_rows) // ROWS_PER_PAIR
    (folder / "shards").mkdir(parents=True)
    rng = np.random.default_rng(0)
    starts = range(0, n_pairs, SHARD_PAIRS)
    distinct = [shard(rng, SHARD_PAIRS) for _ in starts[:N_DISTINCT]]
    for i, start in enumerate(starts):
        n = min(SHARD_PAIRS, n_pairs - start)
        ids = pa.array([f"{i:032x}" for i in range(start, start + n)])
        table = distinct[i % N_DISTINCT].slice(0, n).set_column(0, "pair_id", ids)
        pq.write_table(table, folder / "shards" / f"{start:09d}.parquet", compression="zstd")
    with pq.ParquetWriter(folder / "pairs.parquet", pair_schema()) as writer:
        for part in _pairs(n_pairs):
            writer.write_table(part)
    return n_pairs


def shard(rng: np.random.Generator, n: int) -> pa.Table:
    """Readings of ``n`` pairs without ids: latents by a Zipf law, the two sides sharing part of theirs."""
    columns: dict[str, pa.Array] = {"pair_id": pa.array([""] * n)}
    shared = zipf(rng, (n, PER_SPAN // 2))
    for span in Span:
        latents = np.sort(np.concatenate([shared, zipf(rng, (n, PER_SPAN))], axis=1), axis=1)
        is_new = np.diff(latents, axis=1, prepend=-1) > 0
        is_new &= is_new.cumsum(axis=1) <= PER_SPAN
        offsets = np.concatenate([[0], is_new.sum(axis=1).cumsum()]).astype(np.int32)
        flat = latents[is_new].astype(np.uint32)
        size = len(flat)
        values = {
            "latent": flat,
            "max": rng.gamma(2.0, 2.0, size).astype(np.float32),
            "n": rng.integers(1, 30, size).astype(np.uint16),
            "sum": rng.gamma(3.0, 4.0, size).astype(np.float32),
            "peak": rng.integers(0, 400, size).astype(np.uint16),
            "last": np.where(rng.random(size) < 0.1, rng.gamma(2.0, 2.0, size), 0).astype(np.float32),
        }
        columns[f"{span}_key"] = pa.nulls(n, pa.binary(16))
        columns[f"{span}_tokens"] = pa.array(rng.integers(20, 700, n), pa.int32())
        columns[f"{span}_truncated"] = pa.array(np.zeros(n, bool))
        for kind, array in values.items():
            columns[f"{span}_{kind}"] = pa.ListArray.from_arrays(offsets, pa.array(array))
    return pa.table(columns, schema=reading_schema())


def zipf(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Log-uniform ranks: prevalence ∝ 1 / rank."""
    return np.asarray(np.exp(rng.random(shape) * np.log(N_LATENTS)).astype(np.int64) - 1)


def _pairs(n_pairs: int) -> Iterator[pa.Table]:
    for start in range(0, n_pairs, 8192):
        numbers = range(start, min(start + 8192, n_pairs))
        n = len(numbers)
        rows = {
            "pair_id": [f"{i:032x}" for i in numbers],
            "content_id": [f"{i:032x}" for i in numbers],
            "copy": np.zeros(n, np.int32),
            "source": ["alpha" if i % 3 else "beta" for i in numbers],
            "label": ["chosen"] * n,
            "group_id": [hash_bytes(b"%d" % (i // 2)) for i in numbers],
            "fold": (np.array(numbers) // 2 % 20).astype(np.int8),
            "is_evaluation": np.zeros(n, bool),
        }
        text = pc.binary_join_element_wise(pa.array([str(i) for i in numbers]), _TEXT, " ")
        messages = {span: _message(text, pair_schema().field(span).type) for span in Span}
        yield pa.table(
            {
                field.name: pa.array(rows[field.name], field.type) if field.name in rows
                else messages.get(field.name, pa.nulls(n, field.type))
                for field in pair_schema()
            },
            schema=pair_schema(),
        )  # fmt: skip


def _message(text: pa.Array, kind: pa.DataType) -> pa.Array:
    """A conversation of one message each."""
    n, fields = len(text), kind.value_type
    values = [
        text if field.name == "content" else pa.array(["user"] * n, field.type) if field.name == "role"
        else pa.nulls(n, field.type)
        for field in fields
    ]  # fmt: skip
    struct = pa.StructArray.from_arrays(values, fields=list(fields))
    return pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32)), struct, type=kind)


def concept_tables(readings: Readings) -> dict[str, pa.Table | pa.RecordBatchReader]:
    """A concept of every fourth latent, scored as an audit scores it, and its estimates in 100 topics."""
    by_latent = readings.by_latent
    latents = np.arange(0, N_LATENTS, 4)
    numbers = pa.array(np.arange(len(latents), dtype=np.uint32))
    ids = pa.array([f"c{i}" for i in range(len(latents))])
    n_topics, n_pairs = 100, readings.n_pairs
    every = np.arange(n_topics + 1, dtype=np.uint32)

    def scores() -> Iterator[pa.RecordBatch]:
        for concept, latent in enumerate(latents):
            at = slice(int(by_latent.indptr[latent]), int(by_latent.indptr[latent + 1]))
            chosen, rejected = (s.act_max[at] for s in (by_latent.chosen, by_latent.rejected))
            u = (chosen > 0).astype(np.float32) - (rejected > 0)
            yield pa.record_batch(
                [
                    np.full(len(u), concept, np.uint32), np.asarray(by_latent.pair[at]), np.asarray(chosen),
                    np.asarray(rejected), np.zeros(len(u), np.float32), u.astype(np.float32),
                ],
                schema=_SCORES,
            )  # fmt: skip

    return {
        "concepts": pa.table(
            {
                "concept": numbers, "concept_id": ids, "name": ids, "kind": ["latent"] * len(ids),
                "u_square": np.maximum(np.diff(by_latent.indptr)[latents], 1).astype(np.float64),
                "n_latents": np.ones(len(ids), np.uint32),
            }
        ),
        "concept_members": pa.table({"concept": numbers, "latent": latents.astype(np.uint32)}),
        "concept_scores": pa.RecordBatchReader.from_batches(_SCORES, _whole(scores())),
        "contexts": pa.table(
            {"context": every, "context_id": [f"x{i}" for i in every], "name": [f"topic {i}" for i in every],
             "kind": ["topic"] * len(every)}
        ),
        "context_pairs": pa.table(
            {"context": 1 + np.arange(n_pairs, dtype=np.uint32) * n_topics // n_pairs,
             "pair": np.arange(n_pairs, dtype=np.uint32)}
        ),
        "hypotheses": _hypotheses(len(ids), every),
    }  # fmt: skip


def _whole(batches: Iterator[pa.RecordBatch], size: int = 8 * 122_880) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of ``size``."""
    held = pa.Table.from_batches([], _SCORES)
    for batch in batches:
        held = pa.concat_tables([held, pa.Table.from_batches([batch])])
        while held.num_rows >= size:
            yield from held.slice(0, size).combine_chunks().to_batches()
            held = held.slice(size)
    yield from held.combine_chunks().to_batches()


def _hypotheses(n_concepts: int, contexts: np.ndarray[tuple[int, ...], np.dtype[np.uint32]]) -> pa.Table:
    n = n_concepts * len(contexts)
    rng = np.random.default_rng(1)
    rate = rng.random(n)
    context = np.repeat(contexts, n_concepts)
    return pa.table(
        {
            "hypothesis": np.arange(n, dtype=np.uint32),
            "hypothesis_id": [f"h{i}" for i in range(n)],
            "context": context,
            "concept": np.tile(np.arange(n_concepts, dtype=np.uint32), len(contexts)),
            "family": np.where(context == 0, "concepts", "cells"),
            "win_rate": rate, "win_low": rate - 0.05, "win_high": rate + 0.05, "differs_z": rate,
        }
    )  # fmt: skip


_SCORES = pa.schema(
    [("concept", pa.uint32()), ("pair", pa.uint32())]
    + [(name, pa.float32()) for name in ("chosen", "rejected", "prompt", "u")]
)
