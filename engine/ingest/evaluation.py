"""Evaluation files that the user names: their prompts are compared with, they give no pairs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import IngestError
from engine.ingest import overlap
from engine.ingest.collect import convert
from engine.ingest.drafts import Answer, Draft, Dropped, Notes, Row, Turns
from engine.ingest.files import DataFile, locate
from engine.ingest.formats.turns import is_messages, turns, unpacked
from engine.ingest.json_values import Failure
from engine.ingest.overlap import PROMPTS_SCHEMA, distinct, prompts_table, runs_of_texts
from engine.ingest.readers import read_rows
from engine.ingest.report import EvaluationCounts
from engine.ingest.source import OpenSource, SourceSpec, line_limit, open_source
from engine.manifest import hash_file, hash_json
from engine.progress import Progress

FILE = "evaluation.parquet"
COLUMNS = (
    *("prompt", "instruction", "question", "input", "query", "problem", "turns", "messages", "conversation"),
    *("conversations", "context", "text", "opening_msg"),
)
"""Where a file that is no known preference format keeps its prompts: the first of these that a row has."""
_BATCH = 2000


@dataclass(slots=True)
class _Gathered:
    """Prompts of one input on their way to hashes."""

    path: str
    n_words: int
    progress: Progress
    _tables: list[pa.Table] = field(default_factory=list)
    _texts: list[list[str]] = field(default_factory=list)
    _files: list[str] = field(default_factory=list)
    _rows: list[int] = field(default_factory=list)
    _n_runs: int = 0

    def add(self, file: str, row: int, prompt: Turns) -> None:
        """Take one prompt. Raises ``IngestError`` when there are more than any evaluation set has."""
        self._texts.append([text for role, text in prompt if role != "system"])
        self._files.append(file)
        self._rows.append(row)
        if len(self._texts) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        found = runs_of_texts(self._texts, self.n_words)
        self._tables.append(prompts_table(self.path, self._files, self._rows, found))
        self._n_runs += len(found.runs)
        if self._n_runs > 4 * overlap.MAX_RUNS:
            raise IngestError(
                f"{self.path}: more than {4 * overlap.MAX_RUNS:,} runs of words",
                hint="an evaluation set of that size? it is compared with, not read for its pairs",
            )
        self.progress.advance(len(self._texts))
        self._texts, self._files, self._rows = [], [], []

    def finished(self) -> pa.Table:
        """Every distinct prompt."""
        self._flush()
        return distinct(pa.concat_tables(self._tables))


def read_evaluation(path: str, max_text_bytes: int, n_words: int, progress: Progress) -> pa.Table:
    """Prompts of one evaluation file, folder, glob or hub name: ``overlap.PROMPTS_SCHEMA``.

    Raises:
        IngestError: nothing to read, or no row has a prompt.
    """
    try:
        source: OpenSource | None = open_source(SourceSpec(path), max_text_bytes)
    except IngestError:
        source = None  # no preference format: any table with a column of prompts will do
    files = locate(path).files if source is None else source.files
    gathered = _Gathered(path, n_words, progress)
    progress.start(f"evaluation set {path}", None, "rows")
    for file in files:
        for number, prompt in _prompts(file, source, line_limit(max_text_bytes)):
            gathered.add(file.shown, number, prompt)
    table = gathered.finished()
    progress.finish()
    if not table.num_rows:
        raise IngestError(
            f"{path}: no row has a prompt", hint="a prompt column is one of: " + ", ".join(COLUMNS)
        )
    return table


def _prompts(file: DataFile, source: OpenSource | None, limit: int) -> Iterator[tuple[int, Turns]]:
    rows = read_rows(file.path, limit) if source is None else source.rows(file, limit)
    for number, row in rows:
        if isinstance(row, Failure):
            continue
        prompt = _by_column(row) if source is None else _by_format(row, source)
        if any(text for _, text in prompt):
            yield number, prompt


def _by_format(row: Row, source: OpenSource) -> Turns:
    notes: Notes = []
    try:
        drafts: Sequence[Draft | Answer] = convert(source.format, row, notes)
    except (Dropped, RecursionError):
        return _by_column(row)
    return drafts[0].prompt if drafts else ()


def _by_column(row: Row) -> Turns:
    for column in COLUMNS:
        value = unpacked(row.get(column))
        if isinstance(value, str) and value:
            return (("user", value),)
        if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
            return tuple(("user", v) for v in value)
        if is_messages(value):
            return _asked(value)
    return ()


def _asked(messages: Any) -> Turns:
    try:
        return tuple(t for t in turns(messages, [], "messages") if t[0] == "user")
    except Dropped:
        return ()


def fingerprint_of(path: str) -> str:
    """Of the content of an evaluation input's files."""
    return hash_json([[f.shown, hash_file(f.path)] for f in locate(path).files])


def counts_of(table: pa.Table, fingerprints: dict[str, str]) -> tuple[EvaluationCounts, ...]:
    """Prompts by input, in order of path."""
    paths = table["path"].to_pylist()
    return tuple(
        EvaluationCounts(path, paths.count(path), fingerprints[path]) for path in sorted(fingerprints)
    )


def read_prompts(folder: Path) -> pa.Table:
    """Evaluation prompts that an earlier ingest kept; none where it had none."""
    path = folder / FILE
    return pq.read_table(path) if path.exists() else PROMPTS_SCHEMA.empty_table()
