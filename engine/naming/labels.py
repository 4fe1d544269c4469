"""Labels of latents that were imported: append-only JSON lines, fsynced, one per file.

A line holds a file's name and hash, the SAE that its latents are of, and its labels. They are nobody's
decision and were not tested here. The file, which can be large, is read when a page first wants a label.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import NamingError
from engine.naming.proposals import append_line
from engine.views.names import LatentLabel

FORMAT = 1
"""Raised when a line's meaning changes."""

ByLatent = Mapping[int, tuple[LatentLabel, ...]]


class Labels:
    """The file of a project's imported labels. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._read_at: tuple[int, int, int] | None = None
        self._by_sae: dict[str, dict[int, tuple[LatentLabel, ...]]] = {}
        self._hashes: dict[str, set[str]] = {}
        self.n_damaged = 0
        """Lines that could not be read."""
        self.refresh()

    def refresh(self) -> bool:
        """Look whether the file changed; True when it did. Reads nothing yet."""
        try:
            status = self.path.stat()
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
        except OSError:
            seen = None
        changed, self._seen = seen != self._seen, seen
        return changed

    @property
    def stamp(self) -> object:
        """Differs whenever the file does."""
        return self._seen

    def of(self, sae: str) -> ByLatent:
        """Labels of an SAE's latents, those of the file that was imported last first.

        Raises:
            NamingError: the file is there and cannot be read.
        """
        self._load()
        return self._by_sae.get(sae, {})

    def add(self, sae: str, file: str, sha: str, time: str, labels: tuple[LatentLabel, ...]) -> bool:
        """Keep the labels of a file; False where the very same ones are there.

        Raises:
            NamingError: it cannot be written.
        """
        self.refresh()
        known = self.of(sae)
        if sha in self._hashes.get(sae, ()) and all(found in known.get(found.latent, ()) for found in labels):
            return False
        rows = [[found.latent, found.text, found.model] for found in labels]
        raw = {"v": FORMAT, "file": file, "sha": sha, "time": time, "sae": sae, "labels": rows}
        before = self._seen[1] if self._seen else 0
        written = append_line(self.path, raw)
        self.refresh()
        if self._seen and self._seen[1] == before + len(
            written
        ):  # nobody else wrote: no need to read all again
            self._take(written)
            self._read_at = self._seen
        return True

    def _load(self) -> None:
        if self._seen == self._read_at:
            return
        self._by_sae, self._hashes, self.n_damaged = {}, {}, 0
        try:
            data = self.path.read_bytes() if self._seen is not None else b""
        except OSError as error:
            raise NamingError(f"{self.path} cannot be read: {os.strerror(error.errno or 0)}") from error
        for line in data.split(b"\n"):
            if line.strip() and not self._take(line):
                self.n_damaged += 1
        self._read_at = self._seen

    def _take(self, line: bytes) -> bool:
        try:
            raw: dict[str, Any] = json.loads(line)
            if raw["v"] != FORMAT:
                return False
            file, sae, sha = str(raw["file"]), str(raw["sae"]), str(raw["sha"])
            found = [LatentLabel(int(n), str(text), str(model), file) for n, text, model in raw["labels"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            return False
        mine: dict[int, list[LatentLabel]] = {}
        for label in found:
            mine.setdefault(label.latent, []).append(label)
        held = self._by_sae.setdefault(sae, {})
        for latent, labels in mine.items():
            before = [known for known in held.get(latent, ()) if known not in labels]
            held[latent] = (*labels, *before)
        self._hashes.setdefault(sae, set()).add(sha)
        return True
