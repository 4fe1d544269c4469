"""Rows of a file of labels of latents: JSON lines, a JSON document or a table, plain or gzipped.

What rows mean is for ``label_import`` to say. The files are strangers' data: lines have a bound, and nothing
in them is run.
"""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from engine.errors import NamingError
from engine.manifest import hash_bytes

Row = Mapping[str, Any]

INDEX_NAMES = ("index", "latent", "feature", "latentid", "latentindex", "featureid", "featureindex", "neuron")
"""What columns with numbers of latents are called, in small letters alone."""
MAX_LINE = 1 << 24
"""Characters of a line at most."""
MAX_DOCUMENT = 1 << 29
"""Characters of one JSON document at most, unpacked."""
_TABLES = {".csv": ",", ".tsv": "\t"}
_LINES = (".jsonl", ".ndjson", ".json")


@lru_cache(4096)
def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def known(row: Row, names: tuple[str, ...]) -> str:
    """The first of some names that a record has, however it is spelt; empty: none."""
    plain = {_plain(key): key for key in row if isinstance(key, str)}
    return next((plain[name] for name in names if name in plain), "")


def file_hash(path: Path) -> str:
    """Of a file's bytes as they lie there. Raises ``NamingError`` where it cannot be read."""
    with _told(path):
        return hash_bytes(path.read_bytes())


def rows_of(path: Path) -> Iterator[Row | None]:
    """Rows in order; None for a line that is no record.

    Raises:
        NamingError: it cannot be read, or is none of these.
    """
    inner = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    kind = inner.suffix.lower()
    if kind not in _TABLES and kind not in _LINES:
        raise NamingError(
            f"{path} is no file of labels that can be read here",
            hint="JSON lines (.jsonl), .json, .csv or .tsv, also with .gz",
        )
    with _told(path), _opened(path) as file:
        if kind in _TABLES:
            yield from _table(file, _TABLES[kind])
        else:
            yield from _json_rows(path, file)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NamingError(f"{path} is damaged or no gzip file", hint="fetch it again") from error
    except OSError as error:
        raise NamingError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise NamingError(f"{path} is no UTF-8 text", hint="convert it, or fetch it again") from error
    except csv.Error as error:
        raise NamingError(f"{path} is no table: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    if path.suffix.lower() == ".gz":
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    else:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file


def _table(file: IO[str], delimiter: str) -> Iterator[Row | None]:
    for row in csv.DictReader(file, delimiter=delimiter):
        yield {key: value for key, value in row.items() if isinstance(key, str)}


def _json_rows(path: Path, file: IO[str]) -> Iterator[Row | None]:
    """One record a line, or one document over all lines."""
    first = _line(file)
    while first and not first.strip():
        first = _line(file)
    if not first:
        return
    found = _parsed(first)
    if isinstance(found, dict) and not _records_in(found):
        yield found
        while line := _line(file):
            if line.strip():
                other = _parsed(line)
                yield other if isinstance(other, dict) else None
        return
    text = first + file.read(MAX_DOCUMENT)
    if len(text) >= MAX_DOCUMENT:
        raise NamingError(f"{path} is too large for one JSON document", hint="write it as JSON lines")
    document = _parsed(text)
    if document is None:
        raise NamingError(f"{path} is neither JSON lines nor a JSON document", hint="fetch it again")
    yield from _of_document(document)


def _of_document(document: Any) -> Iterator[Row | None]:
    records = document if isinstance(document, list) else _records_in(document)
    if not records and isinstance(document, dict):
        records = [document]
    for record in records:
        yield record if isinstance(record, dict) else None


def _records_in(document: Any) -> list[Any]:
    """Records of a document: a list under a name, or labels by number; empty: it is a record itself."""
    if not isinstance(document, dict):
        return []
    if document and all(k.isdecimal() and isinstance(v, str) for k, v in document.items()):
        return [{"index": key, "label": value} for key, value in document.items()]
    if known(document, INDEX_NAMES):
        return []
    lists = [v for v in document.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
    return lists[0] if len(lists) == 1 else []


def _line(file: IO[str]) -> str:
    line = file.readline(MAX_LINE)
    if len(line) >= MAX_LINE and not line.endswith("\n"):
        return line + file.read(MAX_DOCUMENT)  # one long document
    return line


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
