"""What reading would cost."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import ModelError
from engine.models.blocks import find_blocks
from engine.models.devices import pick_device, pick_dtype
from engine.models.loading import load_model, load_to_read
from engine.reading.costs import Workload, estimate_costs, index_cost, reading_cost
from engine.reading.doctor import (
    Machine,
    ModelShape,
    inspect_machine,
    measure_tflops,
    sae_shape,
    shape_of,
    what_to_load,
)
from engine.settings import ReadingSettings
from tests.models import kinds
from tests.models.hub import serve
from tests.models.tiny import D_MODEL, N_LAYERS, SHAPES, save_checkpoint
from tests.reading.readers import N_LATENTS, save_sae

H100 = Machine("3.11", {}, "cuda:0", "H100", "bfloat16", 16, 128.0, 78.0, 1000.0, 700.0)
TULU = Workload(270_000, prompt_tokens=100, response_tokens=330, layer=15, n_latents=32_768, l0=50)
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


@pytest.mark.parametrize("shape", SHAPES)
def test_memory_is_foreseen_to_the_number(tmp_path: Path, shape: str) -> None:
    folder = save_checkpoint(tmp_path / shape, shape)
    for layer in (0, N_LAYERS - 1):
        found = what_to_load(str(folder), None, layer)
        model = load_to_read(str(folder), layer, device="cpu").model
        assert found is not None
        assert found.n_weights == sum(p.numel() for p in model.parameters())
        assert found.download_gb == 0


def test_what_has_to_be_fetched_is_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = kinds.save(tmp_path / "there", lambda: kinds.make("Llama"), shard="16KB")
    with serve(there, "acme/river", tmp_path / "cache", monkeypatch) as hub:
        found = what_to_load("acme/river", None, 0)
        assert found is not None
        assert hub.weights() == set()
        load_to_read("acme/river", 0, device="cpu")
        fetched = sum((there / name).stat().st_size for name in hub.weights())
        assert found.download_gb == fetched / 1e9
        shape = shape_of("acme/river")
        work = replace(TULU, layer=0)
        full = replace(found, cache_gb=fetched / 2e9, download_gb=fetched / 1e9)
        assert "have to be fetched" in estimate_costs(H100, shape, work, to_load=full).problems[0]
        cost = reading_cost(H100, shape, work, found)
        assert (cost.download_gb, cost.model_gb) == (found.download_gb, found.n_weights * 2 / 1e9)


def test_a_large_reading_is_foreseen_by_arithmetic(tmp_path: Path) -> None:
    """270k pairs with an 8B model to layer 16 are about 1.4 H100-hours and 12 to 30 GB of shards."""
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    shape = shape_of(str(tmp_path))
    # attention 4096·128·2·(32+8) + gated MLP 3·4096·14336
    assert shape.parameters_per_block == 41_943_040 + 176_160_768
    costs = estimate_costs(H100, shape, TULU)
    assert costs.reading.n_tokens == 270_000 * 860
    assert 1.0 < costs.reading.hours < 2.0
    assert 10 < costs.reading.shards_gb + costs.reading.residuals_gb < 40
    # 7.9 · (50 · 330)^0.564 = 1,889 latents a response, 1.45 of them on either side
    assert costs.index.n_rows == pytest.approx(270_000 * 1889 * 1.45, rel=1e-3)
    assert 0.1 < costs.index.hours < 2.0
    # 10 operations for each of 8 billion weights and 232 million tokens, at 0.35 of 700 TFLOP/s
    assert 15 < costs.training.hours < 30
    # weights, gradients and two moments in float32
    assert 16 * 7.5 < costs.training.memory_gb < 16 * 8 + 30
    assert len(costs.problems) == 1
    assert "training takes about" in costs.problems[0]
    adapter = estimate_costs(H100, shape, TULU, batch_pairs=2, lora_rank=16)
    assert adapter.problems == ()
    assert adapter.training.hours < costs.training.hours


def test_a_small_reading_is_mostly_its_calls() -> None:
    """A model of nothing still has to be called three times a pair, 4 ms each."""
    nothing = Workload(1000, prompt_tokens=10, response_tokens=10, layer=0, n_latents=1, l0=1)
    cpu = replace(H100, device="cpu", device_memory_gb=None, tflops=0.2, dtype="float32")
    costs = estimate_costs(cpu, ModelShape(8, 1, 100, 10), nothing)
    assert costs.reading.hours * 3600 == pytest.approx(12, rel=0.01)
    assert index_cost(nothing).n_rows == 1450
    # what is left out once costs a pass over the rows each
    more = 3600 * (index_cost(replace(nothing, n_levels=5)).hours - index_cost(nothing).hours)
    assert more == pytest.approx(5 * 1450 / 5e6)


def test_latents_of_a_span_are_at_most_all_and_at_most_its_activations() -> None:
    work = replace(TULU, n_pairs=1)
    assert index_cost(replace(work, n_latents=100)).n_rows == 145
    assert index_cost(replace(work, l0=2, response_tokens=3)).n_rows == round(6 * 1.45)
    longer = index_cost(replace(work, prompt_tokens=1000))
    assert longer.n_rows == index_cost(work).n_rows
    assert longer.disk_gb > index_cost(work).disk_gb  # latents of prompts lie in the arrays, too


def test_counted_tokens_stand_for_those_of_the_lengths() -> None:
    shape = ModelShape(4096, 32, 218_103_808, 128_256)
    assert reading_cost(H100, shape, replace(TULU, model_tokens=900.5)).n_tokens == 270_000 * 900.5


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    small = replace(H100, device_memory_gb=6.0, disk_gb=1.0, memory_gb=16.0)
    problems = estimate_costs(small, shape_of(str(tmp_path)), TULU).problems
    assert "6.0 GB are free on cuda:0" in problems[0]
    assert "1.0 GB are free" in problems[1]
    assert "building the index" in problems[2]
    assert "lora_rank" in problems[3]


def test_main_memory_that_a_model_passes_through_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    tight = replace(H100, memory_gb=8.0)
    problems = estimate_costs(tight, shape_of(str(tmp_path)), replace(TULU, layer=20)).problems
    # 22 blocks of 218.1 million weights and 128,256 · 4,096 embeddings, two bytes each
    assert (
        f"{(22 * 218_103_808 + 128_256 * 4096) * 2 / 1e9:.1f} GB of main memory, 8.0 GB are free"
        in problems[0]
    )


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
