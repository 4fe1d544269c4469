"""Sources that have not changed: their pairs are taken from the last ingest instead of being read again."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.ingest import keys as k
from engine.ingest.collect import Collected
from engine.ingest.columnar import own_batches
from engine.ingest.drafts import Draft, Reason, Turns
from engine.ingest.report import SourceCounts, entries_of, read_report
from engine.manifest import read_manifest
from engine.progress import Progress
from engine.records import Label

_LATE_REASONS = [
    Reason.EXACT_DUPLICATE.value,
    Reason.NEAR_DUPLICATE.value,
    Reason.EVALUATION_OVERLAP.value,
    Reason.FOLD_MOVED.value,
]
"""Entries that depend on all sources together: found again every time."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a folder already holds."""

    folder: Path
    is_finished: bool
    sources: dict[str, SourceCounts]
    """By fingerprint."""

    def take(self, known: SourceCounts, into: Collected, progress: Progress) -> None:
        """Copy the pairs and entries of an unchanged source."""
        files = [f.file for f in known.files]
        entries = entries_of(self.folder, files)
        late = pc.is_in(entries["reason"], value_set=pa.array(_LATE_REASONS))
        into.entries.extend(entries.filter(pc.invert(late)))
        _take_pairs(self.folder / "pairs.parquet", files, known, into, progress)


def earlier(folder: Path, stage_version: int) -> Earlier:
    """What an earlier, finished ingest of the same version left; nothing otherwise."""
    manifest = read_manifest(folder)
    if manifest is None or manifest.stage_version != stage_version:
        return Earlier(folder, False, {})
    return Earlier(folder, True, {s.fingerprint: s for s in read_report(folder).sources})


def _take_pairs(
    path: Path, files: list[str], known: SourceCounts, into: Collected, progress: Progress
) -> None:
    wanted = pa.array(files)
    with pq.ParquetFile(path) as old:
        for batch in own_batches(old):
            ours = batch.filter(pc.is_in(batch["source_file"], value_set=wanted))
            if ours.num_rows:
                _take_batch(ours, known, into)
            progress.advance(ours.num_rows)


def _take_batch(batch: pa.RecordBatch, known: SourceCounts, into: Collected) -> None:
    light = batch.drop_columns(["chosen", "rejected"]).to_pylist()
    size = batch.nbytes // batch.num_rows
    for i, row in enumerate(light):
        into.keys.add(
            _keys(row, batch, i, with_overlaps=into.with_overlaps),
            source=into.number_of(row["source"]),
            file=into.files.setdefault(row["source_file"], len(into.files)),
            row=row["source_row"],
            size=size,
            is_evaluation=known.is_evaluation,
        )
    for label, n in Counter(row["label"] for row in light).items():
        into.labels[label] = into.labels.get(label, 0) + n
    into.spool.add_batch(batch)


def _turns(value: list[dict[str, str]]) -> Turns:
    return tuple((m["role"], m["content"]) for m in value)


def _keys(row: dict[str, Any], batch: pa.RecordBatch, i: int, *, with_overlaps: bool) -> k.Keys:
    turns = _turns(row["prompt"])
    prompt = k.hashed(turns, [], 1 << 62)
    sides = [b"", b""]
    if not prompt.size:
        sides = [k.hashed(_turns(batch[c][i].as_py()), [], 1 << 62).digest for c in ("chosen", "rejected")]
    fields = {name: row[name] for name in _KEPT}
    draft = Draft(turns, (), (), Label(row["label"]), **fields)
    return k.Keys(
        k.prompt_key(prompt, sides[0], sides[1]),
        bytes.fromhex(row["content_id"]),
        k.rest_key(draft, row["meta"]),
        k.conversation_key(row["source"], row["conversation_id"]),
        k.overlap_key(turns) if with_overlaps else bytes(8),
    )


_KEPT = (
    *("chosen_was", "strength", "score_chosen", "score_rejected", "model_chosen", "model_rejected"),
    *("annotator", "language", "conversation_id", "tools"),
)
