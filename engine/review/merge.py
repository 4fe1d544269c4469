"""Exporting, importing and merging journals.

Entries keep their ids, authors and times, so merging is a union and merging twice changes nothing. A
conflict is a target on which both sides hold a verdict, the verdicts differ, and neither side has seen the
other's: the later one would win silently, so it is shown and has to be resolved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from engine.errors import ReviewError
from engine.manifest import write_atomic
from engine.records import Verdict
from engine.review.entries import Entry, decode, encode
from engine.review.journal import Decision, Journal
from engine.review.replay import replay
from engine.views.tables import Target


class Prefer(StrEnum):
    """What becomes of conflicts."""

    ASK = "ask"
    """Nothing is written while there are any."""
    OURS = "ours"
    """Our verdict is written again on top."""
    THEIRS = "theirs"
    """Their verdict is written again on top, in our name."""
    NEWEST = "newest"
    """The later one holds."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A target on which two journals disagree."""

    target: Target
    name: str
    context: str | None
    """Name of the context that both decided in; None: everywhere."""
    ours: Verdict
    our_author: str
    our_time: str
    theirs: Verdict
    their_author: str
    their_time: str
    their_reason: str | None


@dataclass(frozen=True, slots=True)
class NameConflict:
    """A concept that two journals call differently; an empty name is one that was taken back."""

    concept_id: str
    ours: str
    our_author: str
    our_time: str
    theirs: str
    their_author: str
    their_time: str


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge did, or would have done."""

    n_new: int
    """Entries that were not here."""
    n_known: int
    n_damaged: int
    """Lines of the other file that could not be read."""
    conflicts: tuple[Conflict, ...]
    is_written: bool
    names: tuple[NameConflict, ...] = ()
    """Conflicts about what concepts are called."""


def export_journal(journal: Journal, path: Path) -> int:
    """Write every readable entry to a file of the same format; how many there were.

    Raises:
        StoreError: the file cannot be written.
    """
    write_atomic(path, exported(journal))
    return len(journal.entries)


def exported(journal: Journal) -> bytes:
    """Every readable entry, a line each."""
    return b"".join(encode(entry) for entry in journal.entries)


def read_entries(path: Path) -> tuple[list[Entry], int]:
    """The entries of a journal file, and how many lines could not be read.

    Raises:
        ReviewError: the file cannot be read, or holds no entry at all though it is not empty.
    """
    try:
        found = [line for line in path.read_bytes().split(b"\n") if line.strip()]
    except OSError as error:
        raise ReviewError(f"{path} cannot be read: {error.strerror}") from error
    entries = [entry for line in found if (entry := decode(line)) is not None]
    if found and not entries:
        raise ReviewError(f"{path} is no journal", hint="`prosect verdicts export` writes one")
    return entries, len(found) - len(entries)


def merge_journal(journal: Journal, path: Path, prefer: Prefer = Prefer.ASK) -> MergeReport:
    """Take over the entries of another journal.

    Args:
        journal: ours; written to.
        path: theirs.
        prefer: what becomes of conflicts; ``ask`` writes nothing while there are any.

    Raises:
        ReviewError: theirs cannot be read, ours cannot be written.
    """
    journal.refresh()
    theirs, n_damaged = read_entries(path)
    known = {e.ident for e in journal.entries}
    new = [e for e in {e.ident: e for e in theirs}.values() if e.ident not in known]
    disputes, misnamed = _disputes(journal.entries, theirs), _misnamed(journal.entries, theirs)
    conflicts = tuple(_conflict(held, other) for held, other in disputes)
    names = tuple(_name_conflict(held, other) for held, other in misnamed)
    is_open = bool(conflicts or names) and prefer is Prefer.ASK
    if not is_open:
        journal.append_foreign(new)
        if prefer in (Prefer.OURS, Prefer.THEIRS):
            side = 0 if prefer is Prefer.OURS else 1
            for pair in disputes:
                _settle(journal, pair[side], f"merged: {prefer.value}")
            for pair in misnamed:
                _settle_name(journal, pair[side])
    return MergeReport(
        len(new), len(theirs) - len(new), n_damaged, conflicts, is_written=not is_open, names=names
    )


def _settle(journal: Journal, wanted: Entry, how: str) -> None:
    """Decide again as ``wanted`` did, on the evidence that it saw: a later audit is matched by that."""
    if wanted.target is None:
        return
    held = journal.state.verdicts.get(wanted.target.key)
    if held is None or held.verdict is not wanted.verdict:
        decision = Decision(wanted.target, wanted.name, dict(wanted.evidence or {}))
        reason = f"{wanted.reason} ({how})" if wanted.reason else how
        journal.set_verdicts([decision], wanted.verdict, reason)


def _settle_name(journal: Journal, wanted: Entry) -> None:
    if wanted.target is None:
        return
    held = journal.state.names.get(wanted.target.concept_id)
    if held is None or held.name != wanted.name:
        journal.set_name(wanted.target.concept_id, wanted.name, dict(wanted.evidence or {}))


def _misnamed(ours: Sequence[Entry], theirs: Sequence[Entry]) -> list[tuple[Entry, Entry]]:
    """Our and their name of every concept that they call differently, neither knowing the other's."""
    our_names, their_names = replay(ours).names, replay(theirs).names
    our_ids, their_ids = {e.ident for e in ours}, {e.ident for e in theirs}
    return [
        (held, other)
        for concept_id, held in our_names.items()
        if (other := their_names.get(concept_id)) is not None
        and other.name != held.name
        and held.ident not in their_ids
        and other.ident not in our_ids
    ]


def _name_conflict(ours: Entry, theirs: Entry) -> NameConflict:
    concept_id = ours.target.concept_id if ours.target is not None else ""
    return NameConflict(
        concept_id, ours.name, ours.author, ours.time, theirs.name, theirs.author, theirs.time
    )


def _disputes(ours: Sequence[Entry], theirs: Sequence[Entry]) -> list[tuple[Entry, Entry]]:
    """Our and their verdict on every target on which they differ and neither knew the other's."""
    our_state, their_state = replay(ours), replay(theirs)
    our_ids, their_ids = {e.ident for e in ours}, {e.ident for e in theirs}
    found = []
    for key, held in our_state.verdicts.items():
        other = their_state.verdicts.get(key)
        if other is None or other.verdict is held.verdict or held.target is None:
            continue
        if held.ident in their_ids or other.ident in our_ids:
            continue  # one side has seen the other's word and decided after it
        if held.verdict is not None and other.verdict is not None:
            found.append((held, other))
    return found


def _conflict(ours: Entry, theirs: Entry) -> Conflict:
    if ours.target is None or ours.verdict is None or theirs.verdict is None:
        raise ReviewError("a verdict without a target was merged")
    return Conflict(
        ours.target, ours.name, ours.context, ours.verdict, ours.author, ours.time,
        theirs.verdict, theirs.author, theirs.time, theirs.reason,
    )  # fmt: skip
