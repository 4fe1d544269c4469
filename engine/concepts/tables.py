"""Concepts and contexts as Arrow tables for the index (concepts, members, scores, contexts, pairs)."""

import json

import numpy as np
import pyarrow as pa

from engine.arrays import Readings
from engine.concepts.contexts import ContextSet
from engine.concepts.discover import Concept, ConceptSet


def concepts_table(concepts: ConceptSet) -> pa.Table:
    """Columns of schema.CONCEPTS; counts are over all pairs, labelled or not."""
    scores = concepts.scores
    number = np.repeat(np.arange(scores.n_concepts), np.diff(scores.indptr))
    counts = {
        side: np.bincount(number[fires], minlength=scores.n_concepts)
        for side, fires in (
            ("n_chosen", scores.chosen_fires),
            ("n_rejected", scores.rejected_fires),
            ("n_prompt", scores.prompt_fires),
        )
    }
    every = concepts.concepts
    return pa.table(
        {
            "concept": np.arange(len(every)),
            "concept_id": [c.concept_id for c in every],
            "kind": [c.kind.value for c in every],
            "name": [c.name for c in every],
            "name_source": [c.name_source for c in every],
            "definition": pa.array([c.definition or None for c in every], pa.string()),
            "pattern": pa.array([c.pattern or None for c in every], pa.string()),
            "tokens": [json.dumps(list(c.label.tokens), ensure_ascii=False) for c in every],
            "label_evidence": pa.array([_evidence(c) for c in every], pa.string()),
            "n_latents": [len(c.latents) for c in every],
            "redundancy_id": pa.array([c.redundancy_id for c in every], pa.uint32()),
            **counts,
            "u_square": np.bincount(number, np.square(scores.u, dtype=np.float64), scores.n_concepts),
        }
    )


def _evidence(concept: Concept) -> str | None:
    if not concept.label.tokens:
        return None
    check = concept.check
    held = {
        "fires": list(concept.label.snippets),
        "silent": list(check.silent),
        "inside": check.inside,
        "outside": check.outside,
    }
    return json.dumps(held, ensure_ascii=False)


def members_table(concepts: ConceptSet) -> pa.Table:
    """Columns of schema.CONCEPT_MEMBERS."""
    every = concepts.concepts
    return pa.table(
        {
            "concept": pa.array([m for m, c in enumerate(every) for _ in c.latents], pa.uint32()),
            "latent": pa.array([latent for c in every for latent in c.latents], pa.uint32()),
            "centrality": pa.array([value for c in every for value in c.centrality], pa.float32()),
        }
    )


def scores_table(concepts: ConceptSet) -> pa.Table:
    """Columns of schema.CONCEPT_SCORES."""
    scores = concepts.scores
    return pa.table(
        {
            "concept": np.repeat(np.arange(scores.n_concepts, dtype=np.uint32), np.diff(scores.indptr)),
            "pair": scores.pair,
            "chosen": scores.chosen,
            "rejected": scores.rejected,
            "prompt": scores.prompt,
            "u": scores.u,
        }
    )


def contexts_table(contexts: ContextSet, readings: Readings) -> pa.Table:
    """Columns of schema.CONTEXTS."""
    every = contexts.contexts
    group = readings.pairs.group
    return pa.table(
        {
            "context": np.arange(len(every)),
            "context_id": [c.context_id for c in every],
            "kind": [c.kind for c in every],
            "name": [c.name for c in every],
            "definition": [json.dumps(c.definition, ensure_ascii=False, sort_keys=True) for c in every],
            "n_pairs": [len(c.pairs) for c in every],
            "n_groups": [len(np.unique(group[c.pairs])) for c in every],
        }
    )


def context_pairs_table(contexts: ContextSet) -> pa.Table:
    """Columns of schema.CONTEXT_PAIRS; *everywhere* is left out."""
    inner = contexts.contexts[1:]
    sizes = [len(c.pairs) for c in inner]
    joined = np.concatenate([c.pairs for c in inner]) if inner else np.zeros(0, np.int64)
    return pa.table(
        {
            "context": np.repeat(np.arange(1, len(inner) + 1), sizes).astype(np.uint32),
            "pair": joined.astype(np.uint32),
        }
    )
