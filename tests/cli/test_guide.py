"""The guide, followed to the letter: its commands run, and its outputs are what comes out."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.api import sample_folder
from engine.cli.main import main

PAGE = (Path(__file__).parents[2] / "engine" / "docs" / "guide.md").read_text(encoding="utf-8")
OWN_WORDS = re.compile(r"journal|written: audit/|^outcome: |checkpoint: |forecast of |^\s*$")
"""Lines with a name, a hash or a time of their own."""
NUMBER = re.compile(r"-?[\d,]*\.?\d+(?:e-?\d+)?%?")


def steps() -> list[tuple[str, list[str]]]:
    """Commands in the order of the page, with the output below each; `+` is text that goes into the rules."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, re.MULTILINE):
        lines = [line[4:] for line in block.strip("\n").splitlines()]
        if lines[0].startswith("$ "):
            for line in lines:
                if line.startswith("$ "):
                    found.append((line[2:], []))
                else:
                    found[-1][1].append(line)
        elif any(line.startswith("expect ") for line in lines):
            found.append(("+", lines))
    return found


def alike(said: str, seen: str) -> bool:
    """The same words, and numbers no further apart than machines may be; … stands for anything."""
    said_words, seen_words = said.split(), seen.split()
    if said_words[-1:] == ["…"]:
        said_words, seen_words = said_words[:-1], seen_words[: len(said_words) - 1]
    if len(said_words) != len(seen_words):
        return False
    for a, b in zip(said_words, seen_words, strict=True):
        if a == b or "…" in a or "…" in b:
            continue
        if not (NUMBER.fullmatch(a.strip("[],()")) and NUMBER.fullmatch(b.strip("[],()"))):
            return False
        x, y = (float(w.strip("[],()%").replace(",", "")) for w in (a, b))
        if abs(x - y) > max(0.005, 0.02 * abs(x)):
            return False
    return True


def filled(command: str) -> list[str]:
    """The words of a command, with the folders that this run of the guide made."""
    for part in ("shaped", "runs"):
        there = [f for f in Path("audit", part).glob("*") if f.is_dir()] if Path("audit").exists() else []
        command = re.sub(rf"audit/{part}/[\w…]+", str(there[0]) if there else "", command)
    return shlex.split(command.replace("$SAMPLE", str(sample_folder())))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_guide_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in (sample_folder() / "pairs").glob("*.jsonl"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "mine.jsonl").write_text('{"question": "q", "good": "a", "bad": "b", "who": "ann"}\n')
    ran = []
    for command, output in steps():
        if command == "+":
            with Path("audit/rules/first.rules").open("a", encoding="utf-8") as rules:
                rules.write("\n".join(output) + "\n")
            continue
        words = filled(command)
        if words[:2] == ["prosect", "open"] or "MODEL" in words or words[0] == "cat":
            continue
        done = CliRunner().invoke(main, words[1:], env={"COLUMNS": "100"})
        seen = [line.rstrip() for line in done.output.splitlines()]
        wanted = [line for line in output if line.strip() != "…" and not OWN_WORDS.search(line)]
        assert done.exit_code == (1 if any(line.startswith("error:") for line in wanted) else 0), done.output
        missing = [line for line in wanted if not any(alike(line, one) for one in seen)]
        assert not missing, (command, missing, done.output)
        ran.append(words[1])
    assert {"ingest", "audit", "report", "concepts", "plan", "compile", "export", "train", "outcome"} <= set(
        ran
    )
