"""Tiny readers for tests: SAEs of every kind, and pairs on disk."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import MistralConfig, MistralForCausalLM

from engine.manifest import hash_bytes
from engine.reading.reader import Reader
from engine.reading.residual_batches import ResidualBatches
from engine.reading.stream import Stream, with_packing
from engine.records import pair_schema
from engine.settings import ReadingSettings
from tests.models.tiny import D_MODEL, make_tokenizer

N_LATENTS = 96
SAE_KINDS = ("standard", "jumprelu", "topk", "topk_rescaled", "gated")
SETTINGS = ReadingSettings(device="cpu", shard_pairs=4, check_tokens=0)
SUBJECTS = ("garden", "river", "recipe", "python loop", "bread", "music", "tea", "number 42")


def make_sae(kind: str, d_in: int = D_MODEL, n_latents: int = N_LATENTS, **config: Any) -> Any:
    """A random sae-lens SAE with nothing at zero: biases, thresholds and decoder norms all matter."""
    import sae_lens

    generator = torch.Generator().manual_seed(7)
    name = "topk" if kind.startswith("topk") else kind
    if name == "topk":
        config = {"k": 8, "rescale_acts_by_decoder_norm": kind.endswith("rescaled")} | config
    sae = sae_lens.SAE.from_dict(
        {"architecture": name, "d_in": d_in, "d_sae": n_latents, "dtype": "float32", "device": "cpu"}
        | config
        | {"metadata": {"sae_lens_version": "6.0.0"} | config.get("metadata", {})}
    )
    for key, value in sae.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        scale = {"threshold": 0.3, "b_enc": 0.3, "b_dec": 0.5, "r_mag": 0.2}.get(key, 0.5)
        value.copy_(noise.abs() * scale if key == "threshold" else noise * scale)
    return sae


def save_sae(folder: Path, kind: str, **config: Any) -> Path:
    """Write such an SAE as sae-lens does."""
    make_sae(kind, **config).save_model(folder)
    return folder


def save_mistral(folder: Path) -> None:
    """A sliding window in every block, and no list of kinds of attention."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer("chatml")
    config = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=D_MODEL, intermediate_size=2 * D_MODEL, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=256,
        initializer_range=0.2, sliding_window=11,
    )  # fmt: skip
    MistralForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def padded(reader: Reader, batch_tokens: int = 400) -> Reader:
    """The reader as it would be on a GPU."""
    reader.batches = padded_batches(reader.stream, batch_tokens)
    return reader


def padded_batches(stream: Stream, batch_tokens: int) -> ResidualBatches:
    """Padded batches as on a GPU, with rows of a prompt and its responses."""
    return ResidualBatches(with_packing(stream) if stream.is_causal else stream, batch_tokens)


def pair_row(i: int, prompt: str, chosen: str, rejected: str, **extra: Any) -> dict[str, Any]:
    """A row of pairs.parquet; the group is the prompt."""
    row: dict[str, Any] = dict.fromkeys(pair_schema().names)
    return (
        row
        | {
            "pair_id": hash_bytes(prompt.encode(), chosen.encode(), rejected.encode(), bytes([i % 256])),
            "content_id": hash_bytes(prompt.encode(), chosen.encode(), rejected.encode()),
            "copy": 0,
            "source": "alpha" if i % 3 else "beta",
            "source_file": "alpha.jsonl",
            "source_row": i,
            "prompt": [{"role": "user", "content": prompt}],
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
            "label": "chosen",
            "group_id": hash_bytes(prompt.encode()),
            "fold": i % 20,
            "is_evaluation": False,
            "meta": json.dumps({"n": i}),
        }
        | extra
    )


def make_rows(n: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Pairs with shared prompts and shared responses."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        prompt = (
            f"Tell me about the {SUBJECTS[int(rng.integers(len(SUBJECTS)))]} {rng.integers(n * 2 // 3 + 1)}"
        )
        words = [SUBJECTS[int(j)] for j in rng.integers(len(SUBJECTS), size=int(rng.integers(2, 9)))]
        rejected = (
            "Sorry, I cannot help with that." if i % 4 == 0 else "The " + " or ".join(words[::-1]) + "?"
        )
        rows.append(pair_row(i, prompt, "Because " + " and ".join(words) + ".", rejected))
    return rows


def write_pairs(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write pairs.parquet sorted as ingest sorts it, in small row groups."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = sorted(rows, key=lambda row: (row["group_id"], row["pair_id"]))
    pq.write_table(pa.Table.from_pylist(ordered, schema=pair_schema()), path, row_group_size=7)
    return path
