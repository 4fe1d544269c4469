"""An open reader: a model cut off after its layer, its chat layout and its SAE, on a device."""

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import ModelError
from engine.manifest import hash_json
from engine.models.blocks import width_of
from engine.models.chat import ChatLayout
from engine.models.loading import LoadedModel, pick_dtype
from engine.reading.batches import plan_batches
from engine.reading.encode import Encoder, Pooled
from engine.reading.jobs import Job, job_residuals, n_computed, plan_rows, row_length, row_of
from engine.reading.sae import Sae, load_sae
from engine.reading.spec import ReaderSpec
from engine.reading.stream import NEVER, Stream, cut_stream, load_stream_model
from engine.settings import ReadingSettings

log = logging.getLogger(__name__)

READER_VERSION = 4
"""Raised when the same model, SAE and text would give other readings."""
MIN_ROW = 2048
"""Tokens that a prompt and its responses may have together at least before they take more than one row."""
_HALF_MAX = 65_504.0


@dataclass(frozen=True, slots=True)
class SpanReading:
    """What is stored of one span."""

    pooled: Pooled
    n_tokens: int
    is_truncated: bool
    mean: NDArray[np.float16]
    """(D,) mean residual over the span's own tokens; zeros when it has none."""
    last: NDArray[np.float16]
    """(D,) residual at its last own token."""


@dataclass
class Reader:
    """A model and an SAE, ready to read."""

    spec: ReaderSpec
    stream: Stream
    sae: Sae
    encoder: Encoder
    batch_tokens: int
    """Token budget of a batch on a GPU, halved when memory runs out; 0 on a CPU: one sequence at a time."""
    reader_hash: str

    @property
    def n_latents(self) -> int:
        """L"""
        return self.sae.n_latents

    @property
    def width(self) -> int:
        """Width of the residual stream."""
        return self.sae.width

    @property
    def layer(self) -> int:
        """Block after which the residual stream is read."""
        return self.stream.layer

    @property
    def layout(self) -> ChatLayout:
        """How conversations become tokens."""
        return self.stream.layout

    @property
    def max_tokens(self) -> int:
        """Longest sequence that is read; longer ones are cut."""
        return self.stream.max_tokens

    @property
    def loaded(self) -> LoadedModel:
        """The checkpoint."""
        return self.stream.loaded

    @property
    def model_path(self) -> str:
        """Checkpoint as asked for."""
        return self.spec.model

    @property
    def is_causal(self) -> bool:
        """True for language models, False for encoders."""
        return self.stream.is_causal

    def describe(self) -> dict[str, object]:
        """What manifests say about this reader."""
        return {
            "model": self.spec.model,
            "revision": self.spec.revision,
            "model_fingerprint": self.loaded.fingerprint,
            "is_causal": self.is_causal,
            "layer": self.layer,
            "width": self.width,
            "dtype": str(self.loaded.dtype).removeprefix("torch."),
            "sae": self.sae.name,
            "sae_fingerprint": self.sae.fingerprint,
            "architecture": self.sae.architecture,
            "sae_dtype": str(self.encoder.dtype).removeprefix("torch."),
            "encode_path": "sae-lens" if self.sae.fallback is not None else "folded",
            "n_latents": self.n_latents,
            "has_template": self.layout.has_template,
            "layout": self.layout.fingerprint,
            "max_tokens": self.max_tokens,
            "prompt_once_by": self._shares(),
            "prompt_once_from": None if self.stream.min_shared == NEVER else self.stream.min_shared,
            "pooling": "act_max, n_fired, act_sum, peak, last token",
            "reader_hash": self.reader_hash,
        }

    def _shares(self) -> str | None:
        """How a prompt is computed once for its responses; None: it is computed with every one."""
        if self.batch_tokens:
            return None if self.stream.packs is None else "rows of a prompt and its responses"
        return None if self.stream.min_shared == NEVER else "memory of the prompt"

    def residuals(self, sequences: Sequence[NDArray[np.int64]]) -> list[torch.Tensor]:
        """Residual stream of a batch; see ``Stream.residuals``."""
        return self.stream.residuals(sequences)

    def read(
        self, jobs: Sequence[Job], on_batch: Callable[[int], None] | None = None
    ) -> dict[Hashable, SpanReading]:
        """Read all wanted spans.

        Args:
            jobs: sequences; none may be empty unless it wants only empty spans.
            on_batch: called with the number of jobs done after each batch.

        Raises:
            ModelError: a single sequence does not fit into memory.
        """
        readings: dict[Hashable, SpanReading] = {}
        if not self.batch_tokens:
            self._read_in_turn(jobs, readings, on_batch)
            return readings
        waiting = self._batches(jobs, self._rows(jobs))
        while waiting:
            batch = waiting.pop(0)
            try:
                self._read_batch([[jobs[i] for i in row] for row in batch], readings)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                rows = self._smaller(jobs, batch, error)
                waiting = self._batches(jobs, [*rows, *(row for later in waiting for row in later)])
                continue
            if on_batch is not None:
                on_batch(sum(len(row) for row in batch))
        return readings

    def n_computed(self, jobs: Sequence[Job]) -> int:
        """Tokens that ``read`` sends through the model for these jobs, padding aside."""
        if not self.batch_tokens:
            return n_computed(jobs, self.stream.min_shared)
        return sum(row_length([jobs[i] for i in row]) for row in self._rows(jobs))

    def _rows(self, jobs: Sequence[Job]) -> list[list[int]]:
        if self.stream.packs is None:
            return [[i] for i in range(len(jobs))]
        return plan_rows(jobs, max(self.max_tokens, MIN_ROW))

    def _batches(self, jobs: Sequence[Job], rows: Sequence[list[int]]) -> list[list[list[int]]]:
        """Rows that go through the model together; those of a single text apart, since they need no mask."""
        batches = []
        for is_shared in (True, False):
            chosen = [row for row in rows if (len(row) > 1) is is_shared]
            lengths = [row_length([jobs[i] for i in row]) for row in chosen]
            batches += [[chosen[k] for k in batch] for batch in plan_batches(lengths, self.batch_tokens)]
        return batches

    def _smaller(self, jobs: Sequence[Job], batch: list[list[int]], error: BaseException) -> list[list[int]]:
        """A batch that did not fit, cut in two if it was one row; later ones are of half its size.

        Raises:
            ModelError: it was a single text.
        """
        if self.loaded.device.type == "cuda":
            torch.cuda.empty_cache()
        padded = len(batch) * max(row_length([jobs[i] for i in row]) for row in batch)
        self.batch_tokens = max(min(self.batch_tokens, padded) // 2, 1)
        log.warning("out of memory with %d sequences: batches of %d tokens", len(batch), self.batch_tokens)
        if len(batch) > 1:
            return batch
        if len(batch[0]) == 1:
            raise _too_long(jobs[batch[0][0]]) from error
        half = len(batch[0]) // 2
        return [batch[0][:half], batch[0][half:]]

    def _read_in_turn(
        self,
        jobs: Sequence[Job],
        readings: dict[Hashable, SpanReading],
        on_batch: Callable[[int], None] | None,
    ) -> None:
        """One sequence at a time: a CPU is saturated by one, and padding is lost work."""
        streams = job_residuals(self.stream, jobs)
        for job in jobs:
            try:
                self._pool([job], [next(streams)], readings)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                raise _too_long(job) from error
            if on_batch is not None:
                on_batch(1)

    def _read_batch(self, batch: Sequence[Sequence[Job]], readings: dict[Hashable, SpanReading]) -> None:
        """Rows of jobs that begin with the same prompt, each with one text or more."""
        rows = [row_of(row) for row in batch]
        filled = [row for row in rows if row.n_tokens]
        found = iter(self.stream.rows(filled)) if filled else iter(())
        streams = [
            text for row in rows for text in (next(found) if row.n_tokens else [self.stream.nothing()])
        ]
        self._pool([job for row in batch for job in row], streams, readings)

    def _pool(
        self, jobs: Sequence[Job], streams: Sequence[torch.Tensor], readings: dict[Hashable, SpanReading]
    ) -> None:
        wants, parts, bounds = [], [], [0]
        for job, stream in zip(jobs, streams, strict=True):
            for want in job.wants:
                wants.append(want)
                parts.append(stream[torch.from_numpy(want.own).to(stream.device)])
                bounds.append(bounds[-1] + len(want.own))
        if not wants:
            return
        with torch.inference_mode():
            x = torch.cat(parts)
            pooled = self.encoder.pool(x, bounds)
            means, lasts = summarise(x, bounds)
        for i, want in enumerate(wants):
            readings[want.key] = SpanReading(
                pooled[i], bounds[i + 1] - bounds[i], want.is_truncated, means[i], lasts[i]
            )


def _too_long(job: Job) -> ModelError:
    return ModelError(
        f"a text of {len(job.ids)} tokens does not fit into memory", hint="lower reading.max_tokens"
    )


def _is_out_of_memory(error: BaseException) -> bool:
    """A GPU has an error of its own for it; a CPU's and MPS' allocators only say so."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "not enough memory" in text


def summarise(x: torch.Tensor, bounds: Sequence[int]) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """Mean and last residual per span, (S, D) each, in half precision; zeros for empty spans.

    Values beyond half precision's range (some models have single dimensions that large) become its limit.
    """
    n_spans = len(bounds) - 1
    means = torch.zeros(n_spans, x.shape[-1], device=x.device)
    lasts = torch.zeros_like(means)
    for s in range(n_spans):
        if bounds[s + 1] > bounds[s]:
            means[s] = x[bounds[s] : bounds[s + 1]].float().mean(dim=0)
            lasts[s] = x[bounds[s + 1] - 1].float()
    half = [t.clamp_(-_HALF_MAX, _HALF_MAX).half().cpu().numpy() for t in (means, lasts)]
    return half[0], half[1]


def open_reader(spec: ReaderSpec, settings: ReadingSettings) -> Reader:
    """Load checkpoint and SAE and check that they fit each other.

    Raises:
        ModelError: either cannot be loaded, or widths or layers do not fit.
    """
    if spec.sae is None:
        raise ModelError(f"{spec.model} has no SAE to read with", hint="give one with --sae")
    sae = load_sae(spec.sae, norm_scaling_factor=spec.norm_scaling_factor)
    loaded = load_stream_model(spec.model, spec.revision, settings)
    layer = _check_fit(spec, sae, loaded)
    stream = cut_stream(loaded, layer, spec.max_tokens or settings.max_tokens)
    return make_reader(spec, stream, sae, settings)


def make_reader(spec: ReaderSpec, stream: Stream, sae: Sae, settings: ReadingSettings) -> Reader:
    """A reader from its parts."""
    sae_dtype = pick_dtype(settings.sae_dtype, stream.device)
    parts = [
        READER_VERSION,
        stream.loaded.fingerprint,
        stream.layer,
        sae.fingerprint,
        stream.layout.fingerprint,
        stream.max_tokens,
        str(stream.loaded.dtype),
        str(sae_dtype),
    ]
    return Reader(
        spec=spec,
        stream=stream,
        sae=sae,
        encoder=Encoder(sae, stream.device, sae_dtype),
        batch_tokens=0 if stream.device.type == "cpu" else settings.batch_tokens,
        reader_hash=hash_json(parts),
    )


def _check_fit(spec: ReaderSpec, sae: Sae, loaded: LoadedModel) -> int:
    width = width_of(loaded.model)
    if sae.width != width:
        raise ModelError(
            f"{sae.name} expects a residual stream of width {sae.width}, {spec.model} has {width}",
            hint="this SAE was trained on another model",
        )
    layer = spec.layer if spec.layer is not None else sae.hook_layer
    if layer is None:
        raise ModelError(
            f"{sae.name} does not say which layer it reads", hint="give --layer, or layer in reader.toml"
        )
    if sae.hook_layer is not None and layer != sae.hook_layer:
        raise ModelError(
            f"{sae.name} was trained on layer {sae.hook_layer}, not on layer {layer}",
            hint=f"leave --layer out, or give --layer {sae.hook_layer}",
        )
    return layer
