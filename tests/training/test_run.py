"""Whole runs: finished, resumed, stopped, cached, refused, offline."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError
from safetensors.torch import load_file

from engine.cli.train import _LAST, _REPORT
from engine.errors import Cancelled, ModelError, TrainError
from engine.progress import CancelToken, NullProgress
from engine.settings import TrainingSettings
from engine.training.events import STOP_FLAG, EventLog
from engine.training.request import (
    RunRequest,
    read_request,
    read_status,
    sole_process,
    write_request,
)
from engine.training.run import main, train
from engine.training.trainer import ShapedDPOTrainer
from tests.training.conftest import FAST, make_rows, write_shaped


def weights(folder: Path) -> dict[str, Any]:
    return dict(load_file(folder / "model.safetensors"))


def same_weights(a: Path, b: Path) -> bool:
    one, two = weights(a), weights(b)
    return one.keys() == two.keys() and all(bool((one[name] == two[name]).all()) for name in one)


def events(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]


def test_epochs_are_counted_over_the_whole_dataset(llama: Path, shaped: Path, tmp_path: Path) -> None:
    """Sixteen pairs, four a step: one step is a quarter of an epoch, however few steps there are."""
    report = train(shaped, str(llama), tmp_path / "run", replace(FAST, steps=1), NullProgress())
    assert (report.n_pairs, report.n_used) == (16, 4)
    assert report.last["epoch"] == pytest.approx(0.25)
    logged = [e["epoch"] for e in events(tmp_path / "run") if e["event"] == "log" and "loss" in e]
    assert logged == pytest.approx([0.25])
    assert set(report.last) <= set(_LAST), "`prosect train` has no words for a number that the trainer logs"
    assert set(_REPORT) <= set(report.as_dict())


class StopAfter(NullProgress):
    """Cancels during the training stage, after some steps."""

    def __init__(self, steps: int) -> None:
        self._token = CancelToken()
        super().__init__(self._token)
        self._left = steps
        self._stage = ""

    def start(self, stage: str, total: int | None, unit: str) -> None:  # noqa: ARG002
        self._stage = stage

    def advance(self, n: int = 1) -> None:
        if self._stage == "train":
            self._left -= n
            if self._left <= 0:
                self._token.cancel()
        super().advance(n)


def test_a_run_trains_every_pair_once_and_says_so(llama: Path, shaped: Path, tmp_path: Path) -> None:
    report = train(shaped, str(llama), tmp_path / "run", replace(FAST, steps=None), NullProgress())
    assert report.is_finished
    assert (report.n_pairs, report.n_steps, report.n_truncated) == (16, 4, 0)
    assert (report.model_dir / "model.safetensors").exists()
    assert not list(report.model_dir.glob("*.bin"))
    assert not (tmp_path / "run" / "checkpoints").exists()
    tuned, start = (json.loads((p / "config.json").read_text()) for p in (report.model_dir, llama))
    assert {k: v for k, v in tuned.items() if start.get(k) != v}.keys() <= {"pad_token_id"}
    log = events(tmp_path / "run")
    assert [e["step"] for e in log if e["event"] == "step"] == [1, 2, 3, 4]
    assert log[0]["event"] == "start"
    assert log[-1]["event"] == "end"
    weight_seen = sum(e["weight"] for e in log if e["event"] == "log" and "weight" in e) / 4
    assert weight_seen == pytest.approx(1.0, abs=1e-6)  # mean 1 over the set, not per batch
    assert len({round(e["weight"], 6) for e in log if e["event"] == "log" and "weight" in e}) > 1
    assert read_status(tmp_path / "run")["status"] == "finished"


def test_a_finished_run_is_returned_and_another_one_refused(
    llama: Path, shaped: Path, tmp_path: Path
) -> None:
    first = train(shaped, str(llama), tmp_path / "run", FAST, NullProgress())
    again = train(shaped, str(llama), tmp_path / "run", FAST, NullProgress())
    assert again == first
    with pytest.raises(TrainError, match="holds a run with other"):
        train(shaped, str(llama), tmp_path / "run", replace(FAST, beta=0.2), NullProgress())


def test_a_short_run_prepares_only_the_pairs_it_reaches(llama: Path, shaped: Path, tmp_path: Path) -> None:
    report = train(shaped, str(llama), tmp_path / "run", replace(FAST, steps=2), NullProgress())
    assert (report.n_pairs, report.n_used, report.n_reference_computed, report.n_steps) == (16, 8, 8, 2)
    again = train(shaped, str(llama), tmp_path / "more", replace(FAST, steps=9), NullProgress())
    assert (again.n_used, again.n_steps) == (16, 9)  # beyond one epoch it starts over


def test_what_is_unusual_is_said_once(llama: Path, tmp_path: Path) -> None:
    class Notes(NullProgress):
        said: list[str]

        def note(self, text: str) -> None:
            self.said.append(text)

    rows = make_rows(8)
    rows[0]["chosen"][0]["content"] = "garden " * 100
    checkpoint = tmp_path / "dated"
    shutil.copytree(llama, checkpoint)
    template = (checkpoint / "chat_template.jinja").read_text()
    (checkpoint / "chat_template.jinja").write_text("{{ strftime_now('%Y') }} " + template)
    progress = Notes()
    progress.said = []
    train(
        write_shaped(tmp_path / "s", rows),
        str(checkpoint),
        tmp_path / "run",
        replace(FAST, steps=2),
        progress,
    )
    assert progress.said == [
        "1 pair of more than 128 tokens cut",
        "the chat template writes today's date: the same run tomorrow has other tokens",
    ]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_no_run_goes_beyond_the_positions_of_its_checkpoint(
    checkpoints: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    rows = make_rows(8)
    rows[0]["chosen"][0]["content"] = "garden " * 600
    shaped = write_shaped(tmp_path / "s", rows)
    settings = replace(FAST, steps=2, max_length=4096)
    report = train(shaped, str(checkpoints[kind]), tmp_path / "run", settings, NullProgress())
    assert (report.max_length, report.n_truncated) == (256, 1)
    assert events(tmp_path / "run")[0]["max_length"] == 256


def test_two_processes_never_train_in_one_folder(llama: Path, shaped: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    with sole_process(run_dir), pytest.raises(TrainError, match="another process"):
        train(shaped, str(llama), run_dir, FAST, NullProgress())
    assert not (run_dir / "events.jsonl").exists()  # that log belongs to the other process
    assert train(shaped, str(llama), run_dir, FAST, NullProgress()).is_finished


def test_a_full_disk_ends_the_run_with_a_hint_and_can_be_resumed(
    llama: Path, shaped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("engine.training.events.mark_whole", full)
        with pytest.raises(TrainError, match="No space left"):
            train(shaped, str(llama), tmp_path / "run", FAST, NullProgress())
    assert read_status(tmp_path / "run")["status"] == "failed"
    report = train(shaped, str(llama), tmp_path / "run", FAST, NullProgress())
    assert (report.is_finished, report.resumed_from) == (True, None)


def test_a_cancelled_run_goes_on_to_the_very_same_weights(llama: Path, shaped: Path, tmp_path: Path) -> None:
    straight = train(shaped, str(llama), tmp_path / "a", FAST, NullProgress())
    with pytest.raises(Cancelled, match="after step 3"):
        train(shaped, str(llama), tmp_path / "b", FAST, StopAfter(3))
    assert read_status(tmp_path / "b")["status"] == "stopped"
    resumed = train(shaped, str(llama), tmp_path / "b", FAST, NullProgress())
    assert resumed.resumed_from == 3
    assert same_weights(straight.model_dir, resumed.model_dir)
    assert resumed.last["num_tokens"] == straight.last["num_tokens"] > 0


def test_a_save_cut_short_is_never_resumed_from(llama: Path, shaped: Path, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        train(shaped, str(llama), tmp_path / "run", FAST, StopAfter(3))
    (tmp_path / "run" / "checkpoints" / "checkpoint-3" / "whole").unlink()
    resumed = train(shaped, str(llama), tmp_path / "run", FAST, NullProgress())
    assert resumed.resumed_from == 2
    straight = train(shaped, str(llama), tmp_path / "a", FAST, NullProgress())
    assert same_weights(straight.model_dir, resumed.model_dir)


def test_a_stop_flag_saves_and_stops(llama: Path, shaped: Path, tmp_path: Path) -> None:
    class FlagAtStep(NullProgress):
        stage = ""

        def start(self, stage: str, total: int | None, unit: str) -> None:  # noqa: ARG002
            self.stage = stage

        def advance(self, n: int = 1) -> None:  # noqa: ARG002
            if self.stage == "train":
                (tmp_path / "run" / STOP_FLAG).write_text("")

    with pytest.raises(Cancelled, match="after step 1"):
        train(shaped, str(llama), tmp_path / "run", FAST, FlagAtStep())
    assert train(shaped, str(llama), tmp_path / "run", FAST, NullProgress()).n_steps == 4


def test_an_edited_rule_or_a_flip_recomputes_no_reference(llama: Path, tmp_path: Path) -> None:
    rows = [row | {"weight": 1.0} for row in make_rows()]
    flipped = rows[0] | {"chosen": rows[0]["rejected"], "rejected": rows[0]["chosen"]}
    one, two = write_shaped(tmp_path / "one", rows), write_shaped(tmp_path / "two", [flipped, *rows[1:-4]])
    cache = tmp_path / "cache"
    first = train(one, str(llama), tmp_path / "a", FAST, NullProgress(), cache_dir=cache)
    second = train(two, str(llama), tmp_path / "b", FAST, NullProgress(), cache_dir=cache)
    assert (first.n_reference_computed, second.n_reference_computed) == (16, 0)
    cold = train(two, str(llama), tmp_path / "c", FAST, NullProgress())
    assert cold.n_reference_computed == 12
    assert same_weights(second.model_dir, cold.model_dir)


def test_no_byte_leaves_the_machine(
    llama: Path, shaped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        tried.append(arguments[1:])
        raise OSError("blocked")

    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    train(shaped, str(llama), tmp_path / "run", FAST, NullProgress())
    time.sleep(0.2)  # telemetry is sent from a thread
    assert tried == []
    assert "HF_HUB_DISABLE_TELEMETRY" not in os.environ


def test_lora_leaves_a_merged_checkpoint_that_loads_without_peft(
    llama: Path, shaped: Path, tmp_path: Path
) -> None:
    report = train(shaped, str(llama), tmp_path / "run", replace(FAST, lora_rank=4), NullProgress())
    tuned, start = weights(report.model_dir), weights(llama)
    assert tuned.keys() == start.keys()
    moved = {name for name in start if not bool((tuned[name] == start[name]).all())}
    assert moved
    assert all("proj" in name for name in moved)
    assert (tmp_path / "run" / "adapter" / "adapter_config.json").exists()


def test_micro_batches_take_the_same_step_as_one_batch(llama: Path, shaped: Path, tmp_path: Path) -> None:
    whole = train(shaped, str(llama), tmp_path / "a", FAST, NullProgress())
    parts = train(shaped, str(llama), tmp_path / "b", replace(FAST, micro_batch_pairs=2), NullProgress())
    one, two = weights(whole.model_dir), weights(parts.model_dir)
    start = weights(llama)
    moved = max(float((one[n] - start[n]).abs().max()) for n in one)
    apart = max(float((one[n] - two[n]).abs().max()) for n in one)
    assert apart < 0.05 * moved
    with pytest.raises(TrainError, match="no multiple"):
        train(shaped, str(llama), tmp_path / "c", replace(FAST, micro_batch_pairs=3), NullProgress())


def test_bad_starts_are_refused(llama: Path, shaped: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model folder"):
        train(shaped, str(tmp_path / "nowhere"), tmp_path / "run", FAST, NullProgress())
    assert not (tmp_path / "run").exists()  # nothing was begun, so nothing is listed


def test_a_refused_attempt_is_no_part_of_the_run_that_lies_there(
    llama: Path, shaped: Path, tmp_path: Path
) -> None:
    train(shaped, str(llama), tmp_path / "run", FAST, NullProgress())
    files = {p: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}
    for other in (replace(FAST, beta=0.2), replace(FAST, loss_type="aot"), replace(FAST, steps=2)):
        with pytest.raises(TrainError):
            train(shaped, str(llama), tmp_path / "run", other, NullProgress())
    assert {p: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()} == files


NO_SPACE = "Error while serializing: I/O error: No space left on device (os error 28)"


@pytest.mark.parametrize(
    ("error", "fails_at", "resumed_from"),
    [
        (SafetensorError(NO_SPACE), 1, None),
        (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0\nmore"), 1, None),
        (SafetensorError(NO_SPACE), 3, 4),  # the tuned checkpoint, after two saves to resume from
    ],
)
def test_whatever_library_writes_a_full_disk_is_said_as_one(
    llama: Path,
    shaped: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    fails_at: int,
    resumed_from: int | None,
) -> None:
    real, calls = ShapedDPOTrainer._save, []

    def full(*arguments: Any, **named: Any) -> None:
        calls.append(0)
        if len(calls) == fails_at:
            raise error
        real(*arguments, **named)

    run_dir = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(ShapedDPOTrainer, "_save", full)
        with pytest.raises(TrainError, match="could not be written") as caught:
            train(shaped, str(llama), run_dir, FAST, NullProgress())
    assert "\n" not in caught.value.message
    assert "last whole save" in str(caught.value.hint)
    assert read_status(run_dir)["status"] == "failed"
    assert events(run_dir)[-1]["event"] == "error"
    assert not (run_dir / "model").exists()
    again = train(shaped, str(llama), run_dir, FAST, NullProgress())
    assert again.resumed_from == resumed_from
    straight = train(shaped, str(llama), tmp_path / "straight", FAST, NullProgress())
    assert same_weights(again.model_dir, straight.model_dir)


def test_a_finished_run_whose_last_word_found_no_room_is_finished(
    llama: Path, shaped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = EventLog.write

    def full(log: EventLog, event: str, values: Any = None) -> None:
        if event in ("end", "error"):
            raise OSError(28, "No space left on device")
        real(log, event, values)

    with monkeypatch.context() as patched:
        patched.setattr(EventLog, "write", full)
        with pytest.raises(TrainError, match="could not be written"):
            train(shaped, str(llama), tmp_path / "run", FAST, NullProgress())
    again = train(shaped, str(llama), tmp_path / "run", FAST, NullProgress())
    assert again.is_finished
    assert (again.model_dir / "model.safetensors").exists()
    assert read_status(tmp_path / "run")["status"] == "finished"


def test_weights_may_be_read_by_whoever_may_read_the_rest(llama: Path, shaped: Path, tmp_path: Path) -> None:
    report = train(shaped, str(llama), tmp_path / "run", replace(FAST, lora_rank=2), NullProgress())
    for folder, name in (
        (report.model_dir, "config.json"),
        (tmp_path / "run/adapter", "adapter_config.json"),
    ):
        assert {p.stat().st_mode for p in folder.glob("*.safetensors")} == {(folder / name).stat().st_mode}


def test_a_moved_run_lives_in_the_project_that_it_lies_in(llama: Path, shaped: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(shaped, old / "shaped" / "s")
    shutil.copytree(llama, old / "m")
    run_dir = old / "runs" / "a"
    write_request(RunRequest(old / "shaped/s", str(old / "m"), run_dir, old / "cache", FAST))
    train(old / "shaped/s", str(old / "m"), run_dir, FAST, NullProgress(), cache_dir=old / "cache")
    shutil.copytree(old, new)
    request, status = read_request(new / "runs/a/request.json"), read_status(new / "runs/a")
    assert (request.shaped_dir, request.run_dir) == (new / "shaped/s", new / "runs/a")
    assert (request.model_path, request.cache_dir) == (str(new / "m"), new / "cache")
    assert (status["model_path"], status["report"]["model_dir"]) == (
        str(new / "m"),
        str(new / "runs/a/model"),
    )
    assert read_request(run_dir / "request.json").shaped_dir == old / "shaped/s"
    finished = train(request.shaped_dir, request.model_path, request.run_dir, FAST, NullProgress())
    assert finished.model_dir == new / "runs/a/model"


def make_request(llama: Path, shaped: Path, tmp_path: Path, settings: TrainingSettings = FAST) -> Path:
    return write_request(RunRequest(shaped, str(llama), tmp_path / "run", tmp_path / "cache", settings))


def test_a_request_file_runs_like_the_function(
    llama: Path, shaped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_request(llama, shaped, tmp_path)
    assert read_request(path).settings == FAST
    assert main([str(path)]) == 0
    direct = train(shaped, str(llama), tmp_path / "direct", FAST, NullProgress())
    assert same_weights(direct.model_dir, tmp_path / "run" / "model")
    path.write_text("{}")
    assert main([str(path)]) == 2
    assert "no training request" in capsys.readouterr().err


def test_request_files_are_written_without_importing_torch() -> None:
    code = (
        "import sys, engine.training.request; assert not {'torch', 'transformers', 'trl'} & set(sys.modules)"
    )
    python = command(Path("x"))[0]
    subprocess.run([python, "-c", code], check=True)


def wait_for(condition: Callable[[], bool], timeout_s: float = 120.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def command(request: Path, *, n_processes: int = 1) -> list[str]:
    """A run as a process of its own; more than one through torchrun."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_processes}"]
    return [sys.executable, *(launcher if n_processes > 1 else []), "-m", "engine.training.run", str(request)]


def has_saved(run_dir: Path, step: int) -> bool:
    path = run_dir / "events.jsonl"
    return path.exists() and any(e["event"] == "save" and e["step"] >= step for e in events(run_dir))


@pytest.mark.slow
def test_a_killed_process_goes_on_to_the_very_same_weights(llama: Path, shaped: Path, tmp_path: Path) -> None:
    settings = replace(FAST, steps=60)
    path = make_request(llama, shaped, tmp_path, settings)
    process = subprocess.Popen(command(path))
    wait_for(lambda: has_saved(tmp_path / "run", 6))
    process.kill()
    process.wait()
    assert read_status(tmp_path / "run")["status"] == "running"
    assert not (tmp_path / "run" / "manifest.json").exists()
    assert main([str(path)]) == 0
    assert read_status(tmp_path / "run")["report"]["resumed_from"] >= 6
    straight = train(shaped, str(llama), tmp_path / "straight", settings, NullProgress())
    assert same_weights(straight.model_dir, tmp_path / "run" / "model")


@pytest.mark.slow
def test_an_interrupted_process_saves_and_stops(llama: Path, shaped: Path, tmp_path: Path) -> None:
    path = make_request(llama, shaped, tmp_path, replace(FAST, steps=400, save_steps=1000))
    process = subprocess.Popen(command(path), stderr=subprocess.PIPE, text=True)
    wait_for((tmp_path / "run" / "run.json").exists)
    wait_for(lambda: any(e["event"] == "step" for e in events(tmp_path / "run")))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopped after step" in said
    assert read_status(tmp_path / "run")["status"] == "stopped"
    assert list((tmp_path / "run" / "checkpoints").glob("checkpoint-*/whole"))


@pytest.mark.slow
def test_two_processes_under_torchrun_take_the_steps_of_one(
    llama: Path, shaped: Path, tmp_path: Path
) -> None:
    """Two processes of 2 pairs see the batches of one process of 4, up to rounding."""
    path = make_request(llama, shaped, tmp_path, replace(FAST, batch_pairs=2))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command(path, n_processes=2), check=False, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    alone = train(shaped, str(llama), tmp_path / "alone", FAST, NullProgress())
    one, two, start = (weights(p) for p in (alone.model_dir, tmp_path / "run" / "model", llama))
    moved = max(float((one[n] - start[n]).abs().max()) for n in one)
    apart = max(float((one[n] - two[n]).abs().max()) for n in one)
    assert apart < 0.05 * moved
    assert len([e for e in events(tmp_path / "run") if e["event"] == "step"]) == 4
