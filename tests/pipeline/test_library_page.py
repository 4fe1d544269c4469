"""engine/docs/library.md: its code runs in order on a project, and what it says of the results is so."""

import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.api import Project
from engine.errors import CompileError, ReviewError, StoreError
from engine.live.browse import Browser
from engine.paths import ProjectPaths

PAGE = (Path(__file__).parents[2] / "engine" / "docs" / "library.md").read_text(encoding="utf-8")
FENCES = re.findall(r"^```(\S*)(.*)\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)
RUN = [code for language, mark, code in FENCES if language == "python" and "no-run" not in mark]


@pytest.fixture
def ran(own_project: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Names that the page's code leaves behind."""
    monkeypatch.chdir(own_project().parent)
    names: dict[str, Any] = {}
    for code in RUN:
        exec(compile(code, "library.md", "exec"), names)  # noqa: S102 - the page is ours
    return names


def test_the_page_runs_and_its_results_are_what_it_says(ran: dict[str, Any]) -> None:
    assert len(RUN) >= 10
    rows = ran["found"].records()
    assert 0 < len(rows) <= 20
    assert set(ran["columns"]) < set(rows[0])
    assert all(r["taught_low"] <= r["taught"] <= r["taught_high"] for r in rows if r["taught"] is not None)
    assert [abs(r["evidence"]) for r in rows] == sorted((abs(r["evidence"]) for r in rows), reverse=True)
    assert set(ran["inside"]["family"]) <= {"cells"}
    assert ran["texts"]["chosen"].dtype == pl.String
    assert ran["concept"].name == "@exclamations"
    assert ran["pair"].pair == 0
    assert ran["change"].label.startswith("suppress")
    assert ran["train"].height == ran["plan"].counts["kept"]
    assert ran["ledger"].height == ran["plan"].counts["total"] == ran["messages"].height
    assert ran["scores"].columns == ["pair", "chosen", "rejected", "u"]
    assert [c for c, _ in ran["moved"].schema.items()] == ["label", "mean_before", "mean_after", "is_target"]


def test_code_that_is_not_run_is_python_at_least() -> None:
    for language, _, code in FENCES:
        assert language == "python"
        compile(code, "library.md", "exec")


def test_a_frame_has_the_same_columns_with_rows_and_without(audited: Path) -> None:
    with Project(str(audited)) as project:
        for rows_of in (project.hypotheses, project.concepts, project.contexts, project.pairs):
            some, none = rows_of(limit=3), rows_of("zzzznowhere")
            assert some.frame().schema == none.frame().schema
            assert none.frame().height == 0
            assert some.frame().to_dicts() == some.records()


def test_lists_without_a_limit_have_every_row_and_whole_texts(audited: Path) -> None:
    with Project(audited) as project:
        found = project.pairs()
        messages = pl.read_parquet(project.paths.pairs)
        assert len(found.rows) == found.n_total == messages.height
        by_id = {r["pair_id"]: r["chosen"] for r in found.records()}
        for row in messages.filter(pl.col("chosen").list.len() == 1).iter_rows(named=True):
            assert row["chosen"][0]["content"] in by_id[row["pair_id"]]
        concepts = project.concepts()
        assert len(concepts.rows) == concepts.n_rows == concepts.n_total
        assert {r["context"] for r in concepts.records()} == {"everywhere"}


def test_a_list_leaves_nothing_in_the_database(audited: Path) -> None:
    with Project(audited) as project:
        for _ in range(3):
            project.concepts("called:yes", "-win", 5)
            project.counts("pairs", "source", within="label=chosen")
        kept = "SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'order_%'"
        assert project.browser._store.value(kept) == 0


def test_a_verdict_that_does_not_exist_is_refused_and_none_takes_one_away(
    own_project: Callable[[], Path],
) -> None:
    folder = own_project()
    with Project(folder) as project:
        with pytest.raises(ReviewError, match="no verdict `delete`"):
            project.decide("@exclamations", "delete")
        project.decide("@exclamations", "keep")
        assert len(Browser(ProjectPaths(folder)).verdicts()) == 1
        project.decide("@exclamations", None)
        assert project.browser.verdicts() == {}


def test_a_concept_is_no_pair_and_a_pair_no_concept(audited: Path) -> None:
    with Project(audited) as project:
        name = project.concepts(limit=1).records()[0]["concept"]
        assert project.concept(name) == project.find(name)
        assert project.pair(3) == project.find("3")
        ident = project.pair(3).pair_id
        assert project.pair(ident) == project.pair(3)
        with pytest.raises(StoreError, match="is a pair, not a concept"):
            project.concept(ident)
        with pytest.raises(StoreError, match="no pair"):
            project.pair(name)


def test_a_lock_holds_from_python_too(own_project: Callable[[], Path]) -> None:
    with Project(own_project()) as project:
        rules = project.paths.root / "some.rules"
        rules.write_text("prosect rules 1\nx: weight *= 0.5 where chosen.tokens < 20\n", encoding="utf-8")
        first = project.compile(rules)
        assert project.compile(rules, locked=True).dataset.folder == first.dataset.folder
        rules.write_text("prosect rules 1\nx: weight *= 0.4 where chosen.tokens < 20\n", encoding="utf-8")
        with pytest.raises(CompileError, match="drifted"):
            project.compile(rules, locked=True)


def test_installed_packages_tell_their_types() -> None:
    """Without the marker type checkers take everything of an installed package for Any."""
    for package in ("engine", "tui"):
        assert resources.files(package).joinpath("py.typed").is_file()


def test_notebooks_show_little_of_much(audited: Path) -> None:
    with Project(audited) as project:
        assert repr(project) == f"Project({str(audited)!r})"
        found = project.pairs(limit=7)
        assert repr(found) == f"<7 of {found.n_rows} pairs: .records() or .frame()>"
        assert "<table" in found._repr_html_()
        rules = project.paths.root / "some.rules"
        rules.write_text("prosect rules 1\ndrop where chosen.tokens < 20\n", encoding="utf-8")
        shown = [repr(project.concept("@length")), repr(project.pair(3)), repr(project.plan(rules))]
        assert [text.split(":")[0].split(",")[0] for text in shown] == [
            "<concept @length (column)",
            f"<pair 3 of {project.pair(3).source}",
            "<plan of some.rules",
        ]
        assert max(map(len, shown)) < 160
