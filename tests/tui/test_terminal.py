"""The workstation in a real terminal: bytes, escapes, colours, sizes, being killed."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.tui.terminal import COMMAND, REPOSITORY, Terminal
from tests.worlds import make_world

VERDICTS = {"=": "keep", "-": "suppress", "+": "amplify", "i": "ignore"}
SGR_COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-7]|38|4[0-7]|48|9[0-7]|10[0-7])(?:;\d+)*m")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("terminal") / "p"
    make_world(root, 160, 80, n_concepts=40)
    return root


@pytest.fixture
def root(project: Path, tmp_path: Path) -> Path:
    shutil.copytree(project, tmp_path / "p")
    return tmp_path / "p"


def whole(path: Path) -> str:
    """A journal without a last line that is on its way."""
    return path.read_text().rpartition("\n")[0]


def lines(root: Path) -> list[dict[str, object]]:
    path = root / "journal.jsonl"
    return [json.loads(line) for line in whole(path).splitlines()] if path.exists() else []


def wait_for_lines(root: Path, n: int) -> None:
    end = time.monotonic() + 60
    while len(lines(root)) < n:
        assert time.monotonic() < end, f"{len(lines(root))} of {n} verdicts were written"
        time.sleep(0.02)


def test_a_hundred_hypotheses_by_keys_alone_survive_a_kill_in_the_middle(root: Path) -> None:
    keys = ["=-+i"[n % 4] for n in range(100)]
    with Terminal(root) as first:
        first.wait_for("Hypotheses  1/120")
        for key in keys[:50]:
            first.send(key)
            first.read(0.01)
        wait_for_lines(root, 50)
        first.kill()
    with Terminal(root) as second:
        second.wait_for("Hypotheses  51/120")
        second.wait_for("50 verdicts")
        for key in keys[50:]:
            second.send(key)
            second.read(0.01)
        wait_for_lines(root, 100)
        second.send("Q")
        assert second.wait() == 0
    written = lines(root)
    assert [line["verdict"] for line in written] == [VERDICTS[k] for k in keys]
    assert len({json.dumps(line["target"]) for line in written}) == 100  # one key, one hypothesis


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_the_same_inside_tmux(root: Path) -> None:
    def tmux(*words: str) -> str:
        found = subprocess.run(
            ["tmux", "-L", f"prosect-{root.parent.name}", "-f", "/dev/null", *words],  # noqa: S607 - from PATH
            capture_output=True, text=True, check=False, cwd=REPOSITORY,
        )  # fmt: skip
        return found.stdout

    def pane_shows(text: str) -> None:
        end = time.monotonic() + 60
        while text not in tmux("capture-pane", "-p"):
            assert time.monotonic() < end, tmux("capture-pane", "-p")
            time.sleep(0.05)

    script = root.parent / "open.py"
    script.write_text(COMMAND[2])
    command = f"PYTHONPATH={REPOSITORY} {COMMAND[0]} {script} {root}"
    try:
        for start, n_before in ((0, 0), (50, 50)):
            tmux("new-session", "-d", "-x", "80", "-y", "24", command)
            pane_shows(f"Hypotheses  {start + 1}/120")
            for n in range(start, start + 50):
                tmux("send-keys", "-l", "=-+i"[n % 4])
            wait_for_lines(root, n_before + 50)
            pid = int(tmux("list-panes", "-F", "#{pane_pid}").strip())
            subprocess.run(["kill", f"-{signal.SIGKILL}", str(pid)], check=False)  # noqa: S607 - from PATH
            tmux("kill-server")
            time.sleep(0.2)
    finally:
        tmux("kill-server")
    assert [line["verdict"] for line in lines(root)] == [VERDICTS["=-+i"[n % 4]] for n in range(100)]


def test_a_cursor_key_draws_few_bytes_and_an_idle_screen_none(root: Path) -> None:
    with Terminal(root, columns=120, rows=40) as terminal:
        terminal.wait_for("Hypotheses  1/120")
        terminal.quiet(1.0)
        terminal.key("z")
        terminal.quiet(1.0)
        costs = [terminal.key("j") for _ in range(8)]
        assert max(costs) <= 700, costs
        assert sorted(costs)[4] <= 500, costs
        assert terminal.key("\x06") <= 12_000
        before = len(terminal.output)
        terminal.read(3.0)
        assert len(terminal.output) == before


HOSTILE = [
    "\x1b[2J\x1b]52;c;ZXZpbA==\x07", "\x9b31m\x9d0;title\x9c", "a\u202egnp.exe", "[/INST] [red]x[/b]",
    "中文字" * 9, "👩\u200d👩\u200d👧\u200d👦 family", "\u200bhidden\ufeff", "x" * 100_000,
    "tab\tnew\nline\r\n\x00\x07\x08",
]  # fmt: skip


def poison(root: Path) -> None:
    """Put hostile strings everywhere a dataset can put strings."""
    import duckdb

    with duckdb.connect(str(root / "index-world.duckdb")) as connection:
        for table, key, columns in (
            ("concepts", "concept", ("name", "tokens")),
            ("contexts", "context", ("name", "definition")),
            (
                "pairs",
                "pair",
                ("prompt_text", "chosen_text", "rejected_text", "source", "source_file", "meta"),
            ),
        ):
            for column in columns:
                for n, text in enumerate(HOSTILE):
                    as_json = {"tokens": json.dumps([text]), "meta": json.dumps({text[:50]: text})}
                    value = as_json.get(column, text)
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? WHERE {key} % {len(HOSTILE)} = {n}", [value]
                    )


WALK = (
    "j", "\r", "j", "\r", "v", "v", "t", "p", "G", "q", "q", "gx", "j", "\r", "G", "q", "gp", "j", "\r", "J",
    "J", "K", "\x1b", "gh", ">", ">", "F", "\x1b", "=", "-", "gv", "q", "c", "\x15na\x0cme\r", "yn", "?",
    "\x1b", "R",
)  # fmt: skip


def test_hostile_strings_never_reach_the_terminal_on_any_screen(root: Path) -> None:
    poison(root)
    with Terminal(root, columns=110, rows=30) as terminal:
        terminal.wait_for("/120")
        terminal.quiet()
        for keys in WALK:
            terminal.key(keys, 0.12)
            if keys in {"gx", "gp", "\r"}:
                assert terminal.screen.display[0].startswith(" prosect"), terminal.text()
        output = terminal.output.replace(b"\x1b]22;default\x07", b"")  # the framework's own: pointer shape
    assert b"\x1b[2J\x1b]52" not in output
    assert b"]52;c;ZXZpbA" not in output.replace(b"<ESC>]52;c;ZXZpbA", b"")
    output = re.sub(rb"\x1b\]52;c;[A-Za-z0-9+/=]*\x07", b"", output)  # what yanking sends
    text = output.decode("utf-8")
    for unsafe in "\u202e\u200b\ufeff\u200d\x9b\x9d\x9c\x07\x00":
        assert unsafe not in text, hex(ord(unsafe))
    assert "<ESC>[2J" in text
    assert "[/INST] [red]x[/b]" in text


@pytest.mark.parametrize("theme", ["", "dark", "light", "mono"])
def test_no_color_starts_in_every_theme_and_sends_no_colour(root: Path, theme: str) -> None:
    with Terminal(root, environment={"NO_COLOR": "1", "PROSECT_THEME": theme}) as terminal:
        terminal.wait_for("Hypotheses  1/120")
        terminal.key("j")
        terminal.key("=")
        terminal.wait_for("1 verdict ")
        assert not SGR_COLOUR.search(terminal.output)
        terminal.send("Q")
        assert terminal.wait() == 0


def test_ascii_draws_ascii_only(root: Path) -> None:
    with Terminal(root, columns=120, rows=40, environment={"PROSECT_ASCII": "1"}) as terminal:
        terminal.wait_for("Hypotheses  1/120")
        terminal.quiet()
        terminal.key("\r")
        terminal.quiet()
        foreign = {c for c in terminal.text() if not c.isascii()}
        assert not foreign


def test_sizes_from_large_to_tiny_and_back(root: Path) -> None:
    with Terminal(root, columns=200, rows=60) as terminal:
        terminal.wait_for("Hypotheses  1/120")
        for columns, rows in ((60, 15), (20, 5), (80, 24), (120, 40)):
            terminal.resize(columns, rows)
            terminal.quiet()
            expected = "enlarge" if columns < 40 else "Hypotheses"
            terminal.wait_for(expected)
        terminal.send("Q")
        assert terminal.wait() == 0


def test_an_exported_size_does_not_stand_in_for_that_of_the_window(root: Path) -> None:
    with Terminal(root, columns=100, rows=30, environment={"COLUMNS": "60", "LINES": "10"}) as terminal:
        terminal.wait_for("Hypotheses  1/120")
        terminal.quiet()
        assert terminal.screen.display[-1].strip()  # the bottom line lies at the window's
        terminal.send("Q")
        assert terminal.wait() == 0


def test_coming_back_from_the_shell_draws_everything_again(root: Path) -> None:
    with Terminal(root) as terminal:
        terminal.wait_for("Hypotheses  1/120")
        terminal.quiet()
        terminal.send("\x1a")
        terminal.quiet()
        assert os.waitpid(terminal.pid, os.WUNTRACED)[0] == terminal.pid  # stopped, not ended
        terminal.screen.reset()
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.wait_for("Hypotheses  1/120")
        terminal.wait_for("keep")
        assert terminal.screen.display[0].strip()
        terminal.send("Q")
        assert terminal.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_told_to_end_it_gives_the_terminal_back(root: Path, number: signal.Signals) -> None:
    with Terminal(root) as terminal:
        terminal.wait_for("Hypotheses  1/120")
        terminal.send("=")
        terminal.wait_for("1 verdict")
        os.kill(terminal.pid, number)
        assert terminal.wait() == 128 + number
        assert b"\x1b[?1049l" in terminal.output
    assert len(lines(root)) == 1


def test_a_terminal_that_is_gone_ends_it(root: Path) -> None:
    terminal = Terminal(root)
    terminal.wait_for("Hypotheses  1/120")
    terminal.send("=")
    terminal.wait_for("1 verdict")
    os.close(terminal.handle)  # the other side of the connection
    end = time.monotonic() + 20
    while os.waitpid(terminal.pid, os.WNOHANG)[0] == 0:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert len(lines(root)) == 1


def test_hanging_up_keeps_every_confirmed_verdict(root: Path) -> None:
    with Terminal(root) as terminal:
        terminal.wait_for("Hypotheses  1/120")
        terminal.send("==")
        terminal.wait_for("2 verdicts")
        os.kill(terminal.pid, signal.SIGHUP)
        time.sleep(0.5)
    assert len(lines(root)) == 2


def test_opening_imports_nothing_heavy(root: Path) -> None:
    code = (
        "import sys, asyncio\n"
        "from pathlib import Path\n"
        "from engine.live.browse import Browser\n"
        "from engine.paths import ProjectPaths\n"
        "from tui.app import Workstation\n"
        "async def main():\n"
        "    app = Workstation(Browser(ProjectPaths(Path(sys.argv[1]))))\n"
        "    async with app.run_test() as pilot:\n"
        "        for _ in range(200):\n"
        "            await pilot.pause(0.02)\n"
        "            if app.desk.is_attached and app.desk.table.grid.current is not None: break\n"
        "        app.desk.session.close()\n"
        "asyncio.run(main())\n"
        "heavy = 'torch transformers sae_lens scipy sklearn numba polars pyarrow numpy trl'.split()\n"
        "print(sorted(set(heavy) & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [COMMAND[0], "-c", code, str(root)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
        timeout=120,
    )
    assert done.stdout.strip() == "[]", done.stderr
