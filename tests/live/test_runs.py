"""Runs are read from their files, whatever state those are in."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from engine.cli.options import parse_assignments
from engine.errors import TrainError
from engine.live.run_watch import LOCK, ask_to_stop, list_runs, read_run, resume_words
from engine.paths import ProjectPaths
from engine.views.runs import RunState


def write_run(root: Path, *events: dict[str, object], ident: str = "r1") -> Path:
    folder = root / "runs" / ident
    folder.mkdir(parents=True)
    (folder / LOCK).touch()
    lines = [json.dumps({"time": f"2026-01-01T00:00:{n:02}+00:00"} | e) for n, e in enumerate(events)]
    (folder / "events.jsonl").write_text("".join(line + "\n" for line in lines))
    return folder


START = {"event": "start", "n_used": 160, "n_pairs": 200, "n_truncated": 3, "step": 0}
STEP = {"event": "step", "step": 4, "of": 20}
LOG = {"event": "log", "step": 4, "loss": 0.5}


def test_a_run_that_a_process_holds_is_running(tmp_path: Path) -> None:
    folder = write_run(tmp_path, START, STEP)
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        row = list_runs(ProjectPaths(tmp_path))[0]
        assert (row.state, row.step, row.of, row.n_pairs) == (RunState.RUNNING, 4, 20, 160)
    assert list_runs(ProjectPaths(tmp_path))[0].state is RunState.BROKEN_OFF


@pytest.mark.parametrize(
    ("event", "state"),
    [
        ("end", RunState.FINISHED),
        ("stop", RunState.STOPPED),
        ("cancelled", RunState.STOPPED),
        ("error", RunState.FAILED),
    ],
)
def test_the_last_word_of_a_run_is_its_state(tmp_path: Path, event: str, state: RunState) -> None:
    write_run(tmp_path, START, STEP, {"event": event, "message": "because"})
    assert list_runs(ProjectPaths(tmp_path))[0].state is state


def test_a_resumed_run_that_broke_off_again_is_not_finished(tmp_path: Path) -> None:
    write_run(tmp_path, START, {"event": "stop", "step": 4}, {"event": "resume", "step": 4})
    assert list_runs(ProjectPaths(tmp_path))[0].state is RunState.BROKEN_OFF


def test_of_a_step_logged_twice_the_last_holds(tmp_path: Path) -> None:
    write_run(tmp_path, START, LOG, {"event": "log", "step": 8, "loss": 0.4}, LOG | {"loss": 0.3})
    assert dict(read_run(ProjectPaths(tmp_path), "r1").series)["loss"] == ((4, 0.3), (8, 0.4))


def test_half_a_line_is_no_damage_and_rubbish_is_counted(tmp_path: Path) -> None:
    folder = write_run(tmp_path, START)
    with (folder / "events.jsonl").open("a") as f:
        f.write('rubbish\n{"event": "st')
    assert read_run(ProjectPaths(tmp_path), "r1").n_damaged == 1


def test_an_outcome_is_read_with_its_largest_forecasts_first(tmp_path: Path) -> None:
    folder = write_run(tmp_path, START)
    concept = {
        "concept_id": "c", "name": "praise", "forecast": 0.1, "forecast_low": 0.0, "forecast_high": 0.2,
        "change": 0.05, "change_low": 0.0, "change_high": 0.1, "is_moved": False, "agrees": True,
        "is_scored": True,
    }  # fmt: skip
    rows = [concept, concept | {"name": "tea", "forecast": -0.4}, concept | {"is_scored": False}]
    (folder / "outcome.json").write_text(json.dumps({"lines": ["it moved"], "concepts": rows}))
    detail = read_run(ProjectPaths(tmp_path), "r1")
    assert detail.outcome_lines == ("it moved",)
    assert [c.name for c in detail.outcome] == ["tea", "praise"]


def test_pauses_count_neither_for_the_time_nor_for_the_pace(tmp_path: Path) -> None:
    def at(time: str, event: str, step: int | None = None) -> dict[str, object]:
        said: dict[str, object] = {"time": f"2026-01-01T{time}+00:00", "event": event}
        return said if step is None else said | {"step": step, "of": 20}

    write_run(
        tmp_path,
        at("10:00:00", "start"), at("10:00:10", "step", 1), at("10:00:14", "step", 2),
        at("10:00:15", "stop", 2), at("10:00:17", "cancelled"),
        at("15:00:00", "error"),
        at("20:00:00", "resume", 2), at("20:00:05", "step", 3), at("20:00:07", "step", 4),
    )  # fmt: skip
    row = list_runs(ProjectPaths(tmp_path))[0]
    assert row.active_s == 17 + 0 + 7
    assert row.rate == pytest.approx(2 / (4 + 2))


def test_the_forecast_and_what_a_run_was_made_from_are_read_before_there_is_an_outcome(
    tmp_path: Path,
) -> None:
    folder = write_run(tmp_path, START)
    shaped = tmp_path / "shaped" / "abc"
    shaped.mkdir(parents=True)
    (shaped / "build.json").write_text(json.dumps({"rule_file": "first.rules"}))
    (folder / "request.json").write_text(json.dumps({"shaped_dir": str(shaped), "settings": {}}))
    concept = {"concept_id": "c", "name": "tea", "forecast": 0.1, "low": 0.0, "high": 0.2}
    rows = [concept, concept | {"name": "praise", "forecast": -0.3, "low": -0.5, "high": -0.1}]
    (tmp_path / "forecasts").mkdir()
    path = tmp_path / "forecasts" / "f.json"
    path.write_text(json.dumps({"leading": "mean delta", "concepts": rows}))
    (folder / "forecast.json").write_text(json.dumps({"path": "/moved/f.json", "hash": "f"}))
    detail = read_run(ProjectPaths(tmp_path), "r1")
    assert [(c.name, c.value, c.low, c.high) for c in detail.forecast] == [
        ("praise", -0.3, -0.5, -0.1), ("tea", 0.1, 0.0, 0.2),
    ]  # fmt: skip
    assert (detail.leading, detail.shaped, detail.rule_file) == ("mean delta", "abc", "first.rules")
    (folder / "outcome.json").write_text(json.dumps({"lines": ["it moved"], "concepts": []}))
    assert read_run(ProjectPaths(tmp_path), "r1").forecast == ()


def test_a_run_goes_on_with_the_settings_that_it_began_with(tmp_path: Path) -> None:
    folder = write_run(tmp_path, START, STEP, {"event": "stop", "step": 4})
    (tmp_path / "prosect.toml").write_text("[training]\nbeta = 0.5\n")
    asked = {"model": "a b", "beta": 0.1, "learning_rate": 1e-6, "steps": None, "unknown-by-now": None}
    (folder / "request.json").write_text(json.dumps({"shaped_dir": "/s/abc", "settings": asked}))
    assert resume_words(ProjectPaths(tmp_path), "r1") == [
        "train", "/s/abc", "-o", str(folder), "--set", "training.beta=0.1", "--set", 'training.model="a b"',
    ]  # fmt: skip
    given = parse_assignments(("training.beta=0.1", 'training.model="a b"'))
    assert given == {"training": {"beta": 0.1, "model": "a b"}}
    (tmp_path / "prosect.toml").write_text("[training]\nsteps = 5\n")
    with pytest.raises(TrainError, match=r"training\.steps"):
        resume_words(ProjectPaths(tmp_path), "r1")


def test_a_run_of_a_moved_project_goes_on_where_it_is_now(tmp_path: Path) -> None:
    folder = write_run(tmp_path, START, STEP, {"event": "stop", "step": 4})
    then = {"shaped_dir": "/old/shaped/abc", "run_dir": f"/old/{folder.parent.name}/{folder.name}"}
    asked = {"model": "/old/models/mine"}
    (folder / "request.json").write_text(json.dumps(then | {"settings": asked}))
    assert resume_words(ProjectPaths(tmp_path), "r1") == [
        "train", str(tmp_path / "shaped" / "abc"), "-o", str(folder),
        "--set", f'training.model="{tmp_path / "models" / "mine"}"',
    ]  # fmt: skip


def test_a_run_that_has_finished_does_not_go_on(tmp_path: Path) -> None:
    write_run(tmp_path, START, {"event": "end"})
    with pytest.raises(TrainError, match="finished"):
        resume_words(ProjectPaths(tmp_path), "r1")
    assert read_run(ProjectPaths(tmp_path), "r1").command == ""


def test_stopping_leaves_the_flag_that_the_trainer_looks_for(tmp_path: Path) -> None:
    folder = write_run(tmp_path, START)
    ask_to_stop(ProjectPaths(tmp_path), "r1")
    assert (folder / "stop").exists()


@pytest.mark.parametrize("ident", ["nothing", "../r1", "."])
def test_an_unknown_run_is_said(tmp_path: Path, ident: str) -> None:
    write_run(tmp_path, START)
    with pytest.raises(TrainError, match="no run"):
        read_run(ProjectPaths(tmp_path), ident)


def test_differences_and_runs_to_compare_with_are_read_the_latest_first(tmp_path: Path) -> None:
    def finished(ident: str, weights: str | None, status: str = "finished") -> Path:
        folder = write_run(tmp_path, START, {"event": "end", "step": 20}, ident=ident)
        inputs = {} if weights is None else {"weights": weights}
        (folder / "run.json").write_text(json.dumps({"status": status, "inputs": inputs}))
        return folder

    folder = finished("r1", "w")
    for n, ident in enumerate(("old", "new")):
        os.utime(finished(ident, "w") / "run.json", (n, n))
    finished("elsewhere", "v")
    finished("going", "w", "running")
    finished("silent", None)
    assert read_run(ProjectPaths(tmp_path), "r1").comparable == ("new", "old")
    assert read_run(ProjectPaths(tmp_path), "silent").comparable == ()
    for n, ident in enumerate(("gone", "old")):
        path = folder / f"outcome-against-{ident}.json"
        path.write_text(json.dumps({"lines": [f"difference of runs: r1 less {ident}"], "concepts": []}))
        os.utime(path, (n, n))
    detail = read_run(ProjectPaths(tmp_path), "r1")
    assert [(d.other, d.lines) for d in detail.differences] == [
        ("old", ("difference of runs: r1 less old",)), ("gone", ("difference of runs: r1 less gone",)),
    ]  # fmt: skip
    assert (detail.row.against, detail.comparable) == (("old", "gone"), ("new",))
    assert not detail.row.has_outcome
