"""Several processes read one project: with the real launcher, and as a job array does it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine.paths import ProjectPaths
from tests.models.tiny import save_checkpoint
from tests.reading.readers import save_sae

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BIN = Path(sys.executable).parent
N_PAIRS = 40


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs in a project, and a reader beside it."""
    root = tmp_path_factory.mktemp("processes")
    save_checkpoint(root / "reader" / "model", "llama", "chatml")
    save_sae(root / "reader" / "sae", "jumprelu")
    (root / "reader" / "reader.toml").write_text('model = "model"\nlayer = 1\nsae = "sae"\n')
    lines = [
        json.dumps({"prompt": f"Tell me about tea {i}", "chosen": f"It is warm. {i}", "rejected": "No."})
        for i in range(N_PAIRS)
    ]
    (root / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    subprocess.run([BIN / "prosect", "ingest", root / "pairs.jsonl", "-o", root / "one"], check=True)
    for name in ("launched", "array"):
        shutil.copytree(root / "one", root / name)
    return root


def command(root: Path, name: str) -> list[str]:
    return [
        str(BIN / "prosect"), "read", str(root / name), "--reader", str(root / "reader"),
        "--set", "reading.shard_pairs=4", "--set", "reading.check_tokens=0", "--json",
    ]  # fmt: skip


def environment(**extra: str) -> dict[str, str]:
    """PATH as in an activated environment; no rank of an outer launcher."""
    kept = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return kept | {"PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"} | extra


def rows_of(root: Path, name: str) -> list[dict[str, object]]:
    (reader,) = ProjectPaths(root / name).root.glob("readings/*")
    assert (reader / "manifest.json").exists()
    return [r for p in sorted((reader / "shards").glob("*.parquet")) for r in pq.read_table(p).to_pylist()]


@pytest.fixture(scope="module")
def alone(project: Path) -> list[dict[str, object]]:
    """What one process reads."""
    subprocess.run(command(project, "one"), check=True, env=environment(), capture_output=True)
    rows = rows_of(project, "one")
    assert len(rows) == N_PAIRS
    return rows


def test_torchrun_with_two_processes_reads_what_one_reads(
    project: Path, alone: list[dict[str, object]]
) -> None:
    launcher = [str(BIN / "torchrun"), "--no-python", "--nproc-per-node", "2", "--master-port", "0"]
    done = subprocess.run(
        [*launcher, *command(project, "launched")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reports = [json.loads("{" + part) for part in done.stdout.split("{")[1:]]
    assert len(reports) == 2
    assert sum(report["n_pairs_read"] for report in reports) == N_PAIRS
    assert all(report["n_pairs_read"] > 0 for report in reports)
    assert rows_of(project, "launched") == alone


def test_a_job_array_shares_the_work_without_a_launcher(
    project: Path, alone: list[dict[str, object]]
) -> None:
    running = [
        subprocess.Popen(
            command(project, "array"), env=environment(RANK=str(rank), WORLD_SIZE="2"), stdout=subprocess.PIPE
        )
        for rank in (0, 1)
    ]
    reports = [json.loads(process.communicate()[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sum(report["n_pairs_read"] for report in reports) == N_PAIRS
    assert rows_of(project, "array") == alone
