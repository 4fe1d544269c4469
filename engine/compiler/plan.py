"""A rule file against an index: one fate per pair, and what that does to everything else.

Stages: 1 names and statistics, 2 row rules, 3 set statements, 4 shaping, 5 what the trainer does (recorded
only), 6 expectations. Nothing is written; ``engine.compiler.emit`` writes a plan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.compiler.catalogue import files_of, index_hash, load_catalogue
from engine.compiler.control import randomised
from engine.compiler.counting import count_rules, overlaps_of
from engine.compiler.disparity import disparities
from engine.compiler.evaluation import Evaluation, Request, evaluate, request_of
from engine.compiler.expectations import check_expectations
from engine.compiler.findings import Caps, plan_warnings
from engine.compiler.forecast import collateral, drift, effective_share, lengths
from engine.compiler.held import held_everywhere, held_inside, held_rows
from engine.compiler.lock import make_lock, reads_files
from engine.compiler.match_targets import Controls, Solved, UnmetTarget, solve
from engine.compiler.population import BASE_FATES, Floats, Population, memo, population
from engine.compiler.records import Fates, Matched, Plan, PlanFileError, VerdictNote
from engine.compiler.residual import length_controls
from engine.compiler.row_effects import RowEffects, rounded, row_effects
from engine.compiler.sets import apply_sets
from engine.compiler.shapes import offsets, ranked_drops, side_terms
from engine.errors import CompileError
from engine.manifest import hash_json
from engine.records import FateKind
from engine.rules.catalogue import Catalogue
from engine.rules.check_file import check
from engine.rules.checked import CheckedFile
from engine.rules.diagnostics import Diagnostic
from engine.settings import RulesSettings
from engine.store.connection import Store

if TYPE_CHECKING:
    from engine.rules.terms import Term

Bools = NDArray[np.bool_]


def catalogue_of(store: Store, names: Mapping[str, str] | None = None) -> Catalogue:
    """The catalogue of an open index, kept between calls."""
    key = "catalogue:" + hash_json(dict(names or {}))
    kept = memo(store).values
    if key not in kept:
        kept[key] = load_catalogue(store, names)
    found: Catalogue = kept[key]
    return found


def make_plan(
    store: Store,
    text: str,
    *,
    file_name: str = "rules",
    verdicts: Sequence[VerdictNote] = (),
    settings: RulesSettings | None = None,
    names: Mapping[str, str] | None = None,
    lock: Mapping[str, Any] | None = None,
    control: bool = False,
    control_seed: int = 0,
) -> Plan:
    """Resolve a rule file against an index.

    Args:
        store: the open index.
        text: the rule file.
        file_name: for messages.
        verdicts: keep holds a concept: matching leaves its mean alone and the forecast watches it.
        settings: limits; default settings otherwise.
        names: concept id to the name that a person gave it.
        lock: an earlier lock whose label patterns stay as they were resolved.
        control: return a random plan of equal size instead: the same weights, offsets, flips and drops on
            other pairs.
        control_seed: draws the pairs of a control plan.

    Raises:
        RuleFileError: the file has errors.
        CompileError: targets that cannot be met, or a concept that cannot be shaped.
    """
    limits = settings or RulesSettings()
    frozen = {k: tuple(v) for k, v in (lock or {}).get("label_patterns", {}).items()}
    checked = check(text, catalogue_of(store, names), file_name=file_name, frozen_labels=frozen)
    everyone = population(store).called(names or {})
    evaluation = evaluated(store, checked)
    effects = row_effects(checked.rules, evaluation, everyone.base_weight[everyone.input_pairs])
    try:
        draft = draft_of(store, checked, everyone, evaluation, effects, verdicts, limits)
    except UnmetTarget as error:
        raise PlanFileError(_at_statement(checked, error), text, file_name) from error
    dealt = draft
    if control:
        draft = randomised(
            draft,
            everyone.pair_ids[everyone.input_pairs],
            everyone.base_weight[everyone.input_pairs],
            control_seed,
        )
    return _finish(
        store,
        checked,
        everyone,
        evaluation,
        effects,
        (dealt, draft),
        verdicts,
        limits,
        control_seed if control else None,
    )


def _at_statement(checked: CheckedFile, error: UnmetTarget) -> tuple[Diagnostic, ...]:
    place = next(s.place for s in checked.shapes if s.name == error.statement)
    return (Diagnostic("R602", error.message, place, error.hint),)


def evaluated(store: Store, checked: CheckedFile) -> Evaluation:
    """What all statements of a file need to know of the input pairs."""
    return evaluate(store, checked.definitions, with_shapes(request_of(checked), checked))


def with_shapes(request: Request, checked: CheckedFile) -> Request:
    """A request with the scores that shape statements need."""
    sides: list[Term] = []
    for shape in checked.shapes:
        if shape.concept is not None:
            poolings = {"max", *shape.statistics} - {"delta", "u"}
            sides += [t for a in sorted(poolings) for t in side_terms(shape.concept, a)]
    return replace(request, values=tuple(dict.fromkeys([*request.values, *sides])))


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan over the N input pairs, before normalisation."""

    alive: Bools
    weight: Floats
    offset: Floats
    flipped: Bools
    touched: Mapping[str, Bools]
    dropped_by: Mapping[str, Bools]
    """Statement (or ``weight``) to the pairs it removed."""
    tags: Mapping[str, Bools]
    matched: tuple[Matched, ...]
    caps: Caps
    spared: Mapping[str, Bools]
    """Statement to the protected pairs that it would have dropped."""


def draft_of(
    store: Store,
    checked: CheckedFile,
    everyone: Population,
    evaluation: Evaluation,
    effects: RowEffects,
    verdicts: Sequence[VerdictNote],
    limits: RulesSettings,
) -> Draft:
    """Stages 3 and 4, on what the row rules left.

    Raises:
        CompileError: targets that cannot be met, or a concept that cannot be shaped.
    """
    removed = {n: hit & ~effects.protected for n, hit in effects.dropped_by.items()}
    zero = (effects.weight == 0) & ~effects.dropped
    removed["weight"] = zero
    alive, weight, by_sets = apply_sets(checked.sets, evaluation, ~effects.dropped & ~zero, effects.weight)
    kinds = {s.name: s.kind for s in checked.sets}
    removed |= {n: hit for n, hit in by_sets.items() if kinds[n] != "cap"}
    drops = ranked_drops(checked.shapes, evaluation, effects.flipped, alive, effects.protected)
    unshielded = ranked_drops(checked.shapes, evaluation, effects.flipped, alive, effects.protected & False)
    spared = {name: hit & effects.protected for name, hit in unshielded.items()}
    removed |= drops
    for hit in drops.values():
        alive &= ~hit
    by_offset = offsets(checked.shapes, evaluation, effects.flipped, alive)
    solved = _match(store, checked, everyone, evaluation, effects, verdicts, (alive, weight), limits)
    weight = solved.weight
    gone = alive & (weight <= 0)
    removed["weight"] = removed["weight"] | gone
    alive &= ~gone
    offset = effects.offset + by_offset.offset
    touched = {**effects.touched, **by_sets, **drops, **by_offset.touched, **solved.touched}
    touched |= {t.name: evaluation.truths[t.condition] & alive for t in checked.training}
    return Draft(
        alive=alive,
        weight=np.where(alive, np.minimum(weight, limits.max_weight), 0.0),
        offset=np.where(alive, rounded(np.clip(offset, -limits.max_offset, limits.max_offset)), 0.0),
        flipped=effects.flipped & alive,
        touched=touched,
        dropped_by=removed,
        tags=_tags(checked, effects),
        matched=solved.reached,
        caps=Caps(
            int((alive & (weight > limits.max_weight)).sum()),
            int((alive & (np.abs(offset) > limits.max_offset)).sum()),
            solved.n_cut,
            _below_caps(checked, alive, weight) if solved.touched else 0,
        ),
        spared=spared,
    )


def _match(
    store: Store,
    checked: CheckedFile,
    everyone: Population,
    evaluation: Evaluation,
    effects: RowEffects,
    verdicts: Sequence[VerdictNote],
    so_far: tuple[Bools, Floats],
    limits: RulesSettings,
) -> Solved:
    """Weights after all matching statements; ``so_far`` holds who is alive and their weights."""
    alive, weight = so_far
    concepts = [s.concept for s in checked.shapes if s.concept is not None and s.method == "matching"]
    if not concepts:
        return Solved(weight, {}, (), 0)
    threshold = catalogue_of(store).fire_rate_threshold
    return solve(
        checked.shapes,
        evaluation,
        disparity=disparities(store, everyone, concepts, threshold),
        controls=controls_of(store, everyone),
        flipped=effects.flipped,
        alive=alive,
        weight=weight,
        held=held_rows(everyone, verdicts, checked, effects.flipped, np.where(alive, weight, 0.0)),
        bound=largest_weight(checked, limits),
    )


def largest_weight(checked: CheckedFile, limits: RulesSettings) -> tuple[float, str]:
    """What no weight may exceed, and what would have to be raised: the settings' bound or that of a cap."""
    caps = [(s.high, f"the cap `{s.name}`") for s in checked.sets if s.kind == "cap"]
    return min([(limits.max_weight, "max_weight in [rules]"), *caps])


def _below_caps(checked: CheckedFile, alive: Bools, weight: Floats) -> int:
    low = max((s.low for s in checked.sets if s.kind == "cap"), default=0.0)
    return int((alive & (weight < low - 1e-6)).sum())


def _tags(checked: CheckedFile, effects: RowEffects) -> dict[str, Bools]:
    tags: dict[str, Bools] = {}
    for rule in checked.rules:
        for action in rule.actions:
            if action.verb == "tag" and action.text is not None:
                hit = effects.matched[rule.name]
                tags[action.text] = tags[action.text] | hit if action.text in tags else hit
    return tags


def controls_of(store: Store, everyone: Population) -> Controls:
    """Length and the index's concepts over the input pairs, kept between plans."""
    kept = memo(store).values
    if "controls" not in kept:
        at = everyone.input_pairs
        groups = store.rows("SELECT concept, redundancy_id FROM concepts WHERE redundancy_id IS NOT NULL")
        kept["controls"] = Controls(
            length_controls(everyone.chosen_tokens[at], everyone.rejected_tokens[at]),
            everyone.concepts.u[:, at].tocsr(),
            everyone.concepts.numbers,
            dict(groups),
        )
    found: Controls = kept["controls"]
    return found


def _finish(
    store: Store,
    checked: CheckedFile,
    everyone: Population,
    evaluation: Evaluation,
    effects: RowEffects,
    drafts: tuple[Draft, Draft],
    verdicts: Sequence[VerdictNote],
    limits: RulesSettings,
    control_seed: int | None,
) -> Plan:
    """The plan of the second draft; what statements do is told of the first, which a control deals out."""
    made, draft = drafts
    fates = fates_of(everyone, draft)
    own = fates if made is draft else fates_of(everyone, made)
    counts = _counts(everyone, fates)
    targets = {s.concept.number for s in checked.shapes if s.concept and s.concept.number is not None}
    held = held_everywhere(verdicts)
    moved = collateral(everyone, fates, targets=targets, held=held, keep_limit=limits.keep_limit)
    kept_weight = fates.weight[fates.weight > 0]
    active = {
        c.label: effective_share(fates.weight[_active(everyone, c.concept)]) for c in moved if c.is_target
    }
    files = files_of(store) if reads_files(checked) else None
    lock = make_lock(
        checked, evaluation, index_hash(store), verdicts, limits, control_seed=control_seed, files=files
    )
    plan = Plan(
        checked=checked,
        fates=fates,
        index_hash=index_hash(store),
        counts=counts,
        rules=count_rules(checked, everyone, evaluation, effects, own, made.spared),
        overlaps=overlaps_of(fates),
        drift=drift(everyone, fates),
        lengths=lengths(everyone, fates),
        collateral=moved,
        held_inside=held_inside(everyone, fates, verdicts, moved, limits.keep_limit),
        matched=draft.matched,
        spared=made.spared,
        effective_pairs=effective_share(kept_weight) * len(kept_weight),
        effective_share=effective_share(kept_weight),
        effective_active=active,
        largest_weight=float(kept_weight.max(initial=0.0)),
        conflicts=int(effects.conflict.sum()),
        warnings=(),
        expectations=(),
        lock=lock,
        is_control=control_seed is not None,
    )
    plan = replace(plan, warnings=plan_warnings(plan, evaluation, effects, draft.caps))
    return replace(plan, expectations=check_expectations(plan, everyone))


def _active(everyone: Population, number: int) -> NDArray[np.int64]:
    u = everyone.concepts.u
    row = everyone.concepts.row(number)
    return np.asarray(u.indices[u.indptr[row] : u.indptr[row + 1]], np.int64)


def fates_of(everyone: Population, draft: Draft) -> Fates:
    """Per-pair outcome over all pairs; weights are scaled to mean 1 over the kept ones."""
    at = everyone.input_pairs
    n = everyone.n_pairs

    def spread(values: Any, kind: Any) -> Any:
        full = np.zeros(n, kind)
        full[at] = values
        return full

    fate = everyone.base_fate.copy()
    fate[at] = np.where(draft.alive, BASE_FATES.index(FateKind.KEPT), BASE_FATES.index(FateKind.DROPPED))
    total = float(draft.weight[draft.alive].sum())
    scale = int(draft.alive.sum()) / total if total > 0 else 0.0
    return Fates(
        fate=fate,
        raw_weight=spread(draft.weight, np.float64),
        weight=spread(draft.weight * scale, np.float64),
        offset=spread(draft.offset, np.float64),
        flipped=spread(draft.flipped, bool),
        touched={n_: spread(hit, bool) for n_, hit in draft.touched.items()},
        tags={n_: spread(hit, bool) for n_, hit in draft.tags.items()},
        reason={n_: spread(hit & ~draft.alive, bool) for n_, hit in draft.dropped_by.items() if hit.any()},
    )


def _counts(everyone: Population, fates: Fates) -> dict[str, int]:
    counts = {kind.value: int((fates.fate == code).sum()) for code, kind in enumerate(BASE_FATES)}
    counts |= {
        "total": everyone.n_pairs,
        "input": len(everyone.input_pairs),
        "flipped": int(fates.flipped.sum()),
        "offset": int((fates.offset != 0).sum()),
    }
    if (
        counts["kept"] + counts["dropped"] != counts["input"]
        or sum(counts[k.value] for k in BASE_FATES) != counts["total"]
    ):
        raise CompileError("the fates of a plan do not add up", hint="this is a defect: please report it")
    return counts
