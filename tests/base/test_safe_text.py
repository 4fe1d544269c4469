"""Dataset text must never drive or deceive a terminal, and an auditor must see what was there."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from engine.safe_text import is_printable_name, one_line, sanitise

hostile = st.text(alphabet=st.characters(codec=None, categories=None), max_size=200) | st.sampled_from(
    [
        "\x1b]52;c;aGk=\x07",
        "\x1b[2J",
        "\u202etxt.exe",
        "\x9b31m",
        "a\x00b",
        "\ud800",
        "[/INST] [red]",
        "\ufeffx",
    ]
)


@given(hostile)
def test_no_control_or_direction_character_survives(text: str) -> None:
    shown = sanitise(text)
    for char in shown:
        assert char == "\n" or unicodedata.category(char) not in ("Cc", "Cs"), repr(char)
        assert unicodedata.bidirectional(char) not in (
            "LRE",
            "RLE",
            "LRO",
            "RLO",
            "PDF",
            "LRI",
            "RLI",
            "FSI",
            "PDI",
        )


@given(hostile)
def test_sanitising_twice_changes_nothing_more(text: str) -> None:
    assert sanitise(sanitise(text)) == sanitise(text)


@given(hostile, st.integers(1, 60))
def test_one_line_is_one_line_within_its_limit(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert "\n" not in line
    assert len(line) <= limit


def test_dangerous_characters_become_visible_tokens() -> None:
    assert sanitise("\x1b[31mred\x07\u202e") == "<ESC>[31mred<BEL><U+202E>"


def test_ordinary_text_in_any_script_is_untouched() -> None:
    text = "Naïve café, 你好, שלום, 👩\u200d💻, tab→"
    assert sanitise(text) == text


def test_a_megabyte_line_costs_no_more_than_its_cell() -> None:
    assert one_line("x" * 1_000_000, 10) == "x" * 9 + "…"


def test_names_with_controls_or_newlines_are_refused() -> None:
    assert is_printable_name("hedges before refusing")
    assert not is_printable_name("a\nb")
    assert not is_printable_name("\x1b[2J")
    assert not is_printable_name("  ")
