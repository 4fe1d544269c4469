"""An open reader: a model cut off after its layer, its chat layout and its SAE, on a device."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import ModelError
from engine.manifest import hash_json
from engine.models.blocks import width_of
from engine.models.chat import ChatLayout
from engine.models.configuration import read_config, width_in
from engine.models.devices import pick_dtype
from engine.models.fetching import resolve_folder
from engine.models.identity import Known
from engine.models.loading import LoadedModel
from engine.reading.encode import Encoder, Pooled
from engine.reading.jobs import Job
from engine.reading.residual_batches import ResidualBatches
from engine.reading.sae import Sae, load_sae
from engine.reading.spec import ReaderSpec
from engine.reading.stream import NEVER, Stream, cut_stream, load_stream_model
from engine.settings import ReadingSettings

READER_VERSION = 4
"""Raised when the same model, SAE and text would give other readings."""
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
    batches: ResidualBatches
    sae: Sae
    encoder: Encoder
    reader_hash: str

    @property
    def stream(self) -> Stream:
        """The model up to the layer."""
        return self.batches.stream

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
            "model_files": dict(self.loaded.files),
            "model_loaded": self.loaded.extent,
            "model_unpacked": self.loaded.unpacked,
            "model_notes": list(self.loaded.notes),
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
        if self.batches.batch_tokens:
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
        for done, found in self.batches.each(jobs, self._pool):
            readings |= found
            if on_batch is not None:
                on_batch(len(done))
        return readings

    def _pool(self, jobs: Sequence[Job], streams: Sequence[torch.Tensor]) -> dict[Hashable, SpanReading]:
        wants, parts, bounds = [], [], [0]
        for job, stream in zip(jobs, streams, strict=True):
            for want in job.wants:
                wants.append(want)
                parts.append(stream[torch.from_numpy(want.own).to(stream.device)])
                bounds.append(bounds[-1] + len(want.own))
        if not wants:
            return {}
        with torch.inference_mode():
            x = torch.cat(parts)
            pooled = self.encoder.pool(x, bounds)
            means, lasts = summarise(x, bounds)
        return {
            want.key: SpanReading(pooled[i], bounds[i + 1] - bounds[i], want.is_truncated, means[i], lasts[i])
            for i, want in enumerate(wants)
        }


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


def open_reader(spec: ReaderSpec, settings: ReadingSettings, known: Known | None = None) -> Reader:
    """Load checkpoint and SAE and check that they fit each other.

    Args:
        spec: the reader.
        settings: device, dtype and batches.
        known: fingerprints of checkpoints that earlier readings gave, with the files that they cover.

    Raises:
        ModelError: either cannot be loaded, or widths or layers do not fit.
    """
    if spec.sae is None:
        raise ModelError(f"{spec.model} has no SAE to read with", hint="give one with --sae")
    sae = load_sae(spec.sae, norm_scaling_factor=spec.norm_scaling_factor)
    layer = _layer_of(spec, sae)
    said = width_in(read_config(resolve_folder(spec.model, spec.revision, with_weights=False)))
    _check_width(spec, sae, said or sae.width)  # before any weights are fetched
    loaded = load_stream_model(spec.model, spec.revision, layer, settings, known)
    _check_width(spec, sae, width_of(loaded.model))
    stream = cut_stream(loaded, layer, spec.max_tokens or settings.max_tokens)
    return make_reader(spec, ResidualBatches.of(stream, settings), sae, settings)


def make_reader(spec: ReaderSpec, batches: ResidualBatches, sae: Sae, settings: ReadingSettings) -> Reader:
    """A reader from its parts."""
    stream = batches.stream
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
        batches=batches,
        sae=sae,
        encoder=Encoder(sae, stream.device, sae_dtype),
        reader_hash=hash_json(parts),
    )


def _check_width(spec: ReaderSpec, sae: Sae, width: int) -> None:
    if sae.width != width:
        raise ModelError(
            f"{sae.name} expects a residual stream of width {sae.width}, {spec.model} has {width}",
            hint="its matrices seem to be transposed: store them the other way round"
            if sae.n_latents == width
            else "this SAE was trained on another model",
        )


def _layer_of(spec: ReaderSpec, sae: Sae) -> int:
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
