"""Progress of long work on a terminal, as plain lines or as JSON lines; always on stderr."""

import json
import shutil
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO

from engine.jobs import Tracked, tracked
from engine.progress import CancelToken, Progress, amount_text, rate_text

_REDRAW_S = 0.1
_PLAIN_S = 10.0


def _clock(seconds: float) -> str:
    seconds = int(seconds)
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


class _Base(ABC):
    """Counts a stage; subclasses show it."""

    def __init__(self, cancel: CancelToken, out: TextIO) -> None:
        self._cancel = cancel
        self._out = out
        self._stage = ""
        self._total: int | None = None
        self._unit = ""
        self._done = 0
        self._started = 0.0
        self._shown = 0.0

    def start(self, stage: str, total: int | None, unit: str) -> None:
        """Begin a stage."""
        self._cancel.check()
        if self._stage:
            self.finish()
        self._stage, self._total, self._unit = stage, total, unit
        self._done, self._started, self._shown = 0, time.monotonic(), 0.0
        self._show(final=False)

    def advance(self, n: int = 1) -> None:
        """Count and show; raises ``Cancelled`` on request."""
        self._done += n
        self._cancel.check()
        if self._stage and time.monotonic() - self._shown >= self._interval():
            self._show(final=False)

    def finish(self) -> None:
        """Show the last state."""
        if self._stage:
            self._show(final=True)
            self._stage = ""

    def leave(self) -> None:
        """Forget a stage that will not be finished, and make room for what is printed next."""
        self._stage = ""

    def _interval(self) -> float:
        return _REDRAW_S

    @abstractmethod
    def note(self, text: str) -> None:
        """Say something once."""

    @abstractmethod
    def _show(self, *, final: bool) -> None: ...

    def _elapsed(self) -> float:
        return max(time.monotonic() - self._started, 1e-9)

    def _numbers(self) -> str:
        rate = self._done / self._elapsed()
        total = f"/{amount_text(self._total)}" if self._total is not None else ""
        text = f"{amount_text(self._done)}{total} {self._unit}"
        if rate:
            text += f"  {rate_text(rate)}"
        if self._total is not None and 0 < self._done < self._total:
            text += f"  {_clock((self._total - self._done) / rate)} left"
        return text


class BarProgress(_Base):
    """One redrawn line with a bar, rate and time left."""

    def note(self, text: str) -> None:
        """Print a remark above the bar."""
        self._out.write(f"\r\x1b[K  {text}\n")
        if self._stage:
            self._show(final=False)

    def leave(self) -> None:
        """End the line that would be drawn over."""
        if self._stage:
            self._out.write("\n")
            self._out.flush()
        super().leave()

    def _show(self, *, final: bool) -> None:
        self._shown = time.monotonic()
        width = shutil.get_terminal_size().columns
        name = self._stage[:22]
        if final:
            line = f"{name:<22} {amount_text(self._done)} {self._unit} in {_clock(self._elapsed())}"
        else:
            numbers = self._numbers()
            room = max(min(width - len(numbers) - 28, 40), 0)
            share = min(self._done / self._total, 1.0) if self._total else 0.0
            filled = round(share * room)
            bar = f"[{'#' * filled}{'.' * (room - filled)}] " if self._total and room > 4 else ""
            line = f"{name:<22} {bar}{numbers}"
        self._out.write("\r\x1b[K" + line[: max(width - 1, 20)] + ("\n" if final else ""))
        self._out.flush()


class PlainProgress(_Base):
    """A line when a stage starts, every ten seconds and when it ends: for logs and pipes."""

    def note(self, text: str) -> None:
        """Print a remark."""
        self._out.write(f"{self._stage or 'note'}: {text}\n")
        self._out.flush()

    def _interval(self) -> float:
        return _PLAIN_S

    def _show(self, *, final: bool) -> None:
        first = self._shown == 0.0
        self._shown = time.monotonic()
        if final:
            text = f"{amount_text(self._done)} {self._unit} in {_clock(self._elapsed())}"
        elif first:
            text = f"{amount_text(self._total)} {self._unit}" if self._total is not None else "started"
        else:
            text = self._numbers()
        self._out.write(f"{self._stage}: {text}\n")
        self._out.flush()


class JsonProgress(_Base):
    """JSON lines: {"stage", "done", "total", "unit", "seconds", "finished"}."""

    def note(self, text: str) -> None:
        """Write a remark as a line of its own."""
        self._write({"stage": self._stage, "note": text})

    def _interval(self) -> float:
        return 1.0

    def _show(self, *, final: bool) -> None:
        self._shown = time.monotonic()
        self._write(
            {
                "stage": self._stage,
                "done": self._done,
                "total": self._total,
                "unit": self._unit,
                "seconds": round(self._elapsed(), 3),
                "finished": final,
            }
        )

    def _write(self, value: dict[str, object]) -> None:
        self._out.write(json.dumps(value) + "\n")
        self._out.flush()


@contextmanager
def job_progress(
    project: Path, kind: str, title: str = "", *, plain: bool, as_json: bool
) -> Iterator[Tracked]:
    """The fitting display of a job that other processes can see (`prosect jobs`) and ask to stop."""
    with (
        progress_for(plain=plain, as_json=as_json) as display,
        tracked(display, project, kind, title or kind) as job,
    ):
        yield job


@contextmanager
def saved_on_termination(job: Tracked) -> Iterator[None]:
    """SIGTERM asks the job to stop at its next safe place, as ctrl+c does; a second one ends it at once.

    So does the first where the job was asked to stop before: whoever sends it then has waited.
    """

    def terminate(number: int, _frame: FrameType | None) -> None:
        if job.is_asked_to_stop:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        job.ask_to_stop()
        sys.stderr.write("\nterminated: stopping at the next safe place\n")

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def progress_for(*, plain: bool, as_json: bool) -> Iterator[Progress]:
    """The fitting display; the first ctrl+c asks the work to stop cleanly, the second ends it at once."""
    cancel = CancelToken()

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        if cancel.is_cancelled:
            raise KeyboardInterrupt
        cancel.cancel()
        sys.stderr.write("\nstopping at the next safe place; ctrl+c again to stop at once\n")

    display: _Base
    if as_json:
        display = JsonProgress(cancel, sys.stderr)
    elif plain or not sys.stderr.isatty():
        display = PlainProgress(cancel, sys.stderr)
    else:
        display = BarProgress(cancel, sys.stderr)
    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield display
        display.finish()
    except BaseException:
        display.leave()
        raise
    finally:
        signal.signal(signal.SIGINT, previous)
