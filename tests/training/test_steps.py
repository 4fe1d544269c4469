"""Every pair counts once, however a step is spread over processes and micro batches."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from engine.progress import NullProgress
from engine.settings import TrainingSettings
from engine.training.run import train
from engine.training.steps import n_reached, step_shares
from tests.training.conftest import FAST, make_rows, write_shaped
from tests.training.test_run import command, events, make_request

SHORT = replace(FAST, steps=None, batch_pairs=8, learning_rate=1e-3)
"""13 pairs in steps of 8: the second holds 5."""


@pytest.fixture(scope="module")
def thirteen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shaped(tmp_path_factory.mktemp("thirteen"), make_rows(13))


def apart(one: Path, two: Path, start: Path) -> float:
    """Largest difference of two checkpoints as a share of the largest change from the start."""
    a, b, s = (dict(load_file(p / "model.safetensors")) for p in (one, two, start))
    moved = max(float((a[n] - s[n]).abs().max()) for n in s)
    return max(float((a[n] - b[n]).abs().max()) for n in s) / moved


def last_log(run_dir: Path) -> dict[str, Any]:
    return [e for e in events(run_dir) if e["event"] == "log" and "loss" in e][-1]


@pytest.mark.parametrize("pairs", [1, 7, 8, 13, 22, 24])
@pytest.mark.parametrize(("micro", "accumulation", "processes"), [(8, 1, 1), (2, 4, 1), (2, 2, 2), (3, 1, 2)])
def test_the_mean_of_means_is_the_mean_of_the_pairs(
    pairs: int, micro: int, accumulation: int, processes: int
) -> None:
    shares, together = step_shares(pairs, micro, accumulation, processes), micro * processes
    assert [s > 0 for s in shares] == [True] * pairs + [False] * (len(shares) - pairs)
    if micro == 8:
        assert shares == [1.0] * pairs
    per_step = together * accumulation
    for start in range(0, len(shares), per_step):
        step = shares[start : start + per_step]
        passes = [step[i : i + micro] for i in range(0, len(step), micro)]
        n_pairs = min(pairs - start, per_step)
        for held in passes:
            assert all(s == 0 or abs(s / len(held) / len(passes) - 1 / n_pairs) < 1e-9 for s in held)


def test_micro_batches_change_nothing_in_a_short_last_step(
    llama: Path, thirteen: Path, tmp_path: Path
) -> None:
    whole = train(thirteen, str(llama), tmp_path / "a", SHORT, NullProgress())
    parts = train(thirteen, str(llama), tmp_path / "b", replace(SHORT, micro_batch_pairs=4), NullProgress())
    assert apart(whole.model_dir, parts.model_dir, llama) < 0.01
    for name in ("loss", "loss/weighted", "weight", "rewards/chosen", "rewards/margins", "logps/rejected"):
        assert parts.last[name] == pytest.approx(whole.last[name], rel=1e-4, abs=1e-6), name


def test_a_run_of_one_step_moves_the_weights(llama: Path, shaped: Path, tmp_path: Path) -> None:
    settings = replace(FAST, steps=1, warmup_ratio=0.1)
    report = train(shaped, str(llama), tmp_path / "run", settings, NullProgress())
    assert report.last["learning_rate"] == pytest.approx(FAST.learning_rate)
    tuned, start = (dict(load_file(p / "model.safetensors")) for p in (report.model_dir, llama))
    assert any(bool((tuned[name] != start[name]).any()) for name in start)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [replace(SHORT, batch_pairs=4), replace(SHORT, batch_pairs=4, micro_batch_pairs=2)]
)
def test_processes_train_no_pair_twice_in_a_short_last_step(
    llama: Path, thirteen: Path, tmp_path: Path, settings: TrainingSettings
) -> None:
    """Of the last step one process has 4 or 3 pairs and the other the rest and fillers."""
    done = subprocess.run(
        command(make_request(llama, thirteen, tmp_path, settings), n_processes=2),
        check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    alone = train(thirteen, str(llama), tmp_path / "alone", SHORT, NullProgress())
    assert apart(alone.model_dir, tmp_path / "run" / "model", llama) < 0.01
    one, two = last_log(tmp_path / "alone"), last_log(tmp_path / "run")
    for name in ("loss", "loss/weighted", "weight", "rewards/margins", "logps/chosen", "num_tokens", "epoch"):
        assert two[name] == pytest.approx(one[name], rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize(("steps", "n"), [(None, 10), (2, 8), (3, 10), (0, 0)])
def test_a_run_sees_no_more_pairs_than_there_are(
    monkeypatch: pytest.MonkeyPatch, steps: int | None, n: int
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert n_reached(steps, 4, 10) == n
    monkeypatch.setenv("WORLD_SIZE", "2")  # two processes see two batches a step
    assert n_reached(steps, 4, 10) == (10 if steps is None else min(2 * 4 * steps, 10))
