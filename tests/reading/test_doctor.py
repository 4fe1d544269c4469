"""What reading would cost."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import ModelError
from engine.models.blocks import find_blocks
from engine.models.loading import load_model, pick_device, pick_dtype
from engine.reading.doctor import Machine, inspect_machine, measure_tflops, reading_cost, sae_shape, shape_of
from engine.settings import ReadingSettings
from tests.models.tiny import D_MODEL, N_LAYERS, SHAPES, save_checkpoint
from tests.reading.readers import N_LATENTS, save_sae

H100 = Machine("3.11", {}, "cuda:0", "H100", "bfloat16", 16, 128.0, 78.0, 1000.0, 700.0)
LLAMA_8B = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "hidden_act": "silu",
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_block_sizes_are_those_of_the_real_blocks(tmp_path: Path, shape: str) -> None:
    folder = save_checkpoint(tmp_path / shape, shape)
    block = find_blocks(load_model(str(folder), device="cpu").model)[1][0]
    matrices = sum(p.numel() for p in block.parameters() if p.ndim == 2)
    found = shape_of(str(folder))
    assert (found.width, found.n_layers) == (D_MODEL, N_LAYERS)
    assert found.parameters_per_block == matrices


def test_a_large_reading_is_foreseen_by_arithmetic(tmp_path: Path) -> None:
    """270k pairs with an 8B model to layer 16 are about 1.4 H100-hours and 12 to 30 GB of shards."""
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    shape = shape_of(str(tmp_path))
    # attention 4096·128·2·(32+8) + gated MLP 3·4096·14336
    assert shape.parameters_per_block == 41_943_040 + 176_160_768
    cost = reading_cost(
        H100,
        shape,
        layer=15,
        n_latents=32_768,
        l0=50,
        n_pairs=270_000,
        prompt_tokens=100,
        response_tokens=330,
    )
    assert cost.n_tokens == 270_000 * 860
    assert 1.0 < cost.hours < 2.0
    assert 10 < cost.shards_gb + cost.residuals_gb < 40
    assert cost.problems == ()


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    small = replace(H100, device_memory_gb=6.0, disk_gb=1.0)
    cost = reading_cost(
        small, shape_of(str(tmp_path)), layer=15, n_latents=32_768, l0=50, n_pairs=270_000,
        prompt_tokens=100, response_tokens=330,
    )  # fmt: skip
    assert len(cost.problems) == 2
    assert "6.0 GB are free on cuda:0" in cost.problems[0]
    assert "1.0 GB are free" in cost.problems[1]


def test_this_machine_can_be_looked_at(tmp_path: Path) -> None:
    machine = inspect_machine(tmp_path / "not" / "yet", ReadingSettings(device="cpu"))
    assert machine.tflops > 0
    assert machine.disk_gb > 0
    assert machine.dtype == "float32"
    assert "torch" in machine.packages
    assert (
        measure_tflops(pick_device("cpu"), pick_dtype("bfloat16", pick_device("cpu")), size=64, seconds=0.01)
        > 0
    )


def test_unknown_shapes_are_said(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mystery"}')
    with pytest.raises(ModelError, match="names no width"):
        shape_of(str(tmp_path))
    assert sae_shape(tmp_path) is None
    assert sae_shape(save_sae(tmp_path / "sae", "topk")) == (N_LATENTS, 8.0)
