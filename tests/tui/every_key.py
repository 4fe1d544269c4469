"""Every key on every view: ``python -m tests.tui.every_key`` lists those that show and say nothing."""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from engine.live.browse import Browser
from engine.paths import ProjectPaths
from engine.settings import ReviewSettings
from tests.tui.driving import Driver
from tests.tui.snapshots import VIEWS as PICTURED
from tests.tui.snapshots import make_project
from tui import actions as act
from tui.app import Workstation
from tui.places import Place
from tui.views.layouts import PairOptions

VIEWS: Mapping[str, Sequence[str]] = {
    **{k: v for k, v in PICTURED.items() if k not in ("facets", "help", "concept-sections", "pair-inline")},
    "no hypotheses": ("/", *"zzzz", "enter"),
    "pairs at the end": ("g", "p", "G"),
    "hypotheses at the end": ("G",),
    "contexts at the end": ("g", "x", "G"),
    "a column, not chosen by anybody": ("g", "p", "enter"),
    "rules at the end": ("g", "r", "G"),
    "page at the end": ("g", "g", "enter", "G"),
}
"""Name and the keys that lead there from the hypotheses."""
ELSEWHERE = frozenset({"quit", "suspend", "editor", "redraw", "cancel"})
"""What ends the workstation, leaves it, or draws what is there."""


def _seen(driver: Driver) -> object:
    """What a person could notice."""
    desk = driver.desk
    strips = desk.app.screen._compositor.render_strips()
    looks = tuple(tuple((s.text, str(s.style)) for s in strip) for strip in strips)
    return looks, desk.message, desk.place, desk.keyboard.prompt is not None


async def _settled(driver: Driver) -> None:
    n_quiet = 0
    while n_quiet < 2:
        await driver.until(lambda: driver.desk.is_idle)
        await driver.pilot.pause(0.005)
        n_quiet = n_quiet + 1 if driver.desk.is_idle else 0


async def _go(driver: Driver, keys: Iterable[str]) -> None:
    desk = driver.desk
    while desk.keyboard.prompt is not None:
        await driver.keys("escape")
    desk.tables["hypotheses"].grid.clear_selection()
    desk.tables["pairs"].grid.clear_selection()
    desk.expanded = frozenset()
    desk.show(Place("hypotheses"))
    desk.past.clear()
    desk.future.clear()
    desk.marks.clear()
    desk.pair_options = PairOptions(is_lit=False)
    desk.frame.is_side_wanted = True
    await driver.until(lambda: desk.is_idle)
    for table in desk.tables.values():
        table.grid.move_column(-99)
    for key in ("g", "g", *keys):
        await driver.keys(key)
        await driver.until(lambda: desk.is_idle)
    desk.message = ()
    desk.draw_bottom()
    await _settled(driver)


def _bound(scopes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Key sequence and action of everything that can be pressed here."""
    seen = set()
    for keys, ident in act.bindings(scopes).items():
        if ident not in seen and ident not in ELSEWHERE:
            seen.add(ident)
            yield keys, ident


async def _walk(root: Path, size: tuple[int, int], views: Mapping[str, Sequence[str]]) -> list[str]:
    app = Workstation(Browser(ProjectPaths(root), ReviewSettings(author="ana")))
    silent = []
    async with app.run_test(size=size) as pilot:
        driver = Driver(app, pilot)
        await driver.until(lambda: driver.desk.is_attached and driver.desk.table.grid.current is not None)
        await _settled(driver)
        for name, keys in views.items():
            await _go(driver, keys)
            for sequence, ident in _bound(driver.desk.keyboard.scopes):
                before = _seen(driver)
                await driver.keys(*sequence.replace("any", "a").split())
                await _settled(driver)
                has_said, driver.desk.message = bool(driver.desk.message), ()
                driver.desk.draw_bottom()
                await driver.pilot.pause(0)
                is_as_before = _seen(driver) == before
                if is_as_before and not has_said:
                    silent.append(f"{name}: {sequence} ({ident})")
                if not is_as_before:
                    await _go(driver, keys)
        app.desk.session.close()
    return silent


def silent_keys(
    root: Path, size: tuple[int, int] = (80, 24), views: Mapping[str, Sequence[str]] = VIEWS
) -> list[str]:
    """Views and keys after which the screen and what is said are as before."""
    return asyncio.run(_walk(root, size, views))


def main() -> None:
    """List them for every view."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "p"
        make_project(root)
        wanted = sys.argv[1:]
        views = {k: v for k, v in VIEWS.items() if not wanted or k in wanted}
        sys.stdout.write("\n".join(silent_keys(root, views=views)) + "\n")
        shutil.rmtree(root)
    sys.stdout.write(f"{time.monotonic() - start:.0f} s\n")


if __name__ == "__main__":
    main()
