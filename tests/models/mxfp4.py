"""A tiny gpt-oss in the format of the released ones, packed by hand: two numbers of 4 bits in a byte."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from tests.models import kinds

GRID = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0], np.float32)
"""What one sign bit and three others stand for (E2M1 of the OCP microscaling formats)."""
GROUP = 32
"""Numbers that share one power of two."""


def pack(weights: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """Blocks, scales and what they stand for, of (E, in, out) weights; groups lie along the inputs."""
    rows = weights.transpose(0, 2, 1)
    groups = rows.reshape(*rows.shape[:2], -1, GROUP)  # (E, out, in / 32, 32)
    largest = np.abs(groups).max(axis=-1)
    power = np.floor(np.log2(np.maximum(largest, 1e-30))).astype(np.int32) - 2  # 6 is 1.5 · 2²
    scaled = np.abs(groups) / np.exp2(power)[..., None]
    nearest = np.abs(scaled[..., None] - GRID).argmin(axis=-1)
    codes = (nearest + 8 * (groups < 0)).astype(np.uint8)
    stands_for = GRID[nearest] * np.where(groups < 0, -1, 1) * np.exp2(power)[..., None]
    blocks = codes[..., 0::2] | (codes[..., 1::2] << 4)
    return blocks, (power + 127).astype(np.uint8), stands_for.reshape(rows.shape).transpose(0, 2, 1)


def save(folder: Path, *, packed: bool, shard: str = "5GB") -> Path:
    """A gpt-oss whose experts are packed, or the same numbers as they are."""
    kinds.save(folder, lambda: kinds.make("GptOss"), shard)
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        for name in [name for name in tensors if name.endswith(("gate_up_proj", "down_proj"))]:
            blocks, scales, stands_for = pack(tensors.pop(name))
            if packed:
                tensors |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
            else:
                tensors[name] = np.ascontiguousarray(stands_for, np.float32)
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, file, {"format": "pt"})
    if packed:
        _say_packed(folder)
    return folder


def _say_packed(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    kept = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": kept}
    (folder / "config.json").write_text(json.dumps(config))
    index = folder / "model.safetensors.index.json"
    if index.exists():
        known = json.loads(index.read_text())
        known["weight_map"] = {
            key: file.name for file in folder.glob("*.safetensors") for key in load_file(file)
        }
        index.write_text(json.dumps(known))
