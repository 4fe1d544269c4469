"""Shaped datasets: same meaning, same bytes; nothing is written that does not add up."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.compiler.emit import compile_plan
from engine.compiler.from_verdicts import rules_from_verdicts
from engine.compiler.lock import drift_of
from engine.compiler.plan import catalogue_of, make_plan
from engine.compiler.records import VerdictNote
from engine.compiler.rows import condition_rows, touched_rows
from engine.compiler.verbs import (
    CompileRequest,
    check_text,
    compile_file,
    format_file,
    highlight,
)
from engine.errors import CompileError, RuleError
from engine.manifest import hash_file
from engine.progress import NullProgress
from engine.records import Verdict
from engine.rules.diagnostics import RuleFileError
from engine.store.connection import Store
from tests.worlds import World

RULES = """prosect rules 1
concept a = @"concept 0"
gone: drop where source == "alpha" and meta.rating > 3 because "bad annotator"
less: weight *= 0.5, tag "short" where chosen.tokens < 40
wrong: flip where delta(@a) < -1
bold: inoculate "Be bold." where delta(@a) > 0
suppress @a by matching max 6
soften context("tea") by 0.25
"""


def written(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "build.json"}


def test_the_same_meaning_gives_the_same_bytes(world: World, store: Store, tmp_path: Path) -> None:
    lines = RULES.splitlines()
    other = "\n".join([lines[0], "# comment", lines[1], *reversed(lines[2:])]) + "\n\n"
    first = compile_plan(store, make_plan(store, RULES), world.paths.pairs, tmp_path / "a")
    second = compile_plan(store, make_plan(store, other), world.paths.pairs, tmp_path / "b")
    assert first.content_hash == second.content_hash
    assert written(first.folder) == written(second.folder)
    again = compile_plan(store, make_plan(store, RULES), world.paths.pairs, tmp_path / "a")
    assert again.was_there


def test_another_meaning_gives_another_folder(world: World, store: Store, tmp_path: Path) -> None:
    first = compile_plan(store, make_plan(store, RULES), world.paths.pairs, tmp_path)
    second = compile_plan(store, make_plan(store, RULES.replace("0.25", "0.26")), world.paths.pairs, tmp_path)
    assert first.folder != second.folder


def test_train_holds_the_kept_pairs_with_their_sides(world: World, store: Store, tmp_path: Path) -> None:
    plan = make_plan(store, RULES)
    folder = compile_plan(store, plan, world.paths.pairs, tmp_path).folder
    table = pq.read_table(folder / "train.parquet")
    kept = np.flatnonzero(plan.fates.weight > 0)
    rows = table.to_pylist()
    assert [r["pair_id"] for r in rows] == [world.pair_rows[i]["pair_id"] for i in kept]
    assert np.mean([r["weight"] for r in rows]) == pytest.approx(1.0)
    for i, row in zip(kept, rows, strict=True):
        source = world.pair_rows[i]
        sides = (
            (source["rejected"], source["chosen"])
            if row["flipped"]
            else (source["chosen"], source["rejected"])
        )
        assert (row["prompt"], row["chosen"], row["rejected"]) == (source["prompt"], *sides)
        assert row["fold"] != 19
        assert row["rules"] == sorted(n for n, hit in plan.fates.touched.items() if hit[i])
        assert (row["inoculation"] == "Be bold.") == ("bold" in row["rules"])
        assert row["tags"] == (["short"] if "less" in row["rules"] else [])
    lines = [json.loads(x) for x in (folder / "train.jsonl").read_text().splitlines()]
    assert lines == rows


def test_the_ledger_has_one_fate_and_a_reason_per_pair(world: World, store: Store, tmp_path: Path) -> None:
    plan = make_plan(store, RULES)
    folder = compile_plan(store, plan, world.paths.pairs, tmp_path).folder
    ledger = pq.read_table(folder / "ledger.parquet").to_pylist()
    assert [r["pair_id"] for r in ledger] == [r["pair_id"] for r in world.pair_rows]
    for row, source in zip(ledger, world.pair_rows, strict=True):
        if source["label"] != "chosen":
            assert row["fate"] == "unlabelled"
        elif source["fold"] == 19:
            assert row["fate"] == "held_out"
        if row["fate"] == "dropped":
            assert row["reason"] == "gone: bad annotator"
            assert row["weight"] == 0
        assert (row["fate"] == "kept") == (row["reason"] is None)
    counts = {k: sum(r["fate"] == k for r in ledger) for k in ("kept", "dropped", "held_out", "unlabelled")}
    assert counts == {k: plan.counts[k] for k in counts}


def test_the_manifest_names_every_file_by_hash(world: World, store: Store, tmp_path: Path) -> None:
    folder = compile_plan(store, make_plan(store, RULES), world.paths.pairs, tmp_path).folder
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["fingerprint"] == folder.name
    for name, digest in manifest["facts"]["files"].items():
        assert hash_file(folder / name) == digest
    assert "started" in json.loads((folder / "build.json").read_text())


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ("drop\n", "no pair is left"),
        ("weight = 2\nweight = 3 where meta.rating > 2\n", "different weights"),
        ("expect kept < 3\n", "expectations fail"),
    ],
)
def test_a_bad_plan_is_not_written(
    world: World, store: Store, tmp_path: Path, rules: str, problem: str
) -> None:
    plan = make_plan(store, "prosect rules 1\n" + rules)
    with pytest.raises(CompileError, match=problem):
        compile_plan(store, plan, world.paths.pairs, tmp_path / "shaped")
    assert not (tmp_path / "shaped").exists()


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ('steer @"concept 1" by 3 at layer 2', "steers by 3 median lengths"),
        ('steer @"concept 1" by 0.3 at layer 2 where meta.rating > 1000', "none of the pairs that are kept"),
        ('ablate @"concept 1" at layer 9', "no layer 9"),
        ('steer @"concept 1" by 0.3 at layer 4', "no layer 4"),
    ],
)
def test_training_that_no_run_could_do_is_not_compiled(
    world: World, store: Store, tmp_path: Path, statement: str, problem: str
) -> None:
    plan = make_plan(store, f"prosect rules 1\n{statement}\n")
    with pytest.raises(CompileError, match=problem):
        compile_plan(store, plan, world.paths.pairs, tmp_path / "shaped", n_blocks=4)
    assert not (tmp_path / "shaped").exists()


def test_pairs_of_another_index_are_refused(world: World, store: Store, tmp_path: Path) -> None:
    table = pq.read_table(world.paths.pairs)
    pq.write_table(pa.concat_tables([table.slice(1), table.slice(0, 1)]), tmp_path / "pairs.parquet")
    with pytest.raises(CompileError, match="the index"):
        compile_plan(store, make_plan(store, RULES), tmp_path / "pairs.parquet", tmp_path / "shaped")
    assert list((tmp_path / "shaped").iterdir()) == []


def test_a_lock_freezes_and_drift_is_an_error(world: World, store: Store, tmp_path: Path) -> None:
    rules = tmp_path / "a.rules"
    rules.write_text(RULES)
    request = CompileRequest(rules, world.paths.pairs, tmp_path / "shaped")
    first = compile_file(store, request)
    assert first.lock_path.exists()
    locked = CompileRequest(rules, world.paths.pairs, tmp_path / "shaped", locked=True)
    assert compile_file(store, locked).dataset.was_there
    rules.write_text(RULES.replace("0.25", "0.3"))
    before = first.lock_path.read_bytes()
    with pytest.raises(CompileError, match="meaning"):
        compile_file(store, locked)
    assert first.lock_path.read_bytes() == before
    assert compile_file(store, request).drift != ()


def test_kept_pairs_that_no_trainer_can_render_are_said(world: World, store: Store, tmp_path: Path) -> None:
    table = pq.read_table(world.paths.pairs)
    plan = make_plan(store, "prosect rules 1\n")
    bare = set(np.flatnonzero(plan.fates.weight > 0)[:2].tolist())
    prompts = [[] if i in bare else prompt for i, prompt in enumerate(table.column("prompt").to_pylist())]
    at = table.schema.get_field_index("prompt")
    changed = table.set_column(at, table.schema.field(at), pa.array(prompts, table.schema.field(at).type))
    pq.write_table(changed, tmp_path / "pairs.parquet")

    class Notes(NullProgress):
        said: list[str] = []  # noqa: RUF012 - one instance

        def note(self, text: str) -> None:
            self.said.append(text)

    compile_plan(store, plan, tmp_path / "pairs.parquet", tmp_path / "shaped", progress=Notes())
    assert [text for text in Notes.said if "prompt.turns == 0" in text] == [
        "2 kept pairs have no prompt, and no trainer renders that: `drop where prompt.turns == 0`"
    ]


def test_a_rule_that_reads_files_has_them_in_its_lock(store: Store) -> None:
    """The hash of an index does not say where they lay: in another folder the rule may mean other pairs."""
    version = "prosect rules 1\n"
    by_file = make_plan(store, version + 'drop where source_file == "there/world.jsonl"\n').lock
    assert by_file["files"] == ["world.jsonl"]
    assert "files" not in make_plan(store, version + "drop where source_row < 3\n").lock
    moved = by_file | {"files": ["there/world.jsonl"]}
    assert drift_of(by_file, moved) == [
        "files that the pairs came from: 1 added since, 1 no longer there",
    ]


def test_locked_needs_a_lock(world: World, store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.rules").write_text(RULES)
    request = CompileRequest(tmp_path / "a.rules", world.paths.pairs, tmp_path / "shaped", locked=True)
    with pytest.raises(CompileError, match="no lock"):
        compile_file(store, request)


def test_the_lock_tells_the_trainer_what_to_do(store: Store) -> None:
    plan = make_plan(
        store,
        'prosect rules 1\ns: steer @"concept 1" by -0.3 at layer 2\n'
        'm: mask tokens where @"concept 0" > 0.3 and not @"concept 1" > 1\n',
    )
    entries = {e["name"]: e for e in plan.lock["training"]}
    assert entries["s"]["concept"]["members"] == [5, 6, 7, 8, 9]
    assert (entries["s"]["layer"], entries["s"]["amount"]) == (2, -0.3)
    assert entries["m"]["tokens"] == [
        "and",
        ["<", 0.3, ["activation", [0, 1, 2, 3, 4]]],
        ["not", ["<", 1.0, ["activation", [5, 6, 7, 8, 9]]]],
    ]


def test_verdicts_become_rules_that_plan(store: Store) -> None:
    catalogue = catalogue_of(store)
    concepts, contexts = catalogue.concepts, catalogue.contexts
    notes = [
        VerdictNote(concepts[0].concept_id, Verdict.SUPPRESS, "over-styled!", reason="ugly", entry="e1"),
        VerdictNote(concepts[1].concept_id, Verdict.AMPLIFY, context_id=contexts[1].context_id),
        VerdictNote(concepts[2].concept_id, Verdict.KEEP, entry="e3"),
        VerdictNote(concepts[3].concept_id, Verdict.IGNORE),
        VerdictNote("f" * 32, Verdict.SUPPRESS, entry="e5"),
    ]
    for method in ("matching", "offset", "dropping"):
        text = rules_from_verdicts(notes, catalogue, method=method)
        assert "concept over_styled = id" in text
        assert "# ugly · journal e1" in text
        assert "suppress_over_styled: suppress @over_styled by" in text
        assert "# held: concept 2 · journal e3" in text
        assert "not in this index" in text
        plan = make_plan(store, text, verdicts=notes)
        assert {r.kind for r in plan.rules} == {f"suppress by {method}", f"amplify by {method}"}


def test_the_small_verbs_work_on_files(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a.rules"
    path.write_text('prosect rules 1\ndrop   where source=="x"\nexpect dropped==0\n')
    assert format_file(path, check_only=True)
    assert format_file(path)
    assert not format_file(path)
    assert check_text("prosect rules 1\nfilp\n", None)[0].code == "R101"
    assert check_text("prosect rules 1\ndrop where @z > 1\n", store)[0].code == "R201"
    with pytest.raises(RuleError, match="there is no rule file"):
        format_file(tmp_path / "missing.rules")
    path.write_bytes(b"prosect rules 1\n\xff\xfe")
    with pytest.raises(RuleError, match="cannot be read"):
        format_file(path)


def test_a_condition_on_its_own_speaks_the_same_language(world: World, store: Store) -> None:
    found = condition_rows(store, 'source == "alpha" and delta(@"concept 1") > 0', None, 5)
    assert found.n_pairs > 5
    assert [r.source for r in found.rows] == ["alpha"] * 5
    assert found.rows[0].chosen == world.pair_rows[found.rows[0].pair]["chosen"][0]["content"]
    with pytest.raises(RuleFileError):
        condition_rows(store, "source == 3", None, 5)
    with pytest.raises(RuleFileError):
        condition_rows(store, "source ==", None, 5)


def test_highlighting_covers_every_word() -> None:
    styles = {RULES[s.start : s.end]: s.style for s in highlight(RULES + "# note\n") if s.end <= len(RULES)}
    assert styles["drop"] == "verb"
    assert styles['"alpha"'] == "string"
    assert styles["@a"] == "concept"
    assert styles["0.5"] == "number"


def test_the_rows_behind_a_count_can_be_opened(store: Store) -> None:
    plan = make_plan(store, RULES)
    overlap = next(o for o in plan.overlaps if {o.first, o.second} == {"less", "wrong"})
    found = touched_rows(store, plan, ("less", "wrong"), limit=3)
    assert found.n_pairs == overlap.n_pairs
    assert all({"less", "wrong"} <= set(r.rules) for r in found.rows)
    assert [r.weight for r in found.rows] == [plan.fates.weight[r.pair] for r in found.rows]
    with pytest.raises(RuleError, match="no statement `wrogn`") as error:
        touched_rows(store, plan, ("wrogn",), 3)
    assert error.value.hint == "did you mean `wrong`?"
