"""The workstation as a whole: help, commands, marks, resuming, sizes, rules, and trouble underneath."""

import json
import shlex

import pytest

from engine.manifest import Manifest, write_manifest
from engine.store.build import Published, publish
from tests.tui.driving import Driver, drive
from tests.worlds import World


def test_help_filters_and_runs(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("?")
        await driver.type("how far")
        await driver.keys("enter")
        await driver.shows("Coverage")

    drive(world, scenario)


def test_commands_by_name_complete_and_complain(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys(":")
        await driver.type("cov")
        await driver.keys("tab", "enter")
        await driver.shows("Coverage")
        await driver.keys("q", ":")
        await driver.type("nonsense")
        await driver.keys("enter")
        await driver.shows("no command nonsense")
        await driver.keys(":")
        await driver.type("compile")
        await driver.keys("enter")
        await driver.shows("compile does not work here; it does on: rules and plan")
        await driver.keys(":")
        await driver.type("7")
        await driver.keys("enter")
        await driver.until(lambda: driver.desk.table.grid.cursor == 6)

    drive(world, scenario)


def test_a_prefix_shows_what_may_follow(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("g")
        await driver.shows("p pairs")

    drive(world, scenario)


def test_marks_bring_a_concept_back(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("j", "m", "a", "g", "p", "'", "a")
        await driver.shows("Top pairs")

    drive(world, scenario)


def test_the_next_session_goes_on_where_this_one_ended(world: World) -> None:
    async def first(driver: Driver) -> None:
        await driver.keys("=", "=")
        await driver.shows("2 verdicts")

    async def second(driver: Driver) -> None:
        await driver.shows("2 verdicts")
        await driver.keys("u")
        await driver.shows("1 verdict ")

    drive(world, first)
    drive(world, second)


def test_a_newer_index_underneath_keeps_the_place(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("6", "j")
        before = driver.desk.table.grid.current
        assert before is not None
        world.paths.index("next").hardlink_to(world.paths.index("world"))
        pointer = json.loads(world.paths.current.read_text())
        pointer["readers"]["reader"]["index"] = "next"
        world.paths.current.write_text(json.dumps(pointer))
        await driver.keys("R")
        await driver.shows("a newer index is here")
        await driver.until(
            lambda: driver.desk.summary is not None and driver.desk.summary.index_hash == "next"
        )
        after = driver.desk.table.grid.current
        assert after is not None
        assert after.ident == before.ident

    drive(world, scenario)


def test_a_mix_that_changed_since_the_audit_is_said_and_stays_in_the_header(world: World) -> None:
    def ingested(fingerprint: str) -> None:
        write_manifest(world.paths.pairs_dir, Manifest("ingest", 1, fingerprint, {}, {}))

    publish(world.paths, Published("reader", "world", 1.0, "before"))
    ingested("before")

    async def scenario(driver: Driver) -> None:
        await driver.until(lambda: driver.desk.summary is not None)
        assert "OUT OF DATE" not in driver.screen()
        ingested("after")
        await driver.keys("ctrl+l", "R")
        await driver.shows("OUT OF DATE")
        ingested("before")
        await driver.keys("R")
        await driver.until(lambda: "OUT OF DATE" not in driver.screen())

    drive(world, scenario)

    async def opened_again(driver: Driver) -> None:
        await driver.shows("the mix has changed since the audit")

    ingested("after")
    drive(world, opened_again)


SIZES = ((60, 15), (80, 24), (20, 5), (100, 30), (1, 1), (200, 60), (40, 8))


def test_every_view_stands_every_size(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        for keys in (
            ("g", "h"),
            ("enter",),
            ("enter",),
            ("g", "p"),
            ("enter",),
            ("g", "x"),
            ("enter",),
            ("g", "v"),
        ):
            await driver.keys(*keys)
            for width, height in SIZES:
                await driver.pilot.resize_terminal(width, height)
                await driver.keys("j")
                lines = driver.screen().splitlines()
                assert len(lines) == height
        await driver.keys("g", "h")
        await driver.shows("Hypotheses")

    drive(world, scenario)


def test_rules_are_drafted_from_verdicts_edited_and_saved(world: World) -> None:
    path = world.paths.rules_dir / "main.rules"

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "r")
        await driver.shows("prosect rules 1")
        await driver.shows("kept")
        await driver.keys("o")
        await driver.type("drop wher")
        await driver.shows("1 error")
        await driver.type("e chosen.tokens > 60")
        await driver.keys("enter")
        await driver.until(lambda: path.exists() and "drop where chosen.tokens > 60" in path.read_text())
        await driver.shows("nothing is written")
        await driver.keys("space")
        await driver.until(lambda: "#off drop" in path.read_text())
        await driver.keys("u", "u")
        await driver.until(lambda: path.read_text() == "prosect rules 1\n")
        await driver.keys("g", "l")
        await driver.shows("Plan")

    drive(world, scenario)


def test_the_tour_leads_somewhere_and_can_be_closed(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "t")
        await driver.shows("A short tour")
        await driver.keys("G", "enter")
        await driver.shows("concepts decided")
        await driver.keys("q", "q")
        await driver.shows("Hypotheses")

    drive(world, scenario)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ((), ["hypotheses"]),
        (("enter",), ["show"]),
        (("g", "p", "enter"), ["show"]),
        (("g", "x", "j", "enter"), ["hypotheses"]),
        (("g", "v"), ["verdicts", "list"]),
        (("g", "r"), ["plan"]),
    ],
)
def test_the_shell_command_of_a_place_exists_and_runs(
    world: World, keys: tuple[str, ...], words: list[str]
) -> None:
    from click.testing import CliRunner

    from engine.cli.main import main

    commands: list[str] = []
    world.paths.rules_dir.mkdir()
    (world.paths.rules_dir / "main.rules").write_text("prosect rules 1\ndrop where chosen.tokens > 60\n")

    async def scenario(driver: Driver) -> None:
        await driver.keys(*keys)
        await driver.until(lambda: driver.desk.is_idle and driver.desk.summary is not None)
        commands.append(driver.desk.doing._shell())

    drive(world, scenario)
    program, *arguments = shlex.split(commands[0])
    assert program == "prosect"
    assert arguments[: len(words)] == words
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output


def test_a_defect_is_said_and_the_review_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from tui.doing import Doing

    def broken(_self: Doing) -> None:
        raise ZeroDivisionError("nobody expected this")

    monkeypatch.setattr(Doing, "do_coverage", broken)

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "v")
        await driver.shows("this should not happen: ZeroDivisionError")
        await driver.keys("=")
        await driver.shows("1 verdict ")

    drive(world, scenario)


def test_an_edit_that_cannot_be_saved_is_marked_until_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.errors import StoreError
    from engine.live import drafts

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "r")
        await driver.shows("prosect rules 1")

        def refuse(*_: object) -> None:
            raise StoreError("no space left")

        with monkeypatch.context() as patched:
            patched.setattr(drafts, "write_atomic", refuse)
            await driver.keys("o")
            await driver.type("drop where chosen.tokens > 60")
            await driver.keys("enter")
            await driver.shows("NOT SAVED")
        await driver.keys("space")
        await driver.until(lambda: "NOT SAVED" not in driver.screen())

    drive(world, scenario)
