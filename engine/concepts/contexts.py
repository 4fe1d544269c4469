"""Pairs → contexts: sources, topics clustered on symmetric activity, and the top pairs of prompt concepts.

Sources: paper.md §1.3 (spherical k-means on s = Σ(c_rate + r_rate), lowest 5% of ‖s‖ set aside) and §1.4
(prompt latents embedded by SVD to 128, clustered, top pairs taken). Everything is invariant under swapping
chosen and rejected. The silent pairs are in no topic; how many they are is in every topic's definition.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from engine.arrays import PairSets, Readings
from engine.concepts.context_words import telling_words
from engine.concepts.discover import ConceptSet
from engine.concepts.texts import PairTexts
from engine.manifest import hash_json
from engine.progress import Progress
from engine.records import EVERYWHERE, ConceptKind, ContextKind
from engine.settings import ConceptSettings

PAIRS_PER_TOPIC = 100
"""Fewer pairs than this per topic on average are never asked for."""
SVD_ROWS = 30_000
SVD_RANK = 128


@dataclass(frozen=True, slots=True)
class Context:
    """A set of pairs; number 0 holds every pair."""

    context_id: str
    kind: str
    """records.ContextKind, or *everywhere*"""
    name: str
    definition: dict[str, Any]
    pairs: NDArray[np.int64]
    """Ascending pair numbers."""


@dataclass(frozen=True, slots=True)
class ContextSet:
    """All contexts of an index, *everywhere* first."""

    contexts: tuple[Context, ...]
    topic: NDArray[np.int32]
    """(P,) topic of each pair, 0 … K−1, −1 for silent pairs and where there are no topics"""

    @property
    def sets(self) -> PairSets:
        """All but *everywhere*, as statistics want them."""
        inner = self.contexts[1:]
        sizes = [len(c.pairs) for c in inner]
        joined = np.concatenate([c.pairs for c in inner]) if inner else np.zeros(0, np.int64)
        return PairSets(
            tuple(c.context_id for c in inner),
            tuple(c.kind for c in inner),
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            joined.astype(np.uint32),
        )


def find_contexts(
    readings: Readings,
    concepts: ConceptSet,
    settings: ConceptSettings,
    progress: Progress,
    *,
    texts: PairTexts | None = None,
) -> ContextSet:
    """All contexts of these pairs.

    Args:
        readings: all readings.
        concepts: concepts of the same readings; topics are clustered on their activity.
        settings: how many clusters.
        progress: told about the two clusterings.
        texts: prompts for working labels; without them contexts are numbered.
    """
    progress.start("contexts", 3, "views")
    n_pairs = readings.n_pairs
    everywhere = Context(
        hash_json([EVERYWHERE]), EVERYWHERE, EVERYWHERE, {"kind": EVERYWHERE}, np.arange(n_pairs)
    )
    found = [everywhere, *_sources(readings)]
    progress.advance()
    # One thread: mini-batches are too small to share, and the result is then the same on every machine.
    with threadpool_limits(limits=1):
        topic, silent = topics(readings, concepts, settings)
        prompt_sets, members = prompt_concepts(readings, settings)
    cluster_sets = [np.nonzero(topic == k)[0] for k in range(int(topic.max(initial=-1)) + 1)]
    facts = {"silent_pairs": silent, "seed": settings.seed}
    found += _clusters(ContextKind.TOPIC, cluster_sets, concepts, facts, texts)
    progress.advance()
    found += _clusters(ContextKind.PROMPT_CONCEPT, prompt_sets, concepts, {}, texts, members)
    progress.advance()
    progress.finish()
    return ContextSet(tuple(found), topic)


def _sources(readings: Readings) -> list[Context]:
    pairs = readings.pairs
    if len(pairs.source_names) < 2:
        return []
    return [
        Context(
            hash_json([ContextKind.SOURCE.value, name]),
            ContextKind.SOURCE.value,
            name,
            {"kind": ContextKind.SOURCE.value, "source": name},
            np.nonzero(pairs.source == code)[0],
        )
        for code, name in enumerate(pairs.source_names)
        if (pairs.source == code).any()
    ]


def topics(
    readings: Readings, concepts: ConceptSet, settings: ConceptSettings
) -> tuple[NDArray[np.int32], int]:
    """(P,) topic of each pair (−1: silent, or no topics) and the number of silent pairs."""
    n_pairs = readings.n_pairs
    none = np.full(n_pairs, -1, np.int32)
    activity = _activity(concepts, n_pairs)
    norm = np.sqrt(np.asarray(activity.multiply(activity).sum(axis=1)).ravel())
    silent = (norm <= np.quantile(norm, settings.silent_share)) if settings.silent_share > 0 else norm <= 0
    silent |= norm <= 0
    pool = np.nonzero(~silent)[0]
    k = settings.n_topics or int(np.clip(n_pairs / 500, 8, 512))
    k = min(k, len(pool) // (1 if settings.n_topics else PAIRS_PER_TOPIC))
    if k < 2:
        return none, int(silent.sum())
    unit = normalize(activity[pool])
    labels = _k_means(unit, k, settings.seed)
    none[pool] = np.unique(labels, return_inverse=True)[1]
    return none, int(silent.sum())


def _k_means(rows: sp.csr_matrix | NDArray[np.float64], k: int, seed: int) -> NDArray[np.int32]:
    clustering = MiniBatchKMeans(k, random_state=seed, n_init=3, batch_size=4096)
    return np.asarray(clustering.fit_predict(rows), np.int32)


def _activity(concepts: ConceptSet, n_pairs: int) -> sp.csr_matrix:
    scores = concepts.scores
    n_latent = sum(c.kind is not ConceptKind.COLUMN for c in concepts.concepts)
    end = int(scores.indptr[n_latent])
    values, pair = scores.activity[:end].astype(np.float64), scores.pair[:end].astype(np.int64)
    matrix = sp.csc_matrix((values, pair, scores.indptr[: n_latent + 1]), shape=(n_pairs, n_latent))
    return matrix.tocsr()


def prompt_concepts(
    readings: Readings, settings: ConceptSettings
) -> tuple[list[NDArray[np.int64]], list[list[int]]]:
    """Top pairs of each cluster of prompt latents, and the latents of each cluster.

    Pairs are ranked by the share of the cluster's latents that fire on the prompt, less the share of all
    latents that do (else the longest prompts lead every list), then by their mean activation; pairs without
    any are left out.
    """
    prompts = readings.prompts
    shape = (readings.n_pairs, readings.n_latents)
    values = sp.csr_matrix((prompts.values.act_max.astype(np.float64), prompts.latent, prompts.indptr), shape)
    n_fired = np.bincount(prompts.latent, minlength=readings.n_latents)
    kept = np.nonzero(n_fired >= settings.min_pairs)[0]
    wanted = settings.n_prompt_clusters or int(np.clip(len(kept) / 32, 16, 256))
    n_clusters = min(wanted, len(kept) // 2)
    if n_clusters < 2 or readings.n_pairs < 2 * PAIRS_PER_TOPIC:
        return [], []
    rng = np.random.default_rng(settings.seed)
    rows = np.sort(rng.choice(readings.n_pairs, min(readings.n_pairs, SVD_ROWS), replace=False))
    matrix = values[:, kept].tocsr()
    scale = np.sqrt(np.asarray(matrix.multiply(matrix).mean(axis=0)).ravel())
    matrix = (matrix @ sp.diags(1 / np.maximum(scale, 1e-12))).tocsr()
    rank = min(SVD_RANK, min(len(rows), len(kept)) - 1)
    _, weights, directions = randomized_svd(matrix[rows], rank, random_state=settings.seed)
    embedding = normalize((weights[:, None] * directions).T)
    labels = _k_means(embedding, n_clusters, settings.seed)
    n_top = max(50, readings.n_pairs // 100)
    usual = np.diff(matrix.indptr) / len(kept)
    sets, members = [], []
    for k in np.unique(labels):
        columns = np.nonzero(labels == k)[0]
        sets.append(_top_pairs(matrix[:, columns], n_top, usual))
        members.append([int(kept[c]) for c in columns])
    return sets, members


def _top_pairs(block: sp.csr_matrix, n_top: int, usual: NDArray[np.float64]) -> NDArray[np.int64]:
    share = np.diff(block.indptr) / block.shape[1]
    strength = np.asarray(block.mean(axis=1)).ravel()
    excess = np.where(share > 0, share - usual, -np.inf)
    order = np.lexsort((np.arange(len(share)), -strength, -excess))[:n_top]
    return np.sort(order[share[order] > 0])


def _clusters(
    kind: ContextKind,
    sets: Sequence[NDArray[np.int64]],
    concepts: ConceptSet,
    facts: dict[str, Any],
    texts: PairTexts | None,
    members: Sequence[Sequence[int]] | None = None,
) -> list[Context]:
    words = telling_words(texts.prompt, sets) if texts is not None else [()] * len(sets)
    found = []
    for number, pairs in enumerate(sets):
        own = {"latents": list(members[number])} if members is not None else {}
        definition = {"kind": kind.value, "cluster": number, **facts, **own}
        # A cluster is known by the pairs in it, so its id holds until the pairs or the clustering change.
        identity = hash_json([kind.value, list(concepts.ids), own, pairs.tolist()])
        title = "about" if kind is ContextKind.PROMPT_CONCEPT else "topic"
        name = f"{title} " + (" · ".join(words[number]) or str(number))
        found.append(Context(identity, kind.value, name, definition, pairs))
    return found
