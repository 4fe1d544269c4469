"""Long work in the workstation: compiling, training, watching and stopping, by keys alone."""

import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import TrainError
from engine.jobs import Tracked, tracked
from engine.live.job_watch import Work
from engine.paths import ProjectPaths
from engine.progress import NullProgress
from engine.views.jobs import ShapedRow, TrainingCost
from tests.tui.driving import Driver, drive
from tests.worlds import World, make_world
from tui.views.jobs import ShapedItem
from tui.yank import yank_file

RULES = "prosect rules 1\ndrop where chosen.tokens > 60\n"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("jobs") / "p", 90, 24)
    world.paths.rules_dir.mkdir()
    (world.paths.rules_dir / "main.rules").write_text(RULES)
    return world


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    shutil.copytree(template.paths.root, tmp_path / "p")
    return replace(template, paths=ProjectPaths(tmp_path / "p"))


def stops(driver: Driver) -> Iterator[object]:
    """What the cursor can stand on, from the top of the page."""
    return (line.item for line in driver.desk.page.lines if line.item is not None)


def test_rules_are_compiled_from_the_plan_after_a_yes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, list[str]]] = []
    shown: list[str] = []

    def start_training(_work: Work, ident: str, options: Sequence[str] = ()) -> str:
        started.append((ident, list(options)))
        return "train-1"

    def training_cost(_work: Work, ident: str, options: Sequence[str] = ()) -> TrainingCost:
        if "--bogus" in options:
            raise TrainError("No such option '--bogus'.")
        assert (ident in {p.name for p in world.paths.shaped_dir.iterdir()}, options[0]) == (True, "--steps")
        return TrainingCost(30, 7, 8, "/models/tiny", "cpu", 0.5, 1.25, 8.0, "")

    monkeypatch.setattr(Work, "start_training", start_training)
    monkeypatch.setattr(Work, "training_cost", training_cost)

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "l")
        await driver.shows("nothing is written")
        await driver.keys("T")
        await driver.shows("C compiles the rules")
        await driver.keys("C")
        await driver.shows("y/N")
        await driver.keys("enter")
        await driver.shows("nothing was done")
        assert Work(world.paths).jobs() == ()
        await driver.keys("C", "y", "enter")
        await driver.shows("runs by itself")
        await driver.until(lambda: bool(driver.desk.doing.overview.shaped))
        await driver.shows("Shaped datasets")
        shaped_items = [line.item for line in driver.desk.page.lines if isinstance(line.item, ShapedItem)]
        assert len(shaped_items) == 1
        # while the job lives it stands above the dataset
        await driver.until(lambda: next(stops(driver)) == shaped_items[0])
        await driver.keys("g", "g")
        await driver.until(lambda: driver.desk.page.item == shaped_items[0])
        await driver.keys("enter")
        await driver.shows("T trains on it; for another trainer (y s copies this): prosect export ")
        await driver.keys("y", "s")
        await driver.shows("command copied to")
        shown.append(yank_file().read_text())
        await driver.keys("g", "j")
        await driver.shows("finished   compile main.rules")
        await driver.keys("enter")
        await driver.shows("written: ")
        await driver.keys("T")
        await driver.type("--bogus")
        await driver.keys("enter")
        await driver.shows("No such option '--bogus'.")
        assert started == []
        await driver.keys("T")
        await driver.type("--steps 7")
        await driver.keys("enter")
        await driver.shows(
            "train models/tiny on 30 pairs, 7 steps of 8: about 0:30:00, 1.2 GB (8 free) on cpu? y/N"
        )
        await driver.keys("y", "enter")
        await driver.until(lambda: bool(started))
        await driver.until(lambda: driver.desk.place.view == "runs")

    drive(world, scenario)
    (shaped,) = world.paths.shaped_dir.iterdir()
    assert shown == [f"prosect export {shaped} --to=trl --output={shaped.name[:12]}-trl"]
    assert started == [(shaped.name, ["--steps", "7"])]


def test_the_question_of_training_outlasts_whatever_changes_underneath(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_known, started = threading.Event(), list[str]()
    row = ShapedRow("abcdef0123", "shaped/abcdef0123", 30, 90, "2026-01-02T03:04:05+00:00", is_of_index=True)

    def training_cost(_work: Work, _ident: str, _options: Sequence[str] = ()) -> TrainingCost:
        is_known.wait(20)
        return TrainingCost(30, 7, 8, "/models/tiny", "cpu", 0.5, 1.25, 8.0, "")

    def start_training(_work: Work, ident: str, _options: Sequence[str] = ()) -> str:
        started.append(ident)
        return "train-1"

    monkeypatch.setattr(Work, "shaped", lambda _work: (row,))
    monkeypatch.setattr(Work, "training_cost", training_cost)
    monkeypatch.setattr(Work, "start_training", start_training)

    async def scenario(d: Driver) -> None:
        async def shaken() -> None:
            d.desk.doing.reload_tables()  # as when a newer index is published
            d.desk.doing.reload_names(d.desk.names_version + 1)
            await d.pilot.resize_terminal(100, 30)
            await d.pilot.resize_terminal(120, 40)
            await d.until(lambda: not d.desk.table.is_opening)

        await d.keys("g", "l")
        await d.shows("Shaped datasets")
        await d.keys("T", "enter")
        await d.keys("ctrl+l")
        await shaken()
        is_known.set()
        await d.shows("train models/tiny on 30 pairs")
        await shaken()
        await d.shows("on cpu? y/N")
        await d.keys("escape")
        await d.shows("nothing was done")
        assert d.desk.place.view == "plan"
        is_known.clear()
        await d.keys("T", "enter", "escape")
        await d.shows("nothing was started")
        is_known.set()
        await d.until(lambda: d.desk.is_idle)
        assert d.desk.keyboard.prompt is None
        is_known.clear()
        await d.keys("T", "enter", "g", "h")
        is_known.set()
        await d.shows("nothing was started: T on rules")
        await d.keys("g", "l", "T")
        await d.shows("on cpu? y/N")
        await d.keys("y", "enter")
        await d.until(lambda: started == [row.ident])

    drive(world, scenario)


def test_another_process_is_seen_at_work_and_stops_when_asked(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        with tracked(NullProgress(), world.paths.root, "audit", "audit more.jsonl") as job:
            job.start("read", 200, "pairs")
            job.advance(50)
            job.beat(is_forced=True)
            await driver.keys("g", "j")
            await driver.shows("50/200 pairs")
            assert "audit 25%" in driver.screen().splitlines()[0]
            await driver.keys("X", "y", "enter")
            await driver.shows("asked to stop")
            (row,) = Work(world.paths).jobs()
            assert row.is_asked_to_stop
        await driver.shows("audit more.jsonl: finished")
        await driver.keys("X")
        await driver.shows("has ended already")

    drive(world, scenario)


def test_a_run_that_begins_and_ends_while_one_looks_shows_up(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "u")
        await driver.shows("no runs yet")
        folder = world.paths.runs_dir / "abc"
        with tracked(NullProgress(), world.paths.root, "train", "train on 123") as job:
            job.start("train", 4, "steps")
            await driver.shows("0/4 steps")
            folder.mkdir(parents=True)
            (folder / "events.jsonl").write_text('{"event": "start", "time": "2026-01-02T03:04:05+00:00"}\n')
        await driver.shows("train on 123: finished")
        await driver.shows("abc")

    drive(world, scenario)


def test_rules_with_errors_are_not_compiled(world: World) -> None:
    (world.paths.rules_dir / "main.rules").write_text("prosect rules 1\ndrop wher\n")

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "r")
        await driver.shows("1 error")
        await driver.keys("C")
        await driver.shows("nothing to compile")

    drive(world, scenario)


def test_the_reader_of_tokens_is_a_job_while_it_runs_and_no_news_when_it_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def cancel_job(_work: Work, ident: str) -> str:
        asked.append(ident)
        return "was ended"

    monkeypatch.setattr(Work, "cancel_job", cancel_job)
    job = Tracked(NullProgress(), world.paths, "strips", "tokens of pairs that are looked at")

    async def scenario(driver: Driver) -> None:
        job.start("wait for a pair", None, "")
        await driver.keys("g", "j")
        await driver.shows("tokens of pairs that")
        assert "wait for a pair" in driver.screen()
        assert "strips" not in driver.screen().splitlines()[0]
        await driver.keys("X")
        await driver.shows("end its process now? y/N")
        await driver.keys("y", "enter")
        await driver.until(lambda: len(asked) == 1)
        job.start("read pair 7", None, "")
        await driver.keys("enter")
        await driver.shows("Now  read pair 7")
        job.vanish()
        await driver.shows("this job is gone")
        await driver.keys("q")
        await driver.shows("no long work was done here")
        assert not driver.desk.message

    drive(world, scenario)
