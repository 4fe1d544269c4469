"""Token strips for front ends: asked for without waiting, read by a child process that holds the model.

    strips = browser.strips            # nothing is started yet
    strips.start()                     # optional: load the model before the first question
    found = strips.request(12, (7, 40))
    if found is None: …                # not there yet: ask again at the next tick, or when the cursor rests
    elif isinstance(found, StripFailure): …
    else: found.spans[1].tokens, found.spans[1].largest
    strips.close()                     # with the workstation; the child also ends when its stdin does

``request`` never blocks and never imports torch. The child works on one pair at a time; of what is asked
while it works only the latest is read next, so moving through a list costs nothing. Answers are kept (the
last few hundred here, all of them in the project's ``cache/``). A failure is said once: asking again tries
again, with a new child if the old one died. Methods may be called from any thread.
"""

import json
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from engine.paths import ProjectPaths
from engine.views.strips import PairStrip, Spikes, StripFailure, pair_strip

if TYPE_CHECKING:
    import subprocess

N_KEPT = 256
"""Answers kept in memory."""
_STOP_S = 2.0

Question = tuple[int, tuple[int, ...]]
Answer = PairStrip | StripFailure


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise BrokenPipeError("no pipe to the strip reader")
    return stream


class Strips:
    """Strips of the pairs of one index at a time."""

    def __init__(self, paths: ProjectPaths) -> None:
        self._paths = paths
        self._of = ("", "")
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._answers: OrderedDict[Question, Answer] = OrderedDict()
        self._asked: Question | None = None
        """What the child works on."""
        self._next: Question | None = None

    @property
    def is_busy(self) -> bool:
        """The child works on a question; the first one takes as long as the model takes to load."""
        return self._asked is not None

    def start(self) -> None:
        """Load the model in the child, so that the first question need not wait for it."""
        with self._lock:
            if self._child is None:
                self._send({})

    def request(self, pair: int, latents: Sequence[int]) -> Answer | None:
        """The strip of a pair for some latents, or None while it is being read.

        Args:
            pair: number of the pair in the index.
            latents: numbers of latents, in the order wanted; one row of activations each.
        """
        question = (pair, tuple(latents))
        with self._lock:
            found = self._answers.get(question)
            if isinstance(found, StripFailure):
                return self._answers.pop(question)
            if found is not None:
                self._answers.move_to_end(question)
                return found
            if self._asked is None:
                self._ask(question)
            elif self._asked != question:
                self._next = question
        return None

    def follow(self, reader_hash: str, index_hash: str) -> None:
        """From now on pairs are numbered as in this index, and read with its reader."""
        if self._of != (reader_hash, index_hash):
            self.close()
            self._of = (reader_hash, index_hash)

    def close(self) -> None:
        """End the child and forget the answers."""
        with self._lock:
            child, self._child = self._child, None
            self._asked = self._next = None
            self._answers.clear()
        if child is None:
            return
        import subprocess

        with suppress(OSError):
            _pipe(child.stdin).close()
        child.terminate()  # it may be in the middle of a text
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _ask(self, question: Question) -> None:
        self._asked, self._next = question, None
        self._send({"pair": question[0], "latents": list(question[1])})

    def _send(self, request: dict[str, Any]) -> None:
        """Hand the child a line; it is started if there is none. At most two lines ever wait in the pipe."""
        try:
            child = self._child or self._spawn()
            stdin = _pipe(child.stdin)
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
        except OSError as error:
            self._settle(StripFailure(f"the strip reader cannot be asked: {error.strerror or error}"))

    def _spawn(self) -> "subprocess.Popen[str]":
        import subprocess  # the workstation starts faster without
        import tempfile

        command = [sys.executable, "-m", "engine.pipeline.strips", str(self._paths.root), *self._of]
        said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - see _listen
        child = subprocess.Popen(  # noqa: S603 - our own module with the project's own path
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, encoding="utf-8"
        )
        self._child = child
        threading.Thread(target=self._listen, args=(child, said), name="strips", daemon=True).start()
        return child

    def _listen(self, child: "subprocess.Popen[str]", said: IO[str]) -> None:
        """Take answers until the child ends."""
        with said, _pipe(child.stdout) as answers:
            for line in answers:
                if not line.endswith("\n"):  # killed in the middle of an answer
                    break
                with self._lock:
                    if self._child is child:
                        self._take(json.loads(line))
            code = child.wait()
            said.seek(0)
            words = said.read().strip().splitlines()
        with self._lock:
            if self._child is child:  # nobody closed it
                self._child = None
                last = f": {words[-1]}" if words else ""
                self._settle(StripFailure(f"the strip reader ended (exit {code}){last}"))
        with suppress(OSError):  # what was on its way to it is lost
            _pipe(child.stdin).close()

    def _take(self, answer: dict[str, Any]) -> None:
        if "error" in answer:
            self._settle(StripFailure(answer["error"], answer.get("hint")))
        elif "pair" in answer:
            spans = [Spikes(**span) for span in answer["spans"]]
            self._settle(pair_strip(answer["pair"], answer["latents"], spans))

    def _settle(self, answer: Answer) -> None:
        """The question that the child worked on is answered; on to the latest other one."""
        if self._asked is None:  # a failure to load the model ahead of time: the first question will say it
            return
        self._answers[self._asked] = answer
        while len(self._answers) > N_KEPT:
            self._answers.popitem(last=False)
        following, self._asked, self._next = self._next, None, None
        if following is not None:
            self._ask(following)
