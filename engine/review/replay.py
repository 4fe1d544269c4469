"""Entries to the state that holds: pure functions.

The last verdict in time on a target holds. Undo and redo act on whole batches of their own author and
leave the order of everything else alone: taking back a verdict uncovers the one before it, whoever wrote
that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from engine.review.entries import Entry, EntryKind


@dataclass(slots=True)
class State:
    """What a journal says now."""

    verdicts: dict[str, Entry] = field(default_factory=dict)
    """Target key → the verdict entry that holds."""
    disputed_by: dict[str, str] = field(default_factory=dict)
    """Target key → another author whose own last word on it is a different verdict."""
    names: dict[str, Entry] = field(default_factory=dict)
    """Concept id → the name entry that holds; its name is empty where somebody took it back."""
    undone: frozenset[str] = frozenset()
    """Batches that do not hold."""
    last_time: str = ""
    """Time of the latest entry."""
    words: dict[str, dict[str, str | None]] = field(default_factory=dict)
    """Target key → author → that author's last word, None for cleared."""

    def can_take(self, step: Sequence[Entry]) -> bool:
        """True for entries of one step that is no undo or redo and later than everything known."""
        return all(e.of is None and e.time == step[0].time > self.last_time for e in step)

    def take(self, entry: Entry) -> None:
        """Add one entry that is later than all before it and holds."""
        self.last_time = max(self.last_time, entry.time)
        if entry.target is None:
            return
        key, concept_id = entry.target.key, entry.target.concept_id
        if entry.kind is EntryKind.NAME:
            self.names[concept_id] = entry
            return
        self.words.setdefault(key, {})[entry.author] = entry.verdict.value if entry.verdict else None
        if entry.verdict is not None:
            self.verdicts[key] = entry
        else:
            self.verdicts.pop(key, None)
        self._settle(key)

    def _settle(self, key: str) -> None:
        held = self.verdicts.get(key)
        other = None
        if held is not None and held.verdict is not None:
            other = _dissenter(self.words[key], held.author, held.verdict.value)
        if other is None:
            self.disputed_by.pop(key, None)
        else:
            self.disputed_by[key] = other


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
    state = State(undone=undone_batches(entries))
    for entry in in_time(entries):
        if entry.batch not in state.undone:
            state.take(entry)
        state.last_time = max(state.last_time, entry.time)
    return state


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
