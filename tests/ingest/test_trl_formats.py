"""TRL's four shapes, HH transcripts and the datasets that look like them."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.ingest.formats.transcripts import split_texts, transcript_turns
from engine.ingest.run import SourceSpec, preview
from tests.ingest.tables import Json, assistant, entries_of, only_pair, pairs_of, run, said, user, write_jsonl


def test_explicit_texts_keep_leading_spaces(tmp_path: Path) -> None:
    pair = only_pair([{"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}], tmp_path)
    assert said(pair["prompt"]) == [("user", "The sky is")]
    assert said(pair["chosen"]) == [("assistant", " blue.")]
    assert said(pair["rejected"]) == [("assistant", " green.")]
    assert pair["label"] == "chosen"
    assert pair["chosen_was"] is None
    assert pair["source"] == "data"
    assert pair["source_row"] == 0


def test_explicit_conversation_keeps_system_and_turns(tmp_path: Path) -> None:
    prompt = [{"role": "system", "content": "Be brief."}, user("Hi"), assistant("Hello"), user("Sky?")]
    row = {
        "prompt": prompt,
        "chosen": [assistant("Blue")],
        "rejected": [assistant("Green")],
        "tools": [{"a": 1}],
    }
    pair = only_pair([row], tmp_path)
    assert [m["role"] for m in pair["prompt"]] == ["system", "user", "assistant", "user"]
    assert said(pair["chosen"]) == [("assistant", "Blue")]
    assert pair["tools"] == '[{"a": 1}]'


def test_implicit_conversation_is_split_by_whole_messages(tmp_path: Path) -> None:
    """A conversation that is a prefix of the other still leaves an answer on each side."""
    chosen = [user("Sky?"), assistant("Blue"), user("Sure?"), assistant("Yes")]
    pair = only_pair([{"chosen": chosen, "rejected": chosen[:2]}], tmp_path)
    assert said(pair["prompt"]) == [("user", "Sky?")]
    assert said(pair["chosen"])[0] == ("assistant", "Blue")
    assert said(pair["rejected"]) == [("assistant", "Blue")]
    assert [e["reason"] for e in entries_of(tmp_path / "out")] == ["differ_earlier"]


def test_user_turn_repeated_inside_the_sides_is_not_part_of_them(tmp_path: Path) -> None:
    row = {
        "prompt": "Sky?",
        "prompt_id": "p1",
        "chosen": [user("Sky?"), assistant("Blue")],
        "rejected": [user("Sky?"), assistant("Green")],
        "messages": [user("Sky?"), assistant("Blue")],
        "score_chosen": 4.0,
        "score_rejected": 7.5,
    }
    pair = only_pair([row], tmp_path)
    assert said(pair["prompt"]) == [("user", "Sky?")]
    assert said(pair["chosen"]) == [("assistant", "Blue")]
    assert (pair["score_chosen"], pair["score_rejected"]) == (4.0, 7.5)
    assert pair["conversation_id"] == "p1"
    assert pair["meta"] == "{}"
    assert entries_of(tmp_path / "out", "scores_disagree")


def test_a_prompt_column_that_is_one_turn_of_a_longer_conversation(tmp_path: Path) -> None:
    before = [user("Hi"), assistant("Hello"), user("Sky?")]
    row = {
        "id": "1",
        "source": "mix",
        "prompt": "Sky?",
        "chosen": [*before, assistant("Blue")],
        "rejected": [*before, assistant("Green")],
        "chosen_model": "m1",
        "rejected_model": "m2",
    }
    pair = only_pair([row], tmp_path)
    assert said(pair["prompt"]) == [("user", "Hi"), ("assistant", "Hello"), ("user", "Sky?")]
    assert said(pair["chosen"]) == [("assistant", "Blue")]
    assert (pair["model_chosen"], pair["model_rejected"], pair["source"]) == ("m1", "m2", "mix")


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        ("The sky is blue", "The sky is blue and vast", ("The sky is", " blue", " blue and vast")),
        ("The sky is blue.", "The sky is green.", ("The sky is", " blue.", " green.")),
        ("Paris ", "London", ("", "Paris ", "London")),
        (
            "Q: x\nAssistant: I can help",
            "Q: x\nAssistant: I cannot",
            ("Q: x\nAssistant:", " I can help", " I cannot"),
        ),
    ],
)
def test_texts_without_prompt_are_never_cut_inside_a_word(
    chosen: str, rejected: str, expected: tuple[str, str, str]
) -> None:
    assert split_texts(chosen, rejected) == expected


def test_transcript_is_split_at_the_last_assistant_marker(tmp_path: Path) -> None:
    before = '\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Is "Assistant: " a word?\n\nAssistant:'
    pair = only_pair([{"chosen": before + " I can help", "rejected": before + " I cannot"}], tmp_path)
    assert said(pair["prompt"]) == [
        ("user", "Hi"),
        ("assistant", "Hello."),
        ("user", 'Is "Assistant: " a word?'),
    ]
    assert said(pair["chosen"]) == [("assistant", "I can help")]
    assert said(pair["rejected"]) == [("assistant", "I cannot")]


def test_transcripts_that_differ_earlier_end_their_prompt_where_they_part(tmp_path: Path) -> None:
    start = "\n\nHuman: Hi\n\nAssistant:"
    rows = [
        {
            "chosen": f"{start} A\n\nHuman: More\n\nAssistant: B",
            "rejected": f"{start} C\n\nHuman: x\n\nAssistant: D",
        }
    ]
    pair = only_pair(rows, tmp_path)
    assert said(pair["prompt"]) == [("user", "Hi")]
    assert said(pair["chosen"]) == [("assistant", "A"), ("user", "More"), ("assistant", "B")]
    assert len(entries_of(tmp_path / "out", "differ_earlier")) == 1


def test_transcripts_without_answer_or_marker_are_dropped_and_counted(tmp_path: Path) -> None:
    start = "\n\nHuman: Hi\n\nAssistant:"
    rows = [
        {"chosen": f"{start} A", "rejected": f"{start} B"},
        {"chosen": f"{start} A", "rejected": f"{start}"},
        {"chosen": f"{start} A\n\nHuman: and?", "rejected": f"{start} B"},
        {"chosen": "no marker", "rejected": "at all"},
    ]
    file = write_jsonl(tmp_path / "hh.jsonl", rows)
    report = run(file, out=tmp_path / "out")
    assert report.pairs == 1
    assert report.dropped == {"empty_side": 1, "no_answer": 1, "no_marker": 1}
    assert [(e["row"], e["reason"]) for e in entries_of(tmp_path / "out")] == [
        (1, "empty_side"),
        (2, "no_answer"),
        (3, "no_marker"),
    ]


def test_text_before_the_first_marker_is_a_system_turn() -> None:
    assert transcript_turns("Be kind.\n\nHuman: Hi\n\nAssistant:") == (
        ("system", "Be kind."),
        ("user", "Hi"),
        ("assistant", ""),
    )


def test_prompt_that_is_an_open_transcript_becomes_turns(tmp_path: Path) -> None:
    row = {"prompt": "\n\nHuman: Hi\n\nAssistant:", "chosen": " Hello", "rejected": " What?"}
    pair = only_pair([row], tmp_path)
    assert said(pair["prompt"]) == [("user", "Hi")]
    assert said(pair["chosen"]) == [("assistant", " Hello")]


def test_other_columns_are_kept_as_meta(tmp_path: Path) -> None:
    row = {
        "prompt": "q",
        "chosen": "a",
        "rejected": "b",
        "topic": "tea",
        "rating": float("nan"),
        "n": [1, {"x": None}],
    }
    pair = only_pair([row], tmp_path)
    assert pair["meta"] == '{"n": [1, {"x": null}], "topic": "tea"}'


def test_rows_name_their_source_unless_the_user_does(tmp_path: Path) -> None:
    row = {"prompt": "q", "chosen": "a", "rejected": "b", "source": "theirs"}
    assert only_pair([row], tmp_path / "1")["source"] == "theirs"
    pair = only_pair([row], tmp_path / "2", name="mine")
    assert (pair["source"], pair["meta"]) == ("mine", '{"source": "theirs"}')


def test_preview_shows_guess_columns_and_first_pairs(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{i}", "chosen": "a", "rejected": "b", "rating": i} for i in range(20)]
    seen = preview(SourceSpec(str(write_jsonl(tmp_path / "x.jsonl", rows))), 3)
    assert (seen.format, len(seen.pairs)) == ("trl", 3)
    assert [(c.column, c.holds, c.used_as) for c in seen.columns] == [
        ("prompt", "text", "prompt"),
        ("chosen", "text", "chosen"),
        ("rejected", "text", "rejected"),
        ("rating", "number", None),
    ]
    assert seen.pairs[2].prompt[0].content == "q2"


def test_message_parts_are_joined_and_images_counted(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "What is"}, {"type": "image"}, {"type": "text", "text": " this?"}]
    row = {
        "prompt": [{"role": "user", "content": parts}],
        "chosen": [assistant("A")],
        "rejected": [assistant("B")],
    }
    file = write_jsonl(tmp_path / "x.jsonl", [row])
    report = run(file, out=tmp_path / "out")
    assert said(pairs_of(tmp_path / "out")[0]["prompt"]) == [("user", "What is this?")]
    assert report.repaired == {"non_text_part": 1}


def test_messages_that_went_through_csv_are_messages_again(tmp_path: Path) -> None:
    sides = {"chosen": json.dumps([assistant("A")]), "rejected": json.dumps([assistant("B")])}
    with (tmp_path / "x.csv").open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, ["prompt", "chosen", "rejected"])
        writer.writeheader()
        writer.writerow({"prompt": json.dumps([user("q")]), **sides})
    run(tmp_path / "x.csv", out=tmp_path / "out")
    (pair,) = pairs_of(tmp_path / "out")
    assert said(pair["prompt"]) == [("user", "q")]
    assert said(pair["chosen"]) == [("assistant", "A")]


def test_an_answer_that_is_json_stays_text(tmp_path: Path) -> None:
    pair = only_pair(
        [{"prompt": "[1]", "chosen": '["a"]', "rejected": '{"role": "user"}'}], tmp_path, format="trl"
    )
    assert said(pair["chosen"]) == [("assistant", '["a"]')]
    assert said(pair["prompt"]) == [("user", "[1]")]


def test_texts_and_messages_may_be_mixed_in_a_column(tmp_path: Path) -> None:
    rows: list[Json] = [
        {"prompt": "p", "chosen": "a", "rejected": "b"},
        {"prompt": "p2", "chosen": [assistant("a")], "rejected": [assistant("b")]},
    ]
    assert run(write_jsonl(tmp_path / "x.jsonl", rows), out=tmp_path / "out").pairs == 2


WRITERS: dict[str, Callable[[str, str, str], Any]] = {
    "trl": lambda p, c, r: {"prompt": p, "chosen": c, "rejected": r},
    "trl-conversational": lambda p, c, r: {
        "prompt": [user(p)],
        "chosen": [assistant(c)],
        "rejected": [assistant(r)],
    },
    "trl-implicit-conversational": lambda p, c, r: {
        "chosen": [user(p), assistant(c)],
        "rejected": [user(p), assistant(r)],
    },
    "hh-rlhf": lambda p, c, r: {
        "chosen": f"\n\nHuman: {p}\n\nAssistant: {c}",
        "rejected": f"\n\nHuman: {p}\n\nAssistant: {r}",
    },
    "openai": lambda p, c, r: {
        "input": {"messages": [user(p)]},
        "preferred_output": [assistant(c)],
        "non_preferred_output": [assistant(r)],
    },
    "sharegpt": lambda p, c, r: {
        "conversations": [{"from": "human", "value": p}],
        "chosen": {"from": "gpt", "value": c},
        "rejected": {"from": "gpt", "value": r},
    },
    "torchtune": lambda p, c, r: {
        "chosen_conversations": [user(p), assistant(c)],
        "rejected_conversations": [user(p), assistant(r)],
    },
    "wimhf": lambda p, c, r: {"prompt": p, "response_A": r, "response_B": c, "label": 0},
    "prefscope": lambda p, c, r: {"prompt": p, "completion_a": c, "completion_b": r, "human_pref": 1.0},
    "icai": lambda p, c, r: {"input": p, "text_a": r, "text_b": c, "preferred_text": "text_b"},
    "nemo": lambda p, c, r: {
        "context": [user(p)],
        "completions": [
            {"rank": 0, "completion": [assistant(c)]},
            {"rank": 1, "completion": [assistant(r)]},
        ],
    },
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_pairs_have_the_same_identity_in_every_tool(name: str, tmp_path: Path) -> None:
    pairs = [(f"question {i}?", f" yes, {i}\n", f"no é {i}") for i in range(5)]
    for kind in ("trl", name):
        rows: list[Json] = [WRITERS[kind](*p) for p in pairs]
        run(
            SourceSpec(str(write_jsonl(tmp_path / f"{kind}.jsonl", rows)), name="s"),
            out=tmp_path / f"out-{kind}",
        )
    first, second = pairs_of(tmp_path / "out-trl"), pairs_of(tmp_path / f"out-{name}")
    assert [p["pair_id"] for p in first] == [p["pair_id"] for p in second]
    stored = json.loads((tmp_path / f"out-{name}" / "report.json").read_text(encoding="utf-8"))
    assert stored["sources"][0]["format"] == name


@pytest.mark.parametrize(
    "message",
    [
        {"content": "No."},
        {"content": None, "refusal": "No."},
        {"content": [{"type": "refusal", "refusal": "No."}]},
        {"content": [{"type": "text", "content": "N"}, "o."]},
        {"content": {"content_type": "text", "parts": ["No", "."]}},
    ],
)
def test_a_text_is_read_from_wherever_a_message_has_it(tmp_path: Path, message: Json) -> None:
    """A refusal is what the model said, whichever field an interface puts it in."""
    row = {"prompt": [user("q")], "chosen": [{"role": "assistant"} | message], "rejected": [assistant("y")]}
    assert said(only_pair([row], tmp_path)["chosen"]) == [("assistant", "No.")]
    assert entries_of(tmp_path / "out") == []


def test_a_side_without_any_text_says_what_was_left_out_of_it(tmp_path: Path) -> None:
    image = {"role": "assistant", "content": [{"type": "image", "image": "x.png"}]}
    rows = [
        {"prompt": [user("q")], "chosen": [image], "rejected": [assistant("y")]},
        {"prompt": [user("q")], "chosen": [assistant("x")], "rejected": [assistant("y")]},
    ]
    only_pair(rows, tmp_path)
    (entry,) = entries_of(tmp_path / "out")
    assert (entry["reason"], entry["detail"]) == ("empty_side", "chosen; left out: image")
