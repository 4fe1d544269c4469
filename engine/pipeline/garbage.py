"""``gc``: what nothing points to any more, and its removal.

Decisions, rules, shaped datasets, forecasts and runs are never garbage. Candidates are indexes and arrays
that ``current`` does not name and no shaped dataset was made from, readings without an index, temporary files
of killed processes, and, when asked for, the cache.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from engine.errors import StoreError
from engine.manifest import read_manifest
from engine.paths import ProjectPaths
from engine.store.build import read_current

_FRESH_S = 3600.0
"""Temporary files younger than this may belong to a running process."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Something that can go."""

    path: Path
    why: str
    n_bytes: int


def find_garbage(paths: ProjectPaths, *, with_cache: bool = False, now: float | None = None) -> list[Garbage]:
    """Everything that can go, largest first.

    Raises:
        StoreError: the folder is no project.
    """
    if not paths.root.is_dir() or not (paths.current.exists() or paths.pairs_dir.exists()):
        raise StoreError(f"{paths.root} is no project", hint="name a folder made by `prosect audit`")
    pointer = read_current(paths) or {"readers": {}}
    indexes = {entry["index"] for entry in pointer["readers"].values()} | _shaped_from(paths)
    found = [
        _garbage(path, f"{kind} that nothing points to")
        for kind, pattern in (("an index", "index-*.duckdb"), ("arrays", "arrays-*"))
        for path in paths.root.glob(pattern)
        if path.stem.partition("-")[2] not in indexes
    ]
    found += [
        _garbage(reader, "finished readings without an index")
        for reader in (paths.root / "readings").glob("*")
        if reader.name not in pointer["readers"] and read_manifest(reader) is not None
    ]
    found += _leftovers(paths, time.time() if now is None else now)
    if with_cache and paths.cache_dir.exists():
        found.append(_garbage(paths.cache_dir, "can be computed again"))
    return sorted(found, key=lambda g: (-g.n_bytes, str(g.path)))


def remove_garbage(garbage: list[Garbage]) -> int:
    """Remove it; bytes freed."""
    for item in garbage:
        if item.path.is_dir():
            shutil.rmtree(item.path)
        else:
            item.path.unlink(missing_ok=True)
    return sum(item.n_bytes for item in garbage)


def _shaped_from(paths: ProjectPaths) -> set[str]:
    """Indexes that shaped datasets were made from: forecasts and outcomes need them."""
    manifests = (read_manifest(folder) for folder in paths.shaped_dir.glob("*") if folder.is_dir())
    return {m.inputs["index"] for m in manifests if m is not None and "index" in m.inputs}


def _leftovers(paths: ProjectPaths, now: float) -> list[Garbage]:
    old = (p for p in paths.root.rglob(".*.tmp*") if now - p.lstat().st_mtime > _FRESH_S)
    return [_garbage(path, "left by a process that was killed") for path in old]


def _garbage(path: Path, why: str) -> Garbage:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return Garbage(path, why, sum(p.stat().st_size for p in files))
