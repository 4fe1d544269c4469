"""The reader's mean residual on each response as an embedding: chosen − rejected, by pair number."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.manifest import read_manifest
from engine.paths import ProjectPaths
from engine.store.build import read_current

Matrix = NDArray[np.float32]

MAX_COLUMNS = 512
"""A wider residual stream is cut to its leading directions."""


def mean_residual_deltas(paths: ProjectPaths, pair_ids: Sequence[str]) -> Matrix | None:
    """(P, D) mean residual over the chosen response's own tokens, less that over the rejected one's.

    Wider than ``MAX_COLUMNS``, the columns (scaled to unit root mean square) are replaced by their leading
    principal directions. The second moments are not centred, so swapping sides leaves the directions alone.

    Args:
        paths: the project; its default reader is taken.
        pair_ids: of the index, in its order: a reading after the audit may hold others, or in another order.

    Returns:
        None where the reader kept no residuals, or not of every pair.
    """
    current = read_current(paths)
    reader_dir = paths.reader_dir(current["default"]) if current else None
    manifest = read_manifest(reader_dir) if reader_dir else None
    if reader_dir is None or manifest is None:
        return None
    names = [str(name) for name in manifest.facts.get("shards", ())]
    files = [reader_dir / "residuals" / f"{name}.safetensors" for name in names]
    if not files or not all(path.exists() for path in files):
        return None
    at = _places([reader_dir / "shards" / f"{name}.parquet" for name in names], pair_ids)
    if at is None:
        return None
    moments, width, n = _second_moments(_deltas(files))
    if width <= MAX_COLUMNS:
        return np.concatenate(list(_deltas(files)))[at]
    scale = 1 / np.sqrt(np.maximum(np.diag(moments) / n, 1e-12))
    _, directions = np.linalg.eigh(moments * scale[:, None] * scale)
    leading = (scale[:, None] * directions[:, ::-1][:, :MAX_COLUMNS]).astype(np.float32)
    return np.concatenate([delta @ leading for delta in _deltas(files)])[at]


def _places(shards: Sequence[Path], pair_ids: Sequence[str]) -> NDArray[np.int64] | None:
    """Row of each pair in the shards one after the other; None where one is missing."""
    import pyarrow.parquet as pq

    if not all(path.exists() for path in shards):
        return None
    held = [ident for path in shards for ident in pq.read_table(path, columns=["pair_id"])[0].to_pylist()]
    place = {ident: i for i, ident in enumerate(held)}
    if any(ident not in place for ident in pair_ids):
        return None
    return np.array([place[ident] for ident in pair_ids], np.int64)


def _deltas(files: Sequence[Path]) -> Iterator[Matrix]:
    from safetensors.numpy import load_file

    for path in files:
        held = load_file(path)
        yield held["chosen_mean"].astype(np.float32) - held["rejected_mean"].astype(np.float32)


def _second_moments(deltas: Iterator[Matrix]) -> tuple[NDArray[np.float64], int, int]:
    """(D, D) sum of outer products, D, and the number of rows."""
    total, width, n = np.zeros((0, 0)), 0, 0
    for delta in deltas:
        if not n:
            width = delta.shape[1]
            total = np.zeros((width, width))
        total += delta.T.astype(np.float64) @ delta
        n += len(delta)
    return total, width, n
