"""What is said of a file that is no index of this version."""

from pathlib import Path

import duckdb
import pytest

from engine.errors import StoreError
from engine.store.connection import Store


@pytest.mark.parametrize("version", ["1", "none", ""])
def test_an_old_or_foreign_index_names_the_command_that_builds_it_again(tmp_path: Path, version: str) -> None:
    folder = tmp_path / "my audit"
    folder.mkdir()
    path = folder / "index-0.duckdb"
    with duckdb.connect(str(path)) as made:
        made.execute("CREATE TABLE meta (key VARCHAR, value VARCHAR)")
        if version:
            made.execute("INSERT INTO meta VALUES ('schema_version', ?)", [version])
    with pytest.raises(StoreError) as refused:
        Store(path)
    assert f"`prosect audit '{folder}'`" in str(refused.value.hint)


def test_an_index_of_a_newer_prosect_is_not_to_be_built_again(tmp_path: Path) -> None:
    path = tmp_path / "index-0.duckdb"
    with duckdb.connect(str(path)) as made:
        made.execute("CREATE TABLE meta AS SELECT 'schema_version' AS key, '999999' AS value")
    with pytest.raises(StoreError, match="newer prosect") as refused:
        Store(path)
    assert refused.value.hint == "update prosect"
