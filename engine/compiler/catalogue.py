"""The catalogue of one open index: what its rule files may speak of."""

import json
from collections.abc import Mapping
from typing import Any

from engine.compiler.leaves import PAIR_COLUMNS
from engine.rules.catalogue import Catalogue, ConceptEntry, ContextEntry, Type
from engine.store.connection import Store

_FEW = ("source", "language", "slot", "annotator", "chosen.model", "rejected.model")
"""Columns with few different texts, most of the time …"""
MAX_VALUES = 1000
"""… few enough to compare a rule's text with all of them."""
_TYPES = {
    "UBIGINT": Type.NUMBER,
    "BIGINT": Type.NUMBER,
    "HUGEINT": Type.NUMBER,
    "DOUBLE": Type.NUMBER,
    "BOOLEAN": Type.TRUTH,
    "VARCHAR": Type.TEXT,
}


def load_catalogue(store: Store, names: Mapping[str, str] | None = None) -> Catalogue:
    """Read concepts, contexts and metadata types from an index.

    Args:
        store: the open index.
        names: concept id to the name that a person gave it in review.
    """
    given = names or {}
    members: dict[int, list[int]] = {}
    for concept, latent in store.rows("SELECT concept, latent FROM concept_members ORDER BY concept, latent"):
        members.setdefault(concept, []).append(latent)
    concepts = tuple(
        ConceptEntry(number, ident, kind, label, given.get(ident), tuple(members.get(number, ())))
        for number, ident, kind, label in store.rows(
            "SELECT concept, concept_id, kind, name FROM concepts ORDER BY concept"
        )
    )
    contexts = tuple(
        ContextEntry(*row)
        for row in store.rows(
            "SELECT context, context_id, kind, name, n_pairs FROM contexts ORDER BY context"
        )
    )
    facts = {key: json.loads(value) for key, value in store.rows("SELECT key, value FROM meta")}
    n_latents = facts.get("n_latents")
    threshold = facts.get("fire_rate_threshold", 0.01)
    return Catalogue(
        concepts,
        contexts,
        _meta_types(store),
        int(n_latents) if isinstance(n_latents, int) else None,
        float(threshold) if isinstance(threshold, int | float) else 0.01,
        _hashes(store, facts),
        _values(store),
    )


def _values(store: Store) -> dict[str, frozenset[str]]:
    """The texts of the columns that have few different ones."""
    found = {}
    for name in _FEW:
        column = PAIR_COLUMNS.get(name, name)
        rows = store.rows(f'SELECT DISTINCT "{column}" FROM pairs LIMIT {MAX_VALUES + 1}')
        if len(rows) <= MAX_VALUES:
            found[name] = frozenset(str(value) for (value,) in rows if value is not None)
    return found


def _hashes(store: Store, facts: Mapping[str, Any]) -> dict[str, str]:
    """What `use` can pin: the index, the reader, and the pairs by their content ids."""
    hashes = {"index": index_hash(store)}
    reader = facts.get("reader")
    found = reader.get("reader_hash") if isinstance(reader, dict) else facts.get("reader_hash")
    if isinstance(found, str):
        hashes["reader"] = found
    data = store.value("SELECT md5(string_agg(pair_id, '' ORDER BY pair)) FROM pairs")
    if isinstance(data, str):
        hashes["data"] = data
    return hashes


def files_of(store: Store) -> tuple[str, ...]:
    """The files that the pairs came from, as they were named."""
    return tuple(str(file) for (file,) in store.rows("SELECT DISTINCT source_file FROM pairs"))


def index_hash(store: Store) -> str:
    """The hash in the index's file name: it names the content."""
    return store.path.stem.removeprefix("index-")


def _meta_types(store: Store) -> dict[tuple[str, ...], Type | None]:
    text = store.value("SELECT json_group_structure(CAST(meta AS JSON)) FROM pairs WHERE meta IS NOT NULL")
    if text is None:
        return {}
    found: dict[tuple[str, ...], Type | None] = {}
    structure = json.loads(text)
    if isinstance(structure, dict):
        _flatten(structure, (), found)
    return found


def _flatten(
    structure: Mapping[str, Any], above: tuple[str, ...], found: dict[tuple[str, ...], Type | None]
) -> None:
    for key, value in structure.items():
        path = (*above, key)
        if isinstance(value, dict):
            if len(path) < 8:
                _flatten(value, path, found)
        elif value == "JSON":
            found[path] = None
        elif isinstance(value, str) and value in _TYPES:
            found[path] = _TYPES[value]
