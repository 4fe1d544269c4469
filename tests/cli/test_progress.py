"""How far long work is: rates that say something, and how long it will take before one has waited."""

import io
import os
import signal
from pathlib import Path

import pytest

from engine.cli.progress import BarProgress, PlainProgress, job_progress, saved_on_termination
from engine.errors import Cancelled
from engine.progress import CancelToken, NullProgress, Paced, span_text


class Clock:
    """A clock that a test turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)


@pytest.mark.parametrize(
    ("done", "seconds", "shown"),
    [
        (3, 36.0, "3/10 draws  12 s each  0:01:24 left"),  # 7 × 12 s
        (4, 10.0, "4/10 draws  2.5 s each  0:00:15 left"),
        (3, 3000.0, "3/10 draws  1,000 s each  1:56:40 left"),
        (5, 2.0, "5/10 draws  2.5/s  0:00:02 left"),
        (0, 20.0, "0/10 draws"),
    ],
)
def test_slow_work_says_seconds_for_each(
    monkeypatch: pytest.MonkeyPatch, done: int, seconds: float, shown: str
) -> None:
    clock, out = Clock(monkeypatch), io.StringIO()
    progress = PlainProgress(CancelToken(), out)
    progress.start("nulls", 10, "draws")
    clock.now += seconds
    progress.advance(done)
    last = out.getvalue().splitlines()[-1]
    assert last == f"nulls: {shown}" or seconds < 10  # a plain line comes every ten seconds
    assert progress._numbers() == shown


def test_what_ends_a_bar_begins_a_line_of_its_own() -> None:
    out = io.StringIO()
    bar = BarProgress(CancelToken(), out)
    bar.start("nulls", 10, "draws")
    bar.leave()
    assert out.getvalue().endswith("\n")
    bar.finish()
    written = out.getvalue()
    bar.leave()
    assert out.getvalue() == written


class Notes(NullProgress):
    """What was said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def test_equal_steps_say_once_how_long_all_of_them_will_take(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, notes = Clock(monkeypatch), Notes()
    paced = Paced(notes, "nulls", 400, "draws")
    for n in range(400):
        clock.now += 2.0 if n else 90.0  # the first step compiles what all others use
        paced.advance()
    paced.finish()
    assert notes.said == ["400 draws will take about 15 minutes"]  # 90 + 399 × 2 s


def test_what_is_over_soon_is_not_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, notes = Clock(monkeypatch), Notes()
    for total, step in ((400, 0.01), (1, 60.0)):
        paced = Paced(notes, "nulls", total, "draws")
        for _ in range(total):
            clock.now += step
            paced.advance()
    assert notes.said == []


def test_spans_are_as_exact_as_an_estimate() -> None:
    spans = [span_text(s) for s in (40, 89.6, 840, 9000)]
    assert spans == ["40 seconds", "90 seconds", "14 minutes", "2.5 hours"]


def test_termination_asks_to_stop_and_the_handler_goes_with_the_work(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with job_progress(tmp_path, "fit", plain=True, as_json=False) as job, saved_on_termination(job):
        job.start("train", 10, "steps")
        job.advance()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Cancelled):
            job.advance()
    assert signal.getsignal(signal.SIGTERM) is before
