"""Entries to the state that holds: pure functions.

The last verdict in time on a target holds. Undo and redo act on whole batches of their own author and
leave the order of everything else alone: taking back a verdict uncovers the one before it, whoever wrote
that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from engine.review.entries import Entry, EntryKind


@dataclass(frozen=True, slots=True)
class State:
    """What a journal says now."""

    verdicts: dict[str, Entry] = field(default_factory=dict)
    """Target key → the verdict entry that holds."""
    disputed_by: dict[str, str] = field(default_factory=dict)
    """Target key → another author whose own last word on it is a different verdict."""
    names: dict[str, str] = field(default_factory=dict)
    """Concept id → name given by a person."""
    undone: frozenset[str] = frozenset()
    """Batches that do not hold."""


def in_time(entries: Iterable[Entry]) -> list[Entry]:
    """Entries by time; those of one time stay in file order."""
    return sorted(entries, key=lambda e: e.time)


def undone_batches(entries: Iterable[Entry]) -> frozenset[str]:
    """Batches that were taken back and not restored. An undo of somebody else's batch has no effect."""
    owner: dict[str, str] = {}
    undone: set[str] = set()
    for entry in in_time(entries):
        if entry.kind is EntryKind.UNDO and entry.of is not None and owner.get(entry.of) == entry.author:
            undone.add(entry.of)
        elif entry.kind is EntryKind.REDO and entry.of is not None and owner.get(entry.of) == entry.author:
            undone.discard(entry.of)
        elif entry.of is None:
            owner.setdefault(entry.batch, entry.author)
    return frozenset(undone)


def replay(entries: Sequence[Entry]) -> State:
    """The state after all entries, in whatever order the file has them."""
    undone = undone_batches(entries)
    verdicts: dict[str, Entry] = {}
    names: dict[str, str] = {}
    last_word: dict[str, dict[str, str | None]] = {}
    for entry in in_time(entries):
        if entry.target is None or entry.batch in undone:
            continue
        key = entry.target.key
        if entry.kind is EntryKind.NAME:
            names[entry.target.concept_id] = entry.name
            continue
        last_word.setdefault(key, {})[entry.author] = entry.verdict.value if entry.verdict else None
        if entry.kind is EntryKind.VERDICT:
            verdicts[key] = entry
        else:
            verdicts.pop(key, None)
    disputed = {
        key: other
        for key, held in verdicts.items()
        if held.verdict is not None and (other := _dissenter(last_word[key], held.author, held.verdict.value))
    }
    return State(verdicts, disputed, {k: n for k, n in names.items() if n}, undone)


def _dissenter(words: dict[str, str | None], author: str, verdict: str) -> str | None:
    return next((who for who, word in words.items() if who != author and word not in (None, verdict)), None)


def undo_batch(entries: Sequence[Entry], author: str) -> str | None:
    """The author's last batch that holds."""
    undone = undone_batches(entries)
    own = [e.batch for e in in_time(entries) if e.author == author and e.of is None and e.batch not in undone]
    return own[-1] if own else None


def redo_batch(entries: Sequence[Entry], author: str) -> str | None:
    """The batch the author took back last; None once the author has decided anything since."""
    stack: list[str] = []
    for entry in in_time(entries):
        if entry.author != author:
            continue
        if entry.kind is EntryKind.UNDO and entry.of is not None:
            stack.append(entry.of)
        elif entry.kind is EntryKind.REDO and entry.of in stack:
            stack.remove(entry.of)
        elif entry.of is None:
            stack.clear()
    return stack[-1] if stack else None


def undo_depth(entries: Sequence[Entry], author: str) -> int:
    """Steps the author can take back."""
    undone = undone_batches(entries)
    return len({e.batch for e in entries if e.author == author and e.of is None} - undone)
