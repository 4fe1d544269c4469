"""Names that a language model proposed, as a person meets them in the workstation."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from engine.naming.labels import Labels
from engine.naming.proposals import Proposals
from engine.store.build import current_index
from engine.views.names import LatentLabel, NameProposal, Recognition
from tests.tui.driving import Driver, drive
from tests.tui.test_pure import HOSTILE, UNSAFE
from tests.worlds import World
from tui.lines import to_strip
from tui.review import target_of
from tui.theme import PALETTES
from tui.views.proposals import imported_lines, proposal_lines

GOOD = Recognition(10, 10, 9, 9, 0.0005, 0.01, 0.7513, 0.9987, are_silent=True)
POOR = Recognition(10, 10, 12, 6, 0.675, 0.01, 0.2, 0.7, are_silent=False)


@pytest.fixture(autouse=True)
def _is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits two seconds for a look."""
    monkeypatch.setattr("tui.desk.WATCH_S", 0.2)


def propose(world: World, concept_id: str, name: str, found: Recognition | None = GOOD) -> None:
    """What another process leaves behind that was answered."""
    kept = Proposals(world.paths.proposals)
    ident = f"p{len(kept.every)}"
    described = f"{name} \x1b[2J stands here"
    kept.add(
        NameProposal(
            ident, concept_id, name, described, "some-model", "http://x/v1", "2026-01-02T03:04:05+00:00", "w",
            "world", 12,
        )
    )  # fmt: skip
    if found is not None:
        kept.settle(ident, found)


def concept_at(d: Driver, row: int = 0) -> str:
    """The concept that a row of the list is about."""
    found = d.desk.table.grid.row(row)
    assert found is not None
    return target_of(found, d.desk.table.grid.spec).concept_id


def first_concept(world: World) -> str:
    """The concept of the first row."""
    found: list[str] = []

    async def look(d: Driver) -> None:
        found.append(concept_at(d))

    drive(world, look)
    return found[0]


def test_a_proposed_name_is_marked_wherever_it_is_shown(world: World) -> None:
    propose(world, first_concept(world), "merry endings")

    async def scenario(d: Driver) -> None:
        await d.shows("? merry endings")
        await d.keys("enter")
        await d.shows("by some-model, 2026-01-02, from 12 excerpts")
        screen = d.screen()
        assert "Concept  ? merry endings" in screen
        assert "proposed name   merry endings" in screen
        assert "recognised      19 of 20 excerpts told right by the name alone [75%, 100%] p <.001" in screen
        assert "merry endings <ESC>[2J stands here" in screen

    drive(world, scenario)


def test_a_name_that_was_not_recognised_is_on_its_page_only(world: World) -> None:
    propose(world, first_concept(world), "vague mood", POOR)

    async def scenario(d: Driver) -> None:
        await d.until(lambda: d.desk.is_idle)
        assert "vague mood" not in d.screen()  # neither in the list nor beside it
        await d.keys("c")
        await d.shows("name: ")
        assert "vague mood" not in d.screen()
        await d.keys("escape", "enter")
        await d.shows("proposed name   vague mood")
        # 6 hits, and 12 − 6 = 6 false alarms leave 4 of the 10 others
        assert "not recognised  10 of 20" in d.screen()
        assert "against responses with least of it" in d.screen()
        assert "p is above the level 0.01: lists do not show it" in d.screen()
        assert "? vague mood" not in d.screen()
        await d.keys("c")
        await d.shows("name: vague mood")  # who reads the page may still take it

    drive(world, scenario)


def test_a_name_that_nobody_tested_says_so(world: World) -> None:
    propose(world, first_concept(world), "half done", None)

    async def scenario(d: Driver) -> None:
        await d.until(lambda: d.desk.is_idle)
        assert "half done" not in d.screen()
        await d.keys("enter")
        await d.shows("not tested")

    drive(world, scenario)


def test_the_naming_key_starts_from_the_proposal_and_a_given_name_wins(world: World) -> None:
    propose(world, first_concept(world), "merry endings")

    async def scenario(d: Driver) -> None:
        await d.shows("? merry endings")
        await d.keys("c")
        await d.shows("name: merry endings")
        await d.type(" indeed")
        await d.keys("enter")
        await d.until(lambda: "? merry endings" not in d.screen() and "merry endings indeed" in d.screen())
        assert d.desk.session.project.names() == {concept_at(d): "merry endings indeed"}
        await d.keys("c")
        await d.shows("name: ")
        assert "name: merry" not in d.screen()
        await d.keys("escape", "u")
        await d.shows("? merry endings")

    drive(world, scenario)


def test_a_named_concept_says_its_label_too(world: World) -> None:
    """Runs and shaped datasets from before still call it so."""

    async def scenario(d: Driver) -> None:
        grid = d.desk.table.grid
        label = str(getattr(grid.current, "values", ())[grid.spec.index("concept")])
        await d.keys("c")
        await d.type("merry endings")
        await d.keys("enter", "enter")
        await d.shows("Concept  merry endings")
        await d.shows(f"label {label} from ")

    drive(world, scenario)


def test_a_name_proposed_by_another_process_shows_without_a_key(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.until(lambda: d.desk.is_idle)
        propose(world, concept_at(d, 2), "merry endings")
        await d.shows("? merry endings")
        await d.keys("enter")
        await d.until(lambda: d.desk.is_idle and not d.desk.place.is_table)
        propose(world, concept_at(d), "vague mood", POOR)
        await d.shows("proposed name   vague mood")  # pages follow, too

    drive(world, scenario)


def test_rows_stay_until_those_with_new_names_are_here(world: World) -> None:
    async def scenario(d: Driver) -> None:
        grid = d.desk.table.grid
        ident, before = concept_at(d), grid.current
        d.desk.session.project.set_name(ident, "another name")
        grid.fetch_again()
        assert grid.current == before  # nothing waits for an empty row, and no key is held back
        await d.until(lambda: grid.current is not None and grid.current.values[1] == "another name")
        assert "another name" in d.screen()

    drive(world, scenario)


def test_labels_imported_by_another_process_show_on_the_page_only(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.until(lambda: d.desk.is_idle)
        project, ident = d.desk.session.project, concept_at(d)
        latent = project.concept(ident).latents[0]
        await d.keys("enter")
        await d.until(lambda: d.desk.is_idle and not d.desk.place.is_table)
        reader = current_index(world.paths).reader_hash  # that world does not say which SAE it has
        label = LatentLabel(latent, "[red]hot\x1b[2J drinks", "m", "theirs.jsonl")
        Labels(world.paths.labels).add(reader, label.file, "0", "now", (label,))
        await d.shows("label from theirs.jsonl, untested")
        assert f"#{latent}" in d.screen()
        assert "[red]hot<ESC>[2J drinks" in d.screen()
        await d.keys("q")
        await d.until(lambda: d.desk.place.is_table and d.desk.is_idle)
        assert "hot" not in d.screen()

    drive(world, scenario)


@given(HOSTILE, st.sampled_from([8, 30, 44, 79, 199]), st.booleans())
@settings(max_examples=25)
def test_a_file_that_holds_anything_draws_clean_lines(text: str, width: int, is_brief: bool) -> None:
    found = replace(POOR, p=0.001) if is_brief else POOR
    proposal = NameProposal("p", "c", text, text, text, text, text, "w", "i", 12, found)
    lines = proposal_lines(proposal, width, is_brief=is_brief)
    lines += proposal_lines(replace(proposal, tested_by=text), width, is_brief=is_brief)
    lines += imported_lines([LatentLabel(2**31, text, text, text)], width)
    for line in lines:
        shown = "".join(segment.text for segment in to_strip(line, width, PALETTES["terminal"]))
        assert not UNSAFE & set(shown)
        assert cell_len(shown) == width


@pytest.mark.parametrize("size", [(80, 24), (60, 24), (200, 60)])
def test_lines_about_a_proposal_fit_the_screen(world: World, size: tuple[int, int]) -> None:
    propose(world, first_concept(world), "a name that is as long as names may be, sixty cells in all")

    async def scenario(d: Driver) -> None:
        await d.until(lambda: d.desk.is_idle)
        await d.keys("enter")
        await d.shows("19 of 20")
        await d.shows("[75%, 100%]")

    drive(world, scenario, size)
