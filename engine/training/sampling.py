"""Sampling responses and scoring given ones: the two things that are done with a checkpoint's tokens.

Pure with respect to files. Sampling is seeded per batch, so two checkpoints that are given the same prompts
draw with the same random numbers, and what they do alike cancels in a comparison.
"""

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig

from engine.progress import Progress
from engine.training.encode import encode_pair


@dataclass(frozen=True, slots=True)
class Sampled:
    """One sampled response."""

    ids: list[int]
    """Token ids, the token that ended the turn left out."""
    is_complete: bool
    """False when the response was cut at the token limit."""


def end_of_turn_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Token ids that end a response: the tokenizer's, the checkpoint's own, and the template's.

    Chat checkpoints often name only one of them; a sampler that misses the template's runs on into the
    next turn.
    """
    found = [tokenizer.eos_token_id]
    own = getattr(model.generation_config, "eos_token_id", None)
    found += own if isinstance(own, list) else [own]
    turn = encode_pair(
        tokenizer,
        [{"role": "user", "content": "a"}],
        [{"role": "assistant", "content": "a"}],
        [{"role": "assistant", "content": "b"}],
    )
    special = set(tokenizer.all_special_ids)
    found += [token for token in turn.chosen if token in special][:1]
    return tuple(sorted({int(token) for token in found if token is not None}))


def sample(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
    batch: int,
    progress: Progress,
) -> list[Sampled]:
    """One response per prompt, drawn from the model's own distribution (no top-k, no top-p).

    Args:
        model: causal LM in eval mode.
        tokenizer: with a padding token.
        prompts: token ids with generation prompt; repeat a prompt to draw more than once.
        max_tokens: tokens of a response at most.
        temperature: above 0.
        seed: of the draws; together with a batch's number it fixes every draw in it.
        batch: prompts per batch; they are padded on the left.
        progress: advanced by prompts.

    Raises:
        Cancelled: the user stopped.
    """
    ends = end_of_turn_ids(model, tokenizer)
    config = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=max_tokens,
        eos_token_id=list(ends),
        pad_token_id=tokenizer.pad_token_id,
    )
    sampled: list[Sampled] = []
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        width = max(map(len, part))
        ids = torch.full((len(part), width), tokenizer.pad_token_id)  # (B, T) int64
        mask = torch.zeros((len(part), width), dtype=torch.int64)
        for row, prompt in enumerate(part):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        digest = hashlib.blake2b(f"{seed}:{start // batch}".encode(), digest_size=7).digest()
        devices = [model.device] if model.device.type == "cuda" else []
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(int.from_bytes(digest, "little"))
            out = model.generate(
                input_ids=ids.to(model.device), attention_mask=mask.to(model.device), generation_config=config
            )
        sampled += [_cut(row, ends) for row in out[:, width:].tolist()]
        progress.advance(len(part))
    return sampled


def _cut(ids: list[int], ends: Sequence[int]) -> Sampled:
    """What stands before the first token that ends a turn; whatever follows is padding."""
    stop = next((i for i, token in enumerate(ids) if token in ends), None)
    return Sampled(ids, is_complete=False) if stop is None else Sampled(ids[:stop], is_complete=True)


def token_logps(model: Any, prompt: Sequence[int], response: Sequence[int]) -> NDArray[np.float32]:
    """Log-probability of each response token given all before it, shape (n,), in nats.

    One unpadded sequence at a time: the value never depends on what stands beside it. Only the response's
    positions are projected to the vocabulary where the model can.
    """
    n = len(response)
    if n == 0:
        return np.zeros(0, np.float32)
    ids = torch.tensor([[*prompt, *response]], device=model.device)
    can_cut = "logits_to_keep" in inspect.signature(model.forward).parameters
    with torch.no_grad():
        logits = model(input_ids=ids, **({"logits_to_keep": n + 1} if can_cut else {})).logits
    # the logits at a position predict the token after it
    logps = logits[0, -n - 1 : -1].float().log_softmax(-1)  # (n, V)
    picked = logps.gather(1, ids[0, -n:, None])[:, 0]
    values: NDArray[np.float32] = picked.cpu().numpy()
    return values
