"""Residual differences of the index's pairs, from shards that may hold others by now."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from engine.manifest import Manifest, write_manifest
from engine.paths import ProjectPaths
from engine.pipeline.residuals import mean_residual_deltas
from engine.store.build import Published, publish


def _write(paths: ProjectPaths, shards: dict[str, list[str]]) -> None:
    """Shards by name with the pairs in them; pair "c" has a difference of (3, 1)."""
    publish(paths, Published("reader", "index", 1.0))
    folder = paths.reader_dir("reader")
    for name in ("shards", "residuals"):
        (folder / name).mkdir(parents=True)
    for name, idents in shards.items():
        number = np.array([[ord(ident) - ord("`"), 1] for ident in idents], np.float16)
        pq.write_table(pa.table({"pair_id": idents}), folder / "shards" / f"{name}.parquet")
        means = {"chosen_mean": number, "rejected_mean": np.zeros_like(number)}
        save_file(means, folder / "residuals" / f"{name}.safetensors")
    write_manifest(folder, Manifest("read", 1, "f", {}, {}, {"shards": list(shards)}))


def test_rows_are_those_of_the_indexs_pairs_whatever_was_read_since(tmp_path: Path) -> None:
    """After the audit "b" came into the mix and the order changed."""
    paths = ProjectPaths(tmp_path)
    _write(paths, {"0": ["c", "b"], "1": ["a"]})
    found = mean_residual_deltas(paths, ["a", "c"])
    assert found is not None
    assert found.tolist() == [[1, 1], [3, 1]]
    assert mean_residual_deltas(paths, ["a", "d"]) is None  # the index's own pair is gone
