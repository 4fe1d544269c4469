"""Texts of pairs.parquet by pair number, a row group at a time."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import StoreError
from engine.manifest import hash_bytes
from engine.records import Message, Span

Messages = tuple[Message, ...]
_NO_TOOLS = ("", "[]", "null")


class PairTexts(NamedTuple):
    """The three texts of a pair, and the tools that its prompt offers."""

    prompt: Messages
    chosen: Messages
    rejected: Messages
    tools: str | None = None
    """JSON of the tool definitions."""


def content_keys(pair: PairTexts) -> dict[Span, bytes]:
    """16 bytes per span over all that its reading depends on beside the reader.

    A prompt's covers its messages and tools, a response's those and its own messages: never the response
    alone. The side plays no part, so a swapped pair has swapped keys.
    """
    prompt = _digest(pair.prompt, (pair.tools or "").encode())
    return {
        Span.PROMPT: prompt,
        Span.CHOSEN: _digest(pair.chosen, prompt),
        Span.REJECTED: _digest(pair.rejected, prompt),
    }


def _digest(messages: Messages, before: bytes) -> bytes:
    h = hashlib.blake2b(b"%d %d\n" % (len(before), len(messages)) + before, digest_size=16)
    for message in messages:
        content = message.content.encode("utf-8", "surrogatepass")
        h.update(b"%s %d\n" % (message.role.encode(), len(content)))
        h.update(content)
    return h.digest()


class PairFile:
    """Texts of pairs.parquet by pair number; keeps one row group in memory."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
            table = self._file.read(columns=["pair_id", "group_id", "source", "tools"])
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{path} cannot be read: {error}", hint="ingest the sources again") from error
        self.pair_ids: list[str] = table["pair_id"].to_pylist()
        self.group_ids: list[str] = table["group_id"].to_pylist()
        self.sources: list[str] = table["source"].to_pylist()
        self.idents: list[str] = [
            pair_id if tools is None else f"{pair_id} {hash_bytes(tools.encode())}"
            for pair_id, tools in zip(self.pair_ids, table["tools"].to_pylist(), strict=True)
        ]
        """What decides a pair's readings: pair ids cover all but the tools."""
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
    tools = row["tools"]
    return PairTexts(prompt, chosen, rejected, tools if tools not in _NO_TOOLS else None)


def _messages(raw: list[dict[str, Any]] | None) -> Messages:
    return tuple(Message(m["role"], m["content"] or "") for m in raw or ())
