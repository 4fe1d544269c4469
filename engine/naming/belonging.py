"""Whether labels are of the SAE that a project reads with, as far as their file says. Pure.

A label of another SAE at the same number means nothing. Files name models and SAEs in ways of their own
(``gemma-2-2b``, ``20-gemmascope-res-16k``), so that only what plainly differs counts against them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WIDTH = re.compile(r"(?<![a-z0-9.])(\d+)(k|m)(?![a-z0-9])")
_LAYER = re.compile(r"^(\d+)(?![\d.a-z])|(?:layer|blocks|layers)[._](\d+)")
_SIZE = re.compile(r"\d[bm](?![a-z0-9])|gpt", re.IGNORECASE)
_CACHED = re.compile(r"models--[^/]+?--([^/]+)")
_NOT_RESIDUAL = {"mlp", "att", "attn", "attention", "transcoder", "transcoders", "tc", "clt"}
_INPUTS = re.compile("resid_pre|jb|ajt")
"""SAEs of what goes into a layer, which is what comes out of the one before."""
_TUNED = re.compile(r"it|instruct|chat|base|pt|hf|v\d+(\.\d+)*")
"""Words of a checkpoint's name that an SAE's labels do not depend on, or that are often left out."""
_EXACT = 0.04
"""Part that a rounded width may be off by: 16k is 16,384 or 16,000."""


@dataclass(frozen=True, slots=True)
class ReaderFacts:
    """What an index says of its reader."""

    model: str
    sae: str
    layer: int | None
    n_latents: int

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "ReaderFacts | None":
        """From the index; None where it does not say how many latents there are."""
        n, layer = facts.get("n_latents"), facts.get("layer")
        if not isinstance(n, int) or n < 1:
            return None
        model, sae = str(facts.get("model") or ""), str(facts.get("sae") or "")
        return cls(model, sae, layer if isinstance(layer, int) else None, n)


def why_not(reader: ReaderFacts, model: str, source: str) -> str:
    """What plainly differs between a file's own names and the reader; empty: nothing does.

    Args:
        reader: of the index.
        model: as the file calls it; empty: it does not say.
        source: likewise the SAE, or its layer.
    """
    mine = _plain_name(reader.model)
    if model and mine and not _same_model(mine, _plain_name(model)):
        return f"they are of the model {model}, the reader is {mine}"
    low = source.lower()
    if set(re.split(r"[^a-z]+", low)) & _NOT_RESIDUAL:
        return f"they are of {source}, which is not the residual stream"
    if ":" in source and ":" in reader.sae and not Path(reader.sae).exists() and source != reader.sae:
        return f"they are of the SAE {source}, the reader's is {reader.sae}"
    layer = _LAYER.search(low)
    if layer and reader.layer is not None:
        number = int(layer[1] or layer[2])
        is_input = number == reader.layer + 1 and _INPUTS.search(reader.sae + " " + low)
        if number != reader.layer and not is_input:
            return f"they are of layer {number}, the reader reads layer {reader.layer}"
    width = _WIDTH.search(low)
    if width and not _same_width(int(width[1]), width[2], reader.n_latents):
        return f"they are of an SAE with {width[0]} latents, the reader's has {reader.n_latents:,}"
    return ""


def _same_width(n: int, unit: str, n_latents: int) -> bool:
    low, high = (1000, 1024) if unit == "k" else (1000**2, 1024**2)
    rounding = 0.5 * low  # 65k is 65,536 too, 24k is 24,576
    return n * low * (1 - _EXACT) - rounding <= n_latents <= n * high * (1 + _EXACT) + rounding


def _plain_name(model: str) -> str:
    """The name of a checkpoint without its owner; empty for a folder whose name says nothing."""
    cached = _CACHED.search(model)
    base = cached[1] if cached else model.rstrip("/").rpartition("/")[2]
    is_folder = not cached and (model.startswith(("/", ".", "~")) or model.count("/") > 1)
    return "" if is_folder and not _SIZE.search(base) else base


def _same_model(a: str, b: str) -> bool:
    """Names that may mean one checkpoint, or one and what was tuned from it."""
    one, two = _letters(a), _letters(b)
    short, long = sorted((one, two), key=len)
    is_start = re.search(r"\d[bm]$", short) and long.startswith(short)  # tuned from it, as its name goes on
    return long.endswith(short) or bool(is_start)


def _letters(name: str) -> str:
    words = [word for word in re.split(r"[^a-z0-9.]+", name.lower()) if word and not _TUNED.fullmatch(word)]
    joined = re.sub(r"[^a-z0-9]", "", "".join(words))
    return "gpt2" if joined == "gpt2small" else joined
