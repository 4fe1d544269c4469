"""Labels of latents out of a file that somebody else made: which rows count, and what became of others."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import NamingError
from engine.naming.belonging import ReaderFacts, why_not
from engine.naming.label_files import INDEX_NAMES, Row, file_hash, known, rows_of
from engine.views.names import LabelReport, LatentLabel

MAX_LABEL = 400
"""Characters of a label that are kept."""
LABEL_NAMES = ("label", "description", "explanation", "interpretation")
_MODELS = ("modelid", "modelname")
_SOURCES = ("layer", "saeid", "sae", "sourceid")
_EXPLAINERS = ("explanationmodelname", "explanationmodel", "explainer")
_WHOLE = re.compile(r"\d{1,9}(\.0+)?")


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file holds for a reader."""

    labels: tuple[LatentLabel, ...]
    sha: str
    """Hash of the file."""
    report: LabelReport


@dataclass(slots=True)
class _Counts:
    n_rows: int = 0
    n_unreadable: int = 0
    n_empty: int = 0
    n_no_index: int = 0
    n_out_of_range: int = 0
    n_doubled: int = 0
    n_other: int = 0


def read_labels(
    path: Path, reader: ReaderFacts, *, index: str = "", label: str = "", accept_other: bool = False
) -> Imported:
    """The labels of one file.

    Args:
        path: JSON lines, JSON, CSV or TSV, also gzipped.
        reader: whose latents they shall be of.
        index: column of the latent's number; empty: known by its name.
        label: likewise of the label.
        accept_other: take them although the file says that they are of another SAE.

    Raises:
        NamingError: it cannot be read, its columns are not known, it is of another SAE or of several, or it
            holds no label of a latent.
    """
    counts, seen, labels = _Counts(), set[tuple[int, str]](), list[LatentLabel]()
    judged: dict[tuple[str, str], str] = {}
    columns: tuple[str, str] | None = None
    for row in rows_of(path):
        counts.n_rows += 1
        if row is None:
            counts.n_unreadable += 1
            continue
        columns = columns or _columns(path, row, index, label)
        whose = _first(row, _MODELS), _first(row, _SOURCES)
        if whose not in judged:
            judged[whose] = why_not(reader, *whose)
        if judged[whose] and not accept_other:
            counts.n_other += 1
            continue
        number = _number(row.get(columns[0]))
        if number is None or number >= reader.n_latents:
            counts.n_no_index += number is None
            counts.n_out_of_range += number is not None
            continue
        for text, model in _texts(row, columns[1]):
            if not text:
                counts.n_empty += 1
            elif (number, text) in seen:
                counts.n_doubled += 1
            else:
                seen.add((number, text))
                labels.append(LatentLabel(number, text, model, path.name))
    if not counts.n_rows:
        raise NamingError(f"{path} holds no rows")
    _check_whose(path, judged, accept_other=accept_other)
    if not labels:
        raise NamingError(
            f"{path} holds no label of a latent of this reader: {_why_none(counts, reader)}",
            hint="--index and --label name the columns; the reader's latents are numbered from 0",
        )
    return Imported(tuple(labels), file_hash(path), _report(path, counts, labels, judged))


def _report(
    path: Path, counts: _Counts, labels: list[LatentLabel], judged: Mapping[tuple[str, str], str]
) -> LabelReport:
    says = any(any(whose) for whose in judged)
    return LabelReport(
        path.name, counts.n_rows, len(labels), len({found.latent for found in labels}), counts.n_unreadable,
        counts.n_empty, counts.n_no_index, counts.n_out_of_range, counts.n_doubled, counts.n_other, says,
    )  # fmt: skip


def _why_none(counts: _Counts, reader: ReaderFacts) -> str:
    reasons = (
        (counts.n_unreadable, "no records"), (counts.n_no_index, "without a whole number"),
        (counts.n_out_of_range, f"beyond its {reader.n_latents:,} latents"),
        (counts.n_empty, "without a label"),
    )  # fmt: skip
    return ", ".join(f"{n:,} rows {why}" for n, why in reasons if n) or "no rows"


def _check_whose(path: Path, judged: Mapping[tuple[str, str], str], *, accept_other: bool) -> None:
    """One SAE's labels, and that of the reader."""
    fitting = [whose for whose, why in judged.items() if accept_other or not why]
    if not fitting and judged:
        raise NamingError(
            f"the labels of {path} are of another SAE: {next(iter(judged.values()))}",
            hint="at the same numbers they mean nothing here; --accept-other takes them all the same",
        )
    named = [" ".join(filter(None, whose)) for whose in fitting if any(whose)]
    if len(named) > 1:
        raise NamingError(
            f"{path} holds labels of several SAEs that could be the reader's: {', '.join(named[:4])}",
            hint="keep those of one SAE in the file",
        )


def _columns(path: Path, row: Row, index: str, label: str) -> tuple[str, str]:
    """Names of the two columns in the first record."""
    for wanted in filter(None, (index, label)):
        if wanted not in row:
            raise NamingError(
                f"{path} has no column `{wanted}`", hint="it has: " + ", ".join(map(str, list(row)[:12]))
            )
    number, text = index or known(row, INDEX_NAMES), label or known(row, LABEL_NAMES)
    text = text or ("explanations" if isinstance(row.get("explanations"), list) else "")
    if number and text:
        return number, text
    what = "the number of the latent" if not number else "its label"
    raise NamingError(
        f"{path}: no column is known to hold {what}; it has: {', '.join(map(str, list(row)[:12]))}",
        hint="name them: --index COLUMN --label COLUMN",
    )


def _first(row: Row, names: tuple[str, ...]) -> str:
    """The value of the first of some fields that is there, as text."""
    key = known(row, names)
    value = row.get(key) if key else None
    return str(value)[:200] if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = str(value).strip()
    return int(text.partition(".")[0]) if _WHOLE.fullmatch(text) else None


def _texts(row: Row, column: str) -> Iterator[tuple[str, str]]:
    """Labels of a row, on one line each, with the model that wrote them where that is said."""
    value = row.get(column)
    records = value if isinstance(value, list) else [row]
    if not records:
        yield "", ""
    for record in records:
        if not isinstance(record, dict):
            yield "", ""
            continue
        key = known(record, LABEL_NAMES) if record is not row else column
        text = record.get(key)
        yield (
            (" ".join(text.split())[:MAX_LABEL] if isinstance(text, str) else ""),
            _first(record, _EXPLAINERS),
        )
