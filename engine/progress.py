"""How long work tells a front end where it stands, and learns that it should stop.

Stages call ``start`` once, ``advance`` once per batch and ``finish`` at the end. ``advance`` raises
``Cancelled`` when the user asked to stop, so that one call does both jobs. Nothing here draws.
"""

import threading
import time
from typing import Protocol

from engine.errors import Cancelled


class Progress(Protocol):
    """Where a stage reports to. Implementations must be cheap: they are called once per batch."""

    def start(self, stage: str, total: int | None, unit: str) -> None:
        """Begin a stage of ``total`` units (None: unknown); replaces the stage before it."""

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more units as done. Raises ``Cancelled`` when the user asked to stop."""

    def note(self, text: str) -> None:
        """Say something a person should see, once (a count of repaired rows, a resumed shard)."""

    def finish(self) -> None:
        """End the current stage."""


class CancelToken:
    """A flag that any thread or signal handler may set."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the job to stop at its next batch."""
        self._event.set()

    @property
    def is_cancelled(self) -> bool:
        """True once somebody asked to stop."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise ``Cancelled`` when somebody asked to stop."""
        if self._event.is_set():
            raise Cancelled("stopped on request", hint="run the same command again to go on from here")


class NullProgress:
    """Reports to nobody; still honours its cancel token."""

    def __init__(self, cancel: CancelToken | None = None) -> None:
        self._cancel = cancel

    def start(self, stage: str, total: int | None, unit: str) -> None:
        """Ignore the stage."""

    def advance(self, n: int = 1) -> None:  # noqa: ARG002 - the protocol's signature
        """Only look whether to stop."""
        if self._cancel is not None:
            self._cancel.check()

    def note(self, text: str) -> None:
        """Ignore the remark."""

    def finish(self) -> None:
        """Ignore the end."""


_PACE_STEPS = 3
"""Equal steps after the first, which may compile or load what the others use, that show the pace …"""
_WORTH_SAYING_S = 15.0
"""… which is said when the whole takes at least this long."""


class Paced:
    """Counts equal steps, and says once, after a few of them, how long all of them will take."""

    def __init__(self, progress: Progress, stage: str, total: int, unit: str) -> None:
        self._progress, self._total, self._unit = progress, total, unit
        self._done, self._started, self._first = 0, time.monotonic(), 0.0
        progress.start(stage, total, unit)

    def advance(self) -> None:
        """Count one step. Raises ``Cancelled`` when the user asked to stop."""
        self._done += 1
        self._progress.advance()
        if self._done == 1:
            self._first = time.monotonic()
        elif self._done == 1 + _PACE_STEPS and self._done < self._total:
            pace = (time.monotonic() - self._first) / _PACE_STEPS
            whole = self._first - self._started + (self._total - 1) * pace
            if whole >= _WORTH_SAYING_S:
                self._progress.note(f"{self._total:,} {self._unit} will take about {span_text(whole)}")

    def finish(self) -> None:
        """End the stage."""
        self._progress.finish()


def span_text(seconds: float) -> str:
    """``40 seconds``, ``14 minutes``, ``2.5 hours``: as exactly as an estimate deserves."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def amount_text(value: float) -> str:
    """``34``, ``1.5``, ``12.3k``: a count or a rate as a person reads it."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            return f"{value / (limit if suffix != 'k' else 1e3):.1f}{suffix}"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def rate_text(rate: float) -> str:
    """``34/s``; below one a second what each takes: ``6.3 s each``."""
    return f"{amount_text(rate)}/s" if rate >= 1 else f"{amount_text(1 / rate)} s each"
