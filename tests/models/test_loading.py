"""Loading checkpoints, and refusing those that cannot be read."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import ModelError
from engine.models.blocks import capture, cut_after, find_blocks, inner_model, width_of
from engine.models.configuration import width_in
from engine.models.devices import pick_device, pick_dtype
from engine.models.identity import fingerprint_of
from engine.models.loading import load_model, load_to_read
from tests.models.tiny import D_MODEL, N_LAYERS, SHAPES, save_checkpoint


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {shape: save_checkpoint(root / shape, shape) for shape in SHAPES}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_loads_frozen_and_is_told_apart(checkpoints: dict[str, Path], shape: str) -> None:
    loaded = load_model(str(checkpoints[shape]), device="cpu")
    assert loaded.is_causal is (shape != "bert")
    assert loaded.dtype == torch.float32
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert len(find_blocks(loaded.model)[1]) == N_LAYERS
    assert width_of(loaded.model) == D_MODEL


@pytest.mark.parametrize("layer", range(N_LAYERS))
@pytest.mark.parametrize("shape", SHAPES)
def test_the_captured_stream_is_the_hidden_state_of_a_full_forward(
    checkpoints: dict[str, Path], shape: str, layer: int
) -> None:
    full = load_model(str(checkpoints[shape]), device="cpu").model
    short = load_to_read(str(checkpoints[shape]), layer, device="cpu").model
    ids = torch.randint(10, 90, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        with capture(full, layer) as at_block:  # for the last block: hidden_states has the final norm in it
            states = full(input_ids=ids, output_hidden_states=True).hidden_states
        expected = states[layer + 1] if layer + 1 < N_LAYERS else at_block.take()
        cut_after(short, layer)
        with capture(inner_model(short), layer) as captured:
            inner_model(short)(input_ids=ids)
        torch.testing.assert_close(captured.take(), expected, atol=1e-5, rtol=1e-5)
    assert len(find_blocks(short)[1]) == layer + 1


def test_a_layer_that_is_not_there_is_refused(checkpoints: dict[str, Path]) -> None:
    model = load_model(str(checkpoints["llama"]), device="cpu").model
    with pytest.raises(ModelError, match="no layer 4: the model has 4 blocks"):
        cut_after(model, 4)
    with pytest.raises(ModelError, match="no layer -1"), capture(model, -1):
        pass


def test_the_fingerprint_follows_bytes_not_names_or_sizes(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(checkpoints["gpt2"], copy)
    assert fingerprint_of(copy) == fingerprint_of(checkpoints["gpt2"])
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1  # same size, other content
    weights.write_bytes(bytes(data))
    assert fingerprint_of(copy) != fingerprint_of(checkpoints["gpt2"])


def test_unusable_folders_are_refused_with_a_hint(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model folder"):
        load_model(str(tmp_path / "absent" / "model"))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_model(str(empty))
    (empty / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="LoRA adapter"):
        load_model(str(empty))
    pickled = tmp_path / "pickled"
    shutil.copytree(checkpoints["gpt2"], pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no safetensors weights"):
        load_model(str(pickled))
    coded = tmp_path / "coded"
    shutil.copytree(checkpoints["gpt2"], coded)
    config = json.loads((coded / "config.json").read_text())
    config |= {"model_type": "mystery", "auto_map": {"AutoModel": "mystery.Model"}}
    (coded / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError):
        load_model(str(coded))
    bare = tmp_path / "bare"
    shutil.copytree(checkpoints["gpt2"], bare)
    for file in bare.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        load_model(str(bare))


def test_devices_and_dtypes_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ModelError, match="no device called abacus"):
        pick_device("abacus")
    with pytest.raises(ModelError, match="no cuda:99"):
        pick_device("cuda:99")
    with pytest.raises(ModelError, match="no dtype called int4"):
        pick_dtype("int4", torch.device("cpu"))
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
    assert pick_dtype("auto", torch.device("cuda")) == torch.bfloat16


def test_every_process_of_a_launcher_gets_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert pick_device("auto") == torch.device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert pick_device("auto") == torch.device("cuda:3")


def test_weights_of_an_interrupted_download_are_named(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "model", "llama")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(ModelError, match="cannot be loaded") as failure:
        load_model(str(folder), device="cpu")
    assert failure.value.hint == "fetch the checkpoint again"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."),
        RuntimeError("unable to mmap 9 bytes from file <x>: Cannot allocate memory (12)"),
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
    ],
    ids=["allocator", "mapping", "gpu", "python"],
)
def test_too_little_memory_is_said_and_nothing_larger_is_tried(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    tried: list[str] = []

    def fails(_: object, **options: object) -> None:
        tried.append("in part" if "state_dict" in options else "whole")
        raise error

    path = str(checkpoints["llama"])
    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", fails)
    for load, how, hint in (
        (partial(load_to_read, layer=1), "in part", "--set reading.dtype=bfloat16"),
        (load_model, "whole", "what training takes"),
    ):
        tried.clear()
        with pytest.raises(ModelError, match=f"{path} does not fit into the memory of cpu") as failure:
            load(path, device="cpu")
        assert hint in str(failure.value.hint)
        assert tried == [how]


@pytest.mark.parametrize(
    ("config", "width"),
    [
        ({"hidden_size": 64}, 64),
        ({"n_embd": 32}, 32),
        ({"hidden_size": 64, "quantization_config": {"quant_method": "mxfp4"}}, 64),
        ({"hidden_size": 64, "text_config": {"hidden_size": 32}, "vision_config": {}}, 32),
        ({"hidden_size": 64, "text_config": {"model_type": "llama"}}, None),  # its default
        ({"hidden_size": 64, "vision_config": {"hidden_size": 8}}, None),
        ({"d_model": 64}, None),
    ],
)
def test_a_width_is_taken_from_a_configuration_only_where_it_is_the_texts(
    config: dict[str, Any], width: int | None
) -> None:
    assert width_in(config) == width
