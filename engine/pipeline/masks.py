"""Which characters a `mask tokens` statement means: the reader reads the responses again, token by token."""

import json
from collections.abc import Collection, Iterator, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.manifest import hash_json
from engine.paths import ProjectPaths
from engine.pipeline.readers import reopen
from engine.progress import Progress
from engine.settings import ReadingSettings
from engine.store.connection import Store

if TYPE_CHECKING:
    from engine.reading.reader import Reader
    from engine.training.masks import Span

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

    made_for = hash_json([entries, reader_hash, lock["index"]])
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

    table = pq.read_table(shaped_dir / "train.parquet", columns=["pair_id", "prompt", *_SIDES, "rules"])
    return [
        row
        for row in table.to_pylist()
        if not names.isdisjoint(row["rules"]) and (carriers is None or row["pair_id"] in carriers)
    ]


def _read(
    reader: "Reader", rows: list[dict[str, Any]], entries: list[dict[str, Any]]
) -> "Iterator[tuple[tuple[str, str], list[Span], bool]]":
    """Per response its pair id and side, the spans that any entry masks, and whether the reader cut it."""
    import torch

    from engine.reading.batches import plan_batches
    from engine.records import Message
    from engine.training.masks import content_spans

    jobs = []
    for row in rows:
        for side in _SIDES:
            prompt, response = ([Message(m["role"], m["content"]) for m in row[c]] for c in ("prompt", side))
            text = reader.layout.encode(prompt, response, max_tokens=reader.max_tokens)
            if len(text.response_own):
                jobs.append((row, side, text, len(prompt), response))
    on_cpu = reader.loaded.device.type == "cpu"
    for batch in plan_batches([len(job[2].ids) for job in jobs], 0 if on_cpu else reader.batch_tokens):
        with torch.inference_mode():
            streams = reader.residuals([jobs[i][2].ids for i in batch])
        for i, stream in zip(batch, streams, strict=True):
            row, side, text, n_prompt, response = jobs[i]
            wanted = [e["tokens"] for e in entries if e["name"] in row["rules"]]
            masked = _masked_tokens(reader, stream, text.response_own, wanted)
            key = (row["pair_id"], side)
            yield key, content_spans(text, n_prompt, response, masked), text.response_truncated


def _masked_tokens(reader: "Reader", stream: Any, own: Any, conditions: list[Any]) -> list[int]:
    """Indices of a response's own tokens for which any condition holds."""
    import torch

    from engine.compiler.training_lock import latents_of, token_truth

    groups = sorted({group for condition in conditions for group in latents_of(condition)})
    with torch.inference_mode():
        acts = reader.encoder.dense(stream[torch.from_numpy(own).to(stream.device)])  # (T, L)
        peaks = {group: acts[:, list(group)].amax(dim=1).float().cpu().numpy() for group in groups}
    hit = np.logical_or.reduce([token_truth(condition, peaks) for condition in conditions])
    return [int(own[i]) for i in np.flatnonzero(hit)]
