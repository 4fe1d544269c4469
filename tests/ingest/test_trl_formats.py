"""TRL's four shapes, HH transcripts and the datasets that look like them."""

from pathlib import Path

import pytest

from engine.ingest.formats.transcripts import split_texts, transcript_turns
from engine.ingest.run import SourceSpec, preview
from tests.ingest.tables import assistant, entries_of, only_pair, pairs_of, run, said, user, write_jsonl


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
    assert ("rating", "number") in seen.columns
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
