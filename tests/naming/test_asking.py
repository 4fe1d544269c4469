"""Several questions under way at once: a server in this process that answers when the test lets it."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from engine.errors import Cancelled, NamingError
from engine.naming.asking import Answer, Ask, Asking
from engine.naming.pace import Pace, Refused, Strain, TryAgain
from engine.naming.questions import Question
from engine.progress import CancelToken, NullProgress

Reply = Callable[[str, int], str]
"""From a question and how often it was asked to the answer."""


@dataclass
class Fake:
    """Answers as told, and counts how many it answers at a time."""

    reply: Reply = lambda text, _n: text.upper()
    lock: threading.Lock = field(default_factory=threading.Lock)
    asked: list[str] = field(default_factory=list)
    at_once: int = 0
    most: int = 0

    def ask(self, question: Question) -> Answer:
        """Answer one question."""
        with self.lock:
            self.asked.append(question.user)
            n = self.asked.count(question.user)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        try:
            return Answer(self.reply(question.user, n), 1, 1)
        finally:
            with self.lock:
                self.at_once -= 1

    def too_slow(self) -> TryAgain:
        """As the real one says it."""
        return TryAgain("too slow", None, Strain.SLOW)


class Notes(NullProgress):
    """Keeps what it is told."""

    def __init__(self, cancel: CancelToken | None = None) -> None:
        super().__init__(cancel)
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keep a remark."""
        self.notes.append(text)


def ask(text: str) -> Ask[str]:
    return Ask(text, Question("", text))


class Taker:
    """Keeps answers by question; ``a`` is followed by ``a!``, and that by nothing."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.errors: dict[str, NamingError] = {}

    def __call__(self, key: str, result: Answer | NamingError) -> Ask[str] | None:
        """Keep it."""
        if isinstance(result, NamingError):
            self.errors[key] = result
            return None
        self.answers[key] = result.text
        return None if key.endswith("!") else ask(f"{key}!")


def run(
    server: Fake, n: int, *, parallel: int = 4, retries: int = 2, timeout_s: float = 30.0,
    progress: NullProgress | None = None,
) -> tuple[Taker, Asking[str]]:  # fmt: skip
    taker = Taker()
    asking: Asking[str] = Asking(server, Pace(parallel, retries), timeout_s, progress or NullProgress())
    asking.run([ask(f"q{i}") for i in range(n)], taker)
    return taker, asking


def test_everything_and_what_follows_from_it_is_asked_once_and_never_too_much_at_a_time() -> None:
    four = threading.Barrier(4, timeout=20)

    def reply(text: str, _n: int) -> str:
        if text in ("q0!", "q1", "q2", "q3"):  # what is under way once the first one was answered
            four.wait()
        return text.upper()

    server = Fake(reply=reply)
    taker, asking = run(server, 20)
    wanted = [f"q{i}{mark}" for i in range(20) for mark in ("", "!")]
    assert taker.answers == {text: text.upper() for text in wanted}
    assert sorted(server.asked) == sorted(wanted)
    assert (server.most, asking.n_again) == (4, 0)


def test_answers_may_come_in_any_order() -> None:
    """The second question is answered only after all the others were."""
    gate = threading.Event()

    def reply(text: str, _n: int) -> str:
        if text == "q1":
            assert gate.wait(20)
        if text == "q19!":
            gate.set()
        return text

    taker, _ = run(Fake(reply=reply), 20)
    assert len(taker.answers) == 40
    assert list(taker.answers)[-2:] == ["q1", "q1!"]


def test_what_failed_is_sent_again_and_what_fails_for_good_is_told() -> None:
    def reply(text: str, n: int) -> str:
        if text == "q2" and n < 3:
            raise TryAgain("ill", None, Strain.ILL)
        if text == "q3":
            raise Refused("not this one")
        if text == "q4":
            raise TryAgain("always ill", None, Strain.ILL)
        return text

    server = Fake(reply=reply)
    taker, asking = run(server, 6)
    assert {key: error.message for key, error in taker.errors.items()} == {
        "q3": "not this one", "q4": "always ill",
    }  # fmt: skip
    assert taker.answers["q2"] == "q2"
    assert [server.asked.count(text) for text in ("q0", "q2", "q3", "q4")] == [1, 3, 1, 3]
    assert asking.n_again == 4


def test_a_server_that_limits_rates_gets_every_question_in_the_end() -> None:
    """It takes two at a time and refuses the others."""
    progress = Notes()

    def reply(text: str, _n: int) -> str:
        if server.at_once > 2:
            raise TryAgain("busy", None, Strain.BUSY, 0.01)
        time.sleep(0.005)
        return text

    server = Fake(reply=reply)
    taker, asking = run(server, 20, parallel=8, retries=1, progress=progress)
    assert len(taker.answers) == 40
    assert not taker.errors
    assert asking.n_again == len(server.asked) - 40
    assert progress.notes == ["busy; 4 at a time from here"]  # once


def test_an_answer_that_hangs_is_given_up_and_comes_too_late() -> None:
    """The connection does not notice: the time is watched from outside."""
    hang = threading.Event()

    def reply(text: str, n: int) -> str:
        if text == "q1" and n == 1:
            hang.wait(20)
            return "late"
        return text

    server = Fake(reply=reply)
    try:
        taker, _ = run(server, 3, timeout_s=0.5)
    finally:
        hang.set()
    assert taker.answers["q1"] == "q1"
    assert server.asked.count("q1") == 2


def test_a_stop_keeps_what_was_under_way_and_sends_no_more() -> None:
    cancel = CancelToken()
    stopped = threading.Event()

    def reply(text: str, _n: int) -> str:
        if len(server.asked) >= 5:
            cancel.cancel()
            stopped.wait(0.3)  # longer than it takes to notice
        return text

    server, taker = Fake(reply=reply), Taker()
    asking: Asking[str] = Asking(server, Pace(4, 2), 30.0, NullProgress(cancel))
    with pytest.raises(Cancelled):
        asking.run([ask(f"q{i}") for i in range(50)], taker)
    assert sorted(taker.answers) == sorted(server.asked)
    assert 5 <= len(server.asked) <= 5 + 4


def test_what_the_caller_raises_ends_it_and_the_others_are_kept() -> None:
    server, kept = Fake(), []

    def take(key: str, result: Answer | NamingError) -> None:
        if key == "q3":
            raise NamingError("enough")
        kept.append(key)

    asking: Asking[str] = Asking(server, Pace(4, 2), 30.0, NullProgress())
    with pytest.raises(NamingError, match="enough"):
        asking.run([ask(f"q{i}") for i in range(50)], take)
    assert sorted([*kept, "q3"]) == sorted(server.asked)


def test_a_defect_is_no_failed_question() -> None:
    def reply(text: str, _n: int) -> str:
        raise ZeroDivisionError(text)

    with pytest.raises(ZeroDivisionError):
        run(Fake(reply=reply), 3)
