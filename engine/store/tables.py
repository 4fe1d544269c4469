"""Arrow tables of an index from arrays and pairs.parquet: pairs, activations of responses and prompts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.arrays import PairArrays, Readings
from engine.errors import StoreError
from engine.records import Span
from engine.store.transpose import transpose_column, transpose_pairs

_COPIED = (
    "pair_id",
    "content_id",
    "copy",
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
_BATCH = 4096


def acts_table(readings: Readings) -> pa.Table:
    """Rows of ``schema.ACTS``, already in its order (latent, pair): one per place of the CSC arrays."""
    by_latent = readings.by_latent
    columns: dict[str, NDArray[Any]] = {
        "latent": np.repeat(np.arange(by_latent.n_latents, dtype=np.uint32), np.diff(by_latent.indptr)),
        "pair": by_latent.pair,
    }
    for span, values in ((Span.CHOSEN, by_latent.chosen), (Span.REJECTED, by_latent.rejected)):
        columns |= {
            f"{span}_max": values.act_max,
            f"{span}_n": values.n_fired,
            f"{span}_sum": values.act_sum,
            f"{span}_peak": values.peak,
        }
    return pa.table({name: pa.array(np.asarray(column)) for name, column in columns.items()})


def last_acts_table(readings: Readings) -> pa.Table:
    """Rows of ``schema.LAST_ACTS`` in its order (latent, pair)."""
    last = readings.last
    if last is None:
        raise StoreError("these readings have no last-token activations", hint="run `prosect audit` again")
    latents = np.repeat(np.arange(readings.n_latents, dtype=np.uint32), np.diff(last.indptr))
    columns = {"latent": latents, "pair": last.pair, "chosen": last.chosen, "rejected": last.rejected}
    return pa.table({name: pa.array(np.asarray(column)) for name, column in columns.items()})


def prompt_acts_table(readings: Readings) -> pa.Table:
    """Rows of ``schema.PROMPT_ACTS`` in its order (latent, pair), by one counting sort."""
    prompts, n_latents = readings.prompts, readings.n_latents
    latent = np.asarray(prompts.latent)
    counts = np.bincount(latent, minlength=n_latents)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    pair = np.empty(len(latent), np.uint32)
    transpose_pairs(np.asarray(prompts.indptr), latent, starts.copy(), pair)
    columns: dict[str, NDArray[Any]] = {
        "latent": np.repeat(np.arange(n_latents, dtype=np.uint32), counts),
        "pair": pair,
    }
    for name, values in (
        ("prompt_max", prompts.values.act_max),
        ("prompt_n", prompts.values.n_fired),
        ("prompt_sum", prompts.values.act_sum),
        ("prompt_peak", prompts.values.peak),
    ):
        columns[name] = np.empty(len(latent), values.dtype)
        transpose_column(latent, starts.copy(), np.asarray(values), columns[name])
    return pa.table({name: pa.array(column) for name, column in columns.items()})


def pairs_table(pairs_path: Path, pairs: PairArrays, truncated: Mapping[Span, NDArray[np.bool_]]) -> pa.Table:
    """Rows of ``schema.PAIRS`` for the pairs of an index: text and metadata of pairs.parquet, token counts.

    Args:
        pairs_path: pairs.parquet.
        pairs: the index's pairs; its length says how many rows from the start are taken.
        truncated: which spans were cut for reading, (P,) each, as ``arrays.load_truncated`` gives them.

    Raises:
        StoreError: pairs.parquet is damaged or shorter than the index.
    """
    n = pairs.n_pairs
    try:
        file = pq.ParquetFile(pairs_path)
        parts = []
        left = n
        for batch in file.iter_batches(_BATCH, columns=[*_COPIED, *Span]):
            parts.append(_with_texts(pa.Table.from_batches([batch]).slice(0, left)))
            left -= parts[-1].num_rows
            if left == 0:
                break
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{pairs_path} cannot be read: {error}", hint="ingest the sources again") from error
    if left:
        raise StoreError(f"{pairs_path} has fewer pairs than the index", hint="run `prosect audit` again")
    table = pa.concat_tables(parts)
    added: dict[str, NDArray[Any]] = {
        "pair": np.arange(n, dtype=np.uint32),
        "group_index": pairs.group.astype(np.uint32),
        "prompt_tokens": pairs.prompt_tokens,
        "chosen_tokens": pairs.chosen_tokens,
        "rejected_tokens": pairs.rejected_tokens,
    } | {f"{span}_truncated": np.asarray(truncated[span]) for span in Span}
    for name, values in added.items():
        table = table.append_column(name, pa.array(np.asarray(values)))
    return table


def _with_texts(part: pa.Table) -> pa.Table:
    texts = {f"{span}_text": [plain_text(m) for m in part[span].to_pylist()] for span in Span}
    turns = [len(m or ()) for m in part[Span.PROMPT].to_pylist()]
    kept = part.select(list(_COPIED))
    for name, values in texts.items():
        kept = kept.append_column(name, pa.array(values, pa.string()))
    return kept.append_column("prompt_turns", pa.array(turns, pa.int32()))


def by_evidence(hypotheses: pa.Table) -> pa.Table:
    """The same rows in the order in which people first see them, numbered in it.

    The strongest evidence, |taught_z|, comes first, NULL last; ties stay in the order given.
    """
    z = np.abs(hypotheses["taught_z"].to_numpy().astype(np.float64))
    order = np.argsort(np.where(np.isnan(z), np.inf, -z), kind="stable")
    at = hypotheses.column_names.index("hypothesis")
    numbers = pa.array(np.arange(len(order), dtype=np.uint32))
    return hypotheses.take(pa.array(order)).set_column(at, "hypothesis", numbers)


def plain_text(messages: Sequence[Mapping[str, Any]] | None) -> str:
    """Messages as people read them: a single message is its content, several are separated by blank lines.

    Each of several starts with its role and a colon.
    """
    turns = messages or ()
    if len(turns) == 1:
        return str(turns[0]["content"] or "")
    return "\n\n".join(f"{turn['role']}: {turn['content'] or ''}" for turn in turns)
