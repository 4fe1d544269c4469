"""How long ingest takes and how much memory it holds, beside ``datasets`` loading the same file.

Run with ``pytest -m benchmark -s tests/benchmarks/test_ingest_speed.py``. PROSECT_BENCH_PAIRS sets the size
(270,000 pairs are 2.2 GB of JSON lines). The file is made on the fly: mixture rows with messages, 8 kB each,
prompts that repeat now and then. Each contender runs in a process of its own, so that peak memory is its own;
``datasets`` parses the file into its Arrow cache and does nothing else. Figures are printed; nothing is
asserted on wall time.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]
N = int(os.environ.get("PROSECT_BENCH_PAIRS", "270000"))
MEASURE = """
import json, resource, sys, time
started = time.perf_counter()
{work}
usage = resource.getrusage(resource.RUSAGE_SELF)
children = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({{
    "rows": rows,
    "wall_s": time.perf_counter() - started,
    "cpu_s": usage.ru_utime + usage.ru_stime + children.ru_utime + children.ru_stime,
    "peak_gb": max(usage.ru_maxrss, children.ru_maxrss) / 1e6,
    "more": more,
}}))
"""
INGEST = """
from pathlib import Path
from engine.ingest.run import SourceSpec, ingest
from engine.progress import NullProgress
from engine.settings import IngestSettings
settings = IngestSettings(near_duplicates={near})
report = ingest([SourceSpec({file!r})], Path({out!r}), settings, NullProgress())
rows, more = report.pairs, report.near_duplicate_seconds
"""
DATASETS = """
import datasets
rows = len(datasets.load_dataset("json", data_files={file!r}, split="train", cache_dir={out!r}))
more = None
"""


def say(line: str) -> None:
    """Print one line of the result."""
    sys.stdout.write(line + "\n")


def write_mixture(path: Path, n: int) -> None:
    """Rows as in a mixture of preference sets; seeded."""
    rng = random.Random(0)  # noqa: S311
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 10))) for _ in range(5000)]
    blocks = [" ".join(rng.choices(words, k=200)) + '\n\n- **note** "é"\n' for _ in range(3000)]
    with path.open("w", encoding="utf-8") as f:
        for i in range(n):
            prompt = f"{i * 7919 % (n * 9 // 10 + 1)} {rng.choice(blocks)[: rng.randint(50, 1500)]}"
            sides = [
                [
                    {"role": "user", "content": prompt},
                    {"role": "assistant", "content": f"{''.join(rng.choices(blocks, k=2))}{k}"},
                ]
                for k in (i, -i - 1)
            ]
            row = {"id": str(i), "prompt": prompt, "chosen": sides[0], "rejected": sides[1]}
            f.write(
                json.dumps(row | {"source": f"set{i % 9}", "chosen_model": "m", "rejected_model": "n"}) + "\n"
            )


def measured(label: str, work: str) -> dict[str, Any]:
    """Run in a fresh process, print and return its figures."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.format(work=work)], capture_output=True, text=True, check=True
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    wall, cpu, peak = (figures[k] for k in ("wall_s", "cpu_s", "peak_gb"))
    say(f"{label:44s} {wall:7.1f} s wall {cpu:7.1f} s cpu {peak:6.2f} GB peak")
    return figures


def test_ingest_beside_datasets(tmp_path: Path) -> None:
    file = tmp_path / "mixture.jsonl"
    write_mixture(file, N)
    say(f"{N:,} pairs, {file.stat().st_size / 1e9:.2f} GB, {os.cpu_count()} cores")
    fresh = measured(
        "prosect: ids, groups, folds, report",
        INGEST.format(near=False, file=str(file), out=str(tmp_path / "out")),
    )
    again = measured(
        "prosect, nothing changed", INGEST.format(near=False, file=str(file), out=str(tmp_path / "out"))
    )
    theirs = measured(
        "datasets: Arrow cache only", DATASETS.format(file=str(file), out=str(tmp_path / "cache"))
    )
    near = measured(
        "prosect with near-duplicates", INGEST.format(near=True, file=str(file), out=str(tmp_path / "near"))
    )
    say(f"{'of which the near-duplicate pass':44s} {near['more']:7.1f} s wall")
    assert fresh["rows"] == again["rows"] == theirs["rows"] == near["rows"] == N
    assert fresh["peak_gb"] < 1.5  # bounded: the file is larger
