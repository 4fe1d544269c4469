"""What a filter means, and that a slip is said instead of matching nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import StoreError
from engine.store.filters import parse_filter, text_term
from engine.store.grids import HYPOTHESES, PAIRS

COLUMNS = HYPOTHESES.filter_columns()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("win>60", "`win` is a share from 0 to 1: it is never 60", "win>60%"),
        ("win >.6", "`>.6` has no column before it", 'write column>.6, or ">.6" to look for the text'),
        ('concept:"two words', 'the quote in `"two words` is not closed', "quotes come in pairs"),
        ('"', 'the quote in `"` is not closed', "quotes come in pairs"),
        ("!", "`!` inverts the term after it", "for example !verdict:none"),
        ("verdict:kepp", "there is no verdict `kepp`", "keep, suppress, amplify, ignore, none"),
        ("badge:boht", "`badge` is never `boht`", "did you mean `both`?"),
        ("!badge=zzz", "`badge` is never `zzz`", "values: both, only with length, masked by length"),
        ("kind:latent,clutser", "`kind` is never `clutser`", "did you mean `cluster`?"),
        ("wim>.6", "there is no column `wim`", "did you mean `win`?"),
        ("carry>=200%", "`carry` is a share from 0 to 1: it is never 200%", "carry>=60%"),
        ("discordant>60%", "`discordant` is a count, not a share: 60%", "discordant>60"),
        ("!!badge:both", "`!` stands once: `!badge:both`", "write !badge:both"),
        ("-badge:both", "`!` inverts a term, not `-`: `-badge:both`", "write !badge:both"),
    ],
)
def test_a_slip_is_said(text: str, message: str, hint: str) -> None:
    with pytest.raises(StoreError) as caught:
        parse_filter(text, COLUMNS)
    assert caught.value.message == message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("WIN>.6", "win>.6"),
        ("win>60%", "win>.6"),
        ('concept:"sorry"', "concept:sorry"),
        ("Carry<1%", "carry<.01"),
        ("q<1e-3", "q<.001"),
        ("discordant>1,500", "discordant>1500"),
        ("badge!=both", "!badge=both"),
        ("badge!:both", "!badge:both"),
        ("!badge!:both", "badge:both"),
        ("badge:none", "badge:neither"),
        ("badge:len", 'badge:"only with length"'),
        ("context:all", "context:everywhere"),
    ],
)
def test_two_ways_to_write_one_filter(text: str, same: str) -> None:
    assert parse_filter(text, COLUMNS) == parse_filter(same, COLUMNS)


@pytest.mark.parametrize(
    "text", ["", "win>=1", "win<0", "verdict:keep,ignore", "verdict:none", '">.6"', "discordant>=2k"]
)
def test_what_makes_sense_is_taken(text: str) -> None:
    parse_filter(text, COLUMNS)


def test_words_are_looked_for_in_the_columns_that_say_so() -> None:
    for grid in (HYPOTHESES, PAIRS):
        searched = {c.spec.name for c in grid.columns if c.spec.is_searched}
        assert searched
        assert parse_filter("sorry", grid.filter_columns()).columns == searched


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_a_value_is_found_by_its_own_term_whatever_it_holds(value: str) -> None:
    term = text_term("concept", value)
    (asked,) = parse_filter(term, COLUMNS).asked
    assert (asked.column, asked.operator, asked.value) == ("concept", "=", value.lower())


def test_none_among_several_values_is_undefined() -> None:
    condition = parse_filter("verdict:keep,none", COLUMNS)
    assert "IS NULL" in condition.sql
    assert condition.parameters == ("keep",)
