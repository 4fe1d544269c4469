"""Pictures of every view as text at three sizes: ``python -m tests.tui.snapshots`` writes them again.

The project is a made one with fixed seeds; times, durations and folders are masked, since they differ from
run to run. What is compared is what a person reads; colours and attributes have tests of their own.
"""

import asyncio
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from engine.jobs import write_job
from engine.live.browse import Browser
from engine.paths import ProjectPaths
from engine.records import Verdict
from engine.settings import ReviewSettings
from engine.views.tables import Target
from tests.tui.driving import Driver
from tests.worlds import make_world
from tui.app import Workstation
from tui.places import Place
from tui.views.layouts import PairOptions

FOLDER = Path(__file__).parent / "snapshots"
SIZES = ((80, 24), (120, 40), (200, 60))
RULES = """prosect rules 1
long: drop where chosen.tokens > 100 because "too long to be read"
half: weight *= 0.5 where source == "alpha"
expect kept >= 50%
"""
VIEWS: Mapping[str, tuple[str, ...]] = {
    "hypotheses": ("j", "k"),
    "filtered": ("/", *"verdict:none win>.5", "enter"),
    "facets": (">", ">", "F"),
    "concept": ("g", "g", "enter"),
    "concept-inside": ("4", "G", "enter"),
    "concept-sections": ("4", "G", "enter", "tab", "tab", "tab", "tab"),
    "pair": ("4", "G", "enter", "enter"),
    "pair-inline": ("4", "G", "enter", "enter", "v", "v"),
    "contexts": ("g", "x"),
    "context": ("g", "x", "j", "enter"),
    "pairs": ("g", "p"),
    "rules": ("g", "r"),
    "plan": ("g", "l"),
    "runs": ("g", "u"),
    "run": ("g", "u", "enter"),
    "jobs": ("g", "j"),
    "job": ("g", "j", "enter"),
    "coverage": ("g", "v"),
    "tour": ("g", "t"),
    "help": ("?",),
}
"""Name and the keys that lead there from the hypotheses."""
_MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?"), lambda m: re.sub(r"\d", "0", m.group())),
    (re.compile(r"[\d,]+ ms"), lambda _: "N ms"),
    (re.compile(r"(?:/\S*)?/(?=(?:p/)?(?:rules|runs|jobs|shaped)\b)"), lambda _: "/"),
)


def make_project(root: Path) -> None:
    """A project with a verdict, rules, a run and jobs."""
    world = make_world(root, 90, 24)
    world.paths.rules_dir.mkdir()
    (world.paths.rules_dir / "main.rules").write_text(RULES)
    _run(world.paths.runs_dir / "0123456789ab")
    for ident, facts in _JOBS.items():
        folder = world.paths.jobs_dir / ident
        folder.mkdir(parents=True)
        write_job(folder, facts)
    browser = Browser(world.paths, ReviewSettings(author="ana"))
    cursor = browser.open_table("hypotheses", "family:concepts")
    concept_id = str(cursor.rows(1, 1)[0].values[cursor.spec.index("concept_id")])
    target = Target("concept", concept_id, concept_id)
    browser.set_verdict([target], Verdict.SUPPRESS, "rides on tone")
    browser.close()


def _run(folder: Path) -> None:
    folder.mkdir(parents=True)
    time = "2026-01-02T03:{:02d}:00.000+00:00"
    events: list[dict[str, object]] = [
        {"event": "start", "time": time.format(0), "n_used": 64, "n_pairs": 66, "n_truncated": 2}
    ]
    for step in range(1, 13):
        events.append({"event": "step", "time": time.format(step), "step": step, "of": 12})
        numbers = {"loss": 0.7 - step / 40, "rewards/margins": step / 10, "rewards/accuracies": step / 12}
        events.append({"event": "log", "time": time.format(step), "step": step, **numbers})
    events.append({"event": "end", "time": time.format(13), "step": 12})
    (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    (folder / "request.json").write_text(json.dumps({"settings": {"beta": 0.1, "steps": 12}}))


_JOBS: Mapping[str, dict[str, object]] = {
    "audit-1": {
        "v": 1, "kind": "audit", "title": "audit pairs.jsonl", "state": "finished", "pid": 7, "host": "box",
        "started": "2026-01-02T03:00:00.000+00:00", "updated": "2026-01-02T03:10:30.000+00:00",
        "command": "prosect audit pairs.jsonl --reader R -o p", "stage": "index", "unit": "tables",
        "stages": [["ingest", 90, "rows", 1.5], ["read", 90, "pairs", 600.0]], "notes": ["2 rows repaired"],
        "results": {"index": "world"},
    },
    "compile-2": {
        "v": 1, "kind": "compile", "title": "compile main.rules", "state": "failed", "pid": 8, "host": "box",
        "started": "2026-01-02T04:00:00.000+00:00", "updated": "2026-01-02T04:00:02.000+00:00",
        "command": "prosect compile p p/rules/main.rules", "message": "no space left on the device",
    },
}  # fmt: skip


def masked(screen: str) -> str:
    """The screen without what differs from run to run."""
    for pattern, replacement in _MASKS:
        screen = pattern.sub(replacement, screen)
    return "\n".join(line.rstrip() for line in screen.splitlines()) + "\n"


async def _settled(driver: Driver) -> str:
    """The screen once it stopped changing."""
    n_quiet = 0
    while n_quiet < 3:  # an answer may ask again, and what it changed is drawn later
        await driver.until(lambda: driver.desk.is_idle)
        await driver.pilot.pause(0.01)
        n_quiet = n_quiet + 1 if driver.desk.is_idle else 0
    return driver.screen()


async def _walk(root: Path, size: tuple[int, int]) -> dict[str, str]:
    app = Workstation(Browser(ProjectPaths(root), ReviewSettings(author="ana")))
    found = {}
    async with app.run_test(size=size) as pilot:
        driver = Driver(app, pilot)
        await driver.until(lambda: driver.desk.is_attached and driver.desk.table.grid.current is not None)
        app.desk.pair_options = PairOptions(is_lit=False)  # the made project has no reader
        for name, keys in VIEWS.items():
            app.desk.go(Place("hypotheses"))
            app.desk.pair_options = PairOptions(is_lit=False)
            app.desk.table.grid.move_column(-len(app.desk.table.grid.columns()))
            await _settled(driver)
            for key in keys:
                await driver.keys(key)
                await driver.until(lambda: driver.desk.is_idle)
            found[name] = masked(await _settled(driver))
            await driver.keys("escape")
        app.desk.session.close()
    return found


def pictures(root: Path, size: tuple[int, int]) -> dict[str, str]:
    """File name and text of every picture of the project at ``root``."""
    found = asyncio.run(_walk(root, size))
    return {f"{name}-{size[0]}x{size[1]}.txt": text for name, text in found.items()}


def main() -> None:
    """Write every picture again."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "p"
        make_project(root)
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir()
        for size in SIZES:
            for name, text in pictures(root, size).items():
                (FOLDER / name).write_text(text, encoding="utf-8")
                sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
