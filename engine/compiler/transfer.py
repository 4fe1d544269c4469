"""Does matching hold on pairs that it was not solved on?

On the pairs it was solved on, matching reaches its targets by construction. Here the dual is solved on half
of the prompt groups, and its multipliers give weights to the other half from each pair's own readings. What
the targets are there, in the matched statistics, in other poolings and in the text itself, is a fair
measurement; so is what happens to held concepts and to every other one.

Averaging both directions would undo that: to first order the error of one half is minus that of the other,
and their mean is zero by construction. One direction is measured, and the whole of it (groups of both halves
drawn anew, dual solved anew) is repeated for intervals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.compiler.disparity import disparities
from engine.compiler.dual import Half, multipliers, two_halves, weights
from engine.compiler.evaluation import evaluate, request_of
from engine.compiler.forecast import effective_share
from engine.compiler.held import held_everywhere, held_rows
from engine.compiler.match_targets import Bools, TargetRow, target_rows
from engine.compiler.plan import catalogue_of, controls_of, largest_weight, with_shapes
from engine.compiler.population import Floats, Population, population
from engine.compiler.records import VerdictNote
from engine.compiler.row_effects import RowEffects, row_effects
from engine.compiler.transferred import LEFT, Moved, Transferred, TransferReport
from engine.errors import CompileError
from engine.progress import NullProgress, Paced, Progress
from engine.rules.catalogue import AGGREGATES, Type
from engine.rules.check_file import check
from engine.rules.checked import CheckedFile
from engine.rules.terms import Apply, Reading, Term
from engine.settings import RulesSettings
from engine.store.connection import Store

_LEVEL = 0.9


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """What to check and how."""

    text: str
    """A rule file with at least one ``by matching``. Row rules act as written; set statements, offsets and
    ranked drops are passed over."""
    file_name: str = "rules"
    """For messages."""
    settings: RulesSettings = field(default_factory=RulesSettings)
    names: Mapping[str, str] = field(default_factory=dict)
    verdicts: tuple[VerdictNote, ...] = ()
    patterns: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Name to what a regular expression says of every pair, (P,): 1 only chosen matches, −1 only rejected."""
    draws: int = 200
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Measure:
    concept: str
    name: str
    is_matched: bool
    inside: Bools  # (n,) over the measured half
    value: Floats  # (n,) in standard deviations
    target: float


def transfer(store: Store, request: TransferRequest, progress: Progress | None = None) -> TransferReport:
    """Solve the matching statements of a file on half of the prompt groups and measure on the other half.

    Raises:
        RuleFileError: the file has errors.
        CompileError: nothing is matched, or the targets cannot be met on the half.
        Cancelled: the user stopped.
    """
    checked = check(request.text, catalogue_of(store, request.names), file_name=request.file_name)
    matching = [s for s in checked.shapes if s.method == "matching"]
    if not matching:
        raise CompileError("this file matches nothing", hint="write `suppress @x by matching`")
    everyone = population(store)
    poolings = _poolings(checked)
    wanted = with_shapes(request_of(checked), checked)
    wanted = replace(wanted, values=tuple(dict.fromkeys([*wanted.values, *poolings.values()])))
    evaluation = evaluate(store, checked.definitions, wanted)
    effects = row_effects(checked.rules, evaluation, everyone.base_weight[everyone.input_pairs])
    concepts = [s.concept for s in matching if s.concept is not None]
    threshold = catalogue_of(store).fire_rate_threshold
    known = (disparities(store, everyone, concepts, threshold), controls_of(store, everyone))
    group = everyone.group[everyone.input_pairs]
    first = _half_of(group, request.seed)
    alive = ~effects.dropped & (effects.weight > 0)
    solved, measured = (
        [
            r
            for s in matching
            for r in target_rows(s, evaluation, known, effects.flipped, alive & side, effects.weight)
        ]
        for side in (first, ~first)
    )
    mass = np.where(alive & first, effects.weight, 0.0)
    held = held_rows(everyone, request.verdicts, checked, effects.flipped, mass)
    halves = two_halves(solved, measured, held, effects.weight, group)
    allowed, _ = largest_weight(checked, request.settings)
    upper = min([allowed, *(s.maximum for s in matching if s.maximum is not None)])
    measures = _measures(everyone, request, (solved, measured), poolings, evaluation.values, effects, halves)
    return _report(everyone, request, halves, measures, effects, upper, concepts, progress or NullProgress())


def _half_of(group: NDArray[np.int64], seed: int) -> Bools:
    """Half of the prompt groups, drawn by seed."""
    groups = np.unique(group)
    drawn = np.random.default_rng(seed).permutation(groups)[: len(groups) // 2]
    return np.isin(group, drawn)


def _poolings(checked: CheckedFile) -> dict[tuple[str, str], Term]:
    out: dict[tuple[str, str], Term] = {}
    for shape in checked.shapes:
        concept = shape.concept
        if shape.method == "matching" and concept is not None and concept.kind == "latents":
            for aggregate in AGGREGATES:
                sides = (Reading(concept, "chosen", aggregate), Reading(concept, "rejected", aggregate))
                out[concept.name, aggregate] = Apply("-", sides, Type.NUMBER)
    return out


def _measures(
    everyone: Population,
    request: TransferRequest,
    rows: tuple[Sequence[TargetRow], Sequence[TargetRow]],
    poolings: Mapping[tuple[str, str], Term],
    values: Mapping[Term, Floats],
    effects: RowEffects,
    halves: tuple[Half, Half],
) -> list[_Measure]:
    at = halves[1].at
    turn = np.where(effects.flipped, -1.0, 1.0)
    places = {(r.statement, r.statistic, r.stratum): r.inside for r in rows[1]}
    out = []
    for row in rows[0]:
        inside = places.get((row.statement, row.statistic, row.stratum))
        if inside is not None:
            name = row.concept + (f" in {row.stratum}" if row.stratum else "")
            out.append(_Measure(name, row.statistic, True, inside[at], row.value[at], row.target))
    whole = np.ones(len(at), bool)
    goal = {r.concept: r.target for r in rows[0]}
    seen = {(r.concept, "max" if r.statistic == "delta" else r.statistic) for r in rows[0] if not r.stratum}
    named = {(c, a): np.nan_to_num(values[t]) * turn for (c, a), t in poolings.items() if (c, a) not in seen}
    named |= {(c, "text"): v[everyone.input_pairs] * turn for c, v in request.patterns.items()}
    for (concept, measure), value in named.items():
        sd = float(value[at].std())
        if sd > 0:
            out.append(_Measure(concept, measure, False, whole, value[at] / sd, goal.get(concept, 0.0)))
    return out


@dataclass(frozen=True, slots=True)
class _Run:
    """One solve on the first half and its means on the second."""

    multiplier: Floats
    weight: Floats  # (n,)
    before: Floats  # (m,)
    after: Floats  # (m,)


def _run(
    halves: tuple[Half, Half],
    measures: Sequence[_Measure],
    upper: float,
    drawn: tuple[NDArray[np.int64], Floats] | None = None,
    start: Floats | None = None,
) -> _Run | None:
    """``drawn``: resampled columns of the first half and multiplicities of the second's pairs."""
    found = multipliers(halves[0], upper, None if drawn is None else drawn[0], start)
    if found is None:
        return None
    count = np.ones(len(halves[1].at)) if drawn is None else drawn[1]
    weight = weights(halves[1], found, upper)
    means = [[_mean(m.value, w * count, m.inside) for m in measures] for w in (halves[1].base, weight)]
    return _Run(found, weight, *np.array(means))


def _mean(value: Floats, weight: Floats, inside: Bools) -> float:
    total = float(weight[inside].sum())
    return float(value[inside] @ weight[inside]) / total if total > 0 else 0.0


def _draw(rng: np.random.Generator, halves: tuple[Half, Half]) -> tuple[NDArray[np.int64], Floats]:
    """Prompt groups of both halves drawn with replacement."""
    counts = [
        np.bincount(rng.integers(0, h.n_groups, h.n_groups), minlength=h.n_groups)[h.group] for h in halves
    ]
    return np.repeat(np.arange(len(counts[0])), counts[0]), counts[1].astype(np.float64)


def _report(
    everyone: Population,
    request: TransferRequest,
    halves: tuple[Half, Half],
    measures: Sequence[_Measure],
    effects: RowEffects,
    upper: float,
    concepts: Sequence[Any],
    progress: Progress,
) -> TransferReport:
    point = _run(halves, measures, upper)
    if point is None:
        raise CompileError("the targets cannot be met on half of the data", hint="raise `max`")
    rng = np.random.default_rng([request.seed, 1])
    paced = Paced(progress, "draw prompt groups anew", request.draws, "draws")
    drawn = []
    for _ in range(request.draws):
        found = _run(halves, measures, upper, _draw(rng, halves), point.multiplier)
        drawn += [found] if found is not None else []
        paced.advance()
    paced.finish()
    targets = tuple(
        _transferred(m, point.before[i], point.after[i], [(r.before[i], r.after[i]) for r in drawn], halves)
        for i, m in enumerate(measures)
    )
    moved = _moved(everyone, halves[1], point.weight, effects)
    # by id: several concepts may have one label
    shaped = {c.concept_id for c in concepts}
    kept = held_everywhere(request.verdicts) - shaped
    largest = max((abs(m.change) for i, m in moved if i in shaped), default=0.0)
    limit = request.settings.keep_limit * largest
    others = [m for i, m in moved if i not in shaped | kept]
    return TransferReport(
        n_solved=len(halves[0].at),
        n_measured=len(halves[1].at),
        n_groups=(halves[0].n_groups, halves[1].n_groups),
        targets=targets,
        held=tuple(replace(m, limit=limit) for i, m in moved if i in kept),
        others=tuple(sorted(others, key=lambda m: -abs(m.change))),
        effective_share=effective_share(point.weight),
        largest_weight=float(point.weight.max() / point.weight.mean()),
        n_draws=request.draws,
        n_failed=request.draws - len(drawn),
    )


def _transferred(
    measure: _Measure,
    before: float,
    after: float,
    drawn: list[tuple[float, float]],
    halves: tuple[Half, Half],
) -> Transferred:
    start = before - measure.target
    left = low = high = needed = None
    # a share of nothing says nothing: an effect within its own noise has no interval
    clear = drawn and abs(start) > 2 * float(np.std([b for b, _ in drawn]))
    if start:
        left = (after - measure.target) / start
    if clear and left is not None:
        shares = [(a - measure.target) / (b - measure.target) for b, a in drawn if b != measure.target]
        tail = (1 - _LEVEL) / 2
        low, high = (float(q) for q in np.quantile(shares, [tail, 1 - tail]))
        n = len(halves[0].at) + len(halves[1].at)
        needed = int(np.ceil(n * ((high - low) / 2 / LEFT) ** 2))
    active = int(np.count_nonzero(measure.value[measure.inside]))
    return Transferred(
        measure.concept, measure.name, measure.is_matched, active, before, after, left, low, high, needed
    )


def _moved(everyone: Population, half: Half, weight: Floats, effects: RowEffects) -> list[tuple[str, Moved]]:
    """Mean u of every concept of the index without and with the weights, errors summed by prompt group."""
    share = weight / weight.sum() - half.base / half.base.sum()
    turn = np.where(effects.flipped, -1.0, 1.0)[half.at]
    u = everyone.concepts.u[:, everyone.input_pairs[half.at]]
    before = u @ (turn * half.base / half.base.sum())
    after = u @ (turn * weight / weight.sum())
    # influence of a group on the difference of two ratio means, multipliers taken as known
    out = []
    for row, label in enumerate(everyone.concepts.labels):
        values = np.asarray(u.getrow(row).todense()).ravel() * turn
        part = (values - after[row]) * weight / weight.sum() - (values - before[row]) * (
            half.base / half.base.sum()
        )
        error = float(np.sqrt(np.square(np.bincount(half.group, part, half.n_groups)).sum()))
        reach = 1.645 * error
        change = float(values @ share)
        moved = Moved(label, float(before[row]), float(after[row]), change - reach, change + reach)
        out.append((everyone.concepts.ids[row], moved))
    return out
