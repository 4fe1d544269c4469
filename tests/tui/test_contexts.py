"""Contexts: the one that holds every pair is no inside of anything, and numbers are those of the row."""

import json

from tests.tui.driving import Driver, drive
from tests.worlds import World


def test_a_concept_that_was_opened_from_everywhere_is_decided_on_everywhere(world: World) -> None:
    """The list of contexts begins with the one that holds all pairs; its page is no context's page."""

    async def scenario(d: Driver) -> None:
        await d.keys("g", "x", "enter")
        await d.shows("strongest evidence first")
        await d.keys("j", "enter")
        await d.until(lambda: d.desk.place.view == "concept" and d.desk.page_place == d.desk.place)
        await d.shows("Top pairs")
        assert "In everywhere" not in d.screen()
        assert d.desk.place.about is None
        await d.keys("=")
        await d.shows("= keep by ana")

    drive(world, scenario)
    (entry,) = [json.loads(line) for line in world.paths.journal.read_text().splitlines()]
    assert entry["target"]["kind"] == "concept"


def test_the_lines_below_a_list_say_the_numbers_of_the_row(world: World) -> None:
    """Of a hypothesis inside a context: those inside it, and the name of the context."""

    async def scenario(d: Driver) -> None:
        await d.keys("/")
        await d.type("context:tea")
        await d.keys("enter")
        await d.until(lambda: d.desk.is_idle and d.desk.side_detail is not None)
        await d.shows("in tea")
        detail = d.desk.side_detail
        inside, everywhere = getattr(detail, "inside", None), getattr(detail, "everywhere", None)
        assert inside is not None
        assert everywhere is not None
        assert inside.n_discordant != everywhere.n_discordant
        said = d.screen().splitlines()[-5:]
        assert any(f"{inside.n_discordant:,} discordant" in line for line in said)
        assert not any(f"{everywhere.n_discordant:,} discordant" in line for line in said)

    drive(world, scenario, size=(80, 24))


def test_a_context_says_whether_anything_differs_in_it(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys("g", "x", "j", "enter")
        await d.shows("its pairs as a list")
        await d.until(lambda: d.desk.detail is not None)
        called = [c for c in getattr(d.desk.detail, "concepts", ()) if c.here.is_differs_call]
        said = f"{len(called):,} differ" if called else "none differs from everywhere beyond chance"
        await d.shows(said)

    drive(world, scenario)


def test_the_hypotheses_of_a_context_are_a_list_to_decide_on(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys("g", "x", "/")
        await d.type("tea")
        await d.keys("enter", "enter")
        await d.shows("its hypotheses as a list, to decide on")
        await d.until(lambda: d.desk.is_idle)
        await d.keys("j", "enter")
        await d.until(lambda: d.desk.place.view == "hypotheses" and d.desk.is_idle)
        await d.shows('Hypotheses  / in "tea"')
        grid = d.desk.table.grid
        rows = [row for n in range(grid.n_rows) if (row := grid.row(n)) is not None]
        contexts = {row.values[grid.spec.index("context")] for row in rows}
        assert contexts == {"tea"}
        await d.keys("-")
        await d.until(lambda: len(d.desk.reviewer.held) == 1)

    drive(world, scenario)
    (entry,) = [json.loads(line) for line in world.paths.journal.read_text().splitlines()]
    assert entry["target"]["kind"] == "hypothesis"
