"""Which characters a `mask tokens` statement means: the reader reads the responses again, token by token."""

import json
from collections.abc import Collection, Iterator, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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

MASKS_VERSION = 2
"""Raised when the same statements would mask other characters."""
_SIDES = ("chosen", "rejected")
_CHUNK = 512
"""Pairs laid out at a time."""


class Reach(NamedTuple):
    """The pairs that a run sees: so many from the first, in the training order of a seed."""

    seed: int
    n_pairs: int


def prepare_masks(
    paths: ProjectPaths,
    shaped_dir: Path,
    index: str,
    reader_hash: str,
    reading: ReadingSettings,
    progress: Progress,
    reach: Reach | None = None,
) -> int:
    """Write what the lock's mask statements leave out beside the shaped dataset; how many there are.

    Activations of single tokens are not stored, so the responses that can have one are read once more, of the
    pairs that the run reaches (None: all); what was read from the same lock and reader stays. What the
    reader cuts off a long response is not masked, and counted aloud.

    Raises:
        ModelError: the reader of the index is gone or has changed.
    """
    lock = json.loads((shaped_dir / "lock.json").read_text(encoding="utf-8"))
    entries = [e for e in lock.get("training", []) if e["kind"] == "mask"]
    if not entries:
        return 0
    from engine.training.masks import Masks, masks_made_for, read_masks, write_masks

    inputs = {"reader": reader_hash, "index": lock["index"]}
    made_for = fingerprint("masks", MASKS_VERSION, inputs, {"statements": entries})
    is_there = masks_made_for(shaped_dir) == made_for
    held = read_masks(shaped_dir) if is_there else Masks((), {})
    order = _pair_ids(shaped_dir)
    n_pairs = len(order)
    reach = reach or Reach(0, n_pairs)
    if is_there and held.are_known(*reach, n_pairs):
        return len(entries)
    wanted = _reached(order, reach) - held.read
    rows = _rows_to_read(shaped_dir, {e["name"] for e in entries}, _carriers(paths, index, entries), wanted)
    spans = dict(held.spans) | _spans(reopen(paths, reader_hash, reading), rows, entries, progress)
    read = held.read | {row["pair_id"] for row in rows}
    covers = dict(held.covers) | {reach.seed: max(reach.n_pairs, held.covers.get(reach.seed, 0))}
    names = tuple(sorted(e["name"] for e in entries))
    write_masks(shaped_dir, Masks(names, spans, frozenset(read), covers), made_for)
    return len(entries)


def _spans(
    reader: "Reader", rows: list[dict[str, Any]], entries: list[dict[str, Any]], progress: Progress
) -> "dict[tuple[str, str], tuple[Span, ...]]":
    """What is masked in these pairs, by pair id and side."""
    spans: dict[tuple[str, str], tuple[Span, ...]] = {}
    n_cut = 0
    progress.start("mask tokens", len(rows), "pairs")
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
    return spans


def _pair_ids(shaped_dir: Path) -> list[str]:
    import pyarrow.parquet as pq

    ids: list[str] = pq.read_table(shaped_dir / "train.parquet", columns=["pair_id"])[0].to_pylist()
    return ids


def _reached(pair_ids: list[str], reach: Reach) -> set[str]:
    from engine.training.shaped import training_order

    if reach.n_pairs >= len(pair_ids):
        return set(pair_ids)
    return {pair_ids[i] for i in training_order(pair_ids, reach.seed)[: reach.n_pairs]}


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
    shaped_dir: Path, names: Set[str], carriers: Collection[str] | None, wanted: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Pairs that a mask can be in, those with the same prompt side by side. None: all."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(shaped_dir / "train.parquet")
    tools = [name for name in file.schema_arrow.names if name == "tools"]  # only where a pair offers some
    table = file.read(columns=["pair_id", "prompt", *_SIDES, "rules", *tools])
    rows = [
        row
        for row in table.to_pylist()
        if not names.isdisjoint(row["rules"])
        and all(ids is None or row["pair_id"] in ids for ids in (carriers, wanted))
    ]
    return sorted(rows, key=lambda row: json.dumps([row["prompt"], row.get("tools")]))


def _read(
    reader: "Reader", rows: list[dict[str, Any]], entries: list[dict[str, Any]]
) -> "Iterator[tuple[tuple[str, str], list[Span], bool]]":
    """Per response its pair id and side, the spans that any entry masks, and whether the reader cut it.

    A response that several pairs have to the same prompt is read once.
    """
    from engine.compiler.training_lock import latents_of, token_truth
    from engine.reading.peaks import token_peaks
    from engine.records import Message
    from engine.training.masks import content_spans

    owners: dict[str, list[tuple[dict[str, Any], str]]] = {}
    for row in rows:
        for side in _SIDES:
            owners.setdefault(json.dumps([row["prompt"], row.get("tools"), row[side]]), []).append(
                (row, side)
            )
    asked = list(owners.values())
    texts, parts = [], []
    for (row, side), *_ in asked:
        prompt, response = ([Message(m["role"], m["content"]) for m in row[c]] for c in ("prompt", side))
        tools = row.get("tools") or None
        texts.append(reader.layout.encode(prompt, response, tools=tools, max_tokens=reader.max_tokens))
        parts.append((len(prompt), response))
    groups = sorted({group for e in entries for group in latents_of(e["tokens"])})
    for i, peaks in token_peaks(reader, texts, groups):
        for row, side in asked[i]:
            wanted = [e["tokens"] for e in entries if e["name"] in row["rules"]]
            hit = np.logical_or.reduce([token_truth(condition, peaks) for condition in wanted])
            masked = [int(index) for index in texts[i].response_own[hit]]
            spans = content_spans(texts[i], *parts[i], masked)
            yield (row["pair_id"], side), spans, texts[i].response_truncated
