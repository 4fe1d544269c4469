"""What a label says, what says nothing, and what nobody can know."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.ingest.run import SourceSpec
from tests.ingest.tables import Json, assistant, entries_of, pairs_of, run, user, write_jsonl

TALKS = {"conversation_a": [user("q"), assistant("x")], "conversation_b": [user("q"), assistant("y")]}
TALK_TEXTS = {k: json.dumps(v) for k, v in TALKS.items()}
AB = {"prompt": "q", "response_a": "x", "response_b": "y"}
LABELS: list[tuple[str, Json, str, object]] = [
    ("alpaca-eval", AB, "preference", 1),
    ("wimhf", {"prompt": "q", "response_A": "x", "response_B": "y"}, "label", 1),
    ("helpsteer2", {"prompt": "q", "response_1": "x", "response_2": "y"}, "preference_strength", -1),
    ("helpsteer3", {"context": "q", "response1": "x", "response2": "y"}, "overall_preference", -1),
    ("pku-better", {"prompt": "q", "response_0": "x", "response_1": "y"}, "better_response_id", 0),
    ("shp", {"history": "q", "human_ref_A": "x", "human_ref_B": "y"}, "labels", 1),
    ("prefscope", {"prompt": "q", "completion_a": "x", "completion_b": "y"}, "human_pref", 0.9),
    ("arena", TALK_TEXTS, "winner", "model_a"),
    ("icai", {"input": "q", "text_a": "x", "text_b": "y"}, "preferred_text", "text_a"),
    ("comparia", TALK_TEXTS | {"model_a_name": "m", "model_b_name": "n"}, "chosen_model_name", "m"),
    ("label-studio", {"prompt": "q", "answer1": "x", "answer2": "y"}, "verdict", "left"),
]
IDS = [name for name, *_ in LABELS]


def rows_with(row: Json, column: str, values: list[object]) -> list[Json]:
    """One row per label, with prompts of their own."""
    asked = next(c for c in ("prompt", "context", "history", "input", "conversation_a") if c in row)
    return [
        row | ({} if asked == "conversation_a" else {asked: f"q{i}"}) | {column: value}
        for i, value in enumerate(values)
    ]


def write_csv(path: Path, rows: list[Json]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize(("name", "row", "column", "value"), LABELS, ids=IDS)
def test_an_empty_cell_is_no_label_and_a_null_is_the_same(
    name: str, row: Json, column: str, value: object, tmp_path: Path
) -> None:
    for kind, nothing in (("csv", ""), ("jsonl", None)):
        rows = rows_with(row, column, [value, nothing])
        write = write_csv if kind == "csv" else write_jsonl
        file = write(tmp_path / f"x.{kind}", rows)
        report = run(SourceSpec(str(file), format=name), out=tmp_path / kind)
        assert (report.labels, report.dropped) == ({"chosen": 1, "none": 1}, {}), kind
        (pair,) = [p for p in pairs_of(tmp_path / kind) if p["label"] == "chosen"]
        assert pair["chosen"][-1]["content"] == "x"


@pytest.mark.parametrize(
    ("name", "row", "column", "value"), LABELS[:-1], ids=IDS[:-1]
)  # label-studio's flat rows: no column is known to be the verdict until it says left or right
@pytest.mark.parametrize("odd", ["nan", "whatever"])
def test_a_word_that_is_no_known_label_is_dropped_and_told(
    name: str, row: Json, column: str, value: object, odd: str, tmp_path: Path
) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", rows_with(row, column, [value, odd]))
    report = run(SourceSpec(str(file), format=name), out=tmp_path / "out")
    assert (report.pairs, report.dropped) == (1, {"unknown_label": 1})
    (entry,) = entries_of(tmp_path / "out", "unknown_label")
    assert (entry["row"], repr(odd) in entry["detail"]) == (1, True)


@pytest.mark.parametrize(("name", "first"), [("shp", True), ("wimhf", True), ("pku-better", False)])
@pytest.mark.parametrize("as_text", [False, True])
def test_labels_of_nought_and_one_may_be_false_and_true(
    name: str, first: bool, as_text: bool, tmp_path: Path
) -> None:
    """1 is the first answer in shp and wimhf, the second in PKU."""
    row, column = next((r, c) for n, r, c, _ in LABELS if n == name)
    values = [str(v) if as_text else v for v in (first, not first)]
    file = write_jsonl(tmp_path / "x.jsonl", rows_with(row, column, list(values)))
    run(SourceSpec(str(file), format=name), out=tmp_path / "out")
    found = {p["source_row"]: p["chosen"][-1]["content"] for p in pairs_of(tmp_path / "out")}
    assert found == {0: "x", 1: "y"}


def test_a_label_mapped_by_hand_may_be_empty(tmp_path: Path) -> None:
    rows = [{"q": "p", "l": "x", "r": "y", "won": "a", "w": ""}, {"q": "o", "l": "x", "r": "y", "won": ""}]
    mapping = {"prompt": "q", "a": "l", "b": "r", "label": "won", "weight": "w"}
    file = write_csv(tmp_path / "x.csv", [{"w": "2"} | r for r in rows])
    report = run(SourceSpec(str(file), mapping=mapping), out=tmp_path / "out")
    assert (report.labels, report.dropped) == ({"chosen": 1, "none": 1}, {})
    assert {p["source_row"]: p["base_weight"] for p in pairs_of(tmp_path / "out")} == {0: 1.0, 1: 2.0}


def test_empty_cells_of_shared_columns_say_nothing_and_empty_texts_stay_texts(tmp_path: Path) -> None:
    row = {"prompt": "q", "chosen": "x", "rejected": "y", "source": "", "score_chosen": "", "tools": ""}
    rows = [row | {"note": ""}, row | {"prompt": "r", "rejected": ""}, row | {"prompt": ""}]
    file = write_csv(tmp_path / "x.csv", [{"note": ""} | r for r in rows])
    report = run(file, out=tmp_path / "out")
    pairs = {p["source_row"]: p for p in pairs_of(tmp_path / "out")}
    assert (pairs[0]["source"], pairs[0]["tools"], pairs[0]["meta"]) == ("x", None, '{"note": ""}')
    assert report.dropped == {"empty_side": 1}
    assert pairs[2]["prompt"] == [user("")]


def test_nan_of_a_table_is_no_label_and_no_weight(tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {"prompt": ["q", "r"], "response_a": ["x", "x"], "response_b": ["y", "y"]}
    columns |= {"preference": [1.0, float("nan")], "w": [2.0, float("nan")]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    report = run(SourceSpec(str(tmp_path / "x.parquet"), mapping={"weight": "w"}), out=tmp_path / "out")
    assert (report.labels, report.dropped) == ({"chosen": 1, "none": 1}, {})
    assert sorted(p["base_weight"] for p in pairs_of(tmp_path / "out")) == [1.0, 2.0]


def test_a_yes_or_no_that_is_missing_leaves_nothing_to_pair_by(tmp_path: Path) -> None:
    rows: list[Json] = [
        {"prompt": "q", "completion": "x", "label": True},
        {"prompt": "q", "completion": "y", "label": "False"},
        {"prompt": "q", "completion": "z", "label": None},
        {"prompt": "q", "completion": "z", "label": "maybe"},
    ]
    report = run(write_jsonl(tmp_path / "x.jsonl", rows), out=tmp_path / "out")
    assert (report.pairs, report.dropped) == (1, {"missing_column": 1, "unknown_label": 1})


STUDIO = {"id": 3, "prompt": "left", "answer1": "left", "answer2": "y"}


def test_an_answer_that_says_left_is_no_verdict(tmp_path: Path) -> None:
    rows = [STUDIO | {"comparison": "right"}, STUDIO | {"prompt": "p", "comparison": "left", "hand": "left"}]
    run(write_jsonl(tmp_path / "x.jsonl", rows), out=tmp_path / "out")
    found = {
        p["source_row"]: (p["chosen"][0]["content"], p["chosen_was"]) for p in pairs_of(tmp_path / "out")
    }
    assert found == {0: ("y", "b"), 1: ("left", "a")}


def test_two_columns_that_contradict_each_other_are_no_verdict_until_one_is_named(tmp_path: Path) -> None:
    rows = [STUDIO | {"hand": "left", "comparison": "right"}, STUDIO | {"prompt": "p", "comparison": "left"}]
    file = write_jsonl(tmp_path / "x.jsonl", rows)
    report = run(file, out=tmp_path / "out")
    assert (report.pairs, report.dropped) == (1, {"unknown_label": 1})
    (entry,) = entries_of(tmp_path / "out", "unknown_label")
    assert entry["detail"] == "which is the verdict, hand left, comparison right? say --map label=COLUMN"
    named = SourceSpec(str(file), mapping={"label": "comparison"})
    assert run(named, out=tmp_path / "named").pairs == 2
    found = {p["source_row"]: p["chosen_was"] for p in pairs_of(tmp_path / "named")}
    assert found == {0: "b", 1: "a"}


def test_votes_that_nobody_knows_are_dropped(tmp_path: Path) -> None:
    def row(i: int, vote: object) -> Json:
        return {"prompt": f"q{i}", "response_a": {"text": "x"}, "response_b": {"text": "y"}} | {
            "annotations": {"me": {"pref": vote}}
        }

    rows = [row(i, vote) for i, vote in enumerate(["b", "neither", None, "left"])]
    report = run(write_jsonl(tmp_path / "x.jsonl", rows), out=tmp_path / "out")
    assert (report.labels, report.dropped) == ({"chosen": 1, "none": 2}, {"unknown_label": 1})
