"""How fast a server is asked: how many questions at a time, when one is sent again, when no more. Pure.

One question goes first: what is wrong with the address, the key or the model is known after it. Then so many
are under way as the settings say. A server that says that this is too much, or does not answer in time, is
sent half as many at a time, and one more again after every round of answers. Nothing here has a clock or a
connection: times are seconds of whatever clock the caller has.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import NamedTuple

from engine.errors import NamingError

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 20.0
"""Before a question is sent again, where the server does not say when; doubled each time up to the second."""
_JITTER = 0.5
"""Part of a wait that is drawn, so that what failed together does not come back together."""
_PATIENCE_S = 120.0
"""A busy server is not given up before it has answered nothing for so long: many limits are per minute."""
LONGEST_ASKED_S = 600.0
"""A server that wants a longer pause ends the run; the same command goes on later."""


class Strain(Enum):
    """Why a server did not answer."""

    BUSY = auto()
    """It said that it has too much to do."""
    SLOW = auto()
    """It took too long."""
    ILL = auto()
    """It failed."""
    GONE = auto()
    """It cannot be reached."""


class TryAgain(NamingError):
    """A question was not answered, and may be when it is sent again.

    Args:
        message: what went wrong, should it be the last try.
        hint: what to do next.
        strain: why.
        after_s: seconds that the server wants to be left alone; None: it does not say.
    """

    def __init__(self, message: str, hint: str | None, strain: Strain, after_s: float | None = None) -> None:
        super().__init__(message, hint)
        self.strain, self.after_s = strain, after_s


class Refused(NamingError):
    """The server will not answer this question; it may well answer others."""


@dataclass(slots=True)
class Tries:
    """What became of one question so far."""

    n_failed: int = 0
    """In a row: refusals of a busy server count anew once it has answered another question."""
    n_slow: int = 0
    n_answered_then: int = 0
    """Questions that had been answered when it failed last."""
    sent_at: float = 0.0


class Wait(NamedTuple):
    """When a question is sent again."""

    until: float
    is_for_all: bool
    """Nothing is sent before that time."""


class Pace:
    """Says when the next question may be sent. Not thread-safe.

    Args:
        parallel: questions under way at most.
        retries: times that a question is sent again.
        seed: of the jitter, which decides nothing but times.
    """

    def __init__(self, parallel: int, retries: int, seed: int | None = None) -> None:
        self._most, self._retries = max(parallel, 1), retries
        self._rng = random.Random(seed)  # noqa: S311 - spreads waits, guards nothing
        self.limit = 1
        """Questions that may be under way now."""
        self.n_answered = 0
        self._is_strained = False
        self._round = 0
        self._lowered_at = self._pause_until = -math.inf
        self._quiet_since: float | None = None

    def may_send(self, now: float, n_under_way: int) -> bool:
        """Whether one more question may be sent."""
        return n_under_way < self.limit and now >= self._pause_until

    def answered(self) -> None:
        """A question was answered, whatever its answer is worth."""
        self.n_answered += 1
        self._quiet_since = None
        if not self._is_strained:
            self.limit = self._most
        elif self.limit < self._most:
            self._round += 1
            if self._round >= self.limit:
                self.limit, self._round = self.limit + 1, 0

    def again(self, tries: Tries, error: TryAgain, now: float) -> Wait | None:
        """When a question that was not answered is sent again; None: it is given up.

        Args:
            tries: of the question; brought up to date.
            error: what came of the last try.
            now: time.
        """
        if error.strain is Strain.BUSY and self.n_answered > tries.n_answered_then:
            tries.n_failed = 0
        tries.n_failed += 1
        tries.n_slow += error.strain is Strain.SLOW
        tries.n_answered_then = self.n_answered
        if self._quiet_since is None:
            self._quiet_since = now
        if error.strain in (Strain.BUSY, Strain.SLOW):
            self._lower(tries.sent_at, now)
        if self._is_given_up(tries, error, now - self._quiet_since):
            return None
        wait = self._wait(tries.n_failed, error.after_s)
        is_for_all = error.strain is Strain.BUSY or error.after_s is not None
        if is_for_all:
            self._pause_until = max(self._pause_until, now + wait)
        return Wait(now + wait, is_for_all)

    def _is_given_up(self, tries: Tries, error: TryAgain, quiet_s: float) -> bool:
        if not self._retries or (error.after_s or 0) > LONGEST_ASKED_S:
            return True
        if error.strain is Strain.BUSY:
            return tries.n_failed > self._retries and quiet_s >= _PATIENCE_S
        # As often as many at a time can have been too much for it, being slow is not the question's fault.
        allowed = min(tries.n_slow, self._most.bit_length() - 1)
        return tries.n_failed - allowed > self._retries

    def _lower(self, sent_at: float, now: float) -> None:
        """Half as many at a time, once for all that were under way together."""
        self._is_strained = True
        if sent_at >= self._lowered_at:
            self.limit, self._round, self._lowered_at = max(self.limit // 2, 1), 0, now

    def _wait(self, n_failed: int, asked: float | None) -> float:
        drawn = self._rng.random() * _JITTER
        if asked is not None:
            return asked * (1 + drawn / 5)
        return min(_FIRST_WAIT_S * 2.0 ** (n_failed - 1), _LONGEST_WAIT_S) * (1 - drawn)


def asked_wait(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a server asks for in ``Retry-After`` (seconds or a date) or ``retry-after-ms``.

    Returns:
        None where it asks for nothing, or for nothing that can be read.
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            found = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return max(found, 0.0) if math.isfinite(found) else None
    try:
        when = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError, TypeError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max((when - (now or datetime.now(UTC))).total_seconds(), 0.0)
