"""What other processes do to a project shows in a workstation that is open on it, without a key."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from engine.live.browse import Browser
from engine.records import Verdict
from engine.settings import ReviewSettings
from engine.views.tables import Target
from tests.tui.driving import Driver, drive
from tests.worlds import World
from tui.review import target_of


@pytest.fixture(autouse=True)
def _is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits two seconds for a look."""
    monkeypatch.setattr("tui.desk.WATCH_S", 0.2)


@contextmanager
def another(world: World, author: str = "bo") -> Iterator[Browser]:
    """A second process on the same project."""
    browser = Browser(world.paths, ReviewSettings(author=author))
    try:
        yield browser
    finally:
        browser.close()


def at(driver: Driver, row: int = 0) -> Target:
    """What a row of the list is about."""
    grid = driver.desk.table.grid
    found = grid.row(row)
    assert found is not None
    return target_of(found, grid.spec)


def entries(world: World) -> list[dict[str, object]]:
    whole = world.paths.journal.read_text().rpartition("\n")[0]  # a line may be on its way
    return [json.loads(line) for line in whole.splitlines()]


async def decided(driver: Driver, n: int) -> None:
    await driver.until(lambda: driver.desk.is_idle and len(driver.desk.reviewer.held) == n)


def test_names_and_verdicts_given_elsewhere_show_without_a_key(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.until(lambda: d.desk.is_idle)
        with another(world) as bo:
            bo.set_name(at(d, 1).concept_id, "cheerful tone")
            await d.shows("cheerful tone")
            bo.set_verdict([at(d, 1)], Verdict.SUPPRESS, "too cheerful")
            await d.shows("decided meanwhile by bo: suppress cheerful tone")
            await d.shows("too cheerful")
            assert d.desk.reviewer.shown(at(d, 1).key) == "suppress'"
            await d.keys("j", "enter")
            await d.shows("suppress by bo")
            place, top = d.desk.place, d.desk.page.cursor
            bo.set_name(at(d, 1).concept_id, "sunny tone")
            await d.until(lambda: "sunny tone" in d.screen().splitlines()[1])
            assert (d.desk.place, d.desk.page.cursor) == (place, top)
            bo.undo()
            bo.undo()
            await d.shows("1 verdict was taken back meanwhile")

    drive(world, scenario)


def test_a_verdict_that_is_read_while_another_is_written_shows(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.until(lambda: d.desk.is_idle)
        with another(world) as bo:
            bo.set_verdict([at(d, 3)], Verdict.KEEP)
            await d.keys("=")
            await d.until(lambda: len(d.desk.reviewer.held) == 2)

    drive(world, scenario)


@pytest.mark.parametrize("how", ["deleted", "emptied", "cut short", "replaced"])
def test_a_journal_that_is_taken_away_is_said_and_written_again(world: World, how: str) -> None:
    path = world.paths.journal

    async def scenario(d: Driver) -> None:
        await d.keys("=", "-", "+")
        await decided(d, 3)
        await d.until(lambda: path.exists() and len(entries(world)) == 3)
        ours = path.read_text().splitlines()[: 2 if how == "cut short" else 3]
        if how == "deleted":
            path.unlink()
        elif how == "emptied":
            path.write_text("")
        elif how == "cut short":
            path.write_text(path.read_text()[:-40])
        else:
            with another(world) as bo:
                bo.set_verdict([at(d, 5)], Verdict.KEEP)
            other = path.with_name("other")
            other.write_text(path.read_text().splitlines(keepends=True)[-1])
            other.replace(path)
        await d.shows(f"journal.jsonl was {how}: it lacks")
        n = 1 if how == "cut short" else 3
        kept = list(world.paths.root.glob("journal-lost-*.jsonl"))
        assert len(kept) == 1
        assert len(kept[0].read_text().splitlines()) == n
        await d.keys("j")
        await d.shows(f"JOURNAL {how.upper()}: W")
        await d.keys("W")
        await decided(d, 4 if how == "replaced" else 3)
        assert set(ours) <= set(path.read_text().splitlines())
        await d.until(lambda: f"JOURNAL {how.upper()}" not in d.screen())
        assert not list(world.paths.root.glob("journal-lost-*.jsonl"))
        await d.keys("W")
        await d.shows("nothing to write again")

    drive(world, scenario)


def test_what_is_decided_while_the_journal_is_gone_stays_when_the_rest_comes_back(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys("=")
        await decided(d, 1)
        world.paths.journal.unlink()
        await d.shows("journal.jsonl was deleted")
        await d.keys("k", "-")
        await decided(d, 1)
        await d.keys("W")
        await d.until(lambda: len(entries(world)) == 2)
        await d.until(lambda: d.desk.reviewer.shown(at(d, 0).key) == "suppress")

    drive(world, scenario)


def test_a_project_folder_that_is_gone_gets_no_new_journal(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.until(lambda: d.desk.is_idle)
        away = world.paths.root.with_name("away")
        shutil.move(world.paths.root, away)
        await d.keys("=")
        await d.shows("not saved: the folder")
        assert not world.paths.root.exists()
        shutil.move(away, world.paths.root)
        await d.keys("k", "=")
        await decided(d, 1)

    drive(world, scenario)


def test_a_bulk_verdict_leaves_alone_what_another_decided_meanwhile_and_says_whom_it_went_over(
    world: World,
) -> None:
    async def scenario(d: Driver) -> None:
        await d.until(lambda: d.desk.is_idle)
        with another(world) as bo:
            bo.set_verdict([at(d, 1)], Verdict.KEEP)
            await d.shows("1 by others")
            targets = [at(d, row) for row in range(4)]
            unseen = d.desk.reviewer.held
            bo.set_verdict([at(d, 2)], Verdict.AMPLIFY)
            d.desk.reviewer.held = unseen  # as it was when the person chose
            d.desk.reviewer.decide(targets, Verdict.SUPPRESS)
            await d.shows("over bo's keep; left alone what others decided meanwhile: bo's amplify")
            await d.until(lambda: d.desk.reviewer.shown(targets[2].key) == "amplify'")
            assert [d.desk.reviewer.shown(t.key) for t in targets[:2]] == ["suppress", "suppress"]
            await d.keys("u")
            await d.until(lambda: d.desk.reviewer.shown(targets[1].key) == "keep'")
            await d.keys("g", "g", "j", "j", "-")
            await d.shows("over bo's amplify")

    drive(world, scenario)
