"""From residual vectors to pooled readings: one matrix product, then reductions per span.

A CPU pools in compiled loops (``encode_cpu``). Elsewhere pooling commutes with a fixed threshold: the largest
pre-activation over a span's tokens, thresholded once, is the largest activation, so only latents that fire
somewhere in a span are looked at token by token; TopK needs the k largest of every token first. Results
equal sae-lens' ``encode`` followed by dense pooling up to the rounding of one fold (decoder bias into encoder
bias).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from engine.reading import encode_cpu
from engine.reading.sae import Normalisation, Sae

BLOCK_LATENTS = 2048
"""Latents of one product on a CPU: its result is pooled while in the cache. A multiple of 64."""
MAX_CHUNK_BYTES = 256 << 20
"""Pre-activations held at a time; longer spans are encoded whole all the same."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """Reading of one span: the N latents that fire, ascending. Arrays of shape (N,)."""

    latent: NDArray[np.uint32]
    act_max: NDArray[np.float32]
    n_fired: NDArray[np.uint16]
    act_sum: NDArray[np.float32]
    peak: NDArray[np.uint16]
    """Position of act_max in the span's own tokens, the first of equals."""
    act_last: NDArray[np.float32]
    """Activation at the last own token, 0 where the latent is silent there."""


EMPTY = Pooled(
    np.zeros(0, np.uint32),
    np.zeros(0, np.float32),
    np.zeros(0, np.uint16),
    np.zeros(0, np.float32),
    np.zeros(0, np.uint16),
    np.zeros(0, np.float32),
)
"""Reading of a span without tokens."""


class TopTokens(NamedTuple):
    """The k largest activations per token."""

    values: torch.Tensor  # (T, k), ≥ 0
    latents: torch.Tensor  # (T, k) int64


class Encoder:
    """An SAE on a device, ready to read.

    Args:
        sae: the folded SAE.
        device: where to compute.
        dtype: of the matrix product's operands; sums and thresholds are float32.
    """

    def __init__(self, sae: Sae, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.sae = sae
        self.device = device
        self.dtype = dtype
        self.n_latents = sae.n_latents
        self._fallback: Any = None
        self._columns: encode_cpu.Columns | None = None
        if sae.fallback is not None:
            self._fallback = sae.fallback.to(device=device)
            return
        bias = sae.bias
        if dtype != torch.float32 and sae.decoder_bias is not None:
            # Rounded weights err in proportion to their input: let it be the distance from the usual input.
            bias = bias + sae.decoder_bias @ (sae.weight - sae.weight.to(dtype).float())
        self._bias = bias.to(device, torch.float32)
        threshold = None if sae.threshold is None else sae.threshold.to(device, torch.float32)
        self._threshold = None if threshold is None else threshold.expand(sae.n_latents)
        weight = sae.weight.to(device, dtype)  # (D, L)
        if device.type == "cpu":
            self._columns = encode_cpu.Columns.of(weight, self._bias, self._threshold, BLOCK_LATENTS)
        else:
            self._weight = weight

    def pre_activations(self, x: torch.Tensor) -> torch.Tensor:
        """``h`` of the module ``sae``: (T, D) residual vectors to (T, L) float32."""
        x = self._operand(x)
        if self._columns is not None:
            product = torch.cat([x @ block for block in self._columns.blocks], dim=1)
            return product[:, : self.n_latents].float() + self._bias
        if self.dtype == torch.float32:
            return torch.addmm(self._bias, x, self._weight)
        return (x @ self._weight).float().add_(self._bias)

    def _operand(self, x: torch.Tensor) -> torch.Tensor:
        x = normalise(x.to(self.device, torch.float32), self.sae.normalisation)
        return x.to(self.dtype)

    def dense(self, x: torch.Tensor) -> torch.Tensor:
        """Activations, (T, D) to (T, L) float32."""
        if self._fallback is not None:
            return torch.as_tensor(self._fallback.encode(x.to(self.device, torch.float32))).float()
        h = self.pre_activations(x)
        if self._threshold is not None:
            return torch.where(h > self._threshold, h, 0.0)
        if self._columns is not None:
            return encode_cpu.dense_top(h, self.sae.k or 0)
        top = self._top(h)
        dense: torch.Tensor = torch.zeros_like(h).scatter_(-1, top.latents, top.values)
        return dense

    def pool(self, x: torch.Tensor, bounds: Sequence[int]) -> list[Pooled]:
        """Readings of consecutive spans.

        Args:
            x: residual vectors of the spans' own tokens, one span after the other, (T, D).
            bounds: S + 1 ascending token positions; span s is ``bounds[s]:bounds[s + 1]``.
        """
        pooled: list[Pooled] = []
        for first, last in self._chunks(bounds):
            start, end = bounds[first], bounds[last]
            inner = [b - start for b in bounds[first : last + 1]]
            if start == end:
                pooled += [EMPTY] * (last - first)
            elif self._fallback is not None:
                pooled += _pool_over(self.dense(x[start:end]), torch.zeros((), device=self.device), inner)
            elif self._columns is not None:
                k = min(self.sae.k or 0, self.n_latents)
                pooled += pooled_of(self._columns.tally(self._operand(x[start:end]), inner, k))
            elif self._threshold is not None:
                pooled += self._pool_threshold(x[start:end], self._threshold, inner)
            else:
                top = self._top(self.pre_activations(x[start:end]))
                pooled += _pool_top(top, inner, self.n_latents)
        return pooled

    def _pool_threshold(
        self, x: torch.Tensor, threshold: torch.Tensor, bounds: Sequence[int]
    ) -> list[Pooled]:
        if self.dtype == torch.float32:
            return _pool_over(self.pre_activations(x), threshold, bounds)
        return _pool_rounded(self._operand(x) @ self._weight, self._bias, threshold, bounds)

    def _top(self, h: torch.Tensor) -> TopTokens:
        values, latents = torch.topk(h, min(self.sae.k or 0, self.n_latents), dim=-1, sorted=False)
        return TopTokens(values.relu_(), latents)

    def _chunks(self, bounds: Sequence[int]) -> list[tuple[int, int]]:
        """Runs of spans whose pre-activations fit the memory limit together."""
        widest = self.n_latents if self._columns is None else min(self.n_latents, BLOCK_LATENTS)
        limit = max(MAX_CHUNK_BYTES // encode_cpu.bytes_per_token(widest, self.sae.k), 1)
        chunks, first = [], 0
        for s in range(1, len(bounds) - 1):
            if bounds[s + 1] - bounds[first] > limit and s > first:
                chunks.append((first, s))
                first = s
        if len(bounds) > 1:
            chunks.append((first, len(bounds) - 1))
        return chunks


def pooled_of(tally: encode_cpu.Tally) -> list[Pooled]:
    """The latents that fired, span by span."""
    pooled = []
    for s in range(len(tally.n_fired)):
        active = np.flatnonzero(tally.n_fired[s])
        act_max, n_fired, act_sum, peak, act_last = (values[s, active] for values in tally)
        pooled.append(Pooled(active.astype(np.uint32), act_max, n_fired, act_sum, peak, act_last))
    return pooled


def normalise(x: torch.Tensor, how: Normalisation) -> torch.Tensor:
    """What the encoder sees of residual vectors (T, D)."""
    if how is Normalisation.LAYER_NORM:
        x = x - x.mean(dim=-1, keepdim=True)
        return x / (x.std(dim=-1, keepdim=True) + 1e-5)
    if how is Normalisation.CONSTANT_NORM:
        scale: torch.Tensor = x.shape[-1] ** 0.5 / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        return x * scale
    return x


def _pool_over(h: torch.Tensor, threshold: torch.Tensor, bounds: Sequence[int]) -> list[Pooled]:
    """Pool (T, L) pre-activations over a threshold, (L,) or one for all."""
    return [_pool_span(h[start:end], threshold) if start < end else EMPTY for start, end in pairwise(bounds)]


def _pool_rounded(
    product: torch.Tensor, bias: torch.Tensor, threshold: torch.Tensor, bounds: Sequence[int]
) -> list[Pooled]:
    """Pool (T, L) products in half precision: only columns that fire somewhere are widened and get a bias.

    Adding a bias keeps the order within a column, so its largest value may be taken before.
    """
    pooled = []
    for start, end in pairwise(bounds):
        if start == end:
            pooled.append(EMPTY)
            continue
        span = product[start:end]
        active = (span.amax(dim=0).float() + bias > threshold).nonzero().flatten()
        firing = span.index_select(1, active).float().add_(bias[active])
        found = _pool_over(firing, threshold[active], [0, end - start])[0]
        latent = active.cpu().numpy().astype(np.uint32)
        pooled.append(replace(found, latent=latent[found.latent]))
    return pooled


def _pool_span(span: torch.Tensor, threshold: torch.Tensor) -> Pooled:
    active = (span.amax(dim=0) > threshold).nonzero().flatten()
    firing = span[:, active]  # (T, N)
    is_on = firing > (threshold if threshold.ndim == 0 else threshold[active])
    act_sum = torch.where(is_on, firing, 0.0).sum(dim=0)
    # argmax gives the first of equals
    act_last = torch.where(is_on[-1], firing[-1], 0.0)
    return _to_numpy(active, firing.amax(dim=0), is_on.sum(dim=0), act_sum, firing.argmax(dim=0), act_last)


def _pool_top(top: TopTokens, bounds: Sequence[int], n_latents: int) -> list[Pooled]:
    device = top.values.device
    pooled = []
    for start, end in pairwise(bounds):
        if start == end:
            pooled.append(EMPTY)
            continue
        values, latents = top.values[start:end], top.latents[start:end]
        position = torch.arange(end - start, device=device)[:, None].expand_as(values)
        is_on = values > 0
        value, latent, position = values[is_on], latents[is_on], position[is_on]
        largest = torch.zeros(n_latents, device=device).scatter_reduce_(0, latent, value, "amax")
        count = torch.bincount(latent, minlength=n_latents)
        total = torch.zeros(n_latents, device=device).scatter_add_(0, latent, value)
        at_peak = torch.where(value == largest[latent], position, end - start)
        peak = torch.full((n_latents,), end - start, device=device).scatter_reduce_(
            0, latent, at_peak, "amin"
        )
        active = count.nonzero().flatten()
        last = torch.zeros(n_latents, device=device).scatter_(0, top.latents[end - 1], top.values[end - 1])
        pooled.append(
            _to_numpy(active, largest[active], count[active], total[active], peak[active], last[active])
        )
    return pooled


def _to_numpy(
    latent: torch.Tensor,
    act_max: torch.Tensor,
    n: torch.Tensor,
    total: torch.Tensor,
    peak: torch.Tensor,
    last: torch.Tensor,
) -> Pooled:
    return Pooled(
        latent.cpu().numpy().astype(np.uint32),
        act_max.cpu().numpy().astype(np.float32),
        n.cpu().numpy().astype(np.uint16),
        total.cpu().numpy().astype(np.float32),
        peak.cpu().numpy().astype(np.uint16),
        last.cpu().numpy().astype(np.float32),
    )
