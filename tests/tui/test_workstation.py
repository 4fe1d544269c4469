"""The workstation by keys alone, on a real index."""

import json
import shlex

import pytest

from engine.live.browse import Browser
from engine.manifest import Manifest, write_manifest
from engine.settings import ReviewSettings, load_settings
from engine.store.build import Published, publish
from tests.tui.driving import Driver, drive
from tests.worlds import World
from tui.places import Place
from tui.widgets.grid import AHEAD_S
from tui.yank import yank_file


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


def test_lines_that_were_drawn_before_are_what_would_be_drawn_now(world: World) -> None:
    async def scenario(d: Driver) -> None:
        grid = d.desk.table.grid

        def lines() -> list[str]:
            return [grid.render_line(y).text for y in range(grid.size.height)]

        async def agree() -> None:
            await d.pilot.pause(2 * AHEAD_S)  # whatever is drawn ahead is there
            held = lines()
            grid._strips.clear()
            assert held == lines()

        await d.keys("z", "ctrl+f")
        await d.pilot.pause(2 * AHEAD_S)
        ahead = range(grid.top + grid.body_height, min(grid.top + 2 * grid.body_height, grid.n_rows))
        assert len(ahead) > 0
        assert set(ahead) <= set(grid._strips)
        await d.keys("ctrl+f")
        await agree()
        for key in ("space", "-", "V", "j", "u", "escape", "k", "="):
            await d.keys(key)
            await agree()
        await d.keys("c", "ctrl+u", *"a new name", "enter")
        await d.shows("a new name")
        await agree()

    drive(world, scenario, size=(100, 12))


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


def test_a_filter_narrows_while_typing_and_escape_takes_it_back(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("/")
        await driver.type("context:tea")
        await driver.until(lambda: driver.desk.table.grid.n_rows == 8)
        await driver.keys("escape")
        await driver.until(lambda: driver.desk.table.grid.n_rows == 24)
        await driver.keys("/")
        await driver.type("wim>1")
        await driver.keys("enter")
        await driver.shows("did you mean `win`")

    drive(world, scenario)


def test_a_filter_for_a_value_that_no_row_has_names_the_nearest(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "p")
        await driver.shows("Pairs")
        await driver.keys("/")
        await driver.type("source:alpah")
        await driver.keys("enter")
        await driver.shows("no row has `alpah` in `source`; did you mean `alpha`?")
        await driver.keys("/", "ctrl+u")
        await driver.type("source:alpha")
        await driver.keys("enter")
        await driver.until(lambda: driver.desk.table.grid.n_rows > 0)
        assert "no row" not in driver.screen()

    drive(world, scenario)


def test_a_copied_row_holds_values_that_another_program_can_read(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("=", "g", "g", "y", "r")
        await driver.shows("row copied to")
        grid = driver.desk.table.grid
        values = grid.current.values if grid.current is not None else ()
        cells = yank_file().read_text().split("\t")
        found = dict(zip((c.name for _, c, _ in grid.columns()), cells, strict=True))
        assert found["verdict"] == "keep"
        assert found["concept"] == values[grid.spec.index("concept")]
        assert tuple(map(float, found["taught"].split("/"))) == tuple(values[grid.spec.index("taught")])
        assert float(found["win"]) == values[grid.spec.index("win")]
        await driver.keys("g", "p", "y", "r")
        await driver.shows("row copied to")

    drive(world, scenario)


def test_sorting_starts_at_the_top_and_turns_round(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("5", "j", ">", "s")
        await driver.shows("by concept ▲")
        grid = driver.desk.table.grid
        at = grid.spec.index("concept")
        assert grid.cursor == 0
        assert grid.current is not None
        assert grid.current.values[at] == "concept 0"
        await driver.keys("s")
        await driver.until(lambda: grid.current is not None and grid.current.values[at] == "concept 7")

    drive(world, scenario)


def test_facets_filter_to_a_value(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys(">", ">", "F")
        await driver.shows("█")  # the counts are there, not only the page
        await driver.type("cod")
        await driver.keys("enter")
        await driver.until(lambda: driver.desk.table.grid.n_rows == 8)
        assert driver.desk.table.wish.filter_text == "context=code"

    drive(world, scenario)


def test_the_chosen_column_stays_the_same_with_more_and_fewer_beside_it(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        grid = driver.desk.table.grid
        while grid.chosen_column.name != "badge":
            await driver.keys(">")
        n = len(grid.columns())
        await driver.keys("z")
        await driver.until(lambda: len(grid.columns()) > n)
        assert grid.chosen_column.name == "badge"
        await driver.keys("z")
        await driver.until(lambda: len(grid.columns()) == n)
        assert grid.chosen_column.name == "badge"

    drive(world, scenario)


def test_facets_of_a_number_are_bins_and_one_narrows_within_another(world: World) -> None:
    tokens = sorted(int(n) for n in world.readings.pairs.chosen_tokens)

    async def scenario(driver: Driver) -> None:
        async def choose(second: str) -> tuple[int, int]:
            """Open the facets of chosen tokens and take the second; its ends."""
            await driver.keys("F")
            await driver.shows("█")
            await driver.shows(second)
            await driver.until(lambda: driver.screen().splitlines()[3].split()[:1] not in ([], ["█"]))
            row = driver.screen().splitlines()[3].split()
            await driver.keys("down", "enter")
            low, high = int(row[0]), int(row[2]) if row[1] == "to" else int(row[0])
            n = sum(low <= t <= high for t in tokens)
            assert int(row[3 if row[1] == "to" else 1]) == n
            await driver.until(lambda: driver.desk.place.is_table and driver.desk.table.grid.n_rows == n)
            return low, high

        await driver.keys("g", "p")
        await driver.shows("Pairs")
        grid = driver.desk.tables["pairs"].grid
        await driver.until(lambda: grid.current is not None)
        while grid.chosen_column.name != "chosen_tokens":
            before = grid.chosen_column
            await driver.keys(">")
            assert grid.chosen_column != before
        low, high = await choose(" to ")
        assert driver.desk.table.wish.filter_text == f"chosen_tokens>={low} chosen_tokens<={high}"
        await driver.keys(",")
        await driver.until(lambda: driver.desk.table.wish.filter_text.startswith("chosen_tokens="))
        await driver.keys("q")
        await driver.until(lambda: driver.desk.table.wish.filter_text.startswith("chosen_tokens>="))
        inner = await choose(str(low))
        assert low <= inner[0] <= inner[1] <= high
        assert "chosen_tokens>=" + str(low) not in driver.desk.table.wish.filter_text.split()[1:]

    drive(world, scenario)


def test_pages_open_from_rows_and_back_returns_to_the_row(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("3", "j", "enter")
        await driver.shows("Top pairs")
        await driver.keys("j", "enter")
        await driver.shows("CHOSEN")
        await driver.keys("q", "q")
        await driver.shows("Hypotheses")
        assert driver.desk.table.grid.cursor == 3
        await driver.keys("[")
        await driver.keys("g", "x")
        await driver.shows("Contexts")
        await driver.keys("enter")
        await driver.shows("Prompts")
        await driver.keys("`")
        await driver.shows("Contexts")

    drive(world, scenario)


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


def test_a_page_that_one_comes_back_to_is_as_it_was_left(world: World) -> None:
    async def scenario(d: Driver) -> None:
        async def arrives(view: str) -> None:
            await d.until(lambda: d.desk.place.view == view and d.desk.page_place == d.desk.place)

        await d.keys("enter")
        await arrives("concept")
        page = d.desk.page
        while not (isinstance(page.item, Place) and page.item.view == "pair"):
            await d.keys("j")
        await d.keys("j", "j", "j")
        opened, top = page.item, page.top
        assert top > 0
        await d.keys("enter")
        await arrives("pair")
        await d.keys("q")
        await arrives("concept")
        assert (page.item, page.top) == (opened, top)
        await d.keys("enter")
        await arrives("pair")
        await d.keys("J")
        await d.until(lambda: d.desk.place != opened)
        await arrives("pair")
        last = d.desk.place
        await d.keys("q")
        await arrives("concept")
        assert page.item == last
        await d.keys("q", "enter")  # opened anew it begins at its top
        await arrives("concept")
        assert page.top == 0

    drive(world, scenario, size=(100, 20))


def test_the_pair_screen_changes_layout_and_concept(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "p", "enter")
        await driver.shows("side by side")
        await driver.keys("v")
        await driver.shows("stacked")
        await driver.keys("v")
        await driver.shows("{+chosen only+}")
        await driver.keys("d", "p", "t")
        await driver.shows("no diff")
        await driver.until(lambda: driver.desk.place.about is not None)
        await driver.keys("J")
        await driver.shows("Pair  1")

    drive(world, scenario)


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


def test_rules_show_on_the_pages_of_what_they_touch(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("/")
        await driver.type("family:concepts")
        await driver.keys("enter")
        await driver.until(lambda: driver.desk.table.grid.n_rows == 8)
        await driver.keys("-", "g", "r")
        await driver.shows("prosect rules 1")
        await driver.keys("A")
        await driver.shows("Targets")
        await driver.keys("g", "h", "g", "g", "enter")
        await driver.shows("target of the rules")
        await driver.keys("j", "enter")
        await driver.shows("main.rules  kept")

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


def test_cancelling_stops_what_runs_and_leaves_the_rows(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("/")
        await driver.type("win>.5")
        await driver.keys("enter", "ctrl+c")
        await driver.shows("cancelled")
        assert not driver.desk.table.is_opening
        assert driver.desk.table.grid.n_rows > 0
        await driver.keys("j", "s")
        await driver.until(lambda: driver.desk.is_idle)
        assert driver.desk.table.grid.current is not None

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


def test_a_long_pair_is_laid_out_in_the_background_and_read_like_any_other(world: World) -> None:
    import duckdb

    text = " ".join(f"word{i * 7919 % 800}" for i in range(4_000))
    other = " ".join(f"word{i * 104729 % 800}" for i in range(4_000))
    with duckdb.connect(str(world.paths.index("world"))) as connection:
        connection.execute("UPDATE pairs SET chosen_text = ?, rejected_text = ?", [text, other])

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "p")
        await driver.until(lambda: driver.desk.is_idle)
        await driver.keys("enter")
        await driver.shows("CHOSEN")
        await driver.keys("J", "v")
        await driver.shows("Pair  1  stacked")
        await driver.until(lambda: "+ word0 word719" in driver.screen())

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


def test_from_a_list_the_next_record_is_the_lists_whatever_page_was_open_before(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("enter")
        await driver.shows("Top pairs")
        await driver.keys("enter")
        await driver.shows("of the page before")
        first = driver.desk.place.ident
        await driver.keys("g", "p")
        await driver.shows("Pairs")
        await driver.until(lambda: driver.desk.table.grid.current is not None)
        await driver.keys(*(first if first != "0" else ""), *("j" if first != "0" else ""))
        await driver.until(lambda: str(getattr(driver.desk.table.grid.current, "key", "")) == first)
        await driver.keys("enter")
        await driver.shows("CHOSEN")
        assert "of the page before" not in driver.screen()
        await driver.keys("J")
        await driver.until(lambda: driver.desk.place.ident == str(int(first) + 1))

    drive(world, scenario)


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


def test_a_page_says_which_lines_are_in_view_and_the_pane_beside_how_many_are_not(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.shows("more lines: enter")
        await d.keys("enter")
        await d.shows("lines 1–")
        n = len(d.desk.page.lines)
        await d.keys("G")
        await d.shows(f"lines {n - d.desk.page.size.height + 1}–{n} of {n}")
        await d.keys("g", "g", "ctrl+e")
        await d.shows(f"lines 2–{d.desk.page.size.height + 1} of {n}")

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
