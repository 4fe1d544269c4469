"""An index is built aside, published by pointer, and opened read-only."""

from pathlib import Path

import pyarrow as pa
import pytest

from engine.errors import StoreError
from engine.paths import ProjectPaths
from engine.store.build import Published, build_index, current_index, publish
from engine.store.connection import Store
from engine.store.schema import TABLES
from tests.worlds import make_world


def test_world_has_every_table_with_comments(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    with Store(world.paths.index("world")) as store:
        comments = dict(
            store.rows("SELECT table_name, comment FROM duckdb_tables() WHERE database_name = 'store'")
        )
        assert {t.name: t.comment for t in TABLES} == comments
        undocumented = store.rows(
            "SELECT table_name, column_name FROM duckdb_columns()"
            " WHERE database_name = 'store' AND comment IS NULL"
        )
        assert undocumented == []


def test_nothing_can_be_written_to_an_open_index(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    with Store(world.paths.index("world")) as store, pytest.raises(Exception, match="read-only"):
        store.execute("DELETE FROM store.main.pairs")


def test_scratch_tables_live_beside_the_index(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    with Store(world.paths.index("world")) as store:
        store.execute("CREATE TABLE memory.main.scratch AS SELECT count(*) AS n FROM pairs")
        assert store.value("SELECT n FROM memory.main.scratch") == 200


def test_two_readers_may_open_one_index(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    with Store(world.paths.index("world")) as first, Store(world.paths.index("world")) as second:
        assert first.value("SELECT count(*) FROM pairs") == second.value("SELECT count(*) FROM pairs") == 200


def test_missing_foreign_and_other_version_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no index"):
        Store(tmp_path / "absent.duckdb")
    (tmp_path / "junk.duckdb").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(tmp_path / "junk.duckdb")
    build_index(tmp_path / "future.duckdb", {}, {"schema_version": 999})
    with pytest.raises(StoreError, match="newer prosect"):
        Store(tmp_path / "future.duckdb")


def test_failed_build_leaves_no_file_and_names_the_column(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no column nonsense"):
        build_index(tmp_path / "i.duckdb", {"pairs": pa.table({"nonsense": [1]})}, {})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="cannot build"):
        build_index(tmp_path / "i.duckdb", {"pairs": pa.table({"pair": [-1]})}, {})
    assert list(tmp_path.iterdir()) == []


def test_pointer_keeps_every_reader_and_refuses_damage(tmp_path: Path) -> None:
    paths = ProjectPaths(tmp_path)
    with pytest.raises(StoreError, match="no index yet"):
        current_index(paths)
    publish(paths, Published("first", "aaa", 0.1))
    publish(paths, Published("second", "bbb", 1.0), make_default=False)
    assert current_index(paths) == Published("first", "aaa", 0.1)
    assert current_index(paths, "second").index_hash == "bbb"
    with pytest.raises(StoreError, match="no index was built with reader third"):
        current_index(paths, "third")
    paths.current.write_text("{}")
    with pytest.raises(StoreError, match="damaged"):
        current_index(paths)
