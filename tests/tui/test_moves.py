"""Which statements move a concept: named in the plan and on its page, with numbers of whole plans."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import CompileError
from engine.live.browse import Browser
from engine.manifest import write_atomic
from engine.paths import ProjectPaths
from engine.records import Verdict
from engine.views.rules import ConceptShift, LeftOut, WithAndWithout
from engine.views.tables import Target
from tests.tui.driving import Driver, drive
from tests.worlds import World, make_world
from tui.format import UNICODE
from tui.views.moves import Moves, mover, moves_lines

FIRST = "prosect rules 1\n"
LONG = "long: drop where chosen.tokens > 60\n"
HALF = 'half: weight *= 0.1 where source == "alpha"\n'


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("moves") / "p", 90, 24)
    world.paths.rules_dir.mkdir()
    (world.paths.rules_dir / "main.rules").write_text(FIRST + LONG + HALF)
    return world


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    shutil.copytree(template.paths.root, tmp_path / "p")
    return replace(template, paths=ProjectPaths(tmp_path / "p"))


def means(world: World, text: str) -> dict[str, float]:
    """Concept to its mean under a rule text, from a plan of that text alone."""
    browser = Browser(world.paths)
    found = {s.name: s.mean_after for s in browser.plan_preview(text).shifts}
    browser.close()
    return found


def signed(value: float) -> str:
    """As it is shown, for a regular expression."""
    return re.escape(f"{value:+.3f}")


def left_out(name: str, line: int, with_it: float, without: float | None, n: int = 2) -> LeftOut:
    known = None if without is None else {"c": WithAndWithout(with_it, without)}
    return LeftOut(name, "drop", line, known, "", n)


SHIFT = ConceptShift("c", "praise", 0.1, -0.2, 0.6, 0.4, 30, False, False, False)


def texts(moves: Moves, width: int = 100) -> list[str]:
    lines = moves_lines(SHIFT, moves, width, UNICODE, is_expanded=False)
    return ["".join(text for text, _ in line.spans).rstrip() for line in lines]


def test_what_no_statement_does_alone_is_said_to_be_done_together() -> None:
    # the change is -0.3; one does -0.05, the other +0.01, so -0.26 is left
    moves = Moves().plus(left_out("few", 3, -0.2, -0.15)).plus(left_out("much", 2, -0.2, -0.21))
    found = texts(moves)
    assert [line.split()[:3] for line in found[2:4]] == [["line", "3", "few"], ["line", "2", "much"]]
    assert "-0.050  -0.150 without it → -0.200" in found[2]
    assert found[4].split() == ["only", "together", "-0.260"]
    assert mover(SHIFT, moves, 26)[0].split() == ["only", "together", "-0.260"]


def test_nothing_is_summed_up_before_every_statement_is_known() -> None:
    one = Moves().plus(left_out("few", 3, -0.2, -0.15))
    assert texts(one)[1:] == ["Moved by  1 of 2 statements looked at…"]
    assert mover(SHIFT, one, 26)[0].strip() == "…"
    broken = one.plus(left_out("needed", 4, 0.0, None))
    assert not any("together" in line for line in texts(broken))
    assert "without it the rest has no plan" in texts(broken)[3]


def test_plan_and_concept_name_the_statements_that_move_it(world: World) -> None:
    whole = means(world, FIRST + LONG + HALF)
    without = {"long": means(world, FIRST + HALF), "half": means(world, FIRST + LONG)}
    before = means(world, FIRST)

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "l")
        await driver.shows("what moves it most")
        await driver.until(lambda: driver.desk.doing.moves is not None and driver.desk.doing.moves.is_whole)
        rows = [line for line in driver.screen().splitlines() if line[3:].startswith("concept ")]
        assert len(rows) == len(whole)
        for row in rows:
            name = row[3:12]
            effects = {s: whole[name] - without[s][name] for s in without}
            effects["only together"] = whole[name] - before[name] - sum(effects.values())
            most = max(effects, key=lambda s: abs(effects[s]))
            assert re.search(rf"{most} +{signed(effects[most])}$", row.rstrip()), (row, effects)
        await driver.keys("j", "enter")
        await driver.shows("Moved by")
        await driver.shows("most by")
        name = driver.desk.page.lines[0].spans[0][0]
        for statement, line in (("long", 2), ("half", 3)):
            rest = without[statement][name]
            numbers = f"{signed(whole[name] - rest)}  {signed(rest)} without it"
            assert re.search(f"line {line} +{statement} +{numbers}", driver.screen())
        await driver.keys("/")
        await driver.type("line 2")
        await driver.keys("enter", "enter")
        await driver.until(lambda: driver.desk.place.view == "rules")
        assert driver.screen().count("▌") == 1
        assert re.search("▌ +2 +[0-9]+ long: ", driver.screen())

    drive(world, scenario, (120, 60))


def test_a_concept_says_what_moves_it_although_nobody_opened_the_rules(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("enter")
        await driver.shows("Moved by")
        await driver.shows("without it")
        assert driver.desk.place.view == "concept"
        await driver.keys("enter")  # opens what it opened before the rules were read
        await driver.until(lambda: driver.desk.place.view == "pair")

    async def without_rules(driver: Driver) -> None:
        await driver.keys("enter")
        await driver.until(lambda: driver.desk.place.view == "concept" and driver.desk.is_idle)
        assert driver.desk.doing.draft is None
        await driver.keys("g", "r")
        await driver.shows("no such file yet")

    drive(world, scenario, (120, 60))
    (world.paths.rules_dir / "main.rules").unlink()
    drive(world, without_rules)


def test_a_concept_follows_a_rule_file_that_others_change_and_asks_nothing_when_it_goes(world: World) -> None:
    path = world.paths.rules_dir / "main.rules"

    async def scenario(driver: Driver) -> None:
        await driver.keys("enter")
        await driver.shows("line 3   half")
        write_atomic(path, (FIRST + LONG).encode())
        await driver.shows("changed elsewhere and read again; u in the rules")
        await driver.until(lambda: "Moved by" in driver.screen() and "half" not in driver.screen())
        path.unlink()
        driver.desk.doing.watch_rules()
        await driver.until(lambda: driver.desk.is_idle)
        assert driver.desk.doing.unsaved_rules == ()
        await driver.keys("g", "r")
        await driver.shows("main.rules is gone")

    drive(world, scenario, (120, 60))


def test_at_eighty_columns_the_statement_stands_where_win_rates_did(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "l")
        await driver.until(lambda: driver.desk.doing.moves is not None and driver.desk.doing.moves.is_whole)
        await driver.keys("tab", "tab")
        await driver.shows("Collateral")
        rows = [line for line in driver.screen().splitlines() if line[3:].startswith("concept ")]
        assert rows
        assert all(re.search("(long|half|only together)$", row.rstrip()) for row in rows)

    drive(world, scenario, (80, 24))


def test_after_an_edit_the_new_text_is_looked_at(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        def names() -> list[str]:
            moves = driver.desk.doing.moves
            return [s.name for s in moves.found] if moves is not None and moves.is_whole else []

        await driver.keys("g", "r")
        await driver.until(lambda: names() == ["long", "half"])
        await driver.keys("j", "space")
        await driver.until(lambda: names() == ["half"])
        await driver.keys("u")
        await driver.until(lambda: names() == ["long", "half"])

    drive(world, scenario)


def test_a_verdict_since_the_plan_makes_it_anew(world: World) -> None:
    # held concepts change what matching does, although the text is the same
    (world.paths.rules_dir / "main.rules").write_text(FIRST + 'suppress @"concept 0" by matching\n')

    async def scenario(driver: Driver) -> None:
        doing = driver.desk.doing
        await driver.keys("g", "l")
        await driver.until(lambda: doing.moves is not None and doing.moves.is_whole)
        assert doing.preview is not None
        held = max((s for s in doing.preview.shifts if not s.is_target), key=lambda s: abs(s.change))
        target = Target("concept", held.concept_id, held.concept_id)
        driver.desk.reviewer.decide([target], Verdict.KEEP)
        await driver.until(lambda: driver.desk.reviewer.verdict(target.key) is Verdict.KEEP)
        await driver.until(lambda: driver.desk.is_idle)
        doing.moves = None
        doing.ask_moves()
        await driver.until(lambda: doing.moves is not None and doing.moves.is_whole)
        known = driver.desk.doing.moves
        assert known is not None
        (found,) = known.found
        now = doing.shift_of(held.concept_id)
        assert now is not None
        assert now.is_held
        assert found.means is not None
        assert found.means[held.concept_id].with_it == pytest.approx(now.mean_after)

    drive(world, scenario)


def test_a_question_that_was_cancelled_is_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Browser.left_out
    refused = [True]

    def left_out(self: Browser, text: str, number: int, file: str = "") -> LeftOut | None:
        if refused:
            refused.clear()
            raise CompileError("a bad day")
        return real(self, text, number, file)

    monkeypatch.setattr(Browser, "left_out", left_out)

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "l")
        await driver.shows("a bad day")
        await driver.keys("g", "h", "g", "l")
        await driver.until(lambda: driver.desk.doing.moves is not None and driver.desk.doing.moves.is_whole)
        driver.desk.doing.moves = None
        driver.desk.doing.ask_moves()
        driver.desk.session.cancel()
        driver.desk.doing.ask_moves()
        await driver.until(lambda: driver.desk.doing.moves is not None and driver.desk.doing.moves.is_whole)

    drive(world, scenario)
