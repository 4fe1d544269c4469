"""What is refused leaves no trace: no new folder, no job that nobody started."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.api import sample_folder
from engine.cli.main import main


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "forum.jsonl"
    rows = [{"prompt": f"p{i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_failed_ingest_leaves_no_new_folder(tmp_path: Path, pairs: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    for wrong in ((tmp_path / "nosuch.jsonl",), (empty,), (pairs, "--weight", "nosuch=2")):
        new = tmp_path / "a" / "new"
        refused = run("ingest", *wrong, "-o", new)
        assert refused.exit_code == 1, refused.output
        assert not (tmp_path / "a").exists()


def test_a_folder_that_was_there_stays_and_keeps_the_record(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    assert run("ingest", tmp_path / "nosuch.jsonl", "-o", there).exit_code == 1
    [job] = json.loads(run("jobs", there, "--json").stdout)
    assert job["state"] == "failed"


def test_what_a_job_wrote_before_it_failed_stays(tmp_path: Path, pairs: Path) -> None:
    new = tmp_path / "new"
    wrong = "stats.covariates=['nosuch']"  # known to be wrong only once there is something to estimate
    failed = run("audit", pairs, "--reader", sample_folder() / "reader", "--set", wrong, "-o", new)
    assert failed.exit_code == 1
    assert "there is no covariate `nosuch`" in failed.output
    assert (new / "pairs" / "pairs.parquet").exists()
    [job] = json.loads(run("jobs", new, "--json").stdout)
    assert job["state"] == "failed"


def test_a_project_in_the_place_of_a_dataset_or_run_is_answered_with_those_it_has(
    tmp_path: Path, pairs: Path
) -> None:
    root = tmp_path / "audit"
    assert run("ingest", pairs, "-o", root).exit_code == 0
    for command, found in (
        ("train", "`prosect compile DIR RULES` makes"),
        ("outcome", "`prosect compile DIR"),
    ):
        assert found in run(command, root).output
    for name in ("shaped/abc", "runs/r1"):
        (root / name).mkdir(parents=True)
    assert f"shaped: {root}/shaped/abc; runs: {root}/runs/r1" in run("train", root).output
    assert f"this project has {root}/shaped/abc" in run("train", root / "shaped" / "HASH").output


def test_pairs_without_an_index_are_to_be_audited(tmp_path: Path, pairs: Path) -> None:
    root = tmp_path / "audit"
    assert f"prosect audit {root} --reader R" in run("ingest", pairs, "-o", root).output
    assert f"run `prosect audit {root} --reader R` first" in run("concepts", root).output


def test_a_slip_in_a_change_of_the_mix_is_no_failed_job(tmp_path: Path, pairs: Path) -> None:
    root = tmp_path / "audit"
    assert run("ingest", pairs, "-o", root).exit_code == 0
    jobs = run("jobs", root, "--json").stdout
    for arguments, problem in (
        (("weight", root, "forum=0"), "weight 0 of forum is not a positive number"),
        (("weight", root, "forum=-1"), "weight -1 of forum is not a positive number"),
        (("weight", root, "forun=2"), "did you mean `forum`?"),
        (("remove", root, "nosuch"), "there is no source `nosuch`"),
        (("remove", root, "forum"), "nothing would be left"),
        (("add", root, f"other={pairs}", "--weight", "other=0"), "is not a positive number"),
    ):
        refused = run("mix", *arguments)
        assert refused.exit_code == 1
        assert problem in refused.stderr
    assert run("ingest", pairs, "-o", root, "--weight", "forum=0").exit_code == 1
    assert run("jobs", root, "--json").stdout == jobs


def test_jobs_of_no_project_are_an_error(tmp_path: Path) -> None:
    refused = run("jobs", tmp_path / "nowhere")
    assert (refused.exit_code, "there is no project at" in refused.output) == (1, True)


def test_evaluation_sets_that_meet_nothing_are_said_to_have_been_compared(
    tmp_path: Path, pairs: Path
) -> None:
    other = tmp_path / "bench.jsonl"
    other.write_text('{"prompt": "something else"}\n{"prompt": "and more"}\n', encoding="utf-8")
    lines = run("ingest", pairs, "-o", tmp_path / "a", "--evaluation", other, "--plain").stdout.splitlines()
    assert f"compared with\t2\tprompts of {other}" in [line.strip() for line in lines]
    assert "of an evaluation set\t0\trefused for training" in [line.strip() for line in lines]
