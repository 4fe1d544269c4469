"""The longest stall of the event loop while a session is played, key by key: at most 30 ms of its own work.

    PROSECT_BENCH_WORLD=/some/dir    keep the index between runs

A key waits for whatever the loop does just then, so the longest stall is the worst lag of any key. Asserted
is the work of the loop's own thread; the wall time beside it depends on what else the machine does.
"""

import asyncio
import os
import sys
from pathlib import Path

import duckdb
import pytest

from engine.live.browse import Browser
from engine.paths import ProjectPaths
from engine.settings import ReviewSettings
from tests.benchmarks.bigworld import make_big_world
from tests.tui.driving import Driver
from tests.tui.stalls import Stall, StallWatch
from tests.worlds import make_world
from tui.app import Workstation

pytestmark = pytest.mark.benchmark
LIMIT_MS = 30.0
SESSION: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("rows down", ("j",) * 20),
    ("screens down", ("ctrl+f",) * 8),
    ("to the end and back", ("G", "g", "g")),
    ("sort", (">", ">", ">", "s", "s")),
    ("filter", ("/", *"win>.5 tea", "enter")),
    ("filter off", ("/", "ctrl+u", "enter")),
    ("values", ("F", "escape")),
    ("a hundred at once", ("g", "g", "V", "9", "9", "j", "V", "=")),
    ("taken back", ("u",)),
    ("single verdicts", ("=", "-", "+", "i") * 3),
    ("concept", ("g", "g", "enter")),
    ("next concepts", ("J",) * 4),
    ("sections", ("tab",) * 4),
    ("pair", ("g", "p", "j", "enter")),
    ("next pairs", ("J",) * 6),
    ("layouts", ("v", "v", "v", "d", "d", "p")),
    ("contexts", ("g", "x", "j", "enter")),
    ("coverage, tour, runs, jobs", ("g", "v", "g", "t", "g", "u", "g", "j")),
    ("help", ("?", *"filter", "escape")),
    ("command line", (":", *"hypo", "tab", "enter")),
)
SIZES = ((200, 60), (80, 24), (120, 40))


async def _play(root: Path) -> list[Stall]:
    app = Workstation(Browser(make_big_world(root), ReviewSettings(author="ana")))
    async with app.run_test(size=(120, 40)) as pilot:
        driver = Driver(app, pilot)
        await driver.until(lambda: driver.desk.is_attached and driver.desk.table.grid.current is not None)
        await driver.until(lambda: driver.desk.is_idle)
        async with StallWatch() as watch:
            for what, keys in SESSION:
                watch.what = what
                for key in keys:
                    await driver.keys(key)
                for _ in range(3000):
                    await pilot.pause(0.01)
                    if driver.desk.is_idle:
                        break
            for width, height in SIZES:
                watch.what = f"resize to {width}x{height}"
                await pilot.resize_terminal(width, height)
                await pilot.pause(0.3)
        app.desk.session.close()
    return watch.stalls


LONG_PAIR: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("list", ("g", "p", "j")),
    ("open", ("enter",)),
    ("prompt", ("p",)),
    ("scroll", ("ctrl+f",) * 5),
    ("end and all of it", ("G", "k", "k", "enter")),
    ("scroll all of it", ("ctrl+f",) * 5),
    ("search", ("/", *"nowhere", "enter")),
    ("layouts", ("v", "v", "v", "d")),
    ("back and beside the list", ("q", "j")),
)


async def _read_a_long_pair(root: Path, name: str, size: tuple[int, int]) -> list[Stall]:
    app = Workstation(Browser(ProjectPaths(root), ReviewSettings(author="ana")))
    async with app.run_test(size=size) as pilot:
        driver = Driver(app, pilot)
        await driver.until(lambda: driver.desk.is_attached and driver.desk.table.grid.current is not None)
        async with StallWatch() as watch:
            for what, keys in LONG_PAIR:
                watch.what = f"{name}: {what}"
                await driver.keys(*keys)
                await driver.until(lambda: driver.desk.is_idle)
                await pilot.pause(0.1)
        app.desk.session.close()
    return watch.stalls


LONG_TEXTS = {
    "2 x 4,000 words": [" ".join(f"word{i * step % 800}" for i in range(4_000)) for step in (7919, 104729)],
    "100 kB of ASCII in one word": ["x" * 100_000, "y" * 50_000],
    "100 kB of Chinese": ["".join(chr(0x4E00 + i * step % 3_001) for i in range(33_000)) for step in (7, 11)],
    "100 kB of accents": ["é" * 50_000, "è" * 50_000],
    "10,000 times one word": ["no " * 10_000, "no " * 9_000],
}


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
@pytest.mark.parametrize("name", sorted(LONG_TEXTS))
def test_a_long_pair_holds_nothing_up(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    world = make_world(tmp_path / "p", 20, 24)
    chosen, rejected = LONG_TEXTS[name]
    with duckdb.connect(str(world.paths.index("world"))) as connection:
        connection.execute(
            "UPDATE pairs SET chosen_text = ?, rejected_text = ?, prompt_text = ?",
            [chosen, rejected, rejected],
        )
    _report(asyncio.run(_read_a_long_pair(world.paths.root, name, size)))


def test_no_key_is_held_up_for_long(tmp_path: Path) -> None:
    root = Path(os.environ.get("PROSECT_BENCH_WORLD") or tmp_path / "big")
    _report(asyncio.run(_play(root)))


def _report(stalls: list[Stall]) -> None:
    sys.stdout.write(f"\n{'':<40}{'own work':>10}{'wall':>10} ms\n")
    for stall in stalls:
        sys.stdout.write(f"{stall.what:<40}{stall.cpu_ms:>10.1f}{stall.wall_ms:>10.1f}\n")
    assert stalls[0].cpu_ms <= LIMIT_MS, stalls[0]
