"""Places inside a row: nested fields, lists, JSON text in a column; what is taken is kept only once."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import IngestError
from engine.ingest.formats.places import find, listed, placed, record_text
from engine.ingest.run import SourceSpec, preview
from tests.ingest.tables import Json, only_pair, pairs_of, run, said, write_jsonl

ASKED = ("How long?", "Which rivers?", "Older?")
GOOD = ("Eight minutes.", "Rhine and Nile.", "Yes, by far.")
BAD = ("Great question!", "I can't say.", "Who knows.")
THREE = range(3)

names = st.text("abcxyz_ä ", min_size=1, max_size=4)
leaves = st.none() | st.booleans() | st.integers(-9, 9) | st.text("abc [{.", max_size=5)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(names, values, min_size=1, max_size=3), st.booleans())
def test_every_listed_place_is_found_also_in_json_text(row: dict[str, Any], is_text: bool) -> None:
    made = {k: json.dumps(v) if is_text and isinstance(v, dict | list) else v for k, v in row.items()}
    assert record_text(made)
    for place in listed(made):
        found = find(made, place)
        assert found is not None, place
        assert json.dumps(found.value) in json.dumps(row) or isinstance(found.value, str)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("a.b", 1),  # a column of that name goes before the object
        ("a.c", 3),
        ("a.d.e[0]", "x"),  # names may hold what places are made of
        ("list[-1]", 9),
        ("list[:-1]", [7, 8]),
        ("text.q[1].r", "deep"),
        ("a.zz", None),
        ("list[3]", None),
        ("a[0]", None),
        ("list.b", None),
    ],
)
def test_places_lead_where_they_say(place: str, value: Any) -> None:
    row = {
        "a.b": 1,
        "a": {"b": 2, "c": 3, "d.e[0]": "x"},
        "list": [7, 8, 9],
        "text": '{"q": [0, {"r": "deep"}]}',
    }
    found = find(row, place)
    assert (None if found is None else found.value) == value


def test_what_is_taken_stands_in_the_metadata_no_more() -> None:
    row = {
        "id": 1,
        "data": {"q": "?", "by": "ann"},
        "answers": [{"t": "x"}, {"t": "y", "m": 2}],
        "all": '["u", "v"]',
    }
    places = ("data.q", "answers[0].t", "answers[-1].t", "all[0]", "all[1]")
    made = placed(row, places, frozenset())
    assert {k: v for k, v in made.items() if k not in places} == {
        "id": 1, "data": {"by": "ann"}, "answers": [{"m": 2}],
    }  # fmt: skip
    assert [made[p] for p in places] == ["?", "x", "y", "u", "v"]
    assert placed(row, places, frozenset({"data"}))["data"] == row["data"]
    assert row["data"] == {"q": "?", "by": "ann"}


def nested(folder: Path) -> tuple[Path, dict[str, str]]:
    rows = [
        {"data": {"q": ASKED[i]}, "answers": [{"text": GOOD[i]}, {"text": BAD[i]}], "best": 0} for i in THREE
    ]
    mapping = {"prompt": "data.q", "a": "answers[0].text", "b": "answers[1].text", "label": "best"}
    return write_jsonl(folder / "x.jsonl", rows), mapping | {"a_wins": "0", "b_wins": "1"}


def json_in_a_column(folder: Path) -> tuple[Path, dict[str, str]]:
    rows = [{"p": json.dumps({"q": ASKED[i], "good": GOOD[i], "bad": BAD[i]})} for i in THREE]
    path = folder / "x.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path, {"prompt": "p.q", "chosen": "p.good", "rejected": "p.bad"}


def messages_in_cells(folder: Path) -> tuple[Path, dict[str, str]]:
    path = folder / "x.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow(["Talk", " Better", "Worse"])
        for i in THREE:
            talk = [{"role": "user", "content": ASKED[i]}]
            table.writerow([json.dumps(talk), json.dumps(answer(GOOD[i])), json.dumps([answer(BAD[i])])])
    return path, {"prompt": "Talk", "chosen": "Better", "rejected": "Worse"}


def answer(text: str) -> Json:
    return {"role": "assistant", "content": text}


def struct_in_parquet(folder: Path) -> tuple[Path, dict[str, str]]:
    rows = [
        {
            "r": {
                "talk": {"role": ["user"], "content": [ASKED[i]]},
                "good": answer(GOOD[i]),
                "bad": answer(BAD[i]),
            }
        }
        for i in THREE
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "x.parquet")
    return folder / "x.parquet", {"prompt": "r.talk", "chosen": "r.good", "rejected": "r.bad"}


def one_conversation(folder: Path) -> tuple[Path, dict[str, str]]:
    rows = [
        {
            "turns": [{"from": "human", "value": ASKED[i]}, {"from": "gpt", "value": GOOD[i]}],
            "other": [BAD[i]],
        }
        for i in THREE
    ]
    return write_jsonl(folder / "x.jsonl", rows), {
        "prompt": "turns[:-1]", "chosen": "turns[-1]", "rejected": "other[0]",
    }  # fmt: skip


def keys_of_its_own(folder: Path) -> tuple[Path, dict[str, str]]:
    rows = [
        {"dialog": [{"by": "me", "text": ASKED[i]}], "a b": {"x.y": GOOD[i]}, "list": [[BAD[i]]]}
        for i in THREE
    ]
    path = folder / "x.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path, {"prompt": "dialog[0].text", "chosen": "a b.x.y", "rejected": "list[0][0]"}


SHAPES = [nested, json_in_a_column, messages_in_cells, struct_in_parquet, one_conversation, keys_of_its_own]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_pairs_of_awkward_files(shape: Any, tmp_path: Path) -> None:
    file, mapping = shape(tmp_path)
    seen = preview(SourceSpec(str(file), mapping=mapping))
    assert [p.prompt[0].content for p in seen.pairs] == list(ASKED)
    roles = {c.used_as for c in seen.columns}
    assert roles >= {role for role in mapping if role not in ("a_wins", "b_wins")}
    report = run(SourceSpec(str(file), mapping=mapping), out=tmp_path / "out")
    assert (report.pairs, report.rows_read) == (3, 3)
    made = {p["prompt"][0]["content"]: p for p in pairs_of(tmp_path / "out")}
    for asked, good, bad in zip(ASKED, GOOD, BAD, strict=True):
        pair = made[asked]
        assert said(pair["prompt"]) == [("user", asked)]
        assert said(pair["chosen"]) == [("assistant", good)]
        assert said(pair["rejected"]) == [("assistant", bad)]
        assert good not in pair["meta"]
        assert bad not in pair["meta"]


def test_workers_find_the_same_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, mapping = nested(tmp_path)
    run(SourceSpec(str(file), mapping=mapping), out=tmp_path / "one")
    monkeypatch.setattr("engine.ingest.parallel.MIN_BYTES", 0)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    run(SourceSpec(str(file), mapping=mapping), out=tmp_path / "two")
    assert pairs_of(tmp_path / "one") == pairs_of(tmp_path / "two")


def test_a_partial_mapping_takes_places_too(tmp_path: Path) -> None:
    row = {"input": {"text": "q"}, "chosen": "a", "rejected": "b"}
    pair = only_pair([row], tmp_path, mapping={"prompt": "input.text"})
    assert (said(pair["prompt"]), pair["meta"]) == ([("user", "q")], "{}")


def test_rows_without_the_place_are_dropped_and_say_which(tmp_path: Path) -> None:
    rows: list[Json] = [{"d": {"q": "?", "x": "a"}, "y": "b"}, {"d": {"q": "?"}, "y": "b"}, {"y": "b"}]
    mapping = {"prompt": "d.q", "chosen": "d.x", "rejected": "y"}
    file = write_jsonl(tmp_path / "x.jsonl", rows)
    report = run(SourceSpec(str(file), mapping=mapping), out=tmp_path / "out")
    assert (report.pairs, report.dropped) == (1, {"missing_column": 2})


def test_json_text_that_nobody_can_follow_is_text(tmp_path: Path) -> None:
    deep = "[" * 100_000
    rows = [{"d": deep, "q": "?", "x": "a", "y": "b"}, {"d": '{"z": "c"}', "q": "?", "x": "a", "y": "b"}]
    file = write_jsonl(tmp_path / "x.jsonl", rows)
    mapping = {"prompt": "q", "chosen": "d.z", "rejected": "y"}
    assert run(SourceSpec(str(file), mapping=mapping), out=tmp_path / "out").pairs == 1


def refusal(tmp_path: Path, mapping: dict[str, str], row: Json) -> IngestError:
    file = write_jsonl(tmp_path / "x.jsonl", [row])
    with pytest.raises(IngestError) as refused:
        preview(SourceSpec(str(file), mapping=mapping))
    return refused.value


ROW: Json = {
    "Question": "How long?",
    "data": {"answer": "Eight.", "n": 3},
    "worse": "No.",
    "chat": [answer("Hm.")],
}


def test_every_wrong_column_is_said_at_once_with_the_nearest_and_the_first_record(tmp_path: Path) -> None:
    mapping = {"prompt": "question", "chosen": "answer", "rejected": "data.wrse"}
    error = refusal(tmp_path, mapping, ROW)
    assert "prompt=question: there is no column `question`; did you mean `Question`?" in error.message
    assert "chosen=answer: there is no column `answer`; did you mean `data.answer`?" in error.message
    assert "rejected=data.wrse: there is no place `data.wrse`" in error.message
    assert error.hint is not None
    assert error.hint.splitlines()[1:] == [
        '    Question: "How long?"',
        '    data.answer: "Eight."',
        "    data.n: 3",
        '    worse: "No."',
        "    chat: 1 message, the last by assistant",
    ]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"prompt": "Question", "chosen": "data.answer"}, "--map names chosen, but not rejected"),
        ({"a": "data.answer", "b": "worse"}, "--map names a and b, but not label"),
        ({"chosen": "worse", "rejected": "data.answer", "a": "worse"}, "a would say nothing beside them"),
        ({"a": "worse", "b": "data.answer", "a_wins": "1"}, "add label=COLUMN"),
        ({"promt": "Question", "chosen": "no such thing"}, "`promt` is no role; did you mean `prompt`?"),
    ],
)
def test_mappings_that_lack_something_say_what(tmp_path: Path, mapping: dict[str, str], message: str) -> None:
    assert message in refusal(tmp_path, mapping, ROW).message


def test_columns_of_no_format_come_with_the_first_record(tmp_path: Path) -> None:
    assert '    data.answer: "Eight."' in str(refusal(tmp_path, {}, ROW).hint)


def test_hostile_names_and_texts_are_shown_harmlessly(tmp_path: Path) -> None:
    row = {"a\x1b[31m": "x\x1b]0;t\x07", "n" * 300: list(range(50)), **{f"c{i}": i for i in range(60)}}
    hint = str(refusal(tmp_path, {"prompt": "zzz"}, row).hint)
    assert "\x1b" not in hint
    assert "… and" in hint
    assert len(hint.splitlines()) <= 33


def test_messages_with_other_names_for_their_fields_say_which_they_have(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [{"q": [{"by": "me", "text": "?"}], "x": "a", "y": "b"}])
    with pytest.raises(IngestError, match=r"unknown_role 1 \(no role or from among its fields by, text\)"):
        run(
            SourceSpec(str(file), mapping={"prompt": "q", "chosen": "x", "rejected": "y"}), out=tmp_path / "o"
        )
