"""Pairs → contexts: sources, topics clustered on symmetric activity, and the top pairs of prompt concepts.

Sources: paper.md §1.3 (spherical k-means on s = Σ(c_rate + r_rate), lowest 5% of ‖s‖ set aside) and §1.4
(prompt latents embedded by SVD to 128, clustered; ours: all pairs of the top prompts). Everything is
invariant under swapping chosen and rejected. The silent pairs are in no topic; how many they are is in every
topic's definition.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from engine.arrays import PairSets, Readings
from engine.concepts.context_words import telling_words
from engine.concepts.discover import ConceptSet
from engine.concepts.geometry import cluster_columns, k_means, scaled
from engine.concepts.texts import PairTexts
from engine.manifest import hash_json
from engine.progress import Progress
from engine.records import EVERYWHERE, ConceptKind, ContextKind
from engine.settings import ConceptSettings

PAIRS_PER_TOPIC = 100
"""Fewer pairs than this per topic on average are never asked for."""


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
    """*everywhere*, those that are tested, the silent pairs last"""
    topic: NDArray[np.int32]
    """(P,) topic of each pair, 0 … K−1, −1 for silent pairs and where there are no topics"""

    @property
    def sets(self) -> PairSets:
        """All but *everywhere* and the silent pairs, as statistics want them."""
        inner = [c for c in self.contexts[1:] if c.kind != ContextKind.SILENT.value]
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
    if cluster_sets:
        found.append(_silent(concepts, np.nonzero(topic < 0)[0], settings))
    progress.advance()
    progress.finish()
    return ContextSet(tuple(found), topic)


def _silent(concepts: ConceptSet, pairs: NDArray[np.int64], settings: ConceptSettings) -> Context:
    """Pairs on which hardly any concept fires: in no topic and not tested, but there to be looked at."""
    kind = ContextKind.SILENT.value
    return Context(
        hash_json([kind, list(concepts.ids), pairs.tolist()]), kind, "silent pairs",
        {"kind": kind, "share": settings.silent_share}, pairs,
    )  # fmt: skip


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
    labels = k_means(unit, k, settings.seed)
    none[pool] = np.unique(labels, return_inverse=True)[1]
    return none, int(silent.sum())


def _activity(concepts: ConceptSet, n_pairs: int) -> sp.csr_matrix:
    scores = concepts.scores
    n_latent = sum(c.kind in (ConceptKind.CLUSTER, ConceptKind.LATENT) for c in concepts.concepts)
    end = int(scores.indptr[n_latent])
    values, pair = scores.activity[:end].astype(np.float64), scores.pair[:end].astype(np.int64)
    matrix = sp.csc_matrix((values, pair, scores.indptr[: n_latent + 1]), shape=(n_pairs, n_latent))
    return matrix.tocsr()


def prompt_concepts(
    readings: Readings, settings: ConceptSettings
) -> tuple[list[NDArray[np.int64]], list[list[int]]]:
    """Pairs of the top prompts of each cluster of prompt latents, and the latents of each cluster.

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
    matrix = scaled(values[:, kept].tocsr())
    group = readings.pairs.group
    n_top = max(50, len(np.unique(group)) // 100)
    usual = np.diff(matrix.indptr) / len(kept)
    sets, members = [], []
    for cluster in cluster_columns(matrix, n_clusters, settings.seed):
        sets.append(_top_pairs(matrix[:, cluster.columns], n_top, usual, group))
        members.append(sorted(int(kept[c]) for c in cluster.columns))
    return sets, members


def _top_pairs(
    block: sp.csr_matrix, n_top: int, usual: NDArray[np.float64], group: NDArray[np.int32]
) -> NDArray[np.int64]:
    """All pairs of the first ``n_top`` prompt groups; a prompt that many pairs share counts once."""
    share = np.diff(block.indptr) / block.shape[1]
    strength = np.asarray(block.mean(axis=1)).ravel()
    excess = np.where(share > 0, share - usual, -np.inf)
    order = np.lexsort((np.arange(len(share)), -strength, -excess))
    order = order[share[order] > 0]
    first = np.sort(np.unique(group[order], return_index=True)[1])[:n_top]
    return np.nonzero(np.isin(group, group[order[first]]) & (share > 0))[0]


def _clusters(
    kind: ContextKind,
    sets: Sequence[NDArray[np.int64]],
    concepts: ConceptSet,
    facts: dict[str, Any],
    texts: PairTexts | None,
    members: Sequence[Sequence[int]] | None = None,
) -> list[Context]:
    words = telling_words(texts.prompt, sets) if texts is not None else [()] * len(sets)
    shared = {key for key, n in Counter(words).items() if key and n > 1}
    found = []
    for number, pairs in enumerate(sets):
        own = {"latents": list(members[number])} if members is not None else {}
        definition = {"kind": kind.value, "cluster": number, **facts, **own}
        # A cluster is known by the pairs in it, so its id holds until the pairs or the clustering change.
        identity = hash_json([kind.value, list(concepts.ids), own, pairs.tolist()])
        title = "about" if kind is ContextKind.PROMPT_CONCEPT else "topic"
        name = f"{title} " + (" · ".join(words[number]) or str(number))
        if words[number] in shared:
            name += f" #{number}"  # what else would tell it from the others with these words
        found.append(Context(identity, kind.value, name, definition, pairs))
    return found
