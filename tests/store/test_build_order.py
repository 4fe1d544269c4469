"""Rows lie in the declared order in an index, however they arrive."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import StoreError
from engine.store.build import build_index, is_sorted
from engine.store.connection import Store
from engine.store.tables import by_evidence

KEYS = ("latent", "pair")


@given(rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_looking_agrees_with_sorting(rows: list[tuple[int, int]]) -> None:
    columns = [pa.array([row[k] for row in rows], pa.uint32()) for k in (0, 1)]
    table = pa.table(columns, names=KEYS)
    assert is_sorted(table, KEYS) is (rows == sorted(rows))


def test_what_cannot_be_looked_at_is_sorted() -> None:
    assert not is_sorted(pa.table({"latent": [1, 2]}), KEYS)
    assert not is_sorted(pa.table({"latent": [1, None], "pair": [1, 2]}), KEYS)
    assert not is_sorted(pa.table({"latent": ["1", "2"], "pair": [1, 2]}), KEYS)


def test_the_strongest_evidence_comes_first_and_what_has_none_last() -> None:
    z = pa.array([1.0, None, -3.0, 2.0, -2.0])
    table = pa.table({"hypothesis": pa.array(range(5), pa.uint32()), "taught_z": z, "was": list("abcde")})
    found = by_evidence(table)
    assert found["was"].to_pylist() == ["c", "d", "e", "a", "b"]  # 2.0 and −2.0 tie: as they were
    assert found["hypothesis"].to_pylist() == [0, 1, 2, 3, 4]
    assert found.schema == table.schema


@pytest.mark.parametrize("shuffled", [False, True])
def test_rows_lie_in_order(tmp_path: Path, shuffled: bool) -> None:
    """Over several row groups and threads, so that insertion has a chance to mix them up."""
    n = 300_000
    latent, pair = np.divmod(np.arange(n, dtype=np.uint32), 1000)
    order = np.random.default_rng(0).permutation(n) if shuffled else np.arange(n)
    table = pa.table({"latent": latent[order], "pair": pair[order], "chosen_max": order.astype(np.float32)})
    build_index(tmp_path / "i.duckdb", {"acts": table}, {})
    with Store(tmp_path / "i.duckdb") as store:
        found = store.columns("SELECT latent, pair, chosen_max FROM acts ORDER BY rowid")
    np.testing.assert_array_equal(found["latent"], latent)
    np.testing.assert_array_equal(found["pair"], pair)
    np.testing.assert_array_equal(found["chosen_max"], np.arange(n, dtype=np.float32))


def test_a_copy_holds_the_same_rows_in_its_own_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    concept, pair = np.nonzero(rng.random((5, 40)) < 0.3)
    values = {name: rng.random(len(pair)).astype(np.float32) for name in ("chosen", "rejected", "u")}
    scores = pa.table({"concept": concept, "pair": pair, **values})
    build_index(tmp_path / "i.duckdb", {"concept_scores": scores}, {})
    with Store(tmp_path / "i.duckdb") as store:
        names = "pair, concept, chosen, rejected, u"
        rows = store.rows(f"SELECT {names} FROM pair_scores ORDER BY rowid")
        assert rows == store.rows(f"SELECT {names} FROM concept_scores ORDER BY pair, concept")
    with pytest.raises(StoreError, match="no table pair_scores"):
        build_index(tmp_path / "j.duckdb", {"pair_scores": scores}, {})
