"""Loading checkpoints and tokenizers: safetensors only, no remote code, frozen and in eval mode.

A checkpoint is a folder or a hub id. Its fingerprint covers the bytes of its weights and configuration, so
that two checkpoints of the same name and size are never mistaken for one another.
"""

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from engine.errors import ModelError
from engine.manifest import hash_file, hash_json
from engine.models.blocks import text_tower
from engine.models.names import not_fetched, unknown_model
from engine.paths import is_path

log = logging.getLogger(__name__)

MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
"""What is fetched from the hub: never pickles, never code …"""
_NOT_FETCHED = ("original/*", "consolidated*", "onnx/*")
"""… and not the same weights once more in another format."""
_WEIGHTS = ("*.safetensors", "config.json", "model.safetensors.index.json")
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


def load_model(
    path: str,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    with_head: bool = True,
) -> LoadedModel:
    """Load a checkpoint and its tokenizer.

    Args:
        path: a folder, or a hub id such as ``org/name``.
        revision: commit, tag or branch on the hub.
        device: ``auto`` (first GPU, else MPS, else CPU), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        dtype: ``auto`` (float32 on a CPU, bfloat16 elsewhere), ``float32``, ``bfloat16`` or ``float16``.
        with_head: load the language-modelling head, too; reading needs only the blocks, of a model that also
            sees or hears only those of its language model.

    Raises:
        ModelError: no such checkpoint, no safetensors weights or not all of them, an adapter, quantised
            weights, remote code wanted, no fast tokenizer, no such device, not enough memory.
    """
    folder = resolve_folder(path, revision)
    config = read_config(folder)
    is_causal = is_causal_kind(config, folder)
    chosen_device = pick_device(device)
    chosen_dtype = pick_dtype(dtype, chosen_device)
    loader = transformers.AutoModelForCausalLM if is_causal and with_head else transformers.AutoModel
    with _quiet_transformers():
        model = _load_weights(loader, folder, chosen_dtype)
        if not with_head:
            model = text_tower(model)
        tokenizer = load_tokenizer(folder)
    try:
        model = model.to(chosen_device)
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"{path} does not fit on {chosen_device}", hint="read on another device, or with a smaller model"
        ) from error
    model.eval()
    model.requires_grad_(False)
    return LoadedModel(model, tokenizer, path, fingerprint_of(folder), is_causal, chosen_device, chosen_dtype)


def resolve_folder(path: str, revision: str | None = None) -> Path:
    """The folder that holds a checkpoint: itself, or the hub's snapshot, fetched if it has to be.

    Raises:
        ModelError: neither a folder nor a repository that can be reached.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if is_path(path) or folder.exists():
        raise ModelError(f"there is no model folder {path}", hint=unknown_model(path) or "check the path")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                path, revision=revision, allow_patterns=list(MODEL_FILES), ignore_patterns=list(_NOT_FETCHED)
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(*not_fetched(path, revision, error)) from error


def read_config(folder: Path) -> dict[str, Any]:
    """The checkpoint's config.json.

    Raises:
        ModelError: missing, damaged, or asking for code of its own.
    """
    file = folder / "config.json"
    if (folder / "adapter_config.json").exists():  # transformers would go and fetch what it belongs to
        raise ModelError(*_adapter(folder))
    if not file.exists():
        raise ModelError(f"{folder} has no config.json", hint="give the folder of a transformers checkpoint")
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{file} is not JSON", hint="fetch the checkpoint again") from error
    if "model_type" not in config:
        raise ModelError(f"{file} names no model_type", hint="give the folder of a transformers checkpoint")
    if config.get("quantization_config"):
        raise ModelError(*_quantised(folder, config["quantization_config"]))
    return config


def _adapter(folder: Path) -> tuple[str, str]:
    """What is said of an adapter's folder, and what to do."""
    try:
        base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        name = str(base["base_model_name_or_path"] or "its base model")
    except (OSError, ValueError, KeyError, TypeError):
        name = "its base model"
    return (
        f"{folder} holds a LoRA adapter or its like, for {name}, not a model",
        "merge it and give the merged folder: AutoPeftModelForCausalLM.from_pretrained(FOLDER)"
        ".merge_and_unload().save_pretrained(MERGED), with the tokenizer beside it",
    )


def _quantised(folder: Path, config: Any) -> tuple[str, str]:
    """What is said of a checkpoint with quantised weights, and what to do."""
    raw = config if isinstance(config, dict) else {}
    method = raw.get("quant_method") or "some method"
    bits = raw.get("bits") or next((n for n in (4, 8) if raw.get(f"load_in_{n}bit")), None)
    return (
        f"the weights of {folder} are quantised ({method}{f', {bits} bits' if bits else ''})",
        "readings need the weights that training starts from: give the checkpoint that it was made from, or"
        " load it once with its own library, dequantise and save it",
    )


def is_causal_kind(config: dict[str, Any], folder: Path) -> bool:
    """True for a language model, False for an encoder, by its configuration.

    Raises:
        ModelError: it is both in one.
    """
    names = [str(name) for name in config.get("architectures") or []]
    if any(name.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")) for name in names):
        return True
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    family = str(config["model_type"])
    if config.get("is_encoder_decoder"):
        raise ModelError(
            f"{folder} is an encoder-decoder model ({family})", hint="use a causal model or an encoder"
        )
    is_known_encoder = family in {"bert", "roberta", "distilbert", "mpnet", "modernbert", "xlm-roberta"}
    return not is_known_encoder and family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def _load_weights(loader: Any, folder: Path, dtype: torch.dtype) -> Any:
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(p.name for p in folder.glob("*.bin")) + sorted(p.name for p in folder.glob("*.pt*"))
        raise ModelError(
            f"{folder} has no safetensors weights" + (f", only {pickles[0]}" if pickles else ""),
            hint="pickled weights are not loaded, because they can run code; where you trust them, convert"
            " once: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(FOLDER)"
            if pickles or folder.parent.name != "snapshots"
            else "its download was broken off, or it has none: start again with a connection",
        )
    try:
        model, info = loader.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True,
            output_loading_info=True, ignore_mismatched_sizes=True,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
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


def _why_not(folder: Path, error: Exception) -> tuple[str, str]:
    """What is said of weights that transformers does not load, and what to do."""
    newer = f"use a kind that transformers {transformers.__version__} knows, or a newer transformers"
    if "trust_remote_code" in str(error):
        return f"{folder} needs code of its own to run", f"remote code is never run: {newer}"
    if "does not recognize this architecture" in str(error):
        return f"{folder} is of a kind that this transformers does not know", newer
    return f"{folder} cannot be loaded: {_first_line(error)}", "fetch the checkpoint again"


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
            f"{folder} has no usable tokenizer: {_first_line(error)}",
            hint="copy tokenizer.json and tokenizer_config.json beside the weights",
        ) from error
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer of {folder} knows no character offsets", hint="add its tokenizer.json"
        )
    return tokenizer


def fingerprint_of(folder: Path) -> str:
    """Hash over the bytes of a checkpoint's weights and configuration, whatever the folder is called."""
    files = sorted({p for pattern in _WEIGHTS for p in folder.glob(pattern)})
    with ThreadPoolExecutor(max_workers=4) as pool:  # BLAKE2b lets go of the interpreter lock
        hashes = list(pool.map(hash_file, files))
    return hash_json([[p.name, h] for p, h in zip(files, hashes, strict=True)])


def pick_device(name: str) -> torch.device:
    """The device a name stands for; of several GPUs, each process that torchrun started gets its own.

    Raises:
        ModelError: this machine has none such.
    """
    if name == "auto":
        if torch.cuda.is_available():
            local = os.environ.get("LOCAL_RANK", "0")
            number = int(local) if local.isdigit() else 0
            return torch.device(f"cuda:{number % max(torch.cuda.device_count(), 1)}")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(
            f"there is no device called {name}", hint="use auto, cpu, cuda, cuda:1, mps"
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"this machine has no {name}", hint='use device = "auto" or "cpu"')
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("this machine has no mps device", hint='use device = "auto" or "cpu"')
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype a name stands for; auto is float32 on a CPU and bfloat16 elsewhere."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise ModelError(f"there is no dtype called {name}", hint="use auto, " + ", ".join(known))
    return known[name]


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]


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
