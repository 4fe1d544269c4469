"""JSON of any layout as a stream of rows: lines, an array, objects one after another, a wrapper, columns."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from engine.errors import IngestError
from engine.ingest.drafts import Reason
from engine.ingest.formats.registry import is_recognised

MAX_COLUMNS = 10_000
WRAPPER_BYTES = 64 << 20
"""Largest JSON file whose rows sit inside one object: that object must be held in memory whole."""
_CHUNK = 1 << 20
_SPACE = " \t\r\n"


class Failure(NamedTuple):
    """A row that could not be read."""

    reason: Reason
    detail: str


class Part(NamedTuple):
    """A stretch of a file that one worker reads: bytes of JSON lines, row groups of parquet."""

    start: int
    end: int


NumberedRow = tuple[int, dict[str, Any] | Failure]
"""0-based row (line) of the file and its columns."""


class Mended(dict[str, Any]):
    """A row in which NaN or Infinity became null: they are no JSON, but pandas and Python write them."""


def _said(error: ValueError, start: int) -> str:
    """What is wrong, and where in the value that begins at ``start``: a buffer's lines are not a file's."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg[:100]} (character {error.pos - start + 1:,} of it)"
    return str(error)[:120]


class Decoder:
    """JSON values with what is wrong about them: each reader has one of its own."""

    def __init__(self) -> None:
        self._json = json.JSONDecoder(parse_constant=self._constant, object_pairs_hook=self._object)
        self._repeated: str | None = None
        self._has_constants = False

    def _constant(self, _: str) -> None:
        self._has_constants = True

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            names = [name for name, _ in pairs]
            self._repeated = next(name for name in names if names.count(name) > 1)
        return made

    def start(self, text: str, at: int) -> tuple[Any, int]:
        """The value that begins at a place, and its end. Raises ``ValueError`` or ``RecursionError``."""
        self._repeated, self._has_constants = None, False
        return self._json.raw_decode(text, at)

    def line(self, text: str) -> dict[str, Any] | Failure:
        """One line of JSON as a row."""
        self._repeated, self._has_constants = None, False
        try:
            value = self._json.decode(text)
        except RecursionError:
            return Failure(Reason.NESTED_TOO_DEEPLY, "")
        except ValueError as error:
            return Failure(Reason.NOT_JSON, _said(error, 0))
        return self.row(value)

    def row(self, value: Any) -> dict[str, Any] | Failure:
        """The value read last as a row, if it is an unambiguous object of a bearable width."""
        if not isinstance(value, dict):
            return Failure(Reason.NOT_AN_OBJECT, type(value).__name__)
        if self._repeated is not None:
            return Failure(Reason.REPEATED_KEY, repr(self._repeated)[:80])
        if len(value) > MAX_COLUMNS:
            return Failure(Reason.TOO_MANY_COLUMNS, f"{len(value)} columns")
        return Mended(value) if self._has_constants else value


class _Text:
    """The decoded text of a stream from the current position on."""

    def __init__(self, first: bytes, stream: IO[bytes]) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._stream = stream
        self.json = Decoder()
        self.text = self._utf8.decode(first)
        self.at = 0
        self.is_complete = False

    def fill(self) -> None:
        """Read as much again as is there, so that reparsing costs at most twice the text."""
        chunk = self._stream.read(max(_CHUNK, len(self.text) - self.at))
        self.text = self.text[self.at :] + self._utf8.decode(chunk, final=not chunk)
        self.at = 0
        self.is_complete = not chunk

    def skip(self, characters: str) -> str:
        """Move past some characters; the next one, empty at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in characters:
                self.at += 1
            if self.at < len(self.text) or self.is_complete:
                return self.text[self.at : self.at + 1]
            self.fill()

    def skip_line(self) -> None:
        """Move past the next newline."""
        while (end := self.text.find("\n", self.at)) < 0 and not self.is_complete:
            self.at = len(self.text)
            self.fill()
        self.at = len(self.text) if end < 0 else end + 1

    def value(self, limit: int) -> Any:
        """The next JSON value. Raises ``ValueError``, ``RecursionError`` or ``OverflowError`` (too long)."""
        while True:
            try:
                value, self.at = self.json.start(self.text, self.at)
            except ValueError:
                if self.is_complete:
                    raise
                if len(self.text) - self.at > limit:
                    raise OverflowError from None
                self.fill()
            else:
                return value


def json_values(path: Path, first: bytes, stream: IO[bytes], limit: int) -> Iterator[NumberedRow]:
    """Rows of a .json file. ``first`` is what was read of the stream already.

    Raises:
        IngestError: the file ends early, is broken where rows cannot be told apart, or one value is too long.
    """
    source = _Text(first, stream)
    start = source.skip(_SPACE)
    if start == "[":
        source.at += 1
        yield from _array(path, source, limit)
    elif start == "{":
        yield from _objects(path, source, limit)
    else:
        raise IngestError(f"{path} does not begin with [ or {{", hint="is it JSON at all?")


def _array(path: Path, source: _Text, limit: int) -> Iterator[NumberedRow]:
    number = 0
    while True:
        following = source.skip(_SPACE + ",")
        if following == "]":
            return
        if not following:
            raise IngestError(f"{path} ends before its closing ]", hint="it is truncated: fetch it again")
        yield number, source.json.row(_value(path, source, limit, f"item {number}"))
        number += 1


def _value(path: Path, source: _Text, limit: int, what: str) -> Any:
    try:
        return source.value(limit)
    except RecursionError as error:
        raise IngestError(f"{path}: {what} is nested too deeply") from error
    except OverflowError as error:
        raise IngestError(
            f"{path}: {what} is longer than {limit:,} bytes",
            hint="write the rows as JSON lines, or raise [ingest] max_text_bytes",
        ) from error
    except ValueError as error:
        raise IngestError(
            f"{path}: {what} is no valid JSON: {_said(error, source.at)}",
            hint="the file is truncated or damaged",
        ) from error


def _objects(path: Path, source: _Text, limit: int) -> Iterator[NumberedRow]:
    only = _value(path, source, WRAPPER_BYTES, "the first object")
    if not source.skip(_SPACE):
        yield from enumerate(_unwrapped(only, source.json))
        return
    yield 0, source.json.row(only)
    number = 1
    while source.skip(_SPACE):
        try:
            row: dict[str, Any] | Failure = source.json.row(source.value(limit))
        except RecursionError:
            row = Failure(Reason.NESTED_TOO_DEEPLY, "")
        except OverflowError:
            row = Failure(Reason.LINE_TOO_LONG, "")
        except ValueError as error:
            row = Failure(Reason.NOT_JSON, _said(error, source.at))
        if isinstance(row, Failure) and row.reason is not Reason.NOT_AN_OBJECT:
            source.skip_line()
        yield number, row
        number += 1


def _unwrapped(value: dict[str, Any], decoder: Decoder) -> Iterator[dict[str, Any] | Failure]:
    """Rows inside one object: columns as lists, columns as {row: value}, or one list of rows."""
    columns = list(value.values())
    if _are_lists(columns):
        return (dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True))
    if _are_numbered(columns):
        return ({name: column[key] for name, column in value.items()} for key in columns[0])
    lists = [c for c in columns if isinstance(c, list) and c and isinstance(c[0], dict) and not _is_chat(c)]
    if len(lists) == 1 and not is_recognised(value):
        about = value.get("metadata")
        shared = (
            {"default_annotator": about["default_annotator"]}
            if isinstance(about, dict) and "default_annotator" in about
            else {}
        )
        return (decoder.row(item | shared if isinstance(item, dict) else item) for item in lists[0])
    return iter([decoder.row(value)])


def _are_lists(columns: list[Any]) -> bool:
    return (
        len(columns) > 1
        and all(isinstance(c, list) and not _is_chat(c) for c in columns)
        and len({len(c) for c in columns}) == 1
        and not _are_splits(columns)
    )


def _are_splits(columns: list[Any]) -> bool:
    """Lists of records alike: parts of a dataset that happen to be equally long, not its columns."""
    firsts = [c[0] if c and isinstance(c[0], dict) else {} for c in columns]
    return bool(firsts[0]) and all(first.keys() == firsts[0].keys() for first in firsts)


def _are_numbered(columns: list[Any]) -> bool:
    return (
        len(columns) > 1
        and all(isinstance(c, dict) and c.keys() == columns[0].keys() for c in columns)
        and all(key.isdigit() for key in columns[0])
    )


def _is_chat(value: list[Any]) -> bool:
    return bool(value) and isinstance(value[0], dict) and ("role" in value[0] or "from" in value[0])
