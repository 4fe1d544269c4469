"""Options that name sources: what they accept, and what they say to the rest."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from engine.cli.mix import parse_mapping, parse_weights


def test_a_mapping_is_one_line_or_several_options() -> None:
    expected = {"prompt": "question", "chosen": "good, long", "rejected": "bad"}
    assert parse_mapping(("prompt=question,chosen=good, long,rejected=bad",)) == expected
    assert parse_mapping(("prompt=question", "chosen=good, long", "rejected=bad")) == expected
    for wrong in ("prompt", "prompt=", "=x", "prompt=a,chosen="):
        with pytest.raises(click.UsageError, match="write FIELD=COLUMN"):
            parse_mapping((wrong,))


def test_weights_are_names_and_numbers() -> None:
    assert parse_weights(("forum=0.5", "a=b=2")) == {"forum": 0.5, "a=b": 2.0}
    for wrong in ("forum", "forum=", "=2", "forum=much"):
        with pytest.raises(click.UsageError, match="write NAME=NUMBER"):
            parse_weights((wrong,))


def test_a_preview_in_json_survives_what_utf8_cannot_hold(tmp_path: Path) -> None:
    """Half of a surrogate pair is legal in a JSON escape and in nothing else."""
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"prompt": "p", "chosen": "a \\ud83d b", "rejected": "c"}\n')
    # A real process: the test runner's stdout would not be the strict one.
    command = [sys.executable, "-m", "engine.cli.start", "ingest", str(file), "--preview", "--json"]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    assert r"a \ud83d b" in json.dumps(json.loads(done.stdout))
