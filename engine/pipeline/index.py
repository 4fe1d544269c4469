"""From readings to a published index: concepts, contexts, hypotheses, and everything that pages look up.

An index that is published for the same readings, settings and version is taken as it is.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.manifest import fingerprint, read_manifest
from engine.paths import ProjectPaths
from engine.progress import Progress
from engine.settings import Settings
from engine.store.build import Published, build_index, current_index, ingest_of, publish, read_current
from engine.store.stale import index_settings

if TYPE_CHECKING:
    from engine.arrays import Readings
    from engine.concepts.contexts import ContextSet
    from engine.concepts.discover import ConceptSet
    from engine.reading.reader import Reader
    from engine.stats.run import StatsTables

INDEX_VERSION = 8
"""Raised when the same readings would give another index."""


def build(
    paths: ProjectPaths,
    reader: "Reader",
    settings: Settings,
    progress: Progress,
    *,
    max_pairs: int | None,
    n_pairs: int,
) -> tuple[str, dict[str, Any]]:
    """Concepts, contexts and hypotheses of one reader's readings as a published index.

    Args:
        paths: the project.
        reader: whose readings to take.
        settings: of concepts and statistics.
        progress: told about every step.
        max_pairs: only the first so many pairs, while an audit is under way; None: all.
        n_pairs: pairs of the project.

    Returns:
        the index hash and the facts stored in its ``meta`` table.
    """
    print_ = _index_fingerprint(paths, paths.reader_dir(reader.reader_hash), settings, max_pairs)
    index_hash = print_[:16]
    if _is_published(paths, reader.reader_hash, index_hash):
        facts = _stored_facts(paths.index(index_hash))
    else:
        facts = _build_new(paths, reader, settings, progress, index_hash, max_pairs, n_pairs)
    # Also where the index stays: another ingest may have led to the same pairs.
    share, file_says = facts["share_read"], index_settings(paths)
    publish(paths, Published(reader.reader_hash, index_hash, share, ingest_of(paths), file_says))
    return index_hash, facts


def _index_fingerprint(
    paths: ProjectPaths, reader_dir: Path, settings: Settings, max_pairs: int | None
) -> str:
    from engine.store.identity import pairs_identity

    read = read_manifest(reader_dir) if max_pairs is None else None
    inputs = {"pairs": pairs_identity(paths.pairs), "reader": reader_dir.name}
    if read is not None:
        inputs["readings"] = read.fingerprint
    chosen = {"concepts": asdict(settings.concepts), "stats": asdict(settings.stats), "max_pairs": max_pairs}
    return fingerprint("index", INDEX_VERSION, inputs, chosen)


def published_pairs(paths: ProjectPaths, reader_hash: str) -> int:
    """Pairs of the reader's published index, of whatever mix; 0 without one."""
    entry = (read_current(paths) or {"readers": {}})["readers"].get(reader_hash)
    if entry is None or not paths.index(entry["index"]).exists():
        return 0
    return int(_stored_facts(paths.index(entry["index"]))["n_pairs"])


def _is_published(paths: ProjectPaths, reader_hash: str, index_hash: str) -> bool:
    pointer = read_current(paths) or {"readers": {}}
    entry = pointer["readers"].get(reader_hash)
    return entry is not None and entry["index"] == index_hash and paths.index(index_hash).exists()


def _stored_facts(index: Path) -> dict[str, Any]:
    import json

    from engine.store.connection import Store

    with Store(index) as store:
        return {
            key: json.loads(value) for key, value in store.rows("SELECT key, value FROM meta ORDER BY key")
        }


def stored_warning(paths: ProjectPaths) -> str | None:
    """The statistics' own warning about the published index, None if there is none."""
    facts = _stored_facts(paths.index(current_index(paths).index_hash))
    warning = facts.get("stats", {}).get("warning")
    return str(warning) if warning else None


def _build_new(
    paths: ProjectPaths,
    reader: "Reader",
    settings: Settings,
    progress: Progress,
    index_hash: str,
    max_pairs: int | None,
    n_pairs: int,
) -> dict[str, Any]:
    import numpy as np

    from engine.concepts.contexts import find_contexts
    from engine.concepts.discover import discover
    from engine.concepts.texts import PairTexts
    from engine.pipeline.texts import TokenReader, read_messages
    from engine.stats.null import mix_weights
    from engine.stats.run import StatsInput, estimate
    from engine.store.arrays import build_arrays, load_truncated, open_arrays
    from engine.store.tables import pair_texts, pairs_table

    arrays = paths.arrays(index_hash)
    shards = paths.reader_dir(reader.reader_hash) / "shards"
    build_arrays(shards, paths.pairs, arrays, reader.n_latents, progress, max_pairs=max_pairs)
    readings = open_arrays(arrays)
    texts = PairTexts(*pair_texts(paths.pairs, readings.n_pairs))
    tokens = TokenReader(read_messages(paths.pairs, readings.n_pairs), reader.layout, reader.max_tokens)
    concepts = discover(readings, texts, tokens, settings.concepts, progress, reader_hash=reader.reader_hash)
    contexts = find_contexts(readings, concepts, settings.concepts, progress, texts=texts)
    units = StatsInput(
        concepts=concepts.disparity,
        concept_ids=concepts.ids,
        latents=concepts.latent_disparity,
        concept_of=concepts.concept_of,
        members=[concept.latents for concept in concepts.concepts],
        prompt_counts=concepts.prompt_counts,
        contexts=contexts.sets,
        topic=contexts.topic,
        columns={column.name: column.delta for column in concepts.columns},
        weights=mix_weights(readings.pairs),
    )
    tables = estimate(readings, units, settings.stats, progress)
    facts = _facts(reader, readings, concepts, contexts, tables)
    facts["share_read"] = readings.n_pairs / n_pairs if n_pairs else 1.0
    truncated = load_truncated(arrays)
    facts["n_truncated"] = int(np.logical_or.reduce(list(truncated.values())).sum())
    pairs = pairs_table(paths.pairs, readings.pairs, truncated)
    written = _tables(readings, pairs, concepts, contexts, tables)
    build_index(paths.index(index_hash), written, facts, progress)
    return facts


def _tables(
    readings: "Readings", pairs: Any, concepts: "ConceptSet", contexts: "ContextSet", tables: "StatsTables"
) -> Mapping[str, Any]:
    from engine.concepts.tables import (
        concepts_table,
        context_pairs_table,
        contexts_table,
        members_table,
        scores_table,
    )
    from engine.store.tables import acts_table, by_evidence, last_acts_table, prompt_acts_table

    return {
        "pairs": pairs,
        "acts": acts_table(readings),
        "prompt_acts": prompt_acts_table(readings),
        "last_acts": last_acts_table(readings),
        "latents": tables.latents,
        "concepts": concepts_table(concepts),
        "concept_members": members_table(concepts),
        "concept_scores": scores_table(concepts),
        "contexts": contexts_table(contexts, readings),
        "context_pairs": context_pairs_table(contexts),
        "hypotheses": by_evidence(tables.hypotheses),
        **tables.scrutiny,
    }


def _facts(
    reader: "Reader",
    readings: "Readings",
    concepts: "ConceptSet",
    contexts: "ContextSet",
    tables: "StatsTables",
) -> dict[str, Any]:
    return {
        "reader": reader.describe(),
        "n_pairs": readings.n_pairs,
        "n_signed": int(readings.pairs.is_signed.sum()),
        "n_latents": readings.n_latents,
        "n_rows": len(readings.by_latent.pair),
        "n_concepts": len(concepts.concepts),
        "n_contexts": contexts.sets.n_sets,
        "n_hypotheses": tables.hypotheses.num_rows,
        "coverage": asdict(concepts.coverage),
        "stats": tables.facts,
    }
