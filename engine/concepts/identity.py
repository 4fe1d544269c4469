"""Concept ids by content."""

from collections.abc import Sequence

from engine.manifest import hash_json
from engine.records import ConceptKind


def concept_id(reader_hash: str, kind: ConceptKind, members: Sequence[int] | Sequence[str]) -> str:
    """Hash of reader, kind and sorted members; a column's member is its name and it has no reader."""
    reader = "" if kind is ConceptKind.COLUMN else reader_hash
    return hash_json([reader, kind.value, sorted(members)])
