"""What a training run would take, said before it starts: pairs, steps, hours and memory."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import ProsectError, TrainError
from engine.manifest import read_manifest
from engine.paths import ProjectPaths, is_path
from engine.pipeline.ledger import shaped_facts
from engine.pipeline.prepare import mean_lengths
from engine.pipeline.train import check_training, model_of
from engine.settings import Settings


@dataclass(frozen=True, slots=True)
class TrainingNeeds:
    """Of one run with given settings. Estimates are those of ``prosect doctor``."""

    model: str
    """Empty where nobody can say which checkpoint it would be."""
    n_pairs: int
    n_steps: int
    batch_pairs: int
    device: str
    hours: float | None
    """None where the cost cannot be estimated."""
    memory_gb: float | None
    """Weights, gradients, optimiser and activations of one step."""
    free_gb: float | None
    """Memory that is free on the device now."""
    note: str
    """Why there is no estimate; else empty."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON value."""
        return asdict(self)


def training_needs(paths: ProjectPaths, shaped_dir: Path, settings: Settings) -> TrainingNeeds:
    """What training on a shaped dataset would take; nothing is loaded, fetched or written.

    Raises:
        TrainError: there is no such dataset, no folder where the model is said to be, or the rules ask for
            what the checkpoint cannot do.
    """
    facts, manifest = shaped_facts(shaped_dir), read_manifest(shaped_dir)
    chosen = settings.training
    if is_path(chosen.model) and not Path(chosen.model).expanduser().is_dir():
        raise TrainError(f"there is no model folder {chosen.model}", hint="check the path")
    n_pairs = int(manifest.facts["counts"]["kept"]) if manifest is not None else 0
    n_steps = chosen.steps or -(-n_pairs // chosen.batch_pairs)
    known = TrainingNeeds("", n_pairs, n_steps, chosen.batch_pairs, chosen.device, None, None, None, "")
    try:
        known = replace(known, model=model_of(paths, facts["index"], chosen))
    except ProsectError as error:
        known = replace(known, note=error.message)
    check_training(paths, shaped_dir, known.model)
    if not known.model:
        return known
    try:
        return _estimated(known, paths, settings)
    except ProsectError as error:
        return replace(known, note=error.message)


def _estimated(known: TrainingNeeds, paths: ProjectPaths, settings: Settings) -> TrainingNeeds:
    from engine.reading.costs import Workload, training_cost
    from engine.reading.doctor import inspect_machine, shape_of

    chosen = settings.training
    if not Path(known.model).expanduser().is_dir():
        return replace(
            known, note=f"{known.model} is no folder here: its size is not known before it is fetched"
        )
    shape = shape_of(known.model)
    machine = inspect_machine(paths.root, replace(settings.reading, device=chosen.device))
    _, prompt, response = mean_lengths(paths, Path(known.model).expanduser()) or (0, 250.0, 300.0)
    work = Workload(known.n_steps * known.batch_pairs, prompt, response, shape.n_layers - 1, 1, 1.0)
    cost = training_cost(
        machine,
        shape,
        work,
        batch_pairs=chosen.micro_batch_pairs or chosen.batch_pairs,
        lora_rank=chosen.lora_rank,
    )
    is_cpu = machine.device_memory_gb is None
    free = machine.memory_gb if is_cpu else machine.device_memory_gb
    return replace(known, device=machine.device, hours=cost.hours, memory_gb=cost.memory_gb, free_gb=free)
