"""What an audit and a training run would cost, before anyone starts: hours, memory, disk.

Hours come from operations counted from configurations and the rate of a matrix product measured here and
now; nothing is loaded. The shares of that rate, and the constants below, were measured on two CPU cores
(tests/benchmarks); those of a GPU are cautious guesses from published figures. What estimates are worth is in
engine/docs/benchmarks.md.
"""

from dataclasses import asdict, dataclass
from typing import Any

from engine.reading.doctor import Machine, ModelShape, ToLoad

READING_SHARE = {"cpu": 0.7, "cuda": 0.5, "mps": 0.4}
"""Share of the matrix product's rate that reading reaches, tokenising and writing included …"""
SEQUENCE_S = {"cpu": 4e-3, "cuda": 2e-4, "mps": 1e-3}
"""… and what each sequence costs beside: calls, pooling, rows. All there is to see of a tiny model."""
_PROCESS_GB = 1.0
"""Of a training process before it holds a model: frameworks, and the pairs. On a GPU it lies elsewhere."""
TRAINING_SHARE = {"cpu": 0.25, "cuda": 0.35, "mps": 0.2}
_LATENTS_FACTOR, _LATENTS_POWER = 7.9, 0.564
"""Different latents that fire on a span of T tokens with L0 each: a factor times (L0 · T) to a power, as the
words of a text grow with its length (20 · 132: 674 on the sample; 20 · 62: 440 on HH; 64 · 300: 2,000)."""
_BYTES_PER_READING = 14.0
"""Of a shard: one latent of one span with all that is kept of it, compressed."""
_ROWS_PER_SPAN = 1.45
"""Latents that fire on either response, per latent that fires on one."""
_BYTES_PER_INDEX_ROW, _BYTES_PER_PROMPT_ROW = 95.0, 28.0
"""Index and arrays in both orders: one pair and latent, both sides; one latent of a prompt."""
_MEMORY_PER_INDEX_ROW = 120.0
"""Arrow tables on their way into the index, and the arrays' pages."""
_INDEX_ROWS_PER_S = 4e5
"""Arrays, concepts, statistics and the index together, on two cores."""
_INDEX_S = 2.0
"""What a small index costs; compiling the kernels takes 15 s more, once on a machine."""
_LEVEL_ROWS_PER_S = 5e6
"""Estimates without one source, model or annotator: each is left out once (17.7 M rows, 18 levels: 70 s)."""
_PAIRS_PER_S = 300.0
"""Texts, labels and contexts of an index."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is to be read."""

    n_pairs: int
    prompt_tokens: float
    """Mean tokens of a prompt."""
    response_tokens: float
    """Mean tokens of a response."""
    layer: int
    """Block after which is read."""
    n_latents: int
    l0: float
    """Latents that fire per token."""
    n_levels: int = 0
    """Sources, models and annotators that are left out once each."""
    model_tokens: float | None = None
    """Tokens through the model per pair, counted; None: from the lengths of the texts alone."""


@dataclass(frozen=True, slots=True)
class ReadingCost:
    """What reading the pairs costs."""

    n_pairs: int
    n_tokens: int
    """Tokens through the model; on a CPU a prompt counts once per pair."""
    flops_per_token: float
    hours: float
    model_gb: float
    """Memory of what is loaded: embeddings, blocks up to the layer and one more for the SAE check."""
    download_gb: float | None
    """Weights that have to be fetched from the hub first; None where it cannot be asked."""
    sae_gb: float
    shards_gb: float
    residuals_gb: float


@dataclass(frozen=True, slots=True)
class IndexCost:
    """What concepts, statistics and the index cost after reading."""

    n_rows: int
    """One per pair and latent that fires on either side."""
    hours: float
    memory_gb: float
    disk_gb: float
    """Index and arrays."""


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """What one epoch of DPO on all pairs costs, full fine-tuning unless ``lora_rank``."""

    n_tokens: int
    hours: float
    """Reference log-probabilities included."""
    memory_gb: float
    """Weights, gradients, optimiser and activations of one step, on the device."""
    disk_gb: float
    """One checkpoint to go on from, and the tuned model."""


@dataclass(frozen=True, slots=True)
class Costs:
    """All stages, and what would go wrong."""

    reading: ReadingCost
    index: IndexCost
    training: TrainingCost
    problems: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain dict for screens."""
        return asdict(self)


def estimate_costs(
    machine: Machine,
    shape: ModelShape,
    work: Workload,
    *,
    to_load: ToLoad | None = None,
    store_residuals: bool = True,
    batch_pairs: int = 8,
    lora_rank: int = 0,
) -> Costs:
    """Hours, memory and disk of every stage.

    Args:
        machine: as ``inspect_machine`` found it.
        shape: of the checkpoint.
        work: what is to be read, and trained on.
        to_load: what reading loads of the checkpoint; None: by the shape, and nothing to fetch.
        store_residuals: whether residual summaries are kept.
        batch_pairs: pairs per forward pass of the training.
        lora_rank: 0 for full fine-tuning.
    """
    reading = reading_cost(machine, shape, work, to_load, store_residuals=store_residuals)
    index = index_cost(work)
    training = training_cost(machine, shape, work, batch_pairs=batch_pairs, lora_rank=lora_rank)
    return Costs(reading, index, training, _problems(machine, reading, index, training, to_load))


def reading_cost(
    machine: Machine,
    shape: ModelShape,
    work: Workload,
    to_load: ToLoad | None = None,
    *,
    store_residuals: bool = True,
) -> ReadingCost:
    """Reading: a forward to the layer and one matrix product with the SAE."""
    kind = machine.device.partition(":")[0]
    n_prompts = 1 if kind == "cpu" else 2
    length = work.prompt_tokens + work.response_tokens
    by_lengths = n_prompts * work.prompt_tokens + 2 * work.response_tokens
    n_tokens = work.n_pairs * (work.model_tokens if work.model_tokens is not None else by_lengths)
    own = work.n_pairs * (work.prompt_tokens + 2 * work.response_tokens)
    blocks = work.layer + 1
    per_token = blocks * (2 * shape.parameters_per_block + _attention(shape, length))
    flops = n_tokens * per_token + own * 2 * shape.width * work.n_latents
    seconds = flops / (machine.tflops * 1e12 * READING_SHARE[kind])
    seconds += work.n_pairs * (n_prompts + 2 if n_prompts == 1 else 2) * SEQUENCE_S[kind]
    bytes_each = 4 if machine.dtype == "float32" else 2
    loaded = min(blocks + 1, shape.n_layers) * shape.parameters_per_block + shape.width * shape.n_vocabulary
    if to_load is not None:
        loaded = to_load.n_weights
    return ReadingCost(
        n_pairs=work.n_pairs,
        n_tokens=round(n_tokens),
        flops_per_token=flops / max(n_tokens, 1),
        hours=seconds / 3600,
        model_gb=loaded * bytes_each / 1e9,
        download_gb=to_load.download_gb if to_load is not None else 0.0,
        sae_gb=shape.width * work.n_latents * 2 * 4 / 1e9,
        shards_gb=work.n_pairs * _readings(work) * _BYTES_PER_READING / 1e9,
        residuals_gb=work.n_pairs * 6 * shape.width * 2 / 1e9 if store_residuals else 0.0,
    )


def index_cost(work: Workload) -> IndexCost:
    """Arrays, concepts, statistics and the index."""
    n_rows = work.n_pairs * _ROWS_PER_SPAN * _latents(work, work.response_tokens)
    n_prompt = work.n_pairs * _latents(work, work.prompt_tokens)
    seconds = _INDEX_S + n_rows / _INDEX_ROWS_PER_S + work.n_pairs / _PAIRS_PER_S
    seconds += work.n_levels * n_rows / _LEVEL_ROWS_PER_S
    return IndexCost(
        n_rows=round(n_rows),
        hours=seconds / 3600,
        memory_gb=0.8 + n_rows * _MEMORY_PER_INDEX_ROW / 1e9,
        disk_gb=(n_rows * _BYTES_PER_INDEX_ROW + n_prompt * _BYTES_PER_PROMPT_ROW) / 1e9,
    )


def training_cost(
    machine: Machine, shape: ModelShape, work: Workload, *, batch_pairs: int, lora_rank: int
) -> TrainingCost:
    """One epoch of DPO: forward, backward, and one forward for the reference.

    Operations per weight and token: 2 forward, 4 backward (2 where only an adapter learns), 2 for the
    reference, and 2 more on a GPU, where activations are computed again. Weights are held in float32.
    """
    kind = machine.device.partition(":")[0]
    length = work.prompt_tokens + work.response_tokens
    n_tokens = work.n_pairs * 2 * length
    blocks = shape.n_layers * shape.parameters_per_block
    vocabulary = shape.width * shape.n_vocabulary
    per_weight = (4 if lora_rank else 6) + 2 + (2 if kind == "cuda" else 0)
    per_token = per_weight * (blocks + vocabulary + shape.n_layers * _attention(shape, length) / 2)
    bytes_per_weight = 4 if lora_rank else 16  # weights; with gradients and two moments
    held = 2 if kind == "cuda" else 34 * 4  # bytes per token and width: block inputs only, or all activations
    activations = 2 * batch_pairs * length * (shape.n_layers * shape.width * held + 4 * shape.n_vocabulary)
    return TrainingCost(
        n_tokens=round(n_tokens),
        hours=n_tokens * per_token / (machine.tflops * 1e12 * TRAINING_SHARE[kind]) / 3600,
        memory_gb=((blocks + vocabulary) * bytes_per_weight + activations) / 1e9
        + (0.0 if kind == "cuda" else _PROCESS_GB),
        disk_gb=(blocks + vocabulary) * (4 if lora_rank else 16) / 1e9,
    )


def _attention(shape: ModelShape, length: float) -> float:
    """Operations per token and block for scores and values, half of them masked."""
    return 2 * 2 * shape.width * length / 2


def _latents(work: Workload, n_tokens: float) -> float:
    """Different latents that fire on a span: at most all, and each token brings at most L0 new ones."""
    fired = work.l0 * n_tokens
    return float(min(_LATENTS_FACTOR * fired**_LATENTS_POWER, fired, work.n_latents))


def _readings(work: Workload) -> float:
    """Readings that a shard holds of a pair."""
    return _latents(work, work.prompt_tokens) + 2 * _latents(work, work.response_tokens)


def _problems(
    machine: Machine,
    reading: ReadingCost,
    index: IndexCost,
    training: TrainingCost,
    to_load: ToLoad | None,
) -> tuple[str, ...]:
    found = []
    if to_load is not None and (to_load.download_gb or 0.0) > to_load.cache_gb:
        found.append(
            f"{to_load.download_gb:.1f} GB of weights have to be fetched, {to_load.cache_gb:.1f} GB are free"
            " where the hub's cache lies: set HF_HOME to a folder on another disk"
        )
    needed = 1.2 * (reading.model_gb + reading.sae_gb)
    free = machine.device_memory_gb if machine.device_memory_gb is not None else machine.memory_gb
    if free is not None and needed > free:
        found.append(f"model and SAE need about {needed:.1f} GB, {free:.1f} GB are free on {machine.device}")
    is_gpu = machine.device_memory_gb is not None
    if is_gpu and machine.memory_gb is not None and reading.model_gb > machine.memory_gb:
        found.append(
            f"on its way to {machine.device} the model takes about {reading.model_gb:.1f} GB of main"
            f" memory, {machine.memory_gb:.1f} GB are free"
        )
    disk = reading.shards_gb + reading.residuals_gb + index.disk_gb
    if disk > machine.disk_gb:
        found.append(f"readings and index need about {disk:.1f} GB, {machine.disk_gb:.1f} GB are free")
    if machine.memory_gb is not None and index.memory_gb > machine.memory_gb:
        found.append(
            f"building the index takes about {index.memory_gb:.1f} GB, {machine.memory_gb:.1f} GB are free"
        )
    if free is not None and training.memory_gb > free:
        found.append(
            f"training takes about {training.memory_gb:.1f} GB, {free:.1f} GB are free on {machine.device}:"
            " lower training.micro_batch_pairs, set training.lora_rank, or use more GPUs"
        )
    return tuple(found)
