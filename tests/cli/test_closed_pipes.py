"""``| head``: who reads a part of the results does not turn failure into success."""

import os
import subprocess
import sys
from pathlib import Path

READER_LEFT = 141


def into_a_closed_pipe(*args: str | Path, both: bool = False) -> tuple[int, str]:
    """Exit code and stderr of a command nobody reads from."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "engine.cli.start", *map(str, args)]
    errors = writer if both else subprocess.PIPE
    done = subprocess.run(command, stdout=writer, stderr=errors, check=False, text=True)
    os.close(writer)
    return done.returncode, done.stderr or ""


def test_mistakes_in_a_rule_file_stay_a_failure(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.rules"
    wrong.write_text("prosect rules 1\ndrop whre true\n")
    assert into_a_closed_pipe("rules", "check", wrong) == (1, "")
    untidy = tmp_path / "untidy.rules"
    untidy.write_text("prosect rules 1\ndrop   where true\n")
    assert into_a_closed_pipe("rules", "fmt", "--check", untidy) == (1, "")


def test_an_error_that_nobody_reads_stays_an_error(tmp_path: Path) -> None:
    assert into_a_closed_pipe("plan", tmp_path / "nowhere", tmp_path / "a.rules", both=True)[0] == 1


def test_results_that_nobody_reads_end_as_in_any_other_program() -> None:
    assert into_a_closed_pipe("explain", "R601") == (READER_LEFT, "")
