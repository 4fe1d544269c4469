"""Single steps: ingest and read alone, several processes, the cost of a reading, garbage."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from engine.api import Project, sample_folder, source_specs
from engine.cli.main import main
from engine.reading.spec import save_reader
from engine.store.connection import Store
from tests.pipeline.conftest import OVERRIDES


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


def test_preview_shows_pairs_and_writes_nothing(sample_pairs: Path, tmp_path: Path) -> None:
    path = sorted(sample_pairs.glob("*.jsonl"))[0]
    result = run("ingest", "--preview", path, "--json")
    assert result.exit_code == 0
    seen = json.loads(result.stdout)
    assert seen["format"]
    assert len(seen["pairs"]) == 10
    assert list(tmp_path.iterdir()) == []


def test_ingest_alone_leaves_pairs_whose_counts_add_up(sample_pairs: Path, tmp_path: Path) -> None:
    report = json.loads(run("ingest", sample_pairs, "-o", tmp_path / "p", "--json").stdout)
    assert report["adds_up"]
    assert pq.read_metadata(tmp_path / "p" / "pairs" / "pairs.parquet").num_rows == report["pairs"]


def test_every_dropped_and_repaired_row_can_be_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    good = '{"prompt": "p%d", "chosen": "yes", "rejected": "no"}'
    rows = [good % 1, "broken", '{"prompt": "p", "chosen": "", "rejected": "b"}', good % 2, good % 2]
    path.write_text("\n".join(rows) + "\n")
    report = json.loads(run("ingest", path, "-o", tmp_path / "p", "--json").stdout)
    entries = json.loads(run("report", tmp_path / "p", "--json").stdout)["entries"]
    assert {(e["row"], e["kind"]) for e in entries if e["kind"] == "dropped"} == {
        (1, "dropped"),
        (2, "dropped"),
    }
    assert sum(report["dropped"].values()) == 2
    one = json.loads(run("report", tmp_path / "p", "--reason", "empty_side", "--json").stdout)
    assert [(e["file"].split("/")[-1], e["row"]) for e in one["entries"]] == [("x.jsonl", 2)]
    assert "known:" in run("report", tmp_path / "p", "--reason", "nonsense").stderr
    assert "x.jsonl" in run("report", tmp_path / "p", "--file", "y.jsonl").stderr
    shown = run("report", tmp_path / "p", "--rows").stdout
    assert "5           0        3         0          2" in shown  # 5 + 0 = 3 + 0 + 2
    assert '"chosen": "", "rejected": "b"' in shown
    assert "(not_json: Expecting value (character 1 of it)" in shown
    assert "x.jsonl row 2 (from 0): dropped, empty_side" in shown
    assert "row (from 0)" in run("report", tmp_path / "p").stdout
    path.unlink()
    assert "no such file" in run("report", tmp_path / "p", "--rows", "--kind", "dropped").stdout


def test_two_processes_share_the_shards_and_give_the_index_of_one(
    audited: Path, sample_pairs: Path, tmp_path: Path
) -> None:
    root = tmp_path / "audit"
    run("ingest", sample_pairs, "-o", root)
    command = [sys.executable, "-m", "engine.cli.main", "read", str(root), "--plain"]
    command += ["--reader", str(sample_folder() / "reader"), "--set", "reading.shard_pairs=64"]
    workers = [
        subprocess.Popen(
            command,
            env=os.environ | {"RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in range(2)
    ]
    assert [worker.wait(timeout=240) for worker in workers] == [0, 0]
    with Project(root, overrides=OVERRIDES) as project:
        report = project.audit(source_specs([str(sample_pairs)]), str(sample_folder() / "reader"))
    assert report.reading["n_pairs_read"] == 0
    pointer = json.loads((audited / "current").read_text())
    assert report.index_hash == pointer["readers"][report.reader_hash]["index"]


def test_doctor_says_what_a_reading_costs_before_it_starts() -> None:
    result = run("doctor", "--reader", sample_folder() / "reader", "-n", "1000", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["machine"]["tflops"] > 0
    assert found["cost"]["reading"]["n_pairs"] == 1000
    assert all(found["cost"][stage]["hours"] > 0 for stage in ("reading", "index", "training"))
    twice = json.loads(run("doctor", "--reader", sample_folder() / "reader", "-n", "2000", "--json").stdout)
    assert twice["cost"]["reading"]["n_tokens"] == 2 * found["cost"]["reading"]["n_tokens"]


def test_doctor_without_a_reader_says_how_to_get_an_estimate() -> None:
    assert "--reader R" in run("doctor").stdout
    assert "--reader R" not in run("doctor", "--plain").stdout


def test_doctor_foresees_the_tokens_that_an_audit_read(audited: Path) -> None:
    result = run("doctor", "--project", audited, "--reader", sample_folder() / "reader", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    with (
        Project(audited) as project,
        Store(project.paths.index(project.browser.summary().index_hash)) as store,
    ):
        means = store.row("SELECT avg(prompt_tokens), avg((chosen_tokens + rejected_tokens) / 2) FROM pairs")
    assert means is not None
    reading = next(audited.glob("readings/*/manifest.json"))
    read = json.loads(reading.read_text())["facts"]["report"]["n_tokens"]
    assert found["cost"]["reading"]["n_tokens"] == pytest.approx(read, rel=0.001)  # marks and shared prompts
    assumed = found["assumed"]
    assert [assumed["prompt tokens"], assumed["response tokens"]] == pytest.approx(means, rel=0.1)


def test_garbage_is_what_nothing_points_to_and_never_a_decision(
    own_project: Callable[[], Path], sample_pairs: Path
) -> None:
    root = own_project()
    assert json.loads(run("gc", root, "--json").stdout) == []
    with Project(root, overrides={**OVERRIDES, "stats": {"min_discordant": 6}}) as project:
        project.audit(source_specs([str(sample_pairs)]), str(sample_folder() / "reader"))
    (root / "journal.jsonl").write_text("")
    left = root / ".index-x.duckdb.123.tmp"
    left.write_bytes(b"half")
    os.utime(left, (time.time() - 7200, time.time() - 7200))
    listed = json.loads(run("gc", root, "--json").stdout)
    assert {Path(g["path"]).name.split("-")[0] for g in listed} == {"index", "arrays", ".index"}
    pointed = json.loads((root / "current").read_text())
    index = next(iter(pointed["readers"].values()))["index"]
    assert not any(index in g["path"] for g in listed)
    assert run("gc", root, "--remove").exit_code == 0
    assert json.loads(run("gc", root, "--json").stdout) == []
    assert run("gc", root).stdout == "nothing to remove\n"
    assert (root / "journal.jsonl").exists()
    assert (root / f"index-{index}.duckdb").exists()


def test_index_that_a_shaped_dataset_was_made_from_is_kept(
    own_project: Callable[[], Path], sample_pairs: Path, tmp_path: Path
) -> None:
    root = own_project()
    rules = tmp_path / "r.rules"
    rules.write_text("prosect rules 1\ndrop where chosen.tokens > 400\n")
    assert run("compile", root, rules).exit_code == 0
    with Project(root, overrides={**OVERRIDES, "stats": {"min_discordant": 6}}) as project:
        project.audit(source_specs([str(sample_pairs)]), str(sample_folder() / "reader"))
    assert json.loads(run("gc", root, "--json").stdout) == []


@pytest.mark.parametrize("command", ["gc", "hypotheses"])
def test_a_folder_that_is_no_project_is_left_alone(tmp_path: Path, command: str) -> None:
    (tmp_path / "precious.txt").write_text("x")
    assert run(command, tmp_path).exit_code == 1
    assert (tmp_path / "precious.txt").exists()


@pytest.mark.slow
def test_an_sae_trained_on_the_pairs_reads_them(sample_pairs: Path, tmp_path: Path) -> None:
    root, model = tmp_path / "audit", sample_folder() / "reader" / "model"
    run("ingest", sample_pairs, "-o", root)
    size = ("--latents", "256", "--k", "16", "--tokens", "60000")
    asked: list[str | Path] = ["--model", model, "--layer", "1", *size, "--json"]
    made = run("sae", root, *asked)
    assert made.exit_code == 0, made.stderr
    report = json.loads(made.stdout)
    assert json.loads(run("sae", root, *asked).stdout) == report
    accept = ("--set", "concepts.min_pairs=5", "--set", "reading.accept_poor_sae=true")
    audited = run("audit", root, *accept, "--json")  # its only reader
    assert audited.exit_code == 0, audited.stderr
    assert f"the project's own reader: {model} at layer 1, SAE {report['folder']}" in audited.stderr
    by_hand = run("audit", sample_pairs, "-o", root, "--reader", report["folder"], *accept, "--json")
    assert json.loads(by_hand.stdout)["reader_hash"] == json.loads(audited.stdout)["reader_hash"]


def test_an_sae_that_an_audit_would_refuse_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = "80% of the residual stream's variance is left unexplained"

    def trained(*_: object, **__: object) -> dict[str, object]:
        return {"folder": "audit/sae/x", "layer": 1, "check": {"unexplained": 0.8, "problems": [problem]}}

    monkeypatch.setattr(Project, "train_sae", trained)
    asked: list[str | Path] = ["sae", tmp_path, "--model", "m", "--layer", "1"]
    said = run(*asked).stdout
    assert f"problem: {problem}" in said
    assert "`prosect audit` refuses an SAE that reads these texts so poorly" in said
    assert "read with it all the same:" in said
    assert said.rstrip().endswith("--reader audit/sae/x --set reading.accept_poor_sae=true")
    accepted = run(*asked, "--set", "reading.accept_poor_sae=true").stdout
    assert f"problem: {problem}" in accepted
    assert "refuses" not in accepted


def test_a_project_with_several_trained_saes_asks_which(sample_pairs: Path, tmp_path: Path) -> None:
    root, reader = tmp_path / "audit", sample_folder() / "reader"
    run("ingest", sample_pairs, "-o", root)
    assert "has no reader yet" in run("audit", root).stderr
    for name in ("one", "two"):
        shutil.copytree(reader / "sae", root / "sae" / name)
        save_reader(root / "sae" / name, str(reader / "model"), 1)
    refused = run("audit", root)
    assert refused.exit_code == 1
    for name in ("one", "two"):
        words = f"prosect audit {root} --reader {reader / 'model'} --layer 1 --sae {root / 'sae' / name}"
        assert words in refused.stderr
    assert run("audit", root, "--layer", "1").exit_code == 2


def test_doctor_counts_what_an_audit_leaves_out_once_each(audited: Path) -> None:
    asked = ("doctor", "--project", audited, "--reader", sample_folder() / "reader", "--json")
    found = json.loads(run(*asked, "--set", "stats.min_discordant=5").stdout)
    with (
        Project(audited) as project,
        Store(project.paths.index(project.browser.summary().index_hash)) as store,
    ):
        levels = store.value("SELECT count(DISTINCT (facet, level)) FROM levels")
    assert found["assumed"]["sources, models, annotators"] == levels
