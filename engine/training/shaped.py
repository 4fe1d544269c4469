"""The shaped dataset as training sees it: read, checked, put in the order that runs share.

A shaped folder is written by the compiler; here nothing is repaired. What must never be trained on (the
held-out fold, unlabelled rows, zero or broken weights) is refused, not skipped.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.errors import TrainError
from engine.manifest import hash_file, read_manifest
from engine.records import HELD_OUT_FOLD, Label
from engine.wording import counted

COLUMNS = ("pair_id", "prompt", "chosen", "rejected", "weight", "offset", "fold")
"""What training needs."""
OPTIONAL = ("tools", "inoculation")
"""Honoured where they are there; further columns are ignored."""
_WEIGHT_MEAN_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class ShapedPairs:
    """The pairs of a shaped dataset in training order."""

    table: pa.Table
    """COLUMNS and what there is of OPTIONAL, rows sorted by md5(seed:pair_id)"""
    content_hash: str
    """Hash of the bytes of train.parquet."""

    @property
    def n_pairs(self) -> int:
        """Rows."""
        return int(self.table.num_rows)

    def first(self, n: int) -> "ShapedPairs":
        """The first ``n`` pairs in training order."""
        return ShapedPairs(self.table.slice(0, n), self.content_hash)

    @property
    def has_offsets(self) -> bool:
        """True when any pair's offset is not zero."""
        return bool(np.any(_numbers(self.table, "offset") != 0))


def read_shaped(folder: Path, seed: int) -> ShapedPairs:
    """Read and check a shaped dataset.

    The order depends on the seed and each pair's own id only, so that two datasets which differ by one rule
    show their common pairs in the same order.

    Raises:
        TrainError: missing or unreadable file, missing column, no rows, or a row that must not be trained on.
    """
    path = folder / "train.parquet"
    if not path.exists():
        raise TrainError(
            f"{folder} holds no train.parquet", hint="make a shaped dataset with `prosect compile DIR RULES`"
        )
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise TrainError(f"{path} cannot be read as parquet: {error}", hint="compile it again") from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise TrainError(
            f"{path} has no column {', '.join(missing)}", hint="compile it again with this version"
        )
    _check(table, path)
    content_hash = hash_file(path)
    manifest = read_manifest(folder)
    compiled = manifest.facts.get("files", {}).get("train.parquet") if manifest is not None else None
    if compiled not in (None, content_hash):
        raise TrainError(f"{path} is not as it was compiled", hint="compile the rules again")
    table = table.select([*COLUMNS, *(name for name in OPTIONAL if name in table.column_names)])
    ordered = table.take(pa.array(training_order(table.column("pair_id").to_pylist(), seed)))
    return ShapedPairs(ordered, content_hash)


def training_order(pair_ids: Sequence[str], seed: int) -> list[int]:
    """Places of pairs in the order in which training takes them."""
    keys = [hashlib.md5(f"{seed}:{i}".encode()).digest() for i in pair_ids]  # noqa: S324 - an order, no secret
    return sorted(range(len(pair_ids)), key=keys.__getitem__)


def _numbers(table: pa.Table, column: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = table.column(column).to_numpy().astype(np.float64)
    return values


def _check(table: pa.Table, path: Path) -> None:
    if table.num_rows == 0:
        raise TrainError(f"{path} has no pairs", hint="the rules dropped everything: look at the plan")
    for column in COLUMNS:
        if table.column(column).null_count:
            raise TrainError(f"{path}: column {column} has empty values", hint="compile it again")
    ids = table.column("pair_id").to_pylist()
    if len(set(ids)) != len(ids):
        raise TrainError(f"{path}: {len(ids) - len(set(ids))} pair ids occur twice", hint="compile it again")
    held_out = int(np.sum(_numbers(table, "fold") == HELD_OUT_FOLD))
    if held_out:
        raise TrainError(
            f"{path}: {held_out} pairs are of fold {HELD_OUT_FOLD}, where the outcome is scored",
            hint="compile the dataset with prosect, which holds that fold out",
        )
    if "label" in table.column_names:
        labels = table.column("label").to_pylist()
        unlabelled = sum(label != Label.CHOSEN.value for label in labels)
        if unlabelled:
            raise TrainError(
                f"{path}: {unlabelled} pairs have no label to learn from", hint="compile it again"
            )
    weight, offset = _numbers(table, "weight"), _numbers(table, "offset")
    if not np.all(np.isfinite(weight)) or not np.all(weight > 0):
        raise TrainError(
            f"{path}: {int(np.sum(~(weight > 0)))} weights are not above 0",
            hint="weight 0 means drop: compile again",
        )
    if not np.all(np.isfinite(offset)):
        raise TrainError(f"{path}: some offsets are not finite", hint="compile it again")
    mean = float(weight.mean())
    if abs(mean - 1) > _WEIGHT_MEAN_TOLERANCE:
        raise TrainError(
            f"{path}: weights average {mean:.4f}, not 1 over the kept set",
            hint="compile it again with prosect",
        )
    _check_messages(table, path)


def _check_messages(table: pa.Table, path: Path) -> None:
    for column in ("prompt", "chosen", "rejected"):
        lengths = table.column(column).combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
        empty = int(np.sum(lengths == 0))
        if empty:
            rule = "no chat can be rendered without a turn: add the rule `drop where prompt.turns == 0`"
            raise TrainError(
                f"{path}: {counted(empty, 'pair has', 'pairs have')} an empty {column}",
                hint=rule if column == "prompt" else "compile it again",
            )
