"""Texts of pairs.parquet by pair number, a row group at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import StoreError
from engine.records import Message, Span

Messages = tuple[Message, ...]


class PairTexts(NamedTuple):
    """The three texts of a pair, and the tools that its prompt offers."""

    prompt: Messages
    chosen: Messages
    rejected: Messages
    tools: str | None = None
    """JSON of the tool definitions."""


class PairFile:
    """Texts of pairs.parquet by pair number; keeps one row group in memory."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
            table = self._file.read(columns=["pair_id", "group_id", "source"])
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{path} cannot be read: {error}", hint="ingest the sources again") from error
        self.pair_ids: list[str] = table["pair_id"].to_pylist()
        self.group_ids: list[str] = table["group_id"].to_pylist()
        self.sources: list[str] = table["source"].to_pylist()
        metadata = self._file.metadata
        self._starts = [0]
        for i in range(metadata.num_row_groups):
            self._starts.append(self._starts[-1] + metadata.row_group(i).num_rows)
        self._held: tuple[int, pa.Table] | None = None

    def __len__(self) -> int:
        return len(self.pair_ids)

    def texts(self, start: int, stop: int) -> list[PairTexts]:
        """Texts of the pairs ``start:stop``."""
        return [text for part in self._parts(start, stop) for text in part]

    def _parts(self, start: int, stop: int) -> Iterator[list[PairTexts]]:
        for i in range(len(self._starts) - 1):
            first, last = max(start, self._starts[i]), min(stop, self._starts[i + 1])
            if first >= last:
                continue
            if self._held is None or self._held[0] != i:
                self._held = (
                    i,
                    self._file.read_row_group(i, columns=["prompt", "chosen", "rejected", "tools"]),
                )
            rows = self._held[1].slice(first - self._starts[i], last - first).to_pylist()
            yield [_texts(row) for row in rows]


def _texts(row: dict[str, Any]) -> PairTexts:
    prompt, chosen, rejected = (_messages(row[span]) for span in Span)
    return PairTexts(prompt, chosen, rejected, row["tools"])


def _messages(raw: list[dict[str, Any]] | None) -> Messages:
    return tuple(Message(m["role"], m["content"] or "") for m in raw or ())
