"""This machine, and the sizes of a checkpoint and an SAE by their configurations: what costs are made of."""

import json
import platform
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from engine.errors import ModelError
from engine.machine import cores
from engine.manifest import package_versions
from engine.models.chat import ChatLayout
from engine.models.configuration import is_causal_kind, read_config
from engine.models.devices import pick_device, pick_dtype
from engine.models.fetching import n_bytes_to_fetch, resolve_folder
from engine.models.loading import load_tokenizer
from engine.models.outline import NeedsWholeModel, outline_of
from engine.models.shortened import files_needed
from engine.reading.batches import plan_rows, row_length
from engine.reading.jobs import plan_work
from engine.reading.pair_file import PairFile
from engine.reading.residual_batches import MIN_ROW, n_computed
from engine.reading.stream import NEVER, shared_from
from engine.records import Span
from engine.settings import ReadingSettings

_PACKAGES = (
    "prosect", "torch", "transformers", "tokenizers", "sae-lens", "trl", "duckdb", "pyarrow", "numpy",
    "textual",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine can do."""

    python: str
    packages: dict[str, str]
    device: str
    device_name: str
    dtype: str
    """That the model would be loaded in."""
    n_cores: int
    memory_gb: float | None
    """Free main memory; None where the system does not say."""
    device_memory_gb: float | None
    """Free memory of the GPU; None for a CPU."""
    disk_gb: float
    """Free space where the project lies."""
    tflops: float
    """Of a matrix product in that dtype, measured."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What a forward costs, from a config.json."""

    width: int
    n_layers: int
    parameters_per_block: int
    """Weights of one block that a token passes (of a mixture of experts: the active ones)."""
    n_vocabulary: int


@dataclass(frozen=True, slots=True)
class ToLoad:
    """What a reading loads of a checkpoint, and what of it has to be fetched first."""

    n_weights: int
    """Numbers in the tensors that are loaded."""
    download_gb: float | None
    """None where the hub cannot be asked."""
    cache_gb: float
    """Free space where the hub's cache lies."""


def inspect_machine(folder: Path, settings: ReadingSettings) -> Machine:
    """Look at device, memory, disk and versions, and measure a matrix product for about a second.

    Raises:
        ModelError: the settings name a device that is not there.
    """
    device = pick_device(settings.device)
    dtype = pick_dtype(settings.dtype, device)
    is_cuda = device.type == "cuda"
    return Machine(
        python=platform.python_version(),
        packages=package_versions(*_PACKAGES),
        device=str(device),
        device_name=torch.cuda.get_device_name(device)
        if is_cuda
        else platform.processor() or platform.machine(),
        dtype=str(dtype).removeprefix("torch."),
        n_cores=cores(),
        memory_gb=_free_memory_gb(),
        device_memory_gb=torch.cuda.mem_get_info(device)[0] / 1e9 if is_cuda else None,
        disk_gb=shutil.disk_usage(_existing(folder)).free / 1e9,
        tflops=measure_tflops(device, dtype),
    )


def measure_tflops(
    device: torch.device, dtype: torch.dtype, *, size: int = 2048, seconds: float = 0.5
) -> float:
    """Rate of a square matrix product in 10¹² operations per second: the best of a few repeats."""
    a = torch.randn(size, size, device=device).to(dtype)
    b = torch.randn(size, size, device=device).to(dtype)
    best, left = float("inf"), seconds
    for repeat in range(50):
        started = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken = time.perf_counter() - started
        if repeat:  # the first pays for set-up
            best = min(best, taken)
        left -= taken
        if left <= 0 and repeat >= 2:
            break
    return 2 * size**3 / best / 1e12


def shape_of(model: str, revision: str | None = None) -> ModelShape:
    """Sizes of a checkpoint, from its configuration.

    Raises:
        ModelError: no such checkpoint, or a configuration without the usual sizes.
    """
    raw = read_config(resolve_folder(model, revision, with_weights=False))
    config = {**raw, **raw.get("text_config", {})}
    width = config.get("hidden_size") or config.get("n_embd")
    n_layers = config.get("num_hidden_layers") or config.get("n_layer")
    if not width or not n_layers:
        raise ModelError(
            f"the configuration of {model} names no width and layers", hint="its cost is unknown"
        )
    heads = config.get("num_attention_heads") or config.get("n_head") or 1
    kv_heads = config.get("num_key_value_heads") or heads
    head_dim = config.get("head_dim") or width // heads
    inner = config.get("intermediate_size") or config.get("n_inner") or 4 * width
    is_gated = (
        config.get("hidden_act") in ("silu", "gelu_pytorch_tanh", "swiglu", "geglu")
        or "rms_norm_eps" in config
    )
    n_experts = config.get("num_experts_per_tok") or 1
    if n_experts > 1:
        inner = (config.get("moe_intermediate_size") or inner) * n_experts
    attention = width * head_dim * 2 * (heads + kv_heads)
    return ModelShape(
        int(width),
        int(n_layers),
        int(attention + (3 if is_gated else 2) * width * inner),
        int(config.get("vocab_size") or 0),
    )


def what_to_load(model: str, revision: str | None, layer: int) -> ToLoad | None:
    """What a reading after a layer loads of a checkpoint; None where its outline does not tell.

    Raises:
        ModelError: no such checkpoint, or a damaged index.
    """
    folder = resolve_folder(model, revision, with_weights=False)
    try:
        outline = outline_of(folder)
    except NeedsWholeModel:
        return None
    layer = min(layer, outline.n_blocks - 1)
    n_bytes = n_bytes_to_fetch(model, revision, folder, files_needed(folder, outline, layer))
    free = shutil.disk_usage(_existing(folder)).free
    return ToLoad(outline.n_weights(layer), None if n_bytes is None else n_bytes / 1e9, free / 1e9)


class TextLengths(NamedTuple):
    """Mean tokens of a project's pairs, laid out as a reader lays them out."""

    prompt: float
    """Own tokens of a prompt."""
    response: float
    """Own tokens of a response."""
    model: float
    """Tokens through the model per pair: marks of the template, and prompts as often as they are computed."""


def text_lengths(
    pairs: PairFile, model: str, revision: str | None, max_tokens: int, n_blocks: int, *, on_gpu: bool, n: int
) -> TextLengths | None:
    """Lengths of the first pairs, a random sample; None where there are none.

    Args:
        pairs: the project's.
        model: folder or hub id of the checkpoint, for its tokenizer and template.
        revision: of the hub.
        max_tokens: texts are cut to it.
        n_blocks: that the model computes.
        on_gpu: prompts and responses are rows of a batch; else a prompt is computed once from a length on.
        n: pairs to tokenise.

    Raises:
        ModelError: no such checkpoint, or no tokenizer.
    """
    n = min(n, len(pairs))
    if not n:
        return None
    folder = resolve_folder(model, revision, with_weights=False)
    config = read_config(folder)
    layout = ChatLayout.of(load_tokenizer(folder), is_causal=is_causal_kind(config, folder))
    positions = (config | config.get("text_config", {})).get("max_position_embeddings") or max_tokens
    work = plan_work(pairs.texts(0, n), layout, min(max_tokens, int(positions)))
    own = {want.key: len(want.own) for job in work.jobs for want in job.wants}
    spans = {span: sum(own[keys[span]] for keys in work.keys) / n for span in Span}
    if on_gpu and layout.is_causal:
        rows = plan_rows(work.jobs, max(max_tokens, MIN_ROW))
        through = sum(row_length([work.jobs[i] for i in row]) for row in rows)
    else:
        least = shared_from(n_blocks * shape_of(model, revision).parameters_per_block)
        through = n_computed(work.jobs, least if layout.is_causal else NEVER)
    return TextLengths(spans[Span.PROMPT], (spans[Span.CHOSEN] + spans[Span.REJECTED]) / 2, through / n)


def sae_shape(folder: Path) -> tuple[int, float] | None:
    """Latents and expected L0 of an SAE folder in sae-lens format; None if it does not say."""
    try:
        config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
        metadata = config.get("metadata") or {}
        return int(config["d_sae"]), float(config.get("k") or metadata.get("l0") or 64)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _free_memory_gb() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = {line.partition(":")[0]: line.partition(":")[2] for line in lines}
        return int(found["MemAvailable"].split()[0]) * 1024 / 1e9
    except (OSError, KeyError, ValueError, IndexError):
        return None


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
