"""The filter line completes columns and values; the menu of facets is a menu."""

import pytest

from tests.tui.driving import Driver, drive
from tests.worlds import World
from tui.filter_text import ValuePart, joined, value_part


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("source:", ValuePart("source:", "source", "")),
        ("win>.6 !Context=te", ValuePart("win>.6 !Context=", "context", "te")),
        ('badge:"only wi', ValuePart("badge:", "badge", "only wi")),
        ("context:tea,co", ValuePart("context:tea,", "context", "co")),
        ('context:"a, b",co', ValuePart('context:"a, b",', "context", "co")),
        ("context:tea,", ValuePart("context:tea,", "context", "")),
        ('context:"a \\"b', ValuePart("context:", "context", 'a "b')),
        ("source:web ", None),
        ("win>.6", None),
        ("words", None),
        ("", None),
    ],
)
def test_the_value_at_the_end_of_a_filter(text: str, expected: ValuePart | None) -> None:
    assert value_part(text) == expected


def test_terms_of_one_column_join() -> None:
    assert joined("context", ["context=tea", 'context="a b"', "context:none"]) == 'context=tea,"a b",none'
    assert joined("fold", ["fold=1", "fold=100"]) == "fold=100,1"
    assert joined("tokens", ["tokens=100", "tokens=200"]) == ""
    assert joined("win", ["win>=.1 win<.2", "win>=.2 win<.3"]) == ""


def test_tab_completes_values_and_quotes_them_where_needed(world: World) -> None:
    async def scenario(d: Driver) -> None:
        async def filters_to(*offers: str) -> None:
            for offer in offers:
                await d.keys("tab")
                await d.shows(f"/{offer}")

        await d.keys("/", *"context:")
        await d.shows("tab: ")
        await d.keys(*"te")
        await d.shows("tab: tea")
        await filters_to("context:tea")
        await d.keys(*",co")
        await filters_to("context:tea,code")
        await d.keys("enter")
        await d.until(lambda: d.desk.table.grid.n_rows == 16)
        await d.keys("/", "ctrl+u", *"badge:o", "tab")
        await d.shows('/badge:"only with length"')
        await d.keys("enter", "/", "ctrl+u", *"verdict:", "tab", "tab")
        await d.shows("/verdict:suppress")
        await d.keys("ctrl+u", *"called:", "tab")  # before the values are here
        await d.shows("/called:yes")
        await d.keys("escape", "escape", "g", "p")
        await d.shows("Pairs")
        await d.keys("/", *"source:b", "tab")
        await d.shows("/source:beta")
        await d.keys("enter")
        await d.shows("source:beta")

    drive(world, scenario)


def test_facets_go_round_columns_and_several_values_are_taken_at_once(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys(":", *"facets context", "enter")
        await d.shows("█")
        await d.keys("right", "left")
        await d.shows("context: ")
        await d.keys(*"e", "tab", "tab", "enter")
        await d.until(lambda: d.desk.table.grid.n_rows == 16)
        assert d.desk.table.wish.filter_text == "context=code,everywhere"
        await d.keys("F", "right")
        await d.until(lambda: d.desk.place.ident == "concept")
        await d.keys("escape")
        await d.until(lambda: d.desk.place.is_table)
        await d.keys(":", *"facets nothing", "enter")
        await d.shows("no column nothing to count")

    drive(world, scenario)


def test_facets_of_an_interval_are_those_of_its_number_and_come_once(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys(*":facets taught", "enter")
        await d.until(lambda: d.desk.place.view == "facets")
        await d.shows("Values of  win")
        await d.keys("right")
        await d.shows("Values of  equal_win")
        await d.keys("left", "left")
        await d.shows("Values of  context")

    drive(world, scenario)


def test_what_a_filter_takes_is_said_whole_at_every_width(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys("/")
        await d.shows("column:text, column>number, !term; tab completes")

    for width in (80, 120):
        drive(world, scenario, size=(width, 24))
