"""Directions for steer and ablate statements: made from the reader's SAE just before a run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import TrainError
from engine.paths import ProjectPaths
from engine.pipeline.readers import read_spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.training.interventions import Intervention

_KINDS = ("steer", "ablate")


def prepare_interventions(paths: ProjectPaths, shaped_dir: Path, reader_hash: str, reader_layer: int) -> int:
    """Write what the lock's steer and ablate statements need beside the shaped dataset; how many there are.

    A concept's direction for steering is the mean of the unit decoder rows of its latents; ablation takes the
    span of all of them. A statement without a layer acts where the reader reads.

    Raises:
        TrainError: a concept without latents, or an SAE without a decoder.
    """
    lock = json.loads((shaped_dir / "lock.json").read_text(encoding="utf-8"))
    entries = [e for e in lock.get("training", []) if e["kind"] in _KINDS]
    if not entries:
        return 0
    from engine.training.interventions import write_interventions

    rows = _directions(paths, reader_hash)
    touched = _pairs_by_rule(shaped_dir)
    write_interventions(shaped_dir, [_intervention(e, rows, touched, reader_layer) for e in entries])
    return len(entries)


def check_interventions(shaped_dir: Path, model: str) -> None:
    """Whether a checkpoint has the layers that the lock's steer and ablate statements name, and their width.

    Raises:
        TrainError: it lacks one of them.
        ModelError: no such checkpoint.
    """
    from engine.reading.doctor import shape_of

    lock = json.loads((shaped_dir / "lock.json").read_text(encoding="utf-8"))
    entries = [e for e in lock.get("training", []) if e["kind"] in _KINDS and e.get("layer") is not None]
    if not entries:
        return
    n_layers = shape_of(model).n_layers
    for entry in entries:
        if not 0 <= int(entry["layer"]) < n_layers:
            raise TrainError(
                f"{entry['name']}: there is no layer {entry['layer']}, {model} has {n_layers} blocks",
                hint=f"layers are counted from 0 to {n_layers - 1}; compile again with one of them",
            )


def _directions(paths: ProjectPaths, reader_hash: str) -> "NDArray[np.float32]":
    """(L, D) unit decoder rows; for a matrix of directions the directions themselves."""
    from engine.reading.sae import load_sae

    spec = read_spec(paths, reader_hash)
    sae = load_sae(spec.sae or "", norm_scaling_factor=spec.norm_scaling_factor)
    source = sae.decoder if sae.decoder is not None else sae.weight.T
    if source.numel() == 0:
        raise TrainError(f"{spec.sae} has no decoder to steer with", hint="leave steer and ablate out")
    rows = source.detach().float().numpy()
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0), np.float32)


def _intervention(
    entry: dict[str, Any], rows: "NDArray[np.float32]", touched: dict[str, list[str]], reader_layer: int
) -> "Intervention":
    from engine.training.interventions import Intervention

    members = entry["concept"]["members"]
    if not members:
        raise TrainError(
            f"{entry['name']}: a column has no direction", hint="steer and ablate concepts made of latents"
        )
    vectors = rows[members]
    is_steer = entry["kind"] == "steer"
    return Intervention(
        name=entry["name"],
        kind=entry["kind"],
        layer=reader_layer if entry.get("layer") is None else int(entry["layer"]),
        vectors=vectors.mean(axis=0, keepdims=True) if is_steer else vectors,
        strength=float(entry["amount"]) if is_steer else 0.0,
        pair_ids=tuple(touched.get(entry["name"], ())) if is_steer else (),
    )


def _pairs_by_rule(shaped_dir: Path) -> dict[str, list[str]]:
    import pyarrow.parquet as pq

    table = pq.read_table(shaped_dir / "train.parquet", columns=["pair_id", "rules"])
    found: dict[str, list[str]] = {}
    for row in table.to_pylist():
        for name in row["rules"]:
            found.setdefault(name, []).append(row["pair_id"])
    return found
