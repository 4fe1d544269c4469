"""How long an index takes to build and in how much memory, and how long its queries take, warm and cold.

    pytest -m benchmark -s tests/benchmarks/test_store_speed.py

Rows are readings of a pair and latent, both sides in one; ``PROSECT_BENCH_ROWS`` sets how many (default
4.4 million; the published figures are for 44 and 400 million: 6 and 60 GB on disk, made in
``PROSECT_BENCH_DIR`` where that is set, and kept there). Cold is a fresh connection after the files were
dropped from the page cache.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from engine.live.looking import MEMORY
from engine.progress import NullProgress
from engine.store.arrays import build_arrays, load_truncated, open_arrays
from engine.store.build import build_index
from engine.store.connection import Store
from engine.store.details import concept_detail
from engine.store.mirror import mirror
from engine.store.pages import QuerySlot
from engine.store.pair_detail import pair_detail
from engine.store.snippets import N_BRIEF, N_TOP, top_pairs
from engine.store.tables import acts_table, last_acts_table, pairs_table, prompt_acts_table
from tests.benchmarks.measured import Peak, evict, quantiles, say
from tests.benchmarks.storeworld import N_LATENTS, concept_tables, write_world

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(7200)]

N_ROWS = float(os.environ.get("PROSECT_BENCH_ROWS", "4.4e6"))
N_WARM, N_COLD = 40, 9


@dataclass(frozen=True)
class Built:
    """A synthetic project and what it took."""

    index: Path
    arrays: Path
    n_pairs: int
    counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    """Rows of every latent."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    base = os.environ.get("PROSECT_BENCH_DIR")
    folder = Path(base) if base else tmp_path_factory.mktemp("store")
    if not (folder / "shards").exists():
        write_world(folder, N_ROWS)
    yield _build(folder)
    if not base:
        shutil.rmtree(folder)  # pytest keeps the last three


def _build(folder: Path) -> Built:
    if (folder / "index.duckdb").exists():
        return _built(folder)
    warm = folder / "warm"  # compile the kernels outside the clock
    build_arrays(folder / "shards", folder / "pairs.parquet", warm, N_LATENTS, NullProgress(), max_pairs=10)
    list(prompt_acts_table(open_arrays(warm)))
    with Peak("arrays") as arrays:
        build_arrays(
            folder / "shards", folder / "pairs.parquet", folder / "arrays", N_LATENTS, NullProgress()
        )
    readings = open_arrays(folder / "arrays")
    concepts = concept_tables(readings)
    with Peak("index") as index:
        tables = {
            "acts": acts_table(readings),
            "prompt_acts": prompt_acts_table(readings),
            "last_acts": last_acts_table(readings),
            "pairs": pairs_table(folder / "pairs.parquet", readings.pairs, load_truncated(folder / "arrays")),
            **concepts,
        }
        build_index(folder / "index.duckdb", tables, {})
    n = len(readings.by_latent.pair)
    say(f"\n{n / 1e6:.1f} M rows, {readings.n_pairs:,} pairs")
    sizes = (
        sum(f.stat().st_size for f in (folder / "arrays").iterdir()),
        (folder / "index.duckdb").stat().st_size,
    )
    for stage, size in zip((arrays, index), sizes, strict=True):
        say(f"  {stage}, {n / stage.wall_s / 1e6:.1f} Mrows/s, {size / n:.1f} B/row")
    return _built(folder)


def _built(folder: Path) -> Built:
    readings = open_arrays(folder / "arrays")
    counts = np.diff(readings.by_latent.indptr)
    return Built(folder / "index.duckdb", folder / "arrays", readings.n_pairs, counts)


def open_store(built: Built) -> Store:
    """The index as the workstation opens it."""
    store = Store(built.index, memory_limit=MEMORY)
    mirror(store, [], [])
    return store


def questions(built: Built) -> dict[str, Callable[[Store], object]]:
    """What people wait for, by name: calls of the store where there are some, else SQL."""
    head, median = 0, int(np.argsort(built.counts[::4])[len(built.counts[::4]) // 2])
    top = (  # greatest() takes 11 ms for 235,000 rows, this 2 ms
        "SELECT pair FROM acts WHERE latent = {} ORDER BY CASE WHEN chosen_max > rejected_max"
        " THEN chosen_max ELSE rejected_max END DESC LIMIT 50"
    )
    rule = (
        "SELECT count(*) FROM pairs WHERE source = 'alpha' AND pair IN (SELECT pair FROM acts WHERE"
        " latent = 30 AND chosen_max > 4) AND pair NOT IN (SELECT pair FROM acts WHERE latent = 90)"
        " AND pair NOT IN (SELECT pair FROM acts WHERE latent = 200 AND rejected_max > 2)"
    )
    some = built.n_pairs // 3

    def slot(store: Store) -> QuerySlot:
        return QuerySlot(store).question()

    return {
        "SQL: top 50 pairs, head latent": lambda s: s.rows(top.format(head)),
        "SQL: top 50 pairs, median latent": lambda s: s.rows(top.format(4 * median)),
        "SQL: rule, 3 latents + source": lambda s: s.rows(rule),
        "SQL: one pair's row": lambda s: s.row("SELECT * FROM pairs WHERE pair = ?", [some]),
        "top pairs beside a list, head concept": lambda s: top_pairs(slot(s), head, [0], N_BRIEF),
        "top pairs of a page, median concept": lambda s: top_pairs(slot(s), median, [4 * median], N_TOP),
        "one pair with its concepts": lambda s: pair_detail(slot(s), some, f"c{median}"),
        "concept beside a list, head": lambda s: concept_detail(slot(s), f"c{head}", is_brief=True),
        "concept beside a list, median": lambda s: concept_detail(slot(s), f"c{median}", is_brief=True),
        "concept page, head (co-activation)": lambda s: concept_detail(slot(s), f"c{head}"),
        "concept page, median (co-activation)": lambda s: concept_detail(slot(s), f"c{median}"),
        "arrays: one pair, all latents": lambda _: _one_pair(built, some),
    }


def _one_pair(built: Built, pair: int) -> float:
    by_pair = open_arrays(built.arrays).by_pair
    return float(by_pair.chosen.act_max[by_pair.indptr[pair] : by_pair.indptr[pair + 1]].sum())


def test_queries(built: Built) -> None:
    say(f"\n  head latent {built.counts[0]:,} rows, median {int(np.median(built.counts)):,}; ms, warm | cold")
    for name, ask in questions(built).items():
        with open_store(built) as store:
            ask(store)
            warm = quantiles(partial(ask, store), N_WARM)
        cold = []
        for _ in range(N_COLD):
            evict(built.index, *built.arrays.iterdir())
            with open_store(built) as store:
                started = time.perf_counter()
                ask(store)
                cold.append(time.perf_counter() - started)
        low, high = np.quantile(cold, [0.5, 0.95]) * 1e3
        say(f"  {name:40s} {warm[0]:8.2f} {warm[1]:8.2f} | {low:8.1f} {high:8.1f}")
