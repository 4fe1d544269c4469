"""Text measures of the transfer check: which pair a text belongs to."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import StoreError
from engine.pipeline.transfer import _text_measures


def _write(path: Path, texts: dict[str, tuple[str, str]]) -> Path:
    sides = [[{"role": "assistant", "content": pair[side]}] for side in (0, 1) for pair in texts.values()]
    n = len(texts)
    pq.write_table(pa.table({"pair_id": list(texts), "chosen": sides[:n], "rejected": sides[n:]}), path)
    return path


def test_texts_are_those_of_the_indexs_pairs_whatever_was_ingested_since(tmp_path: Path) -> None:
    """The file has another order and a pair more than the index."""
    path = _write(
        tmp_path / "pairs.parquet", {"new": ("x", "x"), "c": ("no", "x"), "a": ("x", "no"), "b": ("x", "x")}
    )
    found = _text_measures(path, ["a", "b", "c"], {"an x": "x"})
    assert found["an x"].tolist() == [1, 0, -1]
    with pytest.raises(StoreError, match="1 pairs of the index are no longer"):
        _text_measures(path, ["a", "gone"], {"an x": "x"})
