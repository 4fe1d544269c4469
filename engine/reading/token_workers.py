"""Processes that tokenise beside a reader, where one thread would keep a GPU waiting.

A shard's conversations are cut into as many runs as there are processes and come back in order, so the result
is what one thread gives. A process that ends early, or refuses, costs nothing but time: its run is tokenised
here. Nothing is read further ahead than the one shard that a session prepares anyway.
"""

import contextlib
import logging
import os
import pickle
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import IO, Any, NamedTuple, cast

import torch

from engine.machine import cores
from engine.models.chat import ChatLayout, EncodedText
from engine.reading.token_worker import READY, Answer, Conversations, Request
from engine.settings import ReadingSettings

log = logging.getLogger(__name__)

MOST = 4
"""Processes unless the settings say otherwise."""
FEW_PAIRS = 2048
"""Work below which no process is started: it takes seconds to be there."""
FEW_TEXTS = 64
"""Conversations of a shard below which they are tokenised here."""


def wanted_workers(settings: ReadingSettings, device: torch.device, n_pairs: int) -> int:
    """How many processes should tokenise ``n_pairs`` for a reader on a device.

    A CPU reads more slowly than one thread tokenises, and the processes would take its cores.
    """
    if settings.tokenizer_workers is not None:
        return max(settings.tokenizer_workers, 0)
    if device.type == "cpu" or n_pairs < FEW_PAIRS:
        return 0
    beside = os.environ.get("LOCAL_WORLD_SIZE", "1")  # other readers on this machine, as torchrun says
    own = cores() // max(int(beside) if beside.isdigit() else 1, 1)
    return min(MOST, own // 2)


class _Worker(NamedTuple):
    process: subprocess.Popen[bytes]
    requests: IO[bytes]
    answers: IO[bytes]

    @classmethod
    def start(cls, n_threads: int) -> "_Worker":
        extra = {"RAYON_NUM_THREADS": str(n_threads), "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.reading.token_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | extra,
            start_new_session=True,  # ctrl+c is for the reader
        )
        return cls(process, cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout))

    def send(self, message: bytes) -> bool:
        """False if the process has ended."""
        try:
            self.requests.write(message)
            self.requests.flush()
        except (OSError, ValueError):  # ValueError: its pipe was closed here
            return False
        return True

    def receive(self) -> Any:
        """What it says next; None if it has ended, or refused."""
        try:
            return pickle.load(self.answers)  # noqa: S301 - from a process started here
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            return None

    def end(self) -> None:
        """Kill it and let go of its pipes."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.requests, self.answers):
            with contextlib.suppress(OSError):
                pipe.close()


class TokenWorkers:
    """A layout's tokeniser, in this process and ``n`` others. Used by one thread at a time.

    As a context it ends the processes, whatever happens; killed, it takes them along, since their input ends.
    """

    def __init__(self, layout: ChatLayout, n: int) -> None:
        self._layout, self._n = layout, n
        self._starting: list[_Worker] = []
        self._ready: list[_Worker] = []
        self._senders: list[threading.Thread] = []
        self.n_ended = 0
        """Processes that ended before they were told to, or never began."""
        self.n_elsewhere = 0
        """Conversations that other processes tokenised."""

    def __enter__(self) -> "TokenWorkers":
        held = pickle.dumps(self._layout, protocol=pickle.HIGHEST_PROTOCOL) if self._n else b""
        n_threads = max(cores() // max(self._n, 1), 1)
        for _ in range(self._n):
            try:
                worker = _Worker.start(n_threads)
            except OSError as error:
                log.warning("a process that tokenises could not be started: %s", error)
                self.n_ended += 1
                continue
            self._starting.append(worker)
            # The process reads while it imports, for seconds; nobody waits for that.
            sender = threading.Thread(target=worker.send, args=(held,), daemon=True)
            sender.start()
            self._senders.append(sender)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in (*self._starting, *self._ready):
            worker.process.kill()
        for sender in self._senders:
            sender.join()
        for worker in (*self._starting, *self._ready):
            worker.end()
        self._starting, self._ready, self._senders = [], [], []

    def encode_many(
        self, conversations: Conversations, *, tools: Sequence[str | None], max_tokens: int
    ) -> list[EncodedText]:
        """As ``ChatLayout.encode_many``; texts and offsets may be missing from what it gives."""
        self._welcome()
        workers, n = list(self._ready), len(conversations)
        if not workers or n < FEW_TEXTS:
            return self._layout.encode_many(conversations, tools=tools, max_tokens=max_tokens)
        edges = [n * i // len(workers) for i in range(len(workers) + 1)]
        requests = [Request(conversations[a:b], tools[a:b], max_tokens) for a, b in pairwise(edges)]
        sent = [
            worker.send(pickle.dumps(request, protocol=pickle.HIGHEST_PROTOCOL))
            for worker, request in zip(workers, requests, strict=True)
        ]
        found: list[EncodedText] = []
        for worker, request, was_sent in zip(workers, requests, sent, strict=True):
            found += self._take(worker, request, was_sent)
        return found

    def _welcome(self) -> None:
        """Processes that have loaded the tokeniser are used from now on; nobody waits for the others."""
        for worker in list(self._starting):
            if select.select([worker.answers], [], [], 0)[0]:
                self._starting.remove(worker)
                if worker.receive() == READY:
                    self._ready.append(worker)
                else:
                    self._lose(worker)

    def _take(self, worker: _Worker, request: Request, was_sent: bool) -> list[EncodedText]:
        answer = worker.receive() if was_sent else None
        if answer is not None:
            self.n_elsewhere += len(request.conversations)
            return Answer(*answer).texts()
        if not was_sent or worker.process.poll() is not None:
            self._ready.remove(worker)
            self._lose(worker)
        return self._layout.encode_many(
            request.conversations, tools=request.tools, max_tokens=request.max_tokens
        )

    def _lose(self, worker: _Worker) -> None:
        log.warning("a process that tokenises ended: its texts are tokenised by the reader")
        self.n_ended += 1
        worker.end()
