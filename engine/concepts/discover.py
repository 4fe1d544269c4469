"""Latents → concepts: co-firing, Leiden communities, scores, redundancy and working labels.

Source: paper.md §1.3, with our defaults for what the paper leaves open (modularity, resolution 1, small
communities kept as single latents instead of dropped). Everything here is invariant under swapping chosen and
rejected, so that the tests that follow are not circular.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from engine.arrays import Disparity, Readings
from engine.concepts.cofiring import sample_spans, strongest_edges
from engine.concepts.delta import delta_groups, delta_words
from engine.concepts.identity import concept_id
from engine.concepts.label_check import LabelCheck, check_labels
from engine.concepts.labels import MAX_PEAKS, PAIRS_PER_CONCEPT, Label, label_of, peaks_of, telling_labels
from engine.concepts.leiden import leiden_communities
from engine.concepts.redundancy import redundancy_groups
from engine.concepts.scores import ConceptScores, concept_scores, latent_disparity, prompt_counts
from engine.concepts.surface import (
    MEANINGS,
    PATTERNS,
    Column,
    column_scores,
    own_patterns,
    stack_scores,
    surface_columns,
)
from engine.concepts.texts import PairTexts, TokenText
from engine.errors import ConceptError
from engine.progress import Progress
from engine.records import ConceptKind
from engine.settings import ConceptSettings


@dataclass(frozen=True, slots=True)
class Concept:
    """Something a person can say yes or no to."""

    concept_id: str
    kind: ConceptKind
    name: str
    """Working label."""
    name_source: str
    """tokens, builtin or pattern"""
    label: Label
    latents: tuple[int, ...]
    """Most central first, so the first is the medoid; empty for columns."""
    centrality: tuple[float, ...]
    """Weighted degree inside the concept's own cluster, as ``latents``."""
    redundancy_id: int | None = None
    check: LabelCheck = field(default_factory=LabelCheck)
    """Where the label's words stand and where they do not."""
    definition: str = ""
    """What a column counts: in words, or as a person wrote it; empty for latents."""
    pattern: str = ""
    """RE2 that matches where a text has what a column counts; empty where nothing can."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What survives clustering, so that nobody takes the concepts for the whole of the data."""

    latents_fired: int
    latents_clustered: int
    """In a concept, clusters and single latents alike."""
    latents_rare: int
    """Fired, but in fewer than ``min_pairs`` pairs: in no concept; still tested one by one."""
    n_clusters: int
    n_single: int
    share_pairs: float
    """Pairs in which some concept is carried by a response."""
    share_activation: float
    """Share of the summed activation of both responses that belongs to latents in a concept."""
    spans_sampled: int


@dataclass(frozen=True, slots=True)
class ConceptSet:
    """All concepts of one reader, numbered 0 … M−1: clusters, single latents, columns."""

    concepts: tuple[Concept, ...]
    scores: ConceptScores
    concept_of: NDArray[np.int32]
    """(L,) concept of each latent, −1 for none"""
    latent_disparity: Disparity
    prompt_counts: NDArray[np.int64]
    """(L,) prompts on which each latent fires"""
    columns: tuple[Column, ...]
    coverage: Coverage
    ids: tuple[str, ...] = field(default=())

    @property
    def disparity(self) -> Disparity:
        """Disparity u of every concept, as statistics want it."""
        return self.scores.disparity()


def discover(
    readings: Readings,
    texts: PairTexts,
    token_text: TokenText,
    settings: ConceptSettings,
    progress: Progress,
    *,
    reader_hash: str = "",
) -> ConceptSet:
    """Concepts of a reader over its pairs.

    Args:
        readings: all readings of the reader.
        texts: plain text by pair number, for the columns.
        token_text: one token of a response, for working labels.
        settings: how to cluster.
        progress: told about the co-firing pass.
        reader_hash: part of every latent concept's id.

    Raises:
        ConceptError: no pair, or no latent fired on any response.
    """
    if readings.n_pairs == 0 or len(readings.by_latent.pair) == 0:
        raise ConceptError(
            "no latent fires on any response", hint="check the reader: layer, SAE and chat template"
        )
    rng = np.random.default_rng(settings.seed)
    tau = settings.fire_rate_threshold
    n_pairs_fired = np.diff(readings.by_latent.indptr)
    sample = sample_spans(readings, n_pairs_fired >= settings.min_pairs, settings.co_firing_spans, rng)
    edges = strongest_edges(sample, settings.edge_share, progress)
    groups = _communities(edges, sample.latents, settings)
    concept_of = np.full(readings.n_latents, -1, np.int32)
    for number, (latents, _) in enumerate(groups):
        concept_of[list(latents)] = number
    scores = concept_scores(readings, concept_of, len(groups), tau)
    deltas = delta_groups(readings, settings)
    columns = _columns(readings, texts, settings, progress)
    every = stack_scores(scores, _delta_scores(readings, deltas, tau), column_scores(columns))
    concepts = [
        *_latent_concepts(readings, [*groups, *deltas], len(groups), token_text, reader_hash),
        *(_column_concept(c, settings.columns) for c in columns),
    ]
    redundant = redundancy_groups(every, readings.n_pairs, rng)
    concepts = _with_delta_labels(concepts, every, texts, readings.pairs.group)
    names, seen = zip(*((c.label.tokens, np.array(c.label.pairs, np.int64)) for c in concepts), strict=True)
    checks = check_labels(names, seen, every, texts, readings.pairs.group, rng)
    concepts = [
        replace(c, redundancy_id=r, check=k) for c, r, k in zip(concepts, redundant, checks, strict=True)
    ]
    return ConceptSet(
        tuple(concepts),
        every,
        concept_of,
        latent_disparity(readings, tau),
        prompt_counts(readings, tau),
        tuple(columns),
        _coverage(readings, concept_of, scores, groups, sample.n_spans),
        tuple(c.concept_id for c in concepts),
    )


def _columns(
    readings: Readings, texts: PairTexts, settings: ConceptSettings, progress: Progress
) -> list[Column]:
    """Built-in columns and a person's own; one of the latter that matches nowhere is said."""
    own = own_patterns(settings.columns)
    columns = surface_columns(readings, texts, own)
    found = {column.name for column in columns}
    for name in own:
        if name not in found:
            progress.note(f"{name} matches in no response, so there is nothing to test about it")
    return columns


Group = tuple[tuple[int, ...], tuple[float, ...]]
"""Latents, most central first, with their weighted degree inside the group."""


def _communities(edges: sp.csr_matrix, latents: NDArray[np.int64], settings: ConceptSettings) -> list[Group]:
    n = len(latents)
    if n == 0:
        return []
    big: list[Group] = []
    single: list[Group] = []
    for members in _split(edges, np.arange(n), settings):
        inside = np.asarray(edges[members][:, members].sum(axis=1)).ravel()
        if len(members) < max(settings.min_latents, 2):
            single += [((int(latents[m]),), (0.0,)) for m in members]
            continue
        rank = np.lexsort((members, -inside))
        big.append((tuple(int(latents[members[r]]) for r in rank), tuple(float(inside[r]) for r in rank)))
    big.sort(key=lambda g: (-len(g[0]), g[0]))
    return big + sorted(single)


def _split(
    edges: sp.csr_matrix, members: NDArray[np.int64], settings: ConceptSettings
) -> list[NDArray[np.int64]]:
    """Leiden communities of some latents, the large ones split again until they are small or hold together.

    Modularity cannot see small communities in a large graph, and a concept of a hundred latents dilutes the
    one latent that matters.
    """
    inside = edges[members][:, members].tocsr()
    if inside.nnz == 0:
        return [members[[k]] for k in range(len(members))]
    community = leiden_communities(inside, settings.resolution, settings.seed)
    order = np.argsort(community, kind="stable")
    parts = np.split(members[order], np.nonzero(np.diff(community[order]))[0] + 1)
    if len(parts) == 1:
        return parts
    found: list[NDArray[np.int64]] = []
    for part in parts:
        is_large = 0 < settings.max_latents < len(part)
        found += _split(edges, part, settings) if is_large else [part]
    return found


def _delta_scores(readings: Readings, deltas: Sequence[Group], tau: float) -> ConceptScores:
    member_of = np.full(readings.n_latents, -1, np.int32)
    for number, (latents, _) in enumerate(deltas):
        member_of[list(latents)] = number
    return concept_scores(readings, member_of, len(deltas), tau)


def _latent_concepts(
    readings: Readings, groups: Sequence[Group], n_firing: int, token_text: TokenText, reader_hash: str
) -> list[Concept]:
    """Concepts of latents: the first ``n_firing`` groups fire together, the others change together."""
    n_peaks = int(np.clip(MAX_PEAKS // max(len(groups), 1), 6, PAIRS_PER_CONCEPT))
    peaks = [
        peak
        for number, (latents, _) in enumerate(groups)
        for peak in peaks_of(readings, number, latents, n_peaks)
    ]
    labels = telling_labels(peaks, token_text, len(groups))
    concepts = []
    for number, ((latents, centrality), label) in enumerate(zip(groups, labels, strict=True)):
        together = ConceptKind.CLUSTER if number < n_firing else ConceptKind.DELTA
        kind = together if len(latents) > 1 else ConceptKind.LATENT
        name = label_of(label.tokens, f"latent {latents[0]}")
        identity = concept_id(reader_hash, kind, latents)
        concepts.append(Concept(identity, kind, name, "tokens", label, latents, centrality))
    return concepts


_MARK = {ConceptKind.CLUSTER: "#", ConceptKind.LATENT: "#", ConceptKind.DELTA: "Δ"}


def _told_apart(concepts: Sequence[Concept]) -> list[Concept]:
    """Concepts of the same working label get the number of their first latent: # of clusters, Δ of deltas."""
    n_named = Counter(c.name.casefold() for c in concepts if c.latents)
    return [
        replace(c, name=f"{c.name} {_MARK[c.kind]}{c.latents[0]}") if n_named[c.name.casefold()] > 1 else c
        for c in concepts
    ]


def _with_delta_labels(
    concepts: Sequence[Concept], scores: ConceptScores, texts: PairTexts, group: NDArray[np.int32]
) -> list[Concept]:
    """Deltas named by words that the side with more of them has more often, where there are any."""
    named = []
    for number, concept in enumerate(concepts):
        is_delta = concept.kind is ConceptKind.DELTA
        words, pairs = delta_words(scores, number, texts, group) if is_delta else ((), ())
        if words:
            label = replace(concept.label, tokens=words, pairs=pairs)
            named.append(replace(concept, label=label, name=label_of(words, concept.name)))
        else:
            named.append(concept)
    return _told_apart(named)


def _column_concept(column: Column, own: Mapping[str, str]) -> Concept:
    """A column; one of a person's own is another concept once its pattern is another."""
    kind, name, pattern = ConceptKind.COLUMN, column.name, column.pattern
    identity = concept_id("", kind, [f"{name} {pattern}".rstrip()])
    if pattern:
        said = own[name.removeprefix("@")]
        return Concept(identity, kind, name, "pattern", Label(), (), (), definition=said, pattern=pattern)
    said, where = MEANINGS[name], PATTERNS.get(name, "")
    return Concept(identity, kind, name, "builtin", Label(), (), (), definition=said, pattern=where)


def _coverage(
    readings: Readings,
    concept_of: NDArray[np.int32],
    scores: ConceptScores,
    groups: Sequence[Group],
    n_spans: int,
) -> Coverage:
    by_latent = readings.by_latent
    fired = np.diff(by_latent.indptr) > 0
    mass = (by_latent.chosen.act_sum + by_latent.rejected.act_sum).astype(np.float64)
    latent = np.repeat(np.arange(readings.n_latents), np.diff(by_latent.indptr))
    inside = concept_of >= 0
    carried = np.zeros(readings.n_pairs, np.bool_)
    carried[scores.pair[scores.chosen_fires | scores.rejected_fires]] = True
    n_clusters = sum(len(g[0]) > 1 for g in groups)
    return Coverage(
        int(fired.sum()),
        int(inside.sum()),
        int((fired & ~inside).sum()),
        n_clusters,
        len(groups) - n_clusters,
        float(carried.mean()),
        float(mass[inside[latent]].sum() / max(mass.sum(), 1e-30)),
        n_spans,
    )
