"""What a source looks like before anything is written: guessed format, columns, first pairs, first drops."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from engine.ingest.collect import checked, convert
from engine.ingest.drafts import Answer, Draft, Dropped, Kind, Note, Notes, Origin, Reason, Turns
from engine.ingest.formats.base import WEIGHT, shared_uses
from engine.ingest.formats.generic import EXTRA_ROLES, TEXT_ROLES, VALUE_ROLES
from engine.ingest.json_values import Failure, Mended, NumberedRow
from engine.ingest.pairing import RatedAnswers
from engine.ingest.source import SAMPLE_ROWS, OpenSource, SourceSpec, line_limit, open_source
from engine.records import Label, Message
from engine.settings import IngestSettings

_READ = "read by the format"


@dataclass(frozen=True, slots=True)
class PreviewPair:
    """A pair as a format understood it, before ids and folds; without texts where the row makes none."""

    source: str
    row: int
    """Of its file, from 0."""
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    label: Label | None
    """None for a pair that ingest would drop."""
    chosen_was: str | None
    dropped: Reason | None = None
    """Why ingest would drop it."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ColumnUse:
    """A column, what its first rows hold, and what becomes of it."""

    column: str
    holds: str
    used_as: str | None
    """Role or field; None: left over, kept with the pair as metadata."""


@dataclass(frozen=True, slots=True)
class SourcePreview:
    """What a source looks like before it is ingested."""

    path: str
    files: tuple[str, ...]
    format: str
    """What --format would say; ``map`` for a mapping by hand."""
    format_title: str
    format_shape: str
    is_evaluation: bool
    from_description: bool
    """The format was rebuilt from descriptions: look twice at the pairs."""
    columns: tuple[ColumnUse, ...]
    pairs: tuple[PreviewPair, ...]
    """The first ones, also those that would be dropped."""
    n_rows: int
    """Rows that were looked at."""
    dropped: dict[Reason, int]
    """What would be dropped of them, by reason."""
    noted: dict[Reason, int]
    """What would be repaired or noted, by reason."""
    remarks: tuple[str, ...]
    """Splits that were left out, the revision of a download."""
    n_waiting: int = 0
    """Single answers without a partner among the rows that were looked at: one may come further on."""


def preview(source: SourceSpec, n: int = 10) -> SourcePreview:
    """Guess the format of a source and show its first pairs; writes nothing.

    Raises:
        IngestError: nothing to read, unknown or ambiguous columns.
    """
    limit = IngestSettings().max_text_bytes
    opened = open_source(source, limit)
    form = opened.format
    rows = list(islice(_rows(opened, limit), SAMPLE_ROWS))
    noted: Counter[Reason] = Counter()
    waiting: Counter[Reason] = Counter()
    seen = list(_judged(opened, rows, limit, noted, waiting))
    return SourcePreview(
        source.path,
        tuple(f.shown for f in opened.files),
        form.name,
        form.title,
        form.shape,
        form.is_evaluation,
        form.from_description,
        _columns(opened, has_slots=any(p.chosen_was is not None for p in seen)),
        tuple(seen[:n]),
        len(rows),
        dict(Counter(p.dropped for p in seen if p.dropped is not None).most_common()),
        dict(noted.most_common()),
        opened.remarks,
        waiting.total(),
    )


def _columns(opened: OpenSource, *, has_slots: bool) -> tuple[ColumnUse, ...]:
    mapping, form = opened.spec.mapping, opened.format
    before = {WEIGHT if role == "weight" else role: column for role, column in opened.renames.items()}
    given: dict[str, str] = {}
    if not opened.renames:  # else a column is known by its role, and the format may have no use for it
        given = {column: role for role, column in mapping.items() if role not in VALUE_ROLES}
    shared = shared_uses(tuple(opened.shape.kinds), form, has_slots=has_slots)
    found = []
    for name, kinds in opened.shape.kinds.items():
        column = before.get(name, name)
        use = given.get(name) or shared.get(name)
        if use is None and name in form.used:
            use = name if name in (*TEXT_ROLES, *EXTRA_ROLES) else _READ
        found.append(ColumnUse(column, " or ".join(sorted(kinds)) or "null", use))
    return tuple(found)


def _rows(opened: OpenSource, limit: int) -> Iterator[tuple[str, str, NumberedRow]]:
    for file in opened.files:
        for row in opened.rows(file, line_limit(limit)):
            yield file.source, file.shown, row


def _judged(
    opened: OpenSource,
    rows: list[tuple[str, str, NumberedRow]],
    limit: int,
    noted: Counter[Reason],
    waiting: Counter[Reason],
) -> Iterator[PreviewPair]:
    """What ingest makes of some rows, in their order; pairs of single answers last.

    An answer that has no partner among these rows may find one further on: it is counted as waiting.
    """
    answers = RatedAnswers()
    for source, file, (number, row) in rows:
        origin = Origin(opened.spec.name or source, file, number)
        try:
            if isinstance(row, Failure):
                raise Dropped(row.reason, row.detail)
            is_mended = isinstance(row, Mended)
            notes: Notes = [Note(Kind.REPAIRED, Reason.NO_NUMBER, "")] if is_mended else []
            drafts = convert(opened.format, row, notes)
        except (Dropped, RecursionError) as error:
            yield _shown(opened, origin, None, error)
            continue
        for draft in drafts:
            if isinstance(draft, Answer):
                answers.add(origin, draft, notes)
            else:
                yield _checked(opened, origin, draft, limit, notes, noted)
                notes = []
    for origin, made, known in answers.pairs():
        if isinstance(made, Dropped):
            waiting[made.reason] += 1
        elif isinstance(made, Draft):
            yield _checked(opened, origin, made, limit, list(known), noted)


def _checked(
    opened: OpenSource, origin: Origin, draft: Draft, limit: int, notes: Notes, noted: Counter[Reason]
) -> PreviewPair:
    try:
        checked(draft, origin.source, notes, limit)
    except (Dropped, RecursionError) as error:
        return _shown(opened, origin, draft, error)
    noted.update(note.reason for note in notes)
    return _shown(opened, origin, draft, None)


def _shown(opened: OpenSource, origin: Origin, draft: Draft | None, error: Exception | None) -> PreviewPair:
    def messages(turns: Turns) -> tuple[Message, ...]:
        return tuple(Message(role, content) for role, content in turns)

    said = error if isinstance(error, Dropped) or error is None else Dropped(Reason.NESTED_TOO_DEEPLY)
    made = draft or Draft((), (), ())
    return PreviewPair(
        opened.spec.name or made.source or origin.source,
        origin.row,
        messages(made.prompt),
        messages(made.chosen),
        messages(made.rejected),
        made.label if said is None else None,
        made.chosen_was,
        None if said is None else said.reason,
        "" if said is None else said.detail,
    )
