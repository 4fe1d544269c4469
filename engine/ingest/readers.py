"""Files → rows, one at a time and in bounded memory, whatever the file holds.

A row that cannot be read is handed on as a ``Failure`` and counted; a file that cannot be trusted any more
(truncated compression, a broken parquet footer, text in another encoding) raises. Text is decoded with
``surrogateescape``: bytes that are no UTF-8 arrive as lone surrogates and are repaired and counted later.
"""

import csv
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from engine.errors import IngestError
from engine.ingest.columnar import arrow_rows, count_row_groups, parquet_rows
from engine.ingest.drafts import Reason
from engine.ingest.json_values import MAX_COLUMNS, Decoder, Failure, NumberedRow, Part, json_values

_CHUNK = 1 << 20


def parts_of(path: Path, n: int) -> tuple[Part, ...]:
    """Up to ``n`` parts of about equal size; empty for kinds of files that are read in one go."""
    if path.name.endswith((".jsonl", ".ndjson")):
        total = path.stat().st_size
    elif path.name.endswith(".parquet"):
        total = count_row_groups(path)
    else:
        return ()
    cuts = sorted({total * i // n for i in range(n + 1)})
    return tuple(Part(start, end) for start, end in itertools.pairwise(cuts))


def read_rows(path: Path, max_line_bytes: int, part: Part | None = None) -> Iterator[NumberedRow]:
    """Every row of a file, or of one of ``parts_of`` it, in file order.

    Raises:
        IngestError: the file is empty, truncated, of another encoding, or has a broken header.
    """
    if not path.is_file():
        raise IngestError(f"{path}: no such file, or no regular one")
    if path.stat().st_size == 0:
        raise IngestError(f"{path} is empty", hint="an interrupted download? fetch it again")
    kind = path.name.removesuffix(".gz").removesuffix(".zst").rsplit(".", 1)[-1]
    try:
        if kind == "parquet":
            yield from parquet_rows(path, MAX_COLUMNS, part)
        elif kind in ("arrow", "feather"):
            yield from enumerate(arrow_rows(path, MAX_COLUMNS))
        else:
            with _opened(path) as stream:
                if part is None or part.start == 0:
                    yield from _text_rows(path, kind, stream, max_line_bytes, part)
                else:
                    first = _skip_to(stream, part.start)
                    yield from _jsonl_rows(_lines(stream, max_line_bytes, part.end), first)
    except PermissionError as error:
        raise IngestError(
            f"{path} cannot be read: no permission", hint="chmod +r, or ask its owner"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowException, OSError) as error:
        if _is_pointer(path):
            raise IngestError(
                f"{path} is a git-lfs pointer, not the data", hint="fetch the data: git lfs pull"
            ) from error
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise IngestError(
            f"{path} cannot be read to its end: {first_line}",
            hint="the file is truncated or damaged: fetch it again",
        ) from error


def _is_pointer(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_LFS)) == _LFS
    except OSError:
        return False


def _opened(path: Path) -> IO[bytes]:
    if path.name.endswith(".gz"):
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if path.name.endswith(".zst"):
        return io.BufferedReader(cast("Any", pa.input_stream(str(path), compression="zstd")), _CHUNK)
    return path.open("rb", buffering=_CHUNK)


def _skip_to(stream: IO[bytes], start: int) -> int:
    """Move to the first line that begins at ``start`` or later; its number."""
    number, left = 0, start - 1
    while left and (chunk := stream.read(min(_CHUNK, left))):
        number += chunk.count(b"\n")
        left -= len(chunk)
    while (rest := stream.readline(_CHUNK)) and not rest.endswith(b"\n"):
        pass
    return number + 1


def _text_rows(
    path: Path, kind: str, stream: IO[bytes], max_line_bytes: int, part: Part | None
) -> Iterator[NumberedRow]:
    if kind == "json":
        yield from json_values(path, _checked_start(path, stream.read(_CHUNK)), stream, max_line_bytes)
        return
    lines = _lines(stream, max_line_bytes, part.end if part else None)
    first = _checked_start(path, next(lines, b""))
    _refuse_returns(path, kind, first)
    if kind in ("csv", "tsv"):
        yield from _csv_rows(path, _delimiter(kind, first), _chain(first, lines), max_line_bytes)
    else:
        yield from _jsonl_rows(_chain(first, lines), 0)


def _checked_start(path: Path, first: bytes) -> bytes:
    """The first bytes of a text file without byte order mark."""
    if not first:
        raise IngestError(f"{path} is empty once unpacked")
    encoding = _foreign_encoding(first)
    if encoding:
        raise IngestError(f"{path} is {encoding}", hint=f"convert it: iconv -f {encoding} -t UTF-8 IN > OUT")
    if first.startswith(_LFS):
        raise IngestError(f"{path} is a git-lfs pointer, not the data", hint="fetch the data: git lfs pull")
    return first[3:] if first.startswith(b"\xef\xbb\xbf") else first


def _refuse_returns(path: Path, kind: str, first: bytes) -> None:
    """Raise ``IngestError`` for lines that end in a carriage return alone, as old spreadsheets write them."""
    is_table = kind in ("csv", "tsv")
    bare = re.sub(rb'"[^"]*"', b"", first) if is_table else first
    if first is not _TOO_LONG and re.search(rb"\r[^\n]" if is_table else rb"\}\s*\r\s*\{", bare):
        raise IngestError(f"{path}: its lines end in a carriage return alone", hint=_RETURNS)


_RETURNS = "convert it: tr '\\r' '\\n' < IN > OUT"


def _foreign_encoding(first: bytes) -> str:
    """The encoding of text that is no UTF-8, by its mark or by the NULs between its ASCII characters."""
    if first[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "UTF-32"
    if first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "UTF-16"
    start = first[:64]
    for encoding, text, gaps in (("UTF-16LE", 0, 1), ("UTF-16BE", 1, 0)):
        if len(start) >= 8 and not any(start[gaps::2]) and all(start[text::2]):
            return encoding
    return ""


_LFS = b"version https://git-lfs"
_TOO_LONG = b"\0 the line is too long \0"
"""Stands for a line that was skipped unread; compared by identity."""


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _lines(stream: IO[bytes], limit: int, end: int | None = None) -> Iterator[bytes]:
    """Lines with their newline that begin before ``end``.

    One longer than the limit is read past and given as ``_TOO_LONG``.
    """
    while (end is None or stream.tell() < end) and (line := stream.readline(limit + 1)):
        if len(line) <= limit or line.endswith(b"\n"):
            yield line
            continue
        while (rest := stream.readline(_CHUNK)) and not rest.endswith(b"\n"):
            pass
        yield _TOO_LONG


def _jsonl_rows(lines: Iterator[bytes], first_number: int) -> Iterator[NumberedRow]:
    decoder = Decoder()
    for number, line in enumerate(lines, first_number):
        if line is _TOO_LONG:
            yield number, Failure(Reason.LINE_TOO_LONG, "")
            continue
        text = line.decode("utf-8", "surrogateescape")
        if text.isspace():
            continue
        yield number, decoder.line(text)


def _delimiter(kind: str, header: bytes) -> str:
    """The delimiter of a table: where the usual one leaves the header in one piece, one that parts it."""
    usual = "\t" if kind == "tsv" else ","
    text = header.decode("utf-8", "surrogateescape")
    try:
        parted = {d: len(next(csv.reader([text], delimiter=d), [])) for d in (usual, *",;\t|")}
    except csv.Error:  # said with its line once the table is read
        return usual
    return usual if parted[usual] > 1 else max(parted, key=lambda d: parted[d])


def _csv_rows(path: Path, delimiter: str, lines: Iterator[bytes], limit: int) -> Iterator[NumberedRow]:
    def decoded() -> Iterator[str]:
        for line in lines:
            if line is _TOO_LONG:
                raise IngestError(
                    f"{path}: a line of the table is longer than {limit:,} bytes",
                    hint="is a quote missing? raise [ingest] max_text_bytes if not",
                )
            yield line.decode("utf-8", "surrogateescape")

    csv.field_size_limit(limit)
    table = csv.reader(decoded(), delimiter=delimiter, strict=True)  # an open quote would swallow rows
    try:
        header = next(table)
        _check_header(path, header)
        for number, cells in enumerate(table):
            if not cells:
                continue
            if len(cells) != len(header):
                detail = f"{len(cells)} cells, the header has {len(header)}"
                yield number, Failure(Reason.WRONG_WIDTH, detail)
            else:
                yield number, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        is_return = "new-line character" in str(error)
        what = "a carriage return stands within it" if is_return else error
        hint = _RETURNS if is_return else "is a quote missing in that line?"
        raise IngestError(f"{path}: line {table.line_num}: {what}", hint=hint) from error


def _check_header(path: Path, header: list[str]) -> None:
    if len(header) > MAX_COLUMNS:
        raise IngestError(f"{path} has {len(header):,} columns; {MAX_COLUMNS:,} are the most that is read")
    if len(set(header)) != len(header):
        double = sorted({c for c in header if header.count(c) > 1})[:5]
        raise IngestError(f"{path}: columns occur twice: {', '.join(double)}", hint="rename them")
