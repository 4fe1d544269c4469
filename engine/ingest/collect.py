"""Rows of one source → cleaned, checked, hashed pairs in the spool; everything else → the report."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.errors import IngestError
from engine.ingest import keys as k
from engine.ingest.drafts import Answer, Draft, Dropped, Kind, Note, Notes, Origin, Reason, Row
from engine.ingest.files import DataFile
from engine.ingest.formats.base import Format, finish
from engine.ingest.formats.turns import unread_of
from engine.ingest.json_values import Failure, Mended, Part
from engine.ingest.pairing import RatedAnswers
from engine.ingest.report import Entries, Tally
from engine.ingest.source import OpenSource, line_limit
from engine.ingest.spool import Spool
from engine.progress import Progress
from engine.records import Label

_BATCH = 512
_NOTED_LABELS = {
    Label.TIE: Reason.TIE,
    Label.BOTH_BAD: Reason.BOTH_BAD,
    Label.NONE: Reason.NO_LABEL,
}


@dataclass(slots=True)
class Collected:
    """Everything read so far, of all sources."""

    spool: Spool
    entries: Entries
    max_text_bytes: int
    keys: k.KeyColumns = field(default_factory=k.KeyColumns)
    sources: dict[str, int] = field(default_factory=dict)
    """Source name to number."""
    files: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)

    def number_of(self, source: str) -> int:
        """Number of a source name, given out in order of appearance."""
        return self.sources.setdefault(source, len(self.sources))


def convert(form: Format, row: Row, notes: Notes) -> list[Draft | Answer]:
    """All drafts of a row, with shared columns filled in. Raises ``Dropped``."""
    drafts = form.convert(row, notes)
    for draft in drafts:
        finish(draft, row, form, notes)
    return list(drafts)


def check_sides(draft: Draft, notes: Notes) -> None:
    """Raise ``Dropped`` for a side that is no answer."""
    for name, side in (("chosen", draft.chosen), ("rejected", draft.rejected)):
        if not side or side[-1][0] not in ("assistant", "tool"):
            raise Dropped(Reason.NO_ANSWER, f"{name} does not end with an answer")
        if not side[-1][1] or side[-1][1].isspace():
            left_out = sorted({n.detail for n in notes if n.reason is Reason.NON_TEXT_PART})
            raise Dropped(Reason.EMPTY_SIDE, f"{name}; left out: {', '.join(left_out)}" if left_out else name)


def check_same(draft: Draft, notes: Notes) -> None:
    """Raise ``Dropped`` for a preference between sides of the same text; note it for other labels.

    Sides that differ in fields of messages that are not read are not called the same.
    """
    chosen, rejected = unread_of(draft.chosen), unread_of(draft.rejected)
    differing = {
        name for _, name, _ in (f for f in chosen + rejected if f not in chosen or f not in rejected)
    }
    if draft.label is Label.CHOSEN:
        if differing:
            raise Dropped(Reason.DIFFER_UNREAD, ", ".join(sorted(differing))[:200])
        raise Dropped(Reason.IDENTICAL_SIDES)
    if not differing:
        notes.append(Note(Kind.NOTED, Reason.IDENTICAL_SIDES, ""))


def checked(draft: Draft, source: str, notes: Notes, limit: int) -> tuple[k.Sealed, k.Keys]:
    """A draft cleaned and hashed. Raises ``Dropped`` where it is no usable pair."""
    check_sides(draft, notes)
    prompt = k.hashed(draft.prompt, notes, limit)
    chosen = k.hashed(draft.chosen, notes, limit)
    rejected = k.hashed(draft.rejected, notes, limit)
    if chosen.digest == rejected.digest:  # of repaired texts: what is stored must differ
        check_same(draft, notes)
    k.clean_words(draft, notes)
    meta = k.meta_text(draft.meta, notes)
    keys = k.Keys(
        k.prompt_key(prompt, chosen.digest, rejected.digest),
        k.content_key(prompt.digest, chosen.digest, rejected.digest, draft.label),
        k.rest_key(draft, meta),
        k.conversation_key(source, draft.conversation_id),
    )
    return k.Sealed(prompt, chosen, rejected, meta), keys


class Piece(NamedTuple):
    """What is read in one go."""

    file: DataFile
    part: Part | None
    """None: all of it."""


class Collector:
    """Reads one source, or some pieces of it, into what was collected so far."""

    def __init__(
        self,
        opened: OpenSource,
        into: Collected,
        progress: Progress,
        pieces: Sequence[Piece] | None = None,
    ) -> None:
        self._opened = opened
        self._pieces = [Piece(f, None) for f in opened.files] if pieces is None else pieces
        self._into = into
        self._progress = progress
        self._tallies: dict[str, Tally] = {f.shown: Tally() for f in opened.files}
        self._answers = RatedAnswers()

    def run(self) -> dict[str, Tally]:
        """Read all files; counts by file."""
        for piece in self._pieces:
            self._read(piece)
        for origin, made, notes in self._answers.pairs():
            tally = self._tallies[origin.file]
            if made is None:
                tally.merged += 1
                self._note(self._opened.spec.name or origin.source, origin, notes)
            elif isinstance(made, Dropped):
                self._drop(origin, tally, made)
            else:
                self._take(made, origin, notes, tally)
        return self._tallies

    def _read(self, piece: Piece) -> None:
        file = piece.file
        tally = self._tallies[file.shown]
        before = tally.rows_read
        rows = self._opened.rows(file, line_limit(self._into.max_text_bytes), piece.part)
        for count, (number, row) in enumerate(rows, 1):
            tally.rows_read += 1
            self._row(Origin(file.source, file.shown, number), row, tally)
            if count % _BATCH == 0:
                self._progress.advance(_BATCH)
        self._progress.advance((tally.rows_read - before) % _BATCH)

    def _row(self, origin: Origin, row: Row | Failure, tally: Tally) -> None:
        if isinstance(row, Failure):
            self._drop(origin, tally, Dropped(row.reason, row.detail))
            return
        notes: Notes = []
        if isinstance(row, Mended):
            notes.append(Note(Kind.REPAIRED, Reason.NO_NUMBER, ""))
        try:
            drafts = convert(self._opened.format, row, notes)
        except (Dropped, RecursionError) as error:
            own = row.get("source")
            named = origin._replace(source=own) if isinstance(own, str) and own else origin
            self._drop(
                named, tally, error if isinstance(error, Dropped) else Dropped(Reason.NESTED_TOO_DEEPLY)
            )
            return
        tally.expanded += len(drafts) - 1
        for draft in drafts:
            if isinstance(draft, Answer):
                self._answers.add(origin._replace(source=draft.source or origin.source), draft, notes)
            else:
                self._take(draft, origin, notes, tally)
            notes = []

    def _take(self, draft: Draft, origin: Origin, notes: Notes, tally: Tally) -> None:
        into = self._into
        source = self._opened.spec.name or draft.source or origin.source
        if self._opened.spec.name and draft.source and draft.source != source:
            draft.meta["source"] = draft.source
        try:
            sealed, keys = checked(draft, source, notes, into.max_text_bytes)
        except (Dropped, RecursionError) as error:
            self._drop(
                origin._replace(source=source),
                tally,
                error if isinstance(error, Dropped) else Dropped(Reason.NESTED_TOO_DEEPLY),
            )
            return
        if not sealed.prompt.size and all(n.reason is not Reason.NO_PROMPT for n in notes):
            notes.append(Note(Kind.NOTED, Reason.NO_PROMPT, ""))
        into.keys.add(
            keys,
            source=into.number_of(source),
            file=into.files.setdefault(origin.file, len(into.files)),
            row=origin.row,
            size=sealed.size,
            weight=draft.weight,
            is_evaluation=self._opened.format.is_evaluation,
        )
        into.spool.add(draft, sealed, source=source, file=origin.file, row=origin.row)
        label = draft.label.value
        into.labels[label] = into.labels.get(label, 0) + 1
        tally.pairs += 1
        if draft.label in _NOTED_LABELS:
            notes.append(Note(Kind.NOTED, _NOTED_LABELS[draft.label], ""))
        self._note(source, origin, notes)

    def _note(self, source: str, origin: Origin, notes: Notes) -> None:
        for note in notes:
            self._into.entries.add(source, origin.file, origin.row, *note)

    def _drop(self, origin: Origin, tally: Tally, dropped: Dropped) -> None:
        tally.dropped += 1
        source = self._opened.spec.name or origin.source
        self._into.entries.add(source, origin.file, origin.row, Kind.DROPPED, dropped.reason, dropped.detail)


def refuse_nothing(
    opened: OpenSource, tallies: dict[str, Tally], entries: Entries, remark: str | None = None
) -> None:
    """Raise ``IngestError`` when not one row of a source became a pair, with what is known of the reason."""
    if any(t.pairs for t in tallies.values()):
        return
    rows = sum(t.rows_read for t in tallies.values())
    most = entries.counts[Kind.DROPPED].most_common(5)
    reasons = ", ".join(f"{reason} {n}{_detail(entries, reason, set(tallies))}" for reason, n in most)
    raise IngestError(
        f"{opened.spec.path}: none of {rows:,} rows became a pair as {opened.format.title} "
        f"({opened.format.shape}); dropped: {reasons or 'nothing, there are no rows'}",
        hint=remark
        or f"the columns hold:\n{opened.shape.describe()}\nsay --format or --map (`prosect help formats`)",
    )


def _detail(entries: Entries, reason: str, files: set[str]) -> str:
    """The detail that is given most often for a reason, in parentheses."""
    found = entries.details(Reason(reason), files)
    said = next((detail for detail, _ in found.most_common() if detail), "")
    return f" ({said})" if said else ""
