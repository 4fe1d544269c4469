"""Fingerprints decide what is current; files change atomically."""

from pathlib import Path

import pytest

from engine.errors import StoreError
from engine.manifest import (
    Manifest,
    fingerprint,
    hash_bytes,
    hash_json,
    hash_tree,
    is_current,
    read_manifest,
    write_atomic,
    write_json,
    write_manifest,
)


def manifest(print_: str = "f") -> Manifest:
    return Manifest("ingest", 1, print_, {"a": "1"}, {"seed": 0}, {"n": 3})


def test_manifest_survives_a_round_trip(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest())
    assert read_manifest(tmp_path) == manifest()


def test_folder_without_manifest_is_unfinished(tmp_path: Path) -> None:
    (tmp_path / "pairs.parquet").write_bytes(b"half")
    assert read_manifest(tmp_path) is None
    assert not is_current(tmp_path, "f")


def test_only_the_exact_fingerprint_is_current(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest("f"))
    assert is_current(tmp_path, "f")
    assert not is_current(tmp_path, "g")


def test_damaged_and_newer_manifests_are_refused_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        read_manifest(tmp_path)
    write_json(tmp_path / "manifest.json", {"manifest_version": 99})
    with pytest.raises(StoreError, match="newer"):
        read_manifest(tmp_path)


def test_fingerprint_changes_with_each_ingredient_but_not_with_key_order() -> None:
    base = fingerprint("s", 1, {"x": "1", "y": "2"}, {"k": 1})
    assert base == fingerprint("s", 1, {"y": "2", "x": "1"}, {"k": 1})
    assert (
        len(
            {
                base,
                fingerprint("t", 1, {"x": "1", "y": "2"}, {"k": 1}),
                fingerprint("s", 2, {"x": "1", "y": "2"}, {"k": 1}),
                fingerprint("s", 1, {"x": "1", "y": "3"}, {"k": 1}),
                fingerprint("s", 1, {"x": "1", "y": "2"}, {"k": 2}),
            }
        )
        == 5
    )


def test_hash_parts_cannot_be_shifted_into_each_other() -> None:
    assert hash_bytes(b"ab", b"c") != hash_bytes(b"a", b"bc")


def test_nan_never_enters_a_hash() -> None:
    with pytest.raises(ValueError, match="JSON"):
        hash_json({"x": float("nan")})


def test_tree_hash_sees_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = hash_tree(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert hash_tree(tmp_path) != before


def test_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    target = tmp_path / "x.json"
    write_atomic(target, b"old")
    blocked = tmp_path / "folder"
    blocked.mkdir()
    (blocked / "full").mkdir()
    with pytest.raises(StoreError, match="cannot write"):
        write_atomic(blocked, b"new")  # a folder cannot be replaced by a file
    assert target.read_bytes() == b"old"
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".tmp")]
