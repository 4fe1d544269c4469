"""Training an SAE on the pairs' own activations, where a model has none.

A TopK SAE of sae-lens, trained by its trainer on the residual vectors of the spans' own tokens, and saved in
its format. The first pairs (a random sample, whole prompt groups) are never trained on: quality is measured
there.
"""

import math
import shutil
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.errors import ModelError
from engine.manifest import write_json
from engine.models.blocks import width_of
from engine.progress import Progress
from engine.reading.check import SaeCheck, measure
from engine.reading.pair_file import PairFile
from engine.reading.reader import make_reader
from engine.reading.residual_batches import ResidualBatches, own_residuals, own_tokens_per_pair
from engine.reading.sae import load_sae
from engine.reading.spec import ReaderSpec
from engine.reading.stream import Stream, cut_stream, load_stream_model
from engine.safe_text import one_line
from engine.settings import ReadingSettings, SaeSettings

HELD_SHARE = 0.05
"""Share of the pairs that quality is measured on …"""
HELD_MIN, HELD_MAX = 16, 500
"""… and its bounds in pairs."""
_WARM_UP_SHARE = 0.05
_DECAY_SHARE = 0.2
_DEAD_STEPS = 200
"""Steps without firing after which the auxiliary loss tries to revive a latent."""


@dataclass(frozen=True, slots=True)
class SaeReport:
    """A trained SAE and how good it is on pairs it has not seen."""

    folder: str
    """In sae-lens format; give it as ``--sae``."""
    layer: int
    width: int
    n_latents: int
    k: int
    n_tokens: int
    """Tokens that training steps saw."""
    n_distinct_tokens: int
    """Different tokens among them."""
    n_held_pairs: int
    seconds: float
    check: SaeCheck
    """On the held-out pairs: variance left unexplained, L0, dead share."""

    def as_dict(self) -> dict[str, Any]:
        """Plain dict for manifests and screens."""
        return asdict(self)


def train_sae(
    pairs_path: Path,
    spec: ReaderSpec,
    out_dir: Path,
    settings: SaeSettings,
    reading: ReadingSettings,
    progress: Progress,
) -> SaeReport:
    """Train a TopK SAE for a model and layer on the pairs' own tokens.

    Args:
        pairs_path: pairs.parquet.
        spec: model and layer; its SAE is ignored.
        out_dir: written at the end: ``cfg.json``, ``sae_weights.safetensors``, ``report.json``.
        settings: size and length of the training.
        reading: device, dtype and limits of the model.
        progress: told about tokens.

    Raises:
        ModelError: the model cannot be read, no layer was given, or the pairs hold too little text.
        Cancelled: the user stopped; nothing is kept.
    """
    started = time.perf_counter()
    if spec.layer is None:
        raise ModelError("an SAE is trained for one layer", hint="give --layer; the middle is a good start")
    if settings.n_latents is not None and settings.k > settings.n_latents:
        raise ModelError(
            f"{settings.k} of {settings.n_latents} latents cannot fire on a token",
            hint="lower --k, or raise --latents",
        )
    pairs = PairFile(pairs_path)
    loaded = load_stream_model(spec.model, spec.revision, spec.layer, reading)
    for note in loaded.notes:
        progress.note(one_line(f"{spec.model}: {note}"))
    stream = cut_stream(loaded, spec.layer, spec.max_tokens or reading.max_tokens)
    batches = ResidualBatches.of(stream, reading)
    n_held = held_pairs(pairs)
    buffer = _Buffer(pairs, batches, n_held, settings, progress)
    trained = _train(buffer, stream, spec, settings, progress)
    temporary = out_dir.with_name(f".{out_dir.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    trained.save_inference_model(temporary)
    shutil.rmtree(out_dir, ignore_errors=True)
    temporary.replace(out_dir)
    reader = make_reader(spec, batches, load_sae(str(out_dir)), reading)
    check = measure(pairs, reader, 200_000, progress, max_pairs=n_held)
    report = SaeReport(
        folder=str(out_dir),
        layer=spec.layer,
        width=width_of(loaded.model),
        n_latents=reader.n_latents,
        k=settings.k,
        n_tokens=buffer.n_served,
        n_distinct_tokens=buffer.n_distinct,
        n_held_pairs=n_held,
        seconds=time.perf_counter() - started,
        check=check,
    )
    write_json(out_dir / "report.json", report.as_dict())
    return report


def held_pairs(pairs: PairFile) -> int:
    """Pairs from the start that no SAE is trained on: whole groups, at most half of all."""
    n = len(pairs)
    wanted = min(max(round(n * HELD_SHARE), HELD_MIN), HELD_MAX, n // 2)
    while 0 < wanted < n and pairs.group_ids[wanted] == pairs.group_ids[wanted - 1]:
        wanted += 1
    if wanted == 0 or wanted >= n:
        raise ModelError(f"{n} pairs are too few to train an SAE on", hint="ingest more pairs")
    return wanted


class _Buffer:
    """Shuffled batches of residual vectors; the model runs again only if they do not fit into memory."""

    def __init__(
        self,
        pairs: PairFile,
        batches: ResidualBatches,
        from_pair: int,
        settings: SaeSettings,
        progress: Progress,
    ) -> None:
        self._pairs, self._batches, self._from_pair = pairs, batches, from_pair
        self._settings, self._progress = settings, progress
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._width = width_of(batches.stream.loaded.model)
        fits = max(settings.buffer_bytes // (4 * self._width), settings.batch_tokens)
        # Pairs are in random order: a training that sees fewer tokens than fit needs no others to be read.
        self._capacity = min(fits, max(settings.n_tokens, settings.batch_tokens))
        self.n_served = 0
        self._is_counted = True
        each = max(own_tokens_per_pair(pairs, batches.stream, from_pair), 1.0)
        progress.start("activations", min(len(pairs) - from_pair, round(self._capacity / each)), "pairs")
        self._rest = self._vectors()
        first, self._is_whole = self._fill(self._rest)
        self._is_counted = False
        progress.finish()
        if not len(first):
            raise ModelError("the pairs hold no text to train an SAE on", hint="ingest more pairs")
        self.n_distinct = len(first)
        self.mean = first.double().mean(dim=0)  # (D,)
        self.mean_norm = float(first.double().norm(dim=-1).mean())
        self._first: torch.Tensor | None = first

    def _vectors(self) -> Iterator[torch.Tensor]:
        def on_pairs(n: int) -> None:
            if self._is_counted:  # later passes are part of the training's own stage
                self._progress.advance(n)

        start, stop = self._from_pair, len(self._pairs)
        for _, x in own_residuals(self._pairs, self._batches, start, stop, on_pairs=on_pairs):
            self._progress.advance(0)
            yield x.cpu()

    def _fill(self, vectors: Iterator[torch.Tensor]) -> tuple[torch.Tensor, bool]:
        """Up to ``capacity`` vectors, and whether that was the last of them."""
        parts, n = [], 0
        for x in vectors:
            parts.append(x)
            n += len(x)
            if n >= self._capacity:
                return torch.cat(parts), False
        return torch.cat(parts) if parts else torch.zeros(0, self._width), True

    def _fills(self) -> Iterator[torch.Tensor]:
        """Every vector once, a buffer full at a time; the first pass goes on where the buffer was filled."""
        if self._is_whole and self._first is not None:
            yield self._first
            return
        n_seen, vectors, is_last = 0, self._rest, False
        if self._first is None:
            vectors = self._vectors()
        else:
            n_seen = len(self._first)
            yield self._first
            self._first = None
        while not is_last:
            fill, is_last = self._fill(vectors)
            n_seen += len(fill)
            self.n_distinct = max(self.n_distinct, n_seen)
            if len(fill):
                yield fill

    def batches(self) -> Iterator[torch.Tensor]:
        """Shuffled batches without end, pass after pass over the pairs."""
        size = self._settings.batch_tokens
        while True:
            for fill in self._fills():
                order = torch.randperm(len(fill), generator=self._generator)
                for at in range(0, max(len(fill) - size + 1, 1), size):
                    self.n_served += len(order[at : at + size])
                    yield fill[order[at : at + size]]


def _train(
    buffer: _Buffer, stream: Stream, spec: ReaderSpec, settings: SaeSettings, progress: Progress
) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
        from sae_lens.config import LoggingConfig, SAETrainerConfig
        from sae_lens.saes.sae import SAEMetadata
        from sae_lens.training.sae_trainer import SAETrainer
    width = len(buffer.mean)
    scale = math.sqrt(width) / buffer.mean_norm
    torch.manual_seed(settings.seed)
    sae = TopKTrainingSAE(
        TopKTrainingSAEConfig(
            d_in=width,
            d_sae=settings.n_latents or 8 * width,
            k=settings.k,
            device=str(stream.device),
            metadata=SAEMetadata(
                model_name=spec.model, hook_name=f"blocks.{spec.layer}.hook_resid_post", prepend_bos=True
            ),
        )
    )
    sae.b_dec.data.copy_(buffer.mean * scale)
    n_steps = max(settings.n_tokens // settings.batch_tokens, 1)
    config = SAETrainerConfig(
        total_training_samples=n_steps * settings.batch_tokens,
        train_batch_size_samples=settings.batch_tokens,
        lr=settings.learning_rate,
        lr_end=settings.learning_rate / 10,
        lr_warm_up_steps=round(n_steps * _WARM_UP_SHARE),
        lr_decay_steps=round(n_steps * _DECAY_SHARE),
        device=str(stream.device),
        dead_feature_window=_DEAD_STEPS,
        logger=LoggingConfig(log_to_wandb=False),
    )
    batches = buffer.batches()
    trainer = SAETrainer(config, sae, batches)
    trainer.activation_scaler.scaling_factor = scale
    progress.start("train the SAE", n_steps * settings.batch_tokens, "tokens")
    for batch in batches:
        trainer.step(batch)
        trainer.n_training_steps += 1
        progress.advance(len(batch))
        if trainer.n_training_steps == n_steps:
            break
    progress.finish()
    sae.fold_activation_norm_scaling_factor(scale)
    trainer.set_final_sae_metadata()
    weights = np.array([float(p.detach().double().sum()) for p in sae.parameters()])
    if not np.isfinite(weights).all():
        raise ModelError("training the SAE diverged", hint="lower sae.learning_rate")
    return sae
