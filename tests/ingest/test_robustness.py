"""Whatever bytes a file holds: pairs, counted drops or one clear error, whatever the size of buffers."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import IngestError
from engine.ingest.formats.registry import FORMATS
from engine.ingest.json_values import Part
from engine.ingest.readers import parts_of, read_rows
from engine.ingest.run import IngestReport, SourceSpec, preview
from tests.ingest.tables import Json, entries_of, pairs_of, plain_row, run, write_jsonl

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "x"]), "content": JSON}), max_size=3
)
SHARED = ["source", "language", "strength", "score_chosen", "score_rejected", "tools", "system"]
COLUMNS = sorted({c for f in FORMATS for c in f.used} | set(SHARED))
VALUE = JSON | MESSAGES | st.just("text") | st.just("other text")
ODD_ROW = st.dictionaries(st.sampled_from(COLUMNS), VALUE, max_size=8)
LINE = st.one_of(ODD_ROW.map(lambda row: json.dumps(row).encode()), st.binary(max_size=40))
FUZZ = settings(max_examples=40)


@FUZZ
@given(lines=st.lists(LINE, min_size=1, max_size=8), name=st.sampled_from(["x.jsonl", "x.json", "x.csv"]))
def test_odd_bytes_give_pairs_counts_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], name: str
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    good = [json.dumps(plain_row(i)).encode() for i in range(2)]
    head = [] if name == "x.csv" else good
    (folder / name).write_bytes(b"\n".join([*head, *lines]))
    report = read_or_refuse(SourceSpec(str(folder / name)), folder / "out")
    if report is None:
        assert not (folder / "out" / "manifest.json").exists()
    else:
        assert len(pairs_of(folder / "out")) == report.pairs


def read_or_refuse(spec: SourceSpec, out: Path) -> IngestReport | None:
    """The report, or None after an error of the expected kind."""
    try:
        preview(spec)
        return run(spec, out=out)
    except IngestError:
        return None


@FUZZ
@given(data=st.data())
def test_every_format_survives_every_value_in_its_columns(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    form = data.draw(st.sampled_from(FORMATS))
    columns = sorted(form.used) + SHARED
    row = st.fixed_dictionaries(dict.fromkeys(sorted(form.used), VALUE)) | st.dictionaries(
        st.sampled_from(columns), VALUE, max_size=len(columns)
    )
    rows = data.draw(st.lists(row, min_size=1, max_size=4))
    folder = tmp_path_factory.mktemp("values")
    file = write_jsonl(folder / "x.jsonl", rows)
    report = read_or_refuse(SourceSpec(str(file), format=form.name), folder / "out")
    assert report is None or report.rows_read == len(rows)


def rows_of_all_sorts(n: int) -> list[Json]:
    rows = [plain_row(i % (n * 3 // 4), rating=i % 3, conversation_id=f"c{i % (n // 2)}") for i in range(n)]
    rows[3]["chosen"] = ""
    rows[7]["chosen"] = "x" * 5000
    return rows


def test_many_small_batches_and_buckets_make_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", rows_of_all_sorts(400))
    whole = run(file, out=tmp_path / "whole")
    monkeypatch.setattr("engine.ingest.spool._FLUSH_BYTES", 700)
    monkeypatch.setattr("engine.ingest.spool._BUCKET_BYTES", 1500)
    monkeypatch.setattr("engine.ingest.spool._ROW_GROUP_BYTES", 900)
    monkeypatch.setattr("engine.ingest.report._FLUSH", 5)
    pieces = run(file, out=tmp_path / "pieces")
    assert pieces == whole
    assert pairs_of(tmp_path / "pieces") == pairs_of(tmp_path / "whole")
    assert entries_of(tmp_path / "pieces") == entries_of(tmp_path / "whole")
    assert pq.ParquetFile(tmp_path / "pieces" / "pairs.parquet").num_row_groups > 5


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_parts_of_a_file_hold_every_line_once(cut: int, tmp_path: Path) -> None:
    """Parts are cut anywhere: at a newline, inside a line, inside a character, past the last line."""
    lines: list[dict[str, Any]] = [{"a": 1}, {"b": "é"}, {"c": [2]}]
    data = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode()
    (tmp_path / "x.jsonl").write_bytes(data)
    at = min(cut, len(data))
    parts = [Part(0, at), Part(at, len(data))]
    seen = [
        row for part in parts if part.start < part.end for row in read_rows(tmp_path / "x.jsonl", 99, part)
    ]
    assert seen == list(enumerate(lines))


def test_parts_of_parquet_hold_every_row_once(tmp_path: Path) -> None:
    rows = [plain_row(i) for i in range(30)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet", row_group_size=7)
    parts = parts_of(tmp_path / "x.parquet", 3)
    assert len(parts) == 3
    seen = [row for part in parts for row in read_rows(tmp_path / "x.parquet", 99, part)]
    assert seen == list(enumerate(rows))
