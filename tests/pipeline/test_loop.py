"""The whole loop on real pairs with real components: verdict, rules, plan, shaped dataset, run, outcome."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from engine.api import Project, sample_folder
from engine.cli.main import main
from engine.errors import TrainError
from engine.models import fetching
from engine.models.identity import fingerprint_of
from engine.paths import ProjectPaths
from engine.pipeline.interventions import check_interventions
from engine.pipeline.train import _as_read
from engine.records import HELD_OUT_FOLD, Verdict
from engine.store.connection import Store
from engine.views.tables import Target
from tests.pipeline.conftest import OVERRIDES

RULES = """prosect rules 1
links: drop where chosen.text ~ /https?:/ because "invented resources"
lists: weight *= 0.5 where delta(@list_items) > 0
bangs: flip where delta(@exclamations) > 0
expect kept >= 40%
"""
SMALL = [
    f"--set=training.{key}"
    for key in ("rollout_prompts=10", "rollout_tokens=12", "batch_pairs=4", "rollouts_per_prompt=2")
]

PILOT = ["--set=training.pilot_share=0.02"]


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


@pytest.fixture(scope="module")
def project(audited: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a rule file, compiled and trained on for three steps."""
    root = tmp_path_factory.mktemp("loop") / "audit"
    shutil.copytree(audited, root)
    (root / "rules").mkdir(exist_ok=True)
    (root / "rules" / "first.rules").write_text(RULES)
    return root


@pytest.fixture(scope="module")
def shaped(project: Path) -> Path:
    result = run("compile", project, project / "rules" / "first.rules", "--json")
    assert result.exit_code == 0, result.stderr
    return Path(json.loads(result.stdout)["folder"])


@pytest.fixture(scope="module")
def trained(shaped: Path) -> Path:
    result = run("train", shaped, "--steps", "3", "--lr", "1e-4", "--json", *SMALL, *PILOT)
    assert result.exit_code == 0, result.stderr
    return Path(json.loads(result.stdout)["run_dir"])


def test_plan_and_ledger_agree_and_every_pair_has_one_fate(project: Path, shaped: Path) -> None:
    plan = json.loads(run("plan", project, project / "rules" / "first.rules", "--json").stdout)
    ledger = pq.read_table(shaped / "ledger.parquet").to_pylist()
    counts = plan["counts"]
    assert len(ledger) == counts["total"] == pq.read_metadata(project / "pairs" / "pairs.parquet").num_rows
    for fate in ("kept", "dropped", "held_out", "unlabelled", "refused"):
        assert sum(row["fate"] == fate for row in ledger) == counts[fate]
    assert counts["dropped"] > 0
    assert counts["flipped"] > 0


def test_shaped_rows_are_what_the_rules_say(project: Path, shaped: Path) -> None:
    pairs = {row["pair_id"]: row for row in pq.read_table(project / "pairs" / "pairs.parquet").to_pylist()}
    rows = pq.read_table(shaped / "train.parquet").to_pylist()
    assert np.mean([row["weight"] for row in rows]) == pytest.approx(1.0)
    n_flipped = 0
    for row in rows:
        origin = pairs[row["pair_id"]]
        assert row["fold"] != HELD_OUT_FOLD
        assert row["prompt"] == origin["prompt"]
        flipped = row["chosen"] == origin["rejected"]
        n_flipped += flipped
        assert flipped or row["chosen"] == origin["chosen"]
        # `where` sees the pair as it came in, also where it is flipped
        assert "http" not in origin["chosen"][0]["content"]
    assert n_flipped > 0


def test_same_rules_give_the_same_folder_and_bytes(project: Path, shaped: Path) -> None:
    before = {p.name: p.read_bytes() for p in shaped.iterdir()}
    again = json.loads(run("compile", project, project / "rules" / "first.rules", "--json").stdout)
    assert again["was_there"]
    assert {p.name: p.read_bytes() for p in shaped.iterdir()} == before


def test_mistake_in_a_rule_file_points_at_its_place(project: Path, tmp_path: Path) -> None:
    rules = tmp_path / "wrong.rules"
    rules.write_text(
        "prosect rules 1\nlinks: filp where chosen.text ~ /x/\nweight *= 0.5 where delta(@bould) > 0\n"
    )
    result = run("plan", project, rules)
    assert result.exit_code == 1
    assert "wrong.rules:2:8" in result.stderr
    assert "did you mean `flip`" in result.stderr


def test_failing_expectation_exits_with_three(project: Path, tmp_path: Path) -> None:
    rules = tmp_path / "strict.rules"
    rules.write_text("prosect rules 1\ndrop where chosen.tokens > 60\nexpect kept >= 99%\n")
    assert run("plan", project, rules).exit_code == 3


def test_forecast_was_written_before_training_and_is_the_weighted_mean(
    project: Path, shaped: Path, trained: Path
) -> None:
    pointer = json.loads((trained / "forecast.json").read_text())
    forecast = json.loads(Path(pointer["path"]).read_text())
    assert Path(pointer["path"]).stat().st_mtime <= (trained / "manifest.json").stat().st_mtime
    ledger = pq.read_table(shaped / "ledger.parquet").to_pylist()
    row = forecast["concepts"][0]
    with Store(ProjectPaths(project).index(forecast["index"])) as store:
        u = dict(
            store.rows(
                "SELECT pair, u FROM concept_scores JOIN concepts USING (concept) WHERE concept_id = ?",
                [row["concept_id"]],
            )
        )
    expected = sum(p["weight"] * (-1 if p["flipped"] else 1) * u.get(p["pair"], 0.0) for p in ledger)
    assert row["forecast"] == pytest.approx(expected / sum(p["weight"] for p in ledger), abs=1e-6)


def test_pilot_was_trained_and_its_forecast_written_before_the_first_step(trained: Path) -> None:
    path = Path(json.loads((trained / "forecast.json").read_text())["pilot"])
    forecast = json.loads(path.read_text())
    assert (forecast["n_steps"], forecast["n_pairs"]) == (3, 12)  # 2% are fewer than three steps of 4
    assert forecast["moved"]
    assert (trained / "rollouts" / "start.parquet").exists()
    begun = json.loads((trained / "events.jsonl").read_text().splitlines()[0])
    assert path.stat().st_mtime <= datetime.fromisoformat(begun["time"]).timestamp() + 0.001
    assert all(row["low"] <= row["forecast"] <= row["high"] for row in forecast["concepts"])


def test_forecasts_through_the_policy_are_written_before_the_first_step_and_with_intervals(
    trained: Path,
) -> None:
    pointer = json.loads((trained / "forecast.json").read_text())
    assert pointer["leading"] == "mean delta"
    path = Path(pointer["covariance"])
    begun = json.loads((trained / "events.jsonl").read_text().splitlines()[0])
    assert path.stat().st_mtime <= datetime.fromisoformat(begun["time"]).timestamp() + 0.001
    found = json.loads(path.read_text())
    assert list(found["forecasts"]) == ["covariance × mean delta", "covariance × ridge weights"]
    for rows in found["forecasts"].values():
        assert all(row["low"] <= row["forecast"] <= row["high"] for row in rows)
        assert any(row["se"] > 0 for row in rows)


def test_outcome_scores_what_was_written_and_samples_the_start_once(project: Path, trained: Path) -> None:
    start = trained / "rollouts" / "start.parquet"
    pointer = json.loads((trained / "forecast.json").read_text())
    path, before = Path(pointer["covariance"]), start.stat().st_mtime_ns
    first = json.loads(run("outcome", trained, "--json").stdout)["forecasts"]
    found = json.loads(path.read_text())
    for row in found["forecasts"]["covariance × mean delta"]:
        row |= {"forecast": -row["forecast"], "low": -row["high"], "high": -row["low"]}
    whole, times = path.read_text(), path.stat()
    try:
        path.write_text(json.dumps(found))
        second = json.loads(run("outcome", trained, "--json").stdout)["forecasts"]
    finally:
        path.write_text(whole)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # another test asks when it was written
    assert second[1]["slope"] == pytest.approx(-first[1]["slope"])
    assert [f["slope"] for f in second[2:]] == [f["slope"] for f in first[2:]]
    assert start.stat().st_mtime_ns == before


def test_difference_of_runs_subtracts_changes_and_forecasts(
    project: Path, trained: Path, tmp_path: Path
) -> None:
    rules = project / "rules" / "none.rules"
    rules.write_text("prosect rules 1\n")
    plain = Path(json.loads(run("compile", project, rules, "--json").stdout)["folder"])
    result = run("train", plain, "--steps", "3", "--lr", "1e-4", "--json", *SMALL, "-o", "unshaped")
    assert result.exit_code == 0, result.stderr
    other = Path(json.loads(result.stdout)["run_dir"])
    assert other == trained.parent / "unshaped"  # a bare name is one in runs
    found = json.loads(run("outcome", trained, "--against", other.name, "--json").stdout)
    assert found["lines"][0] == f"difference of runs: {trained.name} less {other.name}"
    assert [f["name"] for f in found["forecasts"]] == [  # the other run had no pilot
        "mean delta", "covariance × mean delta", "covariance × ridge weights",
    ]  # fmt: skip
    assert json.loads((trained / f"outcome-against-{other.name}.json").read_text()) == found
    ours, theirs = (json.loads(run("outcome", folder, "--json").stdout) for folder in (trained, other))
    for row, a, b in zip(found["concepts"], ours["concepts"], theirs["concepts"], strict=True):
        assert row["forecast"] == pytest.approx(a["forecast"] - b["forecast"], abs=1e-12)
        assert row["change"] == pytest.approx(a["change"] - b["change"], abs=1e-12)
    alone = [row["forecast_se"] for row in ours["concepts"]]
    assert np.median([row["forecast_se"] for row in found["concepts"]]) < np.median(alone)


def test_runs_that_differ_in_more_than_their_pairs_are_not_compared(
    shaped: Path, trained: Path, tmp_path: Path
) -> None:
    again = run("outcome", trained, "--against", trained)
    assert again.exit_code == 1
    assert "with itself" in again.stderr
    result = run("train", shaped, "--steps", "1", "--lr", "1e-4", "--json", "--set=training.batch_pairs=4")
    other = Path(json.loads(result.stdout)["run_dir"])
    refused = run("outcome", trained, "--against", other)
    assert refused.exit_code == 1
    assert "differ in rollout_prompts, rollout_tokens, rollouts_per_prompt, steps" in refused.stderr


def test_refused_run_leaves_the_request_and_forecast_of_the_run_that_is_there(
    shaped: Path, trained: Path
) -> None:
    kept = [(trained / name).read_bytes() for name in ("request.json", "forecast.json")]
    result = run("train", shaped, "--steps", "2", *SMALL, *PILOT, "-o", trained)
    assert result.exit_code == 1
    assert "another" in result.stderr or "other data" in result.stderr
    assert [(trained / name).read_bytes() for name in ("request.json", "forecast.json")] == kept


@pytest.mark.parametrize(
    ("where", "options", "why"),
    [
        ("runs/refused", [*PILOT], "two responses"),
        ("runs/refused", ["--set=training.micro_batch_pairs=3"], "no multiple"),
        ("runs/refused", ["--set=training.label_smoothing=0.1"], "label smoothing"),
        ("elsewhere", [], "where the runs of this project lie"),
    ],
)
def test_a_refused_run_leaves_no_folder(
    project: Path, shaped: Path, where: str, options: list[str], why: str
) -> None:
    result = run("train", shaped, "--steps", "1", *options, "-o", project / where)
    assert result.exit_code == 1
    assert why in result.stderr
    assert not (project / where).exists()


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"kind": "steer", "amount": 3.0, "layer": 1}, "3 median lengths"),
        ({"kind": "steer", "amount": 0.3, "layer": 1}, "none of the pairs that are kept"),
        ({"kind": "ablate", "layer": 99}, "no layer 99"),
    ],
)
def test_a_dry_run_refuses_what_a_run_would(shaped: Path, entry: dict[str, object], why: str) -> None:
    other = shaped.parent / "other"
    shutil.copytree(shaped, other, dirs_exist_ok=True)
    lock = json.loads((shaped / "lock.json").read_text())
    lock["training"] = [{"name": "s", "line": "s", "concept": {"members": [0]}} | entry]
    (other / "lock.json").write_text(json.dumps(lock))
    for words in (["--dry-run"], ["--steps", "1"]):
        result = run("train", other, *words)
        assert result.exit_code == 1
        assert why in result.stderr
    shutil.rmtree(other)


def test_a_checkpoint_of_another_width_is_refused(shaped: Path) -> None:
    model = sample_folder() / "reader" / "model"
    width = json.loads((model / "config.json").read_text())["hidden_size"]
    lock = {"training": [{"name": "s", "kind": "ablate", "layer": 0, "concept": {"members": [0]}}]}
    (shaped.parent / "lock.json").write_text(json.dumps(lock))
    with pytest.raises(TrainError, match="of width"):
        check_interventions(shaped.parent, str(model), width + 1)
    check_interventions(shaped.parent, str(model), width)
    (shaped.parent / "lock.json").unlink()


def test_a_reader_whose_weights_have_changed_is_not_trained_unasked(
    project: Path, shaped: Path, tmp_path: Path
) -> None:
    copy, model = tmp_path / "copy", tmp_path / "model"
    shutil.copytree(project, copy)
    shutil.copytree(sample_folder() / "reader" / "model", model)
    index = next(copy.glob("index-*.duckdb"))
    with duckdb.connect(str(index)) as db:
        row = db.execute("SELECT value FROM meta WHERE key = 'reader'").fetchone()
        assert row is not None
        db.execute(
            "UPDATE meta SET value = ? WHERE key = 'reader'",
            [json.dumps(json.loads(row[0]) | {"model": str(model)})],
        )
    config = model / "config.json"
    config.write_text(config.read_text().replace("{", '{"attention_dropout": 0.0,', 1))
    refused = run("train", copy / "shaped" / shaped.name, "--steps", "1", *SMALL, "-o", "changed")
    assert refused.exit_code == 1
    assert f"{model} has changed since the pairs were read" in refused.stderr
    assert not (copy / "runs" / "changed").exists()


def test_a_hub_checkpoint_is_trained_in_the_revision_that_read(monkeypatch: pytest.MonkeyPatch) -> None:
    model = sample_folder() / "reader" / "model"
    asked: list[tuple[str, str | None]] = []

    def snapshot(path: str, revision: str | None = None) -> Path:
        asked.append((path, revision))
        return model

    monkeypatch.setattr(fetching, "resolve_folder", snapshot)
    reader = {
        "model": "org/name",
        "revision": "abc",
        "model_fingerprint": fingerprint_of(model),
    }
    for is_begun in (False, True):  # also when the same command goes on with the run
        assert _as_read(reader, is_begun=is_begun) == str(model)
    assert asked == [("org/name", "abc")] * 2


def test_a_copied_project_reads_nothing_of_the_old_one(
    project: Path, shaped: Path, trained: Path, tmp_path: Path
) -> None:
    new = tmp_path / "copy"
    shutil.copytree(project, new)
    words = ["--steps", "3", "--lr", "1e-4", "--json", *SMALL, *PILOT]
    result = run("train", new / "shaped" / shaped.name, *words)
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["run_dir"] == str(new / "runs" / trained.name)
    assert str(project) not in json.dumps(said)
    shutil.rmtree(new / "runs" / trained.name / "model")
    result = run("outcome", new / "runs" / trained.name)
    assert result.exit_code == 1, "it read the checkpoint of the project that it was copied from"
    assert str(new / "runs" / trained.name / "model") in result.stderr


def has_stepped(run_dir: Path) -> bool:
    path = run_dir / "events.jsonl"
    return path.exists() and '"step", ' in path.read_text()


@pytest.mark.slow
def test_a_terminated_run_is_saved_and_goes_on(project: Path, shaped: Path) -> None:
    run_dir = project / "runs" / "terminated"
    words = ["train", str(shaped), "--steps", "40", "--lr", "1e-4", "-o", str(run_dir), *SMALL, "--plain"]
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.cli.main", *words], stderr=subprocess.PIPE, text=True
    )
    while not has_stepped(run_dir):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "and saved" in said
    assert json.loads((run_dir / "run.json").read_text())["status"] == "stopped"
    assert list((run_dir / "checkpoints").glob("checkpoint-*/whole"))


def test_run_trained_every_row_and_left_a_checkpoint(shaped: Path, trained: Path) -> None:
    state = json.loads((trained / "run.json").read_text())
    assert state["status"] == "finished"
    assert state["report"]["n_pairs"] == pq.read_metadata(shaped / "train.parquet").num_rows
    assert state["report"]["n_steps"] == 3
    assert (trained / "model" / "model.safetensors").exists()
    events = [json.loads(line) for line in (trained / "events.jsonl").read_text().splitlines()]
    assert events


def test_outcome_has_a_line_for_every_concept_that_responses_can_be_scored_for(
    project: Path, trained: Path
) -> None:
    result = run("outcome", trained, "--json", *SMALL)
    assert result.exit_code == 0, result.stderr
    outcome = json.loads(result.stdout)
    with Project(project) as opened:
        n_concepts = opened.browser.summary().n_concepts
    assert len(outcome["concepts"]) + outcome["n_unmeasured"] == n_concepts
    assert outcome["movement"]["n_pairs"] > 0
    names = ["mean delta", "covariance × mean delta", "covariance × ridge weights", "pilot"]
    assert [forecast["name"] for forecast in outcome["forecasts"]] == names
    nulls = {f["name"]: {null["name"] for null in f["nulls"]} for f in outcome["forecasts"]}
    always = {"forecasts in random order", "random concepts of the same sizes"}
    assert nulls["mean delta"] == nulls["covariance × ridge weights"] == always | {"shuffled labels"}
    assert nulls["pilot"] == always | {"log-ratios dealt anew within prompts"}
    assert {"@length", "@list_items"} <= {row["name"] for row in outcome["concepts"]}
    for row in outcome["concepts"]:
        assert row["name"].startswith("@") or -1 <= row["change"] <= 1
    assert json.loads((trained / "outcome.json").read_text()) == outcome


def test_verdict_reaches_the_plan(own_project: Callable[[], Path], tmp_path: Path) -> None:
    root = own_project()
    rules = tmp_path / "r.rules"
    rules.write_text("prosect rules 1\nlinks: drop where chosen.text ~ /https?:/\n")
    with Project(root, overrides=OVERRIDES) as opened:
        listing = opened.listing("hypotheses", "family:concepts", "", 1)
        concept_id = str(listing.rows[0].values[listing.spec.index("concept_id")])
        opened.browser.set_verdict([Target("concept", concept_id, concept_id)], Verdict.KEEP, "for the test")
        plan = opened.plan(rules)
    assert [c.concept_id for c in plan.collateral if c.is_held] == [concept_id]


def test_what_is_no_shaped_dataset_or_run_is_refused(project: Path, tmp_path: Path) -> None:
    result = run("train", tmp_path)
    assert result.exit_code == 1
    assert "no project" in result.stderr
    result = run("train", project / "shaped" / "absent")
    assert result.exit_code == 1
    assert "no shaped dataset" in result.stderr
    assert run("outcome", project / "runs" / "absent").exit_code == 1
