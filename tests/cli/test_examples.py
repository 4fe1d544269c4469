"""Examples of ``--help`` and commands of pages: they are there, they are commands, and they run."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from engine.api import sample_folder
from engine.cli.examples import EXAMPLES
from engine.cli.main import main
from engine.rules.explain import EXPLANATIONS
from tests.naming.server import Script, serving

ELSEWHERE = ("open ", "outcome ", "audit pairs.jsonl")
"""The workstation has tests of its own; runs are trained where the guide is followed; one audit is enough."""
CHEAPER = {"sae": "--tokens 2000", "names propose": "--yes -n 2", "train": "--dry-run"}
"""What a test adds."""
MAY_FAIL = ("selftest", "rules test")
"""Commands that exit with 3 where an expectation does not hold."""
ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "engine" / "docs" / "naming.md")
"""Beside the guide, whose outputs are checked too, the pages whose commands are about a project ``audit``."""


def commands(group: click.Group = main, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def test_whatever_takes_more_than_a_project_shows_how() -> None:
    for path, command in commands():
        taken = [p for p in command.params if isinstance(p, click.Argument) and p.name != "project"]
        assert path in EXAMPLES or not taken or path == "completion", path
    assert set(EXAMPLES) <= {path for path, _ in commands()}


@pytest.mark.parametrize("path", EXAMPLES)
def test_examples_stand_in_the_help_and_fit_a_terminal(path: str) -> None:
    said = CliRunner().invoke(main, [*path.split(), "--help"], terminal_width=80).output
    for line in EXAMPLES[path]:
        assert f"    prosect {line}\n" in said
        assert line.startswith(path)
    assert max(map(len, said.splitlines())) <= 80
    told = said.partition("For example:")[0].partition("\n")[2]
    assert not re.search(r"\S   +\S|^    ", told.partition("  ")[2], re.MULTILINE)  # one margin for all of it


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_examples_and_commands_of_pages_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = sample_folder() / "pairs"
    Path("forum.jsonl").write_bytes((pairs / "harbor_forum.jsonl").read_bytes())
    Path("mail.jsonl").write_bytes((pairs / "desk_mail.jsonl").read_bytes())
    header = "prompt,chosen,rejected,q,good,bad\n"
    Path("pairs.csv").write_text(f"{header}why,because,no,why,because,no\n", encoding="utf-8")
    Path("more.csv").write_text("prompt,chosen,rejected\nhow,so,never\n", encoding="utf-8")
    labels = "".join(f"{n},closing {n}\n" for n in range(1280))
    Path("labels.csv").write_text(f"number,text\n{labels}", encoding="utf-8")
    Path("batch-1.jsonl").write_text('{"index": "13", "description": "lists"}\n', encoding="utf-8")
    lines = [line for typed in EXAMPLES.values() for line in typed]
    for page in PAGES:
        lines += re.findall(r"^    prosect (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    failed = []
    with serving(Script()) as url:
        for line in lines:
            if line.startswith((*ELSEWHERE, "rules 1")):
                continue
            if line.startswith("rules from-verdicts"):
                Path("audit/rules/first.rules").unlink(missing_ok=True)
            done = CliRunner().invoke(main, filled(line, url))
            if done.exit_code not in ((0, 3) if line.startswith(MAY_FAIL) else (0,)):
                failed.append((line, done.exit_code, done.output[-600:]))
            if line.startswith("rules from-verdicts"):
                Path("audit/rules/second.rules").write_bytes(Path("audit/rules/first.rules").read_bytes())
    assert not failed, "\n".join(map(str, failed))


def filled(line: str, url: str) -> list[str]:
    """The words of a command, with what this project has."""
    extra = [more for start, more in CHEAPER.items() if line.startswith(start)]
    sample = sample_folder()
    for part, word in (("shaped", "HASH"), ("jobs", "JOB")):
        there = sorted(f.name for f in Path("audit", part).glob("*") if f.is_dir())
        line = re.sub(rf"\b{word}\b", there[0] if there else word, line)
    line = re.sub(r"\bREADER\b", str(sample / "reader"), line)
    line = re.sub(r"\bMODEL\b", str(sample / "reader" / "model"), line)
    line = re.sub(r"\bURL\b|http://localhost:8000/v1", url, line)
    line = line.replace("batch-*.jsonl.gz", "batch-1.jsonl")
    return shlex.split(line, comments=True) + shlex.split(" ".join(extra))


@pytest.mark.parametrize("code", sorted(EXPLANATIONS))
def test_explanations_fit_a_terminal(code: str) -> None:
    said = CliRunner().invoke(main, ["explain", code], env={"COLUMNS": "80"}).output
    assert max(map(len, said.splitlines())) <= 80
    assert " ".join(EXPLANATIONS[code].why.split()) in " ".join(said.split())
