"""All estimates of an index: concepts everywhere, concepts in contexts, single latents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.arrays import Disparity, PairArrays, PairSets, Readings
from engine.errors import StatsError
from engine.manifest import hash_json
from engine.progress import Progress
from engine.records import EVERYWHERE
from engine.settings import StatsSettings
from engine.stats.cell_equal import equal_inside
from engine.stats.cell_models import Fitted
from engine.stats.cells import Cells, ContextIndex, cell_tests, index_contexts, restrict
from engine.stats.design import Design, build_design, length_ratio, linear_design
from engine.stats.differs import Differs, differs
from engine.stats.effect import Effects, fit_effects, win_rates
from engine.stats.null import NullModel, fit_null, signed_weight
from engine.stats.paper import Moments, paper_cells
from engine.stats.rows import EqualLength, estimate_columns, nullable, nullable_flag, testable
from engine.stats.score import score_tests
from engine.stats.scrutiny import Scrutiny, calls_of, scrutinise
from engine.stats.sensitivity import members_of
from engine.stats.sums import Sums, half_of, unit_sums
from engine.stats.taught import taught

Vector = NDArray[np.float64]

MODELS_DOMINATE = 0.4
"""Share of log-loss explained by model identity from which the audit says so first."""


@dataclass(frozen=True, slots=True)
class StatsInput:
    """What estimates are made of, beside the readings. M concepts, L latents, K contexts."""

    concepts: Disparity
    concept_ids: Sequence[str]
    latents: Disparity
    concept_of: NDArray[np.int32]
    """(L,) concept of each latent, −1 for none"""
    prompt_counts: NDArray[np.int64]
    """(L,) prompts on which each latent fires"""
    contexts: PairSets
    members: Sequence[Sequence[int]] = ()
    """Latents of each concept, none for columns; empty: no concept is made of latents"""
    topic: NDArray[np.int32] | None = None
    """(P,) topic of each pair, −1 for none: the null model's topic slopes"""
    columns: Mapping[str, Vector] = field(default_factory=dict)
    """Odd per-pair numbers (deltas of columns) that settings.covariates may name"""
    weights: Vector | None = None
    """(P,) pair weights of a shaped dataset; None: all 1"""


@dataclass(frozen=True, slots=True)
class StatsTables:
    """Arrow tables of the index, and what a person should know about how they came about."""

    hypotheses: pa.Table
    latents: pa.Table
    scrutiny: dict[str, pa.Table]
    """Tables of schema_scrutiny.SCRUTINY by name."""
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Family:
    sums: Sums
    effects: Effects
    columns: dict[str, Any]


def estimate(
    readings: Readings, units: StatsInput, settings: StatsSettings, progress: Progress
) -> StatsTables:
    """Every estimate of schema.HYPOTHESES and schema.LATENTS.

    Args:
        readings: pairs with groups, lengths, sources and models.
        units: disparities of concepts and latents, contexts, weights.
        settings: levels, floors, covariates.
        progress: told about five steps.

    Raises:
        StatsError: groups do not ascend, wrong shapes, bad weights, unknown covariates.
    """
    pairs = readings.pairs
    if len(pairs.group) and (np.diff(pairs.group) < 0).any():
        raise StatsError("prompt groups must ascend with pair numbers")
    progress.start("statistics", 5, "steps")
    weight = signed_weight(pairs.is_signed, units.weights)
    null, linear = null_models(pairs, units, settings)
    progress.advance()
    totals = (float((weight > 0).sum()), _n_groups(pairs, weight), float(weight.sum()))
    concepts = _family(units.concepts, pairs, null, linear, totals, settings)
    progress.advance()
    latents = _family(units.latents, pairs, null, linear, totals, settings)
    progress.advance()
    index = index_contexts(units.contexts, null, length_ratio(pairs))
    cells = restrict(units.concepts, index, null, settings.min_discordant)
    cell_columns = _cell_columns(cells, units, pairs, null, index, concepts, settings)
    progress.advance()
    own = calls_of(concepts.columns, concepts.sums, concepts.effects.typical)
    members = members_of(units.members or [()] * units.concepts.n_units)
    beyond = scrutinise(readings, units.concepts, members, null, own, settings)
    progress.advance()
    progress.finish()
    return StatsTables(
        _hypotheses(units, concepts, cells, cell_columns, beyond),
        _latents_table(units, latents, readings),
        beyond.tables,
        _facts(null, linear, totals, cells) | beyond.facts,
    )


def null_models(pairs: PairArrays, units: StatsInput, settings: StatsSettings) -> tuple[NullModel, NullModel]:
    """The full null model and the linear one shown beside it."""
    weight = signed_weight(pairs.is_signed, units.weights)
    design = build_design(pairs, covariates=settings.covariates, columns=units.columns, topic=units.topic)
    return fit_null(design, pairs.group, weight), fit_null(linear_design(pairs), pairs.group, weight)


def _n_groups(pairs: PairArrays, weight: Vector) -> float:
    return float(len(np.unique(pairs.group[weight > 0])))


def _family(
    disparity: Disparity,
    pairs: PairArrays,
    null: NullModel,
    linear: NullModel,
    totals: tuple[float, float, float],
    settings: StatsSettings,
) -> _Family:
    sums = unit_sums(disparity, pairs, null.weight)
    scores = score_tests(disparity, null)
    wanted = testable(sums, settings) & np.isfinite(scores.z)
    effects = fit_effects(disparity, null, sums, wanted)
    rate, low, high = win_rates(effects, sums)
    equal = EqualLength(scores.z, rate, low, high, score_tests(disparity, linear).z)
    n = disparity.n_units
    every = (np.full(n, totals[0]), np.full(n, totals[1]), np.full(n, totals[2]))
    return _Family(sums, effects, estimate_columns(sums, taught(sums), equal, every, settings))


def _cell_columns(
    cells: Cells,
    units: StatsInput,
    pairs: PairArrays,
    null: NullModel,
    index: ContextIndex,
    concepts: _Family,
    settings: StatsSettings,
) -> dict[str, Any]:
    sums = unit_sums(cells.disparity, pairs, null.weight)
    tests = cell_tests(cells, units.concepts, null, index, concepts.effects, settings.min_discordant)
    inside = equal_inside(cells, null, index, sums)
    fitted = Fitted(units.concepts, null, index, concepts.effects)
    rate, low, high = win_rates(inside.effects, sums)
    equal = EqualLength(inside.z, rate, low, high, np.full(len(rate), np.nan))
    k = cells.context
    totals = (index.n_pairs[k], index.n_groups[k], index.weight[k])
    columns = estimate_columns(sums, taught(sums), equal, totals, settings)
    return (
        columns
        | _differs_columns(differs(cells, tests, fitted, settings))
        | _paper_columns(cells, units, pairs, null.weight, sums, concepts.sums)
    )


def _differs_columns(found: Differs) -> dict[str, Any]:
    return {
        "differs_z": nullable(found.z),
        "differs_p": nullable(found.p),
        "differs_q": nullable(found.q),
        "differs_call": nullable_flag(found.call),
    }


def _paper_columns(
    cells: Cells, units: StatsInput, pairs: PairArrays, weight: Vector, inside: Sums, concepts: Sums
) -> dict[str, Any]:
    half = half_of(pairs)
    sets, k = units.contexts, cells.context
    n_sets = sets.n_sets
    context = np.repeat(np.arange(n_sets), np.diff(sets.indptr))
    in_half = half[sets.pair]
    n_a: Vector = np.bincount(context, weight[sets.pair] * ~in_half, minlength=n_sets).astype(np.float64)
    n_b: Vector = np.bincount(context, weight[sets.pair] * in_half, minlength=n_sets).astype(np.float64)
    own = Moments((n_a + n_b)[k], inside.wu, inside.uu, n_a[k], inside.wu_a, n_b[k], inside.wu_b)
    m = cells.concept
    all_a, all_b = float(weight[~half].sum()), float(weight[half].sum())
    n = len(m)
    every = Moments(
        np.full(n, all_a + all_b), concepts.wu[m], concepts.uu[m],
        np.full(n, all_a), concepts.wu_a[m], np.full(n, all_b), concepts.wu_b[m],
    )  # fmt: skip
    paper = paper_cells(own, every)
    return {
        "paper_delta": nullable(paper.delta),
        "paper_z": nullable(paper.z),
        "paper_d": nullable(paper.d),
        "paper_delta_min": nullable(paper.delta_min),
    }


def _hypotheses(
    units: StatsInput, concepts: _Family, cells: Cells, cell_columns: dict[str, Any], beyond: Scrutiny
) -> pa.Table:
    everywhere = hash_json([EVERYWHERE])
    n = units.concepts.n_units
    context_ids = [everywhere] * n + [units.contexts.ids[k] for k in cells.context]
    concept = np.concatenate([np.arange(n), cells.concept])
    pairs_of_ids = zip(context_ids, concept, strict=True)
    head = {
        "hypothesis": pa.array(np.arange(len(concept), dtype=np.uint32)),
        "hypothesis_id": pa.array([hash_json([c, units.concept_ids[int(m)]]) for c, m in pairs_of_ids]),
        "family": pa.array(["concepts"] * n + ["cells"] * len(cells.concept), pa.string()),
        "context": pa.array(np.concatenate([np.zeros(n), cells.context + 1]).astype(np.uint32)),
        "concept": pa.array(concept.astype(np.uint32)),
    }
    body = {name: pa.concat_arrays([concepts.columns[name], cell_columns[name]]) for name in concepts.columns}
    tail = {
        name: pa.concat_arrays([pa.nulls(n, column.type), column])
        for name, column in cell_columns.items()
        if name not in body
    }
    beside = {
        name: pa.concat_arrays([column, pa.nulls(len(cells.concept), column.type)])
        for name, column in beyond.columns.items()
    }
    return pa.table(head | body | tail | beside)


def _latents_table(units: StatsInput, family: _Family, readings: Readings) -> pa.Table:
    fired = (np.diff(readings.by_latent.indptr) > 0) | (units.prompt_counts > 0)
    at = pa.array(np.nonzero(fired)[0])
    concept = units.concept_of[fired]
    head = {
        "latent": at.cast(pa.uint32()),
        "concept": pa.array(concept.clip(0).astype(np.uint32), mask=concept < 0),
        "n_prompt": pa.array(units.prompt_counts[fired].astype(np.uint32)),
    }
    return pa.table(head | {name: column.take(at) for name, column in family.columns.items()})


def _facts(
    null: NullModel, linear: NullModel, totals: tuple[float, float, float], cells: Cells
) -> dict[str, Any]:
    by_length, by_model = _explained(linear), _explained(_models_only(null))
    return {
        "n_labelled_pairs": int(totals[0]),
        "n_groups": int(totals[1]),
        "null_columns": list(null.design.names),
        "null_columns_left_out": list(null.design.left_out),
        "null_log_loss": null.log_loss,
        "length_explains": by_length,
        "models_explain": by_model,
        "warning": _warning(null, by_model),
        "null_converged": null.has_converged,
        "null_separates": bool(null.separates),
        "n_cells_tested": len(cells.concept),
        "n_cells_too_few_groups": cells.n_left_out,
    }


def _explained(null: NullModel | None) -> float | None:
    """Share of a coin's log-loss that a null model saves; None without pairs or columns."""
    if null is None or null.design.n_columns == 0 or not (null.weight > 0).any():
        return None
    return 1 - null.log_loss / float(np.log(2))


def _models_only(null: NullModel) -> NullModel | None:
    names = null.design.names
    kept = [k for k, name in enumerate(names) if name.startswith("model ")]
    if not kept:
        return None
    design = Design(tuple(names[k] for k in kept), np.ascontiguousarray(null.design.z[:, kept]), ())
    return fit_null(design, null.group, null.weight)


def _warning(null: NullModel, by_model: float | None) -> str | None:
    """What a person should read before any row."""
    if null.separates:
        return "Length and origin alone separate the labels: nothing can be said at equal length."
    if by_model is not None and by_model >= MODELS_DOMINATE:
        return (
            f"Which model wrote the response explains {by_model:.0%} of the labels' log-loss: what is "
            "taught is mostly how the winning model writes. Only effects at equal length hold models fixed."
        )
    return None
