"""Readings as memory-mapped arrays: pair-major for looking at pairs, latent-major for statistics.

Shards hold one row per pair with lists. They are flattened to CSR by merging the latents of the two
responses of each pair, and transposed to CSC by one counting sort (array_files.py). Every array is a plain
``.npy`` file, so that NumPy (or anything else) maps it without copying.
"""

import json
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.arrays import (
    UNKNOWN,
    LastTokens,
    LatentMajor,
    PairArrays,
    PairMajor,
    PromptMajor,
    Readings,
    SpanValues,
)
from engine.errors import StoreError
from engine.manifest import sync_folder, write_json
from engine.progress import Progress
from engine.records import Label, Span
from engine.store.array_files import ColumnFile, write_union
from engine.store.shard_files import Lists, ShardRows, locate_shards

ARRAYS_VERSION = 1
"""Raised when the files' meaning changes."""
_KINDS = ("max", "n", "sum", "peak")
_DTYPES: dict[str, Any] = {"max": np.float32, "n": np.uint16, "sum": np.float32, "peak": np.uint16}
_SIDES = (Span.CHOSEN, Span.REJECTED)
_PAIR_COLUMNS = (
    "pair_id", "group_id", "fold", "label", "source", "model_chosen", "model_rejected", "annotator",
    "base_weight",
)  # fmt: skip


def build_arrays(
    shards: Path,
    pairs: Path,
    out_dir: Path,
    n_latents: int,
    progress: Progress,
    *,
    max_pairs: int | None = None,
) -> int:
    """Write all arrays of one reader's shards into ``out_dir``.

    Args:
        shards: folder with the shard files.
        pairs: pairs.parquet; its order numbers the pairs.
        out_dir: written aside and renamed at the end; replaced if it is there.
        n_latents: L.
        progress: told about shards.
        max_pairs: take only this many pairs (an index over a first sample).

    Returns:
        P, the number of pairs from the start of pairs.parquet that have readings without a gap.

    Raises:
        StoreError: no readings for the first pairs, damaged shards, or no space.
    """
    known = _read_pairs(pairs)
    located = locate_shards(shards, known["pair_id"].to_pylist(), max_pairs)
    n_pairs = located[-1].stop
    temporary = out_dir.with_name(f".{out_dir.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    progress.start("arrays", 2 * len(located), "shards")
    try:
        temporary.mkdir(parents=True)
        _write_lengths(temporary, located)
        _write_pairs(temporary, known.slice(0, n_pairs))
        _write_responses(temporary, located, n_pairs, n_latents, progress)
        _write_prompts(temporary, located, n_pairs)
        _write_last(temporary, located, n_pairs, n_latents)
        write_json(
            temporary / "arrays.json", {"version": ARRAYS_VERSION, "n_pairs": n_pairs, "n_latents": n_latents}
        )
        shutil.rmtree(out_dir, ignore_errors=True)
        temporary.replace(out_dir)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise StoreError(
            f"cannot write {out_dir}: {error.strerror or error}", hint="check free space and permissions"
        ) from error
    sync_folder(out_dir.parent)
    progress.finish()
    return n_pairs


def _read_pairs(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, columns=list(_PAIR_COLUMNS))
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read: {error}", hint="ingest the sources again") from error


def _write_lengths(folder: Path, located: Sequence[ShardRows]) -> None:
    for span in Span:
        for kind, dtype in (("tokens", np.int32), ("truncated", np.bool_)):
            parts = [shard.values(f"{span}_{kind}") for shard in located]
            np.save(folder / f"{span}_{kind}.npy", np.concatenate(parts).astype(dtype))


def _write_pairs(folder: Path, pairs: pa.Table) -> None:
    groups = pairs["group_id"].to_pylist()
    changes = [0, *(a != b for a, b in pairwise(groups))]
    np.save(folder / "group.npy", np.cumsum(changes).astype(np.int32))
    np.save(folder / "fold.npy", pairs["fold"].to_numpy().astype(np.int8))
    labels = np.array([label == Label.CHOSEN for label in pairs["label"].to_pylist()], dtype=np.bool_)
    np.save(folder / "is_signed.npy", labels)
    np.save(folder / "base_weight.npy", pairs["base_weight"].fill_null(1.0).to_numpy().astype(np.float64))
    names: dict[str, list[str]] = {}
    for name, columns in (
        ("source", ("source",)),
        ("model", ("model_chosen", "model_rejected")),
        ("annotator", ("annotator",)),
    ):
        values = [pairs[column].to_pylist() for column in columns]
        names[name] = sorted({v for column in values for v in column if v is not None})
        code = {v: i for i, v in enumerate(names[name])}
        for column, column_values in zip(columns, values, strict=True):
            codes = np.array([code.get(v, UNKNOWN) for v in column_values], dtype=np.int32)
            np.save(folder / f"{column}.npy", codes)
    write_json(folder / "names.json", names)


def _write_responses(
    folder: Path, located: Sequence[ShardRows], n_pairs: int, n_latents: int, progress: Progress
) -> None:
    by_pair, by_latent = write_union(
        folder, located, n_pairs, n_latents,
        take=_response_of, dtypes=_DTYPES, prefixes=("pair", "latent"), advance=progress.advance,
    )  # fmt: skip
    np.save(folder / "pair_indptr.npy", by_pair)
    np.save(folder / "latent_indptr.npy", by_latent)


def _response_of(shard: ShardRows, side: Span, kinds: Sequence[str]) -> tuple[Lists, list[NDArray[Any]]]:
    """Latents that fire on a response, and what is kept of them."""
    return shard.lists(f"{side}_latent"), [shard.lists(f"{side}_{kind}").values for kind in kinds]


def _write_prompts(folder: Path, located: Sequence[ShardRows], n_pairs: int) -> None:
    indptr = np.zeros(n_pairs + 1, np.int64)
    for shard in located:
        indptr[shard.start + 1 : shard.stop + 1] = np.diff(shard.lists("prompt_latent").indptr)
    np.cumsum(indptr, out=indptr)
    np.save(folder / "prompt_indptr.npy", indptr)
    for kind, dtype in (("latent", np.uint32), *_DTYPES.items()):
        with ColumnFile(folder / f"prompt_{kind}.npy", int(indptr[-1]), dtype) as column:
            for shard in located:
                column.append(shard.lists(f"prompt_{kind}").values)


def _write_last(folder: Path, located: Sequence[ShardRows], n_pairs: int, n_latents: int) -> None:
    """CSC of what fires on the last token of either response; its CSR is only a step on the way."""
    _, by_latent = write_union(
        folder, located, n_pairs, n_latents,
        take=_last_of, dtypes={"last": np.float32}, prefixes=("step", "last"),
    )  # fmt: skip
    np.save(folder / "last_indptr.npy", by_latent)
    for side in _SIDES:
        (folder / f"last_{side}_last.npy").rename(folder / f"last_{side}.npy")
    for path in folder.glob("step_*.npy"):
        path.unlink()


def _last_of(shard: ShardRows, side: Span, kinds: Sequence[str]) -> tuple[Lists, list[NDArray[Any]]]:
    """Latents that fire on the last token of one side, and their activations there."""
    latents, values = shard.lists(f"{side}_latent"), shard.lists(f"{side}_last").values
    fires = values > 0
    kept = np.concatenate([[0], np.cumsum(fires)])
    return Lists(kept[latents.indptr], latents.values[fires]), [values[fires]] * len(kinds)


def open_arrays(folder: Path) -> Readings:
    """All readings of one reader, memory-mapped: opening costs milliseconds at any size.

    Raises:
        StoreError: missing, damaged or of another version.
    """
    try:
        facts = json.loads((folder / "arrays.json").read_text(encoding="utf-8"))
        names = json.loads((folder / "names.json").read_text(encoding="utf-8"))
        if facts["version"] != ARRAYS_VERSION:
            raise StoreError(f"{folder} is of another version", hint="rebuild it with `prosect audit`")
        return Readings(
            pairs=_open_pairs(folder, names),
            by_latent=LatentMajor(
                _load(folder, "latent_indptr"),
                _load(folder, "latent_pair"),
                _values(folder, "latent_chosen"),
                _values(folder, "latent_rejected"),
            ),
            by_pair=PairMajor(
                _load(folder, "pair_indptr"),
                _load(folder, "pair_latent"),
                _values(folder, "pair_chosen"),
                _values(folder, "pair_rejected"),
            ),
            prompts=PromptMajor(
                _load(folder, "prompt_indptr"), _load(folder, "prompt_latent"), _values(folder, "prompt")
            ),
            last=_open_last(folder),
        )
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"{folder} holds no readable arrays: {error}", hint="rebuild it with `prosect audit`"
        ) from error


def _open_last(folder: Path) -> LastTokens | None:
    if not (folder / "last_indptr.npy").exists():  # arrays made before they were kept
        return None
    return LastTokens(*(_load(folder, f"last_{name}") for name in ("indptr", "pair", *_SIDES)))


def _open_pairs(folder: Path, names: dict[str, list[str]]) -> PairArrays:
    return PairArrays(
        is_signed=_load(folder, "is_signed"),
        group=_load(folder, "group"),
        fold=_load(folder, "fold"),
        prompt_tokens=_load(folder, "prompt_tokens"),
        chosen_tokens=_load(folder, "chosen_tokens"),
        rejected_tokens=_load(folder, "rejected_tokens"),
        source=_load(folder, "source"),
        model_chosen=_load(folder, "model_chosen"),
        model_rejected=_load(folder, "model_rejected"),
        annotator=_load(folder, "annotator"),
        source_names=tuple(names["source"]),
        model_names=tuple(names["model"]),
        annotator_names=tuple(names["annotator"]),
        base_weight=_load(folder, "base_weight") if (folder / "base_weight.npy").exists() else None,
    )


def _load(folder: Path, name: str) -> NDArray[Any]:
    path = folder / f"{name}.npy"
    array: NDArray[Any] = np.load(path, mmap_mode="r")
    return array


def _values(folder: Path, prefix: str) -> SpanValues:
    return SpanValues(*(_load(folder, f"{prefix}_{kind}") for kind in _KINDS))


def load_truncated(folder: Path) -> dict[Span, NDArray[np.bool_]]:
    """Which spans were cut for reading, (P,) each."""
    return {span: _load(folder, f"{span}_truncated") for span in Span}
