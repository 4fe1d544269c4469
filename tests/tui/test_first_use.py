"""What a first user tripped over: reasons, marks, slips in filters, and what others decide meanwhile."""

import json
import shlex

from engine.live.browse import Browser
from engine.records import Verdict
from engine.settings import ReviewSettings
from tests.tui.driving import Driver, drive
from tests.worlds import World
from tui.filter_text import terms


def entries(world: World) -> list[dict[str, object]]:
    if not world.paths.journal.exists():
        return []
    whole = world.paths.journal.read_text().rpartition("\n")[0]  # a line may be on its way
    return [json.loads(line) for line in whole.splitlines()]


def test_a_reason_goes_to_the_verdict_just_given_although_the_cursor_went_on(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        name = str(driver.desk.table.grid.current.values[1])  # type: ignore[union-attr]
        await driver.keys("-", "r")
        await driver.shows(f"reason for suppress {name}: ")
        await driver.type("because I say so")
        await driver.keys("enter")
        await driver.until(lambda: len(entries(world)) == 2)

    drive(world, scenario)
    first, second = entries(world)
    assert second["reason"] == "because I say so"
    assert second["target"] == first["target"]


def test_a_reason_goes_to_all_rows_that_were_decided_together(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("V", "2", "j", "-")
        await driver.shows("3 verdicts")
        assert "3 selected" not in driver.screen()
        await driver.keys("r")
        await driver.shows("reason for suppress of 3 rows: ")
        await driver.type("same story")
        await driver.keys("enter")
        await driver.until(lambda: {v.reason for v in driver.desk.reviewer.held.values()} == {"same story"})
        assert len(driver.desk.reviewer.held) == 3

    drive(world, scenario)


def test_a_verdict_can_be_typed_with_its_reason(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys(":")
        await driver.type("suppress rides on tone")
        await driver.keys("enter")
        await driver.shows("1 verdict ")
        (view,) = driver.desk.reviewer.held.values()
        assert (view.verdict, view.reason) == (Verdict.SUPPRESS, "rides on tone")

    drive(world, scenario)


def test_the_pane_follows_what_others_decide(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("=")
        await driver.shows("1 verdict ")
        await driver.keys("k")
        await driver.shows("keep by ana")
        other = Browser(world.paths, ReviewSettings(author="bo"))
        other.set_verdict([next(iter(driver.desk.reviewer.held.values())).target], Verdict.SUPPRESS)
        other.close()
        await driver.keys("R")
        await driver.shows("suppress by bo")
        assert "keep by ana" not in driver.screen()

    drive(world, scenario)


def test_a_mark_in_a_list_leads_back_to_the_row_in_it(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("5", "j", "m", "a")
        row = driver.desk.table.grid.current
        assert row is not None
        await driver.keys("g", "p", "'", "a")
        await driver.until(lambda: driver.desk.place.view == "hypotheses" and driver.desk.is_idle)
        now = driver.desk.table.grid.current
        assert now is not None
        assert (driver.desk.table.grid.cursor, now.ident) == (5, row.ident)

    drive(world, scenario)


def test_a_page_does_not_claim_to_come_from_a_list_that_it_did_not_come_from(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("enter")
        await driver.shows("from hypotheses 1/24")
        await driver.keys("m", "a", "g", "p", "'", "a")
        await driver.until(lambda: driver.desk.place.view == "concept" and driver.desk.is_idle)
        assert "from pairs" not in driver.screen()

    drive(world, scenario)


def test_a_filter_that_makes_no_sense_stays_to_be_mended(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("/")
        await driver.type("win>60")
        await driver.keys("enter")
        await driver.shows("`win` is a share from 0 to 1")
        assert driver.desk.table.grid.n_rows == 24
        await driver.keys("%", "enter")
        await driver.shows("/ win>60%")
        await driver.keys("q")
        await driver.until(lambda: driver.desk.place.ident == "" and driver.desk.is_idle)
        assert driver.desk.table.grid.n_rows == 24

    drive(world, scenario)


def test_like_this_cell_and_everywhere_replace_what_they_said_before(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys(*(">" * 2), ",")
        await driver.until(lambda: driver.desk.place.ident != "" and driver.desk.is_idle)
        once = driver.desk.place.ident
        await driver.keys(",")
        await driver.until(lambda: driver.desk.is_idle)
        assert driver.desk.place.ident == once
        await driver.keys("e")
        await driver.until(lambda: "family:concepts" in driver.desk.place.ident and driver.desk.is_idle)
        assert driver.desk.table.grid.n_rows > 0

    drive(world, scenario)


def test_terms_of_a_filter_are_held_together_by_quotes() -> None:
    assert terms('a context="two words" !b:"x y" "c d') == ["a", 'context="two words"', '!b:"x y"', '"c d']


def test_the_shell_command_of_a_list_has_its_sort_and_its_context(world: World) -> None:
    from click.testing import CliRunner

    from engine.cli.main import main

    async def scenario(driver: Driver) -> None:
        await driver.keys(":")
        await driver.type("sort win")
        await driver.keys("enter")
        await driver.until(lambda: driver.desk.is_idle and driver.desk.summary is not None)
        shown = [str(r.ident) for r in driver.desk.table.cursor.rows(0, 24)]  # type: ignore[union-attr]
        words = shlex.split(driver.desk.doing._shell())
        assert "--sort=-win" in words
        result = CliRunner().invoke(main, [*words[1:], "--json"])
        assert result.exit_code == 0, result.output
        spec = driver.desk.table.grid.spec
        told = [row["concept_id"] for row in json.loads(result.output)["rows"]]
        rows = driver.desk.table.cursor.rows(0, 24)  # type: ignore[union-attr]
        assert told == [row.values[spec.index("concept_id")] for row in rows]
        assert len(shown) == len(told)
        await driver.keys("g", "x", "j", "enter")
        await driver.until(lambda: driver.desk.place.view == "context" and driver.desk.is_idle)
        ident = driver.desk.place.ident
        result = CliRunner().invoke(main, ["pairs", words[2], "--context", ident, "--json"])
        assert result.exit_code == 0, result.output
        assert json.loads(result.output)["n_rows"] == 30

    drive(world, scenario)
