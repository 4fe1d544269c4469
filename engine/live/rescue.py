"""Entries of a journal whose file somebody took away: kept beside it until they are written again."""

from pathlib import Path

from engine.errors import ProsectError
from engine.manifest import hash_bytes, write_atomic
from engine.review.entries import encode
from engine.review.journal import Journal
from engine.views.tables import JournalChange, JournalLoss


class Rescue:
    """What a journal has lost while it was open here."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._kept: set[Path] = set()

    def keep(self, journal: Journal) -> JournalLoss | None:
        """Write what was lost to a file named after it; None: nothing is missing."""
        lost = journal.lost
        if not lost:
            return None
        lines = b"".join(encode(entry) for entry in lost)
        path = self._root / f"journal-lost-{hash_bytes(lines)[:8]}.jsonl"
        try:
            if self._root.is_dir() and not path.exists():
                write_atomic(path, lines)
            self._kept.add(path)
        except ProsectError:  # no room: the person is told that only memory has them
            self._kept.discard(path)
        return JournalLoss(journal.how_lost, len(lost), path.name if path.exists() else None)

    def restore(self, journal: Journal) -> JournalChange:
        """Append it to the journal again and remove the files that kept it. Raises as ``Journal.restore``."""
        change = journal.restore()
        for path in self._kept:
            path.unlink(missing_ok=True)
        self._kept.clear()
        return change
