"""What language models proposed: append-only JSON lines, fsynced, one per answer.

A line is a proposal, or how far one was recognised (``of`` names it), on the excerpts of its own concept or,
as a control, on those of another (``on``). The last proposal of a concept holds.
Lines that cannot be read, a torn last one included, count for nothing and stay. These names are nobody's
decision: a person's own are in the journal, and taking a proposal writes it there.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from engine.errors import NamingError
from engine.manifest import append_durably
from engine.views.names import NameControl, NameProposal, Recognition

FORMAT = 1
"""Raised when a line's meaning changes."""


class Proposals:
    """The file of a project's proposals. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._lines: list[NameProposal] = []
        self._at: dict[str, int] = {}
        self._controls: list[NameControl] = []
        self.n_damaged = 0
        """Lines that could not be read."""
        self.refresh()

    def refresh(self) -> bool:
        """Read the file again if it changed; True when it did.

        Raises:
            NamingError: it is there and cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                seen = (status.st_ino, status.st_size, status.st_mtime_ns)
                if seen == self._seen:
                    return False
                data = file.read()
        except FileNotFoundError:
            was_there, self._seen = self._seen is not None, None
            self._forget()
            return was_there
        except OSError as error:
            raise NamingError(f"{self.path} cannot be read: {error.strerror}") from error
        self._seen = seen
        self._read(data)
        return True

    def _forget(self) -> None:
        self._lines, self._at, self._controls, self.n_damaged = [], {}, [], 0

    def _read(self, data: bytes) -> None:
        self._forget()
        for line in data.split(b"\n"):
            if line.strip() and not self._take(line):
                self.n_damaged += 1

    def _take(self, line: bytes) -> bool:
        try:
            raw = json.loads(line)
            if raw["v"] != FORMAT:
                return False
            if "of" in raw:
                at, found_of = self._at[raw["of"]], _recognition(raw["recognition"])
                if "on" in raw:
                    self._controls.append(NameControl(raw["of"], str(raw["on"]), found_of))
                else:
                    self._lines[at] = replace(self._lines[at], recognition=found_of)
                return True
            found = _proposal(raw)
        except (ValueError, KeyError, TypeError, RecursionError):
            return False
        self._at[found.ident] = len(self._lines)
        self._lines.append(found)
        return True

    @property
    def every(self) -> tuple[NameProposal, ...]:
        """All proposals, the oldest first."""
        return tuple(self._lines)

    def has(self, ident: str) -> bool:
        """Whether a proposal is kept."""
        return ident in self._at

    @property
    def controls(self) -> tuple[NameControl, ...]:
        """Names tested on the excerpts of other concepts."""
        return tuple(self._controls)

    def held(self, *, model: str | None = None, prompts: str | None = None) -> Mapping[str, NameProposal]:
        """Concept id → the last proposal (of a model, to questions put this way)."""
        return {
            p.concept_id: p
            for p in self._lines
            if (model is None or p.model == model) and (prompts is None or p.prompts == prompts)
        }

    def add(self, proposal: NameProposal) -> None:
        """Keep a proposal that was not put to the test yet. Raises ``NamingError`` if that fails."""
        raw = asdict(proposal)
        del raw["recognition"]
        self._append({"v": FORMAT} | raw)

    def settle(self, ident: str, recognition: Recognition) -> None:
        """Keep how far a proposal was recognised. Raises ``NamingError`` if that fails."""
        self._append({"v": FORMAT, "of": ident, "recognition": asdict(recognition)})

    def add_control(self, control: NameControl) -> None:
        """Keep what came of a control. Raises ``NamingError`` if that fails."""
        raw = {"of": control.of, "on": control.concept_id, "recognition": asdict(control.recognition)}
        self._append({"v": FORMAT} | raw)

    def _append(self, raw: dict[str, Any]) -> None:
        line = append_line(self.path, raw)
        status = self.path.stat()
        before = self._seen or (status.st_ino, 0, 0)
        if (status.st_ino, status.st_size) == (before[0], before[1] + len(line)):  # nobody else wrote
            self._seen = (status.st_ino, status.st_size, status.st_mtime_ns)
            self._take(line)
        else:
            self.refresh()


def append_line(path: Path, raw: Mapping[str, Any]) -> bytes:
    """Add a JSON line to a file that others may add to as well, and return it.

    Raises:
        NamingError: it cannot be written; the file is as it was.
    """
    line = json.dumps(raw, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        raise _not_saved(path, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        size = os.fstat(handle).st_size
        is_torn = bool(size) and os.pread(handle, 1, size - 1) != b"\n"
        append_durably(handle, b"\n" + line if is_torn else line)
    except OSError as error:
        raise _not_saved(path, error) from error
    finally:
        os.close(handle)  # lets the lock go, too
    return line


def _not_saved(path: Path, error: OSError) -> NamingError:
    return NamingError(
        f"not saved: {path}: {error.strerror or error}", hint="free some space or fix permissions, then go on"
    )


_TEXTS = tuple(f.name for f in fields(NameProposal) if f.name not in ("n_shown", "tested_by", "recognition"))
_COUNTS = ("n_fires", "n_others", "n_picked", "n_hits")
_NUMBERS = ("p", "level", "low", "high")


def _proposal(raw: Mapping[str, Any]) -> NameProposal:
    texts = {name: raw[name] for name in _TEXTS}
    if not all(isinstance(text, str) for text in texts.values()) or not texts["name"]:
        raise TypeError("a text is none")
    return NameProposal(**texts, n_shown=int(raw["n_shown"]), tested_by=str(raw.get("tested_by", "")))


def _recognition(raw: Mapping[str, Any]) -> Recognition:
    n_fires, n_others, n_picked, n_hits = (int(raw[name]) for name in _COUNTS)
    p, level, low, high = (float(raw[name]) for name in _NUMBERS)
    are_silent = bool(raw["are_silent"])
    return Recognition(n_fires, n_others, n_picked, n_hits, p, level, low, high, are_silent)
