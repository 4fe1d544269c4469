"""Turns that a row has twice, messages with more in them than is read, sides that differ in nothing read."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.ingest.run import SourceSpec
from tests.ingest.tables import Json, assistant, entries_of, only_pair, pairs_of, run, said, user, write_jsonl

A, B = assistant("a"), assistant("b")


def reasons(folder: Path) -> list[str]:
    return [e["reason"] for e in entries_of(folder / "out")]


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"prompt": "q ", "chosen": [user("q"), A], "rejected": [user("q\n"), B]}, ["q "]),
        ({"prompt": [user("q")], "chosen": [user("q\n"), A], "rejected": [B]}, ["q"]),
        (
            {"prompt": "q ", "chosen": [user("p"), B, user("q"), A]}
            | {"rejected": [user("p"), B, user("q"), B]},
            ["p", "b", "q"],
        ),
        ({"chosen": [user("q"), A], "rejected": [user(" q"), B]}, ["q"]),
        ({"prompt": "q", "chosen": [user("q"), A], "rejected": [B], "system": "s"}, ["s", "q"]),
    ],
)  # fmt: skip
def test_turns_that_differ_in_white_space_at_their_ends_are_one_turn(
    row: Json, prompt: list[str], tmp_path: Path
) -> None:
    pair = only_pair([row], tmp_path)
    assert [t["content"] for t in pair["prompt"]] == prompt
    assert (said(pair["chosen"]), said(pair["rejected"])) == ([("assistant", "a")], [("assistant", "b")])
    assert reasons(tmp_path) == ([] if "system" in row else ["spacing"])


def test_answers_that_differ_in_white_space_are_two_answers(tmp_path: Path) -> None:
    row = {"chosen": [user("q"), assistant("a\n")], "rejected": [user("q"), A]}
    pair = only_pair([row], tmp_path)
    assert (said(pair["chosen"]), said(pair["rejected"])) == ([("assistant", "a\n")], [("assistant", "a")])
    assert reasons(tmp_path) == []


def test_a_side_with_a_user_turn_of_its_own_is_noted(tmp_path: Path) -> None:
    row = {"prompt": "A", "chosen": [user("A"), A], "rejected": [user("B"), B]}
    pair = only_pair([row], tmp_path)
    assert said(pair["rejected"]) == [("user", "B"), ("assistant", "b")]
    (entry,) = entries_of(tmp_path / "out")
    assert (entry["reason"], entry["detail"]) == (
        "differ_earlier",
        "rejected has a user turn before its answer",
    )


def thought(text: str, thinking: object, **more: object) -> Json:
    return assistant(text) | {"reasoning_content": thinking, "tool_calls": None, "weight": 1, **more}


def test_fields_of_messages_that_hold_text_are_named_when_they_are_left_out(tmp_path: Path) -> None:
    rows: list[Json] = [
        {
            "prompt": [user("q") | {"name": "Ann"}],
            "chosen": [thought("a", "hm")],
            "rejected": [thought("b", None)],
        },
        {
            "prompt": [user("p") | {"name": " "}],
            "chosen": [thought("a", [])],
            "rejected": [thought("b", None)],
        },
        {"prompt": "o", "chosen": [thought("a", [{"type": "x", "text": "hm"}])], "rejected": [B]},
    ]
    report = run(write_jsonl(tmp_path / "x.jsonl", rows), out=tmp_path / "out")
    assert report.noted == {"unread_fields": 2}
    assert [(e["row"], e["detail"]) for e in entries_of(tmp_path / "out")] == [
        (0, "name, reasoning_content"),
        (2, "reasoning_content"),
    ]


def test_fields_of_messages_stored_as_lists_are_named_too(tmp_path: Path) -> None:
    def stored(text: str) -> Json:
        return {"role": ["assistant"], "content": [text], "thinking": ["hm"]}

    rows = [{"prompt": "q", "chosen": stored("a"), "rejected": stored("b")}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    report = run(tmp_path / "x.parquet", out=tmp_path / "out")
    assert report.noted == {"unread_fields": 1}
    assert said(pairs_of(tmp_path / "out")[0]["chosen"]) == [("assistant", "a")]


@pytest.mark.parametrize(
    ("other", "reason", "detail"),
    [
        (thought("a", "mm", name="n"), "differ_unread", "reasoning_content"),
        (thought("a", None, name="n"), "differ_unread", "reasoning_content"),
        (thought("a", "hm", name="n"), "identical_sides", ""),
    ],
)
def test_sides_that_differ_in_what_is_not_read_are_not_called_the_same(
    other: Json, reason: str, detail: str, tmp_path: Path
) -> None:
    rows: list[Json] = [
        {"prompt": "q", "chosen": [thought("a", "hm", name="n")], "rejected": [other]},
        {"prompt": "q", "chosen": [A], "rejected": [B]},
    ]
    report = run(write_jsonl(tmp_path / "x.jsonl", rows), out=tmp_path / "out")
    assert (report.pairs, report.dropped) == (1, {reason: 1})
    assert [e["detail"] for e in entries_of(tmp_path / "out", reason)] == [detail]


def test_a_tie_between_thoughts_is_no_tie_between_equal_texts(tmp_path: Path) -> None:
    row = {"q": "q", "a": [thought("a", "x")], "b": [thought("a", "y")], "won": "tie"}
    only_pair([row], tmp_path, mapping={"prompt": "q", "a": "a", "b": "b", "label": "won"})
    assert sorted(reasons(tmp_path)) == ["tie", "unread_fields"]


def test_sides_that_repairs_make_equal_are_the_same_text(tmp_path: Path) -> None:
    """What is stored is compared: both lone surrogates become U+FFFD."""
    lines = [
        '{"prompt": "q", "chosen": "a\\ud800", "rejected": "a\\udfff"}',
        '{"prompt": "q", "chosen": "a\\ud800", "rejected": "b\\udfff"}',
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(lines), encoding="utf-8")
    report = run(SourceSpec(str(tmp_path / "x.jsonl")), out=tmp_path / "out")
    assert (report.pairs, report.dropped, report.repaired) == (
        1,
        {"identical_sides": 1},
        {"lone_surrogate": 2},
    )


SINGLE: dict[str, Json] = {
    "nemo": {"context": [user("q")]}
    | {"completions": [{"rank": 1, "completion": [B]}, {"rank": 0, "completion": [A]}]},
    "ultrafeedback-raw": {"instruction": "q"}
    | {"completions": [{"response": r, "overall_score": s} for r, s in (("a", 2), ("b", 1))]},
    "label-studio": {"id": 1, "data": {"prompt": "q", "answer1": "a", "answer2": "b"}}
    | {"annotations": [{"result": [{"type": "pairwise", "value": {"selected": "left"}}]}]},
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_single_object_that_a_format_knows_is_one_row(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(SINGLE[name], indent=1), encoding="utf-8")
    report = run(tmp_path / "x.json", out=tmp_path / "out")
    assert (report.sources[0].format, report.rows_read, report.pairs) == (name, 1, 1)
    assert said(pairs_of(tmp_path / "out")[0]["chosen"]) == [("assistant", "a")]
