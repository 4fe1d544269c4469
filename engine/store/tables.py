"""Pairs and their readings as tables of an index, batch by batch, from arrays and pairs.parquet.

Rows come in the order that the index declares, so that nothing has to be held to be sorted.
"""

import mmap
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.arrays import PairArrays, Readings
from engine.errors import StoreError
from engine.records import Span
from engine.store.transpose import count_latents, transpose_some

_COPIED = (
    "pair_id",
    "content_id",
    "copy",
    "near_copy",
    "source",
    "source_file",
    "source_row",
    "label",
    "group_id",
    "fold",
    "chosen_was",
    "strength",
    "score_chosen",
    "score_rejected",
    "model_chosen",
    "model_rejected",
    "annotator",
    "language",
    "base_weight",
    "is_evaluation",
    "meta",
)
_PAIRS_A_BATCH = 122_880 // 8
_ROWS_A_BATCH = 8 * 122_880
"""Rows that are inserted at a time: whole row groups of the database."""
_ROWS_A_PASS = 1 << 24
"""Readings of the prompts that are transposed at a time: 16 bytes each, and one pass over all latents."""


def acts_table(readings: Readings) -> pa.RecordBatchReader:
    """Rows of ``schema.ACTS``, already in its order (latent, pair): one per place of the CSC arrays."""
    by_latent = readings.by_latent
    columns: dict[str, NDArray[Any]] = {"pair": by_latent.pair}
    for span, values in ((Span.CHOSEN, by_latent.chosen), (Span.REJECTED, by_latent.rejected)):
        columns |= {
            f"{span}_max": values.act_max,
            f"{span}_n": values.n_fired,
            f"{span}_sum": values.act_sum,
            f"{span}_peak": values.peak,
        }
    return _stream(by_latent.indptr, columns)


def last_acts_table(readings: Readings) -> pa.RecordBatchReader:
    """Rows of ``schema.LAST_ACTS`` in its order (latent, pair)."""
    last = readings.last
    if last is None:
        raise StoreError("these readings have no last-token activations", hint="run `prosect audit` again")
    return _stream(last.indptr, {"pair": last.pair, "chosen": last.chosen, "rejected": last.rejected})


def _stream(indptr: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]) -> pa.RecordBatchReader:
    """Latent-major arrays as batches of rows with their latent."""

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, int(indptr[-1]), _ROWS_A_BATCH):
            stop = min(start + _ROWS_A_BATCH, int(indptr[-1]))
            part = {name: pa.array(np.asarray(column[start:stop])) for name, column in columns.items()}
            yield pa.record_batch({"latent": pa.array(_latents_of(indptr, start, stop)), **part})
            for column in columns.values():
                _let_go(column)

    types = {name: pa.from_numpy_dtype(column.dtype) for name, column in columns.items()}
    return pa.RecordBatchReader.from_batches(pa.schema({"latent": pa.uint32(), **types}), batches())


def _let_go(column: NDArray[Any]) -> None:
    """Unmap the pages of an array that lies in a file: what was read is not needed again."""
    base: object = column.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)


def _latents_of(indptr: NDArray[np.int64], start: int, stop: int) -> NDArray[np.uint32]:
    """Latent of each of the places ``start … stop − 1``."""
    first = int(np.searchsorted(indptr, start, side="right")) - 1
    last = int(np.searchsorted(indptr, stop, side="left"))
    bounds = np.clip(indptr[first : last + 1], start, stop)
    return np.repeat(np.arange(first, last, dtype=np.uint32), np.diff(bounds))


def prompt_acts_table(readings: Readings) -> pa.RecordBatchReader:
    """Rows of ``schema.PROMPT_ACTS`` in its order (latent, pair): a counting sort, some latents at a time."""
    prompts = readings.prompts
    indptr, latent = np.asarray(prompts.indptr), np.asarray(prompts.latent)
    values: dict[str, NDArray[Any]] = {
        "prompt_max": np.asarray(prompts.values.act_max),
        "prompt_n": np.asarray(prompts.values.n_fired),
        "prompt_sum": np.asarray(prompts.values.act_sum),
        "prompt_peak": np.asarray(prompts.values.peak),
    }
    types = {name: pa.from_numpy_dtype(column.dtype) for name, column in values.items()}
    schema = pa.schema({"latent": pa.uint32(), "pair": pa.uint32(), **types})

    def batches() -> Iterator[pa.RecordBatch]:
        counts = np.zeros(readings.n_latents, np.int64)
        count_latents(latent, counts)
        for first, stop in _passes(counts):
            own = np.concatenate([[0], np.cumsum(counts[first:stop])])
            pair = np.empty(own[-1], np.uint32)
            out = [np.empty(own[-1], column.dtype) for column in values.values()]
            transpose_some(indptr, latent, first, stop, own.copy(), *values.values(), pair, *out)
            columns = {"pair": pair, **dict(zip(values, out, strict=True))}
            for batch in _stream(own, columns):
                numbers = pa.array(np.asarray(batch["latent"]) + np.uint32(first))
                yield batch.set_column(0, "latent", numbers)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _passes(counts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of latents with at most ``_ROWS_A_PASS`` rows, or of one latent."""
    first, held = 0, 0
    for number, n in enumerate(counts.tolist()):
        if held and held + n > _ROWS_A_PASS:
            yield first, number
            first, held = number, 0
        held += n
    if held:
        yield first, len(counts)


def pairs_table(
    pairs_path: Path, pairs: PairArrays, truncated: Mapping[Span, NDArray[np.bool_]]
) -> pa.RecordBatchReader:
    """Rows of ``schema.PAIRS`` for the pairs of an index: text and metadata of pairs.parquet, token counts.

    Args:
        pairs_path: pairs.parquet.
        pairs: the index's pairs; its length says how many rows from the start are taken.
        truncated: which spans were cut for reading, (P,) each, as ``arrays.load_truncated`` gives them.

    Raises:
        StoreError: pairs.parquet is damaged or shorter than the index.
    """
    columns: dict[str, NDArray[Any]] = {
        "group_index": pairs.group.astype(np.uint32),
        "prompt_tokens": pairs.prompt_tokens,
        "chosen_tokens": pairs.chosen_tokens,
        "rejected_tokens": pairs.rejected_tokens,
    } | {f"{span}_truncated": truncated[span] for span in Span}
    batches = _pair_batches(pairs_path, pairs.n_pairs, columns)
    first = next(batches)
    return pa.RecordBatchReader.from_batches(first.schema, chain([first], batches))


def _pair_batches(path: Path, n: int, columns: Mapping[str, NDArray[Any]]) -> Iterator[pa.RecordBatch]:
    at = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(_PAIRS_A_BATCH, columns=[*_COPIED, *Span]):
            part = _with_texts(pa.Table.from_batches([batch]).slice(0, n - at))
            stop = at + part.num_rows
            part = part.append_column("pair", pa.array(np.arange(at, stop, dtype=np.uint32)))
            for name, values in columns.items():
                part = part.append_column(name, pa.array(np.asarray(values[at:stop])))
            yield from part.combine_chunks().to_batches()
            at = stop
            if at == n:
                return
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read: {error}", hint="ingest the sources again") from error
    raise StoreError(f"{path} has fewer pairs than the index", hint="run `prosect audit` again")


def _with_texts(part: pa.Table) -> pa.Table:
    kept = part.select(list(_COPIED))
    for span in Span:
        kept = kept.append_column(f"{span}_text", plain_texts(part[span]))
    turns = pc.fill_null(pc.list_value_length(part[Span.PROMPT]), 0)
    return kept.append_column("prompt_turns", turns)


def by_evidence(hypotheses: pa.Table) -> pa.Table:
    """The same rows in the order in which people first see them, numbered in it.

    The strongest evidence, |taught_z|, comes first, NULL last; ties stay in the order given.
    """
    z = np.abs(hypotheses["taught_z"].to_numpy().astype(np.float64))
    order = np.argsort(np.where(np.isnan(z), np.inf, -z), kind="stable")
    at = hypotheses.column_names.index("hypothesis")
    numbers = pa.array(np.arange(len(order), dtype=np.uint32))
    return hypotheses.take(pa.array(order)).set_column(at, "hypothesis", numbers)


def pair_texts(pairs_path: Path, n_pairs: int) -> tuple[list[str], list[str], list[str]]:
    """Prompts, chosen and rejected responses of the first pairs as ``pairs_table`` has them."""
    table = pq.read_table(pairs_path, columns=list(Span)).slice(0, n_pairs)
    prompt, chosen, rejected = (plain_texts(table[span]).to_pylist() for span in Span)
    return prompt, chosen, rejected


def plain_texts(messages: pa.ChunkedArray) -> pa.ChunkedArray:
    """Messages as people read them: a single message is its content, several are separated by blank lines.

    Each of several starts with its role and a colon. No messages are an empty text.
    """
    return pa.chunked_array([_plain_texts(chunk) for chunk in messages.chunks], pa.string())


def _plain_texts(messages: pa.ListArray) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(messages), 0)
    turns = messages.flatten()
    content = pc.fill_null(turns.field("content"), "")
    marked = pc.binary_join_element_wise(turns.field("role"), content, ": ")
    is_alone = np.repeat(lengths.to_numpy() == 1, lengths.to_numpy())
    lines = pc.if_else(pa.array(is_alone), content, marked)
    offsets = np.concatenate([[0], np.cumsum(lengths.to_numpy())]).astype(np.int32)
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), lines), "\n\n")
