"""Deciding without the workstation: one journal, one author, nothing lost."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli.main import main
from tests.worlds import make_world


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_world(tmp_path / "audit").paths.root


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


def held(project: Path) -> dict[str, str]:
    listed = json.loads(run("verdicts", "list", project, "--json").stdout)
    return {v["name"]: v["verdict"] for v in listed["verdicts"]}


def test_verdict_is_set_undone_and_restored(project: Path) -> None:
    set_ = (
        "verdicts",
        "set",
        project,
        "suppress",
        "concept 0",
        "concept 3",
        "--reason",
        "why not",
        "--author",
        "ann",
    )
    assert run(*set_).exit_code == 0
    assert held(project) == {"concept 0": "suppress", "concept 3": "suppress"}
    assert run("verdicts", "undo", project, "--author", "ann").exit_code == 0
    assert held(project) == {}
    assert run("verdicts", "redo", project, "--author", "ann").exit_code == 0
    assert held(project) == {"concept 0": "suppress", "concept 3": "suppress"}


def test_a_concept_that_was_named_is_still_found_by_its_label(project: Path) -> None:
    assert run("verdicts", "name", project, "concept 1", "hedging").exit_code == 0
    by_name = json.loads(run("show", project, "hedging", "--json").stdout)
    assert json.loads(run("show", project, "Concept 1", "--json").stdout) == by_name
    refused = run("verdicts", "name", project, "concept 2", "concept 1")
    assert refused.exit_code == 1
    assert "`concept 1` is what the concept concept 1 is called" in refused.stderr


def test_a_concept_given_twice_is_decided_once(project: Path) -> None:
    said = run("verdicts", "set", project, "keep", "concept 1", "Concept 1", "concept 2")
    assert said.stdout == "keep: 2 concepts\n"
    assert len(json.loads(run("verdicts", "log", project, "--json").stdout)) == 2


def test_list_shows_the_name_of_today_and_the_one_of_then_where_it_differs(project: Path) -> None:
    run("verdicts", "set", project, "keep", "concept 1")
    run("verdicts", "set", project, "suppress", "concept 2")
    run("verdicts", "name", project, "concept 1", "hedging")
    rows = [line.split("\t") for line in run("verdicts", "list", project, "--plain").stdout.splitlines()]
    assert [(row[0], row[1], row[-1]) for row in rows[1:]] == [
        ("keep", "hedging", "called concept 1 then"),
        ("suppress", "concept 2", ""),
        ("name", "hedging", ""),
    ]
    listed = json.loads(run("verdicts", "list", project, "--json").stdout)
    assert sorted(listed["called"].values()) == ["concept 2", "hedging"]


def test_undo_leaves_other_authors_alone(project: Path) -> None:
    run("verdicts", "set", project, "keep", "concept 1", "--author", "ann")
    run("verdicts", "set", project, "amplify", "concept 2", "--author", "bob")
    run("verdicts", "undo", project, "--author", "ann")
    assert held(project) == {"concept 2": "amplify"}


def test_every_column_of_the_journal_has_a_name(project: Path) -> None:
    run("verdicts", "set", project, "keep", "concept 1", "--author", "ann")
    run("verdicts", "undo", project, "--author", "ann")
    header, *rows = (
        line.split("\t") for line in run("verdicts", "log", project, "--plain").stdout.splitlines()
    )
    assert all(header)
    assert [dict(zip(header, row, strict=True))["remark"] for row in rows] == ["undone", "of step 1"]
    assert all(run("verdicts", "list", project, "--plain").stdout.splitlines()[0].split("\t"))


def test_log_keeps_what_was_undone(project: Path) -> None:
    run("verdicts", "set", project, "keep", "concept 1", "--author", "ann")
    run("verdicts", "undo", project, "--author", "ann")
    entries = json.loads(run("verdicts", "log", project, "--json").stdout)
    assert [e["kind"] for e in entries] == ["verdict", "undo"]


def test_log_is_in_order_of_time_and_says_what_is_undone_and_what_an_undo_is_about(project: Path) -> None:
    for verdict, concept in (("keep", "concept 1"), ("suppress", "concept 2"), ("amplify", "concept 3")):
        run("verdicts", "set", project, verdict, concept, "--author", "ann")
    run("verdicts", "undo", project, "--author", "ann")
    run("verdicts", "undo", project, "--author", "ann")
    run("verdicts", "redo", project, "--author", "ann")
    journal = project / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join([*lines[1:], lines[0]]))  # as a merge may leave it: the first entry comes last
    header, *rows = [
        line.split("\t") for line in run("verdicts", "log", project, "--plain").stdout.splitlines()
    ]
    step, entry, name, about = (header.index(name) for name in ("step", "entry", "concept", "remark"))
    assert [(row[step], row[entry], row[name], row[about]) for row in rows] == [
        ("1", "verdict", "concept 1", ""),
        ("2", "verdict", "concept 2", ""),
        ("3", "verdict", "concept 3", "undone"),
        ("4", "undo", "", "of step 3"),
        ("5", "undo", "", "of step 2"),
        ("6", "redo", "", "of step 2"),
    ]
    entries = json.loads(run("verdicts", "log", project, "--json").stdout)
    assert [e["is_undone"] for e in entries] == [False, False, True, False, False, False]


def test_journals_merge_and_conflicts_are_shown_before_anything_is_written(
    project: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(project, other)
    run("verdicts", "set", project, "keep", "concept 1", "--author", "ann")
    run("verdicts", "set", other, "suppress", "concept 1", "--author", "bob")
    run("verdicts", "set", other, "ignore", "concept 4", "--author", "bob")
    assert run("verdicts", "export", other, tmp_path / "bob.jsonl").exit_code == 0
    asked = run("verdicts", "merge", project, tmp_path / "bob.jsonl")
    assert asked.exit_code == 3
    assert "concept 1" in asked.stdout
    assert held(project) == {"concept 1": "keep"}
    assert run("verdicts", "merge", project, tmp_path / "bob.jsonl", "--prefer", "ours").exit_code == 0
    assert held(project) == {"concept 1": "keep", "concept 4": "ignore"}


def test_verdicts_become_a_rule_file_that_plans(project: Path, tmp_path: Path) -> None:
    run("verdicts", "set", project, "suppress", "concept 0", "--reason", "too much", "--author", "ann")
    written = tmp_path / "from.rules"
    assert run("rules", "from-verdicts", project, "-o", written).exit_code == 0
    assert "too much" in written.read_text()
    plan = json.loads(run("plan", project, written, "--json").stdout)
    target = next(c for c in plan["collateral"] if c["is_target"])
    assert abs(target["mean_after"]) < 1e-4 < abs(target["mean_before"])


def test_a_name_given_by_a_person_is_what_lists_show(project: Path) -> None:
    run("verdicts", "name", project, "concept 5", "opens with praise", "--author", "ann")
    rows = json.loads(run("concepts", project, "--json", "-f", "praise").stdout)["rows"]
    assert [row["concept"] for row in rows] == ["opens with praise"]
    names = json.loads(run("verdicts", "list", project, "--json").stdout)["names"]
    assert [(n["name"], n["author"], n["carried_from"]) for n in names] == [
        ("opens with praise", "ann", None)
    ]
    run("verdicts", "name", project, "opens with praise", "--author", "ann")
    assert json.loads(run("concepts", project, "--json", "-f", "praise").stdout)["rows"] == []


def test_unknown_and_ambiguous_concepts_are_refused(project: Path) -> None:
    assert "no such" in run("verdicts", "set", project, "keep", "no such thing").stderr
    ambiguous = run("verdicts", "set", project, "keep", "concept")
    assert ambiguous.exit_code == 1
    assert "more than one" in ambiguous.stderr


def test_a_concept_is_decided_on_inside_one_context(project: Path, tmp_path: Path) -> None:
    contexts = json.loads(run("contexts", project, "--json").stdout)["rows"]
    name = next(row["context"] for row in contexts if row["context"] != "everywhere")
    other = tmp_path / "other"
    shutil.copytree(project, other)
    set_ = ("verdicts", "set", project, "suppress", "concept 1", "--context", name[:-1], "--author", "ann")
    assert run(*set_).exit_code == 0, run(*set_).output
    run("verdicts", "set", project, "keep", "concept 1", "--context", "everywhere", "--author", "ann")
    listed = json.loads(run("verdicts", "list", project, "--json").stdout)
    inside = next(v for v in listed["verdicts"] if v["target"]["kind"] == "hypothesis")
    assert inside["verdict"] == "suppress"
    assert listed["contexts"] == {f"hypothesis:{inside['target']['ident']}": name}
    for command in ("list", "log"):
        rows = [line.split("\t") for line in run("verdicts", command, project, "--plain").stdout.splitlines()]
        at = rows[0].index("in context")
        assert {row[at] for row in rows[1:]} == {name, "everywhere"}
    rest = ("concept 1", "--context", name, "--author", "bob")
    run("verdicts", "set", other, "amplify", *rest)
    run("verdicts", "export", other, tmp_path / "bob.jsonl")
    assert name in run("verdicts", "merge", project, tmp_path / "bob.jsonl").stdout
    assert run("verdicts", "clear", project, "concept 1", "--context", name, "--author", "ann").exit_code == 0
    assert held(project) == {"concept 1": "keep"}
    refused = run("verdicts", "set", project, "keep", "concept 1", "--context", "nowhere")
    assert refused.exit_code == 1
    assert "no context is called" in refused.stderr


@pytest.mark.parametrize("strength", ["-1", "nan", "inf"])
def test_a_strength_that_no_rule_file_takes_is_refused(project: Path, tmp_path: Path, strength: str) -> None:
    run("verdicts", "set", project, "suppress", "concept 0")
    written = tmp_path / "from.rules"
    command = ("rules", "from-verdicts", project, "-o", written)
    refused = run(*command, "--method", "offset", "--strength", strength)
    assert refused.exit_code == 1
    assert f"must be a number from 0 on, not {strength}" in refused.stderr
    assert not written.exists()
    elsewhere = run(*command, "--method", "dropping", "--strength", "0.5")
    assert elsewhere.exit_code == 2
    assert "--strength is the λ of offsets" in elsewhere.stderr
    assert run(*command, "--method", "offset", "--strength", "0.00001").exit_code == 0
    assert run("rules", "check", written, "--project", project).exit_code == 0


def test_clearing_what_has_no_verdict_writes_nothing(project: Path) -> None:
    run("verdicts", "set", project, "keep", "concept 1", "--author", "ann")
    before = (project / "journal.jsonl").read_bytes()
    for words, said in (
        (("concept 2",), "nothing to clear: concept 2 has no verdict\n"),
        (("concept 2", "concept 3"), "nothing to clear: none of 2 has a verdict\n"),
        (("concept 1", "--context", "tea"), "nothing to clear: concept 1 has no verdict in this context\n"),
    ):
        assert run("verdicts", "clear", project, *words, "--author", "ann").stdout == said
    assert (project / "journal.jsonl").read_bytes() == before
    both = run("verdicts", "clear", project, "concept 1", "concept 2", "--author", "ann")
    assert both.stdout == "cleared: concept 1\n"
    assert held(project) == {}
    assert run("verdicts", "undo", project, "--author", "ann").exit_code == 0
    assert held(project) == {"concept 1": "keep"}


def test_damaged_lines_and_a_journal_from_the_future_are_said(project: Path) -> None:
    run("verdicts", "set", project, "keep", "concept 0")
    journal = next(project.rglob("journal.jsonl"))
    line = json.loads(journal.read_text().splitlines()[0])
    late = json.dumps(line | {"id": "f" * 16, "batch": "e" * 12, "time": "2099-01-01T00:00:00.000000+00:00"})
    journal.write_text(journal.read_text() + "no line of ours\n" + late + "\n")
    for command in ("list", "log"):
        found = run("verdicts", command, project)
        assert found.exit_code == 0
        assert "1 line of" in found.stderr
        assert "dated 2099-01-01" in found.stderr
        assert "warning" not in found.stdout


def test_an_export_goes_to_standard_output_and_over_nothing_that_is_there(
    project: Path, tmp_path: Path
) -> None:
    run("verdicts", "set", project, "keep", "concept 0")
    shown = run("verdicts", "export", project, "-")
    assert [json.loads(line)["verdict"] for line in shown.stdout.splitlines()] == ["keep"]
    there = tmp_path / "there.jsonl"
    there.write_text("mine")
    refused = run("verdicts", "export", project, there)
    assert refused.exit_code == 1
    assert "--overwrite" in refused.stderr
    assert there.read_text() == "mine"
    assert run("verdicts", "export", project, there, "--overwrite").exit_code == 0
    missing = run("verdicts", "export", project, tmp_path / "no" / "file")
    assert missing.exit_code == 1
    assert not (tmp_path / "no").exists()
