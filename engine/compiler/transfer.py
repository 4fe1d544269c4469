"""Does matching hold on pairs that it was not solved on?

On the pairs it was solved on, matching reaches its targets by construction. Here the dual is solved on half
of the prompt groups, and its multipliers give weights to the other half, w = min(u, q·exp(aᵀλ)), from each
pair's own readings. What the targets are there, in the matched statistic and with other poolings, is a fair
measurement; so is what happens to every other concept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine.compiler.disparity import disparities
from engine.compiler.evaluation import evaluate, request_of
from engine.compiler.match_targets import Bools, TargetRow, linear_system, target_rows
from engine.compiler.matching import balance
from engine.compiler.plan import catalogue_of, controls_of, with_shapes
from engine.compiler.population import Floats, Population, population
from engine.compiler.row_effects import row_effects
from engine.errors import CompileError
from engine.rules.catalogue import AGGREGATES, Type
from engine.rules.check_file import check
from engine.rules.checked import CheckedFile
from engine.rules.terms import Apply, Reading, Term
from engine.settings import RulesSettings
from engine.store.connection import Store


@dataclass(frozen=True, slots=True)
class Transferred:
    """One measure on the other half, before and under the transferred weights."""

    concept: str
    measure: str
    """delta and u as matched; max, sum, n, rate: mean delta with that pooling"""
    before: float
    after: float
    """In standard deviations of the measure."""
    standard_error: float
    """Of the mean before."""


@dataclass(frozen=True, slots=True)
class TransferReport:
    """Result of ``transfer``."""

    n_solved: int
    n_measured: int
    targets: tuple[Transferred, ...]
    others: tuple[Transferred, ...]
    """Every other concept of the index by its u, largest change first."""
    effective_share: float
    """Of the weights on the measured half."""


def transfer(
    store: Store,
    text: str,
    *,
    settings: RulesSettings | None = None,
    names: Mapping[str, str] | None = None,
    swap: bool = False,
) -> TransferReport:
    """Solve the matching statements of a file on half of the prompt groups and measure on the other half.

    Args:
        store: the open index.
        text: a rule file with at least one ``by matching``; its other statements are passed over, except that
            row rules decide which pairs are flipped.
        settings: limits.
        names: concept id to the name that a person gave it.
        swap: solve on the second half and measure on the first.

    Raises:
        RuleFileError: the file has errors.
        CompileError: nothing is matched, or the targets cannot be met on the half.
    """
    limits = settings or RulesSettings()
    checked = check(text, catalogue_of(store, names))
    matching = [s for s in checked.shapes if s.method == "matching"]
    if not matching:
        raise CompileError("this file matches nothing", hint="write `suppress @x by matching`")
    everyone = population(store)
    poolings = _poolings(checked)
    request = with_shapes(request_of(checked), checked)
    request = replace(request, values=tuple(dict.fromkeys([*request.values, *poolings.values()])))
    evaluation = evaluate(store, checked.definitions, request)
    flipped = row_effects(checked.rules, evaluation).flipped
    concepts = [s.concept for s in matching if s.concept is not None]
    known = (
        disparities(store, everyone, concepts, catalogue_of(store).fire_rate_threshold),
        controls_of(store, everyone),
    )
    half = (everyone.group[everyone.input_pairs] % 2 == 0) != swap
    ones = np.ones(len(half))
    solved = [r for s in matching for r in target_rows(s, evaluation, known, flipped, half, ones)]
    other = [r for s in matching for r in target_rows(s, evaluation, known, flipped, ~half, ones)]
    upper = min([s.maximum for s in matching if s.maximum is not None] or [limits.max_weight])
    weight = _transferred(solved, other, upper)
    return _report(everyone, poolings, evaluation.values, (solved, other), weight, flipped, half)


def _poolings(checked: CheckedFile) -> dict[tuple[str, str], Term]:
    out: dict[tuple[str, str], Term] = {}
    for shape in checked.shapes:
        concept = shape.concept
        if shape.method == "matching" and concept is not None and concept.kind == "latents":
            for aggregate in AGGREGATES:
                sides = (Reading(concept, "chosen", aggregate), Reading(concept, "rejected", aggregate))
                out[concept.name, aggregate] = Apply("-", sides, Type.NUMBER)
    return out


def _transferred(solved: Sequence[TargetRow], other: Sequence[TargetRow], upper: float) -> Floats:
    """Weights of the other half from multipliers of the first; 1 outside both."""
    touched: Bools = np.logical_or.reduce([r.inside for r in solved])
    base = np.ones(int(touched.sum()))
    features, goal = linear_system(solved, (), touched, base)
    found = balance(features, goal, base, upper)
    if not found.converged:
        raise CompileError("the targets cannot be met on half of the data", hint="raise `max`")
    places = {(r.statement, r.statistic, r.stratum): r.inside for r in other}
    exponent = np.zeros(len(touched))
    reached: Bools = np.zeros(len(touched), bool)
    for row, multiplier in zip(solved, found.multiplier, strict=False):
        inside = places.get((row.statement, row.statistic, row.stratum))
        if inside is not None:
            exponent += np.where(inside, multiplier * (row.value - row.target), 0.0)
            reached |= inside
    # the mass rows follow the targets: their multipliers only set the level, which is taken up below
    weight = np.minimum(upper, np.exp(np.clip(exponent, -50, 50)))
    weight[reached] /= weight[reached].mean()
    return np.asarray(np.where(reached, weight, 1.0), np.float64)


def _report(
    everyone: Population,
    poolings: Mapping[tuple[str, str], Term],
    values: Mapping[Term, Floats],
    rows: tuple[Sequence[TargetRow], Sequence[TargetRow]],
    weight: Floats,
    flipped: Bools,
    half: Bools,
) -> TransferReport:
    turn = np.where(flipped, -1.0, 1.0)
    scale = {(r.statement, r.statistic, r.stratum): r for r in rows[0]}
    targets = []
    for row in rows[1]:
        source = scale.get((row.statement, row.statistic, row.stratum))
        if source is not None:
            name = row.concept + (f" in {row.stratum}" if row.stratum else "")
            targets.append(_measure(name, row.statistic, source.value, row.inside, weight))
    for (concept, aggregate), term in poolings.items():
        value = np.nan_to_num(values[term]) * turn
        targets.append(_measure(concept, aggregate, value / (value[~half].std() or 1.0), ~half, weight))
    u = everyone.concepts.u[:, everyone.input_pairs].tocsr()
    others = []
    for i, label in enumerate(everyone.concepts.labels):
        value = u.getrow(i).toarray()[0] * turn
        sd = float(value[~half].std())
        if sd > 0:
            others.append(_measure(label, "u", value / sd, ~half, weight))
    others.sort(key=lambda t: -abs(t.after - t.before))
    kept = weight[~half]
    share = float(kept.sum() ** 2 / (np.square(kept).sum() * len(kept)))
    return TransferReport(int(half.sum()), int((~half).sum()), tuple(targets), tuple(others), share)


def _measure(concept: str, measure: str, value: Floats, inside: Any, weight: Floats) -> Transferred:
    part = value[inside]
    return Transferred(
        concept, measure, float(part.mean()), float(np.average(part, weights=weight[inside])),
        float(part.std() / np.sqrt(max(len(part), 1))),
    )  # fmt: skip
