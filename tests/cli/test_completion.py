"""What a shell is offered for an unfinished line, and that what it puts there means what was offered."""

import os
import pty
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api import Project, source_specs
from engine.cli.main import main
from engine.cli.shells import Bash, Word, script
from tests.worlds import World, make_world

BASH, ZSH, FISH = (shutil.which(shell) for shell in ("bash", "zsh", "fish"))
BREAKS = " \t\n\"'@><=;|&(:"
"""Where bash parts words unless told otherwise."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = make_world(tmp_path_factory.mktemp("here") / "audit", 60, 24)
    with Project(made.paths.root) as project:
        ident = project.concepts().records()[0]["concept_id"]
        project.browser.set_name(ident, 'say "no", $(ls)')
        for other, name in zip(project.concepts().records()[1:], ('"latent 7"', "a\\b:c"), strict=False):
            project.browser.set_name(other["concept_id"], name)
    (made.paths.root / "rules").mkdir()
    (made.paths.root / "rules" / "first.rules").write_text("prosect rules 1\n", encoding="utf-8")
    (made.paths.root / "shaped" / "abc").mkdir(parents=True)
    (made.paths.root / "runs" / "r1").mkdir(parents=True)
    (made.paths.root / "jobs" / "compile-1").mkdir(parents=True)
    pairs = made.paths.root.parent / "forum.jsonl"
    pairs.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n', encoding="utf-8")
    with Project(made.paths.root.parent / "mixed") as project:
        project.ingest(source_specs([str(pairs)]))
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
        ("prosect open ", ["audit", "mixed"]),
        ("prosect open nowhere", ["<dir>"]),
        ("prosect show audit say", ['say "no", $(ls)']),
        ("prosect verdicts set audit sup", ["suppress"]),
        ("prosect pairs audit --context t", ["tea"]),
        ("prosect plan audit ", ["first"]),
        ("prosect plan audit audit/", ["audit/rules/first.rules"]),
        ("prosect rules check ", ["audit/rules/first.rules"]),
        ("prosect show audit no-such", []),
        ("prosect show audit lat", ['"latent 7"']),
        ("prosect jobs audit --log com", ["compile-1"]),
        ("prosect mix weight mixed ", ["forum="]),
        ("prosect mix remove mixed fo", ["forum"]),
        ("prosect report mixed --source ", ["forum"]),
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
    hostile = [("a\nb", ""), ("a\x1b[2Jb", ""), ("fine", "")]
    monkeypatch.setattr("engine.api.looking.Looking.names_beginning", lambda *_: hostile)
    assert offered(f"prosect show {made.paths.root} ", monkeypatch) == ["fine"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p\x1b[2J").mkdir()
    (tmp_path / "p\x1b[2J" / "journal.jsonl").touch()
    assert offered("prosect open p", monkeypatch) == ["p"]


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
    for q in ("'", '"'):
        inside = Word(f"prosect {q}").reply(name, BREAKS)  # bash adds the closing mark unless it sees one
        lines.append(f"prosect show audit {q}{inside}{'' if inside.endswith(q) else q}")
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


@pytest.fixture
def known(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``prosect`` is a command."""
    program = tmp_path / "prosect"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m engine.cli.start "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    root = str(Path(__file__).parents[2])
    settled = {"PYTHONPATH": root, "LC_ALL": "C.UTF-8", "XDG_CONFIG_HOME": str(tmp_path / "none")}
    return os.environ | settled | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


@pytest.mark.skipif(BASH is None, reason="no bash here")
def test_the_script_works_in_bash(tmp_path: Path, known: dict[str, str]) -> None:
    asked = tmp_path / "asked.sh"
    asked.write_text(
        script("bash")
        + """
        complete -p prosect
        complete() { [[ $2 != nosort ]] && builtin complete "$@"; }  # as bash was before 4.4
        complete -o nosort -F f prosect || complete -o default -F f prosect
        complete -p prosect
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
    done = subprocess.run([str(BASH), str(asked)], env=known, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "complete -o nosort -F _prosect_completion prosect", "complete -o default -F f prosect",
        r"say\ \"no\",\ \$\(ls\)", "verdicts",
    ]  # fmt: skip
    assert done.stderr == ""


LINES = {
    "prosect verd": "prosect verdicts ",
    "prosect show audit say": r"prosect show audit say\ \"no\",\ \$\(ls\) ",
    "prosect show audit lat": r"prosect show audit \"latent\ 7\" ",
    "prosect show audit a": r"prosect show audit a\\b:c ",
    "prosect pairs audit --context=t": "prosect pairs audit --context=tea ",
    "prosect audit x --set sta": "prosect audit x --set stats.",
    "prosect audit x --set=stats.q": "prosect audit x --set=stats.q=",
    "prosect plan audit fi": "prosect plan audit first ",
    "prosect open ~/my": r"prosect open ~/my\ own ",
    "prosect audit mix": "prosect audit mixed/",
}
"""What a shell makes of a line when tab is pressed at its end."""


@pytest.mark.skipif(ZSH is None, reason="no zsh here")
def test_the_script_works_in_zsh(tmp_path: Path, known: dict[str, str], own_home: Path) -> None:
    """A real terminal: the line after the completion is written to a file by the editor itself."""
    (tmp_path / ".zshrc").write_text(
        script("zsh")
        + f"""
        finish-line() {{ zle expand-or-complete; print -r -- "$BUFFER|" >> {tmp_path}/lines; BUFFER= }}
        zle -N finish-line; bindkey -e; bindkey '^T' finish-line
        print ready > {tmp_path}/ready
        """,
        encoding="utf-8",
    )
    setting = known | {"ZDOTDIR": str(tmp_path), "HOME": str(own_home), "TERM": "xterm"}
    near, far = pty.openpty()
    reader = threading.Thread(target=_drain, args=(near,), daemon=True)
    shell = subprocess.Popen(
        [str(ZSH), "-i"], env=setting, stdin=far, stdout=far, stderr=far, start_new_session=True
    )
    try:
        reader.start()
        _wait_for(tmp_path / "ready", 1)
        for n, line in enumerate(LINES, start=1):
            os.write(near, line.encode() + b"\x14")
            _wait_for(tmp_path / "lines", n)
    finally:
        shell.kill()
        shell.wait()
        os.close(far)
        reader.join(10)
        os.close(near)
    found = (tmp_path / "lines").read_text(encoding="utf-8").splitlines()
    assert dict(zip(LINES, found, strict=True)) == {line: f"{made}|" for line, made in LINES.items()}


def _drain(terminal: int) -> None:
    """Read what a shell draws, or it would wait."""
    with suppress(OSError):
        while os.read(terminal, 65536):
            pass


def _wait_for(path: Path, n: int) -> None:
    """Until a file has so many lines."""
    for _ in range(1200):
        if path.exists() and path.read_bytes().count(b"\n") >= n:
            return
        time.sleep(0.05)
    raise AssertionError(f"{path.name} has no {n} lines after a minute")


@pytest.mark.skipif(FISH is None, reason="no fish here")
def test_the_script_works_in_fish(tmp_path: Path, known: dict[str, str], own_home: Path) -> None:
    """Fish quotes values itself, and says what it would offer."""
    asked = tmp_path / "asked.fish"
    asked.write_text(
        script("fish") + "".join(f"echo (complete -C '{line}' | string collect)\n" for line in LINES),
        encoding="utf-8",
    )
    setting = known | {"HOME": str(own_home)}
    done = subprocess.run([str(FISH), str(asked)], env=setting, capture_output=True, text=True, check=True)
    offered_last = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    wanted = [made.removeprefix(line.rpartition(" ")[0] + " ") for line, made in LINES.items()]
    assert offered_last == [re.sub(r"\\(.)", r"\1", word.removesuffix(" ")) for word in wanted]
    assert done.stderr == ""


@pytest.fixture
def own_home(tmp_path: Path, world: World) -> Path:
    """A home with a project whose name holds a blank."""
    home = tmp_path / "home"
    shutil.copytree(world.paths.root, home / "my own")
    return home


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_command_prints_the_script(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert f"_PROSECT_COMPLETE={shell}_complete" in done.output
    assert "%(" not in done.output
