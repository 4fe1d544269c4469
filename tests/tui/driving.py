"""Driving the workstation in tests: keys in, screen text out, no sleeping for its own sake."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from textual import events
from textual.pilot import Pilot

from engine.live.browse import Browser
from engine.settings import ReviewSettings
from tests.worlds import World
from tui.app import Workstation
from tui.desk import Desk

PATIENCE_S = 60.0
"""How long a screen may take before a test gives up: other tests share the machine."""


class Driver:
    """A workstation that is running."""

    def __init__(self, app: Workstation, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def desk(self) -> Desk:
        """Its one screen."""
        return self.app.desk

    async def keys(self, *keys: str) -> None:
        """Press keys; a character stands for its key."""
        for key in keys:
            self.app.post_message(events.Key(key, key if len(key) == 1 else None))
            await self.pilot.pause(0)
        await self.pilot.pause(0)

    async def type(self, text: str) -> None:
        """Type a text."""
        await self.keys(*text)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for the screen to catch up."""
        end = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > end:
                raise AssertionError("waited in vain on:\n" + self.screen())
            await self.pilot.pause(0.01)

    async def shows(self, text: str) -> None:
        """Wait for a text on the screen."""
        await self.until(lambda: text in self.screen())

    def screen(self) -> str:
        """What a person sees, without styles."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def drive(
    world: World, scenario: Callable[[Driver], Awaitable[None]], size: tuple[int, int] = (120, 40),
    review: ReviewSettings = ReviewSettings(author="ana"),  # noqa: B008 - frozen
) -> None:  # fmt: skip
    """Run a scenario against a workstation on a world; the workstation is closed as ``Q`` closes it."""

    async def play() -> None:
        app = Workstation(Browser(world.paths, review))
        async with app.run_test(size=size) as pilot:
            driver = Driver(app, pilot)
            await driver.until(lambda: driver.desk.is_attached and driver.desk.table.grid.current is not None)
            try:
                await scenario(driver)
            finally:
                app.desk.session.close()

    asyncio.run(play())
