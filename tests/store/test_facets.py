"""Facets of a column: every row is counted once, and the terms of a count select just its rows."""

import math
from collections.abc import Iterator, Sequence

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.live.browse import Browser
from engine.settings import ReviewSettings
from engine.store.facets import MAX_VALUES, N_BINS, Column, facet
from engine.store.filters import FilterColumn, parse_filter
from engine.store.pages import QuerySlot
from engine.views.tables import ColumnKind, FacetCount
from tests.worlds import World, make_world

CONNECTION = duckdb.connect()


class Slot(QuerySlot):
    """Queries on one connection of the test's own."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def run(self, sql: str, parameters: object = ()) -> list[tuple[object, ...]]:
        """All rows."""
        return self._connection.execute(sql, parameters).fetchall()


def counted(
    values: Sequence[float | None], kind: ColumnKind = ColumnKind.NUMBER, *, is_filtered: bool = False
) -> tuple[tuple[FacetCount, ...], duckdb.DuckDBPyConnection]:
    connection = CONNECTION
    connection.execute("CREATE OR REPLACE TABLE t (x DOUBLE)")
    connection.execute("INSERT INTO t SELECT unnest(?::DOUBLE[])", [list(values)])
    return facet(Slot(connection), Column("x", kind, "t.x", "t", is_filtered), 200), connection


def n_selected(connection: duckdb.DuckDBPyConnection, term: str, kind: ColumnKind) -> int:
    condition = parse_filter(term, {"x": FilterColumn("t.x", kind)})
    rows = connection.execute(f"SELECT count(*) FROM t WHERE {condition.sql}", condition.parameters)
    return int((rows.fetchone() or (0,))[0])


NUMBERS = st.one_of(
    st.none(),
    st.integers(-60, 60).map(float),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.floats(-1e6, 1e6),
    st.floats(allow_nan=True, allow_infinity=True),
)


@settings(max_examples=150)
@given(values=st.lists(NUMBERS, max_size=120), is_filtered=st.booleans())
def test_every_number_is_counted_once_and_selected_by_its_terms(
    values: list[float | None], is_filtered: bool
) -> None:
    found, connection = counted(values, is_filtered=is_filtered)
    assert sum(f.n for f in found) == len(values)
    for count in found:
        if count.term:
            assert n_selected(connection, count.term, ColumnKind.NUMBER) == count.n
        else:
            assert count.n == sum(v is not None and not math.isfinite(v) for v in values)


@settings(max_examples=50)
@given(
    values=st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=80),
    kind=st.sampled_from([ColumnKind.SHARE, ColumnKind.Q]),
    is_filtered=st.booleans(),
)
def test_shares_are_counted_between_round_numbers(
    values: list[float | None], kind: ColumnKind, is_filtered: bool
) -> None:
    found, connection = counted(values, kind, is_filtered=is_filtered)
    assert sum(f.n for f in found) == len(values)
    assert all(n_selected(connection, f.term, kind) == f.n for f in found)


def test_a_bin_holds_an_eighth_of_the_rows() -> None:
    found, _ = counted([float(k) for k in range(800)])
    assert [(f.value, f.n) for f in found] == [
        (f"{100 * k - (k > 0)} to {100 * (k + 1) - 1 - (k < 7)}", 100 + (k == 7) - (k == 0))
        for k in range(N_BINS)
    ]


def test_a_number_with_few_values_is_counted_value_by_value() -> None:
    found, _ = counted([float(k % MAX_VALUES) for k in range(100)])
    assert [f.value for f in found] == [str(k) for k in range(MAX_VALUES)]
    assert found[0] == FacetCount("0", 5, "x=0")


def test_a_value_that_fills_more_than_a_bin_stands_alone() -> None:
    found, _ = counted([0.0] * 300 + [float(k) for k in range(1, 101)] + [-float(k) for k in range(1, 101)])
    alone = [f for f in found if f.n >= 300]
    assert alone == [FacetCount("0", 300, "x=0")]
    # the 200 others are dealt into seven bins of at most ⌈200/7⌉ and its ties
    assert max(f.n for f in found if f not in alone) == 29
    assert sum(f.n for f in found) == 500


def test_ends_between_fractions_are_short_and_say_which_side_they_belong_to() -> None:
    found, _ = counted([k / 997 for k in range(997)])
    # an eighth of the way lies 124/997 = 0.12437…, seven eighths at 872/997 = 0.8746…; the last is 0.99899…
    assert found[0] == FacetCount("0 to <0.124", 124, "x>=0 x<0.124")
    assert found[-1].term == "x>=0.875 x<=0.999"


def test_within_a_filter_no_bin_reaches_beyond_its_rows() -> None:
    values: list[float | None] = [0.651, 0.66, 0.72, 0.745]
    found, _ = counted(values, ColumnKind.SHARE, is_filtered=True)
    assert [(f.value, f.term) for f in found] == [
        ("65.1% to <70%", "x>=0.651 x<.7"), ("70% to 74.5%", "x>=.7 x<=0.745"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("facets") / "p", 300, 24)


@pytest.fixture
def browser(world: World) -> Iterator[Browser]:
    browser = Browser(world.paths, ReviewSettings(author="ana"))
    yield browser
    browser.close()


@pytest.mark.parametrize("table", ["pairs", "hypotheses", "contexts"])
@pytest.mark.parametrize("text", ["", "narrow"])
def test_counts_of_every_column_are_the_rows_that_their_terms_keep(
    browser: Browser, table: str, text: str
) -> None:
    narrow = {"pairs": "longer>-30.5 source:a", "hypotheses": "win>.45", "contexts": "pairs>50"}
    given_text = narrow[table] if text else ""
    cursor = browser.open_table(table, given_text)
    for column in cursor.spec.columns:
        found = cursor.facet(column.name)
        if column.kind is not ColumnKind.TEXT:  # of texts only the most frequent are counted
            assert sum(f.n for f in found) == cursor.n_rows, column.name
        for count in found[:12]:
            if count.term:
                again = browser.open_table(table, f"{given_text} {count.term}")
                assert again.n_rows == count.n, (column.name, count)
                again.close()
