"""What a shell is offered for an unfinished line, and that what it puts there means what was offered."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api import Project
from engine.cli.main import main
from engine.cli.shells import Bash, Word, script
from tests.worlds import World, make_world

BASH = shutil.which("bash")
BREAKS = " \t\n\"'@><=;|&(:"
"""Where bash parts words unless told otherwise."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = make_world(tmp_path_factory.mktemp("here") / "audit", 60, 24)
    with Project(made.paths.root) as project:
        ident = project.concepts().records()[0]["concept_id"]
        project.browser.set_name(ident, 'say "no", $(ls)')
    (made.paths.root / "rules").mkdir()
    (made.paths.root / "rules" / "first.rules").write_text("prosect rules 1\n", encoding="utf-8")
    (made.paths.root / "shaped" / "abc").mkdir(parents=True)
    (made.paths.root / "runs" / "r1").mkdir(parents=True)
    reader = made.paths.root.parent / "reader"
    reader.mkdir()
    (reader / "reader.toml").write_text('model = "m"\n', encoding="utf-8")
    return made


@pytest.fixture(autouse=True)
def here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.paths.root.parent)


def offered(line: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Values and, marked so, what is left to the shell, for a line without quotes."""
    monkeypatch.setenv("COMP_LINE", line)
    *words, incomplete = line.split(" ")
    asked = ShellComplete(main, {}, "prosect", "_PROSECT_COMPLETE")
    found = asked.get_completions(words[1:], incomplete)
    return [str(i.value) if i.type == "plain" else f"<{i.type}>" for i in found]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("prosect verd", ["verdicts"]),
        ("prosect au", ["auc", "audit"]),
        ("prosect ./au", ["./audit"]),
        ("prosect hypotheses --lim", ["--limit"]),
        ("prosect open ", ["audit"]),
        ("prosect open nowhere", ["<dir>"]),
        ("prosect show audit say", ['say "no", $(ls)']),
        ("prosect verdicts set audit sup", ["suppress"]),
        ("prosect pairs audit --context t", ["tea"]),
        ("prosect plan audit ", ["audit/rules/first.rules"]),
        ("prosect plan audit other/", ["<file>"]),
        ("prosect train au", ["audit/shaped/abc"]),
        ("prosect export audit/shaped/", ["audit/shaped/abc"]),
        ("prosect outcome ", ["audit/runs/r1"]),
        ("prosect audit x --reader re", ["reader"]),
        ("prosect audit x --reader gpt", ["gpt2-small"]),
        ("prosect audit x --set sta", ["stats."]),
        ("prosect audit x --set stats.q", ["stats.q="]),
        ("prosect audit ", ["<file>"]),
        ("prosect ingest x --map prompt=q,cho", ["prompt=q,chosen="]),
        ("prosect ingest x --format hh", ["hh-rlhf"]),
        ("prosect hypotheses audit -s win,disc", ["win,discordant"]),
        ("prosect explain r10", ["R101", "R102", "R103", "R104", "R105"]),
        ("prosect export audit/shaped/abc --to tr", ["trl", "trl-reward"]),
        ("prosect show nowhere ", []),
        ("prosect show ../x ", []),
    ],
)
def test_a_line_goes_on(line: str, values: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = offered(line, monkeypatch)
    assert found[: len(values)] == values
    assert len(found) == len(values) or line.startswith("prosect explain")


def test_concepts_come_strongest_first_and_say_what_they_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Project(world.paths.root) as project:
        listed = [r["concept"] for r in project.concepts().records()]
        assert [name for name, _ in project.names_beginning("concept")] == listed
        assert {said for _, said in project.names_beginning("concept")} == {"cluster, neither"}
        largest = sorted(project.contexts().records(), key=lambda r: -r["pairs"])
        assert next(name for name, _ in project.names_beginning("context")) == largest[0]["context"]
    assert offered("prosect show audit ", monkeypatch) == listed


def test_names_that_no_line_can_hold_are_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_world(tmp_path / "p", 40, 16, n_concepts=2)
    monkeypatch.setattr("engine.api.looking.Looking.names_beginning", lambda *_: [("a\nb", ""), ("fine", "")])
    assert offered(f"prosect show {made.paths.root} ", monkeypatch) == ["fine"]


names = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1).filter(
    lambda name: name.strip() == name and not name.startswith("~")
)


def kept_of(raw: str) -> int:
    """How much of a word bash leaves in the line: up to the last sign that parts words and is not escaped."""
    kept, at = 0, 0
    while at < len(raw):
        if raw[at] == "\\":
            at += 1
        elif raw[at] in BREAKS:
            kept = at + 1
        at += 1
    return kept


@pytest.mark.skipif(BASH is None, reason="no bash here")
@settings(max_examples=40)
@given(names, st.data())
def test_what_bash_is_given_makes_the_word_that_was_offered(name: str, data: st.DataObject) -> None:
    typed = name[: data.draw(st.integers(0, len(name)))]
    bare = "prosect show audit " + (Word("prosect ").reply(typed, "") if typed else "")
    raw = Word(bare).raw
    lines = [bare[: len(bare) - len(raw) + kept_of(raw)] + Word(bare).reply(name, BREAKS)]
    lines += [f"prosect show audit {q}{Word(f'prosect {q}').reply(name, BREAKS)}{q}" for q in ("'", '"')]
    said = "; ".join(f"printf '%s\\0' {line}" for line in lines)
    done = subprocess.run(
        [str(BASH), "-c", said], env={"PATH": "", "LC_ALL": "C.UTF-8"}, capture_output=True, check=True
    )
    assert done.stdout.decode().split("\0")[:-1] == ["prosect", "show", "audit", name] * 3


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("prosect show audit ", (["show", "audit"], "")),
        ("prosect show audit @ex", (["show", "audit"], "@ex")),
        ("prosect show audit 'say \"n", (["show", "audit"], 'say "n')),
        ("prosect show my\\ project say\\ ", (["show", "my project"], "say ")),
        ("prosect show 'my project' ", (["show", "my project"], "")),
    ],
)
def test_lines_of_bash_are_read_with_their_quotes(
    line: str, words: tuple[list[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    assert Bash(main, {}, "prosect", "_PROSECT_COMPLETE").get_completion_args() == words


@pytest.mark.skipif(BASH is None, reason="no bash here")
def test_the_script_works_in_bash(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    program = tmp_path / "prosect"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m engine.cli.start "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    asked = tmp_path / "asked.sh"
    asked.write_text(
        script("bash")
        + """
        compopt() { :; }
        COMP_WORDBREAKS=$' \\t\\n"\\'@><=;|&(:'
        COMP_LINE='prosect show audit say --json'; COMP_POINT=22
        _prosect_completion prosect
        printf '%s\\n' "${COMPREPLY[@]}"
        COMP_LINE='prosect verd'; COMP_POINT=12
        _prosect_completion prosect
        printf '%s\\n' "${COMPREPLY[@]}"
        """,
        encoding="utf-8",
    )
    known = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(root)}
    done = subprocess.run([str(BASH), str(asked)], env=known, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [r"say\ \"no\",\ \$\(ls\)", "verdicts"]
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_command_prints_the_script(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert f"_PROSECT_COMPLETE={shell}_complete" in done.output
    assert "%(" not in done.output
