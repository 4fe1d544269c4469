"""Numbers, cells, columns, titles and the end of a filter, by tables of values."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.store.grids import GRIDS
from engine.views.tables import ColumnKind, ColumnSpec, SortKey, TableSpec
from tui import format as fmt
from tui.cells import cell, columns_for, interval_title, plain, title_line, verdict_cell
from tui.filter_text import joined, value_part
from tui.format import ASCII, UNICODE


def test_words_and_bars_of_the_small_formats() -> None:
    assert [fmt.count(v) for v in (1234567, 12.9, None)] == ["1,234,567", "12", "–"]
    assert [fmt.number(v) for v in (0.4, -99.5, 1234.0, None)] == ["0.40", "-99.50", "1,234", "–"]
    assert [fmt.flag(v, UNICODE) for v in (True, False, None)] == ["✓", "·", "–"]
    assert [fmt.clock(v) for v in (0, 59.9, 312, 36_061)] == ["0:00:00", "0:00:59", "0:05:12", "10:01:01"]
    assert [fmt.meter(p, w, 8, ASCII) for p, w in ((0, 4), (1, 4), (4, 4), (3, 0))] == [
        "........", "##......", "########", "........",
    ]  # fmt: skip
    assert fmt.interval_text((0.582, 0.637, 0.691)) == "63.7% [58.2, 69.1]"
    assert [fmt.interval_text((None, v, None)) for v in (0.637, None)] == ["63.7%", "–"]
    intervals = ((0.51, 0.6, 0.7), (0.5, 0.6, 0.7), (0.3, 0.4, 0.49), (None, 0.4, 0.5))
    assert [fmt.leaning(i) for i in intervals] == ["plus", "weak", "minus", "weak"]
    assert [fmt.token_list(t) for t in ('["a ", " b"]', '[" "]', "plain", '"one"', None)] == [
        "a b", "␣", "plain", "one", "",
    ]  # fmt: skip
    assert fmt.sparkline([0, 1, 2, 4], ASCII) == " :=@"
    assert fmt.sparkline([1, 2], ASCII, top=4) == ":="
    assert fmt.sparkline([0, 0], ASCII) == "  "


def test_cells_say_what_holds_and_values_go_out_in_full() -> None:
    marks = ("keep", "suppress", "amplify", "ignore", "keep…", "suppress~", "amplify'", None)
    assert [verdict_cell(v, UNICODE) for v in marks] == [
        ("=", "keep"), ("-", "suppress"), ("+", "amplify"), ("i", "ignore"), ("…", "dim"), ("~", "suppress"),
        ("+'", "amplify"), (".", "text"),
    ]  # fmt: skip

    def column(kind: ColumnKind, name: str = "x") -> ColumnSpec:
        return next(replace(c, kind=kind, name=name, width=6) for g in GRIDS.values() for c in g.spec.columns)

    values = ((ColumnKind.COUNT, 123_456, "  123k"), (ColumnKind.COUNT, 1234, " 1,234"),
              (ColumnKind.SHARE, 0.5, "  50.0"), (ColumnKind.FLAG, True, "     ✓"),
              (ColumnKind.Q, 0.034, "  .034"), (ColumnKind.COUNT, None, "     –"))  # fmt: skip
    for kind, value, text in values:
        assert cell(value, column(kind), 6, UNICODE) == (text, "dim" if value is None else "text")
    assert cell("much too long", column(ColumnKind.TEXT), 6, UNICODE) == ("much …", "text")
    assert cell(None, column(ColumnKind.TEXT), 6, UNICODE) == ("–     ", "dim")
    assert cell("everywhere", column(ColumnKind.TEXT, "context"), 6, UNICODE) == ("all   ", "text")
    assert cell('["a", "b"]', column(ColumnKind.TEXT, "tokens"), 6, UNICODE) == ("a b   ", "text")
    out = [(ColumnKind.INTERVAL, (0.5, None, 0.75), "0.5//0.75"), (ColumnKind.FLAG, False, "no"),
           (ColumnKind.COUNT, 123_456, "123456"), (ColumnKind.SHARE, 0.1234567891, "0.1234567891"),
           (ColumnKind.TEXT, None, "")]  # fmt: skip
    for kind, given_value, text in out:
        assert plain(given_value, column(kind)) == text


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", None),
        ("sorry", None),
        ("fold=7 sorry", None),
        ("fold=7 ", None),
        ("fold>7", None),
        ("source=", ("source=", "source", "")),
        ('x Source:"ha', ("x Source:", "source", "ha")),
        ("!topic!=tea,co", ("!topic!=tea,", "topic", "co")),
        ('a="x y",', ('a="x y",', "a", "")),
        (r'a="say \"hi', ("a=", "a", 'say "hi')),
    ],
)
def test_the_value_at_the_end_of_a_filter_is_what_is_being_typed(
    text: str, part: tuple[str, str, str] | None
) -> None:
    assert value_part(text) == part


def test_rows_that_ask_for_values_of_one_column_are_joined_into_one_term() -> None:
    assert joined("source", ["source=web", 'source:"a b"']) == 'source=web,"a b"'
    assert joined("n", ["n=1", "n=500"]) == "n=500,1"  # 1,500 would be one number
    assert joined("n", ["n=100", "n=500"]) == ""  # either way round
    assert joined("source", ["source=web", "fold=7"]) == joined("source", ["source=web x"]) == ""


@given(st.integers(-(10**12), 10**12))
def test_a_compact_number_is_short_and_near_what_it_stands_for(value: int) -> None:
    text = fmt.compact(value)
    assert len(text.removeprefix("-")) <= 5
    scale = {"k": 1e3, "M": 1e6, "G": 1e9}.get(text[-1], 1)
    assert float(text.rstrip("kMG")) * scale == pytest.approx(value, rel=0.05)


def table(*columns: tuple[str, ColumnKind, int, int]) -> TableSpec:
    """A table of columns by name, kind, width and rank."""
    found = tuple(ColumnSpec(name, name, kind, width, rank, "") for name, kind, width, rank in columns)
    return TableSpec("t", "t", found, (SortKey("n", descending=True),))


def widths(spec: TableSpec, width: int) -> dict[str, int]:
    return {column.name: cells for _, column, cells in columns_for(spec, width)}


def test_columns_without_bars_go_by_rank_and_the_name_takes_what_is_left() -> None:
    """A name wants 22 cells; with one cell behind each column, 3 + 23 + 7 + 6 = 39."""
    spec = table(("v", ColumnKind.VERDICT, 2, 1), ("name", ColumnKind.TEXT, 0, 1),
                 ("n", ColumnKind.COUNT, 6, 2), ("q", ColumnKind.Q, 5, 3))  # fmt: skip
    assert widths(spec, 40) == {"v": 2, "name": 23, "n": 6, "q": 5}
    assert widths(spec, 38) == {"v": 2, "name": 27, "n": 6}
    assert widths(spec, 300)["name"] == 90
    both = table(("a", ColumnKind.TEXT, 0, 1), ("b", ColumnKind.TEXT, 0, 1))
    assert widths(both, 60) == {"a": 29, "b": 29}
    assert widths(table(("n", ColumnKind.COUNT, 6, 1)), 60) == {"n": 6}


def test_bars_become_narrower_before_a_column_of_the_first_ranks_goes() -> None:
    """All four as they are take 25 + 20 + 20 + 4 = 69; with bars of 15 the first three take 55."""
    spec = table(("name", ColumnKind.TEXT, 0, 1), ("a", ColumnKind.INTERVAL, 19, 2),
                 ("b", ColumnKind.INTERVAL, 19, 3), ("c", ColumnKind.COUNT, 3, 5))  # fmt: skip
    assert widths(spec, 69) == {"name": 24, "a": 19, "b": 19, "c": 3}
    assert widths(spec, 64) == {"name": 31, "a": 15, "b": 15}  # c would fit: others are not shown then


def test_titles_have_the_arrow_of_the_order_and_bars_their_axis_where_it_fits() -> None:
    assert interval_title("taught effect", 19, UNICODE) == "¼ taught ½        ¾"
    assert interval_title("taught effect", 19, ASCII) == "< taught :        >"
    assert interval_title("taught effect", 17, UNICODE) == "taught           "
    assert interval_title("taught effect", 4, UNICODE) == "taug"
    spec = table(
        ("name", ColumnKind.TEXT, 0, 1), ("n", ColumnKind.COUNT, 6, 2), ("badge", ColumnKind.TEXT, 3, 3)
    )
    line = title_line(columns_for(spec, 40), spec.default_sort, 1, UNICODE)
    assert "".join(text for text, _ in line) == "  name" + " " * 25 + "    n▼ len "
    assert [role for text, role in line if "n▼" in text] == ["mark"]
    up = title_line(columns_for(spec, 40), (SortKey("n", descending=False),), 0, ASCII)
    assert "n^" in "".join(text for text, _ in up)
