"""How long the event loop of a running workstation is held up, key by key."""

import asyncio
import time
from contextlib import suppress
from typing import NamedTuple, Self

BEAT_S = 0.001


class Stall(NamedTuple):
    """The longest time without a beat while something was done."""

    what: str
    cpu_ms: float
    """What the loop's own thread worked meanwhile: its own code, whatever else runs on the machine."""
    wall_ms: float
    """What a person may have waited: also for the interpreter's lock and for other processes."""


class StallWatch:
    """Beats in the loop and notes the longest gap for every thing that is done; use as a context manager."""

    def __init__(self) -> None:
        self.what = "start"
        self._found: dict[str, tuple[float, float]] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start beating."""
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _beat(self) -> None:
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(BEAT_S)
            gap = (time.thread_time() - cpu, time.perf_counter() - wall - BEAT_S)
            before = self._found.get(self.what, (0.0, 0.0))
            self._found[self.what] = (max(before[0], gap[0]), max(before[1], gap[1]))

    @property
    def stalls(self) -> list[Stall]:
        """The longest first."""
        found = [Stall(what, cpu * 1e3, wall * 1e3) for what, (cpu, wall) in self._found.items()]
        return sorted(found, key=lambda s: -s.cpu_ms)
