"""What makes a checkpoint this one and no other: the bytes of its weights and its configuration."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from engine.manifest import hash_file, hash_json
from engine.models.shortened import INDEX, read_index

_CONFIGURATION = ("config.json", INDEX)
Known = Mapping[str, Mapping[str, str]]
"""Fingerprints that were given before → the files that they cover, with their hashes."""


class Identity(NamedTuple):
    """A checkpoint's fingerprint."""

    fingerprint: str
    """Hash over the bytes of weights and configuration, whatever the folder is called."""
    files: dict[str, str]
    """The files that it covers → hash of each."""


def fingerprint_of(folder: Path) -> str:
    """The fingerprint of a checkpoint over all its files."""
    return _over(_hashes(folder, None)).fingerprint


def identify(folder: Path, needed: tuple[str, ...] | None, known: Known) -> Identity:
    """Tell a checkpoint, of which perhaps not every file is here.

    Where every file is here the fingerprint covers all of them, else those that are needed. It stays what it
    was when files come or go: a fingerprint that was given before is taken if it covers what is needed, and
    all that it covers and that is here is the same.

    Args:
        folder: the checkpoint's.
        needed: files with weights that are looked into; None: all.
        known: fingerprints of earlier readings.
    """
    index = read_index(folder)
    is_whole = index is None or all((folder / name).exists() for name in index.values())
    here = _hashes(folder, None if is_whole else needed)
    found = _over(here)
    least = {*_CONFIGURATION, *needed} & here.keys() if needed is not None else set(here)
    covering = [
        Identity(fingerprint, dict(files))
        for fingerprint, files in known.items()
        if files and least <= files.keys() and agree(files, here)
    ]
    # a reading to this layer comes first, then the whole, then one to a later layer
    covering.sort(
        key=lambda earlier: (earlier.files.keys() != least, earlier.fingerprint != found.fingerprint)
    )
    return next(iter(covering), found)


def is_still(folder: Path, fingerprint: str, files: Mapping[str, str]) -> bool:
    """Is a whole checkpoint the one that a fingerprint was given to?

    Args:
        folder: the checkpoint's.
        fingerprint: that was given.
        files: that it covers; empty where that was not recorded.
    """
    here = _hashes(folder, None)
    return _over(here).fingerprint == fingerprint or (
        bool(files) and files.keys() <= here.keys() and agree(files, here)
    )


def agree(files: Mapping[str, str], others: Mapping[str, str]) -> bool:
    """Are the files that both have the same?"""
    return all(others[name] == hashed for name, hashed in files.items() if name in others)


def _over(files: dict[str, str]) -> Identity:
    return Identity(hash_json([[name, hashed] for name, hashed in files.items()]), files)


def _hashes(folder: Path, needed: tuple[str, ...] | None) -> dict[str, str]:
    """Hash of each file, in the order of their paths."""
    weights = folder.glob("*.safetensors") if needed is None else (folder / name for name in needed)
    files = sorted({p for p in (*weights, *(folder / name for name in _CONFIGURATION)) if p.exists()})
    with ThreadPoolExecutor(max_workers=4) as pool:  # BLAKE2b lets go of the interpreter lock
        return {p.name: h for p, h in zip(files, pool.map(hash_file, files), strict=True)}
