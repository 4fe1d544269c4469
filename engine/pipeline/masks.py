"""Which characters a `mask tokens` statement means: the reader reads the responses again, token by token."""

import json
from collections.abc import Collection, Iterator, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.manifest import fingerprint
from engine.paths import ProjectPaths
from engine.pipeline.readers import reopen
from engine.progress import Progress
from engine.settings import ReadingSettings
from engine.store.connection import Store

if TYPE_CHECKING:
    from engine.reading.reader import Reader
    from engine.training.masks import Span

MASKS_VERSION = 1
"""Raised when the same statements would mask other characters."""
_SIDES = ("chosen", "rejected")
_CHUNK = 512
"""Pairs laid out at a time."""


def prepare_masks(
    paths: ProjectPaths,
    shaped_dir: Path,
    index: str,
    reader_hash: str,
    reading: ReadingSettings,
    progress: Progress,
) -> int:
    """Write what the lock's mask statements leave out beside the shaped dataset; how many there are.

    Activations of single tokens are not stored, so the responses that can have one are read once more; masks
    that were made from the same lock and reader stay. What the reader cuts off a long response is not masked,
    and counted aloud.

    Raises:
        ModelError: the reader of the index is gone or has changed.
    """
    lock = json.loads((shaped_dir / "lock.json").read_text(encoding="utf-8"))
    entries = [e for e in lock.get("training", []) if e["kind"] == "mask"]
    if not entries:
        return 0
    from engine.training.masks import Masks, masks_made_for, write_masks

    inputs = {"reader": reader_hash, "index": lock["index"]}
    made_for = fingerprint("masks", MASKS_VERSION, inputs, {"statements": entries})
    if masks_made_for(shaped_dir) == made_for:
        return len(entries)
    rows = _rows_to_read(shaped_dir, {e["name"] for e in entries}, _carriers(paths, index, entries))
    reader = reopen(paths, reader_hash, reading)
    progress.start("mask tokens", len(rows), "pairs")
    spans: dict[tuple[str, str], tuple[Span, ...]] = {}
    n_cut = 0
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        for key, found, is_cut in _read(reader, chunk, entries):
            n_cut += is_cut
            if found:
                spans[key] = tuple(found)
        progress.advance(len(chunk))
    progress.finish()
    if n_cut:
        progress.note(f"{n_cut} responses are longer than the reader reads: their ends are not masked")
    write_masks(shaped_dir, Masks(tuple(sorted(e["name"] for e in entries)), spans), made_for)
    return len(entries)


def _carriers(paths: ProjectPaths, index: str, entries: list[dict[str, Any]]) -> "set[str] | None":
    """Pairs with any of the latents on either side; None when silent tokens can be meant, too."""
    from engine.compiler.training_lock import latents_of, token_truth

    latents = sorted({latent for e in entries for group in latents_of(e["tokens"]) for latent in group})
    silent = {group: np.zeros(1) for e in entries for group in latents_of(e["tokens"])}
    if any(token_truth(e["tokens"], silent).any() for e in entries):
        return None
    with Store(paths.index(index)) as store:
        found = store.rows(
            "SELECT DISTINCT p.pair_id FROM acts a JOIN pairs p ON p.pair = a.pair"
            " WHERE a.latent IN (SELECT unnest($latents))",
            {"latents": latents},
        )
    return {row[0] for row in found}


def _rows_to_read(
    shaped_dir: Path, names: Set[str], carriers: Collection[str] | None
) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(shaped_dir / "train.parquet")
    tools = [name for name in file.schema_arrow.names if name == "tools"]  # only where a pair offers some
    table = file.read(columns=["pair_id", "prompt", *_SIDES, "rules", *tools])
    return [
        row
        for row in table.to_pylist()
        if not names.isdisjoint(row["rules"]) and (carriers is None or row["pair_id"] in carriers)
    ]


def _read(
    reader: "Reader", rows: list[dict[str, Any]], entries: list[dict[str, Any]]
) -> "Iterator[tuple[tuple[str, str], list[Span], bool]]":
    """Per response its pair id and side, the spans that any entry masks, and whether the reader cut it."""
    from engine.compiler.training_lock import latents_of, token_truth
    from engine.reading.peaks import token_peaks
    from engine.records import Message
    from engine.training.masks import content_spans

    jobs, texts = [], []
    for row in rows:
        prompt = [Message(m["role"], m["content"]) for m in row["prompt"]]
        for side in _SIDES:
            response = [Message(m["role"], m["content"]) for m in row[side]]
            tools = row.get("tools") or None
            texts.append(reader.layout.encode(prompt, response, tools=tools, max_tokens=reader.max_tokens))
            jobs.append((row, side, len(prompt), response))
    groups = sorted({group for e in entries for group in latents_of(e["tokens"])})
    for i, peaks in token_peaks(reader, texts, groups):
        row, side, n_prompt, response = jobs[i]
        wanted = [e["tokens"] for e in entries if e["name"] in row["rules"]]
        hit = np.logical_or.reduce([token_truth(condition, peaks) for condition in wanted])
        masked = [int(index) for index in texts[i].response_own[hit]]
        spans = content_spans(texts[i], n_prompt, response, masked)
        yield (row["pair_id"], side), spans, texts[i].response_truncated
