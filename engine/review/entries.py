"""One line of the journal, and how it is written."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from engine.records import Verdict
from engine.views import Target

FORMAT = 1
"""Raised when a line's meaning changes; lines of a newer format are counted as unreadable."""


class EntryKind(StrEnum):
    """What an entry does."""

    VERDICT = "verdict"
    CLEAR = "clear"
    NAME = "name"
    UNDO = "undo"
    REDO = "redo"


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
    evidence: dict[str, Any] | None = None
    """The estimates as they stood."""
    of: str | None = None
    """Undo and redo: the batch."""


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
        "name": entry.name or None, "evidence": entry.evidence or None, "of": entry.of,
    }  # fmt: skip
    raw |= {key: value for key, value in optional.items() if value is not None}
    return json.dumps(raw, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def decode(line: bytes) -> Entry | None:
    """The entry of a line, None when it is not one of ours."""
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
            time=_text(raw["time"]),
            target=_target(target) if target else None,
            verdict=Verdict(raw["verdict"]) if "verdict" in raw else None,
            reason=raw.get("reason"),
            name=_text(raw.get("name", "")),
            evidence=raw.get("evidence"),
            of=raw.get("of"),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return entry if _is_whole(entry) else None


def _target(raw: dict[str, Any]) -> Target:
    return Target(_text(raw["kind"]), _text(raw["id"]), _text(raw["concept"]), raw.get("context"))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _is_whole(entry: Entry) -> bool:
    if entry.kind in (EntryKind.UNDO, EntryKind.REDO):
        return entry.of is not None
    return entry.target is not None and (entry.kind is not EntryKind.VERDICT or entry.verdict is not None)
