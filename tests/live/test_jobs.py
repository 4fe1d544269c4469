"""Jobs as files: what a worker says, what others see, stopping, dying, and starting one detached."""

import json
import os
import time
from pathlib import Path

import pytest

from engine.errors import Cancelled, StoreError, TrainError
from engine.jobs import JOB_VARIABLE, tracked, write_job
from engine.live.job_watch import Work
from engine.paths import ProjectPaths
from engine.progress import NullProgress
from engine.views.jobs import JobRow, JobState


def only(root: Path) -> JobRow:
    (row,) = Work(ProjectPaths(root)).jobs()
    return row


def test_a_job_shows_its_stage_while_it_works_and_its_results_afterwards(tmp_path: Path) -> None:
    with tracked(NullProgress(), tmp_path, "audit", "audit a.jsonl") as job:
        job.start("read", 200, "pairs")
        job.advance(50)
        time.sleep(0.01)  # the rate is over the time that passed
        job.note("a remark")
        row = only(tmp_path)
        assert (row.state, row.stage, row.done, row.total) == (JobState.RUNNING, "read", 50, 200)
        assert row.rate is not None
        assert row.left_s is not None
        assert row.left_s == pytest.approx((200 - 50) / row.rate)
        job.finish()
        job.result("index", "abc")
    row = only(tmp_path)
    assert (row.state, row.results) == (JobState.FINISHED, (("index", "abc"),))
    detail = Work(ProjectPaths(tmp_path)).job(row.ident)
    assert [s[:3] for s in detail.stages] == [("read", 50, "pairs")]
    assert detail.notes == ("a remark",)


def test_anybody_can_ask_a_job_to_stop(tmp_path: Path) -> None:
    work = Work(ProjectPaths(tmp_path))

    def audit() -> None:
        with tracked(NullProgress(), tmp_path, "read", "read") as job:
            job.start("read", 10, "pairs")
            work.cancel_job(only(tmp_path).ident)
            assert only(tmp_path).is_asked_to_stop
            job.start("next", 10, "pairs")

    with pytest.raises(Cancelled):
        audit()
    row = only(tmp_path)
    assert row.state is JobState.CANCELLED
    with pytest.raises(StoreError, match="ended already"):
        work.cancel_job(row.ident)


def test_a_failure_says_why(tmp_path: Path) -> None:
    with pytest.raises(StoreError), tracked(NullProgress(), tmp_path, "audit", "audit"):
        raise StoreError("no such file", hint="look again")
    assert (only(tmp_path).state, only(tmp_path).message) == (JobState.FAILED, "no such file (look again)")


def test_a_process_that_was_killed_leaves_a_job_that_broke_off(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with tracked(NullProgress(), tmp_path, "train", "train") as job:
            job.start("train", 5, "steps")
            os._exit(0)  # as a power cut: nothing of the with statement runs
    os.waitpid(child, 0)
    assert only(tmp_path).state is JobState.BROKEN_OFF


def test_nothing_is_left_in_a_folder_that_does_not_exist_yet_until_work_begins(tmp_path: Path) -> None:
    root = tmp_path / "new"
    with pytest.raises(StoreError), tracked(NullProgress(), root, "audit", "audit"):
        raise StoreError("wrong arguments")
    assert not root.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written_stops_no_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with tracked(NullProgress(), tmp_path, "audit", "audit") as job:
        job.start("read", 1, "pairs")
        job.advance()
    tmp_path.chmod(0o700)


def test_a_job_file_that_cannot_be_written_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Listener(NullProgress):
        def note(self, text: str) -> None:
            said.append(text)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.jobs.write_job", refuse)
    with tracked(Listener(), tmp_path, "audit", "audit") as job:
        job.start("read", 1, "pairs")
        job.start("cluster", 1, "pairs")
    assert said == ["other processes cannot see this job: No space left on device"]


def test_old_jobs_are_removed_and_running_ones_kept(tmp_path: Path) -> None:
    with tracked(NullProgress(), tmp_path, "audit", "audit") as running:
        running.start("read", None, "pairs")
        kept = only(tmp_path).ident
        for n in range(60):
            folder = tmp_path / "jobs" / f"compile-{n}"
            folder.mkdir()
            write_job(folder, {"kind": "compile", "state": "finished"})
        os.utime(tmp_path / "jobs" / kept, (1, 1))
        with tracked(NullProgress(), tmp_path, "train", "train"):
            names = [row.ident for row in Work(ProjectPaths(tmp_path)).jobs()]
    assert kept in names
    assert len(names) <= 52


def test_a_damaged_job_file_is_no_job(tmp_path: Path) -> None:
    (tmp_path / "jobs" / "x").mkdir(parents=True)
    (tmp_path / "jobs" / "x" / "job.json").write_text("{")
    work = Work(ProjectPaths(tmp_path))
    assert work.jobs() == ()
    with pytest.raises(StoreError):
        work.job("x")
    with pytest.raises(StoreError):
        work.job("../x")


def test_a_detached_job_is_the_shell_command_and_its_failure_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(JOB_VARIABLE, raising=False)
    work = Work(ProjectPaths(tmp_path))
    ident = work.start_compile("main")
    end = time.monotonic() + 60
    while work.jobs()[0].state.is_alive:
        assert time.monotonic() < end
        time.sleep(0.05)
    while not work.job(ident).log:  # why it failed is printed after it is marked as failed
        assert time.monotonic() < end
        time.sleep(0.05)
    row, detail = work.jobs()[0], work.job(ident)
    assert (row.ident, row.state) == (ident, JobState.FAILED)
    assert detail.command.startswith("prosect compile ")
    with pytest.raises(TrainError):
        work.start_training("nothing")


def test_shaped_datasets_are_listed_with_what_training_on_them_takes(tmp_path: Path) -> None:
    folder = tmp_path / "shaped" / "abc"
    folder.mkdir(parents=True)
    manifest = {
        "stage": "compile", "stage_version": 1, "fingerprint": "abc", "inputs": {"index": "i"},
        "settings": {}, "facts": {"counts": {"kept": 100, "total": 120}}, "packages": {},
        "manifest_version": 1,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    work = Work(ProjectPaths(tmp_path))
    (row,) = work.shaped()
    assert (row.ident, row.n_pairs, row.n_total, row.is_of_index) == ("abc", 100, 120, False)
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "pairs.parquet").touch()
    assert work.training_cost("abc").n_steps == 13  # ceil(100 / 8)
    cost = work.training_cost("abc", ["--steps", "7", "--model", "nobody/nothing"])
    assert (cost.model, cost.n_pairs, cost.n_steps, cost.hours) == ("nobody/nothing", 100, 7, None)
    with pytest.raises(TrainError, match="--bogus"):
        work.training_cost("abc", ["--bogus"])
    with pytest.raises(TrainError, match="no key `nix`") as refused:
        work.training_cost("abc", ["--set", "training.nix=1"])
    assert "beta" in (refused.value.hint or "")
    with pytest.raises(TrainError):
        work.training_cost("abcd")
