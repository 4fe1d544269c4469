"""Rule files: saved only over what was read, previewed against the index, drafted from verdicts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.compiler.lock import write_lock
from engine.compiler.plan import catalogue_of, make_plan
from engine.errors import RuleError
from engine.live.browse import Browser
from engine.live.edit_history import MAX_CHARACTERS, MAX_STEPS, read_steps, write_steps
from engine.pipeline.shape import Decisions, plan_file
from engine.records import Verdict
from engine.settings import ReviewSettings, RulesSettings
from engine.store.build import current_index
from engine.store.connection import Store
from engine.views.rules import Steps
from engine.views.tables import Target
from tests.worlds import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path / "p", 120, 24)


@pytest.fixture
def browser(world: World) -> Iterator[Browser]:
    browser = Browser(world.paths, ReviewSettings(author="ana"))
    yield browser
    browser.close()


def test_a_new_file_starts_with_its_first_line_and_is_saved_and_listed(browser: Browser) -> None:
    draft = browser.read_rules("main")
    assert (draft.text, draft.stamp) == ("prosect rules 1\n", "")
    saved = browser.save_rules("main", draft.text + "drop where chosen.tokens > 50\n", draft.stamp)
    assert browser.read_rules("main") == saved
    assert browser.rule_files() == ("main",)


def test_a_file_changed_elsewhere_is_not_overwritten(browser: Browser) -> None:
    first = browser.save_rules("main", "prosect rules 1\n", "")
    browser.rules_path("main").write_text("prosect rules 1\n# by hand\n")
    with pytest.raises(RuleError, match="changed elsewhere"):
        browser.save_rules("main", "prosect rules 1\nflip\n", first.stamp)
    assert "# by hand" in browser.read_rules("main").text


@pytest.mark.parametrize("name", ["../evil", "", "a/b", ".hidden", "x" * 200])
def test_a_name_cannot_leave_the_folder(browser: Browser, name: str) -> None:
    with pytest.raises(RuleError, match="no name"):
        browser.read_rules(name)


def test_a_preview_counts_every_pair_once(world: World, browser: Browser) -> None:
    preview = browser.plan_preview("prosect rules 1\nlong: drop where chosen.tokens > 60\n")
    counts = dict(preview.counts)
    assert preview.has_plan
    kinds = ("kept", "dropped", "held_out", "unlabelled", "refused")
    assert sum(counts[k] for k in kinds) == counts["total"] == 120
    long = sum(
        1
        for i, row in enumerate(world.pair_rows)
        if row["label"] == "chosen" and row["fold"] != 19 and world.readings.pairs.chosen_tokens[i] > 60
    )
    assert counts["dropped"] == long
    assert [(e.name, e.line, e.n_effect) for e in preview.effects] == [("long", 2, long)]


def test_statements_without_a_name_are_called_by_their_line(browser: Browser) -> None:
    """By effect, overlap, what moves a concept and what a pair's fate comes of; a name stays a name."""
    text = "prosect rules 1\ndrop where chosen.tokens > 60\nlong: weight *= 2 where chosen.tokens > 50\n"
    preview = browser.plan_preview(text)
    called = ["line 2 drop", "long"]
    assert [e.name for e in preview.effects] == called
    assert {frozenset(o[:2]) for o in preview.overlaps} == {frozenset(called)}
    assert [getattr(browser.left_out(text, n), "name", "") for n in (0, 1)] == called
    fates = [browser.pair_fate(text, pair) for pair in range(20)]
    assert {n for f in fates if f for n in (*f.touched_by, *f.dropped_by)} == set(called)


def test_statements_are_left_out_by_number_as_often_as_asked(browser: Browser) -> None:
    statements = ('tag "x" where true', "a: drop where chosen.tokens > 60", "b: flip where meta.rating == 1")
    text = "\n".join(("prosect rules 1", *statements, ""))
    found = [browser.left_out(text, number) for number in (1, 0, 0, 2)]
    assert [s and (s.name, s.kind, s.line, s.n_statements) for s in found] == [
        ("b", "flip", 4, 2), ("a", "drop", 3, 2), ("a", "drop", 3, 2), None,
    ]  # fmt: skip
    assert found[1] == found[2]
    after = {s.concept_id: s.mean_after for s in browser.plan_preview(text).shifts}
    without = {
        s.concept_id: s.mean_after
        for s in browser.plan_preview("prosect rules 1\na: drop where chosen.tokens > 60\n").shifts
    }
    (one,) = (s for s in found if s is not None and s.name == "b")
    assert one.means is not None
    assert {ident: m.with_it for ident, m in one.means.items()} == after
    assert {ident: m.without for ident, m in one.means.items()} == pytest.approx(without)


def test_concepts_are_offered_by_evidence_those_with_a_name_first(browser: Browser) -> None:
    cursor = browser.open_table("hypotheses", "family:concepts")
    rows = cursor.rows(0, 5)
    ident, name = cursor.spec.index("concept_id"), cursor.spec.index("concept")
    browser.set_name(str(rows[3].values[ident]), "politeness")
    text = "prosect rules 1\nsuppress "
    offered = [word for _, word in browser.rule_completer()(text, len(text))]
    strongest = [f'@"{row.values[name]}"' for row in rows]
    assert offered[:4] == ["@politeness", *strongest[:3]]
    assert offered[4] == strongest[4]


def test_an_error_is_placed_by_line_and_column(browser: Browser) -> None:
    preview = browser.plan_preview("prosect rules 1\ndrop wher x\n")
    assert not preview.has_plan
    assert [(f.line, f.column) for f in preview.findings] == [(2, 6)]


def test_drafted_rules_name_concepts_by_id_and_plan(browser: Browser) -> None:
    cursor = browser.open_table("hypotheses", "family:concepts")
    concept_id = cursor.rows(0, 1)[0].values[cursor.spec.index("concept_id")]
    browser.set_verdict([Target("concept", concept_id, concept_id)], Verdict.SUPPRESS)
    lines = browser.missing_rules("prosect rules 1\n")
    text = "prosect rules 1\n" + "\n".join(lines) + "\n"
    preview = browser.plan_preview(text)
    assert preview.has_plan, preview
    target = next(s for s in preview.shifts if s.is_target)
    assert target.concept_id == concept_id
    assert target.mean_after == pytest.approx(0, abs=1e-6)
    assert browser.missing_rules(text) == ()


def test_steps_are_kept_for_the_text_that_they_led_to(browser: Browser) -> None:
    steps = Steps(("prosect rules 1\n", "prosect rules 1\nflip\n"), ("prosect rules 1\n# next\n",))
    saved = browser.save_rules("main", "prosect rules 1\ndrop\n", "", steps)
    assert browser.read_rules("main").steps == steps
    browser.rules_path("main").write_text("prosect rules 1\n# by hand\n")
    assert browser.read_rules("main").steps == Steps()
    browser.rules_path("main").write_text(saved.text)
    assert browser.read_rules("main").steps == steps


def test_of_too_many_steps_the_nearest_are_kept(world: World) -> None:
    texts = tuple(f"{n}" for n in range(MAX_STEPS + 5))
    write_steps(world.paths, "main", "s", Steps(texts, texts))
    assert read_steps(world.paths, "main", "s") == Steps(texts[5:], texts[:-5])
    half = "x" * (MAX_CHARACTERS // 2)
    write_steps(world.paths, "main", "s", Steps((half, half, half), (half, half + "x")))
    assert read_steps(world.paths, "main", "s") == Steps((half, half), (half,))


def test_rules_are_saved_although_their_steps_cannot_be(world: World, browser: Browser) -> None:
    world.paths.cache_dir.write_text("no folder")
    saved = browser.save_rules("main", "prosect rules 1\n", "")
    assert "undo will not outlast" in saved.remark
    assert browser.read_rules("main").text == "prosect rules 1\n"


def test_damaged_steps_are_none(world: World) -> None:
    write_steps(world.paths, "main", "s", Steps(("a",)))
    for text in ("{", "[]", '{"v": 1, "stamp": "s", "past": 3, "future": []}'):
        (world.paths.cache_dir / "undo" / "main.json").write_text(text)
        assert read_steps(world.paths, "main", "s") == Steps()


def test_files_that_are_there_are_read_whatever_they_are_called(browser: Browser, world: World) -> None:
    folder = world.paths.rules_dir
    folder.mkdir(exist_ok=True)
    for name in ("odd (1)", "größe+1", ".backup"):
        (folder / f"{name}.rules").write_text("prosect rules 1\n# here\n", encoding="utf-8")
    assert browser.rule_files() == ("größe+1", "odd (1)")
    for name in browser.rule_files():
        found = browser.read_rules(name)
        assert browser.save_rules(name, found.text + "flip\n", found.stamp).text.endswith("flip\n")
    for name in ("new (2)", "../other", ".hidden", "a/b"):
        with pytest.raises(RuleError, match="no name for a new rule file"):
            browser.read_rules(name)


def test_a_preview_means_by_a_label_pattern_what_the_lock_of_its_file_says(
    browser: Browser, world: World
) -> None:
    """As compiling that file does; another file, or none, resolves the pattern anew."""
    text = "prosect rules 1\nconcept c = label ~ /concept 3/\ndrop where delta(@c) > 0\n"
    browser.save_rules("main", text, "")
    with Store(world.paths.index(current_index(world.paths).index_hash)) as store:
        lock = make_plan(store, text).lock
        other = next(c.concept_id for c in catalogue_of(store).concepts if c.label == "concept 5")
        now = dict(browser.plan_preview(text, "main").counts)["dropped"]
        (pattern,) = lock["label_patterns"]
        frozen = lock | {"label_patterns": {pattern: [other]}}
        write_lock(browser.rules_path("main").with_suffix(".lock"), frozen)
        direct = text.replace("label ~ /concept 3/", '@"concept 5"')
        meant = make_plan(store, direct).counts["dropped"]
    assert now != meant
    preview = browser.plan_preview(text, "main")
    assert dict(preview.counts)["dropped"] == meant
    assert [f.code for f in preview.findings] == ["R502"]
    assert dict(browser.plan_preview(text).counts)["dropped"] == now
    assert browser.pair_fate(text, 0, "main") == browser.pair_fate(direct, 0)
    decisions, settings = Decisions((), {}, {}), RulesSettings()
    path = browser.rules_path("main")
    assert plan_file(world.paths, path, decisions, settings).counts["dropped"] == meant
    assert plan_file(world.paths, path, decisions, settings, update_lock=True).counts["dropped"] == now


def test_bytes_that_are_no_text_are_kept_and_are_an_error_where_they_stand(browser: Browser) -> None:
    browser.save_rules("main", "prosect rules 1\n", "")
    path = browser.rules_path("main")
    path.write_bytes(b'prosect rules 1\ndrop where source == "\xff\xfe"\n')
    found = browser.read_rules("main")
    assert [f.line for f in browser.plan_preview(found.text, "main").findings] == [2]
    saved = browser.save_rules("main", found.text + "flip\n", found.stamp)
    assert path.read_bytes() == b'prosect rules 1\ndrop where source == "\xff\xfe"\nflip\n'
    assert browser.read_rules("main").stamp == saved.stamp
