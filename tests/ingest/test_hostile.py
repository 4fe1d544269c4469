"""Files that lie about themselves: a clear error or a counted repair, never a silent loss."""

import os
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import IngestError
from engine.ingest import run as stage
from engine.ingest.run import Mix, SourceSpec
from tests.ingest.tables import entries_of, pairs_of, plain_row, run, write_jsonl

GOOD = '{"prompt": "p", "chosen": "a", "rejected": "b"}'


@pytest.mark.parametrize(
    "row",
    [
        '{"prompt": "p", "chosen": "a", "rejected": "b", "chosen": "other"}',
        '{"prompt": [{"role": "user", "content": "p", "content": "q"}], "chosen": "a", "rejected": "b"}',
    ],
)
def test_a_key_that_occurs_twice_costs_the_row_and_is_counted(row: str, tmp_path: Path) -> None:
    for name, text in (("x.jsonl", f"{GOOD}\n{row}\n"), ("x.json", f"[{GOOD}, {row}]")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        report = run(tmp_path / name, out=tmp_path / f"out-{name}")
        assert (report.pairs, report.dropped) == (1, {"repeated_key": 1})
        (entry,) = entries_of(tmp_path / f"out-{name}")
        assert (entry["row"], entry["detail"]) in ((1, "'chosen'"), (1, "'content'"))


@pytest.mark.parametrize("mapping", [{}, {"score_chosen": "rating"}])
def test_nan_and_infinity_become_null_and_are_counted(mapping: dict[str, str], tmp_path: Path) -> None:
    rows = [
        GOOD[:-1] + ', "rating": NaN, "x": [-Infinity, 1]}',
        GOOD.replace('"a"', '"c"')[:-1] + ', "rating": 2}',
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(rows), encoding="utf-8")
    report = run(SourceSpec(str(tmp_path / "x.jsonl"), mapping=mapping), out=tmp_path / "out")
    assert (report.pairs, report.repaired) == (2, {"no_number": 1})
    (pair,) = [p for p in pairs_of(tmp_path / "out") if p["source_row"] == 0]
    assert pair["meta"] == '{"x": [null, 1]}'


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("x.jsonl", (GOOD + "\n").encode("utf-16"), "is UTF-16"),
        ("x.jsonl", (GOOD + "\n").encode("utf-16-le"), "is UTF-16LE"),
        ("x.csv", "prompt,chosen,rejected\np,a,b\n".encode("utf-16-be"), "is UTF-16BE"),
        ("x.json", (GOOD + "\n").encode("utf-32"), "is UTF-32"),
        ("x.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-lfs pointer"),
        (
            "x.parquet",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "git-lfs pointer",
        ),
        ("x.csv", b"prompt,chosen,rejected\n", "there are no rows"),
        ("x.json", b"[]", "there are no rows"),
        ("x.jsonl", b"<html>\n" * 9, "no row can be read .row 0: not_json"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(IngestError, match=said):
        run(tmp_path / name, out=tmp_path / "out")


def test_links_to_nowhere_and_pipes_in_a_folder_are_left_out_and_named(tmp_path: Path) -> None:
    folder = write_jsonl(tmp_path / "set" / "a.jsonl", [plain_row(1)]).parent
    (folder / "b.jsonl").symlink_to(tmp_path / "nowhere.jsonl")
    os.mkfifo(folder / "c.jsonl")
    (folder / "sub").mkdir()
    (folder / "sub" / "back").symlink_to("..")
    report = run(folder, out=tmp_path / "out")
    assert report.pairs == 1
    assert [r.split(": ", 1)[1].split(":")[0] for r in report.sources[0].remarks] == [
        "left out b.jsonl",
        "left out c.jsonl",
    ]
    for name in ("b.jsonl", "c.jsonl"):
        with pytest.raises(IngestError, match="no regular file"):
            run(folder / name, out=tmp_path / "out2")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "set" / "a.jsonl", [plain_row(1)])
    file.chmod(0)
    with pytest.raises(IngestError, match="no permission"):
        run(file, out=tmp_path / "out")
    file.parent.chmod(0)
    try:
        with pytest.raises(IngestError, match="cannot be read"):
            run(file.parent, out=tmp_path / "out")
    finally:
        file.parent.chmod(0o700)


def test_a_file_that_grows_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [plain_row(i) for i in range(5)])
    collect = stage._collect

    def slowly(*args: object) -> object:
        found = collect(*args)  # type: ignore[arg-type] # handed on as they are
        with file.open("a", encoding="utf-8") as stream:
            stream.write(GOOD + "\n")
        return found

    monkeypatch.setattr(stage, "_collect", slowly)
    with pytest.raises(IngestError, match="changed while it was read"):
        run(file, out=tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert threading.active_count() < 50


def test_a_mistyped_path_is_no_hub_name_and_the_nearest_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_jsonl(tmp_path / "data" / "train.jsonl", [plain_row(1)])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IngestError, match="no such file or folder") as caught:
        run(Path("data/trian.jsonl"), out=tmp_path / "out")
    assert caught.value.hint == "did you mean data/train.jsonl?"


def test_hostile_names_reach_the_report_as_one_printable_line(tmp_path: Path) -> None:
    rows = [plain_row(1, source="s\x1b[2J\nx\u202e"), plain_row(2, source="s\x1b[2J\nx\u202e")]
    report = run(write_jsonl(tmp_path / "x.jsonl", rows), out=tmp_path / "out")
    (name,) = report.pairs_by_source
    again = run(tmp_path / "x.jsonl", out=tmp_path / "out", mix=Mix(weights={name: 0.5}))
    assert again.weights == {name: 0.5}


@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream.arrow"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_column_that_occurs_twice_is_refused(kind: str, inside: bool, tmp_path: Path) -> None:
    """As in csv: nobody can know which of the two is meant."""
    texts = [pa.array([t]) for t in ("p", "a", "b", "other")]
    names = ["prompt", "chosen", "rejected", "chosen"]
    if inside:
        message = pa.StructArray.from_arrays([texts[1]] * 3, names=["role", "content", "content"])
        texts, names = [texts[0], message, texts[2]], names[:3]
    table = pa.table(texts, names=names)
    path = tmp_path / f"x.{kind}"
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        opened = pa.ipc.new_stream if kind.startswith("stream") else pa.ipc.new_file
        with opened(str(path), table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(IngestError, match="columns occur twice: chosen" + (".content" if inside else "\n")):
        run(path, out=tmp_path / "out")


PRINTED = "[{'role': 'user', 'content': 'q'}\n {'role': 'assistant', 'content': 'NAME'}]"


@pytest.mark.parametrize("mapping", [{}, {"chosen": "chosen", "rejected": "rejected"}])
def test_messages_that_python_printed_are_not_taken_for_prose(
    mapping: dict[str, str], tmp_path: Path
) -> None:
    """How pandas writes a column of messages to csv: it cannot be read back, and looks like text."""
    rows = [{"chosen": PRINTED.replace("NAME", c), "rejected": PRINTED} for c in "ab"]
    file = write_jsonl(tmp_path / "x.jsonl", rows)
    with pytest.raises(IngestError, match="chosen, rejected hold messages as Python prints them") as caught:
        run(SourceSpec(str(file), mapping=mapping), out=tmp_path / "out")
    assert "json.dumps" in str(caught.value.hint)


def test_printed_messages_beside_the_texts_are_metadata(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [plain_row(1, messages=PRINTED)])
    run(file, out=tmp_path / "out")
    assert "assistant" in pairs_of(tmp_path / "out")[0]["meta"]


def test_a_file_under_two_spellings_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_jsonl(tmp_path / "m" / "x.jsonl", [plain_row(1)])
    (tmp_path / "link").symlink_to("m")
    monkeypatch.chdir(tmp_path)
    for other in ("m/../m/x.jsonl", "m/x.jsonl", "link/x.jsonl"):
        with pytest.raises(IngestError, match="given more than once"):
            run(file, Path(other) if ".." not in other else SourceSpec(other), out=tmp_path / "out")


def test_equal_files_of_two_names_are_two_files(tmp_path: Path) -> None:
    """Downloads are links to their content: two of one content are still two."""
    file = write_jsonl(tmp_path / "blob.jsonl", [plain_row(1)])
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).symlink_to(file)
    assert run(tmp_path / "a.jsonl", tmp_path / "b.jsonl", out=tmp_path / "out").pairs == 2
