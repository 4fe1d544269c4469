"""Trains the sample SAE with sae-lens on the residual stream of the sample model."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from reader_text import Messages
from sae_lens import SAE, BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens.training.sae_trainer import SAETrainer
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

EXPANSION = 8
K = 20
BATCH = 1024
LR = 1e-3
MAX_TOKENS = 1024


@torch.no_grad()
def token_activations(model_dir: Path, layer: int, conversations: list[Messages]) -> torch.Tensor:
    """Output of block ``layer`` at every token that is not a special one, (T, d_model) float32.

    Each conversation is read on its own from its first token, as the audit reads it.
    """
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(model_dir)
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
    special = torch.tensor(tokenizer.all_special_ids)
    caught: list[torch.Tensor] = []

    def keep(
        _module: torch.nn.Module, _args: object, output: torch.Tensor | tuple[torch.Tensor, ...]
    ) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        caught.append(hidden)

    handle = model.model.layers[layer].register_forward_hook(keep)
    rows = []
    for conversation in conversations:
        text = tokenizer.apply_chat_template(conversation, tokenize=False)
        ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=MAX_TOKENS)["input_ids"]
        caught.clear()
        model.model(input_ids=ids, use_cache=False)
        rows.append(caught[0][0][~torch.isin(ids[0], special)])
    handle.remove()
    return torch.cat(rows)


def batches(activations: torch.Tensor, seed: int) -> Iterator[torch.Tensor]:
    """Endless shuffled batches, every activation once per epoch, each batch (BATCH, d_model)."""
    order = torch.Generator().manual_seed(seed)
    while True:
        shuffled = torch.randperm(len(activations), generator=order)
        for start in range(0, len(shuffled) - BATCH + 1, BATCH):
            yield activations[shuffled[start : start + BATCH]]


def train_sae(
    out: Path, layer: int, conversations: list[Messages], *, n_samples: int, seed: int
) -> dict[str, float | int]:
    """Train a BatchTopK SAE, save it as its inference form (JumpReLU) in ``out``/sae, and measure it."""
    torch.manual_seed(seed)
    began = time.monotonic()
    activations = token_activations(out / "model", layer, conversations)
    cut = len(activations) * 19 // 20
    train, held_out = activations[:cut], activations[cut:]
    config = BatchTopKTrainingSAEConfig(
        d_in=activations.shape[1],
        d_sae=activations.shape[1] * EXPANSION,
        k=K,
        normalize_activations="expected_average_only_in",
        metadata=SAEMetadata(
            model_name="model",
            model_class_name="AutoModelForCausalLM",
            hook_name=f"model.layers.{layer}",
            prepend_bos=False,
            context_size=MAX_TOKENS,
        ),
    )
    n_steps = n_samples // BATCH
    trainer_config = SAETrainerConfig(
        total_training_samples=n_steps * BATCH,
        train_batch_size_samples=BATCH,
        lr=LR,
        lr_end=LR / 10,
        lr_warm_up_steps=n_steps // 20,
        lr_decay_steps=n_steps // 3,
        dead_feature_window=200,
        n_batches_for_norm_estimate=50,
        logger=LoggingConfig(log_to_wandb=False),
    )
    sae = SAETrainer(trainer_config, BatchTopKTrainingSAE(config), batches(train, seed)).fit()
    sae.save_inference_model(str(out / "sae"))
    (out / "sae" / "sae_weights.safetensors").chmod(0o644)
    _drop_library_paths(out / "sae" / "cfg.json")
    quality = measure(SAE.load_from_disk(str(out / "sae")), held_out, activations)
    return quality | {"layer": layer, "k": K, "seconds": round(time.monotonic() - began, 1)}


@torch.no_grad()
def measure(sae: SAE, held_out: torch.Tensor, everything: torch.Tensor) -> dict[str, float | int]:
    """Quality of a saved SAE: variance explained and L0 on held-out tokens, dead latents over all tokens.

    Variance explained is 1 - sum of squared errors / sum of squared deviations from the mean activation.
    """
    codes = sae.encode(held_out)
    error = (sae.decode(codes) - held_out).square().sum()
    spread = (held_out - held_out.mean(0)).square().sum()
    fired = torch.zeros(sae.cfg.d_sae)
    for part in everything.split(8192):
        fired += (sae.encode(part) > 0).sum(0)
    return {
        "latents": sae.cfg.d_sae,
        "tokens": len(everything),
        "variance_explained": round(1 - (error / spread).item(), 4),
        "l0": round((codes > 0).sum(1).float().mean().item(), 2),
        "dead_latents": int((fired == 0).sum()),
        "on_more_than_a_tenth_of_tokens": int((fired > 0.1 * len(everything)).sum()),
    }


def _drop_library_paths(path: Path) -> None:
    """Rewrite cfg.json with sorted keys, so that two runs differ only where something differs."""
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=2, sort_keys=True) + "\n")
