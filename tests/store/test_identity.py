"""The hash of a table of pairs: what changes it, and what must not."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from engine.store.identity import pairs_identity
from tests.ingest.tables import plain_row, run, write_jsonl

ROWS = [plain_row(i, annotator="ann", note={"a": i}) for i in range(6)]


def test_a_copy_of_the_files_gives_the_same_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = write_jsonl(tmp_path / "here" / "x.jsonl", ROWS)
    there = tmp_path / "there" / "deeper" / "x.jsonl"
    there.parent.mkdir(parents=True)
    shutil.copy(here, there)
    run(here, out=tmp_path / "a")
    monkeypatch.chdir(there.parent)
    run(Path("x.jsonl"), out=tmp_path / "b")
    first, second = (tmp_path / name / "pairs.parquet" for name in "ab")
    assert first.read_bytes() != second.read_bytes()
    assert pairs_identity(first) == pairs_identity(second)


def test_another_way_of_writing_the_same_table_gives_the_same_hash(tmp_path: Path) -> None:
    run(write_jsonl(tmp_path / "x.jsonl", ROWS), out=tmp_path / "a")
    path = tmp_path / "a" / "pairs.parquet"
    pl.read_parquet(path).write_parquet(tmp_path / "b.parquet", compression="gzip", row_group_size=2)
    assert pairs_identity(path) == pairs_identity(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    "column", ["meta", "annotator", "fold", "base_weight", "label", "source_row", "pair_id"]
)
def test_every_other_value_counts(tmp_path: Path, column: str) -> None:
    run(write_jsonl(tmp_path / "x.jsonl", ROWS), out=tmp_path / "a")
    path = tmp_path / "a" / "pairs.parquet"
    table = pl.read_parquet(path)
    value = "other" if table[column].dtype == pl.String else 7
    changed = pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(value)).otherwise(pl.col(column))
    table.with_columns(changed.cast(table[column].dtype).alias(column)).write_parquet(tmp_path / "b.parquet")
    assert pairs_identity(path) != pairs_identity(tmp_path / "b.parquet")
