"""Sources that have not changed: their pairs are taken from the last ingest instead of being read again."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.errors import IngestError
from engine.ingest import keys as k
from engine.ingest.collect import Collected
from engine.ingest.columnar import own_batches
from engine.ingest.drafts import Draft, Reason, Turns
from engine.ingest.evaluation import fingerprint_of, read_evaluation, read_prompts
from engine.ingest.overlap import PROMPTS_SCHEMA
from engine.ingest.report import SourceCounts, entries_of, read_report
from engine.ingest.source import Mix, SourceSpec
from engine.manifest import read_manifest
from engine.progress import Progress
from engine.records import Label
from engine.settings import IngestSettings

_LATE_REASONS = [
    Reason.EXACT_DUPLICATE.value,
    Reason.NEAR_DUPLICATE.value,
    Reason.EVALUATION_OVERLAP.value,
    Reason.EVALUATION_WORDS.value,
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
    hashes: dict[str, str] = field(default_factory=dict)
    """Content of every file that was read."""
    weights: dict[str, float] = field(default_factory=dict)
    """By source name."""
    evaluations: dict[str, str] = field(default_factory=dict)
    """Evaluation input to the fingerprint of its content."""
    n_words: int = 0
    """Length of the runs that they were compared by."""
    older: dict[str, SourceCounts] = field(default_factory=dict)
    """By path, what another version of prosect read; such pairs are not kept, but read again."""

    def again(self, path: str) -> SourceSpec | None:
        """An input of another version as it was named then; None for one of this version."""
        known = self.older.get(path)
        return None if known is None else SourceSpec(path, known.name, known.format, known.mapping)

    def named(self, path: str) -> SourceCounts:
        """What was read from an input. Raises ``IngestError`` where it was not read."""
        for counts in self.sources.values():
            if counts.path == path:
                return counts
        raise IngestError(
            f"{self.folder} holds no pairs of {path} that this version can keep",
            hint="name the files again: `prosect audit FILE... -o DIR`",
        )

    def evaluations_after(self, mix: Mix) -> dict[str, str]:
        """Evaluation inputs and their fingerprints once a mix has named and forgotten some."""
        left = {path: h for path, h in self.evaluations.items() if path not in mix.forgotten}
        return left | {path: fingerprint_of(path) for path in mix.evaluation}

    def prompts(self, wanted: Mapping[str, str], settings: IngestSettings, progress: Progress) -> pa.Table:
        """Prompts of all evaluation inputs: read, or kept where their content is the same."""
        kept = read_prompts(self.folder) if self.evaluations else PROMPTS_SCHEMA.empty_table()
        is_same = self.n_words == settings.overlap_words
        tables = [PROMPTS_SCHEMA.empty_table()]
        for path, print_ in sorted(wanted.items()):
            if is_same and self.evaluations.get(path) == print_:
                tables.append(kept.filter(pc.equal(kept["path"], path)))
            else:
                tables.append(
                    read_evaluation(path, settings.max_text_bytes, settings.overlap_words, progress)
                )
        return pa.concat_tables(tables)

    def take(self, known: SourceCounts, into: Collected, progress: Progress) -> None:
        """Copy the pairs and entries of an unchanged source."""
        files = [f.file for f in known.files]
        entries = entries_of(self.folder, files)
        late = pc.is_in(entries["reason"], value_set=pa.array(_LATE_REASONS))
        into.entries.extend(entries.filter(pc.invert(late)))
        _take_pairs(self.folder / "pairs.parquet", files, known, into, progress)


def earlier(folder: Path, stage_version: int) -> Earlier:
    """What an earlier, finished ingest left; of one of another version only what was asked of it then."""
    manifest = read_manifest(folder)
    if manifest is None:
        return Earlier(folder, False, {})
    try:
        report = read_report(folder)
    except IngestError:
        if manifest.stage_version == stage_version:
            raise
        return Earlier(folder, False, {})
    compared = {e.path: e.fingerprint for e in report.evaluations}
    if manifest.stage_version != stage_version:
        older = {s.path: s for s in report.sources}
        return Earlier(folder, False, {}, {}, report.weights, compared, older=older)
    return Earlier(
        folder,
        True,
        {s.fingerprint: s for s in report.sources},
        dict(manifest.inputs),
        report.weights,
        compared,
        manifest.settings.get("overlap_words", 0),
    )


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
            _keys(row, batch, i),
            source=into.number_of(row["source"]),
            file=into.files.setdefault(row["source_file"], len(into.files)),
            row=row["source_row"],
            size=size,
            weight=row["row_weight"],
            is_evaluation=known.is_evaluation,
        )
    for label, n in Counter(row["label"] for row in light).items():
        into.labels[label] = into.labels.get(label, 0) + n
    into.spool.add_batch(batch)


def _turns(value: list[dict[str, str]]) -> Turns:
    return tuple((m["role"], m["content"]) for m in value)


def _keys(row: dict[str, Any], batch: pa.RecordBatch, i: int) -> k.Keys:
    turns = _turns(row["prompt"])
    prompt = k.hashed(turns, [], 1 << 62)
    sides = [b"", b""]
    if not prompt.size:
        sides = [k.hashed(_turns(batch[c][i].as_py()), [], 1 << 62).digest for c in ("chosen", "rejected")]
    fields = {name: row[name] for name in _KEPT}
    draft = Draft(turns, (), (), Label(row["label"]), weight=row["row_weight"], **fields)
    return k.Keys(
        k.prompt_key(prompt, sides[0], sides[1]),
        bytes.fromhex(row["content_id"]),
        k.rest_key(draft, row["meta"]),
        k.conversation_key(row["source"], row["conversation_id"]),
    )


_KEPT = (
    *("chosen_was", "strength", "score_chosen", "score_rejected", "model_chosen", "model_rejected"),
    *("annotator", "language", "conversation_id", "tools"),
)
