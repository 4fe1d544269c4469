"""Columns that mean the same everywhere arrive with the pair whatever the format, also when mapped."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.ingest.run import SourceSpec, preview
from tests.ingest.tables import Json, assistant, entries_of, only_pair, pairs_of, run, said, user, write_jsonl

ROW = {"w": 3, "site": "s1", "lang": "de", "by": "ann", "talk": "c1", "sys": "SYS", "functions": [{"a": 1}]}
MAPPING = {
    "weight": "w",
    "source": "site",
    "language": "lang",
    "annotator": "by",
    "conversation_id": "talk",
    "system": "sys",
    "tools": "functions",
}
EXPECTED = {"base_weight": 3.0, "source": "s1", "language": "de", "annotator": "ann"} | {
    "conversation_id": "c1",
    "tools": '[{"a": 1}]',
    "meta": "{}",
}
GRADES = {"correctness": 1, "coherence": 1, "complexity": 1, "verbosity": 1}
FORMATS: dict[str, list[Json]] = {
    "trl": [{"prompt": "q", "chosen": "x", "rejected": "y"}],
    "skywork": [{"chosen": [user("q"), assistant("x")], "rejected": [user("q"), assistant("y")]}],
    "alpaca-eval": [{"prompt": "q", "response_a": "x", "response_b": "y", "preference": 1}],
    "helpsteer3": [{"context": "q", "response1": "x", "response2": "y", "overall_preference": -3}],
    "arena": [
        {"conversation_a": [user("q"), assistant("x")], "conversation_b": [user("q"), assistant("y")]}
        | {"winner": "model_a", "evaluation_session_id": "other"}
    ],
    "openai": [
        {"input": {"messages": [user("q")], "tools": [1]}, "preferred_output": [assistant("x")]}
        | {"non_preferred_output": [assistant("y")]}
    ],
    "kto": [
        {"prompt": "q", "completion": "x", "label": True},
        {"prompt": "q", "completion": "y", "label": False},
    ],
    "map": [{"q": "q", "good": "x", "bad": "y"}],
}
BY_HAND = {"prompt": "q", "chosen": "good", "rejected": "bad"}


@pytest.mark.parametrize("form", FORMATS)
def test_mapped_columns_arrive_whatever_the_format(form: str, tmp_path: Path) -> None:
    mapping = MAPPING | (BY_HAND if form == "map" else {})
    spec: dict[str, Any] = {"mapping": mapping}
    pair = only_pair([row | ROW for row in FORMATS[form]], tmp_path, **spec)
    stored = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert stored["sources"][0]["format"] == form
    assert {k: pair[k] for k in EXPECTED} == EXPECTED
    assert [*said(pair["prompt"]), *said(pair["chosen"])] == [
        ("system", "SYS"),
        ("user", "q"),
        ("assistant", "x"),
    ]
    uses = {c.column: c.used_as for c in preview(SourceSpec(str(tmp_path / "data.jsonl"), **spec)).columns}
    assert {uses[column] for column in MAPPING.values()} == set(MAPPING)


def test_scores_and_models_of_slots_arrive_on_their_sides(tmp_path: Path) -> None:
    row = {"prompt": "q", "response_A": "x", "response_B": "y", "label": 0, "left": 1, "right": 4}
    mapping = {"score_a": "left", "score_b": "right", "model_a": "m"}
    pair = only_pair([row | {"m": "gpt"}], tmp_path, mapping=mapping)
    assert (pair["score_chosen"], pair["score_rejected"], pair["model_rejected"]) == (4.0, 1.0, "gpt")


def test_the_preview_claims_no_use_that_a_format_does_not_make(tmp_path: Path) -> None:
    rows = [row | {"m": "gpt"} for row in FORMATS["kto"]]
    file = write_jsonl(tmp_path / "x.jsonl", rows)
    uses = preview(SourceSpec(str(file), mapping={"model_a": "m"})).columns
    assert {c.column: c.used_as for c in uses}["m"] is None
    run(SourceSpec(str(file), mapping={"model_a": "m"}), out=tmp_path / "out")
    assert json.loads(pairs_of(tmp_path / "out")[0]["meta"])["chosen_row"] == {"model_a": "gpt"}


def test_a_value_that_its_role_cannot_take_stays_in_meta(tmp_path: Path) -> None:
    row = {"q": "q", "good": "x", "bad": "y", "by": {"name": "ann"}, "sys": ["a"], "n": "many"}
    mapping = BY_HAND | {"annotator": "by", "system": "sys", "strength": "n", "label": "n"}
    pair = only_pair([row], tmp_path, mapping=mapping)
    assert json.loads(pair["meta"]) == {"by": {"name": "ann"}, "sys": ["a"], "n": "many"}


@pytest.mark.parametrize("column", ["strength", "margin"])
def test_what_a_mapped_column_cannot_say_is_reported(column: str, tmp_path: Path) -> None:
    """Numbers may be in quotes; a word, a comma for a point and the like are counted, and stay to be seen."""
    margins = ["1.5", "n/a", "1,5", "", None, 2]
    rows = [
        {"prompt": f"q{i}", "chosen": "x", "rejected": "y", column: m, "by": {"name": "ann"}}
        for i, m in enumerate(margins)
    ]
    file = write_jsonl(tmp_path / "x.jsonl", rows)
    report = run(SourceSpec(str(file), mapping={"strength": column}), out=tmp_path / "out")
    assert report.noted == {"unread_value": 2}
    found = {(e["row"], e["detail"]) for e in entries_of(tmp_path / "out", "unread_value")}
    assert found == {(1, "strength: 'n/a'"), (2, "strength: '1,5'")}
    by_row = {p["source_row"]: p["strength"] for p in pairs_of(tmp_path / "out")}
    assert [by_row[i] for i in range(6)] == [1.5, None, None, None, None, 2.0]


@pytest.mark.parametrize("mapping", [{}, {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}])
def test_a_negative_strength_of_chosen_is_no_preference_for_it(mapping: Json, tmp_path: Path) -> None:
    row = {"prompt": "q", "chosen": "x", "rejected": "y", "margin": "-0.5"}
    pair = only_pair([row], tmp_path, mapping=mapping | {"strength": "margin"})
    assert pair["strength"] == -0.5
    (entry,) = entries_of(tmp_path / "out")
    assert (entry["reason"], entry["detail"]) == ("scores_disagree", "strength -0.5")


def test_a_negative_strength_of_slots_says_which_won(tmp_path: Path) -> None:
    row = {"q": "q", "l": "x", "r": "y", "won": "right", "margin": -2}
    mapping = {"prompt": "q", "a": "l", "b": "r", "label": "won", "strength": "margin"}
    pair = only_pair([row], tmp_path, mapping=mapping)
    assert (said(pair["chosen"]), pair["strength"]) == ([("assistant", "y")], 2.0)
    assert entries_of(tmp_path / "out") == []


def test_a_column_that_goes_by_a_mapped_role_is_not_lost(tmp_path: Path) -> None:
    row = {"prompt": "old", "question": "new", "chosen": "x", "rejected": "y", "weight": 7, "w": 2}
    pair = only_pair([row], tmp_path, mapping={"prompt": "question", "weight": "w"})
    assert said(pair["prompt"]) == [("user", "new")]
    assert pair["base_weight"] == 2.0
    assert json.loads(pair["meta"]) == {"prompt_column": "old", "weight": 7}


def test_a_system_text_that_the_prompt_contradicts_stays_in_meta(tmp_path: Path) -> None:
    prompt = [{"role": "system", "content": "one"}, user("q")]
    row = {"prompt": prompt, "chosen": [assistant("x")], "rejected": [assistant("y")], "system": "two"}
    pair = only_pair([row], tmp_path)
    assert said(pair["prompt"])[0] == ("system", "one")
    assert json.loads(pair["meta"]) == {"system": "two"}


def test_rows_of_one_answer_say_together_what_the_pair_says(tmp_path: Path) -> None:
    """Alike or said by one: the pair's. Different: each answer's, but source and weight must be one."""
    good = {"prompt": "q", "completion": "x", "label": True, "annotator": "ann", "language": "de"}
    bad = {"prompt": "q", "completion": "y", "label": False, "annotator": "bob", "language": "de"}
    rows = [good | {"source": "s1", "conversation_id": "c", "w": 3}, bad | {"source": "s2", "note": 1}]
    file = write_jsonl(tmp_path / "x.jsonl", rows)
    run(SourceSpec(str(file), mapping={"weight": "w"}), out=tmp_path / "out")
    (pair,) = pairs_of(tmp_path / "out")
    assert (pair["source"], pair["annotator"], pair["language"], pair["conversation_id"]) == (
        *("s1", None, "de"),
        "c",
    )
    assert pair["base_weight"] == 2.0  # (3 + 1) / 2
    assert json.loads(pair["meta"]) == {
        "chosen_row": {"annotator": "ann", "source": "s1"},
        "rejected_row": {"annotator": "bob", "source": "s2", "note": 1},
    }


@pytest.mark.parametrize("column", ["system", "tools"])
def test_answers_to_different_questions_are_not_paired(column: str, tmp_path: Path) -> None:
    """A system prompt and the tools on offer are part of the question."""
    rows = [
        {"prompt": "q", "completion": "x", "label": True, column: "one", "source": "s"},
        {"prompt": "q", "completion": "y", "label": False, column: "two", "source": "s"},
        {"prompt": "q", "completion": "z", "label": False, column: "one", "source": "s"},
    ]
    report = run(write_jsonl(tmp_path / "x.jsonl", rows), out=tmp_path / "out")
    (pair,) = pairs_of(tmp_path / "out")
    assert pair["rejected"][0]["content"] == "z"
    assert report.dropped == {"unpaired": 1}
    assert [(e["source"], e["row"]) for e in entries_of(tmp_path / "out", "unpaired")] == [("s", 1)]


def test_weights_and_notes_of_rows_of_one_answer_are_counted(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "x"}, {"type": "image"}]
    rows: list[Json] = [
        {"prompt": "q", "completion": [{"role": "assistant", "content": parts}], "label": True},
        {"prompt": "q", "completion": "y", "label": False},
        {"prompt": "q", "completion": "z", "label": False, "w": -1},
    ]
    file = write_jsonl(tmp_path / "x.jsonl", rows)
    report = run(SourceSpec(str(file), mapping={"weight": "w"}), out=tmp_path / "out")
    assert (report.dropped, report.repaired) == ({"bad_weight": 1}, {"non_text_part": 1})
    assert [e["row"] for e in entries_of(tmp_path / "out", "non_text_part")] == [0]


def test_ratings_carry_what_their_rows_say(tmp_path: Path) -> None:
    rows = [
        {"prompt": "q", "response": r, "helpfulness": h, "language": "de", "system": "S"} | GRADES
        for r, h in (("x", 4), ("y", 1))
    ]
    pair = only_pair(rows, tmp_path)
    assert (pair["language"], said(pair["prompt"])[0]) == ("de", ("system", "S"))
    assert json.loads(pair["meta"])["chosen_row"] == GRADES | {"helpfulness": 4}
