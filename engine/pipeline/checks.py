"""Checks of an audit on its own data: self-tests, held-out AUC, effects by source."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arrays import Disparity, PairSets, Readings
from engine.concepts.scores import latent_disparity
from engine.errors import StatsError
from engine.manifest import hash_json, write_json
from engine.paths import ProjectPaths
from engine.pipeline.residuals import mean_residual_deltas
from engine.progress import Progress
from engine.settings import Settings
from engine.stats.arms import (
    Arm,
    difference_arm,
    embedding_arm,
    favoured,
    format_arm,
    joined,
    length_arm,
    model_arm,
    reading_arm,
    unit_arm,
)
from engine.stats.auc import ArmResult, held_out
from engine.stats.design import Design, build_design
from engine.stats.null import mix_weights, signed_weight
from engine.stats.redraw import make_bench
from engine.stats.selftest import (
    ContextsResult,
    NullResult,
    PlantResult,
    null_test,
    planted_concept,
    random_contexts,
)
from engine.store.arrays import open_arrays
from engine.store.build import current_index
from engine.store.concepts import (
    IndexConcepts,
    load_column_deltas,
    load_concepts,
    load_contexts,
    load_topics,
)
from engine.store.connection import Store


@dataclass(frozen=True, slots=True)
class Audited:
    """A published audit, opened for computing."""

    index_hash: str
    readings: Readings
    concepts: IndexConcepts
    contexts: PairSets
    columns: Mapping[str, NDArray[np.float64]]
    """Delta of each column concept, (P,)."""
    topic: NDArray[np.int32] | None
    """(P,) topic of each pair, −1 for none; None where there are no topics."""
    design: Design
    """Of the null model."""
    weight: NDArray[np.float64]
    """(P,) weight in the mix of labelled pairs (1 unless the mix is weighted), else 0."""


def open_audit(paths: ProjectPaths, settings: Settings) -> Audited:
    """Arrays and concepts of the published index.

    Raises:
        StoreError: nothing is published, or its arrays are gone.
    """
    index_hash = current_index(paths).index_hash
    readings = open_arrays(paths.arrays(index_hash))
    with Store(paths.index(index_hash)) as store:
        concepts = load_concepts(store)
        columns = load_column_deltas(store, readings.n_pairs)
        topic = load_topics(store, readings.n_pairs)
        contexts = load_contexts(store)
    design = build_design(readings.pairs, covariates=settings.stats.covariates, columns=columns, topic=topic)
    weight = signed_weight(readings.pairs.is_signed, mix_weights(readings.pairs))
    return Audited(index_hash, readings, concepts, contexts, columns, topic, design, weight)


def families(audited: Audited, settings: Settings) -> dict[str, Disparity]:
    """Concepts and latents: the two families that have a q of their own everywhere."""
    tau = settings.concepts.fire_rate_threshold
    return {"concepts": audited.concepts.disparity, "latents": latent_disparity(audited.readings, tau)}


def selftest_null(
    paths: ProjectPaths, settings: Settings, progress: Progress, *, draws: int, seed: int
) -> list[NullResult]:
    """P(any call) per family when nothing is taught, and when only length and origin are."""
    audited = open_audit(paths, settings)
    results = null_test(
        families(audited, settings),
        audited.readings.pairs,
        audited.design,
        audited.weight,
        settings.stats,
        draws=draws,
        seed=seed,
        progress=progress,
        cells=(audited.concepts.disparity, audited.contexts),
    )
    _keep(paths, "null", audited, {"draws": draws, "seed": seed}, results)
    return results


def selftest_contexts(
    paths: ProjectPaths, settings: Settings, *, n_contexts: int, seed: int
) -> ContextsResult:
    """Spread of the context × concept z when contexts are dealt at random."""
    audited = open_audit(paths, settings)
    result = random_contexts(
        audited.concepts.disparity,
        audited.readings.pairs,
        audited.design,
        audited.weight,
        settings.stats,
        n_contexts=n_contexts,
        seed=seed,
    )
    _keep(paths, "contexts", audited, {"n_contexts": n_contexts, "seed": seed}, [result])
    return result


def selftest_plant(
    paths: ProjectPaths,
    settings: Settings,
    progress: Progress,
    *,
    concept_id: str,
    odds: Sequence[float],
    draws: int,
    seed: int,
) -> list[PlantResult]:
    """Power curve of one concept on this data.

    Raises:
        StatsError: the concept is not in the index, or too rare to be tested.
    """
    audited = open_audit(paths, settings)
    if concept_id not in audited.concepts.ids:
        raise StatsError(f"this index has no concept {concept_id}", hint="see `prosect concepts DIR`")
    bench = make_bench(
        audited.concepts.disparity, audited.readings.pairs, audited.design, audited.weight, settings.stats
    )
    unit = audited.concepts.ids.index(concept_id)
    if not bench.tested[unit]:
        raise StatsError(
            f"{audited.concepts.names[unit]} is discordant in fewer than"
            f" {settings.stats.min_discordant} prompt groups",
            hint="plant a more frequent concept",
        )
    results = planted_concept(bench, unit, odds, draws=draws, seed=seed, progress=progress)
    asked = {"concept": concept_id, "odds": list(odds), "draws": draws, "seed": seed}
    _keep(paths, "plant", audited, asked, results)
    return results


def auc(paths: ProjectPaths, settings: Settings, progress: Progress) -> list[ArmResult]:
    """Held-out AUC of every arm, baselines first, what reads the responses alone and then beside them all."""
    audited = open_audit(paths, settings)
    pairs = audited.readings.pairs
    length, models = length_arm(pairs), model_arm(pairs)
    formatting = format_arm(pairs, audited.columns)
    baselines = [length, formatting]
    known = formatting
    if models is not None:
        known = joined("model + length + formatting", models, formatting)
        baselines = [models, length, formatting, known]
    concepts = unit_arm("concepts", audited.concepts.disparity, pairs.n_pairs)
    reading = reading_arm(audited.readings)
    beside = [
        joined(f"{known.name} + {arm.name}", favoured(known), arm, penalty=arm.penalty)
        for arm in (concepts, reading)
    ]
    readers = [*_embedding_arms(paths, audited.index_hash, progress), concepts, reading]
    found = held_out([*baselines, *readers, *beside], pairs, audited.weight, progress=progress)
    return [arm.result for arm in found]


def _embedding_arms(paths: ProjectPaths, index_hash: str, progress: Progress) -> list[Arm]:
    with Store(paths.index(index_hash)) as store:
        pair_ids = [ident for (ident,) in store.rows("SELECT pair_id FROM pairs ORDER BY pair")]
    delta = mean_residual_deltas(paths, pair_ids)
    if delta is None:
        progress.note(
            "no residuals of these pairs are kept (reading.store_residuals): no arm reads an embedding"
        )
        return []
    return [difference_arm(delta), embedding_arm(delta)]


def _keep(
    paths: ProjectPaths, name: str, audited: Audited, asked: dict[str, Any], results: list[Any]
) -> None:
    """Write a self-test's result by its content, so that reports can point at it."""
    record = {
        "selftest": name,
        "index": audited.index_hash,
        "asked": asked,
        "results": [_finite(asdict(r)) for r in results],
    }
    write_json(paths.selftests_dir / f"{name}-{hash_json(record)[:16]}.json", record)


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Undefined numbers as null."""
    plain: dict[str, Any] = json.loads(json.dumps(values, default=float), parse_constant=lambda _name: None)
    return plain
