"""Checkpoints as they are out there: read as their own full forward gives it, or refused with a next step."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import save_file

from engine.errors import ModelError
from engine.models.loading import load_model, load_to_read
from engine.progress import NullProgress
from engine.reading.check import measure
from engine.reading.jobs import plan_work
from engine.reading.pair_file import PairFile, PairTexts
from engine.reading.reader import Reader, open_reader
from engine.reading.spec import ReaderSpec
from engine.records import Message
from tests.models.tiny import make_tokenizer
from tests.reading.readers import SETTINGS, make_rows, padded, save_sae, write_pairs

LAYER, N = 2, len(make_tokenizer("chatml"))
SIZES: dict[str, Any] = {
    "vocab_size": N, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
    "initializer_range": 0.2,
}  # fmt: skip
HEADS = SIZES | {"head_dim": 8}
VISION: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip
"""A tower of as many blocks as the language model has, and bigger ones."""
PAIR = PairTexts(
    (Message("user", "the river is bright and the garden table was a clear answer " * 3),),
    (Message("assistant", "because the tea " * 4),),
    (Message("assistant", "Sorry, I cannot help with that."),),
)
Make = Callable[[], Any]


def gemma3() -> Any:
    text = HEADS | {"sliding_window": 11, "sliding_window_pattern": 2, "query_pre_attn_scalar": 8}
    config = hf.Gemma3Config(
        text_config=text, vision_config=VISION, mm_tokens_per_image=4, image_token_index=N - 1,
        boi_token_index=N - 2, eoi_token_index=N - 3,
    )  # fmt: skip
    return hf.Gemma3ForConditionalGeneration(config)


def llava() -> Any:
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**VISION),
        text_config=hf.LlamaConfig(**SIZES),
        image_token_index=N - 1,
    )
    return hf.LlavaForConditionalGeneration(config)


def qwen_vl() -> Any:
    vision = {
        "depth": 4, "hidden_size": 64, "num_heads": 4, "out_hidden_size": 32, "intermediate_size": 128,
        "patch_size": 14,
    }  # fmt: skip
    config = hf.Qwen2_5_VLConfig(
        text_config=SIZES | {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}},
        vision_config=vision, image_token_id=N - 1, video_token_id=N - 2,
        vision_start_token_id=N - 3, vision_end_token_id=N - 4,
    )  # fmt: skip
    return hf.Qwen2_5_VLForConditionalGeneration(config)


def windowed() -> Any:
    """Full attention below, a sliding window above."""
    config = hf.Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=11, max_window_layers=1)
    return hf.Qwen2ForCausalLM(config)


def convolving() -> Any:
    kinds = ["conv", "full_attention"] * 2
    return hf.Lfm2ForCausalLM(hf.Lfm2Config(**SIZES, block_multiple_of=8, layer_types=kinds))


def jamba() -> Any:
    """Its configuration works the kinds of its blocks out by itself."""
    config = hf.JambaConfig(
        **SIZES,
        use_mamba_kernels=False,
        num_experts=2,
        mamba_d_state=8,
        attn_layer_period=2,
        attn_layer_offset=1,
    )
    return hf.JambaForCausalLM(config)


def chunked() -> Any:
    config = hf.Llama4TextConfig(
        **HEADS, intermediate_size_mlp=64, num_local_experts=2, attention_chunk_size=16,
        layer_types=["chunked_attention", "full_attention"] * 2,
    )  # fmt: skip
    return hf.Llama4ForCausalLM(config)


def gpt_oss() -> Any:
    config = hf.GptOssConfig(**HEADS, sliding_window=11, num_local_experts=4, num_experts_per_tok=2)
    return hf.GptOssForCausalLM(config)


def tied() -> Any:
    return hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES, tie_word_embeddings=True)).to(torch.bfloat16)


def padded_vocabulary() -> Any:
    return hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES | {"vocab_size": 512}))


def save(folder: Path, make: Make, template: str = "chatml") -> Path:
    torch.manual_seed(0)
    make().eval().save_pretrained(folder)
    make_tokenizer(template).save_pretrained(folder)
    save_file({"directions": torch.eye(32)}, folder.parent / "directions.safetensors")
    return folder


def opened(folder: Path, layer: int = LAYER) -> Reader:
    return open_reader(
        ReaderSpec(str(folder), layer, str(folder.parent / "directions.safetensors")), SETTINGS
    )


def assert_read_as_a_full_forward(reader: Reader, model: Any) -> None:
    work = plan_work([PAIR], reader.layout, reader.max_tokens)
    found = reader.read(work.jobs)
    for job in work.jobs:
        with torch.inference_mode():
            output = model(input_ids=torch.from_numpy(job.ids)[None], output_hidden_states=True)
        stream = output.hidden_states[LAYER + 1][0].float().numpy()
        for want in job.wants:
            own = stream[want.own]
            scale = float(np.sqrt(np.square(own).mean()))
            np.testing.assert_allclose(found[want.key].mean, own.mean(axis=0), atol=3e-3 * scale)
            np.testing.assert_allclose(found[want.key].last, own[-1], atol=6e-3 * scale)


@pytest.mark.parametrize(
    "make",
    [tied, padded_vocabulary, windowed, gpt_oss, chunked, convolving, jamba, gemma3, llava, qwen_vl],
    ids=lambda make: make.__name__,
)
def test_a_checkpoint_is_read_as_its_own_full_forward(tmp_path: Path, make: Make) -> None:
    """Prompt once on a CPU, and rows of a prompt and its responses as on a GPU."""
    folder = save(tmp_path / "model", make)
    model = type(make()).from_pretrained(folder, dtype=torch.float32).eval()
    reader = opened(folder)
    assert reader.loaded.whole_because is None
    assert_read_as_a_full_forward(reader, model)
    assert_read_as_a_full_forward(padded(opened(folder)), model)


def mllama() -> Any:
    """Block 1 waits for an image."""
    vision = {
        "hidden_size": 64, "num_hidden_layers": 4, "num_global_layers": 1, "attention_heads": 4,
        "image_size": 28, "patch_size": 14, "intermediate_layers_indices": [1], "vision_output_dim": 128,
    }  # fmt: skip
    text = SIZES | {"cross_attention_layers": [1], "pad_token_id": 2}
    return hf.MllamaForConditionalGeneration(hf.MllamaConfig(text_config=text, vision_config=vision))


def test_a_block_that_waits_for_an_image_is_not_read_and_stops_no_layer_beside_it(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", mllama)
    with pytest.raises(ModelError, match="does not pass this block") as failure:
        opened(folder, 1)
    assert "read after another layer" in str(failure.value.hint)
    spec = ReaderSpec(str(folder), 2, str(save_sae(tmp_path / "sae", "topk")))
    pairs = PairFile(write_pairs(tmp_path / "pairs.parquet", make_rows(5)))
    check = measure(pairs, open_reader(spec, SETTINGS), 1000, NullProgress())
    assert list(check.neighbours) == ["2", "3"]


def gemma3n() -> Any:
    """Every block has several streams."""
    config = hf.Gemma3nTextConfig(
        **HEADS, vocab_size_per_layer_input=N, hidden_size_per_layer_input=8, altup_num_inputs=2,
        laurel_rank=4, num_kv_shared_layers=0, activation_sparsity_pattern=[0.0] * 4, sliding_window=11,
        layer_types=["sliding_attention", "full_attention"] * 2,
    )  # fmt: skip
    return hf.Gemma3nForCausalLM(config)


def small_vocabulary() -> Any:
    return hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES | {"vocab_size": 300}))


def test_a_model_without_a_single_stream_is_refused_at_opening(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no single residual stream"):
        opened(save(tmp_path / "model", gemma3n))


def test_a_tokenizer_of_more_tokens_than_embeddings_is_refused_at_the_first(tmp_path: Path) -> None:
    reader = opened(save(tmp_path / "model", small_vocabulary))
    for one in (reader, padded(reader)):
        with pytest.raises(ModelError, match="has embeddings for 300 tokens") as failure:
            one.read(plan_work([PAIR], one.layout, one.max_tokens).jobs)
        assert "right tokenizer" in str(failure.value.hint)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("llama")
    return save(root / "model", lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES)))


def written(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(config))

    return change


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "acme/river"}')


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def coded_tokenizer(folder: Path) -> None:
    raw = json.loads((folder / "tokenizer_config.json").read_text())
    raw |= {"auto_map": {"AutoTokenizer": ["tok.Tok", None]}, "tokenizer_class": "Tok"}
    (folder / "tokenizer_config.json").write_text(json.dumps(raw))


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (adapter, "holds a LoRA adapter or its like, for acme/river", "merge_and_unload"),
        (written(quantization_config={"quant_method": "gptq", "bits": 4}), r"\(gptq, 4 bits\)", "dequantise"),
        (
            written(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
            r"quantised \(bitsandbytes, 4 bits\)",
            "dequantise",
        ),
        (written(quantization_config={"quant_method": "fp8"}), r"quantised \(fp8\)", "dequantise"),
        (
            written(model_type="mystery", auto_map={"AutoConfig": "configuration_mystery.Mystery"}),
            "needs code of its own to run",
            "remote code is never run",
        ),
        (
            written(model_type="mystery"),
            "of a kind that this transformers does not know",
            "newer transformers",
        ),
        (coded_tokenizer, "the tokenizer of .* needs code of its own", "PreTrainedTokenizerFast"),
        (pickled, r"no safetensors weights, only pytorch_model\.bin", "save_pretrained"),
        (
            written(num_attention_heads=3),
            "cannot be loaded: .*hidden size .32. is not a multiple",
            "fetch the",
        ),
        (written(num_hidden_layers="four"), "cannot be loaded: .*expected int, got str", "fetch the"),
        (
            written(num_hidden_layers=6),
            r"lacks 18 of the weights .*: (model\.)?layers\.4\.input_layernorm",
            "drawn at random",
        ),
        (
            written(intermediate_size=48),
            r"down_proj\.weight has shape \[32, 64\], .* \[32, 48\]",
            "config.json",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_next_step(
    llama: Path, tmp_path: Path, change: Callable[[Path], None], message: str, hint: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(llama, folder)
    change(folder)
    with pytest.raises(ModelError, match=message) as failure:
        load_to_read(str(folder), 1, device="cpu")
    assert str(folder) in failure.value.message
    assert hint in str(failure.value.hint)


def test_code_beside_weights_of_a_known_kind_is_left_alone(llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(llama, folder)
    written(auto_map={"AutoModelForCausalLM": "modeling_mystery.Mystery"})(folder)
    assert load_model(str(folder), device="cpu").is_causal
