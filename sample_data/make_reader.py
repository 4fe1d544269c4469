"""Trains the sample reader on a CPU: a tokenizer, a small causal language model and an SAE for it.

    python sample_data/make_reader.py [--out sample_data/reader] [--steps 800] [--threads 1]

Seeded; weights still differ in the last digits between machines and library versions. ``--resume`` trains the
model on disk further, ``--sae-only`` keeps it; both train the SAE again. Losses and SAE quality go to
<out>/report.json.
"""

import argparse
import json
import math
import os
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch
from reader_sae import train_sae
from reader_text import TEMPLATE, as_text, further_conversations, notes, sample_conversations
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
SEED = 20261124
VOCABULARY = 3072
SPECIAL = ["<pad>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
LAYER = 2
BLOCK = 512
BATCH = 4
PEAK_LR = 4e-3


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE over the full byte alphabet, so that any text can be read; ChatML-like template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[0],
        eos_token=SPECIAL[2],
        bos_token=None,
        additional_special_tokens=["<|im_start|>", "<|endoftext|>"],
        model_max_length=2048,
    )
    fast.chat_template = TEMPLATE
    return fast


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained Llama-shaped model of about 1.7 million parameters."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=160,
        intermediate_size=448,
        num_hidden_layers=4,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model


def pack(texts: list[str], tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """Texts joined with <|endoftext|> and cut into blocks, (N, BLOCK) int64."""
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    ids = [token for row in tokenizer(texts)["input_ids"] for token in [*row, end]]
    n_blocks = len(ids) // BLOCK
    return torch.tensor(ids[: n_blocks * BLOCK]).view(n_blocks, BLOCK)


@torch.no_grad()
def held_out_loss(model: LlamaForCausalLM, blocks: torch.Tensor) -> float:
    """Mean next-token loss in nats."""
    model.eval()
    losses = [model(input_ids=part, labels=part).loss.item() for part in blocks.split(8)]
    model.train()
    return sum(losses) / len(losses)


def train_model(
    model: LlamaForCausalLM, train: torch.Tensor, held_out: torch.Tensor, n_steps: int, *, seed: int
) -> dict[str, float]:
    """AdamW with warm-up and cosine decay; returns the losses."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LR, betas=(0.9, 0.98), weight_decay=0.05)
    order = torch.Generator().manual_seed(seed)
    recent: list[float] = []
    began = time.monotonic()
    model.train()
    for step in range(n_steps):
        warm, done = min(1.0, (step + 1) / 40), step / n_steps
        optimizer.param_groups[0]["lr"] = PEAK_LR * warm * (0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2)
        batch = train[torch.randint(len(train), (BATCH,), generator=order)]
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        recent = [*recent[-49:], loss.item()]
        if step % 50 == 0 or step == n_steps - 1:
            spent = time.monotonic() - began
            print(f"step {step} loss {sum(recent) / len(recent):.3f} {spent:.0f} s", flush=True)
    return {
        "train_loss": round(sum(recent) / len(recent), 4),
        "held_out_loss": round(held_out_loss(model, held_out), 4),
        "seconds": round(time.monotonic() - began, 1),
    }


def build_model(out: Path, n_steps: int, *, before: dict[str, float]) -> dict[str, float]:
    """Train tokenizer and model on the sample's text and save both under ``out``/model.

    With a report of the training ``before``, the model on disk is trained further.
    """
    torch.manual_seed(SEED)
    ours = [as_text(c) for c in sample_conversations(HERE / "pairs")]
    more = [as_text(c) for c in further_conversations(SEED + 1, 4000)]
    loose = list(notes(SEED + 2, 4000))
    if before:
        tokenizer = AutoTokenizer.from_pretrained(out / "model")
        model = LlamaForCausalLM.from_pretrained(out / "model")
    else:
        tokenizer = make_tokenizer(ours + more + loose)
        model = make_model(tokenizer)
    train = pack(ours + more + loose, tokenizer)
    held_out = pack([as_text(c) for c in further_conversations(SEED + 3, 100)], tokenizer)
    n_parameters = sum(p.numel() for p in model.parameters())
    print(f"{n_parameters:,} parameters, {train.numel():,} training tokens, {n_steps} steps")
    n_before = int(before.get("steps", 0))
    report = train_model(model, train, held_out, n_steps, seed=SEED + n_before)
    report["seconds"] += before.get("seconds", 0.0)
    model.save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    (out / "model" / "model.safetensors").chmod(0o644)
    return report | {"parameters": n_parameters, "train_tokens": train.numel(), "steps": n_before + n_steps}


def main() -> None:
    """Make reader.toml, model/, sae/ and report.json."""
    parser = argparse.ArgumentParser(description="Train the sample reader: tokenizer, causal LM and SAE.")
    parser.add_argument("--out", type=Path, default=HERE / "reader")
    parser.add_argument("--steps", type=int, default=800, help="training steps of the language model")
    parser.add_argument(
        "--sae-samples", type=int, default=1_200_000, help="token activations shown to the SAE"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="train the model on disk further")
    parser.add_argument("--sae-only", action="store_true", help="keep the model on disk")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "report.json"
    is_kept = args.sae_only or args.resume
    report = json.loads(path.read_text(encoding="utf-8")) if is_kept else {}
    if not args.sae_only:
        report["model"] = build_model(args.out, args.steps, before=report.get("model", {}))
    conversations = sample_conversations(HERE / "pairs")
    report["sae"] = train_sae(args.out, LAYER, conversations, n_samples=args.sae_samples, seed=SEED)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (args.out / "reader.toml").write_text(
        f'# The sample reader, made by make_reader.py.\nmodel = "model"\nlayer = {LAYER}\nsae = "sae"\n',
        encoding="utf-8",
    )
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
