"""engine/docs/rules.md: every example is planned, every verb, function and code is there."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from engine.compiler.emit import compile_plan
from engine.compiler.export import TARGETS
from engine.compiler.plan import make_plan
from engine.rules.catalogue import AGGREGATES, COLUMNS
from engine.rules.check import FUNCTIONS
from engine.rules.explain import EXPLANATIONS
from engine.rules.format import format_text
from engine.rules.outcomes import ABOUT_CONCEPTS, ABOUT_PAIRS, ABOUT_RULES, NAMES
from engine.rules.statements import VERBS
from engine.store.connection import Store
from tests.worlds import World, make_world

PAGE = (Path(__file__).parents[2] / "engine/docs/rules.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```rules\n(.*?)```", PAGE, re.DOTALL)
LABELS = (
    "bold · lists", "great question · wonderful", "sorry · can't", "agree · right", "hotline · call",
    "story · fiction", "explosive · harm", "arr · matey",
)  # fmt: skip
ABOUT = {*ABOUT_RULES, *ABOUT_CONCEPTS, *ABOUT_PAIRS}


@pytest.fixture(scope="module")
def docs_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world whose labels, sources and metadata are those of the page."""
    world = make_world(Path(tmp_path_factory.mktemp("docs")), 500, seed=3)
    path = world.paths.index("world")
    copy = path.with_suffix(".tmp")
    shutil.copy(path, copy)
    with duckdb.connect(str(copy)) as connection:
        for number, label in enumerate(LABELS):
            connection.execute("UPDATE concepts SET name = ? WHERE concept = ?", [label, number])
        for number, name in ((1, "recipes"), (2, "jailbreaks · fiction")):
            connection.execute("UPDATE contexts SET name = ? WHERE context = ?", [name, number])
        connection.execute("UPDATE pairs SET source = 'persona' WHERE source = 'beta'")
        connection.execute(
            "UPDATE pairs SET meta = json_merge_patch(meta, json_object('user_is_wrong', pair % 5 = 0,"
            " 'url_verified', pair % 7 = 0))"
        )
    copy.replace(path)
    return world


@pytest.fixture(scope="module")
def docs_store(docs_world: World) -> Iterator[Store]:
    with Store(docs_world.paths.index("world"), threads=2) as store:
        yield store


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"example {i + 1}" for i in range(len(EXAMPLES))])
def test_every_example_plans_and_compiles(
    docs_world: World, docs_store: Store, tmp_path: Path, example: str
) -> None:
    plan = make_plan(docs_store, example)
    assert [e.text for e in plan.expectations if not e.holds] == []
    assert plan.conflicts == 0
    compile_plan(docs_store, plan, docs_world.paths.pairs, tmp_path)
    assert format_text(format_text(example)) == format_text(example)


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 14


def test_the_filter_that_backfired_is_warned_about(docs_store: Store) -> None:
    """The page quotes it; the concept leans to chosen inside and outside of the context alike."""
    quoted = re.search(r"`(suppress @benchmark by dropping 100% [^`]*)`", PAGE)
    assert quoted is not None
    # a concept that chosen carries with log odds 1.5 everywhere
    text = 'prosect rules 1\nconcept benchmark = @"bold · lists"\n' + quoted[1] + "\n"
    codes = [w.code for w in make_plan(docs_store, text).warnings]
    assert "R509" in codes
    everywhere = text.replace(' where context("recipes")', "")
    assert "R509" not in [w.code for w in make_plan(docs_store, everywhere).warnings]


@pytest.mark.parametrize(
    "word",
    sorted({*VERBS, *AGGREGATES, *FUNCTIONS, *COLUMNS, *NAMES, *ABOUT, *TARGETS}),
)
def test_every_word_of_the_language_is_documented(word: str) -> None:
    tail = word.split(".")[-1]
    assert re.search(rf"(?<![\w]){re.escape(word)}(?![\w])|…\.{re.escape(tail)}(?![\w])", PAGE)


def test_every_code_is_listed_with_its_title() -> None:
    for entry in EXPLANATIONS.values():
        assert f"| {entry.code} | {entry.title} |" in PAGE
