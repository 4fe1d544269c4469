"""The SAE step on a CPU: products block by block of latents, each pooled while it is in the cache."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad

from engine.reading.pool_kernel import finish_top, gather_top, pool_held, pool_over
from engine.reading.run_mask import RUN

PLACES = 2
"""Places for candidates per value that TopK keeps, beside those of one run."""
_WORTH_A_THREAD = 1 << 20
"""Products from which a second thread pays for being called."""


class Tally(NamedTuple):
    """Readings of S spans, every latent: 0 where it is silent. Arrays of shape (S, L)."""

    act_max: NDArray[np.float32]
    n_fired: NDArray[np.uint16]
    act_sum: NDArray[np.float32]
    peak: NDArray[np.uint16]
    act_last: NDArray[np.float32]

    @classmethod
    def empty(cls, n_spans: int, n_latents: int) -> "Tally":
        """Nothing fired yet."""
        kinds = (np.float32, np.uint16, np.float32, np.uint16, np.float32)
        return cls(*(np.zeros((n_spans, n_latents), kind) for kind in kinds))


class Top(NamedTuple):
    """The k largest activations above 0 per token, ascending by latent."""

    value: NDArray[np.float32]  # (T, C), the first n of a row count
    latent: NDArray[np.int32]  # (T, C)
    n: NDArray[np.int32]  # (T,)


@dataclass(frozen=True, slots=True)
class Columns:
    """An encoder's columns in blocks; the last is filled up to a multiple of ``RUN``, silent there."""

    blocks: tuple[torch.Tensor, ...]
    """(D, B) each, in the dtype of the product."""
    bias: torch.Tensor
    """(L',) float32, added to the product in float32; −∞ behind the last latent."""
    threshold: torch.Tensor | None
    """(L',) ≥ 0; None for TopK."""
    n_latents: int

    @classmethod
    def of(
        cls, weight: torch.Tensor, bias: torch.Tensor, threshold: torch.Tensor | None, width: int
    ) -> "Columns":
        """Blocks of ``width`` latents, a multiple of ``RUN``, of (D, L) columns."""
        n = weight.shape[1]
        spare = (0, -n % RUN)
        blocks = torch.split(pad(weight, spare), width, dim=1)
        return cls(
            tuple(block.contiguous() for block in blocks),
            pad(bias, spare, value=-math.inf),
            None if threshold is None else pad(threshold, spare).contiguous(),
            n,
        )

    def tally(self, x: torch.Tensor, bounds: Sequence[int], k: int) -> Tally:
        """Readings of spans.

        Args:
            x: (T, D) operand of the product.
            bounds: S + 1 ascending tokens; span s is ``bounds[s]:bounds[s + 1]``.
            k: latents that may fire per token where there is no threshold.
        """
        tally, edges = Tally.empty(len(bounds) - 1, self.n_latents), np.asarray(bounds, np.int64)
        if self.threshold is None:
            top = _top(_products(x, self.blocks), self.bias, k, len(x))
            _share(lambda s, e: pool_held(*top, edges, s, e, *tally), len(bounds) - 1, top.value.size)
            return tally
        limits, biases = self.threshold.numpy(), self.bias.numpy()
        for first, bits, shift in _products(x, self.blocks):
            here = slice(first, first + bits.shape[1])
            operands = bits, shift, biases[here], limits[here], edges
            pool = partial(_pool_columns, operands, first, tally)
            _share(pool, bits.shape[1], bits.shape[0], step=RUN)
        return tally


def _pool_columns(operands: tuple[Any, ...], offset: int, tally: Tally, left: int, right: int) -> None:
    pool_over(*operands, left, right, offset, *tally)


def dense_top(h: torch.Tensor, k: int) -> torch.Tensor:
    """(T, L) float32 pre-activations with all but each token's k largest above 0 set to 0.

    Of equals at the k-th place the lowest latents stay, as in ``tally_top``.
    """
    filled = pad(h, (0, -h.shape[1] % RUN), value=-math.inf).contiguous()
    bits = filled.view(torch.uint32).numpy()
    top = _top(iter([(0, bits, 0)]), torch.zeros(filled.shape[1]), min(k, h.shape[1]), len(h))
    held = np.arange(top.value.shape[1]) < top.n[:, None]
    rows = np.repeat(np.arange(len(h)), top.n)
    dense = torch.zeros_like(h)
    dense.numpy()[rows, top.latent[held]] = top.value[held]
    return dense


def bytes_per_token(block_latents: int, k: int | None) -> int:
    """Memory that a token takes while it is encoded."""
    return 4 * block_latents + (8 * (PLACES * k + RUN) if k else 0)


def _top(
    products: Iterator[tuple[int, NDArray[np.uint32], int]], bias: torch.Tensor, k: int, n_tokens: int
) -> Top:
    places = PLACES * k + RUN
    top = Top(
        np.empty((n_tokens, places), np.float32),
        np.empty((n_tokens, places), np.int32),
        np.zeros(n_tokens, np.int32),
    )
    bound, biases = np.zeros(n_tokens, np.float32), bias.numpy()
    for first, bits, shift in products:
        operands = bits, shift, biases[first : first + bits.shape[1]], first, k
        _share(partial(_gather_rows, operands, top, bound), n_tokens, bits.shape[1])
    _share(lambda start, end: finish_top(k, start, end, *top, bound), n_tokens, places)
    return top


def _gather_rows(
    operands: tuple[Any, ...], top: Top, bound: NDArray[np.float32], start: int, end: int
) -> None:
    gather_top(*operands, start, end, *top, bound)


def _products(
    x: torch.Tensor, blocks: Sequence[torch.Tensor]
) -> Iterator[tuple[int, NDArray[np.uint32], int]]:
    """First latent, (T, B) bits and their shift of the product with each block; the next overwrites them."""
    held = torch.empty(x.shape[0] * max(block.shape[1] for block in blocks), dtype=x.dtype)
    first = 0
    for block in blocks:
        product = torch.mm(x, block, out=held[: x.shape[0] * block.shape[1]].view(x.shape[0], -1))
        if x.dtype == torch.bfloat16:
            yield first, product.view(torch.uint16).numpy(), 16
        else:
            yield first, product.float().view(torch.uint32).numpy(), 0
        first += block.shape[1]


def _share(run: Callable[[int, int], None], n: int, other: int, step: int = 1) -> None:
    """Call ``run`` on ranges that make up ``0:n``, on torch's number of threads where that pays."""
    n_threads = min(torch.get_num_threads(), n * other // _WORTH_A_THREAD + 1)
    if n_threads == 1:
        run(0, n)
        return
    size = -(-n // (n_threads * step)) * step
    ranges = [(a, min(a + size, n)) for a in range(0, n, size)]
    waiting = [_threads().submit(run, a, b) for a, b in ranges[1:]]
    run(*ranges[0])
    for future in waiting:
        future.result()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="encode")
