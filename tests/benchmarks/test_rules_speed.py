"""How long a person waits: edits of a rule file, collateral, matching and compile at 250,000 pairs.

Run with ``pytest -m benchmark -s tests/benchmarks/test_rules_speed.py``; PROSECT_BENCH_PAIRS sets the size.
The index is synthetic: 48 acts rows per pair over 2,000 latents, 300 concepts, texts of some 600 characters.
Wall and processor time are printed; nothing is asserted on them.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.compiler.emit import compile_plan
from engine.compiler.leave_out import LeaveOuts
from engine.compiler.matching import balance
from engine.compiler.plan import make_plan
from engine.compiler.records import Plan
from engine.records import pair_schema
from engine.settings import RulesSettings
from engine.store.connection import Store
from engine.store.schema import SCHEMA_VERSION, TABLES

pytestmark = pytest.mark.benchmark
N = int(os.environ.get("PROSECT_BENCH_PAIRS", "250000"))
T = TypeVar("T")


def timed(label: str, work: Callable[[], T]) -> T:
    """Run and report wall and processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    sys.stdout.write(f"\n{label:58s} {wall * 1000:8.0f} ms, processor {processor * 1000:8.0f} ms")
    return result


SCRIPT = """
INSERT INTO meta VALUES ('schema_version', '{version}'), ('reader_hash', '"bench"');
INSERT INTO pairs BY NAME SELECT i::UINTEGER pair, md5(i::VARCHAR) pair_id, md5(i::VARCHAR) content_id,
    0 copy, 'source' || (hash(i) % 4) source, 'f' source_file, i source_row,
    CASE WHEN hash(i * 3) % 20 = 0 THEN 'tie' ELSE 'chosen' END label,
    (i // 2)::UINTEGER group_index, md5((i // 2)::VARCHAR) group_id, (hash(i // 2) % 20)::TINYINT fold,
    repeat('please tell me about tea ' || i || ' ', 8) prompt_text,
    repeat('sure https://x.org ' || hash(i) || ' ', 20) chosen_text,
    repeat('no thanks ' || hash(i) || ' ', 20) rejected_text, 50 prompt_tokens,
    (20 + hash(i * 7) % 300)::INTEGER chosen_tokens, (20 + hash(i * 11) % 300)::INTEGER rejected_tokens,
    1 prompt_turns, false is_evaluation, json_object('rating', i % 5, 'topic', 'tea') meta
    FROM range({n}) t(i);
INSERT INTO acts BY NAME SELECT latent, pair, chosen_max, rejected_max,
    (chosen_max > 0)::USMALLINT chosen_n, (rejected_max > 0)::USMALLINT rejected_n,
    chosen_max chosen_sum, rejected_max rejected_sum, 0 chosen_peak, 0 rejected_peak
    FROM (SELECT (hash(i * 64 + k) % 2000)::UINTEGER latent, i::UINTEGER pair,
        if(hash(i + k * 77) % 3 > 0, hash(i * 5 + k) % 1000 / 200.0, 0)::FLOAT chosen_max,
        if(hash(i + k * 79) % 3 > 0, hash(i * 3 + k) % 1000 / 200.0, 0)::FLOAT rejected_max
        FROM range({n}) t(i), range(48) s(k)) ORDER BY latent, pair;
INSERT INTO concepts BY NAME SELECT i::UINTEGER concept, md5('c' || i) concept_id, 'cluster' kind,
    'concept ' || i AS name, 'tokens' name_source, '[]' tokens, 6 n_latents FROM range(300) t(i);
INSERT INTO concept_members SELECT (i % 300)::UINTEGER, i::UINTEGER, 1.0 FROM range(1800) t(i);
INSERT INTO concept_scores BY NAME SELECT m.concept, a.pair, max(chosen_max) chosen,
    max(rejected_max) rejected, 0 prompt, sum((chosen_n > 0)::INTEGER - (rejected_n > 0)::INTEGER) / 6.0 u
    FROM acts a JOIN concept_members m USING (latent) GROUP BY ALL ORDER BY 1, 2;
INSERT INTO contexts BY NAME SELECT i context, md5('x' || i) context_id,
    CASE WHEN i = 0 THEN 'everywhere' ELSE 'topic' END kind,
    CASE WHEN i = 0 THEN 'everywhere' ELSE 'topic ' || i END AS name FROM range(101) t(i);
INSERT INTO context_pairs SELECT (1 + i % 100)::UINTEGER, i::UINTEGER FROM range({n}) t(i) ORDER BY 1, 2;
"""


def build(path: Path) -> None:
    """A synthetic index, made inside the database."""
    with duckdb.connect(str(path)) as connection:
        for table in TABLES:
            columns = ", ".join(f'"{column.name}" {column.sql_type}' for column in table.columns)
            connection.execute(f'CREATE TABLE "{table.name}" ({columns})')
        for statement in SCRIPT.format(n=N, version=SCHEMA_VERSION).split(";\n"):
            if statement.strip():
                connection.execute(statement)


def write_pairs(path: Path, store: Store) -> None:
    """pairs.parquet that fits the index."""
    table = store.arrow(
        "SELECT pair_id, source, group_id, fold, label, prompt_text, chosen_text, rejected_text FROM pairs"
    )
    writer = pq.ParquetWriter(path, pair_schema())
    for batch in table.to_batches(max_chunksize=20_000):
        columns: dict[str, object] = {}
        for name, role in (("prompt", "user"), ("chosen", "assistant"), ("rejected", "assistant")):
            text = batch.column(f"{name}_text")
            messages = pa.StructArray.from_arrays([pa.array([role] * len(text)), text], ["role", "content"])
            columns[name] = pa.ListArray.from_arrays(
                pa.array(np.arange(len(text) + 1, dtype=np.int32)), messages
            )
        arrays = []
        for field in pair_schema():
            if field.name in columns:
                arrays.append(columns[field.name].cast(field.type))  # type: ignore[attr-defined]
            elif field.name in batch.schema.names:
                arrays.append(batch.column(field.name).cast(field.type))
            else:
                arrays.append(pa.nulls(batch.num_rows, field.type))
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=pair_schema()))
    writer.close()


@pytest.fixture(scope="module")
def bench_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    path = Path(tmp_path_factory.mktemp("bench")) / "index-bench.duckdb"
    timed(f"build a synthetic index of {N} pairs", lambda: build(path))
    with Store(path) as store:
        yield store


RULES = """prosect rules 1
concept a = @"concept 1"
concept b = @"concept 2" or @"concept 3"
concept c = label ~ /concept 4[0-9]$/
links: drop where chosen.text ~ /https?:/ and delta(@a) > {}
style: weight *= 0.5, tag "s" where delta(@b) > p90(delta(@b), active)
    and abs(chosen.tokens - rejected.tokens) < 80
wrong: flip where z(delta(@c)) > 2 and source == "source1"
safe: protect where meta.rating >= 4 and context("topic 3")
up: weight *= 2 where rejected(@a, rate) > 0.01
soften context("topic 7") by 0.5
expect kept >= 50%
"""


def test_an_edit_and_its_collateral(bench_store: Store) -> None:
    def planned(limit: float, more: str = "") -> Plan:
        return make_plan(bench_store, RULES.format(limit) + more)

    timed("first plan: names, readings, texts and scores read once", lambda: planned(3))
    plan = timed("plan again after a threshold edit", lambda: planned(2.5))
    plan = timed("plan again after another", lambda: planned(2))
    timed("plan with a new reading", lambda: planned(2, 'drop where delta(@"concept 9") > 4\n'))
    timed("plan with a new text match", lambda: planned(2, "drop where prompt.text ~ /coffee/\n"))
    assert sum(plan.counts[k] for k in ("kept", "dropped", "held_out", "unlabelled", "refused")) == N
    leave_out(bench_store, planned(2))


def leave_out(store: Store, plan: Plan) -> None:
    """Time what the workstation does after every plan: each statement left out, one after another."""
    steps = timed(
        "  what its statements share, evaluated", lambda: LeaveOuts(store, plan, (), RulesSettings())
    )
    found = timed(
        f"  {len(steps.names)} statements left out", lambda: [steps.without(n) for n in steps.names]
    )
    assert len(found) == len(steps.names)


def test_a_plan_with_matching(bench_store: Store) -> None:
    text = RULES.format(2) + "".join(f'suppress @"concept {i}" by matching max 4\n' for i in range(10, 20))
    make_plan(bench_store, text)
    plan = timed(
        "plan again with 10 matched concepts, 2 statistics each", lambda: make_plan(bench_store, text)
    )
    leave_out(bench_store, plan)


def test_matching_20_concepts() -> None:
    rng = np.random.default_rng(0)
    n, k = 300_000, 20
    mix = rng.normal(size=(k, k)) * 0.2 + np.eye(k)
    delta = ((rng.normal(size=(n, k)) + 0.05) @ mix.T * (rng.random((n, k)) < 0.3)).T
    rows = np.vstack([delta / delta.std(axis=1, keepdims=True), np.ones(n)])
    goal = np.append(np.zeros(k), n)
    free = timed("matching: 20 concepts × 300,000 pairs", lambda: balance(rows, goal, np.ones(n), 1e9))
    bound = timed("matching: the same with weights ≤ 1.2", lambda: balance(rows, goal, np.ones(n), 1.2))
    assert free.converged
    assert bound.converged


def test_compile(bench_store: Store, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.parquet"
    write_pairs(pairs, bench_store)
    plan = make_plan(bench_store, RULES.format(2))
    done = timed("compile", lambda: compile_plan(bench_store, plan, pairs, tmp_path / "shaped"))
    assert done.counts["kept"] > 0
