"""What a checkpoint's config.json says: what kind it is, and what cannot be read at all."""

import json
from pathlib import Path
from typing import Any

import transformers

from engine.errors import ModelError

_UNPACKED = ("mxfp4",)
"""Formats of quantised weights that are unpacked at loading: what they stand for is exact in bfloat16."""


def read_config(folder: Path) -> dict[str, Any]:
    """The checkpoint's config.json.

    Raises:
        ModelError: missing, damaged, or its weights are quantised in a format that is not unpacked.
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
    if config.get("quantization_config") and packed_format(config) is None:
        raise ModelError(*_quantised(folder, config["quantization_config"]))
    return config


def width_in(config: dict[str, Any]) -> int | None:
    """Width of the residual stream of the language model; None where it is not said, or by another name."""
    towers = [key for key, value in config.items() if key.endswith("_config") and isinstance(value, dict)]
    is_composite = any(key != "quantization_config" for key in towers)
    said = config.get("text_config", {}) if is_composite else config  # there, a width beside it is no text's
    width = said.get("hidden_size") or said.get("n_embd")
    return width if isinstance(width, int) else None


def packed_format(config: dict[str, Any]) -> str | None:
    """The format of packed weights that loading unpacks; None for others, and for weights as they are."""
    raw = config.get("quantization_config")
    method = raw.get("quant_method") if isinstance(raw, dict) else None
    return method if method in _UNPACKED else None


def unpacking(config: dict[str, Any]) -> dict[str, Any]:
    """What ``from_pretrained`` is told so that it unpacks a checkpoint's weights."""
    if packed_format(config) is None:
        return {}
    return {"quantization_config": transformers.Mxfp4Config(dequantize=True)}


def refuse_packed(folder: Path, config: dict[str, Any]) -> None:
    """Raise ``ModelError`` for packed weights, which are read, but not trained or sampled from."""
    packed = packed_format(config)
    if packed is not None:
        raise ModelError(
            f"the weights of {folder} are packed ({packed}): they are read, but not trained",
            hint="unpack them once, with the tokenizer beside them, and name the new folder: "
            "AutoModelForCausalLM.from_pretrained(FOLDER, dtype='bfloat16',"
            " quantization_config=Mxfp4Config(dequantize=True)).save_pretrained(NEW)",
        )


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
