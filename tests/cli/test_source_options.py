"""Options that name sources: what they accept, and what they say to the rest."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from engine.cli.main import main
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


ROWS = [
    {"prompt": "p0", "chosen": "good", "rejected": "bad", "lang": "en", "extra": 1},
    {"prompt": "p1", "chosen": "good", "rejected": ""},
    {"prompt": "p2", "chosen": "same", "rejected": "same"},
    {"prompt": "p3", "chosen": 7, "rejected": "bad"},
]


def test_a_preview_shows_what_ingest_would_do_to_each_pair(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + '{"prompt": "cut o\n')
    shown = CliRunner().invoke(main, ["ingest", str(file), "--preview", "--plain"])
    assert shown.exit_code == 0, shown.output
    lines = [line.split("\t") for line in shown.stdout.splitlines()]
    assert ["lang", "text", "language"] in lines
    assert ["extra", "number", "left over: kept as metadata"] in lines
    at = next(i for i, line in enumerate(lines) if line[0] == "row (from 0)")
    assert [line[1] for line in lines[at + 1 : at + 6]] == [
        "chosen",
        "empty_side",
        "identical_sides",
        "wrong_type",
        "not_json",
    ]
    assert lines[-1][0].startswith(
        "dropped among the first 5 rows: empty_side 1 (rejected), identical_sides 1"
    )
    seen = json.loads(CliRunner().invoke(main, ["ingest", str(file), "--preview", "--json"]).stdout)
    reasons = ["empty_side", "identical_sides", "wrong_type", "not_json"]
    assert (seen["n_rows"], seen["dropped"]) == (5, dict.fromkeys(reasons, 1))
    assert [(p["label"], p["dropped"]) for p in seen["pairs"]] == [
        ("chosen", None),
        *((None, reason) for reason in reasons),
    ]
    report = json.loads(
        CliRunner().invoke(main, ["ingest", str(file), "-o", str(tmp_path / "out"), "--json"]).stdout
    )
    assert report["dropped"] == seen["dropped"]


def test_a_preview_says_which_splits_are_left_out_and_how_columns_are_mapped(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{split}.csv").write_text("q,good,bad,n\nq,yes,no,1\n")
    mapping = "prompt=q,chosen=good,rejected=bad"
    shown = CliRunner().invoke(main, ["ingest", str(tmp_path / "data"), "--preview", "--map", mapping])
    assert "read split train, left out test" in shown.stdout
    assert "good    text    chosen" in shown.stdout
    assert "n       number  left over: kept as metadata" in shown.stdout


def test_a_preview_pairs_rated_answers(tmp_path: Path) -> None:
    file = tmp_path / "kto.jsonl"
    rows = [{"prompt": "p", "completion": c, "label": c == "good"} for c in ("good", "bad")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen = json.loads(CliRunner().invoke(main, ["ingest", str(file), "--preview", "--json"]).stdout)
    assert [(p["chosen"][0]["content"], p["label"]) for p in seen["pairs"]] == [("good", "chosen")]


def test_a_preview_counts_single_answers_that_wait_for_another(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{i // 2}", "completion": f"x{i}", "label": i % 2 == 0} for i in range(5)]
    file = tmp_path / "kto.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    shown = CliRunner().invoke(main, ["ingest", str(file), "--preview", "--plain"]).output
    assert "1 answer has no partner for the same prompt among them" in shown
    assert shown.count("\tchosen\t") == 2 + 1  # two pairs, and the header
