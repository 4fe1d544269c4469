"""Kinds of files, folders and names a source may be, and files made to break readers."""

import csv
import gzip
import json
import os
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import IngestError
from engine.ingest.readers import read_rows
from engine.ingest.run import SourceSpec, preview
from engine.settings import IngestSettings
from tests.ingest.tables import Json, entries_of, pairs_of, plain_row, run, write_jsonl

ROWS = [plain_row(i, note='é, "q"\nline') for i in range(30)]


def write_kind(path: Path, rows: list[Json]) -> None:
    table = pa.Table.from_pylist(rows)
    lines = "".join(json.dumps(r) + "\n" for r in rows).encode()
    name = path.name
    if name.endswith((".jsonl", ".ndjson")):
        path.write_bytes(b"\xef\xbb\xbf" + lines)
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines))
    elif name.endswith(".zst"):
        with pa.CompressedOutputStream(str(path), "zstd") as out:
            out.write(lines)
    elif name == "array.json":
        path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    elif name == "objects.json":
        path.write_bytes(lines)
    elif name == "columns.json":
        path.write_text(json.dumps({k: [r[k] for r in rows] for k in rows[0]}), encoding="utf-8")
    elif name == "pandas.json":
        path.write_text(json.dumps({k: {str(i): r[k] for i, r in enumerate(rows)} for k in rows[0]}))
    elif name == "wrapped.json":
        path.write_text(json.dumps({"version": 1, "data": rows}), encoding="utf-8")
    elif name.endswith((".csv", ".tsv")):
        write_csv(path, rows, "\t" if name.endswith(".tsv") else ",")
    elif name.endswith(".parquet"):
        pq.write_table(table, path, row_group_size=7)
    elif name == "stream.arrow":
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=7)


def write_csv(path: Path, rows: list[Json], delimiter: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


KINDS = [
    *("a.jsonl", "a.ndjson", "a.jsonl.gz", "a.jsonl.zst", "array.json", "objects.json", "columns.json"),
    *(
        "pandas.json",
        "wrapped.json",
        "a.csv",
        "a.tsv",
        "a.parquet",
        "stream.arrow",
        "file.arrow",
        "a.feather",
    ),
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same_rows(kind: str, tmp_path: Path) -> None:
    write_kind(tmp_path / kind, ROWS)
    assert [row for _, row in read_rows(tmp_path / kind, 1 << 20)] == ROWS
    assert [number for number, _ in read_rows(tmp_path / kind, 1 << 20)] == list(range(30))


def test_a_csv_battle_table_is_detected_through_numbers_in_text(tmp_path: Path) -> None:
    text = "prompt,response_a,response_b,preference\nq,x,y,1.9\n"
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    run(tmp_path / "x.csv", out=tmp_path / "out")
    assert pairs_of(tmp_path / "out")[0]["chosen"][0]["content"] == "y"


def test_json_arrays_are_read_in_pieces(tmp_path: Path) -> None:
    rows = [plain_row(i, note="x" * 50_000) for i in range(60)]  # 3 MB: three reads
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    assert [row for _, row in read_rows(tmp_path / "a.json", 1 << 20)] == rows


def test_a_folder_reads_its_data_files_and_one_split(tmp_path: Path) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    write_kind(tmp_path / "set" / "data" / "train-00000-of-00002.parquet", ROWS[:10])
    write_kind(tmp_path / "set" / "data" / "train-00001-of-00002.parquet", ROWS[10:20])
    write_kind(tmp_path / "set" / "data" / "test-00000-of-00001.parquet", ROWS[20:])
    (tmp_path / "set" / "README.md").write_text("# a card", encoding="utf-8")
    (tmp_path / "set" / ".cache").mkdir()
    write_kind(tmp_path / "set" / ".cache" / "x.parquet", ROWS)
    report = run(tmp_path / "set", out=tmp_path / "out")
    assert (report.pairs, report.pairs_by_source) == (20, {"set": 20})
    assert "left out test" in report.sources[0].remarks[0]
    assert run(SourceSpec(f"{tmp_path}/set#test"), out=tmp_path / "out2").pairs == 10
    assert run(SourceSpec(f"{tmp_path}/set#all"), out=tmp_path / "out3").pairs == 30
    with pytest.raises(IngestError, match="no such split"):
        run(SourceSpec(f"{tmp_path}/set#dev"), out=tmp_path / "out4")


def test_held_out_splits_stay_out_whatever_else_the_folder_holds(tmp_path: Path) -> None:
    """As Anthropic/hh-rlhf is laid out: a folder per kind, and one file that is no split."""
    for i, name in enumerate(
        ("harmless/train", "harmless/test", "helpful/train", "helpful/test", "red/team")
    ):
        write_jsonl(tmp_path / "set" / f"{name}.jsonl", ROWS[i : i + 1])
    report = run(tmp_path / "set", out=tmp_path / "out")
    assert [Path(f.file).stem for f in report.sources[0].files] == ["train", "train", "team"]
    assert report.sources[0].remarks == (
        f"{tmp_path}/set: read split team, train, left out test (use {tmp_path}/set#all for all)",
    )


def test_a_folder_of_files_that_are_no_splits_is_read_whole(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "set" / "train.jsonl", ROWS[:3])
    write_jsonl(tmp_path / "set" / "more.jsonl", ROWS[3:5])
    assert run(tmp_path / "set", out=tmp_path / "out").pairs == 5


def test_messages_stored_as_one_list_per_field_are_read(tmp_path: Path) -> None:
    row = {
        "chosen": {"role": ["user", "assistant"], "content": ["q", "x"]},
        "rejected": {"role": ["user", "assistant"], "content": ["q", "y"]},
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "x.parquet")
    run(tmp_path / "x.parquet", out=tmp_path / "out")
    (pair,) = pairs_of(tmp_path / "out")
    assert [t["content"] for t in pair["prompt"] + pair["chosen"] + pair["rejected"]] == ["q", "x", "y"]


def test_two_inputs_with_one_name_are_remarked_on(tmp_path: Path) -> None:
    a = write_jsonl(tmp_path / "a" / "train.jsonl", ROWS[:3])
    b = write_jsonl(tmp_path / "b" / "train.jsonl", ROWS[3:5])
    assert "source name `train` is shared" in run(a, b, out=tmp_path / "out").remarks[0]
    assert run(a, SourceSpec(str(b), name="b"), out=tmp_path / "out2").remarks == ()


def test_a_dataset_known_to_overlap_an_evaluation_set_is_remarked_on(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "Skywork-Reward-Preference-80K-v0.1" / "train.jsonl", ROWS[:3])
    assert "RewardBench" in run(file.parent, out=tmp_path / "out").sources[0].remarks[0]


def test_a_dataset_saved_to_disk_is_read(tmp_path: Path) -> None:
    import datasets

    saved = datasets.DatasetDict(
        {
            "train": datasets.Dataset.from_list(ROWS[:20]),
            "test": datasets.Dataset.from_list(ROWS[20:]),
        }
    )
    saved.save_to_disk(str(tmp_path / "saved"))
    report = run(tmp_path / "saved", out=tmp_path / "out")
    assert (report.pairs, report.pairs_by_source) == (20, {"saved": 20})
    saved["test"].save_to_disk(str(tmp_path / "alone"))
    assert run(tmp_path / "alone", out=tmp_path / "out2").pairs == 10


def test_a_glob_reads_what_matches(tmp_path: Path) -> None:
    for i in range(3):
        write_jsonl(tmp_path / f"part{i}.jsonl", ROWS[i * 10 : i * 10 + 10])
    report = run(SourceSpec(f"{tmp_path}/part[01].jsonl"), out=tmp_path / "out")
    assert report.pairs_by_source == {"part0": 10, "part1": 10}


def test_hub_names_are_read_from_the_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "snapshots" / "0123abcd"
    write_jsonl(snapshot / "data" / "train.jsonl", ROWS[:4])

    def download(name: str) -> tuple[Path, str]:
        assert name == "someone/pairs@v1"
        return snapshot, "0123abcd"

    monkeypatch.setattr("engine.ingest.hub.download", download)
    report = run(SourceSpec("someone/pairs@v1"), out=tmp_path / "out")
    assert report.pairs_by_source == {"pairs": 4}
    assert report.sources[0].remarks == ("someone/pairs@v1: revision 0123abcd",)
    assert pairs_of(tmp_path / "out")[0]["source_file"] == "someone/pairs@v1/data/train.jsonl"


def test_a_hub_name_without_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(IngestError, match="no such file here") as caught:
        preview(SourceSpec("nobody/nothing-of-this-name"))
    assert "give the folder" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("error", "said", "hint"),
    [
        ("GatedRepoError", "someone/pairs is gated", "hf auth login"),
        ("RepositoryNotFoundError", "no dataset of that name", "spelling"),
        ("RevisionNotFoundError", "someone/pairs has no revision `v9`", "a tag"),
        ("HfHubHTTPError", "the hub refused: no luck", "later"),
        ("LocalEntryNotFoundError", "cannot be reached", "network"),
        ("HFValidationError", "no name of a dataset", "owner/name"),
    ],
)
def test_what_the_hub_says_is_told(error: str, said: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import errors

    def refuse(*_: object, **__: object) -> str:
        kind = getattr(errors, error)
        made = kind.__new__(kind)  # the client builds them from its own responses
        made.args = ("no luck",)
        raise made

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(IngestError, match=said) as caught:
        preview(SourceSpec("someone/pairs@v9"))
    assert hint in str(caught.value.hint)


def test_a_dataset_of_scripts_names_the_hubs_own_parquet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "README.md").write_text("no rows here", encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(IngestError, match="come from a script") as caught:
        preview(SourceSpec("someone/pairs"))
    assert "someone/pairs@refs/convert/parquet" in str(caught.value.hint)
    for split in ("train", "test"):
        (tmp_path / "default" / split).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(ROWS[:3]), tmp_path / "default" / split / "0000.parquet")
    assert run(SourceSpec("someone/pairs@refs/convert/parquet"), out=tmp_path / "out").pairs == 3


@pytest.mark.parametrize("name", ["missing.jsonl", "notes.docx", "empty.jsonl", "empty.jsonl.gz", "folder"])
def test_nothing_to_read_is_a_clear_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.docx").write_bytes(b"PK")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "empty.jsonl.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "folder").mkdir()
    with pytest.raises(IngestError):
        run(tmp_path / name, out=tmp_path / "out")


def test_the_same_file_twice_is_refused(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", ROWS)
    with pytest.raises(IngestError, match="more than once"):
        run(file, file, out=tmp_path / "out")


# --- hostile input -----------------------------------------------------------------------------------------


def with_lines(path: Path, *lines: bytes) -> Path:
    good = [json.dumps(r).encode() for r in ROWS[:3]]
    path.write_bytes(b"\n".join([*good, *lines]) + b"\n")
    return path


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{broken", "not_json"),
        (b'["a", "list"]', "not_an_object"),
        (b'{"prompt": "p", "chosen": "a"}', "missing_column"),
        (b'{"prompt": "p", "chosen": "a", "rejected": 7}', "wrong_type"),
        (b'{"prompt": {"no": 1}, "chosen": "a", "rejected": "b"}', "wrong_type"),
        (b'{"prompt": "p", "chosen": " \\n", "rejected": "b"}', "empty_side"),
        (b'{"prompt": "p", "chosen": "b", "rejected": "b"}', "identical_sides"),
        (b'{"prompt": "p", "chosen": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested_too_deeply"),
        (b'{"prompt": "p", "n": ' + b"9" * 5000 + b"}", "not_json"),
        (b'{"prompt": "' + b"x" * 5_000_000 + b'"}', "line_too_long"),
        (b'{"prompt": "p", "chosen": "' + b"x" * 1_100_000 + b'", "rejected": "b"}', "text_too_long"),
        (json.dumps({f"c{i}": i for i in range(10_001)}).encode(), "too_many_columns"),
        (b'{"prompt": [{"role": "wizard", "content": "x"}], "chosen": "a", "rejected": "b"}', "unknown_role"),
        (b'{"prompt": "p", "chosen": [{"role": "user", "content": "x"}], "rejected": "b"}', "no_answer"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_bad_rows_are_dropped_counted_and_named(line: bytes, reason: str, tmp_path: Path) -> None:
    file = with_lines(tmp_path / "x.jsonl", line)
    report = run(file, out=tmp_path / "out", settings=IngestSettings(max_text_bytes=1_000_000))
    assert (report.pairs, report.dropped) == (3, {reason: 1})
    (entry,) = entries_of(tmp_path / "out")
    assert (entry["kind"], entry["reason"], entry["row"]) == ("dropped", reason, 3)


@pytest.mark.parametrize(
    ("chosen", "reason", "stored"),
    [
        (b'"a\xffb\xfe"', "broken_utf8", "a�b�"),
        (b'"a\\u0000b"', "nul", "a�b"),
        (b'"a\\ud800b"', "lone_surrogate", "a�b"),
    ],
)
def test_broken_text_is_repaired_and_counted(chosen: bytes, reason: str, stored: str, tmp_path: Path) -> None:
    file = with_lines(tmp_path / "x.jsonl", b'{"prompt": "p", "chosen": ' + chosen + b', "rejected": "b"}')
    report = run(file, out=tmp_path / "out")
    assert (report.pairs, report.repaired) == (4, {reason: 1})
    assert stored in {p["chosen"][0]["content"] for p in pairs_of(tmp_path / "out")}


def test_broken_text_in_other_columns_is_repaired_too(tmp_path: Path) -> None:
    row = b'{"prompt": "p", "chosen": "a", "rejected": "b"'
    row += b', "k\\u0000": "\xff", "f": 1e999, "language": "\\ud800"}'
    report = run(with_lines(tmp_path / "x.jsonl", row), out=tmp_path / "out")
    (pair,) = [p for p in pairs_of(tmp_path / "out") if p["language"]]
    assert json.loads(pair["meta"]) == {"k�": "�", "f": None}
    assert pair["language"] == "�"
    assert report.repaired == {"broken_utf8": 1, "lone_surrogate": 1, "nul": 1}


def test_a_megabyte_line_is_read_whole(tmp_path: Path) -> None:
    rows = [plain_row(1) | {"chosen": "x" * 1_000_000}]
    run(write_jsonl(tmp_path / "x.jsonl", rows), out=tmp_path / "out")
    assert len(pairs_of(tmp_path / "out")[0]["chosen"][0]["content"]) == 1_000_000


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.jsonl.zst", "x.parquet", "x.json", "file.arrow"])
def test_truncated_files_are_an_error_that_says_so(name: str, tmp_path: Path) -> None:
    rows = [plain_row(i, note=os.urandom(3000).hex()) for i in range(400)]
    whole = tmp_path / ("array.json" if name == "x.json" else name)
    write_kind(whole, rows)
    data = whole.read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(IngestError, match=r"truncated|to its end|no valid JSON"):
        run(tmp_path / name, out=tmp_path / "out")
    assert not (tmp_path / "out" / "pairs.parquet").exists()


def test_a_broken_row_says_where_in_it_whatever_the_reader_had_buffered(tmp_path: Path) -> None:
    """A line ends with its newline, and a JSON file is read in pieces: neither is a place in the file."""
    lines = with_lines(tmp_path / "x.jsonl", b'{"prompt": "p",')
    pieces = tmp_path / "y.json"
    good = [json.dumps(row) for row in ROWS[:3]]
    pieces.write_text("\n".join([*good, '{"prompt" "p"}', good[0]]), encoding="utf-8")
    for file, place in ((lines, "(character 17 of it)"), (pieces, "(character 11 of it)")):
        out = tmp_path / file.stem
        assert run(file, out=out).dropped["not_json"] == 1
        entries = pq.read_table(out / "report.parquet").to_pylist()
        (found,) = [e["detail"] for e in entries if e["reason"] == "not_json"]
        assert found.endswith(place)
        assert "line" not in found


def test_a_truncated_last_line_costs_one_counted_row(tmp_path: Path) -> None:
    file = with_lines(tmp_path / "x.jsonl", b'{"prompt": "p", "chosen": "a", "rej')
    assert run(file, out=tmp_path / "out").dropped == {"not_json": 1}


def test_utf_16_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"prompt": "p"}\n', encoding="utf-16")
    with pytest.raises(IngestError, match="UTF-16"):
        run(tmp_path / "x.jsonl", out=tmp_path / "out")


def test_spreadsheet_formulas_are_stored_as_the_text_they_are(tmp_path: Path) -> None:
    formula = '=HYPERLINK("http://example.com","x")'
    write_csv(tmp_path / "x.csv", [plain_row(1) | {"chosen": formula}], ",")
    run(tmp_path / "x.csv", out=tmp_path / "out")
    assert pairs_of(tmp_path / "out")[0]["chosen"][0]["content"] == formula


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", b"prompt,chosen,rejected\rp,a,b\rq,a,b\r"),
        ("x.csv", b'"prompt","chosen","rejected"\r"p","a","b"\r"q","a","b"\r'),
        ("x.csv", b"prompt,chosen,rejected\r\np,a,b\rq,a,b\r\n"),
        ("x.jsonl", b'{"prompt": "p", "chosen": "a", "rejected": "b"}\r' * 2),
    ],
)
def test_lines_that_end_in_a_carriage_return_alone_are_named(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(IngestError, match="carriage return") as refused:
        run(path, out=tmp_path / "out")
    assert refused.value.hint == r"convert it: tr '\r' '\n' < IN > OUT"
    path.write_bytes(content.replace(b"\r", b"\n"))
    assert run(path, out=tmp_path / "out").pairs == 2


def test_csv_rows_of_another_width_are_counted_and_open_quotes_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("prompt,chosen,rejected\np,a,b\np,a\np,a,b,c\n", encoding="utf-8")
    assert run(tmp_path / "x.csv", out=tmp_path / "out").dropped == {"wrong_width": 2}
    for i, after in enumerate((3, 3000)):  # within the limit, and beyond it
        text = 'prompt,chosen,rejected\np,"a,b\n' + "p,a,b\n" * after
        (tmp_path / f"{i}.csv").write_text(text, encoding="utf-8")
        with pytest.raises(IngestError, match=r"line .*: "):
            run(tmp_path / f"{i}.csv", out=tmp_path / "out2", settings=IngestSettings(max_text_bytes=1000))


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_millions_of_columns_are_refused_before_they_are_read(name: str, tmp_path: Path) -> None:
    if name == "x.csv":
        (tmp_path / name).write_text(",".join(f"c{i}" for i in range(10_000_000)), encoding="utf-8")
    else:
        columns = [f"c{i}" for i in range(10_001)]
        pq.write_table(pa.table([pa.array([1])] * len(columns), columns), tmp_path / name)
    with pytest.raises(IngestError, match=r"columns|line of the table is longer"):
        run(tmp_path / name, out=tmp_path / "out")


def test_duplicate_csv_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("prompt,prompt,rejected\np,a,b\n", encoding="utf-8")
    with pytest.raises(IngestError, match="occur twice: prompt"):
        run(tmp_path / "x.csv", out=tmp_path / "out")


def test_a_gz_bomb_of_one_endless_line_stays_small(tmp_path: Path) -> None:
    """200 MB of zeros in 200 kB: read past in pieces, then an error that nothing in it is a row."""
    with gzip.open(tmp_path / "x.jsonl.gz", "wb", compresslevel=1) as f:
        for _ in range(200):
            f.write(bytes(1_000_000))
    tracemalloc.start()
    with pytest.raises(IngestError, match="no row"):
        run(tmp_path / "x.jsonl.gz", out=tmp_path / "out", settings=IngestSettings(max_text_bytes=100_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30_000_000


def test_json_that_is_no_table_is_refused(tmp_path: Path) -> None:
    for i, text in enumerate(['"just text"', "[1, 2, 3]", "[[[]]]", '{"a": 1}', "[" * 100_000, "nonsense"]):
        (tmp_path / f"{i}.json").write_text(text, encoding="utf-8")
        with pytest.raises(IngestError):
            run(tmp_path / f"{i}.json", out=tmp_path / "out")


def test_mixed_types_in_a_column_cost_only_the_odd_rows(tmp_path: Path) -> None:
    odd = [plain_row(91) | {"chosen": None}, plain_row(92) | {"chosen": ["x"]}]
    file = write_jsonl(tmp_path / "x.jsonl", [*ROWS[:10], *odd])
    report = run(file, out=tmp_path / "out")
    assert (report.pairs, report.dropped) == (10, {"missing_column": 1, "wrong_type": 1})


def test_a_project_is_no_dataset_and_is_left_out_of_a_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_jsonl(data / "x.jsonl", [plain_row(1)])
    run(data / "x.jsonl", out=data / "audit" / "pairs")
    seen = preview(SourceSpec(str(data)))
    assert [Path(f).name for f in seen.files] == ["x.jsonl"]
    assert seen.remarks == (f"{data}: left out audit: a project of prosect",)
    with pytest.raises(IngestError, match="is a project of prosect, no dataset"):
        preview(SourceSpec(str(data / "audit")))


def test_a_preview_counts_what_would_be_repaired_or_noted(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(b"prompt,chosen,rejected\ncaf\xe9,good,bad\nq,good,bad\n")
    assert preview(SourceSpec(str(file))).noted == {"broken_utf8": 1}
    other = tmp_path / "y.jsonl"
    other.write_text('{"prompt": "q", "chosen": "a", "rejected": "b", "n": NaN}\n', encoding="utf-8")
    assert preview(SourceSpec(str(other))).noted == {"no_number": 1}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("x.xlsx", "as csv"),
        ("x.PKL", "can run code"),
        ("x.jsonl.bz2", "unpack it first"),
        ("x.db", "export the table"),
        ("x.txt", "then name it so"),
        ("x.unheard", "give a file (.jsonl"),
    ],
)
def test_other_kinds_of_files_are_refused_with_the_way_out(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(IngestError, match="not a kind of file that can be read") as refused:
        preview(SourceSpec(str(tmp_path / name)))
    assert hint in str(refused.value.hint)
    with pytest.raises(IngestError, match="no data files") as refused:
        preview(SourceSpec(str(tmp_path)))
    assert f"it holds {name}; give a file" in str(refused.value.hint)
