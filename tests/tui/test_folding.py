"""Texts of any length and script are folded in time that grows with them, and laid out as far as asked."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from engine.views.details import PairDetail
from tests.tui.test_pure import HOSTILE
from tui.drawing import is_quick
from tui.folding import cells, fold
from tui.format import UNICODE
from tui.lines import Line, PaneLine, shown, wrap_plain, wrapped
from tui.views.layouts import Layout, PairOptions
from tui.views.pair import pair_lines
from tui.views.responses import BRIEF_HEAD, HEAD, TEXTS
from tui.views.top_pairs import More
from tui.views.words import Word, fold_words, words_of
from tui.widgets.bars import Typing

UNBROKEN = {
    "ascii": "x", "accents": "é", "chinese": "中文字没有空格", "combining": "e\u0301",
    "no width": "\u0301", "emoji": "👩🏽", "words": "the word ", "lines": "a\n",
}  # fmt: skip
PAIR = PairDetail(
    1, "id", "s", "f", 3, "chosen", 4, 1, False, "prompt", "chosen", "rejected", 3, 9, 8, (), (), (), (), ()
)


def plain(text: str) -> list[Word]:
    return [((word, "text"),) for word in words_of(text)]


def fold_plain(text: str, width: int) -> list[Line]:
    return fold_words(plain(text), width)


def seconds(call: Callable[[], object]) -> float:
    def once() -> float:
        start = time.process_time()
        call()
        return time.process_time() - start

    return min(once() for _ in range(3))


@pytest.mark.parametrize("kind", sorted(UNBROKEN))
def test_ten_times_the_text_takes_about_ten_times_the_work(kind: str) -> None:
    short, long = ((UNBROKEN[kind] * n)[:n] for n in (8_000, 80_000))
    for folded in (wrap_plain, fold_plain):
        ratio = seconds(partial(folded, long, 58)) / max(seconds(partial(folded, short, 58)), 1e-4)
        assert ratio < 40, ratio  # one hundred where every line looks at all that is left


@given(text=HOSTILE, width=st.integers(2, 30))
def test_lines_hold_every_letter_in_order_and_fit(text: str, width: int) -> None:
    safe = shown(text)
    places = list(fold(safe, width))
    assert all(cell_len(safe[a:b]) <= width for a, b in places)
    assert "".join("".join(safe[a:b] for a, b in places).split()) == "".join(safe.split())
    assert all(b <= c for (_, b), (c, _) in pairwise(places))


@given(text=HOSTILE)
def test_a_text_that_is_safe_is_as_wide_as_the_framework_says(text: str) -> None:
    assert cells(shown(text)) == cell_len(shown(text))


def test_letters_without_a_width_stay_on_the_line_of_the_one_before() -> None:
    assert list(fold("e\u0301" * 4, 2)) == [(0, 4), (4, 8)]
    assert list(fold("ab", 0)) == [(0, 1), (1, 2)]  # a line holds one letter at least


def test_where_lines_end() -> None:
    assert wrap_plain("one two three", 7) == ["one two", "three"]
    assert wrap_plain("unbreakable", 4) == ["unbr", "eaka", "ble"]
    assert wrap_plain("see unbreakable", 7) == ["see", "unbreak", "able"]
    assert wrap_plain("    indented far", 8) == ["    inde", "nted far"]
    assert wrap_plain("", 8) == [""]
    assert wrap_plain("a\n\nb", 8) == ["a", "", "b"]


def test_chinese_fills_its_lines_and_no_line_begins_with_a_stop() -> None:
    assert wrap_plain("中文字没有空格", 6) == ["中文字", "没有空", "格"]
    assert wrap_plain("see 中文字", 8) == ["see 中文", "字"]
    assert wrap_plain("中文字。好", 6) == ["中文", "字。好"]


def test_lines_are_made_as_far_as_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def counted(text: str, width: int) -> object:
        for place in fold(text, width):
            seen.append(1)
            yield place

    monkeypatch.setattr("tui.lines.fold", counted)
    assert len(list(islice(wrapped("中" * 100_000, 40), 2))) == 2
    assert len(seen) == 2


def text_of(lines: list[PaneLine]) -> str:
    return "\n".join("".join(t for t, _ in line.spans) for line in lines)


@pytest.mark.parametrize("layout", list(Layout))
def test_a_long_response_says_how_much_is_left_and_shows_it_when_asked(layout: Layout) -> None:
    detail = replace(PAIR, chosen="c" * 100_000, rejected="r" * 30_000)
    options = PairOptions(layout)
    first = pair_lines(detail, options, 119, UNICODE)
    (line,) = [line for line in first if line.item == More(TEXTS)]
    assert text_of([line]) == (
        f"… {100_000 - HEAD:,} more characters of chosen, {30_000 - HEAD:,} more characters of rejected:"
        " enter shows all"
    )
    assert len(text_of(first)) < 3 * HEAD + 4_000
    whole = pair_lines(detail, options, 119, UNICODE, expanded=frozenset({TEXTS}))
    assert not any(line.item == More(TEXTS) for line in whole)
    assert text_of(whole).count("c") >= 100_000
    assert text_of(whole).count("r") >= 30_000


def test_a_pane_beside_the_list_lays_little_out_whatever_the_text() -> None:
    for text in (unit * (100_000 // len(unit)) for unit in UNBROKEN.values()):
        detail = replace(PAIR, chosen=text, rejected=text[:50_000], prompt=text)
        lines = pair_lines(detail, PairOptions(), 43, UNICODE, is_brief=True)
        assert len(text_of(lines)) < 4 * BRIEF_HEAD + 2_000
        assert "more characters of chosen" in text_of(lines)


def test_a_difference_that_takes_long_is_not_looked_for_while_the_keyboard_waits() -> None:
    detail = replace(PAIR, chosen="a " * 700, rejected="b a " * 350)
    assert not is_quick(detail)
    assert "words repeat too" in text_of(pair_lines(detail, PairOptions(), 43, UNICODE, is_brief=True))
    assert "words repeat" not in text_of(pair_lines(detail, PairOptions(), 119, UNICODE))
    assert is_quick(replace(PAIR, chosen="some other words", rejected="and some more"))


def test_a_long_line_that_was_pasted_is_shown_at_its_end() -> None:
    typing = Typing("/", "x" * 200_000 + "end")
    assert "".join(t for t, _ in typing.line(40)).rstrip().endswith("xend")


def test_of_a_folded_conversation_the_last_question_is_shown() -> None:
    """It is what the responses answer; what was said before is a key away, empty lines are no lines."""
    prompt = "system: Be brief.\n\nuser: Hello\n\nassistant: Hi\n\nuser: What is magma?\n\nIn short."
    for is_brief, way in ((False, "p"), (True, "enter")):
        lines = pair_lines(replace(PAIR, prompt=prompt), PairOptions(), 80, UNICODE, is_brief=is_brief)
        text = text_of(lines)
        assert f"PROMPT  3 tokens, 3 more lines: {way}\nuser: What is magma?\nIn short.\n" in text
        assert "Be brief" not in text
    opened = text_of(pair_lines(replace(PAIR, prompt=prompt), PairOptions(is_prompt_open=True), 80, UNICODE))
    assert "system: Be brief." in opened
    plain = text_of(pair_lines(replace(PAIR, prompt="one\n\ntwo\nthree"), PairOptions(), 80, UNICODE))
    assert "PROMPT  3 tokens, 1 more line: p\none\ntwo\n" in plain
