"""What happened to every row: counts that add up, and one entry per row that is worth a look."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.errors import IngestError
from engine.ingest.drafts import Kind, Reason
from engine.manifest import write_json

REPORT_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("kind", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
_FLUSH = 50_000


@dataclass(frozen=True, slots=True)
class FileCounts:
    """One file: ``rows_read + expanded = pairs + merged + dropped``."""

    file: str
    rows_read: int
    expanded: int
    """Pairs beyond the first that rows with several pairs hold."""
    pairs: int
    merged: int
    """Rows that joined a pair of another row (rated answers, one per row)."""
    dropped: int


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """One input as given, with the format it was read in."""

    path: str
    name: str | None
    """As given; None: the file's or the rows' own."""
    format: str
    format_title: str
    mapping: dict[str, str]
    is_evaluation: bool
    fingerprint: str
    """Of everything that determines its rows: format, mapping, name, content of the files."""
    files: tuple[FileCounts, ...]
    names: dict[str, int]
    """Its pairs by source name: one name, or the rows' own."""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EvaluationCounts:
    """One evaluation file: its prompts are compared with, it gives no pairs."""

    path: str
    prompts: int
    """Distinct ones."""
    fingerprint: str
    """Of the content of its files."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What ``ingest`` found. Totals: ``rows_read + expanded = pairs + merged + sum(dropped)``."""

    rows_read: int
    expanded: int
    merged: int
    pairs: int
    groups: int
    largest_group: int
    """Pairs of the largest group: one fold holds all of them."""
    labels: dict[str, int]
    """Pairs by label."""
    folds: tuple[int, ...]
    """Pairs in fold 0 … 19."""
    pairs_by_source: dict[str, int]
    evaluation_pairs: int
    """Pairs refused for training: from an evaluation set, or with a prompt of one."""
    dropped: dict[str, int]
    """By reason, in pairs (a row that cannot be read counts as one)."""
    repaired: dict[str, int]
    noted: dict[str, int]
    sources: tuple[SourceCounts, ...]
    weights: dict[str, float]
    """Weight of each source name in the mix: what its pairs' own weights are multiplied by."""
    weight_by_source: dict[str, float]
    """Summed base weight of each source's pairs."""
    evaluations: tuple[EvaluationCounts, ...] = ()
    remarks: tuple[str, ...] = ()
    near_duplicate_seconds: float | None = None
    """Time of the near-duplicate pass; None where it was not asked for."""

    @property
    def adds_up(self) -> bool:
        """Every row is accounted for."""
        return self.rows_read + self.expanded == self.pairs + self.merged + sum(self.dropped.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON value: what report.json holds."""
        return asdict(self) | {"adds_up": self.adds_up}


@dataclass(slots=True)
class Tally:
    """Running counts of one file."""

    rows_read: int = 0
    expanded: int = 0
    pairs: int = 0
    merged: int = 0
    dropped: int = 0

    def frozen(self, file: str) -> FileCounts:
        """The counts as a record."""
        return FileCounts(file, self.rows_read, self.expanded, self.pairs, self.merged, self.dropped)


@dataclass(slots=True)
class Entries:
    """Entries of report.parquet, kept as compact Arrow tables while they accumulate."""

    counts: dict[Kind, Counter[str]] = field(default_factory=lambda: {k: Counter() for k in Kind})
    _rows: list[tuple[str, str, int, str, str, str]] = field(default_factory=list)
    _tables: list[pa.Table] = field(default_factory=list)

    def add(self, source: str, file: str, row: int, kind: Kind, reason: Reason, detail: str = "") -> None:
        """Note one thing about one row."""
        self.counts[kind][reason.value] += 1
        shown = detail.encode("utf-8", "replace").decode("utf-8").replace("\0", "�")
        self._rows.append((source, file, row, kind.value, reason.value, shown))
        if len(self._rows) >= _FLUSH:
            self._flush()

    def details(self, reason: Reason, files: Collection[str]) -> Counter[str]:
        """How often each detail is given for a reason among the entries about some files."""
        found = Counter(row[5] for row in self._rows if row[4] == reason.value and row[1] in files)
        for table in self._tables:
            is_meant = pc.and_(
                pc.equal(table["reason"], reason.value),
                pc.is_in(table["file"], pa.array(sorted(files), pa.string())),
            )
            found.update(table["detail"].filter(is_meant).to_pylist())
        return found

    def extend(self, table: pa.Table) -> None:
        """Take over entries of an earlier report."""
        pairs = zip(table["kind"].to_pylist(), table["reason"].to_pylist(), strict=True)
        for (kind, reason), n in Counter(pairs).items():
            self.counts[Kind(kind)][reason] += n
        self._tables.append(table.cast(REPORT_SCHEMA))

    def _flush(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [()] * len(REPORT_SCHEMA)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, REPORT_SCHEMA, strict=True)]
        self._tables.append(pa.Table.from_arrays(arrays, schema=REPORT_SCHEMA))
        self._rows = []

    def write(self, path: Path) -> None:
        """Write all entries, sorted by source, file and row."""
        self._flush()
        table = pa.concat_tables(self._tables)
        keys = [(name, "ascending") for name in ("source", "file", "row", "kind", "reason", "detail")]
        pq.write_table(table.sort_by(keys), path, compression="zstd")


def write_report(folder: Path, report: IngestReport) -> None:
    """Write report.json."""
    write_json(folder / "report.json", report.as_dict())


def read_report(folder: Path) -> IngestReport:
    """The report of a finished ingest. Raises ``IngestError`` where it is missing or damaged."""
    path = folder / "report.json"
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        raw.pop("adds_up")
        sources = tuple(_source(s) for s in raw.pop("sources"))
        raw["evaluations"] = tuple(EvaluationCounts(**e) for e in raw["evaluations"])
        folds, remarks = tuple(raw.pop("folds")), tuple(raw.pop("remarks"))
        return IngestReport(**raw, sources=sources, folds=folds, remarks=remarks)
    except (OSError, ValueError) as error:
        raise IngestError(
            f"{path} is missing or damaged", hint=f"remove {folder} and ingest again"
        ) from error
    except (KeyError, TypeError) as error:
        raise IngestError(
            f"{path} was written by another version of prosect",
            hint="name the files again: `prosect audit FILE... -o DIR` keeps readings, folds and verdicts",
        ) from error


def _source(raw: Mapping[str, Any]) -> SourceCounts:
    files = tuple(FileCounts(**f) for f in raw["files"])
    rest = {k: v for k, v in raw.items() if k not in ("files", "remarks")}
    return SourceCounts(**rest, files=files, remarks=tuple(raw["remarks"]))


def entries_of(folder: Path, files: Iterable[str]) -> pa.Table:
    """Entries of an earlier report about some files."""
    return pq.read_table(folder / "report.parquet", filters=[("file", "in", sorted(files))])
