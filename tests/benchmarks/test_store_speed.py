"""How long an index takes to build, and how long its queries take.

    pytest -m benchmark -s tests/benchmarks/test_store_speed.py

Rows are readings of a pair and latent, both sides in one; ``PROSECT_BENCH_ROWS`` sets how many (default
4.4 million; the published figures are for 44 million). The shape is that of a 16k SAE over chat pairs: 121
latents per response, prevalence falling off as one over rank.
"""

import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.arrays import Readings
from engine.manifest import hash_bytes
from engine.progress import NullProgress
from engine.records import Span, pair_schema, reading_schema
from engine.store.arrays import build_arrays, load_truncated, open_arrays
from engine.store.build import build_index
from engine.store.connection import Store
from engine.store.tables import acts_table, last_acts_table, pairs_table, prompt_acts_table

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

N_LATENTS = 16_384
PER_SPAN = 121
ROWS_PER_PAIR = 175  # the union of two responses
N_ROWS = int(float(os.environ.get("PROSECT_BENCH_ROWS", "4.4e6")))
SHARD_PAIRS = 4096


@dataclass(frozen=True)
class Built:
    """A synthetic project and what it took."""

    index: Path
    arrays: Path
    readings: Readings
    seconds: dict[str, float]


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def shard(rng: np.random.Generator, start: int, n: int) -> pa.Table:
    """Readings of ``n`` pairs: latents by a Zipf law, the two sides sharing part of theirs."""
    columns: dict[str, pa.Array] = {"pair_id": pa.array([f"{i:032x}" for i in range(start, start + n)])}
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


def write_pairs(path: Path, n: int) -> None:
    text = "The garden table is bright and the river runs past the house. " * 12
    rows = {
        "pair_id": [f"{i:032x}" for i in range(n)],
        "content_id": [f"{i:032x}" for i in range(n)],
        "copy": np.zeros(n, np.int32),
        "source": ["alpha" if i % 3 else "beta" for i in range(n)],
        "label": ["chosen"] * n,
        "group_id": [hash_bytes(b"%d" % (i // 2)) for i in range(n)],
        "fold": (np.arange(n) // 2 % 20).astype(np.int8),
        "is_evaluation": np.zeros(n, bool),
    }
    messages = {
        span: pa.array(
            [[{"role": "user", "content": f"{i} {text}"}] for i in range(n)], pair_schema().field(span).type
        )
        for span in Span
    }
    table = {
        field.name: pa.array(rows[field.name], field.type) if field.name in rows
        else messages.get(field.name, pa.nulls(n, field.type))
        for field in pair_schema()
    }  # fmt: skip
    pq.write_table(pa.table(table, schema=pair_schema()), path, row_group_size=8192)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("store")
    n_pairs = N_ROWS // ROWS_PER_PAIR
    (folder / "shards").mkdir()
    rng = np.random.default_rng(0)
    for start in range(0, n_pairs, SHARD_PAIRS):
        table = shard(rng, start, min(SHARD_PAIRS, n_pairs - start))
        pq.write_table(table, folder / "shards" / f"{start:09d}.parquet", compression="zstd")
    write_pairs(folder / "pairs.parquet", n_pairs)
    warm = folder / "warm"  # compile the kernels outside the clock
    build_arrays(folder / "shards", folder / "pairs.parquet", warm, N_LATENTS, NullProgress(), max_pairs=10)
    seconds = {}
    started = time.perf_counter()
    build_arrays(folder / "shards", folder / "pairs.parquet", folder / "arrays", N_LATENTS, NullProgress())
    seconds["arrays"] = time.perf_counter() - started
    readings = open_arrays(folder / "arrays")
    started = time.perf_counter()
    tables = {
        "acts": acts_table(readings),
        "prompt_acts": prompt_acts_table(readings),
        "last_acts": last_acts_table(readings),
        "pairs": pairs_table(folder / "pairs.parquet", readings.pairs, load_truncated(folder / "arrays")),
    }
    seconds["tables"] = time.perf_counter() - started
    started = time.perf_counter()
    build_index(folder / "index.duckdb", tables, {})
    seconds["index"] = time.perf_counter() - started
    return Built(folder / "index.duckdb", folder / "arrays", readings, seconds)


def test_building(built: Built) -> None:
    n = len(built.readings.by_latent.pair)
    size = {
        "arrays": sum(f.stat().st_size for f in built.arrays.iterdir()),
        "index": built.index.stat().st_size,
    }
    say(f"\n{n / 1e6:.1f} M rows, {built.readings.n_pairs:,} pairs")
    for name, seconds in built.seconds.items():
        bytes_per_row = f"{size[name] / n:6.1f} B/row" if name in size else ""
        say(f"  {name:10s} {seconds:8.2f} s  {n / seconds / 1e6:7.1f} Mrows/s  {bytes_per_row}")
    say(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


def test_queries(built: Built) -> None:
    by_latent, by_pair = built.readings.by_latent, built.readings.by_pair
    counts = np.diff(by_latent.indptr)
    head, median = int(counts.argmax()), int(np.argsort(counts)[len(counts) // 2])

    def top_of(latent: int) -> Callable[[], object]:
        at = slice(int(by_latent.indptr[latent]), int(by_latent.indptr[latent + 1]))
        return lambda: np.asarray(by_latent.pair[at])[
            np.argsort(-np.asarray(by_latent.chosen.act_max[at]))[:50]
        ]

    with Store(built.index, threads=2) as store:
        top = (
            "SELECT pair FROM acts WHERE latent = ? ORDER BY greatest(chosen_max, rejected_max) DESC LIMIT 50"
        )
        rule = (
            "SELECT count(*) FROM pairs WHERE source = 'alpha' AND pair IN (SELECT pair FROM acts WHERE"
            " latent = $a AND chosen_max > 4) AND pair NOT IN (SELECT pair FROM acts WHERE latent = $b)"
            " AND pair NOT IN (SELECT pair FROM acts WHERE latent = $c AND rejected_max > 2)"
        )
        asked: dict[str, Callable[[], object]] = {
            "SQL top 50, head latent": lambda: store.rows(top, [head]),
            "SQL top 50, median latent": lambda: store.rows(top, [median]),
            "SQL rule, 3 latents + source": lambda: store.rows(rule, {"a": 30, "b": 90, "c": 200}),
            "SQL one pair's text": lambda: store.row("SELECT * FROM pairs WHERE pair = 77"),
            "arrays one pair, all latents": lambda: np.asarray(
                by_pair.chosen.act_max[by_pair.indptr[77] : by_pair.indptr[78]]
            ),
            "arrays top 50, head latent": top_of(head),
            "arrays top 50, median latent": top_of(median),
        }
        say(f"\n  head latent {counts[head]:,} rows, median {counts[median]:,}")
        for name, ask in asked.items():
            ask()
            taken = []
            for _ in range(15):
                started = time.perf_counter()
                ask()
                taken.append(time.perf_counter() - started)
            low, high = np.quantile(taken, [0.5, 0.95]) * 1e3
            say(f"  {name:30s} median {low:7.2f} ms   p95 {high:7.2f} ms")
