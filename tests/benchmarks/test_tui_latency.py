"""How long keys take in a real terminal: 1M pairs, 400k hypotheses, 120x40, beside the framework's own table.

    make bench                       the table below
    PROSECT_BENCH_WORLD=/some/dir    keep the index between runs

    PROSECT_BENCH_RIVALS=/some/env   Harlequin and VisiData on the same pairs: see rivals.py

Times are from the write of a key to the pty until the first and the last byte of what it drew. Asserted
are only bytes and behaviour; milliseconds depend on the machine and are printed. The start is also given as
a multiple of the framework's own: an app with one line in it, started in turn.
"""

import compileall
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.benchmarks import rivals
from tests.benchmarks.bigworld import make_big_world
from tests.tui import terminal as terminal_module
from tests.tui.terminal import REPOSITORY, Terminal

pytestmark = pytest.mark.benchmark
OPEN = (sys.executable, "-c", "from engine.cli.start import main; main()", "open")
"""The console script."""
FLOOR = """
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.strip import Strip
from textual.widget import Widget
class Line(Widget):
    def render_line(self, y): return Strip([Segment("READY", Style())], 5)
class Floor(App):
    ENABLE_COMMAND_PALETTE = False
    def compose(self): yield Line()
Floor().run()
"""
DATATABLE = """
from textual.app import App
from textual.widgets import DataTable
class Table(App):
    animation_level = "none"
    def compose(self): yield DataTable(cursor_type="row")
    def on_mount(self):
        table = self.query_one(DataTable)
        table.add_columns(*"abcdefghij")
        table.add_rows([tuple(str(i * k) for k in range(10)) for i in range(10_000)])
        table.focus()
Table().run()
"""


class Timed(NamedTuple):
    """What one key cost."""

    first_ms: float
    last_ms: float
    n_bytes: int


def press(terminal: Terminal, keys: str, settle_s: float = 0.25) -> Timed:
    start = time.perf_counter()
    terminal.send(keys)
    first = last = 0.0
    n = 0
    while data := terminal.read(settle_s if n else 2.0):
        last = time.perf_counter()
        first = first or last
        n += len(data)
    return Timed((first - start) * 1e3, (last - start) * 1e3, n)


def until(terminal: Terminal, keys: str, text: str) -> float:
    start = time.perf_counter()
    terminal.send(keys)
    terminal.wait_for(text)
    return (time.perf_counter() - start) * 1e3


def spread(values: list[float]) -> str:
    ordered = sorted(values)
    return (
        f"{ordered[len(ordered) // 2]:8.1f} {ordered[min(int(len(ordered) * 0.95), len(ordered) - 1)]:8.1f}"
    )


def show(name: str, values: list[float], unit: str = "ms") -> None:
    sys.stdout.write(f"{name:<44}{spread(values)} {unit}\n")


def memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return (
        next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        / 1024
    )


@pytest.fixture(autouse=True)
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As installed: modules are not compiled again at every start."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    for package in ("engine", "tui"):
        compileall.compile_dir(REPOSITORY / package, quiet=1)


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = os.environ.get("PROSECT_BENCH_WORLD")
    return make_big_world(Path(kept) if kept else tmp_path_factory.mktemp("big")).root


def start(command: tuple[str, ...], root: Path, text: str, patch: pytest.MonkeyPatch) -> float:
    """Milliseconds from exec until a text is among the bytes sent; drawing them here takes no part in it."""
    patch.setattr(terminal_module, "COMMAND", command)
    begun = time.perf_counter()
    with Terminal(root, columns=120, rows=40) as terminal:
        while text.encode() not in terminal.output:
            data = os.read(terminal.handle, 1 << 20)
            terminal.output += data
        return (time.perf_counter() - begun) * 1e3


def measure_moves(terminal: Terminal, name: str, down: str, page: str) -> tuple[list[Timed], list[Timed]]:
    moves = [press(terminal, down) for _ in range(20)]
    pages = [press(terminal, page) for _ in range(12)]
    show(f"{name}: cursor key, first byte", [m.first_ms for m in moves])
    show(f"{name}: cursor key, bytes", [float(m.n_bytes) for m in moves], "bytes")
    show(f"{name}: page key, first byte", [m.first_ms for m in pages])
    show(f"{name}: page key, bytes", [float(m.n_bytes) for m in pages], "bytes")
    return moves, pages


def test_latency_of_the_workstation(big: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sys.stdout.write(f"\n{'':<44}{'p50':>8} {'p95':>8}\n")
    starts, floors = [], []
    for _ in range(7):
        floors.append(start((sys.executable, "-c", FLOOR), big, "READY", monkeypatch))
        starts.append(start(OPEN, big, "1/400,000", monkeypatch))
    show("exec to first rows", starts[1:])
    show("the framework alone, one line", floors[1:])
    monkeypatch.setattr(terminal_module, "COMMAND", OPEN)
    with Terminal(big, columns=120, rows=40) as terminal:
        terminal.wait_for("1/400,000")
        terminal.quiet(1.0)
        show("memory after start", [memory_mb(terminal.pid)], "MB")
        side = [press(terminal, "j", 0.5).last_ms for _ in range(8)]
        show("detail beside the list, cursor at rest", side)
        terminal.key("z")
        moves, pages = measure_moves(terminal, "grid of 400k", "j", "\x06")
        assert sorted(m.n_bytes for m in moves)[10] <= 500
        assert max(p.n_bytes for p in pages) <= 12_000
        _measure_queries(terminal, lambda keys, text: until(terminal, keys, text))
        terminal.quiet(1.0)
        before = len(terminal.output)
        terminal.read(3.0)
        assert len(terminal.output) == before
        sys.stdout.write(f"{'idle':<44}{0:8} bytes in 3 s\n")
        show("memory at the end", [memory_mb(terminal.pid)], "MB")


def _measure_queries(terminal: Terminal, timed: Callable[[str, str], float]) -> None:
    show("sort 400k hypotheses by text", [timed(">>s", "by context ▲"), timed("s", "by context ▼")])
    show("filter 400k by number", [timed("/win>.69\r", "/ win>.69")])
    show("filter 400k by words", [timed("/\x15lock concept 3\r", "/ lock concept 3")])
    show("pairs: 1M opened", [timed("gp", "1/1,000,000")])
    show("pairs: sort 1M by number", [timed(">>>>s", "by chosen_tokens"), timed("s", "by chosen_tokens ▲")])
    show("pairs: filter 1M by number", [timed("/fold=7\r", "/ fold=7")])
    show("pairs: filter 1M by words of the prompt", [timed("/\x15prompt:4242\r", "/ prompt:4242")])
    show("pair opened", [timed("\r", "REJECTED")])
    show("back to the list", [timed("q", "of 1,000,000")])


def test_latency_of_a_stock_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(terminal_module, "COMMAND", (sys.executable, "-c", DATATABLE))
    with Terminal(tmp_path, columns=120, rows=40) as terminal:
        terminal.quiet(3.0)
        measure_moves(terminal, "stock DataTable of 10k", "\x1b[B", "\x1b[6~")


def test_latency_of_rivals(big: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bin_ = rivals.environment_of_rivals()
    index = next(big.glob("index-*.duckdb"))
    terminal, opened = rivals.open_harlequin(bin_, index, tmp_path, monkeypatch)
    with terminal:
        show("Harlequin: exec to 1M rows, without typing", [opened])
        measure_moves(terminal, "Harlequin", "\x1b[B", "\x1b[6~")
        show("Harlequin: memory", [memory_mb(terminal.pid)], "MB")
    csv = rivals.write_csv(index, tmp_path / "pairs.csv")
    terminal, first, all_rows = rivals.open_visidata(bin_, csv, tmp_path, monkeypatch)
    with terminal:
        show("VisiData: exec to first rows", [first])
        show("VisiData: exec to 1M rows", [all_rows()])
        measure_moves(terminal, "VisiData", "j", "\x06")
        show("VisiData: sort 1M by one column", [until(terminal, "]", "9999…")])
        show("VisiData: memory", [memory_mb(terminal.pid)], "MB")


def test_help_and_opening_do_not_import_what_they_do_not_need() -> None:
    code = "import tui.app, sys; print(len(sys.modules), 'numpy' in sys.modules)"
    times = []
    for _ in range(3):
        start = time.perf_counter()
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
        )
        times.append((time.perf_counter() - start) * 1e3)
        assert found.stdout.endswith("False\n")
    show("import of the workstation", times)
