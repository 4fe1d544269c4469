"""Tokenising in other processes: the same tokens in the same order, whatever becomes of the processes."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.models.chat import ChatLayout
from engine.progress import NullProgress
from engine.reading.run import read_pairs
from engine.reading.token_worker import Answer
from engine.reading.token_workers import FEW_PAIRS, TokenWorkers, wanted_workers
from engine.records import Message
from tests.models.tiny import make_tokenizer
from tests.reading.readers import SETTINGS, make_rows, write_pairs
from tests.reading.test_run import open_tiny, rows_of

pytestmark = pytest.mark.timeout(300)

LAYOUT = ChatLayout.of(make_tokenizer("gemma"), is_causal=True)
FIELDS = (
    "ids", "prompt_own", "response_own", "has_template", "prompt_truncated", "response_truncated", "n_lost",
    "lacks_tools",
)  # fmt: skip


def conversations(n: int) -> list[Any]:
    """Prompts and responses of many lengths; the template refuses some and changes others."""
    found: list[Any] = []
    for i in range(n):
        system = [Message("system", "Be brief.")] if i % 5 == 0 else []
        turns = [Message("user", f"tea {i} " * (i % 7)), Message("assistant" if i % 11 else "user", "bread")]
        response = None if i % 13 == 0 else [Message("assistant", " music" * (i % 29))]
        found.append(([*system, *turns, Message("user", "river")], response))
    return found


def expected(wanted: Sequence[Any], tools: Sequence[str | None]) -> list[Any]:
    return LAYOUT.encode_many(wanted, tools=tools, max_tokens=40)


def assert_same(found: Sequence[Any], others: Sequence[Any]) -> None:
    assert len(found) == len(others)
    for a, b in zip(found, others, strict=True):
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def until_ready(workers: TokenWorkers) -> None:
    deadline = time.monotonic() + 120
    while workers._starting and time.monotonic() < deadline:
        workers._welcome()
        time.sleep(0.05)
    assert workers._ready


def test_an_answer_holds_what_a_reader_needs() -> None:
    texts = expected(conversations(40), [None] * 40)
    assert_same(Answer.of(texts).texts(), texts)
    assert Answer.of([]).texts() == []


def test_processes_give_the_tokens_of_one_thread_in_its_order() -> None:
    wanted, tools = conversations(201), [None if i % 3 else '[{"name": "f"}]' for i in range(201)]
    with TokenWorkers(LAYOUT, 2) as workers:
        until_ready(workers)
        assert_same(workers.encode_many(wanted, tools=tools, max_tokens=40), expected(wanted, tools))
        assert workers.n_elsewhere == 201
        few = wanted[:5]
        assert_same(workers.encode_many(few, tools=tools[:5], max_tokens=40), expected(few, tools[:5]))
        assert workers.n_elsewhere == 201
        processes = [worker.process for worker in workers._ready]
    assert workers.n_ended == 0
    assert all(process.poll() is not None for process in processes)


def test_a_process_that_dies_costs_nothing_but_time() -> None:
    wanted, tools = conversations(150), [None] * 150
    with TokenWorkers(LAYOUT, 2) as workers:
        assert_same(workers.encode_many(wanted, tools=tools, max_tokens=40), expected(wanted, tools))
        until_ready(workers)
        workers._ready[0].process.kill()
        workers._ready[0].process.wait()
        assert_same(workers.encode_many(wanted, tools=tools, max_tokens=40), expected(wanted, tools))
        assert (workers.n_ended, len(workers._ready)) == (1, 1)
        workers._ready[0].process.send_signal(signal.SIGINT)  # ctrl+c is the reader's business
        assert_same(workers.encode_many(wanted, tools=tools, max_tokens=40), expected(wanted, tools))
        assert workers.n_ended == 1


def test_a_reading_with_processes_equals_one_without(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.reading.token_workers.FEW_TEXTS", 1)
    enter = TokenWorkers.__enter__

    def waits(workers: TokenWorkers) -> TokenWorkers:
        enter(workers)
        if workers._n:
            until_ready(workers)
        return workers

    monkeypatch.setattr(TokenWorkers, "__enter__", waits)
    path = write_pairs(tmp_path / "p.parquet", make_rows(24))
    for name, n in (("none", None), ("two", 2)):
        settings = type(SETTINGS)(device="cpu", shard_pairs=4, check_tokens=0, tokenizer_workers=n)
        read_pairs(path, open_tiny(folders), tmp_path / name, settings, NullProgress())
    assert rows_of(tmp_path / "none") == rows_of(tmp_path / "two")


def test_a_cpu_and_a_short_reading_keep_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.reading.token_workers.cores", lambda: 16)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert wanted_workers(SETTINGS, cpu, 10**6) == 0
    assert wanted_workers(SETTINGS, gpu, FEW_PAIRS - 1) == 0
    assert wanted_workers(SETTINGS, gpu, FEW_PAIRS) == 4
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert wanted_workers(SETTINGS, gpu, FEW_PAIRS) == 1
    chosen = type(SETTINGS)(tokenizer_workers=3)
    assert wanted_workers(chosen, cpu, 1) == 3


@pytest.mark.slow
def test_killing_the_reader_ends_its_processes() -> None:
    script = (
        "from tests.reading.test_token_workers import *\n"
        "with TokenWorkers(LAYOUT, 2) as workers:\n"
        "    until_ready(workers)\n"
        "    print(*(w.process.pid for w in workers._ready), flush=True)\n"
        "    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) >= 1
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and any(is_running(pid) for pid in pids):
        time.sleep(0.1)
    assert not any(is_running(pid) for pid in pids)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
