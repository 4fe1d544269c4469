"""Provenance of every artefact, and the fingerprint that decides whether it is still current.

A stage's fingerprint covers its name, its version, the content of its inputs and its settings. An artefact
is accepted only if its manifest carries exactly that fingerprint; nothing is guessed from names, sizes or
dates. A manifest is written last, so a folder without one is unfinished work.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import StoreError

MANIFEST_VERSION = 1
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """What made an artefact."""

    stage: str
    """ingest, read, index, plan, compile, train, outcome"""
    stage_version: int
    """Raised whenever a stage's output for the same input changes."""
    fingerprint: str
    """Hash over everything that determines the content."""
    inputs: dict[str, str]
    """Input name to content hash."""
    settings: dict[str, Any]
    """The resolved settings of the stage."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What a reader of the artefact wants to know: counts, shapes. Not part of the fingerprint."""
    packages: dict[str, str] = field(default_factory=dict)
    """Versions of the packages that did the work. Not part of the fingerprint."""
    manifest_version: int = MANIFEST_VERSION


def hash_bytes(*parts: bytes) -> str:
    """32 hex digits (128 bits) of BLAKE2b over length-prefixed parts."""
    h = hashlib.blake2b(digest_size=16)
    for part in parts:
        h.update(len(part).to_bytes(8, "little"))
        h.update(part)
    return h.hexdigest()


def hash_json(value: Any) -> str:
    """Hash of a JSON value, independent of key order. Raises ``ValueError`` for NaN and infinity."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hash_bytes(text.encode("utf-8", "surrogatepass"))


def hash_file(path: Path) -> str:
    """Hash of a file's bytes."""
    h = hashlib.blake2b(digest_size=16)
    with path.open("rb") as f:
        while chunk := f.read(_CHUNK):
            h.update(chunk)
    return h.hexdigest()


def hash_tree(folder: Path, patterns: tuple[str, ...] = ("*",)) -> str:
    """Hash of the names and bytes of all files below a folder that match one of the patterns."""
    files = sorted({p for pattern in patterns for p in folder.rglob(pattern) if p.is_file()})
    return hash_json([(p.relative_to(folder).as_posix(), hash_file(p)) for p in files])


def fingerprint(
    stage: str, stage_version: int, inputs: Mapping[str, str], settings: Mapping[str, Any]
) -> str:
    """The identity of a stage's output, known before the stage runs."""
    return hash_json([stage, stage_version, dict(inputs), dict(settings)])


def package_versions(*names: str) -> dict[str, str]:
    """Installed versions of the named distributions; absent ones are left out."""
    from importlib import metadata  # reads mail headers: slow to import

    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that readers see the old bytes or the new ones, also after a crash.

    Raises:
        StoreError: it, or a folder above it, cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # a read-only file system refuses this, too
            temporary.unlink(missing_ok=True)
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}", hint="check free space and permissions"
        ) from error
    sync_folder(path.parent)


def append_durably(handle: int, data: bytes) -> None:
    """Write everything behind what a file has and sync, or leave the file as it was.

    Raises:
        OSError: nothing was added.
    """
    size = os.fstat(handle).st_size
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, size)
        raise


def sync_folder(folder: Path) -> None:
    """Make a rename inside a folder durable; quietly skipped where the file system has no such call."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write pretty, key-sorted JSON atomically."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(path, (text + "\n").encode("utf-8", "surrogatepass"))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Finish an artefact: its manifest is the last file written."""
    write_json(folder / "manifest.json", asdict(manifest))


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a finished artefact, None for unfinished work.

    Raises:
        StoreError: the manifest is damaged or written by a newer prosect.
    """
    path = folder / "manifest.json"
    if not path.exists():
        return None
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        version = raw["manifest_version"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise StoreError(f"{path} is damaged", hint=f"remove {folder} and run the stage again") from error
    if version > MANIFEST_VERSION:
        raise StoreError(f"{path} was written by a newer prosect (manifest {version})", hint="update prosect")
    return Manifest(**raw)


def changed_files(folder: Path, manifest: Manifest) -> list[str]:
    """Files of an artefact that are gone or not what its manifest says (``facts["files"]``: name to hash)."""
    hashes: dict[str, str] = manifest.facts.get("files", {})
    return [n for n, h in hashes.items() if not (folder / n).is_file() or hash_file(folder / n) != h]


def is_current(folder: Path, expected_fingerprint: str) -> bool:
    """True when the folder holds a finished artefact with exactly this fingerprint."""
    manifest = read_manifest(folder)
    return manifest is not None and manifest.fingerprint == expected_fingerprint
