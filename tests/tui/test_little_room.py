"""What does not fit says so, is folded or is said shorter; what cannot be seen cannot be decided."""

import json
from dataclasses import replace

import pytest
from rich.cells import cell_len

from engine.errors import ProsectError
from engine.views.jobs import JobRow, JobState
from engine.views.scrutiny import ConceptScrutiny, PoolingEffect
from engine.views.tables import Interval
from tests.tui.driving import Driver, drive
from tests.tui.test_folding import text_of
from tests.tui.test_screens_hostile import concept
from tests.worlds import World
from tui import actions as act
from tui.edges import hint_line, too_small, which_key
from tui.format import UNICODE
from tui.lines import Span, to_strip
from tui.prompts import make
from tui.theme import PALETTES
from tui.views.concept import concept_lines
from tui.views.context import definition_words
from tui.views.jobs import job_line
from tui.views.layouts import Layout, PairOptions
from tui.views.scrutiny import scrutiny_lines


def drawn(line: list[Span], width: int, palette: str = "terminal", *, is_ascii: bool = False) -> str:
    strip = to_strip(line, width, replace(PALETTES[palette], is_ascii=is_ascii))
    return "".join(segment.text for segment in strip)


def test_every_cut_is_marked() -> None:
    assert drawn([("abcdef", "text")], 4) == "abc…"
    assert drawn([("abcd", "text")], 4) == "abcd"
    assert drawn([("abcd", "text"), ("e", "dim")], 4) == "abc…"
    assert drawn([("abcd", "text"), ("   ", "dim")], 4) == "abcd"
    assert drawn([("ab", "text"), ("    ", "dim")], 4) == "ab  "
    assert drawn([("中文字", "text")], 5) == "中文…"
    assert drawn([("中文", "text"), ("x", "text")], 4) == "中 …"
    assert drawn([("abcdef", "text")], 4, is_ascii=True) == "abc~"


@pytest.mark.parametrize("size", [(80, 24), (100, 30)])
def test_the_status_line_keeps_how_far_the_review_is(world: World, size: tuple[int, int]) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.until(lambda: driver.desk.coverage is not None and driver.desk.summary is not None)
        desk = driver.desk
        assert desk.coverage is not None
        assert desk.summary is not None
        desk.coverage = replace(
            desk.coverage, n_concepts=12_345, n_decided=1_234, n_called=1_072, undo_depth=417
        )
        desk.summary = replace(
            desk.summary, root="/a/long/folder/of/somebody", n_pairs=1_234_567, warning="w"
        )
        desk.draw_status()
        await driver.pilot.pause(0)
        status = driver.screen().splitlines()[0]
        for part in ("undo 417", "1,072 called", "decided 1,234/12,345", "g v"):
            assert part in status
        assert "…" not in status.replace("/a/long/fol…", "")

    drive(world, scenario, size)


def test_a_waiting_key_names_all_that_may_follow() -> None:
    following = [(key, name) for key, name in zip("ghxprlujtv", ("first", *["hypotheses"] * 9), strict=True)]
    text = "".join(t for t, _ in which_key("g", following, 80))
    assert len(text) <= 80  # also what stands behind the last name: the line would be cut for it
    assert all(f"{key} " in text for key, _ in following)
    assert "hypotheses" in "".join(t for t, _ in which_key("g", following, 160))
    for width in (44, 60):
        assert len("".join(t for t, _ in which_key("g", following, width))) <= width


def test_a_message_that_is_longer_than_the_screen_takes_more_lines_until_the_next_key(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.shows("0 verdicts")
        error = ProsectError("a defect " * 14, hint="please report it with logs/prosect-12345.log")
        driver.desk.complain(error)
        await driver.shows("logs/prosect-12345.log")
        await driver.keys("j")
        await driver.until(lambda: "prosect-12345" not in driver.screen())
        assert "keep" in driver.screen().splitlines()[-1]
        assert "Hypotheses" in driver.screen().splitlines()[1]

    drive(world, scenario, (80, 24))


def test_a_long_question_and_what_is_typed_take_more_lines(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.shows("0 verdicts")
        said: list[str] = []
        driver.desk.keyboard.ask_line(
            make("train on 635deec0e0b4: options " + "(--steps 200) " * 5, said.append)
        )
        await driver.type("--steps 4")
        await driver.shows("--steps 4")
        assert driver.screen().splitlines()[-1].rstrip().endswith("--steps 4")
        await driver.keys("enter")
        assert said == ["--steps 4"]
        await driver.until(lambda: "keep" in driver.screen().splitlines()[-1])
        assert "train on" not in driver.screen()

    drive(world, scenario, (80, 24))


def test_the_pane_beside_a_list_cuts_nothing_that_matters() -> None:
    detail = concept("tea")
    for width in (38, 46, 62, 78):
        text = text_of(concept_lines(detail, {}, width, UNICODE, is_brief=True))
        long = [line for line in text.splitlines() if cell_len(line.rstrip()) > width]
        assert not long
        assert "0.00 to 1.00" in text
        assert "differs" in text


def test_a_definition_is_said_in_words() -> None:
    said = definition_words('{"kind": "source", "source": "harbor"}')
    assert said == "every pair of the source harbor"
    assert "6 latents" in definition_words(
        json.dumps({"kind": "prompt_concept", "latents": [1, 2, 3, 4, 5, 6]})
    )
    assert definition_words("{}") == ""
    for kind in ("everywhere", "topic", "silent"):
        assert "{" not in definition_words(json.dumps({"kind": kind, "cluster": 2}))


@pytest.mark.parametrize("width", range(10, 60))
def test_the_notice_of_a_small_screen_fits_and_names_the_size(width: int) -> None:
    ((text, _),) = too_small(width, 40, 8)
    assert len(text) <= width
    assert "40x8" in text


@pytest.mark.parametrize("size", [(20, 5), (10, 24), (200, 4)])
def test_nothing_is_decided_on_a_screen_too_small_to_show_it(world: World, size: tuple[int, int]) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.shows("0 verdicts")
        await driver.pilot.resize_terminal(*size)
        await driver.shows("40x8")
        await driver.keys("=", "-", "+", "i", "/", "x", "enter", "j", "u")
        await driver.pilot.resize_terminal(80, 24)
        await driver.shows("0 verdicts")
        assert driver.desk.table.grid.cursor == 0
        assert driver.desk.keyboard.prompt is None
        await driver.keys("=")
        await driver.shows("1 verdict ")

    drive(world, scenario, (80, 24))
    assert len(world.paths.journal.read_text().splitlines()) == 1


def test_a_layout_says_why_it_is_skipped_and_inline_without_differences_is_stacked(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "p")
        await driver.until(lambda: driver.desk.table.grid.current is not None)
        await driver.keys("enter")
        await driver.shows("inline")
        assert "[-" in driver.screen()
        await driver.keys("d")
        await driver.shows("stacked, no diff")
        assert "[-" not in driver.screen()
        await driver.keys("v")
        await driver.shows("marked again")
        assert "[-" in driver.screen()
        await driver.keys("v")
        await driver.shows("side by side needs 90 columns, here are 79")
        await driver.shows("stacked")

    drive(world, scenario, (80, 24))


def test_inline_is_a_layout_of_differences() -> None:
    assert PairOptions(Layout.INLINE, is_diffed=False).layout_for(120) is Layout.STACK
    assert PairOptions(is_diffed=False).layout_for(80) is Layout.STACK
    assert PairOptions(is_diffed=False).layout_for(120) is Layout.SPLIT


def test_the_key_to_all_keys_stands_in_every_view_at_every_width() -> None:
    for scopes in (
        (act.GLOBAL, act.GRID, act.REVIEW),
        (act.GLOBAL, act.PAGE, act.RECORD, act.REVIEW),
        (act.GLOBAL, act.PAGE, act.PLAN, act.TRAIN, act.RULES),
    ):
        for width in (20, 40, 60, 80, 120, 200):
            text = "".join(part for part, _ in hint_line(scopes, width))
            assert "? keys" in text, (scopes, width)
            assert len(text) <= width, (scopes, width)


def test_ways_of_pooling_are_named_whole_where_there_is_room() -> None:
    interval = Interval(0.4, 0.5, 0.6)
    names = ("fire rate", "largest activation", "mean activation")
    poolings = tuple(PoolingEffect(name, False, interval, 0.0, False, interval, 0.0, False) for name in names)
    found = ConceptScrutiny(0.5, 0.36, poolings, 0.0, (), (), (), ())
    for width, bar in ((60, 15), (80, 19), (120, 25)):
        lines = scrutiny_lines(found, bar, width, UNICODE, is_called=True, expanded=frozenset())
        texts = ["".join(text for text, _ in line.spans) for line in lines]
        assert max(map(cell_len, texts)) <= width
        if width >= 80:
            assert all(any(f"pooled by {name} " in text for text in texts) for name in names)
            assert any("selected in 36% of random halves of the data" in text for text in texts)


def test_what_came_of_a_job_is_shown_whole_at_every_width() -> None:
    row = JobRow(
        "j", "compile", "compile a_rule_file_with_a_long_name.rules", JobState.FINISHED, "", 1, 1, "pairs",
        None, None, 4.0, "2026-11-29T20:00:00+00:00", "h", 1, "", (("shaped", "0123456789abcdef"),), False,
    )  # fmt: skip
    for width in (59, 79, 99, 119, 199):
        text = "".join(part for part, _ in job_line(row, width, UNICODE).spans)
        assert "→ shaped 0123456789ab" in text, width
        assert cell_len(text) <= width, width
        assert "compile a_rule" in text, width
        assert ("11-29 20:00" in text) == (width >= 70), width
