"""Orderings are kept small and questions stop each other; what is shown stays what plain SQL says."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import Cancelled, StoreError
from engine.live.browse import Browser
from engine.records import Verdict
from engine.settings import ReviewSettings
from engine.store import pages
from engine.store.connection import Store
from engine.store.pages import QuerySlot, TableCursor
from engine.views.tables import GridRow, SortKey, Target
from tests.worlds import World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("paging"), 300, 40)


@pytest.fixture
def browser(world: World) -> Iterator[Browser]:
    world.paths.journal.unlink(missing_ok=True)
    browser = Browser(world.paths, ReviewSettings(author="ana"))
    yield browser
    browser.close()


@pytest.fixture
def store(world: World) -> Iterator[Store]:
    with Store(world.paths.index("world"), memory_limit="64MB") as store:
        yield store


def target_of(cursor: TableCursor, row: GridRow) -> Target:
    kind, _, ident = row.values[cursor.spec.index("target")].partition(":")
    context = None if kind == "concept" else row.values[cursor.spec.index("context_id")]
    return Target(kind, ident, row.values[cursor.spec.index("concept_id")], context)


def test_all_pairs_by_number_need_no_ordering_and_page_like_one_that_does(browser: Browser) -> None:
    plain = browser.open_table("pairs")
    ordered = browser.open_table("pairs", "fold>=0", [SortKey("pair")])
    assert (plain._table is None, ordered._table is None) == (True, False)
    assert plain.n_rows == plain.n_total == ordered.n_rows == 300
    assert plain.rows(37, 60) == ordered.rows(37, 60)
    assert plain.position(plain.rows(211, 1)[0].ident) == 211
    assert plain.facet("source") == ordered.facet("source")


def test_hypotheses_lie_in_the_order_of_their_evidence(browser: Browser) -> None:
    """The index numbers them so: the list that everybody sees first needs no ordering."""
    stored = browser.open_table("hypotheses")
    sorted_ = browser.open_table("hypotheses", sort=[SortKey("evidence", True), SortKey("concept_id")])
    assert (stored._table is None, sorted_._table is None) == (True, False)
    n, at = stored.n_rows, stored.spec.index("evidence")
    strengths = [row.values[at] for row in stored.rows(0, n)]
    assert strengths == [row.values[at] for row in sorted_.rows(0, n)]
    assert strengths == sorted(strengths, reverse=True)
    assert [row.key for row in stored.rows(0, n)] == list(range(n))
    filtered = browser.open_table("hypotheses", "family:cells")
    assert [r.key for r in filtered.rows(0, n)] == [
        r.key for r in stored.rows(0, n) if r.values[stored.spec.index("family")] == "cells"
    ]


@pytest.mark.parametrize("sort", [[], [SortKey("chosen_tokens", True)]])
def test_a_record_is_found_by_its_key_by_its_id_and_by_its_id_alone_when_the_key_is_of_another_index(
    browser: Browser, sort: list[SortKey]
) -> None:
    cursor = browser.open_table("pairs", sort=sort)
    row = cursor.rows(123, 1)[0]
    assert cursor.position(row.ident, row.key) == 123
    assert cursor.position(row.ident) == 123
    assert cursor.position(row.ident, row.key - 1) == 123
    assert browser.open_table("pairs", "fold>99").position(row.ident, row.key) is None


def test_the_next_undecided_row_is_found_across_any_number_of_windows(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "FIRST_WINDOW", 2)
    cursor = browser.open_table("hypotheses")
    rows, n = cursor.rows(0, 5000), cursor.n_rows
    last = n - 3
    decided = [i for i in range(n) if i not in (0, last)]
    browser.set_verdict([target_of(cursor, rows[i]) for i in decided], Verdict.KEEP)
    assert [cursor.next_undecided(after) for after in (-1, 0, last - 1, last)] == [0, last, last, None]
    assert [cursor.next_undecided(after, backwards=True) for after in (n, last, 5, 0)] == [last, 0, 0, None]
    browser.undo()


@pytest.mark.parametrize("word", ["%", "_", "100%", "a_b", "\\", "TEA", "ß", "é"])
def test_words_are_looked_for_as_they_are_whatever_they_mean_in_a_pattern(
    browser: Browser, word: str
) -> None:
    quoted = word.replace("\\", "\\\\")
    found = browser.open_table("pairs", f'prompt:"{quoted}"')
    everything = browser.open_table("pairs")
    at = everything.spec.index("prompt")
    texts = [str(row.values[at]) for row in everything.rows(0, 5000)]
    assert found.n_rows == sum(word.lower() in text.lower() for text in texts)


def test_a_newer_question_stops_the_whole_older_one(store: Store) -> None:
    slot = QuerySlot(store)
    older = slot.question()
    assert older.run("SELECT 1") == [(1,)]
    newer = slot.question()
    with pytest.raises(Cancelled):
        older.run("SELECT 2")
    assert newer.run("SELECT 3") == [(3,)]
    assert newer.run("SELECT 4") == [(4,)]


def test_a_query_of_an_older_question_does_not_disturb_the_newer_one(store: Store) -> None:
    slot = QuerySlot(store)
    older = slot.question()
    newer = slot.question()
    found: list[object] = []
    long = "SELECT count(*) FROM range(60000000) t(i) WHERE hash(i) % 7 = 1"
    thread = threading.Thread(target=lambda: found.extend(newer.run(long)))
    thread.start()
    with pytest.raises(Cancelled):
        older.run("SELECT 1")
    thread.join()
    assert len(found) == 1


def test_a_query_that_needs_more_than_the_limit_is_answered_all_the_same(world: World) -> None:
    with Store(world.paths.index("world"), memory_limit="8MB") as tight:
        slot = QuerySlot(tight)
        hungry = "SELECT count(*) FROM (SELECT DISTINCT i, md5(i::VARCHAR) FROM range(300000) t(i))"
        assert slot.run(f"SELECT list(i) IS NULL, ({hungry}) FROM range(2000000) t(i)") == [(False, 300_000)]


def test_a_sort_that_spills_leaves_nothing_behind(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.store.connection.gettempdir", lambda: str(tmp_path))
    with Store(world.paths.index("world"), memory_limit="24MB") as tight:
        sql = "SELECT i, md5(i::VARCHAR) AS t FROM range(900000) r(i) ORDER BY t"
        assert QuerySlot(tight).run(f"CREATE TABLE memory.main.big AS {sql}") == [(900_000,)]
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_column_to_sort_by_is_said(browser: Browser) -> None:
    with pytest.raises(StoreError, match="no column"):
        browser.open_table("pairs", sort=[SortKey("nothing")])
