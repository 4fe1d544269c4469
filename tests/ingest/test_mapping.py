"""Tables of no known format, mapped in one line, and errors that say how."""

import json
import shlex
from pathlib import Path

import pytest

from engine.cli.mix import parse_mapping
from engine.errors import IngestError
from engine.ingest.run import SourceSpec
from engine.ingest.suggest import suggested
from tests.ingest.tables import Json, only_pair, pairs_of, plain_row, run, said, write_jsonl


def test_unknown_columns_are_listed_with_a_mapping_to_copy(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [{"query": "q", "good": "a", "bad": "b", "n": 3}])
    with pytest.raises(IngestError) as caught:
        run(file, out=tmp_path / "out")
    assert "query: text" in caught.value.message
    assert "n: number" in caught.value.message
    assert "--map prompt=COLUMN,chosen=COLUMN,rejected=COLUMN" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()


def test_sides_are_mapped_by_name(tmp_path: Path) -> None:
    mapping = {"prompt": "query", "chosen": "good", "rejected": "bad", "language": "lang", "strength": "by"}
    row = {"query": "q", "good": "a", "bad": "b", "lang": "de", "by": -2, "left": 1}
    pair = only_pair([row], tmp_path, mapping=mapping)
    assert said(pair["chosen"]) == [("assistant", "a")]
    assert (pair["language"], pair["strength"], pair["meta"]) == ("de", -2.0, '{"left": 1}')


@pytest.mark.parametrize(
    ("value", "label", "was", "first"),
    [(1, "chosen", "a", "x"), (2, "chosen", "b", "y"), (0, "tie", "a", "x"), (9, "both_bad", "a", "x")],
)
def test_slots_are_mapped_with_label_values(
    tmp_path: Path, value: int, label: str, was: str, first: str
) -> None:
    mapping = {"prompt": "q", "a": "left", "b": "right", "label": "winner", "model_a": "ma", "score_b": "sb"}
    mapping |= {"a_wins": "1", "b_wins": "2", "tie": "0", "both_bad": "9"}
    row = {"q": "?", "left": "x", "right": "y", "winner": value, "ma": "m", "sb": 4}
    pair = only_pair([row], tmp_path, mapping=mapping)
    assert (pair["label"], pair["chosen_was"]) == (label, was)
    assert pair["chosen"][0]["content"] == first
    side = "rejected" if was == "b" else "chosen"
    assert pair[f"model_{side}"] == "m"
    assert pair["score_chosen" if was == "b" else "score_rejected"] == 4.0


def test_unknown_label_values_are_dropped_with_advice(tmp_path: Path) -> None:
    mapping = {"a": "l", "b": "r", "label": "w"}
    rows: list[Json] = [{"l": "x", "r": "y", "w": "A"}, {"l": "x", "r": "y", "w": 7}]
    file = write_jsonl(tmp_path / "x.jsonl", rows)
    report = run(SourceSpec(str(file), mapping=mapping), out=tmp_path / "out")
    assert (report.pairs, report.dropped) == (1, {"unknown_label": 1})


def test_a_partial_mapping_renames_before_detection(tmp_path: Path) -> None:
    pair = only_pair([{"query": "q", "chosen": "a", "rejected": "b"}], tmp_path, mapping={"prompt": "query"})
    assert said(pair["prompt"]) == [("user", "q")]


def test_mapping_to_a_missing_column_or_role_is_refused(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [plain_row(1)])
    with pytest.raises(IngestError, match="no column `qqq`"):
        run(SourceSpec(str(file), mapping={"prompt": "qqq"}), out=tmp_path / "out")
    with pytest.raises(IngestError, match="`promt` is no role; did you mean `prompt`"):
        run(SourceSpec(str(file), mapping={"promt": "prompt"}), out=tmp_path / "out")


def test_unknown_format_names_suggest_the_nearest(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [plain_row(1)])
    with pytest.raises(IngestError, match="did you mean `hh-rlhf`"):
        run(SourceSpec(str(file), format="hh-rlfh"), out=tmp_path / "out")


def test_a_format_that_fits_no_row_says_why(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [plain_row(1), plain_row(2)])
    with pytest.raises(IngestError, match=r"none of 2 rows became a pair.*no_marker 2"):
        run(SourceSpec(str(file), format="hh-rlhf"), out=tmp_path / "out")


def slots(tmp_path: Path, winners: list[str]) -> Path:
    """A table with two slots and these labels."""
    lines = [f"q{i},left {i},right {i},{w}" for i, w in enumerate(winners)]
    file = tmp_path / "t.csv"
    file.write_text("\n".join(["question,left,right,winner", *lines]) + "\n")
    return file


SLOTS = {"prompt": "question", "a": "left", "b": "right", "label": "winner"}


def test_labels_that_are_bare_numbers_are_listed_with_the_mapping_to_add(tmp_path: Path) -> None:
    file = slots(tmp_path, ["1", "2", "1", "2", "2"])
    with pytest.raises(IngestError, match=r"none of 5 rows became a pair.*unknown_label 5") as refused:
        run(SourceSpec(str(file), mapping=SLOTS), out=tmp_path / "out")
    assert refused.value.hint == (
        "label column `winner` holds values without a meaning: '2' (3), '1' (2); "
        "add a_wins=VALUE,b_wins=VALUE to --map (also tie=VALUE, both_bad=VALUE)"
    )
    report = run(SourceSpec(str(file), mapping=SLOTS | {"a_wins": "1", "b_wins": "2"}), out=tmp_path / "out")
    assert (report.pairs, report.sources[0].remarks) == (5, ())


def test_labels_of_some_rows_without_a_meaning_are_a_remark_that_stays(tmp_path: Path) -> None:
    file = slots(tmp_path, ["1", "2", "0"])
    spec = SourceSpec(str(file), mapping=SLOTS | {"a_wins": "1", "b_wins": "2"})
    said = (
        "label column `winner` holds values without a meaning: '0' (1); add tie=VALUE,both_bad=VALUE to --map"
    )
    assert run(spec, out=tmp_path / "out").sources[0].remarks == (said,)
    other = write_jsonl(tmp_path / "other.jsonl", [plain_row(1)])
    again = run(spec, other, out=tmp_path / "out")
    assert [r for s in again.sources for r in s.remarks] == [said]


@pytest.mark.parametrize(
    ("row", "mapping"),
    [
        (
            {"query": "q", "accepted": "yes", "rejected": "no"},
            "prompt=query,chosen=accepted,rejected=rejected",
        ),
        (
            {"userMessage": "q", "winner": "yes", "loser": "no"},
            "prompt=userMessage,chosen=winner,rejected=loser",
        ),
        (
            {"d": {"question": "q"}, "good": ["yes"], "bad": ["no"]},
            "prompt=d.question,chosen=good[0],rejected=bad[0]",
        ),
        (
            {"instruction": "q", "out_a": "x", "out_b": "y", "better": "A"},
            "prompt=instruction,a=out_a,b=out_b,label=better",
        ),
        (
            {"Q": "q", "question": "q", "left": "x", "right": "y", "winner": "left"},
            "prompt=question,a=left,b=right,label=winner",
        ),
        (
            {"prompt": "q", "response 1": "x", "response 2": "y", "rating_1": 4, "rating_2": 2.5},
            "prompt=prompt,a=response 1,b=response 2,score_a=rating_1,score_b=rating_2",
        ),
        ({"question": "q", "good": "a", "better": "b", "bad": "c"}, None),  # which of the two?
        ({"question": "q", "left": "x", "right": "y", "winner": "1"}, None),  # whichever that is
        ({"good": "a", "bad": "b"}, None),
        ({"text": "q", "x": "a", "y": "b"}, None),
        (
            {"dialog": "q", "best": "yes", "worst": "no", "score_best": "4.5", "score_worst": "2"},
            "prompt=dialog,chosen=best,rejected=worst",
        ),
    ],
)
def test_names_that_say_which_side_is_better_are_suggested(
    tmp_path: Path, row: Json, mapping: str | None
) -> None:
    assert suggested(row) == mapping
    file = write_jsonl(tmp_path / "x.jsonl", [row])
    if mapping is None:
        return
    with pytest.raises(IngestError) as refused:
        run(file, out=tmp_path / "out")
    assert f"perhaps --map {shlex.quote(mapping)}" in str(refused.value.hint)
    spec = SourceSpec(str(file), mapping=parse_mapping((mapping,)))
    assert run(spec, out=tmp_path / "out").pairs == 1


def test_scores_of_two_slots_make_the_label(tmp_path: Path) -> None:
    mapping = {"prompt": "q", "a": "x", "b": "y", "score_a": "s", "score_b": "t"}
    rows = [
        {"q": str(i), "x": f"left {i}", "y": f"right {i}", "s": s, "t": t}
        for i, (s, t) in enumerate([(4, 1.5), (1, 3), (2, 2), (2, None), ("5", "9")])
    ]
    file = write_jsonl(tmp_path / "x.jsonl", rows)
    assert run(SourceSpec(str(file), mapping=mapping), out=tmp_path / "out").pairs == 5
    made = {p["prompt"][0]["content"]: p for p in pairs_of(tmp_path / "out")}
    assert [made[str(i)]["label"] for i in range(5)] == ["chosen", "chosen", "tie", "none", "chosen"]
    assert [made[str(i)]["chosen_was"] for i in (0, 1, 4)] == ["a", "b", "b"]
    assert [(made["1"][k]) for k in ("score_chosen", "score_rejected", "strength")] == [3, 1, 2]


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ({"train": [1, 2, 3], "test": [1, 2]}, "`.train` (3) and `.test` (2), write them"),
        ({"train": [1, 2], "test": [1, 2]}, "jq -c '.train[]' FILE > rows.jsonl"),
        ({"version": 1, "data": {"items": [1, 2]}}, "jq -c '.data.items[]' FILE > rows.jsonl"),
        ({"0": 1, "1": 2}, "jq -c '.[]' FILE > rows.jsonl"),
    ],
)
def test_rows_inside_of_one_record_are_pointed_at(tmp_path: Path, file: Json, command: str) -> None:
    def filled(value: object) -> object:
        if isinstance(value, dict):
            return {k: filled(v) for k, v in value.items()}
        if isinstance(value, list):
            return [filled(v) for v in value]
        return {"good": f"yes {value}", "bad": f"no {value}"} if isinstance(value, int) else value

    path = tmp_path / "x.json"
    path.write_text(
        json.dumps({k: v if k == "version" else filled(v) for k, v in file.items()}), encoding="utf-8"
    )
    for mapping in ({}, {"chosen": "good", "rejected": "bad"}):
        with pytest.raises(IngestError) as refused:
            run(SourceSpec(str(path), mapping=mapping), out=tmp_path / "out")
        assert command in str(refused.value.hint)


@pytest.mark.parametrize("text", ['[{"a": 1}]', '{\n "a": 1\n}\n'])
def test_json_that_is_no_lines_is_to_be_called_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(IngestError) as refused:
        run(path, out=tmp_path / "out")
    assert "objects over several lines, x.json" in str(refused.value.hint)
