"""Loading checkpoints and tokenizers: safetensors only, no remote code, frozen and in eval mode.

A checkpoint is a folder or a hub id. Its fingerprint covers the bytes of its weights and configuration, so
that two checkpoints of the same name and size are never mistaken for one another.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import transformers

from engine.errors import ModelError
from engine.models.blocks import check_layer, text_tower
from engine.models.configuration import (
    is_causal_kind,
    packed_format,
    read_config,
    refuse_packed,
    unpacking,
)
from engine.models.devices import pick_device, pick_dtype
from engine.models.fetching import fetch_weights, resolve_folder
from engine.models.identity import Identity, Known, identify
from engine.models.memory import enough_memory, is_out_of_memory
from engine.models.outline import NeedsWholeModel, first_line, outline_of
from engine.models.shortened import files_needed, load_shortened, prove, read_index

log = logging.getLogger(__name__)

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A checkpoint ready to read with."""

    model: torch.nn.Module
    """In eval mode, no parameter requires a gradient."""
    tokenizer: Any
    """A fast tokenizer: it knows the character offsets of its tokens."""
    path: str
    """As given: a folder or a hub id."""
    fingerprint: str
    """Hash over the bytes of weights and configuration."""
    is_causal: bool
    """True for language models, False for encoders."""
    device: torch.device
    dtype: torch.dtype
    extent: str = "all of it"
    """How much of the checkpoint was loaded."""
    whole_because: str | None = None
    """Why it was loaded whole where a part would do."""
    unpacked: str | None = None
    """The format that its weights are packed in; None for weights as they are."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The files that the fingerprint covers → hash of each."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about how it was loaded."""
        whole = () if self.whole_because is None else (f"it was loaded whole, because {self.whole_because}",)
        packed = (
            () if self.unpacked is None else (f"its weights are packed ({self.unpacked}) and were unpacked",)
        )
        return (*whole, *packed)


def load_model(
    path: str,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> LoadedModel:
    """Load a checkpoint with its language-modelling head, and its tokenizer.

    Args:
        path: a folder, or a hub id such as ``org/name``.
        revision: commit, tag or branch on the hub.
        device: ``auto`` (first GPU, else MPS, else CPU), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        dtype: ``auto`` (float32 on a CPU, bfloat16 elsewhere), ``float32``, ``bfloat16`` or ``float16``.

    Raises:
        ModelError: no such checkpoint, no safetensors weights or not all of them, an adapter, quantised
            weights, remote code wanted, no fast tokenizer, no such device, not enough memory.
    """
    asked = _Asked(path, revision, resolve_folder(path, revision), *_device_and_dtype(device, dtype))
    config = read_config(asked.folder)
    refuse_packed(asked.folder, config)
    is_causal = is_causal_kind(config, asked.folder)
    loader = transformers.AutoModelForCausalLM if is_causal else transformers.AutoModel
    with _quiet_transformers(), enough_memory(path, asked.device, to_read=False):
        _check_configuration(asked.folder)
        tokenizer = load_tokenizer(asked.folder)
        model = _load_weights(loader, asked.folder, asked.dtype, {}).to(asked.device)
    return asked.loaded(model, tokenizer, is_causal, identify(asked.folder, None, {}))


def load_to_read(
    path: str,
    layer: int,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    known: Known | None = None,
) -> LoadedModel:
    """Load what a reading after a block needs of a checkpoint, and its tokenizer.

    That is the embeddings and the blocks up to ``layer`` and one more, of a model that also sees or hears
    those of its language model; from the hub only the files are fetched that hold them. Where it cannot be
    shown that nothing else is needed the checkpoint is fetched and loaded whole, without its head, and
    ``LoadedModel.whole_because`` says why.

    Args:
        path: a folder, or a hub id such as ``org/name``.
        layer: block after which is read.
        revision: commit, tag or branch on the hub.
        device: as for ``load_model``.
        dtype: as for ``load_model``.
        known: fingerprints that earlier readings gave, with the files that they cover.

    Raises:
        ModelError: as ``load_model``, or there is no such layer.
    """
    folder = resolve_folder(path, revision, with_weights=False)
    asked = _Asked(path, revision, folder, *_device_and_dtype(device, dtype))
    config = read_config(folder)
    is_causal = is_causal_kind(config, folder)
    options = unpacking(config)
    with _quiet_transformers(), enough_memory(path, asked.device):
        _check_configuration(folder)
        tokenizer = load_tokenizer(folder)
        try:
            model, needed, extent = _in_part(asked, layer, options, is_causal=is_causal)
            loaded = asked.loaded(model, tokenizer, is_causal, identify(folder, needed, known or {}))
            return replace(loaded, extent=extent, unpacked=packed_format(config))
        except NeedsWholeModel as reason:
            why = str(reason)
        log.info("%s is loaded whole: %s", path, why)
        fetch_weights(path, revision, folder, None)
        whole = _load_weights(transformers.AutoModel, folder, asked.dtype, options)
        model = text_tower(whole).to(asked.device)
    loaded = asked.loaded(model, tokenizer, is_causal, identify(folder, None, known or {}))
    return replace(loaded, whole_because=why, unpacked=packed_format(config))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be loaded, and where to."""

    path: str
    revision: str | None
    folder: Path
    device: torch.device
    dtype: torch.dtype

    def loaded(
        self, model: torch.nn.Module, tokenizer: Any, is_causal: bool, identity: Identity
    ) -> LoadedModel:
        """A model that is in place, frozen."""
        model.eval()
        model.requires_grad_(False)
        return LoadedModel(
            model, tokenizer, self.path, identity.fingerprint, is_causal, self.device, self.dtype,
            files=identity.files,
        )  # fmt: skip


def _in_part(
    asked: _Asked, layer: int, options: Mapping[str, Any], *, is_causal: bool
) -> tuple[torch.nn.Module, tuple[str, ...] | None, str]:
    """The model in place, the files with its weights, and how much of it was loaded.

    Raises:
        NeedsWholeModel: it cannot be loaded so.
        ModelError: there is no such layer, or files cannot be fetched.
    """
    outline = outline_of(asked.folder)
    check_layer(layer, outline.n_blocks)
    needed = files_needed(asked.folder, outline, layer)
    fetch_weights(asked.path, asked.revision, asked.folder, needed)
    model = load_shortened(asked.folder, outline, layer, asked.dtype, options).to(asked.device)
    prove(model, layer, is_causal=is_causal)
    return model, needed, outline.extent(layer)


def _device_and_dtype(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    chosen = pick_device(device)
    return chosen, pick_dtype(dtype, chosen)


def _load_weights(loader: Any, folder: Path, dtype: torch.dtype, options: Mapping[str, Any]) -> Any:
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(p.name for p in folder.glob("*.bin")) + sorted(p.name for p in folder.glob("*.pt*"))
        raise ModelError(
            f"{folder} has no safetensors weights" + (f", only {pickles[0]}" if pickles else ""),
            hint="pickled weights are not loaded, because they can run code; where you trust them, convert"
            " once: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(FOLDER)"
            if pickles or folder.parent.name != "snapshots"
            else "its download was broken off, or it has none: start again with a connection",
        )
    absent = sorted({file for file in (read_index(folder) or {}).values() if not (folder / file).exists()})
    if absent:
        raise ModelError(
            f"{folder} lacks {len(absent)} of its files with weights: {absent[0]}"
            + (" …" if len(absent) > 1 else ""),
            hint="fetch the checkpoint again; an interrupted download goes on when started again",
        )
    try:
        model, info = loader.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True,
            output_loading_info=True, ignore_mismatched_sizes=True, **options,
        )  # fmt: skip
    except Exception as error:  # whatever a configuration or a file of any kind and age leads to
        if is_out_of_memory(error):
            raise
        raise ModelError(*_why_not(folder, error)) from error
    for key, *shapes in sorted(info["mismatched_keys"], key=str)[:1]:
        raise ModelError(
            f"{folder}: {key} has shape {list(shapes[0])}, its configuration asks for {list(shapes[1])}",
            hint="config.json is another checkpoint's; fetch both again",
        )
    missing = sorted(key for key in info["missing_keys"] if "pooler" not in key)  # nothing reads a pooler
    if missing:
        raise ModelError(
            f"{folder} lacks {len(missing)} of the weights that its configuration asks for: {missing[0]}"
            + (" …" if len(missing) > 1 else ""),
            hint="they would be drawn at random; fetch the checkpoint again, or correct its config.json",
        )
    return model


def _check_configuration(folder: Path) -> None:
    """Raise ``ModelError`` for a configuration that transformers makes nothing of."""
    try:
        transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # values are checked by as many kinds of errors as there are configurations
        raise ModelError(*_why_not(folder, error)) from error


def _why_not(folder: Path, error: Exception) -> tuple[str, str]:
    """What is said of weights that transformers does not load, and what to do."""
    newer = f"use a kind that transformers {transformers.__version__} knows, or a newer transformers"
    if "trust_remote_code" in str(error):
        return f"{folder} needs code of its own to run", f"remote code is never run: {newer}"
    if "does not recognize this architecture" in str(error):
        return f"{folder} is of a kind that this transformers does not know", newer
    said = " ".join(str(error).split())[:300] or type(error).__name__
    return f"{folder} cannot be loaded: {said}", "fetch the checkpoint again"


def load_tokenizer(folder: Path) -> Any:
    """The fast tokenizer of a checkpoint folder.

    Raises:
        ModelError: none there, or only a slow one, which knows no offsets.
    """
    if not any((folder / name).exists() for name in _TOKENIZER_FILES):
        raise ModelError(  # transformers would make up an empty tokenizer
            f"{folder} has no tokenizer",
            hint="copy tokenizer.json and tokenizer_config.json beside the weights",
        )
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError, KeyError, ImportError, TypeError, AttributeError) as error:
        if "custom code" in str(error) or "trust_remote_code" in str(error):
            raise ModelError(
                f"the tokenizer of {folder} needs code of its own, which is never run",
                hint='if tokenizer.json is there, put "tokenizer_class": "PreTrainedTokenizerFast" into'
                " tokenizer_config.json and take auto_map out",
            ) from error
        raise ModelError(
            f"{folder} has no usable tokenizer: {first_line(error)}",
            hint="copy tokenizer.json and tokenizer_config.json beside the weights",
        ) from error
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer of {folder} knows no character offsets", hint="add its tokenizer.json"
        )
    return tokenizer


class _quiet_transformers:  # noqa: N801 - used as a with-statement
    """Keep transformers' progress bars and loading reports off the terminal."""

    def __enter__(self) -> None:
        logging_ = transformers.utils.logging
        self._level = logging_.get_verbosity()
        self._bars = logging_.is_progress_bar_enabled()
        logging_.set_verbosity_error()
        logging_.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        logging_ = transformers.utils.logging
        logging_.set_verbosity(self._level)
        if self._bars:
            logging_.enable_progress_bar()
