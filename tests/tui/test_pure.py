"""Formatting, lines, cells and the prefix machine: pure functions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from engine.errors import SettingsError
from engine.store.grids import GRIDS
from engine.views.tables import ColumnKind, ColumnSpec, GridRow, Interval
from tui import format as fmt
from tui.actions import ACTIONS, GLOBAL, GRID, PAGE, PAIR, REVIEW, bindings, key_card
from tui.cells import cell, columns_for, row_line, title_line
from tui.charts import curve, smooth
from tui.format import ASCII, UNICODE
from tui.framing import WIDE
from tui.lines import fit, shown, to_strip, width_of, wrap_plain
from tui.moving import FILTER_DELAY_S, READING_DELAY_S, pause_s
from tui.prefix import Matched, PrefixMachine, Unknown, Waiting
from tui.theme import PALETTES, ROLES, choose_palette
from tui.views.words import fold_words, marked_words, words_of
from tui.widgets.bars import Typing

PIECES = st.one_of(
    st.text(st.characters(), max_size=8),
    st.sampled_from("\x1b\x07\x00\x9b\u202e\u200b\u200d\ufeff\U000e0041[]\n\t\r中👩🏽e\u0301"),
    st.sampled_from(["\x1b[2J", "[/INST]", "[red]", "\x1b]52;c;eA==\x07", "👩\u200d👩\u200d👧", "word "]),
)
HOSTILE = st.lists(PIECES, max_size=14).map("".join)
UNSAFE = set(map(chr, range(32))) | {"\x7f", "\u202e", "\u200b", "\ufeff"} | set(map(chr, range(0x80, 0xA0)))


@given(text=HOSTILE)
def test_nothing_that_drives_a_terminal_is_ever_shown(text: str) -> None:
    assert not UNSAFE & set(shown(text))


@given(text=HOSTILE, width=st.integers(1, 50))
def test_a_fitted_text_has_exactly_its_width(text: str, width: int) -> None:
    assert cell_len(fit(text, width)) == width
    assert cell_len(fit(text, width, right=True)) == width


@given(texts=st.lists(HOSTILE, max_size=5), width=st.integers(1, 80), name=st.sampled_from(sorted(PALETTES)))
def test_a_strip_has_exactly_its_width_and_a_style_everywhere(
    texts: list[str], width: int, name: str
) -> None:
    strip = to_strip([(t, ROLES[i]) for i, t in enumerate(texts)], width, PALETTES[name])
    assert sum(cell_len(s.text) for s in strip) == width
    assert all(s.style is not None for s in strip)
    assert not UNSAFE & set("".join(s.text for s in strip))


@given(text=HOSTILE, width=st.integers(2, 40))
def test_folded_lines_fit_and_lose_no_visible_character(text: str, width: int) -> None:
    lines = wrap_plain(text, width)
    assert all(cell_len(line) <= width for line in lines)
    folded = fold_words([((w, "text"),) for w in words_of(text)], width)
    assert all(width_of(line) <= width for line in folded)


def test_joiners_hide_nothing_outside_emoji() -> None:
    assert shown("sor\u200dry") == "sor<U+200D>ry"
    assert shown("👩\u200d👧") == "👩👧"
    (word,) = marked_words(["👩\u200d👧"], set(), "added", frozenset(), [2, 0, 3])
    assert [(shown(text), role) for text, role in word] == [("👩", "peak2"), ("👧", "peak3")]


def test_numbers_are_short_and_undefined_is_a_dash() -> None:
    assert [fmt.share(v) for v in (0.637, 1.0, None)] == ["63.7", "100.0", "–"]
    assert [fmt.q_value(v) for v in (0.0004, 0.034, 1.0, None)] == ["<.001", ".034", "1.000", "–"]
    assert [fmt.compact(v) for v in (812, 24_310, 1_250_000)] == ["812", "24.3k", "1.2M"]
    assert [fmt.compact(v) for v in (9_999, 10_000, 99_940, 99_960)] == ["9999", "10.0k", "99.9k", "100k"]
    assert [fmt.compact(v) for v in (250_000, 999_499, 999_600)] == ["250k", "999k", "1.0M"]
    assert [fmt.compact(v) for v in (-250_000, 250e6, 25e9, 1e12)] == ["-250k", "250M", "25.0G", "1e+12"]
    assert [fmt.signed(v) for v in (0.412, -3, 12345.0)] == ["+0.41", "-3", "+12,345"]


def test_an_interval_bar_puts_its_point_where_the_axis_says() -> None:
    # width 11 over ¼ … ¾: cell k stands for ¼ + k · 0.05
    assert fmt.interval_bar(Interval(0.55, 0.60, 0.65), 11, UNICODE) == "     ┊─●─  "
    assert fmt.interval_bar(Interval(0.45, 0.50, 0.55), 11, UNICODE) == "    ─○─    "
    assert fmt.interval_bar(Interval(0.45, 0.55, 0.65), 11, ASCII) == "    -+o--  "
    assert fmt.interval_bar(Interval(0.20, 0.25, 0.30), 11, ASCII) == "*-   :     "
    assert fmt.interval_bar(Interval(None, None, None), 11, UNICODE) == "–    ┊     "


def test_an_estimate_beyond_the_axis_does_not_look_like_one_at_its_end() -> None:
    def bars(interval: Interval) -> list[str]:
        return [fmt.interval_bar(interval, 11, glyphs) for glyphs in (UNICODE, ASCII)]

    assert bars(Interval(0.65, 0.70, 0.75)) == ["     ┊  ─●─", "     :  -*-"]  # it ends where the axis does
    assert bars(Interval(0.25, 0.30, 0.35)) == ["─●─  ┊     ", "-*-  :     "]
    assert bars(Interval(0.65, 0.75, 0.80)) == ["     ┊  ──●", "     :  --*"]
    assert bars(Interval(0.65, 0.7501, 0.80)) == ["     ┊  ──▸", "     :  --}"]
    assert bars(Interval(0.45, 1.0, 1.0)) == ["    ─┼────▹", "    -+----)"]
    assert bars(Interval(0.10, 0.20, 0.30)) == ["◂─   ┊     ", "{-   :     "]
    assert bars(Interval(0.10, 0.20, 0.60)) == ["◃────┼──   ", "(----+--   "]
    assert bars(Interval(0.10, 0.30, 0.40)) == ["‹●── ┊     ", "<*-- :     "]


@given(low=st.floats(0, 1), middle=st.floats(0, 1), high=st.floats(0, 1), width=st.integers(5, 60))
def test_an_interval_bar_always_has_its_width(low: float, middle: float, high: float, width: int) -> None:
    low, middle, high = sorted((low, middle, high))
    assert len(fmt.interval_bar((low, middle, high), width, UNICODE)) == width


def test_a_sparkline_never_hides_a_small_value() -> None:
    assert fmt.sparkline([0, 1, 1000], UNICODE) == " ▁█"


@given(width=st.integers(10, 250), name=st.sampled_from(sorted(GRIDS)))
def test_columns_fit_whatever_the_width_and_the_first_ones_stay(width: int, name: str) -> None:
    spec = GRIDS[name].spec
    placed = columns_for(spec, width)
    assert sum(w + 1 for _, _, w in placed) <= max(width, sum(w + 1 for _, c, w in placed if c.rank == 1))
    assert {c.name for _, c, _ in placed} >= {c.name for c in spec.columns if c.rank == 1}


@given(values=st.lists(HOSTILE, min_size=2, max_size=2), width=st.integers(20, 200))
def test_a_row_of_hostile_strings_is_one_clean_line(values: list[str], width: int) -> None:
    spec = GRIDS["contexts"].spec
    row = GridRow(1, "id", (values[0], values[1], 3, 2, 1, "id"))
    columns = columns_for(spec, width)
    text = "".join(t for t, _ in row_line(row, columns, "  ", None, UNICODE))
    assert not UNSAFE & set(text)
    titles = title_line(columns, spec.default_sort, 0, UNICODE)
    assert width_of(titles) == width_of(((text, "text"),))


def test_no_color_wins_over_every_other_wish() -> None:
    assert choose_palette("dark", {"NO_COLOR": "1"}).name == "mono"
    assert choose_palette(None, {"PROSECT_THEME": "light"}).name == "light"
    assert choose_palette(None, {}).name == "terminal"
    for name, environment in (("solarized", {}), (None, {"PROSECT_THEME": "darkk", "NO_COLOR": "1"})):
        with pytest.raises(SettingsError) as caught:
            choose_palette(name, environment)
        assert caught.value.hint == "themes: terminal, dark, light, mono"


def test_every_palette_styles_every_role_and_mono_has_no_colour() -> None:
    for palette in PALETTES.values():
        assert set(palette.roles) == set(ROLES)
    assert all(s.color is None and s.bgcolor is None for s in PALETTES["mono"].roles.values())


TEXT_ROLES = ("text", "mark", "added", "removed", "peak1", "peak2", "peak3", "peak4")
"""What stands in one response: words, telling words, differences, tokens that fire."""


@pytest.mark.parametrize("name", sorted(PALETTES))
def test_no_two_roles_of_one_text_look_the_same_even_without_colour(name: str) -> None:
    def attributes(role: str) -> tuple[bool, ...]:
        style = PALETTES[name].style(role)
        found = (style.bold, style.dim, style.italic, style.underline, style.reverse, style.strike)
        return tuple(bool(attribute) for attribute in found)

    assert len({attributes(role) for role in TEXT_ROLES}) == len(TEXT_ROLES)


@pytest.mark.parametrize("width", [80, 100, 104, 120, 160, 200, 300])
def test_a_list_of_hypotheses_shows_both_effects_and_the_badge_at_every_width(width: int) -> None:
    beside = 0 if width < WIDE else min(width * 2 // 5, 90)
    placed = {c.name: n for _, c, n in columns_for(GRIDS["hypotheses"].spec, width - beside - 2)}
    assert placed["concept"] >= 16
    assert {"verdict", "context", "badge"} <= set(placed)
    assert min(placed["taught"], placed["equal"]) >= 11
    if width >= 160 or width < WIDE:
        assert {"win", "equal_win"} <= set(placed)
    if width == 120:  # the pane beside has the numbers; names and contexts are nowhere else
        assert "win" in placed
        assert placed["concept"] >= 18
        assert placed["context"] == 12


def test_short_forms_in_narrow_columns() -> None:
    assert [fmt.badge("only with length", n) for n in (8, 4)] == ["len only", "len"]
    badges = ("both", "only with length", "masked by length", "length unclear", "neither", "untested", None)
    assert all(len(fmt.badge(b, 4)) <= 4 for b in badges)
    assert len({fmt.badge(b, 4) for b in badges}) == len(badges)
    assert fmt.context_name("about hello · there", 9) == "hello · there"
    assert [fmt.context_name("everywhere", n) for n in (12, 9)] == ["everywhere", "all"]


# -- keys -------------------------------------------------------------------------------------------------


def feed(keys: str, bound: dict[str, str]) -> list[object]:
    machine = PrefixMachine()
    return [machine.feed(k, bound) for k in keys.split()]


BOUND = {"j": "down", "g g": "first", "g h": "hypotheses", "m any": "mark", "0": "zero"}


def test_counts_go_before_keys_and_zero_is_a_key_until_a_digit_came() -> None:
    assert feed("1 2 j", BOUND)[-1] == Matched("down", 12)
    assert feed("1 0 g g", BOUND)[-1] == Matched("first", 10)
    assert feed("0", BOUND) == [Matched("zero", None)]


def test_sequences_wait_and_unknown_keys_are_forgotten() -> None:
    assert feed("g g", BOUND) == [Waiting("g"), Matched("first", None)]
    assert feed("g x j", BOUND) == [Waiting("g"), Unknown("g x"), Matched("down", None)]
    assert feed("m q", BOUND)[-1] == Matched("mark", None, "q")


def test_a_waiting_prefix_names_what_may_follow() -> None:
    machine = PrefixMachine()
    machine.feed("g", BOUND)
    assert machine.continuations(BOUND) == [("g", "first"), ("h", "hypotheses")]


@given(keys=st.lists(st.sampled_from([*"jgm0123456789xq", "escape", "enter"]), max_size=30))
def test_the_machine_always_comes_to_rest(keys: list[str]) -> None:
    machine = PrefixMachine()
    for key in keys:
        machine.feed(key, BOUND)
    machine.reset()
    assert machine.feed("j", BOUND) == Matched("down", None)


def test_no_binding_of_a_scope_hides_another_of_the_same_scope() -> None:
    for scope in (GLOBAL, GRID, REVIEW, PAGE, PAIR):
        keys = [k for a in ACTIONS if a.scope == scope for k in a.keys]
        assert len(keys) == len(set(keys)), scope


def test_no_sequence_starts_with_a_complete_binding() -> None:
    for scopes in ((GLOBAL, GRID, REVIEW), (GLOBAL, PAGE, REVIEW), (GLOBAL, PAGE, PAIR, REVIEW)):
        bound = bindings(scopes)
        for key in bound:
            assert not any(other != key and other.startswith(key + " ") for other in bound), key


def test_every_action_is_done_and_every_deed_is_in_the_table() -> None:
    from tui.doing import Doing

    done = {name[3:].replace("_", "-") for name in dir(Doing) if name.startswith("do_")}
    assert done == {a.ident for a in ACTIONS}


def test_the_key_card_names_every_action() -> None:
    card = key_card()
    assert all(f"`:{a.ident}" in card for a in ACTIONS)


def test_a_typed_line_edits_like_a_shell() -> None:
    typing = Typing("/", "one two")
    for key, character in (
        ("ctrl+w", None),
        ("3", "3"),
        ("home", None),
        ("x", "x"),
        ("end", None),
        ("backspace", None),
    ):
        assert typing.key(key, character)
    assert (typing.text, typing.cursor) == ("xone ", 5)
    assert not typing.key("f5", None)


def test_a_typed_line_recalls_history_and_gives_the_draft_back() -> None:
    typing = Typing("/", "draft", history=["a", "b"])
    typing.key("up", None)
    typing.key("up", None)
    assert typing.text == "a"
    typing.key("down", None)
    typing.key("down", None)
    assert typing.text == "draft"


def test_pasted_line_ends_cannot_press_enter() -> None:
    typing = Typing("/")
    typing.insert("rm -rf\n/\r\nx")
    assert typing.text == "rm -rf / x"


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200),
    width=st.integers(1, 60),
    height=st.integers(1, 8),
)
def test_a_curve_fills_its_box_and_touches_top_and_bottom(
    values: list[float], width: int, height: int
) -> None:
    for glyphs in (UNICODE, ASCII):
        rows = curve(values, width, height, glyphs)
        assert [len(row) for row in rows] == [width] * height
        assert any(row.strip() for row in rows)
    if width >= 40 and height > 1 and max(values[:2]) - min(values[:2]) > 1:
        rows = curve(values[:2], width, height, UNICODE)
        assert rows[0].strip()
        assert rows[-1].strip()


def test_a_curve_joins_its_points_without_gaps() -> None:
    for values in ([0.0, 1.0, 2.0, 3.0], [0.0, 3.0]):  # the second one is filled in between
        assert curve(values, 4, 4, ASCII) == ["   *", "  **", " ** ", "**  "]
    assert curve([1.0, 0.0, 1.0], 3, 3, ASCII) == [
        "***",
        " **",
        " **",
    ]  # each stroke begins where the last ended


def test_smoothing_keeps_a_constant_and_lags_a_step() -> None:
    assert smooth([2.0, 2.0, 2.0], 0.9) == pytest.approx([2.0, 2.0, 2.0])
    assert smooth([0.0, 1.0], 0.75) == [0.0, 0.25]
    assert smooth([0.0, 1.0], 0.0) == [0.0, 1.0]


def test_a_word_that_is_looked_for_in_many_texts_waits_until_it_is_typed() -> None:
    assert pause_s("pairs", 1_000_000, "sor") == READING_DELAY_S
    assert pause_s("pairs", 1_000_000, "fold=7 !sor") == READING_DELAY_S
    assert pause_s("pairs", 1_000_000, "fold=7 chosen_tokens>9") == FILTER_DELAY_S
    assert pause_s("pairs", 5_000, "sor") == pause_s("hypotheses", 1_000_000, "sor") == FILTER_DELAY_S


def test_a_prompt_in_a_list_begins_with_what_the_user_asks() -> None:
    """Instructions that all prompts share would hide it."""
    assert fmt.first_question("system: Be brief.\n\nuser: What is magma?") == "What is magma?"
    assert fmt.first_question("user: Hello\n\nassistant: Hi\n\nuser: Magma?").startswith("Hello")
    assert fmt.first_question("system: instructions without an end") == "system: instructions without an end"
    assert fmt.first_question("What is a user: account?") == "What is a user: account?"
    assert fmt.last_turn("user: Hello\n\nassistant: Hi\n\nuser: Magma?") == "user: Magma?"
    assert fmt.last_turn("plain") == "plain"
    column = ColumnSpec("prompt", "prompt", ColumnKind.TEXT, 0, 1, "")
    assert cell("system: Be brief.\n\nuser: What is magma?", column, 14, UNICODE)[0] == "What is magma?"


def test_a_count_that_fills_no_cell_shows_all_the_same() -> None:
    assert fmt.tally(8, 6_597, 10, UNICODE) == "▁·········"
    assert fmt.tally(8, 6_597, 10, ASCII) == ":........."
    assert fmt.tally(0, 6_597, 4, UNICODE) == "····"
    assert fmt.tally(1, 2, 4, UNICODE) == "██··"
