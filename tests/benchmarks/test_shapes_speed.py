"""Reading at the shapes of public models on a GPU: useful MFU, tokens a second, memory.

    PROSECT_BENCH_DEVICE=cuda pytest -m benchmark -s tests/benchmarks/test_shapes_speed.py

Weights are random, shapes are those of Llama 3.1 8B (read to layer 16 into 32,768 latents) and Gemma 2 2B
(to layer 12 into 16,384); about 64 latents fire per token. Useful MFU = distinct tokens × FLOPs up to the
layer and through the SAE / wall time, tokenising and writing included, / rate of a matrix product measured in
the same run. Without a GPU only ``PROSECT_BENCH_SHAPE=tiny`` runs, which shows that the measurement works,
not a speed. Environment: ``PROSECT_BENCH_SHAPE`` (default all), ``PROSECT_BENCH_PAIRS`` (default 256).
"""

import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, Gemma2Config, LlamaConfig

from engine.models.blocks import block_parameters
from engine.progress import NullProgress
from engine.reading.pair_file import PairFile
from engine.reading.reader import Reader, open_reader
from engine.reading.run import read_pairs
from engine.reading.spec import ReaderSpec
from engine.settings import ReadingSettings
from tests.models.tiny import make_tokenizer
from tests.reading.readers import make_sae, pair_row, write_pairs

DEVICE = os.environ.get("PROSECT_BENCH_DEVICE", "cuda" if torch.cuda.is_available() else "cpu")
WANTED = os.environ.get("PROSECT_BENCH_SHAPE", "")
N_PAIRS = int(os.environ.get("PROSECT_BENCH_PAIRS", "256"))
FIRING = 64
pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]


@dataclass(frozen=True)
class Shape:
    """A model to read with."""

    config: Any
    layer: int
    n_latents: int


SHAPES = {
    "llama-8b": Shape(
        LlamaConfig(
            vocab_size=128_256, hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32,
            num_attention_heads=32, num_key_value_heads=8, head_dim=128, max_position_embeddings=8192,
        ), 16, 32_768,
    ),
    "gemma-2b": Shape(
        Gemma2Config(
            vocab_size=256_000, hidden_size=2304, intermediate_size=9216, num_hidden_layers=26,
            num_attention_heads=8, num_key_value_heads=4, head_dim=256, max_position_embeddings=8192,
        ), 12, 16_384,
    ),
    "tiny": Shape(
        LlamaConfig(
            vocab_size=1024, hidden_size=128, intermediate_size=512, num_hidden_layers=4,
            num_attention_heads=4, num_key_value_heads=2, head_dim=32, max_position_embeddings=4096,
        ), 1, 512,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(SHAPES))
def test_reading_at_the_shape_of_a_public_model(name: str, tmp_path: Path) -> None:
    if WANTED and name != WANTED:
        pytest.skip(f"PROSECT_BENCH_SHAPE={WANTED}")
    if name != "tiny" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    shape, dtype = SHAPES[name], "bfloat16" if DEVICE.startswith("cuda") else "float32"
    model, tokenizer = _save(shape, tmp_path / "model", getattr(torch, dtype))
    pairs = write_pairs(tmp_path / "pairs.parquet", _pairs())
    texts = PairFile(pairs).texts(0, N_PAIRS)
    rendered = [
        tokenizer.apply_chat_template(
            [{"role": m.role, "content": m.content} for m in (*t.prompt, *side)], tokenize=False
        )
        for t in texts
        for side in (t.chosen, t.rejected)
    ]
    sae = _save_sae(shape, model, tokenizer, rendered[0], tmp_path / "sae")
    plain, n_fired = _plain_loop(shape, model, tokenizer, sae, rendered)
    del model
    if DEVICE.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    settings = ReadingSettings(device=DEVICE, dtype=dtype, check_tokens=0, shard_pairs=max(N_PAIRS // 4, 1))
    reader = open_reader(ReaderSpec(str(tmp_path / "model"), shape.layer, str(tmp_path / "sae")), settings)
    rate = _gemm_rate(shape, getattr(torch, dtype))
    read_pairs(
        pairs, reader, tmp_path / "warm", replace(settings, shard_pairs=8), NullProgress(), max_shards=1
    )
    started = _now()
    read_pairs(pairs, reader, tmp_path / "read", settings, NullProgress())
    seconds = _now() - started
    distinct = _distinct_tokens(reader, texts)
    weights = block_parameters(reader.loaded.model, shape.layer)
    mfu = distinct * 2 * (weights + shape.config.hidden_size * shape.n_latents) / seconds / rate
    peak = torch.cuda.max_memory_allocated() / 2**30 if DEVICE.startswith("cuda") else float("nan")
    sys.stdout.write(
        f"\n{name}, {dtype} on {DEVICE}, layer {shape.layer}, {shape.n_latents:,} latents,"
        f" {n_fired:.0f} a token: {N_PAIRS} pairs, {distinct:,} distinct tokens in {seconds:.1f} s"
        f" = {distinct / seconds:,.0f} a second"
        f"\n  matrix product {rate / 1e12:.1f} TFLOP/s, useful MFU {mfu:.2f} (limit on a GPU 0.5),"
        f" peak {peak:.1f} GiB"
        f"\n  plain loop (batches of 8 padded, whole model, sae-lens encode, dense pooling) {plain:.1f} s:"
        f" {plain / seconds:.1f} × slower\n"
    )


def _now() -> float:
    if DEVICE.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def _save(shape: Shape, folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """A model with random weights on the device, its copy on disk, and a tokenizer."""
    tokenizer = make_tokenizer("chatml", vocab=600)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(DEVICE):
            model = AutoModel.from_config(shape.config)
    finally:
        torch.set_default_dtype(before)
    kind = {"llama": "LlamaForCausalLM", "gemma2": "Gemma2ForCausalLM"}[shape.config.model_type]
    model.config.architectures = [kind]  # its head is not read, and not written either
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.eval(), tokenizer


def _save_sae(shape: Shape, model: Any, tokenizer: Any, text: str, folder: Path) -> Any:
    """A JumpReLU SAE in which about ``FIRING`` latents fire per token, some often, most rarely."""
    sae = make_sae("jumprelu", shape.config.hidden_size, shape.n_latents)
    generator = torch.Generator().manual_seed(0)
    sae.W_enc.data.normal_(generator=generator)
    for bias in (sae.b_enc, sae.b_dec):
        bias.data.zero_()
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids.to(DEVICE)
    with torch.no_grad():
        hidden = model(ids, output_hidden_states=True).hidden_states[shape.layer + 1][0].float()
        spread = (hidden @ sae.W_enc.to(DEVICE)).std(0).cpu().double()
    rank = torch.arange(1, shape.n_latents + 1, dtype=torch.float64)
    share = (FIRING / rank / (np.log(shape.n_latents) + 0.577)).clamp(max=0.4)
    sae.threshold.data.copy_(torch.special.ndtri(1 - share) * spread)
    sae.save_model(folder)
    return sae.to(DEVICE)


def _plain_loop(
    shape: Shape, model: Any, tokenizer: Any, sae: Any, rendered: list[str]
) -> tuple[float, float]:
    """Seconds of the loop that the documentation of transformers and sae-lens suggests; latents a token."""
    tokenizer.padding_side = "right"
    fired = tokens = 0
    started = _now()
    with torch.no_grad():
        for at in range(0, len(rendered), 8):
            batch = tokenizer(
                rendered[at : at + 8], return_tensors="pt", padding=True, add_special_tokens=False
            )
            held = {key: v.to(DEVICE) for key, v in batch.items() if key != "token_type_ids"}
            hidden = model(**held, output_hidden_states=True).hidden_states[shape.layer + 1]
            acts = sae.encode(hidden.float())
            for i, mask in enumerate(held["attention_mask"].bool()):
                own = acts[i, mask]
                counts = (own > 0).sum(0)
                (own.amax(0), own.sum(0), own.argmax(0))
                fired, tokens = fired + int(counts.sum()), tokens + len(own)
    return _now() - started, fired / tokens


def _gemm_rate(shape: Shape, dtype: torch.dtype) -> float:
    """FLOP/s of the product of a batch's tokens with the SAE's encoder."""
    x = torch.randn(8192, shape.config.hidden_size, device=DEVICE).to(dtype)
    w = torch.randn(shape.config.hidden_size, shape.n_latents, device=DEVICE).to(dtype)
    taken = []
    for _ in range(6):
        started = _now()
        x @ w
        taken.append(_now() - started)
    return 2 * x.shape[0] * w.numel() / float(np.median(taken[1:]))


def _distinct_tokens(reader: Reader, texts: Any) -> int:
    """Every prompt once, every response once."""
    total = 0
    for text in texts:
        both = [reader.layout.encode(text.prompt, side) for side in (text.chosen, text.rejected)]
        total += sum(len(b.ids) for b in both) - int(both[0].prompt_own[-1]) - 1
    return total


def _pairs() -> list[dict[str, Any]]:
    """Prompts of 60 words, responses of some 230, as chat data has them."""
    rng = np.random.default_rng(0)
    words = ["garden", "table", "river", "because", "bright", "number", "answer", "music", "tea", "loop"]

    def text(n: int) -> str:
        return " ".join(words[int(i)] for i in rng.integers(len(words), size=n))

    lengths = np.clip(np.exp(5.2 + 0.6 * rng.standard_normal((N_PAIRS, 2))), 16, 800).astype(int)
    return [pair_row(i, text(60) + f" {i}", text(int(a)), text(int(b))) for i, (a, b) in enumerate(lengths)]
