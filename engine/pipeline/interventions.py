"""Directions for steer and ablate statements: made from the reader's SAE just before a run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import TrainError
from engine.paths import ProjectPaths
from engine.pipeline.readers import read_spec
from engine.records import MAX_STRENGTH

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
    entries = _entries(shaped_dir)
    if not entries:
        return 0
    from engine.training.interventions import write_interventions

    rows = _directions(paths, reader_hash)
    touched = _pairs_by_rule(shaped_dir)
    write_interventions(shaped_dir, [_intervention(e, rows, touched, reader_layer) for e in entries])
    return len(entries)


def check_statements(shaped_dir: Path) -> None:
    """Whether the lock's steer statements can be carried out on the pairs, whatever the checkpoint.

    Raises:
        TrainError: a strength out of range, or a statement that steers no pair of those that are kept.
    """
    entries = [e for e in _entries(shaped_dir) if e["kind"] == "steer"]
    touched = _pairs_by_rule(shaped_dir) if entries else {}
    for entry in entries:
        if not 0 < abs(float(entry["amount"])) <= MAX_STRENGTH:
            raise TrainError(
                f"{entry['name']} steers by {float(entry['amount']):g} median lengths",
                hint=f"compile again with a strength other than 0 within ±{MAX_STRENGTH:g}",
            )
        if not touched.get(entry["name"]):
            raise TrainError(
                f"{entry['name']} steers none of the pairs that are kept",
                hint="compile again without it, or with a condition that kept pairs meet",
            )


def check_interventions(
    shaped_dir: Path, model: str, width: int | None = None, reader_layer: int | None = None
) -> None:
    """Whether a checkpoint has the layers and the width of the lock's steer and ablate statements.

    Args:
        shaped_dir: the dataset.
        model: checkpoint to train.
        width: of the reader's residual stream, which the directions belong to; None: not known.
        reader_layer: where statements without a layer act; None: not known.

    Raises:
        TrainError: it lacks one of the layers, or is of another width than the reader.
        ModelError: no such checkpoint.
    """
    from engine.reading.doctor import shape_of

    entries = _entries(shaped_dir)
    if not entries:
        return
    shape = shape_of(model)
    for entry in entries:
        layer = reader_layer if entry.get("layer") is None else int(entry["layer"])
        if layer is not None and not 0 <= layer < shape.n_layers:
            raise TrainError(
                f"{entry['name']}: there is no layer {layer}, {model} has {shape.n_layers} blocks",
                hint=f"layers are counted from 0 to {shape.n_layers - 1}; compile again with one of them",
            )
    if width is not None and width != shape.width:
        raise TrainError(
            f"{entries[0]['name']}: the reader's directions are of width {width}, {model} of {shape.width}",
            hint="directions belong to the checkpoint that they were read from: train that one",
        )


def _entries(shaped_dir: Path) -> list[dict[str, Any]]:
    """Steer and ablate statements of the lock."""
    path = shaped_dir / "lock.json"
    if not path.exists():
        return []
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
        return [e for e in lock.get("training", []) if e["kind"] in _KINDS]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainError(f"{path} is damaged", hint="compile the dataset again") from error


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
