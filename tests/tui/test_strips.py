"""Token strips: levels by arithmetic, and how the pair page shows them when they come, late or never."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.live.browse import Browser
from engine.paths import ProjectPaths
from engine.views.strips import PairStrip, SpanStrip, StripFailure
from tests.tui.driving import Driver, drive
from tests.worlds import World, make_world
from tui.views.strip import char_levels, level, top_of
from tui.views.words import fold_words, marked_words, words_of


def span(tokens: Sequence[str], values: Sequence[float], name: str = "chosen") -> SpanStrip:
    return SpanStrip(name, tuple(tokens), (tuple(values),), is_truncated=False)


def test_levels_are_quarters_of_the_strongest_activation() -> None:
    # quarters of 8: (0, 2], (2, 4], (4, 6], (6, 8]
    assert [level(v, 8.0) for v in (0, 0.1, 2, 2.1, 4, 6, 6.1, 8)] == [0, 1, 1, 2, 2, 3, 4, 4]
    assert level(1.0, 0.0) == 0


def test_characters_take_the_level_of_their_token() -> None:
    text = "I'm sorry, no"
    strip = span(["I", "'m", " sor", "ry", ",", " no"], [0, 0, 4, 1, 0, 2])
    #              I'm_sor ry ,_ no
    assert char_levels(text, strip, 4.0) == [0, 0, 0, 0, 4, 4, 4, 1, 1, 0, 0, 2, 2]


def test_a_token_that_is_not_in_the_text_lights_nothing_and_loses_no_place() -> None:
    assert char_levels("ab cd", span(["<s>", "\ufffd", "ab", " cd"], [9, 9, 1, 2]), 4.0) == [1, 1, 0, 2, 2]


@given(
    st.lists(st.text(min_size=1, max_size=6), max_size=12),
    st.lists(st.floats(0, 9), max_size=12),
    st.text(max_size=40),
)
def test_any_tokens_fit_any_text(tokens: list[str], values: list[float], text: str) -> None:
    n = min(len(tokens), len(values))
    shown = "".join(words_of(text))
    levels = char_levels(shown, span(tokens[:n], values[:n]), 9.0)
    assert len(levels) == len(shown)
    words = marked_words(words_of(text), set(), "added", frozenset(), levels)
    assert "".join(part for word in words for part, _ in word) == shown
    fold_words(words, 10)


def test_both_responses_share_one_scale() -> None:
    spans = (
        span(["p"], [99.0], "prompt"),
        span(["a"], [2.0], "chosen"),
        span(["b"], [8.0], "rejected"),
    )
    assert top_of(PairStrip(0, (1,), spans)) == 8.0


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("strips") / "p", 90, 24)


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    shutil.copytree(template.paths.root, tmp_path / "p")
    return replace(template, paths=ProjectPaths(tmp_path / "p"))


class FakeStrips:
    """Answers after some questions."""

    def __init__(self, answer: PairStrip | StripFailure, n_waits: int) -> None:
        self.answer, self.n_waits, self.asked = answer, n_waits, 0

    def request(self, pair: int, _latents: Sequence[int]) -> PairStrip | StripFailure | None:
        """None at first."""
        self.asked += 1
        if self.asked <= self.n_waits:
            return None
        return replace(self.answer, pair=pair) if isinstance(self.answer, PairStrip) else self.answer


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> FakeStrips:
    """Stands in for the process that reads tokens."""
    fake = FakeStrips(StripFailure("not set"), 0)
    monkeypatch.setattr(Browser, "strips", property(lambda _: fake))
    return fake


async def open_a_pair(driver: Driver) -> None:
    await driver.keys("4", "G", "enter", "enter")
    await driver.shows("CHOSEN")


def test_peaks_are_there_at_once_and_tokens_when_they_were_read(world: World, reader: FakeStrips) -> None:
    words = ["number", "sorry", "help", "house"]
    strip = PairStrip(
        41,
        (0,),
        (span(words, [1.0, 2.0, 3.0, 4.0]), span(["river"], [0.0], "rejected")),
    )

    reader.answer, reader.n_waits = strip, 3

    async def scenario(driver: Driver) -> None:
        await open_a_pair(driver)
        await driver.shows("reading the tokens")
        assert "latent 1" in driver.screen()
        await driver.shows("fires at  0 to 1  1 to 2  2 to 3  3 to 4")
        lit = {text.strip(): role for line in driver.desk.page.lines for text, role in line.spans}
        assert [lit[w] for w in words] == ["peak1", "peak2", "peak3", "peak4"]
        await driver.keys("a")
        await driver.until(lambda: "fires at" not in driver.screen())
        await driver.keys("a")
        await driver.shows("fires at")

    drive(world, scenario)


def test_a_reader_that_is_gone_is_said_once_and_asked_again_on_request(
    world: World, reader: FakeStrips
) -> None:
    reader.answer = StripFailure("the model folder is gone", "put it back")

    async def scenario(driver: Driver) -> None:
        await open_a_pair(driver)
        await driver.shows("no tokens: the model folder is gone (put it back); R tries again")
        asked = reader.asked
        await driver.keys("J")
        await driver.until(lambda: driver.desk.is_idle)
        assert reader.asked == asked
        await driver.keys("K", "R")
        await driver.until(lambda: reader.asked > asked)

    drive(world, scenario)
