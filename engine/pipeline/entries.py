"""The ingest report to look at: counts file by file, every entry, the rows that they are about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.errors import IngestError, StoreError
from engine.paths import ProjectPaths

if TYPE_CHECKING:
    from engine.ingest.report import IngestReport


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries; None: any."""

    reason: str | None = None
    kind: str | None = None
    source: str | None = None
    file: str | None = None
    """The end of a file's name."""


class Entries(NamedTuple):
    """Entries of the report that a filter selects."""

    rows: list[dict[str, Any]]
    """source, file, row, kind, reason, detail; the first ones."""
    n_selected: int
    meanings: Mapping[str, str]
    """What each reason means."""


class ReasonCount(NamedTuple):
    """How often one reason occurs."""

    kind: str
    reason: str
    n: int
    meaning: str


def read_entries(paths: ProjectPaths, wanted: EntryFilter, limit: int | None) -> Entries:
    """Matching entries of the ingest report, in order of source, file and row; None: all of them.

    Raises:
        StoreError: nothing has been ingested, or there is no such reason, source or file.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from engine.pipeline.prepare import require_pairs

    require_pairs(paths)
    table = pq.read_table(paths.pairs_dir / "report.parquet")
    meanings = _meanings()
    _check(wanted, table, meanings)
    for column, value in (("reason", wanted.reason), ("kind", wanted.kind), ("source", wanted.source)):
        if value is not None:
            table = table.filter(pc.equal(table.column(column), value))
    if wanted.file is not None:
        table = table.filter(pc.ends_with(table.column("file"), wanted.file))
    shown = table if limit is None else table.slice(0, limit)
    return Entries(shown.to_pylist(), table.num_rows, meanings)


def _meanings() -> Mapping[str, str]:
    from engine.ingest.drafts import REASONS

    return {reason.value: text for reason, text in REASONS.items()}


def _check(wanted: EntryFilter, table: Any, meanings: Mapping[str, str]) -> None:
    if wanted.reason is not None and wanted.reason not in meanings:
        known = ", ".join(sorted(meanings))
        raise StoreError(f"there is no reason `{wanted.reason}`", hint=f"known: {known}")
    for column, value in (("source", wanted.source), ("file", wanted.file)):
        known_values = sorted(set(table.column(column).to_pylist())) if value is not None else []
        if value is not None and not any(
            k == value or (column == "file" and k.endswith(value)) for k in known_values
        ):
            raise StoreError(
                f"no entry is about a {column} `{value}`", hint="there are: " + ", ".join(known_values[:20])
            )


def reason_counts(report: "IngestReport") -> tuple[ReasonCount, ...]:
    """Every reason that occurs with its number, dropped ones first."""
    meanings = _meanings()
    kinds = (("dropped", report.dropped), ("repaired", report.repaired), ("noted", report.noted))
    return tuple(
        ReasonCount(kind, reason, n, meanings[reason])
        for kind, counts in kinds
        for reason, n in sorted(counts.items(), key=lambda item: -item[1])
        if n
    )


def ingest_report(paths: ProjectPaths) -> "IngestReport":
    """The counts of a project's ingest. Raises ``StoreError`` before the first one."""
    from engine.ingest.report import read_report
    from engine.pipeline.prepare import require_pairs

    require_pairs(paths)
    return read_report(paths.pairs_dir)


def original_rows(entries: Sequence[Mapping[str, Any]], max_line_bytes: int) -> dict[tuple[str, int], str]:
    """What stands in the files at the places of some entries, as far as the files are still there.

    Returns:
        (file, row) to the row as JSON text, or to why it could not be read.
    """
    wanted: dict[str, set[int]] = {}
    for entry in entries:
        wanted.setdefault(str(entry["file"]), set()).add(int(entry["row"]))
    found: dict[tuple[str, int], str] = {}
    for file, numbers in wanted.items():
        try:
            for number, text in _rows_of(Path(file), numbers, max_line_bytes):
                found[file, number] = text
        except IngestError as error:
            found |= {
                (file, number): f"({error.message})" for number in numbers if (file, number) not in found
            }
    return found


def _rows_of(path: Path, numbers: set[int], limit: int) -> list[tuple[int, str]]:
    import json

    from engine.ingest.json_values import Failure
    from engine.ingest.readers import read_rows

    found = []
    last = max(numbers)
    for number, row in read_rows(path, limit):
        if number in numbers:
            said = (
                f"({row.reason.value}: {row.detail})"
                if isinstance(row, Failure)
                else json.dumps(row, ensure_ascii=False, default=str)
            )
            found.append((number, said))
        if number >= last:
            break
    return found
