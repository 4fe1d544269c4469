"""Other people's programs on the same million pairs, for the latency table.

They live in an environment of their own, which ``PROSECT_BENCH_RIVALS`` names:

    python -m venv /some/env && /some/env/bin/pip install harlequin visidata pyarrow
    PROSECT_BENCH_RIVALS=/some/env make bench
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from tests.tui import terminal as terminal_module
from tests.tui.terminal import Terminal

_COLUMNS = (
    "pair, left(prompt_text,80) as prompt, source, label, chosen_tokens, rejected_tokens, fold, pair_id"
)
FIRST_ROW = "how to tea"


def environment_of_rivals() -> Path:
    """The rivals' environment; skips where there is none."""
    named = os.environ.get("PROSECT_BENCH_RIVALS")
    if not named or not (Path(named) / "bin" / "python").exists():
        pytest.skip("PROSECT_BENCH_RIVALS names no environment with harlequin and visidata")
    return Path(named) / "bin"


def write_csv(index: Path, target: Path) -> Path:
    """The pairs as VisiData reads them."""
    with duckdb.connect(str(index), read_only=True) as connection:
        connection.execute(f"COPY (SELECT {_COLUMNS} FROM pairs ORDER BY pair) TO '{target}' (HEADER)")
    return target


def run(command: list[str], last: Path, home: Path, patch: pytest.MonkeyPatch) -> Terminal:
    """A rival in a pty at 120x40, with a home of its own."""
    patch.setattr(terminal_module, "COMMAND", tuple(command))
    return Terminal(last, columns=120, rows=40, environment={"HOME": str(home)})


def drain(terminal: Terminal, for_s: float) -> None:
    """Take what comes for a time: a blinking cursor is never quiet."""
    end = time.monotonic() + for_s
    while time.monotonic() < end:
        terminal.read(0.05)


def open_harlequin(bin_: Path, index: Path, home: Path, patch: pytest.MonkeyPatch) -> tuple[Terminal, float]:
    """Harlequin with all pairs in its results, and the ms from exec to there without the typing."""
    begun = time.perf_counter()
    command = [str(bin_ / "python"), str(bin_ / "harlequin"), "-r", "--viewer-max-rows", "-1"]
    terminal = run(command, index, home, patch)
    terminal.wait_for(f"{index.stem} db")
    started = (time.perf_counter() - begun) * 1e3
    drain(terminal, 2.0)
    terminal.send(f"select {_COLUMNS} from pairs")
    drain(terminal, 2.0)
    begun = time.perf_counter()
    terminal.send("\n")
    terminal.wait_for(FIRST_ROW)
    asked = (time.perf_counter() - begun) * 1e3
    terminal.wait_for("1,000,000 Records")
    drain(terminal, 2.0)
    return terminal, started + asked


def open_visidata(
    bin_: Path, csv: Path, home: Path, patch: pytest.MonkeyPatch
) -> tuple[Terminal, float, Callable[[], float]]:
    """VisiData on the pairs, the ms from exec to first rows, and a wait for the ms to all of them."""
    begun = time.perf_counter()
    terminal = run([str(bin_ / "python"), str(bin_ / "vd")], csv, home, patch)
    terminal.wait_for(FIRST_ROW)
    first = (time.perf_counter() - begun) * 1e3

    def all_rows() -> float:
        terminal.wait_for("1000000 rows")
        return (time.perf_counter() - begun) * 1e3

    return terminal, first, all_rows
