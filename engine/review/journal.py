"""The journal of verdicts and names: append-only JSON lines, fsynced, the truth about decisions.

One line per entry; undo and redo are entries that name the batch they take back or restore. A write holds an
exclusive lock, appends all lines of a batch at once and is durable when it returns; a failed write leaves the
file as it was. Two processes may write at once; readers pick up each other's lines with ``refresh``.
Lines that cannot be read, a torn last one included, are counted and stepped over, never dropped.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from engine.errors import ReviewError
from engine.manifest import append_durably
from engine.records import Verdict
from engine.review.entries import Entry, EntryKind, decode, encode
from engine.review.following import Follower
from engine.review.replay import State, redo_batch, replay, undo_batch
from engine.review.said import who_of, whose
from engine.views.tables import JournalChange, Target

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to write about one target."""

    target: Target
    name: str
    """The concept's name as it stands."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """The estimates that the person saw."""


def _now() -> datetime:
    return datetime.now(UTC)


class Journal:
    """A journal file. Not thread-safe: one thread writes and refreshes."""

    def __init__(self, path: Path, author: str | Callable[[], str], *, clock: Clock = _now) -> None:
        self.path = path
        self._author = author
        self._clock = clock
        self._entries: list[Entry] = []
        self._ids: set[str] = set()
        self._n_damaged = 0
        self._file = Follower()
        self._missing: dict[str, Entry] = {}
        self._ids_before: set[str] = set()
        """What the file had before it lost them."""
        self._has_news = False
        """Something of others was read that nobody has asked for yet."""
        self.state = State()
        self.refresh()

    @property
    def author(self) -> str:
        """Who writes here; asked for when it is first needed, since asking git takes time."""
        if not isinstance(self._author, str):
            self._author = self._author()
        return self._author

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every readable entry, in file order."""
        return tuple(self._entries)

    @property
    def n_damaged(self) -> int:
        """Lines that could not be read; an unfinished last line counts."""
        return self._n_damaged + bool(self._file.torn)

    @property
    def lost(self) -> tuple[Entry, ...]:
        """Entries that were read or written here and that the file has no more: somebody changed it."""
        return tuple(self._missing.values())

    @property
    def how_lost(self) -> str:
        """What became of the file that had them: deleted, emptied, cut short, replaced or changed."""
        if not self._missing or not self._file.is_there:
            return "deleted" if self._missing else ""
        if not self._file.offset:
            return "emptied"
        if self._ids & self._ids_before:
            return "cut short" if self._ids <= self._ids_before else "changed"
        return "replaced"

    def refresh(self) -> bool:
        """Read what others wrote since the last refresh; True when there was anything.

        Raises:
            ReviewError: the file exists and cannot be read.
        """
        self._look()
        found, self._has_news = self._has_news, False
        return found

    def _look(self) -> None:
        try:
            with self.path.open("rb") as f:
                self._has_news |= self._read_from(f.fileno())
        except FileNotFoundError:
            self._has_news |= bool(self._entries)
            self._file.forget()
            self._forget()
        except OSError as error:
            raise ReviewError(f"{self.path} cannot be read: {error.strerror}") from error

    def _forget(self) -> None:
        """The file is not what was read: it is the truth, but what it has no more is not thrown away."""
        if self._entries:
            self._missing |= {entry.ident: entry for entry in self._entries}
            self._ids_before = self._ids
        self._entries, self._ids, self._n_damaged, self.state = [], set(), 0, State()

    def _read_from(self, handle: int) -> bool:
        """Read on, from the beginning where the file is another one; True when anything changed."""
        news = self._file.read_on(handle)
        if news.is_other_file:
            self._forget()
        if not news.has_more:
            return news.is_other_file
        known = len(self._entries)
        for line in news.lines:
            self._take(line)
        new = self._entries[known:]
        if self.state.can_take(new):
            for entry in new:  # a step on top: nothing before it changes
                self.state.take(entry)
        else:
            self.state = replay(self._entries)
        if self._missing:
            self._missing = {k: entry for k, entry in self._missing.items() if k not in self._ids}
        return True

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        entry = decode(line)
        if entry is None:
            self._n_damaged += 1
        elif entry.ident not in self._ids:
            self._ids.add(entry.ident)
            self._entries.append(entry)

    # -- writing ----------------------------------------------------------------------------------------

    def set_verdicts(
        self, decisions: Sequence[Decision], verdict: Verdict | None, reason: str | None = None,
        *, seen: Mapping[str, str] | None = None,
    ) -> JournalChange:  # fmt: skip
        """Write one verdict for some targets as one step; None clears.

        Args:
            decisions: what to write about each target.
            verdict: for all of them.
            reason: why.
            seen: target key → time of the verdict that the person saw there; where somebody else's word holds
                that is not this one, it is left alone. None: decide whatever others have decided.

        Raises:
            ReviewError: nothing was written: no space, no permission, a read-only file system.
        """
        if not decisions:
            return JournalChange("nothing selected", ())
        kind = EntryKind.CLEAR if verdict is None else EntryKind.VERDICT
        entries = [
            self._entry(
                kind, target=d.target, verdict=verdict, reason=reason, name=d.name, evidence=d.evidence
            )
            for d in decisions
        ]
        left: list[Entry] = []
        over: list[Entry] = []

        def is_wanted(entry: Entry) -> bool:
            held = self.state.verdicts.get(entry.target.key) if entry.target is not None else None
            if held is None or held.target is None or held.author == self.author:
                return True
            is_left = seen is not None and held.time != seen.get(held.target.key)
            if is_left or held.verdict is not verdict:
                (left if is_left else over).append(held)
            return not is_left

        written = self._append(entries, is_wanted=is_wanted)
        label = (
            f"{'cleared' if verdict is None else verdict.value}: {who_of(written) if written else 'nothing'}"
        )
        if over:
            label += f", over {whose(over)}"
        if left:
            label += f"; left alone what others decided meanwhile: {whose(left)}"
        keys = tuple(e.target.key for e in written if e.target is not None)
        return JournalChange(label, keys, differs_from=tuple({e.author for e in (*left, *over)}))

    def set_names(self, names: Sequence[tuple[str, str, dict[str, Any] | None]]) -> JournalChange:
        """Give several concepts names as one step: id, name, and evidence as of ``set_name``."""
        if not names:
            return JournalChange("nothing to name", ())
        targets = [Target("concept", ident, ident) for ident, _, _ in names]
        self._append(
            [
                self._entry(EntryKind.NAME, target=target, name=name.strip(), evidence=evidence)
                for target, (_, name, evidence) in zip(targets, names, strict=True)
            ]
        )
        return JournalChange(f"named: {len(names):,} concepts", (), names_changed=True)

    def set_name(self, concept_id: str, name: str, evidence: dict[str, Any] | None = None) -> JournalChange:
        """Give a concept a person's name; an empty one takes it back.

        Args:
            concept_id: its id.
            name: what to call it.
            evidence: reader, SAE and latents of the concept: what the name is carried to a new index by.
        """
        target = Target("concept", concept_id, concept_id)
        self._append([self._entry(EntryKind.NAME, target=target, name=name.strip(), evidence=evidence)])
        return JournalChange(
            f"named: {name.strip()}" if name.strip() else "name taken back", (), names_changed=True
        )

    def undo(self) -> JournalChange:
        """Take back this author's last step that still holds."""
        self._look()
        return self._step(EntryKind.UNDO, undo_batch(self._entries, self.author))

    def redo(self) -> JournalChange:
        """Restore what this author took back last, unless something newer was decided since."""
        self._look()
        return self._step(EntryKind.REDO, redo_batch(self._entries, self.author))

    def _step(self, kind: EntryKind, batch: str | None) -> JournalChange:
        if batch is None:
            return JournalChange(f"nothing to {kind.value}", ())
        touched = [e for e in self._entries if e.batch == batch]
        keys = tuple(e.target.key for e in touched if e.target is not None)
        before = self._held(keys)
        self._append([self._entry(kind, of=batch)])
        first = touched[0]
        what = first.verdict.value if first.verdict else first.kind.value
        if first.verdict is not None and before == self._held(keys):  # only why it was given changes
            what = f"reason of {what}"
        who = who_of(touched)
        return JournalChange(f"{kind.value}: {what} {who}", keys, names_changed=first.kind is EntryKind.NAME)

    def _held(self, keys: Iterable[str]) -> list[Verdict | None]:
        found = (self.state.verdicts.get(key) for key in keys)
        return [entry.verdict if entry is not None else None for entry in found]

    def _entry(self, kind: EntryKind, **values: Any) -> Entry:
        return Entry(ident=os.urandom(8).hex(), batch="", kind=kind, author=self.author, time="", **values)

    def append_foreign(self, entries: Sequence[Entry]) -> int:
        """Append entries of another journal as they are, those already here left out; how many were new."""
        new = [e for e in entries if e.ident not in self._ids]
        if new:
            self._append(new, stamp=False)
        return len(new)

    def restore(self) -> JournalChange:
        """Append the entries that the file has no more, as they were; what it has now stays.

        Raises:
            ReviewError: nothing was written.
        """
        wanted = self.lost
        n = self.append_foreign(wanted)
        keys = tuple(dict.fromkeys(e.target.key for e in wanted if e.target is not None))
        said = f"{n:,} entr{'ies are' if n != 1 else 'y is'} in {self.path.name} again"
        has_names = any(e.kind is not EntryKind.VERDICT for e in wanted)
        return JournalChange(
            said if n else "nothing is missing from the journal", keys, names_changed=has_names
        )

    def _append(
        self, entries: Sequence[Entry], *, stamp: bool = True,
        is_wanted: Callable[[Entry], bool] | None = None,
    ) -> Sequence[Entry]:  # fmt: skip
        """Write entries, of which those may be left out that what others wrote makes unwanted.

        Returns:
            what was written.
        """
        if not self.path.parent.is_dir():  # moved or removed: a new one would hide where the project went
            raise ReviewError(
                f"not saved: the folder {self.path.parent} is gone",
                hint="bring it back where it was, then decide again",
            )
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise _not_saved(self.path, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self._has_news |= self._read_from(handle)
            wanted = [e for e in entries if is_wanted(e)] if is_wanted is not None else entries
            if not wanted:
                return ()
            stamped = self._stamp(wanted) if stamp else list(wanted)
            lines = b"".join(encode(e) for e in stamped)
            append_durably(handle, b"\n" + lines if self._file.torn else lines)
            self._read_from(handle)
            return stamped
        except OSError as error:
            raise _not_saved(self.path, error) from error
        finally:
            os.close(handle)  # lets the lock go, too

    def _stamp(self, entries: Sequence[Entry]) -> list[Entry]:
        """One batch and one time, later than every entry before: order in time is order in the file."""
        now = self._clock()
        last = self.state.last_time
        if last and now.isoformat(timespec="microseconds") <= last:
            now = datetime.fromisoformat(last) + timedelta(microseconds=1)
        batch = os.urandom(6).hex()
        time = now.astimezone(UTC).isoformat(timespec="microseconds")
        return [replace(e, batch=batch, time=time) for e in entries]


def _not_saved(path: Path, error: OSError) -> ReviewError:
    return ReviewError(
        f"not saved: {path}: {error.strerror or error}",
        hint="free some space or fix permissions, then decide again",
    )
