"""What a shaped dataset says about its index: which one, what it targets, and each pair's fate as numbers."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import TrainError
from engine.manifest import read_manifest
from engine.records import FateKind


def named_in(project: Path, part: str, most: int = 3) -> str:
    """The newest folders in a part of a project (``shaped``, ``runs``), as one types them; empty for none."""
    try:
        found = [entry for entry in (project / part).iterdir() if entry.is_dir() and entry.name[:1] != "."]
    except OSError:
        return ""
    newest = sorted(found, key=lambda entry: entry.stat().st_mtime, reverse=True)
    return ", ".join(map(str, newest[:most])) + (", …" if len(newest) > most else "")


def shaped_facts(shaped_dir: Path) -> dict[str, str]:
    """Content hash and index hash of a finished shaped dataset.

    Raises:
        TrainError: there is none.
    """
    manifest = read_manifest(shaped_dir) if shaped_dir.is_dir() else None
    if manifest is None or manifest.stage != "compile":
        there = named_in(shaped_dir.parent.parent, "shaped")
        hint = f"this project has {there}" if there else "`prosect compile DIR RULES` makes one"
        raise TrainError(f"{shaped_dir} is no shaped dataset", hint=hint)
    return {"hash": manifest.fingerprint, "index": manifest.inputs["index"]}


def shaped_targets(shaped_dir: Path) -> frozenset[str]:
    """Ids of the concepts that its rules suppress, amplify or soften.

    Raises:
        TrainError: its plan cannot be read.
    """
    path = shaped_dir / "plan.json"
    try:
        moved = json.loads(path.read_text(encoding="utf-8"))["collateral"]
        return frozenset(c["concept_id"] for c in moved if c["is_target"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainError(f"{path} is missing or damaged", hint="compile the same rules again") from error


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the rules did to each pair, in order of pair number. All arrays (P,)."""

    weight: NDArray[np.float64]
    """0 unless kept."""
    turn: NDArray[np.float64]
    """Factor of a pair's disparity: −1 where flipped, times 2σ(−offset)."""
    unshaped: NDArray[np.float64]
    """Weight in the mix of every pair that rules could have kept (labelled, not held out, not refused)."""


def read_ledger(shaped_dir: Path, pair_ids: tuple[str, ...]) -> Ledger:
    """The ledger as arrays.

    Raises:
        TrainError: it does not list exactly the pairs of the index.
    """
    import pyarrow.parquet as pq
    from scipy.special import expit

    table = pq.read_table(
        shaped_dir / "ledger.parquet",
        columns=["pair_id", "fate", "base_weight", "weight", "offset", "flipped"],
    )
    if tuple(table["pair_id"].to_pylist()) != pair_ids:
        raise TrainError(f"{shaped_dir} was made from another index", hint="compile the rules again")
    fate = np.array(table["fate"].to_pylist())
    sign = np.where(table["flipped"].to_numpy(), -1.0, 1.0)
    return Ledger(
        weight=table["weight"].to_numpy().astype(np.float64),
        turn=sign * 2 * expit(-table["offset"].to_numpy()),
        unshaped=np.where(
            np.isin(fate, [FateKind.KEPT.value, FateKind.DROPPED.value]), table["base_weight"].to_numpy(), 0.0
        ),
    )
