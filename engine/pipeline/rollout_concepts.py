"""Concepts of an index measured on sampled responses, in the unit that their disparity has."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.concepts.surface import text_column
from engine.errors import StatsError
from engine.paths import ProjectPaths
from engine.pipeline.readers import reopen
from engine.progress import Progress
from engine.settings import ReadingSettings
from engine.stats.outcome import ResponseReadings, concept_presence
from engine.store.concepts import (
    IndexConcepts,
    IndexPairs,
    load_column_scales,
    load_concepts,
    load_own_columns,
    load_pairs,
)
from engine.store.connection import Store

if TYPE_CHECKING:
    from engine.reading.reader import Reader
    from engine.training.rollouts import Rollouts

Matrix = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Measured:
    """R responses of one checkpoint to held-out prompts, and what they have of each concept."""

    rollouts: "Rollouts"
    values: Matrix
    """(R, C) score of each response: share of a concept's latents that fire; of a column its value over the
    root mean square delta of the pairs, so that a difference of two responses is a disparity."""
    latents: Matrix
    """(R, L) 1 where a latent of the pool fires."""

    @property
    def prompt(self) -> Integers:
        """(R,) prompt number."""
        return np.asarray(self.rollouts.table["prompt_number"].to_numpy().astype(np.int64))

    @property
    def group(self) -> list[str]:
        """(R,) prompt group."""
        return [str(g) for g in self.rollouts.table["group_id"].to_pylist()]


@dataclass(frozen=True, slots=True)
class Gauge:
    """The reader and the concepts of one index, ready to measure rollouts."""

    index_hash: str
    concepts: IndexConcepts
    pairs: IndexPairs
    scales: Mapping[str, float]
    """Root mean square delta of each column."""
    own: Mapping[str, str]
    """Pattern of each column that a person defined."""
    used: list[int]
    """The C concepts that responses can be scored for: made of latents, or columns with a scale."""
    reader: "Reader"
    threshold: float
    """Fire rate above which a latent is on in a response."""

    @property
    def ids(self) -> list[str]:
        """Of the C concepts."""
        return [self.concepts.ids[i] for i in self.used]

    @property
    def pool(self) -> Integers:
        """(L,) every latent that is in any of the C concepts, ascending."""
        none = [np.zeros(0, np.int64)]
        return np.unique(np.concatenate(none + [self.concepts.members[i] for i in self.used]))

    @property
    def places(self) -> list[Integers]:
        """Where in the pool the latents of each concept are; empty for columns."""
        pool = self.pool
        return [np.searchsorted(pool, self.concepts.members[i]).astype(np.int64) for i in self.used]

    def measure(self, rollouts: "Rollouts", progress: Progress) -> Measured:
        """Read every response and score it."""
        from engine.reading.run import read_responses

        items = rollouts.items()
        readings = read_responses(self.reader, items, progress, rollouts.tools())
        sizes = [len(r.pooled.latent) for r in readings]
        tokens = np.array([r.n_tokens for r in readings], np.int64)
        flat = ResponseReadings(
            indptr=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            latent=np.concatenate([r.pooled.latent for r in readings]).astype(np.int64),
            n_fired=np.concatenate([r.pooled.n_fired for r in readings]).astype(np.int64),
            n_tokens=tokens,
        )
        members, names = self.concepts.members, self.concepts.names
        values = np.zeros((len(items), len(self.used)))
        latent = [k for k, i in enumerate(self.used) if len(members[i])]
        if latent:
            own = [members[self.used[k]] for k in latent]
            values[:, latent] = concept_presence(flat, own, self.threshold)
        texts = ["\n\n".join(m.content for m in response) for _, response in items]
        for k, i in enumerate(self.used):
            if not len(members[i]) and (column := text_column(names[i], texts, tokens, self.own)) is not None:
                values[:, k] = column / self.scales[names[i]]
        alone = concept_presence(flat, [np.array([latent]) for latent in self.pool], self.threshold)
        return Measured(rollouts, values, alone)


def open_gauge(paths: ProjectPaths, index_hash: str, reading: ReadingSettings, threshold: float) -> Gauge:
    """Load the concepts of an index and the reader that made them.

    Raises:
        StatsError: no concept that responses can be scored for.
        ModelError: the reader is gone.
    """
    with Store(paths.index(index_hash)) as store:
        concepts, pairs, scales = load_concepts(store), load_pairs(store), load_column_scales(store)
        own = load_own_columns(store)
        reader_hash = json.loads(store.value("SELECT value FROM meta WHERE key = 'reader'"))["reader_hash"]
    empty = np.zeros(0, np.int64)
    used = [
        i
        for i, name in enumerate(concepts.names)
        if len(concepts.members[i]) or (name in scales and text_column(name, [], empty, own) is not None)
    ]
    if not used:
        raise StatsError("this index has no concept that responses can be scored for", hint="audit again")
    reader = reopen(paths, reader_hash, reading)
    return Gauge(index_hash, concepts, pairs, scales, own, used, reader, threshold)
