"""Offers at the cursor."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rules.complete import complete
from tests.rules.test_checking import CATALOGUE
from tests.rules.test_parsing import FILE


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("prosect rules 1\nsup", "suppress"),
        ("prosect rules 1\n", "drop"),
        ("prosect rules 1\nx: dr", "drop"),
        ("prosect rules 1\ndrop, ta", "tag"),
        ("prosect rules 1\ndrop where del", "delta("),
        ("prosect rules 1\ndrop where delta(@so", "@sorry"),
        ("prosect rules 1\ndrop where delta(@", '@"bold · lists"'),
        ("prosect rules 1\ndrop where delta(@lis", '@"bold · lists"'),
        ("prosect rules 1\nconcept mine = #1\ndrop where delta(@mi", "@mine"),
        ("prosect rules 1\ndrop where meta.ra", "meta.rating"),
        ("prosect rules 1\ndrop where chosen.to", "chosen.tokens"),
        ("prosect rules 1\nlet longer = true\ndrop where lon", "longer"),
        ("prosect rules 1\ndrop where con", 'context("tea")'),
        ("prosect rules 1\ndrop where sou", "source"),
    ],
)
def test_what_fits_is_offered(text: str, offered: str) -> None:
    found = complete(text, len(text), CATALOGUE)
    assert offered in [c.text for c in found]
    chosen = next(c for c in found if c.text == offered)
    assert text[chosen.start :].strip('@"').lower() in offered.lower()


def test_a_filter_prompt_offers_no_verbs() -> None:
    assert "drop" not in [c.text for c in complete("", 0, CATALOGUE, is_condition=True)]
    assert "source" in [c.text for c in complete("so", 2, CATALOGUE, is_condition=True)]


def test_nothing_is_offered_inside_a_string() -> None:
    text = 'prosect rules 1\ndrop where source == "al'
    assert complete(text, len(text), CATALOGUE) == ()


@given(st.integers(0, len(FILE)))
def test_any_cursor_is_fine(cursor: int) -> None:
    complete(FILE, cursor, CATALOGUE)
