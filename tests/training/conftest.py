"""Tiny seeded chat models of three architectures and a shaped dataset, all made on the spot."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from engine.records import message_type
from engine.settings import TrainingSettings

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WORDS = [
    "please",
    "could",
    "the",
    "garden",
    "sorry",
    "cannot",
    "help",
    "with",
    "recipe",
    "bread",
    "loop",
    "answer",
]
FAST = TrainingSettings(
    steps=4, batch_pairs=4, learning_rate=1e-3, max_length=128, save_steps=2, device="cpu", warmup_ratio=0.0
)
"""Settings under which a run takes a second."""


def text(rng: random.Random, n: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(n))


def make_tokenizer() -> Any:
    rng = random.Random(0)  # noqa: S311 - text, no secret
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<pad>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator([text(rng, 40) for _ in range(100)], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", eos_token="<|im_end|>")  # noqa: S106
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_model(kind: str, n_tokens: int) -> Any:
    torch.manual_seed(0)
    if kind == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=n_tokens,
                n_embd=32,
                n_layer=2,
                n_head=2,
                n_positions=256,
                bos_token_id=2,
                eos_token_id=2,
            )
        )
    shape = {
        "vocab_size": n_tokens,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 256,
    }
    if kind == "qwen":
        return Qwen2ForCausalLM(Qwen2Config(**shape))
    return LlamaForCausalLM(LlamaConfig(**shape))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Tiny matrices on one thread, here and in processes started from here: faster on a busy machine."""
    before = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    yield
    torch.set_num_threads(before[0])
    if before[1] is None:
        del os.environ["OMP_NUM_THREADS"]
    else:
        os.environ["OMP_NUM_THREADS"] = before[1]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of each architecture."""
    root = tmp_path_factory.mktemp("checkpoints")
    tokenizer = make_tokenizer()
    for kind in ("llama", "gpt2", "qwen"):
        model = make_model(kind, len(tokenizer))
        model.generation_config.pad_token_id = tokenizer.pad_token_id
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        model.save_pretrained(str(root / kind))
        tokenizer.save_pretrained(str(root / kind))
    return {kind: root / kind for kind in ("llama", "gpt2", "qwen")}


@pytest.fixture(scope="session")
def llama(checkpoints: dict[str, Path]) -> Path:
    return checkpoints["llama"]


def make_rows(n: int = 16, *, seed: int = 1) -> list[dict[str, Any]]:
    """Pairs whose weights and offsets differ; weights average 1."""
    rng = random.Random(seed)  # noqa: S311 - text, no secret
    raw = [rng.choice([0.5, 1.0, 2.0]) for _ in range(n)]
    mean = sum(raw) / n
    return [
        {
            "pair_id": f"pair{i:04d}",
            "prompt": [{"role": "user", "content": text(rng, 6)}],
            "chosen": [{"role": "assistant", "content": text(rng, rng.randint(3, 14))}],
            "rejected": [{"role": "assistant", "content": text(rng, rng.randint(3, 14))}],
            "weight": raw[i] / mean,
            "offset": rng.choice([0.0, 0.7, -1.5]),
            "source": "test",
            "group_id": f"group{i:04d}",
            "fold": i % 19,
        }
        for i in range(n)
    ]


SCHEMA = pa.schema(
    [
        ("pair_id", pa.string()),
        ("prompt", message_type()),
        ("chosen", message_type()),
        ("rejected", message_type()),
        ("weight", pa.float64()),
        ("offset", pa.float64()),
        ("source", pa.string()),
        ("group_id", pa.string()),
        ("fold", pa.int8()),
    ]
)


def write_shaped(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / "train.parquet")
    return folder


@pytest.fixture(scope="session")
def shaped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shaped(tmp_path_factory.mktemp("shaped"), make_rows())


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pairs with w = 1 and m = 0."""
    rows = [row | {"weight": 1.0, "offset": 0.0} for row in make_rows()]
    return write_shaped(tmp_path_factory.mktemp("plain"), rows)
