"""Several questions under way at once; all but the waiting for answers happens in the caller's thread.

Each question waits for its answer in a thread of its own, which touches nothing else: what is kept, counted
and asked next is decided by the caller, one answer after the other, in whatever order they come. A thread
that hangs keeps no process from ending.
"""

import heapq
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from engine.errors import NamingError, ProsectError
from engine.naming.pace import Pace, Tries, TryAgain
from engine.naming.questions import Question
from engine.progress import Progress, span_text

T = TypeVar("T")

_TICK_S = 0.2
"""How often it is looked whether to stop."""
_GRACE_S = 1.0
"""After the time that an answer may take: the connection itself says so first, as a rule."""
_WORTH_SAYING_S = 5.0
"""A pause that a person is told of."""


class Answer(NamedTuple):
    """What a server answered."""

    text: str
    n_read: int
    """Tokens of the question as the server counted them; 0 where it does not say."""
    n_written: int
    """Tokens of the answer."""


class Server(Protocol):
    """Whoever answers. Called by many threads at a time."""

    def ask(self, question: Question) -> Answer:
        """Send a question once and wait for the answer.

        Raises:
            TryAgain: it was not answered, and may be later.
            NamingError: it will not be.
        """

    def too_slow(self) -> TryAgain:
        """What to say of an answer that takes too long."""


class Ask(NamedTuple, Generic[T]):
    """A question, and whatever the caller knows it by."""

    key: T
    question: Question


Take = Callable[[T, Answer | NamingError], "Ask[T] | None"]
"""What to do with an answer, or with a question that was given up; returns what is to be asked next."""


@dataclass(slots=True)
class _Open(Generic[T]):
    """A question without an answer."""

    ask: Ask[T]
    tries: Tries = field(default_factory=Tries)


class Asking(Generic[T]):
    """Asks a server many questions.

    Args:
        server: to ask.
        pace: how many at a time.
        timeout_s: what an answer may take.
        progress: is asked several times a second whether to stop, and told of pauses.
    """

    def __init__(self, server: Server, pace: Pace, timeout_s: float, progress: Progress) -> None:
        self._server, self._pace, self._timeout_s, self._progress = server, pace, timeout_s, progress
        self._under_way: dict[int, _Open[T]] = {}
        self._later: list[tuple[float, int, _Open[T]]] = []
        self._results: queue.SimpleQueue[tuple[int, Answer | Exception]] = queue.SimpleQueue()
        self._n_sent = 0
        self._told_until = 0.0
        self.n_again = 0
        """Questions that were sent another time."""

    def run(self, asks: Iterable[Ask[T]], take: Take[T]) -> None:
        """Ask everything, and what follows from the answers.

        Raises:
            Cancelled: somebody asked to stop; what was under way was waited for and taken.
            NamingError: ``take`` raised it; likewise.
        """
        waiting = deque(_Open(ask) for ask in asks)
        try:
            while waiting or self._under_way or self._later:
                self._send_due(waiting)
                self._progress.advance(0)
                done, result = self._next(self._nap())
                if done is None:
                    continue
                follows = self._settle(done, result, take)
                if follows is not None:
                    waiting.appendleft(_Open(follows))
        except ProsectError:
            self._drain(take)
            raise

    def _send_due(self, waiting: "deque[_Open[T]]") -> None:
        now = time.monotonic()
        while self._pace.may_send(now, len(self._under_way)):
            if self._later and self._later[0][0] <= now:
                self._send(heapq.heappop(self._later)[-1], now)
            elif waiting:
                self._send(waiting.popleft(), now)
            else:
                return

    def _send(self, question: _Open[T], now: float) -> None:
        self._n_sent += 1
        question.tries.sent_at = now
        self._under_way[self._n_sent] = question
        threading.Thread(
            target=self._wait_for, args=(self._n_sent, question.ask.question), name="ask", daemon=True
        ).start()

    def _wait_for(self, number: int, question: Question) -> None:
        result: Answer | Exception
        try:
            result = self._server.ask(question)
        except Exception as error:  # noqa: BLE001 - it is raised again where somebody can see it
            result = error
        self._results.put((number, result))

    def _nap(self) -> float:
        """Seconds until there may be something to do though no answer came."""
        due = self._later[0][0] - time.monotonic() if self._later else _TICK_S
        return min(max(due, 0.005), _TICK_S)

    def _next(self, nap_s: float) -> tuple[_Open[T] | None, Answer | Exception]:
        """The next result, an answer that is overdue, or nothing within so many seconds."""
        with suppress(queue.Empty):
            number, result = self._results.get(timeout=nap_s)
            # The answer to a question that was given up as too slow comes too late.
            return self._under_way.pop(number, None), result
        late = time.monotonic() - self._timeout_s - _GRACE_S
        overdue = (n for n, question in self._under_way.items() if question.tries.sent_at < late)
        return self._under_way.pop(next(overdue, 0), None), self._server.too_slow()

    def _settle(self, question: _Open[T], result: Answer | Exception, take: Take[T]) -> Ask[T] | None:
        """Take an answer, or send its question again later."""
        if isinstance(result, Answer):
            self._pace.answered()
            return take(question.ask.key, result)
        if not isinstance(result, NamingError):
            raise result
        if isinstance(result, TryAgain):
            now, limit = time.monotonic(), self._pace.limit
            wait = self._pace.again(question.tries, result, now)
            if wait is not None:
                self._tell(result, wait.until - now if wait.is_for_all else 0.0, limit)
                self.n_again += 1
                heapq.heappush(self._later, (wait.until, self.n_again, question))
                return None
        return take(question.ask.key, result)

    def _tell(self, error: TryAgain, wait_s: float, limit: int) -> None:
        """Say that it goes slower from here, and why."""
        now = time.monotonic()
        is_long = wait_s >= _WORTH_SAYING_S and now >= self._told_until
        is_first = self._pace.limit < limit and not self._told_until
        if not is_long and not is_first:
            return
        self._told_until = now + wait_s
        pause = f"; waiting {span_text(wait_s)}" if is_long else ""
        at_once = f"; {self._pace.limit} at a time from here" if self._pace.limit < limit else ""
        self._progress.note(f"{error.message}{pause}{at_once}")

    def _drain(self, take: Take[T]) -> None:
        """Wait for what is under way and keep it; send nothing more."""
        while self._under_way:
            done, result = self._next(_TICK_S)
            if done is not None and isinstance(result, Answer):
                with suppress(ProsectError):  # the one that ended the run is told
                    take(done.ask.key, result)
