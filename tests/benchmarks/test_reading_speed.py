"""How close reading comes to the machine's matrix product, and to the loop a user would write.

    pytest -m benchmark -s tests/benchmarks/test_reading_speed.py

Useful MFU = distinct tokens × FLOPs up to the layer and through the SAE / wall time, tokenising and writing
included, / rate of a matrix product measured in the same run. A prompt counts once per pair. Random weights.
On a CPU, times are processor times, so that a busy machine changes little; wall time is printed beside them.
Environment: ``PROSECT_BENCH_WIDTH`` (default 1024), ``PROSECT_BENCH_PAIRS`` (default 12),
``PROSECT_BENCH_PROMPT`` (words of a prompt, default 40),
``PROSECT_BENCH_DEVICE`` (default cpu), ``PROSECT_BENCH_DTYPE`` (default float32).
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from engine.progress import NullProgress
from engine.reading.encode import Encoder
from engine.reading.pair_file import PairFile
from engine.reading.reader import open_reader
from engine.reading.residual_batches import ResidualBatches
from engine.reading.run import read_pairs
from engine.reading.sae import load_sae
from engine.reading.spec import ReaderSpec
from engine.reading.stream import NEVER, with_packing
from engine.settings import ReadingSettings
from tests.models.tiny import make_tokenizer
from tests.reading.readers import make_sae, pair_row, write_pairs

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

WIDTH = int(os.environ.get("PROSECT_BENCH_WIDTH", "1024"))
N_PAIRS = int(os.environ.get("PROSECT_BENCH_PAIRS", "12"))
PROMPT_WORDS = int(os.environ.get("PROSECT_BENCH_PROMPT", "40"))
DEVICE = os.environ.get("PROSECT_BENCH_DEVICE", "cpu")
DTYPE = os.environ.get("PROSECT_BENCH_DTYPE", "float32")
N_LATENTS = 16 * WIDTH
LAYER, N_LAYERS, VOCAB = 3, 8, 32_000
FULL_VOCAB_NOTE = f"{N_LAYERS} layers read to layer {LAYER}, vocabulary {VOCAB:,}"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def now() -> float:
    """Processor seconds of all threads on a CPU, wall seconds on a GPU once it is idle."""
    if DEVICE == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def clock(run: Callable[[], Any], repeats: int = 5) -> float:
    """Median seconds of a warm call."""
    run()
    taken = []
    for _ in range(repeats):
        started = now()
        run()
        taken.append(now() - started)
    return statistics.median(taken)


def gemm_rate(dtype: torch.dtype) -> float:
    """FLOP/s of a matrix product of the SAE's shape."""
    x = torch.randn(2048, WIDTH, device=DEVICE).to(dtype)
    w = torch.randn(WIDTH, N_LATENTS, device=DEVICE).to(dtype)
    return 2 * 2048 * WIDTH * N_LATENTS / clock(lambda: x @ w)


@pytest.fixture(scope="module")
def saes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A JumpReLU and a TopK SAE in which about 64 latents fire per token, some often, most rarely."""
    root = tmp_path_factory.mktemp("saes")
    folders = {}
    for kind in ("jumprelu", "topk"):
        sae = make_sae(kind, WIDTH, N_LATENTS, **({"k": 64} if kind == "topk" else {}))
        sae.W_enc.data.normal_(generator=torch.Generator().manual_seed(0)).div_(WIDTH**0.5)
        sae.b_enc.data.zero_()
        sae.b_dec.data.zero_()
        if kind == "jumprelu":
            share = 64 / torch.arange(1, N_LATENTS + 1) / float(np.log(N_LATENTS) + 0.577)
            sae.threshold.data.copy_(torch.special.ndtri(1 - share.double().clamp(max=0.4)))
        sae.save_model(root / kind)
        folders[kind] = root / kind
    return folders


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["jumprelu", "topk"])
def test_the_sae_step_against_a_bare_matrix_product(saes: dict[str, Path], kind: str, dtype: str) -> None:
    chosen = getattr(torch, dtype)
    lengths = np.random.default_rng(0).integers(120, 420, 9)
    bounds = [int(b) for b in np.concatenate([[0], np.cumsum(lengths)]) if b < 2048] + [2048]
    x = torch.randn(2048, WIDTH, device=DEVICE, generator=torch.Generator(DEVICE).manual_seed(1))
    sae = load_sae(str(saes[kind]))
    ours = Encoder(sae, torch.device(DEVICE), chosen)
    theirs = make_sae(kind, WIDTH, N_LATENTS, **({"k": 64} if kind == "topk" else {}))
    theirs.load_state_dict({k: v.to(DEVICE) for k, v in _tensors(saes[kind]).items()}, assign=True)
    theirs = theirs.to(device=DEVICE, dtype=chosen)

    def plain() -> list[Any]:
        acts = theirs.encode(x)
        spans = [acts[a:b] for a, b in pairwise(bounds)]
        return [(s.amax(0), (s > 0).sum(0), s.sum(0), s.argmax(0)) for s in spans]

    if DEVICE == "cpu" and dtype == "bfloat16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        say_beside_the_product(ours, kind, x, bounds)
        return
    with torch.inference_mode():
        w = sae.weight.to(DEVICE, chosen)
        moved = x.to(chosen)
        bare = clock(lambda: moved @ w)
        fast, slow = clock(lambda: ours.pool(x, bounds)), clock(plain)
    say(
        f"\nSAE step, {kind}, {dtype}, {WIDTH} → {N_LATENTS:,}: {2048 / fast:,.0f} tokens/s,"
        f" {bare / fast:.2f} of the bare product; sae-lens encode + dense pooling {bare / slow:.2f}"
    )


def say_beside_the_product(
    ours: Encoder, kind: str, x: torch.Tensor, bounds: list[int], gflops: float = 800
) -> None:
    """What the step costs beside its product, on a processor that has no bfloat16 of its own.

    Products come from float32 and are put where the product would leave them; making them is not counted.
    """
    assert ours._columns is not None
    products = [(x @ w.float()).bfloat16() for w in ours._columns.blocks]
    held = torch.empty_like(products[0])
    outside = 0.0

    def ready(*_: Any) -> Any:
        nonlocal outside
        for i, product in enumerate(products):
            started = now()
            held.copy_(product)
            outside += now() - started
            yield i * held.shape[1], held.view(torch.uint16).numpy(), 16

    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr("engine.reading.encode_cpu._products", ready)
        ours.pool(x, bounds)
        taken = []
        for _ in range(9):
            outside, started = 0.0, now()
            ours.pool(x, bounds)
            taken.append(now() - started - outside)
    seconds, bare = statistics.median(taken), 2 * 2048 * WIDTH * N_LATENTS / gflops / 1e9
    threads = torch.get_num_threads()
    say(
        f"\nSAE step, {kind}, bfloat16: no bfloat16 product here; beside it {seconds * 1e3:.1f} ms of"
        f" processor time per 2,048 tokens, {WIDTH} → {N_LATENTS:,}:"
        f" {bare / (bare + seconds / threads):.3f} of a product at {gflops:.0f} GFLOP/s on {threads} cores"
    )


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "sae_weights.safetensors"))


def test_reading_pairs_against_the_matrix_product_and_the_plain_loop(
    saes: dict[str, Path], tmp_path: Path
) -> None:
    tokenizer = make_tokenizer("chatml", vocab=600)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=N_LAYERS,
        num_attention_heads=WIDTH // 64, num_key_value_heads=WIDTH // 256, head_dim=64,
        max_position_embeddings=4096,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    pairs_path = write_pairs(tmp_path / "pairs.parquet", _pairs())
    settings = ReadingSettings(device=DEVICE, dtype=DTYPE, check_tokens=0, shard_pairs=N_PAIRS)
    spec = ReaderSpec(str(tmp_path / "model"), LAYER, str(saes["jumprelu"]))
    reader = open_reader(spec, settings)
    rate = gemm_rate(getattr(torch, DTYPE))
    read_pairs(
        pairs_path, reader, tmp_path / "warm", replace(settings, shard_pairs=2), NullProgress(), max_shards=1
    )
    started = now()
    report = read_pairs(pairs_path, reader, tmp_path / "r", settings, NullProgress())
    seconds = now() - started
    texts = PairFile(pairs_path).texts(0, N_PAIRS)
    distinct = 0
    for text in texts:
        both = [reader.layout.encode(text.prompt, side) for side in (text.chosen, text.rejected)]
        distinct += sum(len(b.ids) for b in both) - int(both[0].prompt_own[-1]) - 1
    flops = distinct * (2 * _block_parameters(config) * (LAYER + 1) + 2 * WIDTH * N_LATENTS)
    mfu = flops / seconds / rate
    plain = _plain_loop(model, tokenizer, saes["jumprelu"], texts)
    reader.batches.stream = replace(reader.stream, min_shared=NEVER)
    started = now()
    read_pairs(pairs_path, reader, tmp_path / "apart", settings, NullProgress())
    apart = now() - started
    padded: list[tuple[float, int]] = []
    for stream in (with_packing(reader.stream), replace(reader.stream, packs=None)):
        reader.batches = ResidualBatches(stream, 4096)
        started = now()
        report_padded = read_pairs(
            pairs_path, reader, tmp_path / f"padded{len(padded)}", settings, NullProgress()
        )
        padded.append((now() - started, report_padded.n_tokens))
    say(
        f"\nreading, Llama {WIDTH} wide, {FULL_VOCAB_NOTE}, {DTYPE} on {DEVICE}: {N_PAIRS} pairs,"
        f" {distinct:,} distinct tokens in {seconds:.1f} s = {distinct / seconds:,.0f} tokens/s"
        f" (wall {report.seconds:.1f} s)"
        f"\n  matrix product {rate / 1e9:,.0f} GFLOP/s, useful MFU {mfu:.2f}"
        f"\n  prompts with every response {apart:.1f} s: {apart / seconds:.2f} × slower"
        f"\n  padded batches of 4,096: {padded[0][0]:.1f} s and {padded[0][1]:,} tokens with a prompt and its"
        f" responses in one row, {padded[1][0]:.1f} s and {padded[1][1]:,} tokens without:"
        f" {padded[1][0] / padded[0][0]:.2f} × slower"
        f"\n  plain loop (batches of 8 padded, whole model, sae-lens encode, dense pooling) {plain:.1f} s:"
        f" {plain / seconds:.1f} × slower"
    )


def _pairs() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    words = ["garden", "table", "river", "because", "bright", "number", "answer", "music", "tea", "loop"]

    def text(n: int) -> str:
        return " ".join(words[int(i)] for i in rng.integers(len(words), size=n))

    lengths = np.clip(np.exp(5.2 + 0.6 * rng.standard_normal((N_PAIRS, 2))), 16, 800).astype(int)
    return [
        pair_row(i, text(PROMPT_WORDS) + f" {i}", text(int(a)), text(int(b)))
        for i, (a, b) in enumerate(lengths)
    ]


def _block_parameters(config: LlamaConfig) -> int:
    width, heads, kv = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
    attention = width * config.head_dim * (2 * heads + 2 * kv)
    return int(attention + 3 * width * config.intermediate_size)


def _plain_loop(model: Any, tokenizer: Any, sae_folder: Path, texts: Any) -> float:
    """Seconds of the loop that the documentation of transformers and sae-lens suggests."""
    import sae_lens

    sae = sae_lens.SAE.load_from_disk(sae_folder, device=DEVICE)
    model = model.to(DEVICE, getattr(torch, DTYPE)).eval()
    tokenizer.padding_side = "right"
    rendered = [
        tokenizer.apply_chat_template(
            [{"role": m.role, "content": m.content} for m in (*t.prompt, *side)], tokenize=False
        )
        for t in texts
        for side in (t.chosen, t.rejected)
    ]
    started = now()
    with torch.no_grad():
        for at in range(0, len(rendered), 8):
            batch = tokenizer(
                rendered[at : at + 8], return_tensors="pt", padding=True, add_special_tokens=False
            )
            batch = {k: v.to(DEVICE) for k, v in batch.items() if k != "token_type_ids"}
            hidden = model(**batch, output_hidden_states=True).hidden_states[LAYER + 1]
            acts = sae.encode(hidden.float())
            for i, mask in enumerate(batch["attention_mask"].bool()):
                own = acts[i, mask]
                (own.amax(0), (own > 0).sum(0), own.sum(0), own.argmax(0))
    return now() - started
