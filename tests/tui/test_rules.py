"""Rules in the workstation: what is not on disk is never lost, and what is compiled is what was shown."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import StoreError
from engine.live import drafts
from engine.live.browse import Browser
from engine.live.job_watch import Work
from engine.manifest import write_atomic
from engine.paths import ProjectPaths
from engine.views.jobs import JobState
from tests.tui.driving import Driver, drive
from tests.worlds import World, make_world
from tui.views.rule_start import EXAMPLES

RULES = "prosect rules 1\ndrop where chosen.tokens > 60\n"
OTHER = "prosect rules 1\ndrop where chosen.tokens > 90\n"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("rules") / "p", 90, 24)
    world.paths.rules_dir.mkdir()
    (world.paths.rules_dir / "main.rules").write_text(RULES)
    return world


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    shutil.copytree(template.paths.root, tmp_path / "p")
    return replace(template, paths=ProjectPaths(tmp_path / "p"))


@pytest.fixture
def path(world: World) -> Path:
    return world.paths.rules_dir / "main.rules"


def change(path: Path, text: str) -> None:
    """What another program does to a file: the old text or the new one, nothing in between."""
    write_atomic(path, text.encode())


def test_the_examples_of_an_empty_file_are_statements_of_any_index(world: World) -> None:
    project = Browser(world.paths)
    text = "\n".join(["prosect rules 1", *(text for text, _ in EXAMPLES[:3]), ""])
    assert project.plan_preview(text).has_plan
    whole = project.plan_preview(text + EXAMPLES[3][0] + "\n")
    assert not any(f.is_error for f in whole.findings)
    project.close()


async def add_unsaved(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a statement that does not get to disk."""

    def refuse(*_: object) -> None:
        raise StoreError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(drafts, "write_atomic", refuse)
        await driver.keys("o")
        await driver.type("flip where chosen.tokens > 50")
        await driver.keys("enter")
        await driver.shows("NOT SAVED")


async def open_rules(driver: Driver) -> None:
    await driver.keys("g", "r")
    await driver.shows("drop where")
    await driver.shows("nothing is written")


def test_what_is_not_saved_is_not_compiled_and_is_written_on_demand(
    world: World, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(driver: Driver) -> None:
        await open_rules(driver)
        await add_unsaved(driver, monkeypatch)
        await driver.until(lambda: driver.desk.is_idle)
        await driver.keys("C")
        await driver.shows(":write saves it")
        await driver.keys(":")
        await driver.type("write")
        await driver.keys("enter")
        await driver.until(lambda: "NOT SAVED" not in driver.screen())
        await driver.until(lambda: "flip" in path.read_text())
        await driver.until(lambda: driver.desk.is_idle)
        await driver.keys("C")
        await driver.shows("y/N")

    drive(world, scenario)


def test_a_file_that_changed_after_it_was_shown_is_not_compiled(world: World, path: Path) -> None:
    async def scenario(driver: Driver) -> None:
        await open_rules(driver)
        await driver.keys("C")
        await driver.shows("y/N")
        change(path, OTHER)
        await driver.keys("y", "enter")
        await driver.shows("no longer the text that was looked at")
        assert Work(world.paths).jobs() == ()

    drive(world, scenario)


def test_the_job_compiles_the_text_that_was_shown_and_no_other(world: World, path: Path) -> None:
    work = Work(world.paths)

    async def scenario(driver: Driver) -> None:
        await open_rules(driver)
        await driver.keys("C", "y", "enter")
        await driver.shows("runs by itself")
        change(path, OTHER)
        await driver.until(lambda: bool(work.jobs()) and not work.jobs()[0].state.is_alive)

    drive(world, scenario)
    (job,) = work.jobs()
    assert job.state is JobState.FAILED
    assert "no longer the text" in job.message
    assert work.shaped() == ()


def test_a_change_elsewhere_is_read_where_nothing_stands_here_alone(world: World, path: Path) -> None:
    async def scenario(driver: Driver) -> None:
        await open_rules(driver)
        change(path, OTHER)
        await driver.shows("changed elsewhere and read again")
        await driver.shows("> 90")
        await driver.keys("u")
        await driver.until(lambda: path.read_text() == RULES)
        await driver.keys("g", "l")
        await driver.until(lambda: driver.desk.is_idle)
        change(path, OTHER)
        await driver.shows("u in the rules brings back what stood here")
        await driver.keys("R")
        await driver.shows("read again: the same")

    drive(world, scenario)


def test_a_file_that_is_still_being_written_is_not_shown_half(
    world: World, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_waits = []

    def rest_is_written(_: float) -> None:
        n_waits.append(1)
        if len(n_waits) == 1:
            path.write_text(OTHER)

    async def scenario(driver: Driver) -> None:
        await open_rules(driver)
        monkeypatch.setattr("tui.rule_source.time.sleep", rest_is_written)
        path.write_text(OTHER[:20])
        await driver.shows("> 90")
        await driver.keys("u")
        await driver.until(lambda: path.read_text() == RULES)

    drive(world, scenario)
    assert len(n_waits) >= 2


@pytest.mark.parametrize("takes", ["theirs", "ours"])
def test_of_two_versions_the_person_chooses(
    world: World, path: Path, monkeypatch: pytest.MonkeyPatch, takes: str
) -> None:
    async def scenario(driver: Driver) -> None:
        await open_rules(driver)
        await add_unsaved(driver, monkeypatch)
        change(path, OTHER)
        await driver.shows("R takes that, :write writes yours")
        await driver.keys("R" if takes == "theirs" else "w")
        await driver.shows("y/N")
        await driver.keys("enter")
        await driver.shows("nothing was done")
        assert path.read_text() == OTHER
        await driver.keys("R" if takes == "theirs" else "w")
        await driver.shows("y/N")
        await driver.keys("y", "enter")
        await driver.until(lambda: "NOT SAVED" not in driver.screen())
        await driver.until(lambda: ("flip" in path.read_text()) == (takes == "ours"))
        await driver.keys("u")
        await driver.until(lambda: ("flip" in path.read_text()) == (takes == "theirs"))

    drive(world, scenario)


def test_a_file_that_vanished_is_kept_here_until_it_is_written(world: World, path: Path) -> None:
    async def scenario(driver: Driver) -> None:
        await open_rules(driver)
        path.unlink()
        await driver.shows("main.rules is gone")
        await driver.shows("NOT SAVED")
        await driver.keys("w")
        await driver.until(lambda: path.exists() and path.read_text() == RULES)
        await driver.until(lambda: "NOT SAVED" not in driver.screen())

    drive(world, scenario)


def test_quitting_asks_about_rules_that_are_not_saved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(driver: Driver) -> None:
        await open_rules(driver)
        await add_unsaved(driver, monkeypatch)
        await driver.keys("q", "q")
        await driver.shows("main.rules is NOT SAVED")
        for keys in (("Q",), (":", "q", "enter"), ("ctrl+c", "ctrl+c")):
            await driver.keys(*keys)
            await driver.shows("quit and lose them? y/N")
            await driver.keys("enter")
            await driver.shows("nothing was done")
        await driver.keys("Q", "y", "enter")
        await driver.until(lambda: not driver.app.is_running or driver.app._exit)

    drive(world, scenario)


def test_edits_of_one_file_outlast_a_look_at_another(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(driver: Driver) -> None:
        await open_rules(driver)
        await add_unsaved(driver, monkeypatch)
        await driver.keys("f")
        await driver.type("second")
        await driver.keys("enter")
        await driver.shows("second.rules  no such file yet")
        await driver.keys("q")
        await driver.shows("flip where chosen.tokens > 50")
        await driver.shows("NOT SAVED")

    drive(world, scenario)


def test_a_folder_that_cannot_be_made_is_said_as_that(world: World) -> None:
    shutil.rmtree(world.paths.rules_dir)
    world.paths.rules_dir.symlink_to(world.paths.root / "nowhere" / "rules")  # nothing can be made of this

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "r")
        await driver.shows("main.rules  no such file yet; the first edit writes it")
        await driver.until(lambda: driver.desk.is_idle)
        await driver.keys("C")
        await driver.shows("no such rule file yet")
        await driver.keys("o")
        await driver.type("flip")
        await driver.keys("enter")
        await driver.shows("NOT SAVED")
        assert "cannot write" in driver.screen()
        assert "should not happen" not in driver.screen()

    drive(world, scenario)


def test_the_plan_says_lengths_and_which_statements_meet(world: World, path: Path) -> None:
    path.write_text(
        'prosect rules 1\na: weight = 2 where chosen.tokens > 60\nb: weight = 3 where source == "alpha"\n'
    )

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "l")
        await driver.shows("Length  mean tokens")
        await driver.shows("ratio")
        await driver.shows("Conflicts  C compiles none of it")
        assert "a and b" in driver.screen()
        await driver.keys("C")
        await driver.shows("the rules have errors: nothing to compile")

    drive(world, scenario)


def test_the_last_good_plan_stays_while_the_rules_have_errors(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await open_rules(driver)
        await driver.keys("o")
        await driver.type("drop wher")
        await driver.shows("1 error: no plan until mended")
        await driver.shows("Effect before")
        assert "all pairs" in driver.screen()
        await driver.keys("escape")
        await driver.until(lambda: "no plan until mended" not in driver.screen())

    drive(world, scenario)


def test_a_file_without_a_statement_says_how_one_begins(world: World) -> None:
    """With examples that any index takes; what is being typed takes their place."""

    async def scenario(d: Driver) -> None:
        await d.keys("g", "r")
        await d.shows("drop where chosen.tokens > 60")
        assert "No statement yet" not in d.screen()
        await d.keys("f")
        await d.keys(*["backspace"] * 4)
        await d.type("mine")
        await d.keys("enter")
        await d.shows("No statement yet")
        assert all(text in d.screen() for text, _ in EXAMPLES)
        await d.keys("o", "d")
        await d.until(lambda: "No statement yet" not in d.screen())
        await d.keys("escape")
        await d.shows("No statement yet")

    drive(world, scenario)


def test_tab_completes_what_the_rule_language_knows(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await open_rules(driver)
        await driver.until(lambda: driver.desk.doing.completer is not None)
        names = [name for name, _ in world.concepts]
        await driver.keys("o")
        await driver.type("drop where delta(@" + names[0][:2])
        await driver.shows("tab: ")
        before = driver.desk.keyboard.prompt
        assert before is not None
        await driver.keys("tab")
        first = before.typing.text
        assert first.startswith("drop where delta(@")
        assert any(name in first for name in names)
        while before.typing.text != "drop where delta(@" + names[0][:2]:  # round, back to what was typed
            await driver.keys("tab")

    drive(world, scenario)


def test_undo_of_rules_outlasts_a_restart_but_not_a_change_elsewhere(world: World, path: Path) -> None:
    async def edit(driver: Driver) -> None:
        await open_rules(driver)
        await driver.keys("j", "space")
        await driver.until(lambda: "#off drop" in path.read_text())

    async def undo(driver: Driver) -> None:
        await driver.keys("g", "r")
        await driver.shows("1 edit can be taken back")
        await driver.keys("u")
        await driver.until(lambda: path.read_text() == RULES)

    async def redo(driver: Driver) -> None:
        await driver.keys("g", "r")
        await driver.until(lambda: "saved" in driver.screen() and "can be taken back" not in driver.screen())
        await driver.keys("ctrl+r")
        await driver.until(lambda: "#off drop" in path.read_text())

    async def none(driver: Driver) -> None:
        await driver.keys("g", "r")
        await driver.until(lambda: "saved" in driver.screen() and "can be taken back" not in driver.screen())

    drive(world, edit)
    drive(world, undo)
    drive(world, redo)
    change(path, OTHER)
    drive(world, none)
    history = world.paths.cache_dir / "undo" / "main.json"
    assert json.loads(history.read_text())["past"] == [RULES]
