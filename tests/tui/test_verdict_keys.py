"""Deciding by keys: verdicts, reasons and names, undo, selections, and what others decide meanwhile."""

import json

import pytest

from engine.live.browse import Browser
from engine.settings import ReviewSettings
from engine.settings_file import load_settings
from tests.tui.driving import Driver, drive
from tests.worlds import World


def journal(world: World) -> list[dict[str, object]]:
    if not world.paths.journal.exists():
        return []
    whole = world.paths.journal.read_text().rpartition("\n")[0]  # a line may be on its way
    return [json.loads(line) for line in whole.splitlines()]


def test_a_verdict_key_writes_the_journal_and_moves_to_the_next_undecided(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        assert "concept 0" in driver.screen()
        await driver.keys("-")
        await driver.shows("1 verdict ")
        assert driver.desk.table.grid.cursor == 1
        await driver.keys("k", "=")
        assert driver.desk.table.grid.cursor == 1
        await driver.until(lambda: len(journal(world)) == 2)

    drive(world, scenario, (80, 24))
    assert [e["verdict"] for e in journal(world)] == ["suppress", "keep"]


def test_all_four_verdicts_clear_repeat_undo_and_redo(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("=", "-", "+", "i", ".")
        await driver.shows("5 verdicts")
        await driver.keys("g", "g", "backspace")
        await driver.shows("4 verdicts")
        await driver.keys("u", "u")
        await driver.until(lambda: len(driver.desk.reviewer.held) == 4)
        await driver.keys("ctrl+r", "ctrl+r")
        await driver.until(lambda: len(journal(world)) == 10)

    drive(world, scenario)
    assert [e.get("verdict", e["kind"]) for e in journal(world)] == [
        "keep", "suppress", "amplify", "ignore", "ignore", "clear", "undo", "undo", "redo", "redo",
    ]  # fmt: skip


def test_undo_with_a_count_says_all_that_it_took_back(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("=", "-", "+", "i")
        await driver.until(lambda: len(driver.desk.reviewer.held) == 4)
        await driver.keys("3", "u")
        await driver.shows("undo of 3 steps: ignore ")
        assert "amplify concept" in driver.screen()
        assert "suppress concept" in driver.screen()
        await driver.keys("9", "u")
        await driver.shows("undo of 1 step: keep ")
        await driver.shows("(there was no more to undo)")
        await driver.keys("4", "ctrl+r")
        await driver.shows("redo of 4 steps: keep ")
        await driver.until(lambda: len(driver.desk.reviewer.held) == 4)
        await driver.keys("2", "ctrl+r")
        await driver.shows("nothing to redo")

    drive(world, scenario)
    assert len(journal(world)) == 4 + 4 + 4


def test_clearing_a_row_without_a_verdict_says_so_and_writes_nothing(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("=", "backspace")
        await driver.shows("nothing to clear")
        assert "u takes it back" not in driver.screen()
        await driver.keys("u")
        await driver.shows("0 verdicts")

    drive(world, scenario)
    assert [e.get("verdict", e["kind"]) for e in journal(world)] == ["keep", "undo"]


def test_a_selection_is_decided_as_one_step(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("V", "4", "j", "-")
        await driver.shows("suppress: 5 decisions")
        await driver.shows("5 verdicts")
        await driver.keys("u")
        await driver.shows("0 verdicts")

    drive(world, scenario)
    assert len(journal(world)) == 6


def test_after_a_verdict_the_cursor_stays_where_that_is_wanted(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        grid = driver.desk.table.grid
        start = grid.cursor
        await driver.keys("=")
        await driver.until(lambda: grid.cursor == start + 1)
        await driver.keys(";")
        await driver.shows("after a verdict the cursor stays;")
        await driver.keys("-")
        await driver.shows("stays after a verdict")
        await driver.until(lambda: driver.desk.is_idle)
        assert grid.cursor == start + 1
        await driver.keys("j", "enter")
        await driver.shows("undecided")
        here = driver.desk.place
        await driver.keys("+")
        await driver.shows("amplify by ana")
        await driver.until(lambda: driver.desk.is_idle)
        assert driver.desk.place == here
        await driver.keys(";", "=")
        await driver.until(lambda: driver.desk.place.view == "concept" and driver.desk.place != here)

    drive(world, scenario)
    assert [e["verdict"] for e in journal(world)] == ["keep", "suppress", "amplify", "keep"]


def test_the_project_says_whether_a_review_begins_with_staying(world: World) -> None:
    world.paths.settings.write_text("[review]\nadvance = false\n")

    async def scenario(driver: Driver) -> None:
        await driver.shows("stays after a verdict")
        await driver.keys("=")
        await driver.until(lambda: driver.desk.is_idle)
        assert driver.desk.table.grid.cursor == 0
        await driver.keys(";", "-")
        await driver.until(lambda: driver.desk.table.grid.cursor == 1)

    drive(world, scenario, (80, 24), load_settings(world.paths.settings).review)


def test_a_reason_and_a_name_are_typed_and_kept(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("=", "k", "r")
        await driver.type("praise [red] first")
        await driver.keys("enter")
        await driver.shows("reason noted: keep: ")
        await driver.keys("c")
        await driver.type("flattery")
        await driver.keys("enter")
        await driver.shows("flattery")
        await driver.keys("enter")
        await driver.shows("praise [red] first")

    drive(world, scenario)
    reasons = [e["reason"] for e in journal(world) if e["kind"] == "verdict" and "reason" in e]
    assert reasons == ["praise [red] first"]


def test_a_verdict_on_a_pair_is_about_the_hypothesis_that_it_was_opened_from(world: World) -> None:
    """Inside a context too, whether one came there from the list or from the context's page."""

    async def scenario(driver: Driver) -> None:
        await driver.keys("/")
        await driver.type("context:tea")
        await driver.keys("enter", "enter")
        await driver.shows("Top pairs in tea")
        await driver.keys("enter")
        await driver.shows("in tea  undecided")
        await driver.keys("-")
        await driver.shows("in tea  - suppress")
        await driver.keys("g", "x")
        await driver.shows("Contexts")
        await driver.keys("/")
        await driver.type("tea")
        await driver.keys("enter", "enter")
        await driver.shows("Prompts")
        await driver.keys("tab")
        await driver.until(lambda: getattr(driver.desk.page.item, "view", "") == "concept")
        await driver.keys("enter")
        await driver.shows("Top pairs in tea")
        await driver.keys("+")
        await driver.until(lambda: len(journal(world)) == 2)

    drive(world, scenario)
    first, second = (json.dumps(entry["target"]) for entry in journal(world))
    assert all('"kind": "hypothesis"' in target for target in (first, second))


def test_another_persons_verdicts_appear(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        other = Browser(world.paths, ReviewSettings(author="bo"))
        await driver.keys("=")
        await driver.shows("1 verdict ")
        target = next(iter(driver.desk.reviewer.held.values())).target
        from engine.records import Verdict

        other.set_verdict([target], Verdict.SUPPRESS)
        other.close()
        await driver.keys("R")
        await driver.until(
            lambda: [v.verdict for v in driver.desk.reviewer.held.values()] == [Verdict.SUPPRESS]
        )
        await driver.keys("k", "enter")
        await driver.shows("ana decided otherwise")

    drive(world, scenario)


def test_a_verdict_that_cannot_be_saved_is_said_and_not_shown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    async def scenario(driver: Driver) -> None:
        def refuse(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", refuse)
            await driver.keys("=")
            await driver.shows("not saved")
        assert driver.desk.table.grid.cursor == 0  # not on the next one: this one is still to be decided
        assert driver.desk.reviewer.held == {}
        assert driver.desk.reviewer.shown(next(iter(driver.desk.reviewer._pending), "")) is None

    drive(world, scenario)
    assert journal(world) == []


def test_many_rows_are_decided_after_a_question_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.deciding.ASKED_FROM", 10)

    async def scenario(driver: Driver) -> None:
        await driver.shows("0 verdicts")
        await driver.keys("V", "G", "V", "-")
        await driver.shows("suppress 24 selected rows, as one step? y/N")
        await driver.keys("enter")
        await driver.shows("nothing was done")
        assert journal(world) == []
        await driver.keys("-", "y", "enter")
        await driver.until(lambda: len(journal(world)) == 24)
        await driver.shows("24 verdicts")

    drive(world, scenario)


def test_an_undone_reason_is_called_a_reason(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("-")
        await driver.shows("1 verdict ")
        await driver.keys("k", "r")
        await driver.type("why")
        await driver.keys("enter")
        await driver.until(lambda: len(journal(world)) == 2)
        await driver.keys("u")
        await driver.shows("undo: reason of suppress")
        await driver.keys("ctrl+r")
        await driver.shows("redo: reason of suppress")
        await driver.keys("u", "u")
        await driver.shows("undo: suppress")
        await driver.shows("0 verdicts")

    drive(world, scenario)


def test_a_verdict_on_a_page_that_goes_on_says_what_was_decided(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys("enter")
        await d.shows("telling words")
        name = str(d.desk.table.grid.current.values[1])  # type: ignore[union-attr]
        await d.keys("-")
        await d.shows(f"suppress: {name}")
        await d.shows("u takes it back")

    drive(world, scenario, size=(80, 24))
