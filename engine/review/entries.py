"""One line of the journal, and how it is written."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from engine.records import Verdict
from engine.views.tables import Target

LAST_YEAR = 9000
FORMAT = 1
"""Raised when a line's meaning changes; lines of a newer format are counted as unreadable."""


class EntryKind(StrEnum):
    """What an entry does."""

    VERDICT = "verdict"
    CLEAR = "clear"
    NAME = "name"
    UNDO = "undo"
    REDO = "redo"


class Packed(Mapping[str, Any]):
    """Evidence as it lies in the file, read when it is looked at: it is most of a line and rarely wanted."""

    __slots__ = ("_json", "_read")

    def __init__(self, raw: bytes) -> None:
        self._json = raw
        self._read: dict[str, Any] | None = None

    def _all(self) -> dict[str, Any]:
        if self._read is None:
            try:
                found = json.loads(self._json)
            except ValueError:  # the decision before it could be read and counts
                found = {}
            self._read = found if isinstance(found, dict) else {}
        return self._read

    def __getitem__(self, key: str) -> Any:
        """A value."""
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        """Keys."""
        return iter(self._all())

    def __len__(self) -> int:
        """Number of keys."""
        return len(self._all())


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision, name, undo or redo."""

    ident: str
    """16 hex digits, unique: merging journals goes by it."""
    batch: str
    """Entries written as one step, undone as one step."""
    kind: EntryKind
    author: str
    time: str
    """ISO 8601 with microseconds, UTC; ascends within a file, merged entries aside."""
    target: Target | None = None
    """Of verdict, clear and name."""
    verdict: Verdict | None = None
    reason: str | None = None
    name: str = ""
    """The concept's name as it stood; for a name entry, the new one."""
    evidence: Mapping[str, Any] | None = None
    """The estimates as they stood."""
    of: str | None = None
    """Undo and redo: the batch."""

    @property
    def context(self) -> str | None:
        """Name, as it stood, of the context that was decided in; None where the concept was, everywhere."""
        if self.target is None or self.target.context_id is None:
            return None
        held = (self.evidence or {}).get("context")
        return held if isinstance(held, str) and held else self.target.context_id


def encode(entry: Entry) -> bytes:
    """One line with its newline. Text is kept whatever it holds, lone surrogates escaped."""
    raw: dict[str, Any] = {
        "v": FORMAT, "id": entry.ident, "batch": entry.batch, "kind": entry.kind.value,
        "author": entry.author, "time": entry.time,
    }  # fmt: skip
    if entry.target is not None:
        target = {"kind": entry.target.kind, "id": entry.target.ident, "concept": entry.target.concept_id}
        raw["target"] = target | ({"context": entry.target.context_id} if entry.target.context_id else {})
    optional = {
        "verdict": entry.verdict.value if entry.verdict else None, "reason": entry.reason,
        "name": entry.name or None, "evidence": dict(entry.evidence or {}) or None, "of": entry.of,
    }  # fmt: skip
    raw |= {key: value for key, value in optional.items() if value is not None}
    return json.dumps(raw, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def decode(line: bytes) -> Entry | None:
    """The entry of a line, None when it is not one of ours."""
    head, mark, tail = line.rstrip().partition(b',"evidence":')
    # Evidence is written last and holds no object: then the line is its head, the evidence and one brace.
    if mark and tail.endswith(b"}}") and tail.startswith(b"{") and tail.find(b"}") == len(tail) - 2:
        entry = _decode(head + b"}", Packed(tail[:-1]))
        if entry is not None:
            return entry
    return _decode(line)


def _decode(line: bytes, evidence: Packed | None = None) -> Entry | None:
    try:
        raw = json.loads(line)
        if raw["v"] != FORMAT:
            return None
        target = raw.get("target")
        entry = Entry(
            ident=_text(raw["id"]),
            batch=_text(raw["batch"]),
            kind=EntryKind(raw["kind"]),
            author=_text(raw["author"]),
            time=_time(raw["time"]),
            target=_target(target) if target else None,
            verdict=Verdict(raw["verdict"]) if "verdict" in raw else None,
            reason=raw.get("reason"),
            name=_text(raw.get("name", "")),
            evidence=raw.get("evidence") if evidence is None else evidence,
            of=raw.get("of"),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    return entry if _is_whole(entry) else None


def _target(raw: dict[str, Any]) -> Target:
    return Target(_text(raw["kind"]), _text(raw["id"]), _text(raw["concept"]), raw.get("context"))


def _time(value: Any) -> str:
    """A time in UTC, in the one form whose order as text is order in time; none from the end of all times."""
    read = datetime.fromisoformat(_text(value))
    if read.utcoffset() is None or read.astimezone(UTC).year > LAST_YEAR:
        raise ValueError(f"{value} is no time of an entry")
    return read.astimezone(UTC).isoformat(timespec="microseconds")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _is_whole(entry: Entry) -> bool:
    if entry.kind in (EntryKind.UNDO, EntryKind.REDO):
        return entry.of is not None
    return entry.target is not None and (entry.kind is not EntryKind.VERDICT or entry.verdict is not None)
