"""Training runs in the workstation: going on, measuring, and the forecast before there is an outcome."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from engine.jobs import tracked
from engine.live.browse import Browser
from engine.live.job_watch import Work
from engine.paths import ProjectPaths
from engine.progress import NullProgress
from tests.tui.driving import Driver, drive
from tests.worlds import World, make_world
from tui.places import Place


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("runs") / "p", 90, 24)


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    shutil.copytree(template.paths.root, tmp_path / "p")
    return replace(template, paths=ProjectPaths(tmp_path / "p"))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Kind and words of the jobs that were started; none of them runs."""
    found: list[tuple[str, list[str]]] = []

    def start(_work: Work, kind: str, _title: str, words: Sequence[str]) -> str:
        found.append((kind, list(words)))
        return f"{kind}-1"

    monkeypatch.setattr(Work, "start", start)
    return found


def write_run(world: World, ident: str, ending: str) -> Path:
    """A run of 4 of 20 steps, made from first.rules, with a forecast of two concepts."""
    folder, shaped = world.paths.runs_dir / ident, world.paths.shaped_dir / "abcdef"
    folder.mkdir(parents=True)
    shaped.mkdir(parents=True, exist_ok=True)
    (shaped / "build.json").write_text(json.dumps({"rule_file": "first.rules"}))
    lines = [
        {"event": "start", "time": "2026-01-01T10:00:00+00:00", "n_used": 80},
        {"event": "step", "time": "2026-01-01T10:00:10+00:00", "step": 4, "of": 20},
        {"event": ending, "time": "2026-01-01T10:00:10+00:00"},
    ]
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "request.json").write_text(json.dumps({"shaped_dir": str(shaped), "settings": {"seed": 3}}))
    concept = {"concept_id": "c", "name": "tea", "forecast": 0.125, "low": 0.0, "high": 0.25}
    world.paths.forecasts_dir.mkdir(exist_ok=True)
    path = world.paths.forecasts_dir / "f.json"
    path.write_text(json.dumps({"leading": "mean delta", "concepts": [concept]}))
    (folder / "forecast.json").write_text(json.dumps({"path": str(path), "hash": "f"}))
    return folder


def test_a_run_shows_its_forecast_and_where_it_came_from(world: World) -> None:
    write_run(world, "r1", "stop")

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "u")
        await driver.shows("stopped")
        await driver.keys("j", "enter")
        await driver.shows("Forecast by mean delta")
        assert "shaped/abcdef from first.rules" in driver.screen()
        assert "+0.125  +0.000 to +0.250" in driver.screen()

    drive(world, scenario)


def test_a_run_calls_concepts_by_the_names_that_they_have_now(world: World) -> None:
    """Its forecast was written down before somebody named one of them."""
    write_run(world, "r1", "stop")
    project = Browser(world.paths)
    cursor = project.open_table("hypotheses", "family:concepts")
    ident = str(cursor.rows(0, 1)[0].values[cursor.spec.index("concept_id")])
    forecast = world.paths.forecasts_dir / "f.json"
    forecast.write_text(forecast.read_text().replace('"c"', f'"{ident}"'))
    assert [c.name for c in project.run("r1").forecast] == ["tea"]
    project.set_name(ident, "talk of tea")
    assert [c.name for c in project.run("r1").forecast] == ["talk of tea"]
    assert '"tea"' in forecast.read_text()  # what was written down stays as it was
    project.close()


def test_a_curve_says_how_much_it_is_smoothed(world: World) -> None:
    folder = write_run(world, "r1", "end")
    logs = [
        {
            "event": "log",
            "time": "2026-01-01T10:00:10+00:00",
            "step": step,
            "loss": loss,
            "learning_rate": 1.0,
        }
        for step, loss in ((1, 8.0), (2, 4.0), (1_000, 2.0))
    ]
    with (folder / "events.jsonl").open("a") as events:
        events.writelines(json.dumps(line) + "\n" for line in logs)

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "u")
        await driver.shows("finished")
        await driver.keys("j", "enter")
        await driver.shows("loss  2 to 8, now 2")
        below = next(line for line in driver.screen().splitlines() if "step 1 " in line)
        assert below.split() == ["step", "1", "as", "logged", "1,000"] * 2
        await driver.keys("}")
        # 8, then (8 + 4)/2 = 6, then (6 + 2)/2 = 4
        await driver.shows("loss  4 to 8, now 4")
        assert driver.screen().count("smoothed 0.5") == 2
        await driver.keys("}", "}", "}", "}", "}")
        await driver.shows("smoothed 0.98")
        await driver.keys("{")
        await driver.shows("smoothed 0.95")

    drive(world, scenario)


def test_a_stopped_run_goes_on_after_a_yes(world: World, started: list[tuple[str, list[str]]]) -> None:
    folder = write_run(world, "r1", "stop")
    shaped = world.paths.shaped_dir / "abcdef"
    words = ["train", str(shaped), "-o", str(folder.resolve()), "--set", "training.seed=3"]

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "u")
        await driver.shows("stopped")
        await driver.keys("j", "O")
        await driver.shows("needs a finished one")
        await driver.keys("enter")
        await driver.shows("r goes on from its last save")
        await driver.keys("!")
        await driver.shows("prosect train")
        assert "training.seed=3" in driver.desk.message[0][0]
        await driver.keys("r", "enter")
        await driver.shows("nothing was done")
        assert started == []
        await driver.keys("r", "y", "enter")
        await driver.shows("runs by itself")

    drive(world, scenario)
    assert started == [("train", words)]


def test_an_outcome_is_measured_as_a_job(world: World, started: list[tuple[str, list[str]]]) -> None:
    folder = write_run(world, "r1", "end")

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "u")
        await driver.shows("finished")
        await driver.keys("j", "r")
        await driver.shows("nothing to go on with")
        await driver.keys("enter")
        await driver.shows("O measures the outcome")
        await driver.keys("O", "y", "enter")
        await driver.shows("runs by itself")
        with tracked(NullProgress(), world.paths.root, "outcome", "outcome of r1") as job:
            job.start("sample", 4, "prompts")
            await driver.shows("0/4 prompts")
            await driver.keys("O")
            await driver.shows("being measured already")
            (folder / "outcome.json").write_text(json.dumps({"lines": ["tea moved"], "concepts": []}))
        await driver.shows("tea moved")
        assert "Forecast by" not in driver.screen()

    drive(world, scenario)
    assert started == [("outcome", ["outcome", str(folder.resolve())])]


def test_what_came_of_a_run_stands_before_how_it_went(world: World) -> None:
    """Before there is an outcome the curves are first, and `tab` finds them behind one."""
    folder = write_run(world, "r1", "end")
    logs = [
        {"event": "log", "time": "2026-01-01T10:00:10+00:00", "step": step, "loss": 1.0 / step}
        for step in (1, 2)
    ]
    with (folder / "events.jsonl").open("a") as events:
        events.writelines(json.dumps(line) + "\n" for line in logs)

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "u")
        await driver.shows("finished")
        await driver.keys("j", "enter")
        await driver.shows("Forecast by mean delta")
        assert driver.screen().index("loss  0.5 to 1") < driver.screen().index("Forecast by")
        (folder / "outcome.json").write_text(json.dumps({"lines": ["tea moved"], "concepts": []}))
        await driver.keys("q", "enter")
        await driver.shows("tea moved")
        assert driver.screen().index("tea moved") < driver.screen().index("Curves  what was logged")
        assert driver.screen().index("Curves") < driver.screen().index("loss  0.5 to 1")

    drive(world, scenario)


def test_concepts_stand_before_what_became_of_other_forecasts(world: World) -> None:
    folder = write_run(world, "r1", "end")
    numbers = {"forecast": -0.2, "forecast_low": -0.3, "forecast_high": -0.1}
    numbers |= {"change": -0.4, "change_low": -0.5, "change_high": -0.3}
    concept = {
        "concept_id": "c",
        "name": "oolong",
        "is_scored": True,
        "is_moved": True,
        "agrees": True,
        **numbers,
    }
    said = ["tea moved", "leading forecast, mean delta: right", "another forecast, pilot: wrong", "  R² 0.00"]
    (folder / "outcome.json").write_text(json.dumps({"lines": said, "concepts": [concept]}))

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "u")
        await driver.shows("finished")
        await driver.keys("j", "enter")
        await driver.shows("another forecast, pilot: wrong")
        screen = driver.screen()
        order = [screen.index(text) for text in (said[1], "oolong", said[2], "R² 0.00", "Curves")]
        assert order == sorted(order)

    drive(world, scenario)


def write_start(folder: Path, weights: str) -> None:
    """Say which weights a finished run started from."""
    (folder / "run.json").write_text(json.dumps({"status": "finished", "inputs": {"weights": weights}}))


def test_a_run_says_how_it_differs_from_another_or_how_to_find_out(
    world: World, started: list[tuple[str, list[str]]]
) -> None:
    folders = {ident: write_run(world, ident, "end") for ident in ("r1", "plain", "other")}
    write_start(folders["r1"], "w")

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "u")
        await driver.shows("finished")
        await driver.keys("g", "g")
        await driver.until(lambda: driver.desk.page.item == Place("run", "r1"))
        await driver.keys("enter")
        await driver.shows("to compare runs, train one from the same start")
        write_start(folders["plain"], "w")
        write_start(folders["other"], "v")
        await driver.keys("q", "enter")
        await driver.shows("measures the difference from another run: plain")
        assert "other" not in driver.screen().partition("another run:")[2].splitlines()[0]
        await driver.keys(":")
        await driver.type("outcome plain")
        await driver.keys("enter")
        await driver.shows("outcome of r1 against plain: sample and read both? y/N")
        await driver.keys("y", "enter")
        await driver.shows("runs by itself")
        with tracked(NullProgress(), world.paths.root, "outcome", "outcome of r1 against plain") as job:
            job.start("sample", 4, "prompts")
            await driver.shows("0/4 prompts")
            concept = {
                "concept_id": "c", "name": "tea",
                "forecast": 0.25, "forecast_low": 0.125, "forecast_high": 0.5,
                "change": -0.5, "change_low": -0.75, "change_high": -0.25, "is_moved": True, "agrees": False,
                "is_scored": True,
            }  # fmt: skip
            lines = ["difference of runs: r1 less plain", "1 of 1 concepts changed"]
            found = {"against": "plain", "lines": lines, "concepts": [concept]}
            (folders["r1"] / "outcome-against-plain.json").write_text(json.dumps(found))
        await driver.shows("Difference of runs  r1 less plain")
        shown = driver.screen()
        assert "1 of 1 concepts changed" in shown
        assert "difference of runs: r1" not in shown  # said by the title already
        row = next(line for line in shown.splitlines() if line[1:].startswith("tea"))
        assert "!" in row
        assert "+0.250" in row
        assert "-0.500" in row
        await driver.keys("q")
        await driver.shows("less plain")

    drive(world, scenario)
    against = ["--against", str(folders["plain"].resolve())]
    assert started == [("outcome", ["outcome", str(folders["r1"].resolve()), *against])]


def test_the_marks_of_a_run_have_room_on_a_narrow_screen(world: World) -> None:
    folder = write_run(world, "0123456789ab", "end")
    for name in ("outcome.json", "outcome-against-ba9876543210.json"):
        (folder / name).write_text(json.dumps({"lines": ["x"], "concepts": []}))

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "u")
        await driver.shows("outcome  less ba987")

    drive(world, scenario, (80, 24))


def test_a_training_job_without_a_run_yet_is_shown_as_that(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        with tracked(NullProgress(), world.paths.root, "train", "train on 123") as job:
            job.start("encode", 4, "pairs")
            await driver.keys("g", "u")
            await driver.shows("0/4 pairs")
            assert "no runs yet" not in driver.screen()
        await driver.shows("no runs yet")

    drive(world, scenario)
