"""Checkpoints of a run: where it starts, and which of its own saves are whole."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import TrainError
from engine.manifest import hash_tree, sync_folder
from engine.models.loading import load_model
from engine.training.encode import check_tokenizer

_TOKENIZER_FILES = (
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "chat_template*",
    "*.model",
)
WHOLE = "whole"
"""Marker file: written last, so that a save cut short by a crash is never resumed from."""


@dataclass(frozen=True, slots=True)
class StartCheckpoint:
    """A checkpoint in memory, ready to be trained."""

    model: Any
    """transformers causal LM, float32, on the CPU, all parameters trainable"""
    tokenizer: Any
    """With a chat template, an end-of-sequence token and a padding token."""
    path: Path
    weights_hash: str
    """Hash of weights and config: what log-probabilities of given token ids depend on."""
    uses_cache: bool
    """``use_cache`` of its config, which training switches off."""
    tokenizer_hash: str
    """Hash of tokenizer and chat template: what the token ids depend on."""


def load_start(folder: Path) -> StartCheckpoint:
    """The checkpoint a run starts from.

    Raises:
        TrainError: an encoder, or a tokenizer without chat template or end of sequence.
        ModelError: no checkpoint there, or one that cannot be loaded safely.
    """
    loaded = load_model(str(folder), device="cpu", dtype="float32")
    if not loaded.is_causal:
        raise TrainError(
            f"{folder} is an encoder: it can read, but not be trained with DPO",
            hint="give a causal language model with --model",
        )
    check_tokenizer(loaded.tokenizer, str(folder))
    if loaded.tokenizer.pad_token is None:
        loaded.tokenizer.pad_token = loaded.tokenizer.eos_token
    loaded.model.requires_grad_(True)
    return StartCheckpoint(
        loaded.model,
        loaded.tokenizer,
        folder,
        loaded.fingerprint,
        bool(getattr(loaded.model.config, "use_cache", True)),
        hash_tree(folder, _TOKENIZER_FILES),
    )


def mark_whole(checkpoint: Path) -> None:
    """Declare a save complete."""
    (checkpoint / WHOLE).write_text("")
    sync_folder(checkpoint)


def last_whole(folder: Path) -> Path | None:
    """The newest complete save below a folder; incomplete ones are removed."""
    found: list[tuple[int, Path]] = []
    for path in folder.glob("checkpoint-*"):
        if not (path / WHOLE).exists():
            shutil.rmtree(path)
            continue
        found.append((int(path.name.rpartition("-")[2]), path))
    return max(found)[1] if found else None


def readable(folder: Path, like: str = "config.json") -> None:
    """Give weight files the mode of their neighbours: safetensors lets nobody but the owner read its own."""
    for path in folder.glob("*.safetensors"):
        path.chmod((folder / like).stat().st_mode & 0o777)
