"""Files with two slots and a verdict, ranked and rated answers, other tools' exports, evaluation sets.

Every sample is written by hand in the shape of its family; the expected sides follow from the label rule
stated beside it.
"""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from engine.errors import IngestError
from engine.ingest.formats.registry import FORMATS
from engine.ingest.run import SourceSpec, preview
from tests.ingest.tables import (
    Json,
    assistant,
    entries_of,
    only_pair,
    pairs_of,
    run,
    said,
    user,
    write_jsonl,
)


class Case(NamedTuple):
    """A row of a family and what must come of it."""

    format: str
    row: Json
    expected: Json
    """Fields of the pair; prompt, chosen and rejected as the text of their last turn."""


def talk(*texts: str) -> list[Json]:
    return [(user if i % 2 == 0 else assistant)(t) for i, t in enumerate(texts)]


A_BATTLE = {"prompt": "q", "response_a": "x", "response_b": "y", "model_a": "m", "model_b": "n"}
ARENA = {"conversation_a": talk("q", "x"), "conversation_b": talk("q", "y"), "model_a": "m", "model_b": "n"}
PKU = {"prompt": "q", "response_0": "x", "response_1": "y", "better_response_id": 0, "safer_response_id": 1}
SHP = {"history": "q", "human_ref_A": "x", "human_ref_B": "y", "score_A": 3, "score_B": 9, "score_ratio": 3.0}
PARTS = [{"type": "text", "text": "x"}]
X_WINS: Json = {"prompt": "q", "chosen": "x", "rejected": "y"}
Y_WINS: Json = {"prompt": "q", "chosen": "y", "rejected": "x"}
MN: Json = {"model_chosen": "m", "model_rejected": "n"}
NM: Json = {"model_chosen": "n", "model_rejected": "m"}

CASES = [
    # 1.0 = a surely better, 2.0 = b; strength = 2 · |p − 1.5|.
    Case("alpaca-eval", A_BATTLE | {"preference": 1.25}, X_WINS | MN | {"strength": 0.5, "chosen_was": "a"}),
    Case("alpaca-eval", A_BATTLE | {"preference": 2.0}, Y_WINS | NM | {"strength": 1.0, "chosen_was": "b"}),
    Case("alpaca-eval", A_BATTLE | {"preference": 1.5}, X_WINS | MN | {"label": "tie"}),
    Case(
        "alpaca-eval",
        {"instruction": "q", "output_1": "x", "output_2": "y", "generator_1": "m", "preference": 2},
        Y_WINS | {"model_rejected": "m", "annotator": None},
    ),
    Case("wimhf", {"prompt": "q", "response_A": "x", "response_B": "y", "label": 1}, X_WINS),
    Case("wimhf", {"prompt": "q", "response_A": "x", "response_B": "y", "label": 0}, Y_WINS),
    Case("arena", ARENA | {"winner": "model_b", "question_id": "7"}, Y_WINS | NM | {"conversation_id": "7"}),
    Case("arena", ARENA | {"winner": "tie"}, X_WINS | MN | {"label": "tie"}),
    Case("arena", ARENA | {"winner": "tie (bothbad)"}, X_WINS | {"label": "both_bad"}),
    Case(
        "arena",
        ARENA | {"winner": "both_bad", "language": "de"},
        X_WINS | {"label": "both_bad", "language": "de"},
    ),
    Case(
        "arena",
        {k: json.dumps(v) if "conversation" in k else v for k, v in ARENA.items()} | {"winner": "model_a"},
        X_WINS | MN,
    ),
    Case(
        "arena",
        ARENA
        | {"conversation_a": [user("q"), {"role": "assistant", "content": PARTS}], "winner": "model_a"}
        | {"evaluation_session_id": "s", "full_conversation": [1], "judge_hash": "h"},
        X_WINS | {"conversation_id": "s", "annotator": "h", "meta": "{}"},
    ),
    Case(
        "arena-55k",
        {"prompt": '["q"]', "response_a": '["x"]', "response_b": '["y"]', "model_a": "m", "model_b": "n"}
        | {"winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0, "id": 5},
        Y_WINS | NM | {"meta": '{"id": 5}'},
    ),
    Case(
        "comparia",
        {k: v for k, v in ARENA.items() if "conv" in k}
        | {"model_a_name": "m", "model_b_name": "n", "chosen_model_name": "n", "both_equal": False},
        Y_WINS | NM,
    ),
    Case(
        "comparia",
        {k: v for k, v in ARENA.items() if "conv" in k}
        | {"model_a_name": "m", "model_b_name": "n", "chosen_model_name": None, "both_equal": True},
        X_WINS | MN | {"label": "tie"},
    ),
    # HelpSteer: negative means the first answer.
    Case(
        "helpsteer2",
        {"prompt": "q", "response_1": "x", "response_2": "y", "preference_strength": -2},
        X_WINS | {"strength": 2.0, "chosen_was": "a"},
    ),
    Case(
        "helpsteer3",
        {
            "context": talk("q"),
            "response1": "x",
            "response2": "y",
            "overall_preference": 3,
            "language": "French",
        },
        Y_WINS | {"strength": 3.0, "language": "French"},
    ),
    Case(
        "helpsteer3",
        {"context": "q", "response1": "x", "response2": "y", "overall_preference": 0},
        X_WINS | {"label": "tie"},
    ),
    Case("pku-better", PKU, X_WINS | {"meta": '{"safer_response_id": 1}'}),
    Case("pku-safer", PKU, Y_WINS),
    Case("shp", SHP | {"labels": 0, "post_id": "p"}, Y_WINS | {"score_chosen": 9.0, "conversation_id": "p"}),
    Case("shp", SHP | {"labels": 1}, X_WINS | {"score_chosen": 3.0, "score_rejected": 9.0, "strength": 3.0}),
    Case(
        "prefscope",
        {"prompt": "q", "completion_a": "x", "completion_b": "y", "human_pref": 0.25, "battle_id": 1}
        | {"model_a": "m", "model_b": "n", "source": "arena", "language": "en"},
        Y_WINS | NM | {"strength": 0.5, "source": "arena", "language": "en"},
    ),
    Case(
        "openai",
        {
            "input": {"messages": talk("q"), "tools": [{"name": "f"}], "parallel_tool_calls": True},
            "preferred_output": [assistant("x")],
            "non_preferred_output": [assistant("y")],
        },
        X_WINS | {"tools": '[{"name": "f"}]', "meta": '{"parallel_tool_calls": true}'},
    ),
    Case(
        "sharegpt",
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "x"},
            "rejected": {"from": "gpt", "value": "y"},
        },
        X_WINS,
    ),
    Case(
        "torchtune",
        {"chosen_conversations": talk("q", "x"), "rejected_conversations": talk("q", "y")},
        X_WINS,
    ),
    Case("icai", {"text_a": "x", "text_b": "y", "preferred_text": "text_b", "input": "q"}, Y_WINS),
    Case(
        "nemo",
        {
            "context": talk("q"),
            "completions": [
                {"rank": 1, "completion": [assistant("y")]},
                {"rank": 0, "completion": [assistant("x")]},
            ],
        },
        X_WINS | {"chosen_was": None},
    ),
    Case(
        "ultrafeedback-raw",
        {
            "instruction": "q",
            "completions": [
                {"model": "n", "response": "y", "overall_score": 3.0},
                {"model": "m", "response": "x", "overall_score": 7.5},
            ],
        },
        X_WINS | MN | {"strength": 4.5, "score_chosen": 7.5, "score_rejected": 3.0},
    ),
    Case(
        "argilla",
        {
            "prompt": "q",
            "chosen": talk("q", "x"),
            "rejected": talk("q", "y"),
            "chosen-rating": 5,
            "rejected-rating": 4,
        }
        | {"chosen-model": "m", "rejected-model": "n"},
        X_WINS | MN | {"score_chosen": 5.0, "score_rejected": 4.0, "meta": "{}"},
    ),
    Case("orca", {"system": "s", "question": "q", "chosen": "x", "rejected": "y"}, X_WINS),
    Case(
        "skywork",
        {"chosen": talk("q", "x"), "rejected": talk("q", "y"), "source": "wildguard"},
        X_WINS | {"source": "wildguard"},
    ),
    Case(
        "rewardbench",
        {"prompt": "q", "chosen": "x", "rejected": "y", "chosen_model": "m", "rejected_model": "n"}
        | {"subset": "alpacaeval-easy", "id": 3},
        X_WINS | MN | {"is_evaluation": True},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{c.format}-{i}" for i, c in enumerate(CASES)])
def test_rows_of_every_family_are_understood(case: Case, tmp_path: Path) -> None:
    given = None if not case.format.startswith("pku") else case.format
    pair = only_pair([case.row], tmp_path, format=given)
    stored = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert stored["sources"][0]["format"] == case.format
    for name, value in case.expected.items():
        found = pair[name]
        assert (found[-1]["content"] if name in ("prompt", "chosen", "rejected") else found) == value, name


def test_a_file_with_two_labels_asks_which(tmp_path: Path) -> None:
    with pytest.raises(IngestError) as caught:
        run(write_jsonl(tmp_path / "x.jsonl", [PKU]), out=tmp_path / "out")
    assert "--format pku-better" in str(caught.value.hint)
    assert "--format pku-safer" in str(caught.value.hint)


def test_multi_turn_battles_part_at_the_first_answer(tmp_path: Path) -> None:
    row = ARENA | {
        "conversation_a": talk("q", "x", "more", "x2"),
        "conversation_b": talk("q", "y", "more", "y2"),
        "winner": "model_a",
    }
    pair = only_pair([row], tmp_path)
    assert said(pair["prompt"]) == [("user", "q")]
    assert said(pair["chosen"]) == [("assistant", "x"), ("user", "more"), ("assistant", "x2")]


def test_turns_of_the_kaggle_release_are_zipped_and_nulls_are_empty(tmp_path: Path) -> None:
    row = {"prompt": '["q", "r"]', "response_a": '[null, "x"]', "response_b": '["z", "y"]'}
    row |= {"winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}  # type: ignore[dict-item]
    pair = only_pair([row], tmp_path)
    assert said(pair["chosen"]) == [("assistant", ""), ("user", "r"), ("assistant", "x")]


def test_yes_no_answers_are_paired_by_prompt_and_the_rest_is_counted(tmp_path: Path) -> None:
    rows = [
        {"prompt": "q", "completion": "good", "label": True},
        {"prompt": "other", "completion": "alone", "label": True},
        {"prompt": "q", "completion": "bad", "label": False},
        {"prompt": "q", "completion": "bad too", "label": False},
    ]
    report = run(write_jsonl(tmp_path / "kto.jsonl", rows), out=tmp_path / "out")
    (pair,) = pairs_of(tmp_path / "out")
    assert said(pair["chosen"]) == [("assistant", "good")]
    assert pair["rejected"][0]["content"] in ("bad", "bad too")
    assert (report.rows_read, report.merged, report.dropped) == (4, 1, {"unpaired": 2})


def test_graded_answers_are_paired_best_against_rest(tmp_path: Path) -> None:
    grades = {"correctness": 1, "coherence": 1, "complexity": 1, "verbosity": 1}
    rows = [
        {"prompt": "q", "response": "x", "helpfulness": 4} | grades,
        {"prompt": "q", "response": "y", "helpfulness": 1} | grades,
        {"prompt": "r", "response": "u", "helpfulness": 2} | grades,
        {"prompt": "r", "response": "v", "helpfulness": 2} | grades,
    ]
    report = run(write_jsonl(tmp_path / "hs.jsonl", rows), out=tmp_path / "out")
    by_prompt = {p["prompt"][0]["content"]: p for p in pairs_of(tmp_path / "out")}
    assert (by_prompt["q"]["chosen"][0]["content"], by_prompt["q"]["strength"]) == ("x", 3.0)
    assert json.loads(by_prompt["q"]["meta"])["chosen_row"]["helpfulness"] == 4
    assert by_prompt["r"]["label"] == "tie"
    assert (report.pairs, report.merged, report.labels) == (2, 2, {"chosen": 1, "tie": 1})


def test_annotated_pairs_use_the_default_annotator(tmp_path: Path) -> None:
    votes = {"human": {"pref": "b"}, "trait": {"pref": "a"}}
    comparison = {
        "id": "1",
        "prompt": "q",
        "response_a": {"text": "x", "model": "m"},
        "response_b": {"text": "y"},
    }
    whole = {
        "metadata": {"version": "2.0", "default_annotator": "human"},
        "annotators": {"human": {"type": "human"}},
        "comparisons": [comparison | {"annotations": votes}],
    }
    (tmp_path / "ap.json").write_text(json.dumps(whole, indent=2), encoding="utf-8")
    run(tmp_path / "ap.json", out=tmp_path / "out")
    (pair,) = pairs_of(tmp_path / "out")
    assert (pair["chosen"][0]["content"], pair["model_rejected"], pair["annotator"]) == ("y", "m", "human")
    assert json.loads(pair["meta"]) == {"annotations": {"trait": {"pref": "a"}}, "id": "1"}


def test_rewardbench_2_expands_and_counts(tmp_path: Path) -> None:
    row = {"id": "7", "prompt": "q", "chosen": ["x"], "rejected": ["y1", "y2", "y3"], "num_correct": 1}
    row |= {"models": ["m", "n1", "n2", "n3"], "subset": "Focus", "num_incorrect": 3}
    report = run(write_jsonl(tmp_path / "rb2.jsonl", [row]), out=tmp_path / "out")
    assert (report.rows_read, report.expanded, report.pairs) == (1, 2, 3)
    pairs = pairs_of(tmp_path / "out")
    assert {p["rejected"][0]["content"]: p["model_rejected"] for p in pairs} == {
        "y1": "n1",
        "y2": "n2",
        "y3": "n3",
    }
    assert all(p["is_evaluation"] for p in pairs)


def test_prompts_of_an_evaluation_set_are_refused_wherever_they_occur(tmp_path: Path) -> None:
    bench = {
        "prompt": "What is  Tea?",
        "chosen": "x",
        "rejected": "y",
        "chosen_model": "m",
        "rejected_model": "n",
    }
    a = write_jsonl(tmp_path / "bench.jsonl", [bench | {"subset": "s", "id": 1}])
    rows = [
        {"prompt": "what is tea?", "chosen": "a", "rejected": "b"},
        {"prompt": "what is coffee?", "chosen": "a", "rejected": "b"},
    ]
    report = run(a, write_jsonl(tmp_path / "train.jsonl", rows), out=tmp_path / "out")
    flags = {p["prompt"][-1]["content"]: p["is_evaluation"] for p in pairs_of(tmp_path / "out")}
    assert flags == {"What is  Tea?": True, "what is tea?": True, "what is coffee?": False}
    assert [
        e["file"].endswith("train.jsonl") for e in entries_of(tmp_path / "out", "evaluation_overlap")
    ] == [True]
    assert report.evaluation_pairs == 2


def test_ties_and_unlabelled_pairs_are_counted_with_their_rows(tmp_path: Path) -> None:
    rows = [ARENA | {"winner": w} for w in ("tie", "both_bad", None, "model_a", "nobody")]
    report = run(write_jsonl(tmp_path / "x.jsonl", rows), out=tmp_path / "out")
    assert report.labels == {"both_bad": 1, "chosen": 1, "none": 1, "tie": 1}
    assert report.dropped == {"unknown_label": 1}
    assert {(e["row"], e["reason"]) for e in entries_of(tmp_path / "out")} == {
        (0, "tie"),
        (1, "both_bad"),
        (2, "no_label"),
        (4, "unknown_label"),
    }


def test_tool_calls_become_text_and_are_noted(tmp_path: Path) -> None:
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
    }
    row = {"prompt": talk("q"), "chosen": [call], "rejected": [assistant("no")]}
    pair = only_pair([row], tmp_path)
    assert json.loads(pair["chosen"][0]["content"]) == {"tool_calls": call["tool_calls"]}
    assert len(entries_of(tmp_path / "out", "tool_calls_as_text")) == 1


def test_reconstructed_formats_say_so_in_the_preview(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [SHP | {"labels": 1}])
    assert preview(SourceSpec(str(file))).from_description


def test_format_names_are_unique() -> None:
    names = [f.name for f in FORMATS]
    assert len(names) == len(set(names))
