"""A reading loads the embeddings and the blocks that it reads, and sees what the whole model shows."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import ModelError
from engine.models import loading
from engine.models.blocks import find_blocks, inner_model
from engine.models.loading import LoadedModel, load_model, load_to_read
from engine.models.outline import LeftOut, NeedsWholeModel, leave_out, outline_of
from engine.models.shortened import prove
from engine.reading.stream import cut_stream, neighbour
from tests.models import kinds, mxfp4

LAYER = 1
IDS = torch.arange(3, 43)
WHOLE = {"FalconH1", "Zamba2"}
"""Kinds that ask their later blocks about themselves, or share the weights of one."""
FEW = (
    "Llama", "Gemma2", "Gemma3", "Qwen3", "SmolLM3", "GptOss", "Qwen3Moe", "DeepseekV3", "GPT2", "OPT",
    "Mamba", "Zamba2", "FalconH1", "RecurrentGemma", "Qwen3Next", "Bert", "ModernBert",
)  # fmt: skip
REST = sorted({*kinds.PLAIN, *kinds.MIXED, *kinds.ENCODERS} - set(FEW))


def loaded_whole(folder: Path, layer: int) -> LoadedModel:
    """As it is loaded when nothing can be shown."""

    def refuse(_: Path) -> None:
        raise NeedsWholeModel("a test wants it")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "outline_of", refuse)
        found = load_to_read(str(folder), layer, device="cpu")
    assert found.whole_because == "a test wants it"
    return found


def streams(loaded: LoadedModel, layer: int) -> list[torch.Tensor]:
    """The residual stream after the layer, and after its neighbours."""
    stream = cut_stream(loaded, layer, 512)
    found = [stream.residuals([IDS.numpy()])[0]]
    for offset in (-1, 1):
        with neighbour(stream, offset) as beside:
            if beside is not None:
                found.append(beside.residuals([IDS.numpy()])[0])
    return found


def assert_same_as_whole(folder: Path, layer: int, *, is_whole: bool) -> None:
    short, whole = load_to_read(str(folder), layer, device="cpu"), loaded_whole(folder, layer)
    assert (short.whole_because is not None) is is_whole, short.whole_because
    assert short.fingerprint == whole.fingerprint
    sizes = [sum(p.numel() for p in loaded.model.parameters()) for loaded in (short, whole)]
    if not is_whole:
        blocks = list(find_blocks(inner_model(whole.model))[1])[layer + 2 :]
        later = sum(p.numel() for block in blocks for p in block.parameters())
        assert sizes[0] <= sizes[1] - later
    for one, other in zip(streams(short, layer), streams(whole, layer), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", FEW)
def test_what_is_read_is_that_of_the_whole_model_bit_by_bit(tmp_path: Path, name: str) -> None:
    folder = kinds.save(tmp_path / "model", lambda: kinds.make(name))
    assert_same_as_whole(folder, LAYER, is_whole=name in WHOLE)


@pytest.mark.slow
@pytest.mark.parametrize("name", REST)
def test_so_it_is_for_other_kinds(tmp_path: Path, name: str) -> None:
    folder = kinds.save(tmp_path / "model", lambda: kinds.make(name))
    for layer in (0, 1, 2, 3):
        assert_same_as_whole(folder, layer, is_whole=name in WHOLE)


def sharded(folder: Path) -> dict[str, str]:
    """A Llama of four blocks in small files; name of each tensor → its file."""
    kinds.save(folder, lambda: kinds.make("Llama"), shard="16KB")
    found: dict[str, str] = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    return found


def test_files_that_hold_later_blocks_need_not_be_there(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    index = sharded(folder)
    before = streams(load_to_read(str(folder), LAYER, device="cpu"), LAYER)
    kept = {f for k, f in index.items() if "embed_tokens" in k or any(f"layers.{i}." in k for i in range(3))}
    for name in set(index.values()) - kept:
        (folder / name).unlink()
    assert any("norm.weight" in k and f not in kept for k, f in index.items())  # the norm behind the blocks
    loaded = load_to_read(str(folder), LAYER, device="cpu")
    assert loaded.extent == "embeddings and blocks 0 to 2 of 4"
    assert set(loaded.files) == {"config.json", "model.safetensors.index.json", *kept}
    for one, other in zip(streams(loaded, LAYER), before, strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ModelError, match=r"lacks 4 of its files with weights: model-000"):
        load_to_read(str(folder), 3, device="cpu")


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"x": "../../other.safetensors"}}'],
    ids=["cut", "list", "nothing", "empty", "elsewhere"],
)
def test_a_damaged_index_is_named(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "model"
    sharded(folder)
    (folder / "model.safetensors.index.json").write_text(content)
    for load in (partial(load_to_read, layer=0), load_model):
        with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json is damaged") as failure:
            load(str(folder), device="cpu")
        assert failure.value.hint == "fetch it again"


def test_a_checkpoint_of_fewer_blocks_than_it_says_is_refused(tmp_path: Path) -> None:
    folder = kinds.save(tmp_path / "model", lambda: kinds.make("Llama"))
    config = json.loads((folder / "config.json").read_text()) | {"num_hidden_layers": 6}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"lacks 18 of the weights .*layers\.4\.input_layernorm"):
        load_to_read(str(folder), 0, device="cpu")


def test_a_part_that_is_used_before_the_layer_is_not_left_out(tmp_path: Path) -> None:
    model = kinds.make("Llama").model
    leave_out(model, ["rotary_emb"])
    with pytest.raises(NeedsWholeModel, match="no run comes past layer 1"):
        prove(model, 1, is_causal=True)
    model = kinds.make("Llama").model
    leave_out(model, ["layers.2", "layers.3", "norm"])
    prove(model, 1, is_causal=True)
    assert isinstance(model.norm, LeftOut)
    assert model.norm(IDS) is IDS
    model.layers = torch.nn.ModuleList(list(model.layers)[::-1])  # blocks that run in another order
    with pytest.raises(NeedsWholeModel, match="no run comes past layer 3"):
        prove(model, 3, is_causal=True)


@pytest.mark.parametrize(
    ("key", "is_needed"),
    [
        ("model.embed_tokens.weight", True),
        ("model.layers.2.mlp.up_proj.weight", True),
        ("model.layers.3.mlp.up_proj.weight", False),
        ("model.layers.0.layers.3.weight", True),
        ("language_model.model.layers.3.mlp.up_proj.weight", False),
        ("model.norm.weight", False),
        ("model.layers.1.norm.weight", True),
        ("norm", True),
        ("lm_head.weight", False),
        ("something.else", True),
    ],
)
def test_names_in_files_say_which_are_needed(tmp_path: Path, key: str, *, is_needed: bool) -> None:
    kinds.make("Llama").config.save_pretrained(tmp_path)
    outline = outline_of(tmp_path)
    assert (outline.blocks, outline.n_blocks, outline.elsewhere) == ("layers", 4, ("norm",))
    assert outline.is_needed(key, 1) is is_needed
    assert [outline.n_kept(layer) for layer in range(4)] == [2, 3, 4, 4]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_packed_in_four_bits_are_read_as_what_they_stand_for(tmp_path: Path, dtype: str) -> None:
    packed = mxfp4.save(tmp_path / "packed", packed=True, shard="40KB")
    plain = mxfp4.save(tmp_path / "plain", packed=False)
    one = load_to_read(str(packed), LAYER, device="cpu", dtype=dtype)
    other = load_to_read(str(plain), LAYER, device="cpu", dtype=dtype)
    assert one.notes == ("its weights are packed (mxfp4) and were unpacked",)
    assert (one.whole_because, other.notes) == (None, ())
    assert one.model.state_dict().keys() == other.model.state_dict().keys()
    assert all(torch.equal(t, other.model.state_dict()[name]) for name, t in one.model.state_dict().items())
    for a, b in zip(streams(one, LAYER), streams(other, LAYER), strict=True):
        assert torch.equal(a, b)
    whole = loaded_whole(packed, LAYER)
    assert whole.notes[1:] == one.notes
    with pytest.raises(ModelError, match=r"packed \(mxfp4\): they are read, but not trained") as failure:
        load_model(str(packed), device="cpu")
    assert "Mxfp4Config(dequantize=True)" in str(failure.value.hint)


def test_packing_rounds_to_half_a_step_of_the_largest_of_its_group() -> None:
    """Between 4 and 6, the widest gap, half a step is 1; below 6, a group's largest is at least 4 of them."""
    weights = kinds.make("GptOss").model.layers[0].mlp.experts.gate_up_proj.detach().numpy()
    _, scales, stands_for = mxfp4.pack(weights)
    steps = np.exp2(scales.astype(np.int32) - 127).repeat(mxfp4.GROUP, axis=-1).transpose(0, 2, 1)
    off = np.abs(stands_for - weights) / steps
    assert 0.3 < off.max() <= 2.0  # what lies above 6 steps becomes 6
    assert np.abs(weights / steps)[off > 1].min() > 6
