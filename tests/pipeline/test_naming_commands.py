"""``prosect names``: what it prints, sends and keeps, as a person or a script would call it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli.main import main
from engine.naming.proposals import Proposals
from engine.paths import ProjectPaths
from tests.naming.server import Script, is_naming, serving

N = 6
"""Concepts that a test asks about."""
NewProject = Callable[[], Path]


def run(*args: str | Path) -> Result:
    if args[:2] == ("names", "propose"):
        args = (*args, "--set", "naming.controls=0")
    return CliRunner().invoke(main, [str(a) for a in args])


def test_a_dry_run_prints_the_questions_and_sends_nothing(own_project: NewProject) -> None:
    root = own_project()
    script = Script()
    with serving(script) as url:
        said = run("names", "propose", root, "--endpoint", url, "--model", "words", "-n", "2", "--dry-run")
        assert said.exit_code == 0, said.output
        assert "4 questions, and 0 controls" in said.stdout
        assert not script.requests
        document = json.loads(run("names", "propose", root, "-n", "2", "--dry-run", "--json").stdout)
        run("names", "propose", root, "--endpoint", url, "--model", "words", "-n", "2", "--yes")
    printed = [q["user"] for c in document["concepts"] for q in c["questions"]]
    naming = [user for user in script.questions if is_naming(user)]  # names stand in the others
    assert sorted(naming) == sorted(printed[::2])  # several were under way at once
    assert all(user in said.stdout for user in printed)
    assert Proposals(ProjectPaths(root).proposals).held()


def test_lines_that_cannot_be_read_are_told(own_project: NewProject) -> None:
    root = own_project()
    ProjectPaths(root).proposals.write_text("nonsense\n")
    listed = run("names", "list", root)
    assert listed.exit_code == 0
    assert "1 line of names.jsonl cannot be read" in listed.stderr


def test_nothing_is_sent_before_somebody_agrees(own_project: NewProject) -> None:
    root = own_project()
    script = Script()
    with serving(script) as url:
        words: list[str | Path] = ["names", "propose", root, "--endpoint", url, "--model", "words", "-n", "2"]
        refused = run(*words)
        assert refused.exit_code == 2
        assert "4 questions at most about 2 concepts, about" in refused.stderr
        assert f"go to {url}" in refused.stderr
        assert "--yes" in refused.stderr
        assert not script.requests
        done = run(*words, "--yes", "--json")
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout)["report"]
        assert len(report["proposals"]) == 2
        assert json.loads(run("names", "list", root, "--json").stdout)[0]["proposal"]["model"] == "words"
        plain = run("names", "list", root, "--plain").stdout.splitlines()
        assert len(plain) == 3
        assert plain[0].startswith("proposed name\tstate")
        again = run(*words)  # nothing is left to ask: no question to agree to
        assert "2 concepts were answered before" in again.stdout


def test_questions_that_came_to_nothing_are_told_and_asked_again(own_project: NewProject) -> None:
    root = own_project()
    script = Script(refuses=lambda _user: 400 if len(script.requests) == 2 else 0)
    words = ["--model", "words", "-n", str(N), "--parallel", "1", "--yes"]
    with serving(script) as url:
        first = run("names", "propose", root, "--endpoint", url, *words)
        again = run("names", "propose", root, "--endpoint", url, *words)
    assert first.exit_code == again.exit_code == 0
    assert "answered 400" in first.stderr
    assert "1 question came to nothing: the same command asks again" in first.stderr
    assert "came to nothing" not in again.stderr
    assert "1 questions" not in again.stdout
    assert len(script.requests) == 2 * N + 1


def test_without_a_server_or_its_key_nothing_begins(
    own_project: NewProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = own_project()
    nowhere = run("names", "propose", root, "--yes")
    assert nowhere.exit_code == 1
    assert "texts of the pairs are sent nowhere" in nowhere.stderr
    words = ["--endpoint", "http://127.0.0.1:9/v1", "--model", "m", "--key-env", "NO_SUCH_KEY", "--yes"]
    keyless = run("names", "propose", root, *words)
    assert keyless.exit_code == 1
    assert "NO_SUCH_KEY is not set" in keyless.stderr
    monkeypatch.setenv("A_KEY", "“sk-…”")
    odd = run("names", "propose", root, *words[:5], "A_KEY", "--yes")
    assert "what A_KEY holds is no key" in odd.stderr
    assert "sk-" not in odd.output
    assert not ProjectPaths(root).proposals.exists()


def test_names_are_taken_from_the_command_line(own_project: NewProject) -> None:
    root = own_project()
    with serving(Script()) as url:
        run("names", "propose", root, "--endpoint", url, "--model", "words", "-n", str(N), "--yes")
    taken = run("names", "take", root, "--author", "ann")
    assert taken.exit_code == 0
    names = [line.removeprefix("named: ") for line in taken.stdout.splitlines()]
    assert names
    listed = json.loads(run("verdicts", "list", root, "--json").stdout)["names"]
    page = run("show", root, names[0]).stdout
    assert f"proposed name: {names[0]}  by words" in page
    assert "excerpts told right by the name alone" in page
    assert {(n["name"], n["author"]) for n in listed} == {(name, "ann") for name in names}
    assert "no proposal was recognised" in run("names", "take", root).stdout


def test_the_key_is_written_nowhere(own_project: NewProject, monkeypatch: pytest.MonkeyPatch) -> None:
    root = own_project()
    monkeypatch.setenv("A_KEY", "sk-very-secret")
    script = Script()
    with serving(script) as url:
        words = ["--endpoint", url, "--model", "words", "--key-env", "A_KEY", "-n", "1", "--yes"]
        done = run("names", "propose", root, *words)
    assert {h["authorization"] for h in script.sent_headers} == {"Bearer sk-very-secret"}
    assert "sk-very-secret" not in done.output
    written = [p for p in root.rglob("*") if p.is_file() and p.suffix in ("", ".json", ".jsonl")]
    assert not [p for p in written if b"sk-very-secret" in p.read_bytes()]
