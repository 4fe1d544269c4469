"""A key that has nothing to do says why; ``python -m tests.tui.every_key`` drives every key on every view."""

from pathlib import Path

from tests.tui.driving import Driver, drive
from tests.tui.every_key import VIEWS, silent_keys
from tests.tui.snapshots import make_project
from tests.worlds import World
from tui.places import Place

SOME = ("no hypotheses",)
"""A view on which many keys have nothing to do."""


def test_no_key_is_silent(tmp_path: Path) -> None:
    make_project(tmp_path / "p")
    assert silent_keys(tmp_path / "p", views={name: VIEWS[name] for name in SOME}) == []


def test_what_a_key_says_when_there_is_nothing_to_do(world: World) -> None:
    async def scenario(d: Driver) -> None:
        async def says(text: str, *keys: str) -> None:
            await d.keys(*keys)
            await d.shows(text)

        await says("this is the first row", "g", "g", "k")
        await d.keys("j", "ctrl+l")
        assert "nothing to do" not in d.screen()
        await d.keys("k")
        await says("marks are letters from a to z: 1 is none", "m", "1")
        await says("no mark 1", "'", "1")
        await says("there is no place before this one", "[")
        await says("these are the hypotheses already", "g", "h")
        await says("o (new-rule) means nothing here; it does on: rules", "o")
        await says("¤ means nothing; ? shows the keys", "¤")
        await d.keys("g", "p")
        await d.shows("Pairs")
        await says("only hypotheses are", "space")
        await d.keys("enter")
        await d.until(lambda: d.desk.place.view == "pair" and d.desk.detail is not None)
        await says("(suppress) is about a concept, and none is chosen: t chooses one", "-")
        await says("no concept is chosen whose activations could be lit", "a")
        await says("the whole prompt is shown", "p")
        await d.keys("g", "x", "j", "enter")
        await d.shows("its hypotheses as a list")
        await says("(suppress) is for hypotheses and concepts", "-")
        await d.keys("j", "j")
        await says("(name) is for hypotheses and concepts; enter opens the concept", "c")
        d.desk.go(Place("runs"))
        await d.until(lambda: d.desk.is_idle)
        await says("curves are on the page of a run", "}")
        await says("no pane to hide or show here", "z")

    drive(world, scenario, size=(80, 24))
