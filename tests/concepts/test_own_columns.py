"""Columns that a person defines: counted like the built-in ones, checked before anything is read."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api import sample_folder
from engine.concepts.surface import (
    COUNTERS,
    PATTERNS,
    count_matches,
    own_patterns,
    surface_columns,
    text_column,
)
from engine.concepts.texts import PairTexts
from engine.errors import SettingsError
from engine.patterns import search
from engine.settings import ConceptSettings
from engine.settings_file import apply
from tests.worlds import make_readings


def test_matches_are_counted_on_every_span() -> None:
    own = own_patterns({"apology": "/sorry|apolog/i", "unused": "/zzz/"})
    texts = PairTexts(["Say sorry"], ["Sorry, so sorry. I apologise."], ["No."])
    columns = {column.name: column for column in surface_columns(make_readings(1, 3), texts, own)}
    assert columns["@apology"].chosen.tolist() == [math.log(1 + 3)]
    assert columns["@apology"].rejected.tolist() == [0.0]
    assert columns["@apology"].prompt.tolist() == [math.log(1 + 1)]
    assert "@unused" not in columns  # nothing to test


@given(st.lists(st.text(alphabet="aAbé\n \ud800", max_size=30), max_size=5))
def test_counting_agrees_with_another_engine(texts: list[str]) -> None:
    expected = [math.log1p(len(re.findall("(?i)ab?", text))) for text in texts]
    assert count_matches(texts, "(?i)ab?").tolist() == pytest.approx(expected)
    other = text_column("@x", texts, np.zeros(len(texts), np.int64), {"@x": "(?i)ab?"})
    assert other is not None
    assert other.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"Apology": "/a/"}, "no name for a column"),
        ({"two words": "/a/"}, "no name for a column"),
        ({"links": "/a/"}, "built in"),
        ({"length": "/a/"}, "built in"),
        ({"apology": "sorry"}, "apology: a pattern stands between slashes"),
        ({"apology": "/(/"}, "apology: not an RE2 expression"),
        ({"apology": "/x*/"}, "matches an empty text"),
    ],
)
def test_mistakes_name_the_column(columns: dict[str, str], why: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(why)):
        own_patterns(columns)


def test_a_table_of_texts_is_a_setting() -> None:
    settings = apply(ConceptSettings(), {"columns": {"apology": "/sorry/"}}, "here: [concepts]")
    assert settings.columns == {"apology": "/sorry/"}
    with pytest.raises(SettingsError, match="here: \\[concepts\\] columns must be a table of texts"):
        apply(ConceptSettings(), {"columns": {"apology": 3}}, "here: [concepts]")


def test_marks_of_built_in_columns_stand_where_they_are_counted() -> None:
    """On the sample's own responses every built-in pattern matches as often as its column counts."""
    files = sorted((sample_folder() / "pairs").glob("*.jsonl"))
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    texts = [
        m["content"] for line in lines[::5] for m in json.loads(line)["chosen"] if m["role"] == "assistant"
    ]
    assert len(texts) > 200
    for name, pattern in PATTERNS.items():
        per_match = 2 if name == "@code_blocks" else 1  # marks are the fences, counted are blocks
        found = [len(search(pattern).findall(text)) // per_match for text in texts]
        assert found == [COUNTERS[name](text) for text in texts], name


def test_counting_goes_on_over_blocks() -> None:
    counts = count_matches(["a a", "b"] * 4097, "a")
    assert counts.tolist() == [math.log(3), 0.0] * 4097
