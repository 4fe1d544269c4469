"""One input as the user gives it, opened: its files, its format, the hash of its content."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

from engine.errors import IngestError
from engine.ingest.drafts import Reason, Row
from engine.ingest.files import DataFile, locate
from engine.ingest.formats.base import Format
from engine.ingest.formats.generic import EXAMPLE, is_complete, mapped_format, renamed
from engine.ingest.formats.places import placed
from engine.ingest.formats.registry import TEXT_COLUMNS, choose
from engine.ingest.formats.shape import Shape
from engine.ingest.json_values import Failure, Mended, NumberedRow, Part
from engine.ingest.mapping import how_to_map, settle, unmapped
from engine.ingest.readers import read_rows
from engine.manifest import hash_file, hash_json
from engine.safe_text import is_printable_name

SAMPLE_ROWS = 50
_CONTAMINATED = {
    "skywork-reward-preference-80k-v0.1": "v0.1 holds prompts of RewardBench: compare with it, "
    "`--evaluation allenai/reward-bench#raw`, or use v0.2",
}
"""Datasets known to overlap evaluation sets, by a part of their name."""


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One input as given on the command line or in a call."""

    path: str
    """File, folder, glob, or hub name (``owner/name``, ``owner/name@revision``); ``#split`` picks a split."""
    name: str | None = None
    """Source name of its pairs; None: the rows' own ``source`` column, else the file's stem."""
    format: str | None = None
    """Name of a format; None: detected."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """Role to column (``formats.generic``) or to a place inside one (``formats.places``)."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What decides an ingest beside the inputs that it reads."""

    kept: frozenset[str] = frozenset()
    """Paths of inputs of the last ingest that stay as they are: nobody looks at their files."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Source name to the weight of its pairs; names that are not here keep theirs (1 at first)."""
    evaluation: tuple[str, ...] = ()
    """Files, folders or hub names whose prompts must not be trained on; those named before stay."""
    forgotten: frozenset[str] = frozenset()
    """Evaluation inputs that are compared with no longer."""


@dataclass(frozen=True, slots=True)
class OpenSource:
    """A source whose files exist and whose format is known."""

    spec: SourceSpec
    files: tuple[DataFile, ...]
    format: Format
    renames: Mapping[str, str]
    """Partial mapping, applied to each row before the format sees it."""
    places: tuple[str, ...]
    """Of the mapping: what stands there is a column of each row before anything else sees it."""
    remarks: tuple[str, ...]
    sample: tuple[tuple[int, Row], ...]
    shape: Shape

    def rows(self, file: DataFile, max_line_bytes: int, part: Part | None = None) -> Iterator[NumberedRow]:
        """Rows of one of the files or of a part of it, with columns of places, renamed."""
        rows = read_rows(file.path, max_line_bytes, part)
        if not self.renames and not self.places:
            return rows
        return ((number, self._mapped(row)) for number, row in rows)

    def _mapped(self, row: dict[str, Any] | Failure) -> dict[str, Any] | Failure:
        if isinstance(row, Failure):
            return row
        made = placed(row, self.places, frozenset(self.spec.mapping.values())) if self.places else row
        if self.renames:
            made = renamed(made, self.renames)
        return Mended(made) if isinstance(row, Mended) else made


def line_limit(max_text_bytes: int) -> int:
    """Longest line that is parsed: a row has three texts and other columns."""
    return 4 * max_text_bytes


def open_source(spec: SourceSpec, max_text_bytes: int) -> OpenSource:
    """Find the files of a source and settle its format from the first rows.

    Raises:
        IngestError: nothing to read, unknown or ambiguous columns, a wrong name.
    """
    if spec.name is not None and not is_printable_name(spec.name):
        raise IngestError(f"source name {spec.name!r} is not a printable line")
    located = locate(spec.path)
    sample = _sample(located.files, line_limit(max_text_bytes))
    is_csv = any(".csv" in f.path.name or ".tsv" in f.path.name for f in located.files)
    mapping, places = settle(spec.path, spec.mapping, sample)
    spec, raw = replace(spec, mapping=mapping), sample
    if places:
        whole = frozenset(mapping.values())
        sample = tuple((n, placed(row, places, whole)) for n, row in sample)
    renames: Mapping[str, str] = {}
    if spec.format in (None, "map") and is_complete(mapping):
        shape = Shape.of((row for _, row in sample), is_csv=is_csv)
        chosen = mapped_format(mapping)
    else:
        renames = mapping
        sample = tuple((n, renamed(row, renames)) for n, row in sample)
        shape = Shape.of((row for _, row in sample), is_csv=is_csv)
        chosen = replace(_chosen(spec, shape, raw), mapped=frozenset(renames))
    _refuse_printed(spec.path, shape.printed & chosen.used)
    warnings = tuple(f"{spec.path}: {w}" for name, w in _CONTAMINATED.items() if name in spec.path.lower())
    return OpenSource(spec, located.files, chosen, renames, places, located.remarks + warnings, sample, shape)


def _chosen(spec: SourceSpec, shape: Shape, sample: tuple[tuple[int, Row], ...]) -> Format:
    """The format that was named or that the columns show; where none fits, what a mapping could name."""
    try:
        return choose(shape, spec.path, spec.format)
    except IngestError as error:
        _refuse_printed(spec.path, shape.printed & TEXT_COLUMNS)
        if error.hint is None or EXAMPLE not in error.hint or spec.format is not None:
            raise
        lacks = unmapped(spec.mapping)
        message = error.message if lacks is None else f"{spec.path}: {lacks}"
        raise IngestError(message, hint=how_to_map(sample)) from error


def _refuse_printed(path: str, columns: frozenset[str]) -> None:
    """Raise ``IngestError`` for texts that are messages as Python prints them, which would pass for prose."""
    if columns:
        names = ", ".join(sorted(columns))
        raise IngestError(
            f"{path}: {names} hold messages as Python prints them ([{{'role': ...), not JSON",
            hint="save the table as parquet, or write the column as JSON: `column.map(list).map(json.dumps)`",
        )


class Identity(NamedTuple):
    """What decides whether the pairs of a source can have changed."""

    hashes: tuple[str, ...]
    """Of the content of its files."""
    fingerprint: str
    """Over format, mapping, name, limits and files."""


def identify(source: OpenSource, max_text_bytes: int) -> Identity:
    """Hash the files of a source."""
    hashes = tuple(hash_file(f.path) for f in source.files)
    settled: list[Any] = [source.spec.name, source.format.name, dict(source.spec.mapping), max_text_bytes]
    files = sorted([f.shown, f.source, h] for f, h in zip(source.files, hashes, strict=True))
    return Identity(hashes, hash_json([settled, files]))


def _sample(files: tuple[DataFile, ...], limit: int) -> tuple[tuple[int, Row], ...]:
    """The first readable rows. Raises ``IngestError`` where no file has any."""
    problem, hint = "", "is it JSON lines, csv or parquet?"
    for file in files:
        rows = list(islice(read_rows(file.path, limit), 4 * SAMPLE_ROWS))
        good = [(n, row) for n, row in rows if not isinstance(row, Failure)][:SAMPLE_ROWS]
        if good:
            return tuple(good)
        if rows and not problem:
            number, row = rows[0]
            if isinstance(row, Failure):
                problem, hint = f"row {number}: {row.reason}, {row.detail}", _not_lines(file, row) or hint
    where = files[0].shown if len(files) == 1 else f"{files[0].shown} and {len(files) - 1} more"
    if not problem:
        raise IngestError(f"{where}: there are no rows", hint="an interrupted download or an empty export?")
    raise IngestError(f"{where}: no row can be read ({problem})", hint=hint)


def _not_lines(file: DataFile, row: Failure) -> str:
    """What to do with JSON that is not one object a line though its name says so; empty for anything else."""
    name, suffix, rest = file.path.name.rpartition(".jsonl")
    is_open = row.reason is Reason.NOT_JSON and row.detail.startswith("Expecting property name")
    if not suffix or not (is_open or row.reason is Reason.NOT_AN_OBJECT):
        return ""
    return f"JSON lines hold one object a line; call a list, or objects over several lines, {name}.json{rest}"
