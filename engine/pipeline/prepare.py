"""Single steps before an audit: ingest only, read only, train an SAE, look what a reading would cost."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import StoreError
from engine.manifest import hash_file, hash_json, read_manifest
from engine.paths import ProjectPaths
from engine.pipeline.readers import open_noted
from engine.progress import Progress
from engine.records import Label
from engine.settings import Settings

if TYPE_CHECKING:
    from engine.pipeline.audit import ReaderChoice
    from engine.reading.costs import Costs, Workload
    from engine.reading.doctor import Machine, ModelShape
    from engine.reading.run import ReadingReport
    from engine.reading.spec import ReaderSpec


def require_pairs(paths: ProjectPaths) -> None:
    """Raises ``StoreError`` where nothing has been ingested."""
    if not paths.root.is_dir():
        raise StoreError(
            f"there is no project at {paths.root}", hint="`prosect ingest FILE -o DIR` makes one"
        )
    if read_manifest(paths.pairs_dir) is None:
        raise StoreError(
            f"{paths.root} has no pairs", hint="`prosect ingest FILE -o DIR` or `prosect audit FILE …`"
        )


def read_only(
    paths: ProjectPaths, choice: "ReaderChoice", settings: Settings, progress: Progress
) -> "ReadingReport":
    """Read a project's pairs without building an index: one of several processes, or before a long night.

    Shards are shared by ``RANK`` and ``WORLD_SIZE`` as torchrun sets them.
    """
    from engine.reading.names import check_names
    from engine.reading.run import read_pairs
    from engine.reading.spec import load_reader_spec

    require_pairs(paths)
    spec = load_reader_spec(choice.text, layer=choice.layer, sae=choice.sae)
    check_names(spec)
    reader = open_noted(paths, spec, settings.reading, progress)
    reader_dir = paths.reader_dir(reader.reader_hash)
    return read_pairs(paths.pairs, reader, reader_dir, settings.reading, progress)


def train_sae(
    paths: ProjectPaths, model: str, layer: int, settings: Settings, progress: Progress
) -> dict[str, Any]:
    """Train an SAE on the pairs' own activations into sae/<hash>, which is a reader then.

    One that is there is returned as it is.

    Returns:
        the report: folder, size, tokens, seconds and the check on pairs it has not seen.
    """
    require_pairs(paths)
    asked = [hash_file(paths.pairs), model, layer, asdict(settings.sae), settings.reading.max_tokens]
    folder = paths.sae_dir / hash_json(asked)[:16]
    report = folder / "report.json"  # written last
    from engine.reading.spec import ReaderSpec, save_reader

    if not report.exists():
        from engine.reading.names import check_names
        from engine.reading.sae_training import train_sae

        spec = ReaderSpec(model=model, layer=layer)
        check_names(spec)
        train_sae(paths.pairs, spec, folder, settings.sae, settings.reading, progress)
    save_reader(folder, model, layer)
    kept: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return kept


@dataclass(frozen=True, slots=True)
class Examined:
    """What this machine is, and what an audit and a training would cost on it."""

    machine: "Machine"
    cost: "Costs | None"
    """None where no reader was named."""
    assumed: dict[str, Any]
    """What was taken for granted: tokens per text, latents per token."""


def examine(
    paths: ProjectPaths | None, choice: "ReaderChoice | None", n_pairs: int | None, settings: Settings
) -> Examined:
    """Look at the machine and, for a reader, estimate hours, memory and disk of reading, index and training.

    Args:
        paths: a project whose pairs are counted and measured; None: assumed lengths.
        choice: the reader; None: only the machine.
        n_pairs: pairs to plan for; None: those of the project.
        settings: device and dtype.

    Raises:
        StoreError: the project has no pairs.
        ModelError: the reader or the device is not there.
    """
    from engine.reading.costs import estimate_costs
    from engine.reading.doctor import inspect_machine, shape_of, what_to_load
    from engine.reading.names import check_names
    from engine.reading.spec import load_reader_spec

    if paths is not None:
        require_pairs(paths)
    spec = None
    if choice is not None:
        spec = load_reader_spec(choice.text, layer=choice.layer, sae=choice.sae)
        check_names(spec)
    machine = inspect_machine(paths.root if paths is not None else Path.cwd(), settings.reading)
    if spec is None:
        return Examined(machine, None, {})
    shape = shape_of(spec.model, spec.revision)
    work = _workload(paths, spec, shape, n_pairs, settings, on_gpu=machine.device_memory_gb is not None)
    cost = estimate_costs(
        machine,
        shape,
        work,
        to_load=what_to_load(spec.model, spec.revision, work.layer),
        store_residuals=settings.reading.store_residuals,
        batch_pairs=settings.training.micro_batch_pairs or settings.training.batch_pairs,
        lora_rank=settings.training.lora_rank,
    )
    assumed = {
        "pairs": work.n_pairs,
        "prompt tokens": round(work.prompt_tokens, 1),
        "response tokens": round(work.response_tokens, 1),
        "latents": work.n_latents,
        "latents per token": work.l0,
        "sources, models, annotators": work.n_levels,
        "lengths are": "assumed"
        if work.model_tokens is None
        else f"those of this project's first {_SAMPLED} pairs",
    }
    return Examined(machine, cost, assumed)


def _workload(
    paths: ProjectPaths | None,
    spec: "ReaderSpec",
    shape: "ModelShape",
    n_pairs: int | None,
    settings: Settings,
    *,
    on_gpu: bool,
) -> "Workload":
    """What is to be read: a project's pairs as its first ones are, or what is assumed without one."""
    from engine.reading.costs import Workload
    from engine.reading.doctor import sae_shape, text_lengths
    from engine.reading.pair_file import PairFile

    n_latents, l0 = sae_shape(Path(spec.sae or "")) or (16_384, 64.0)
    layer = spec.layer if spec.layer is not None else shape.n_layers // 2
    limit = spec.max_tokens or settings.reading.max_tokens
    pairs = PairFile(paths.pairs) if paths is not None else None
    lengths = None
    if pairs is not None:
        lengths = text_lengths(pairs, spec.model, spec.revision, limit, layer + 1, on_gpu=on_gpu, n=_SAMPLED)
    prompt, response, through = lengths or (250.0, 300.0, None)
    return Workload(
        n_pairs=n_pairs or (len(pairs) if pairs is not None else 0) or 10_000,
        prompt_tokens=prompt,
        response_tokens=response,
        layer=layer,
        n_latents=n_latents,
        l0=spec.expected_l0 or l0,
        n_levels=count_levels(paths, settings.stats.min_discordant) if paths is not None else 0,
        model_tokens=through,
    )


def count_levels(paths: ProjectPaths, at_least: int) -> int:
    """Sources, models and annotators that an audit leaves out once each.

    Of every facet that has two and more: those with so many prompt groups, at most ``MAX_LEVELS``.
    """
    import polars as pl

    from engine.stats.sources import MAX_LEVELS

    pairs = pl.read_parquet(
        paths.pairs, columns=["group_id", "label", "source", "annotator", "model_chosen", "model_rejected"]
    ).filter(pl.col("label") == Label.CHOSEN.value)
    models = pl.concat([pairs.select("group_id", level=pl.col(f"model_{s}")) for s in ("chosen", "rejected")])
    total = 0
    for levels in (*(pairs.select("group_id", level=pl.col(f)) for f in ("source", "annotator")), models):
        known = levels.drop_nulls().unique().group_by("level").len()
        large = int((known["len"] >= at_least).sum())
        total += min(large, MAX_LEVELS) if large > 1 else 0
    return total


_SAMPLED = 500
"""Pairs whose texts are tokenised: their mean length is known to a few per cent."""


def mean_lengths(paths: ProjectPaths, checkpoint: Path) -> tuple[int, float, float] | None:
    """Pairs, and mean tokens of prompts and responses by the checkpoint's tokenizer; None before ingest.

    Characters say little: a small model's tokenizer takes 2.5 of them for a token, a large one's 4.
    """
    if not paths.pairs.exists():
        return None
    import pyarrow.parquet as pq

    from engine.models.loading import load_tokenizer

    file = pq.ParquetFile(paths.pairs)
    batch = next(file.iter_batches(_SAMPLED, columns=["prompt", "chosen", "rejected"]), None)
    rows = batch.to_pylist() if batch is not None else []
    if not rows:
        return None
    tokenizer = load_tokenizer(checkpoint)

    def mean(*columns: str) -> float:
        texts = [" ".join(m["content"] or "" for m in row[c] or ()) for row in rows for c in columns]
        found = tokenizer(texts, add_special_tokens=False, truncation=False, padding=False)["input_ids"]
        return sum(map(len, found)) / len(texts)

    return file.metadata.num_rows, mean("prompt"), mean("chosen", "rejected")
