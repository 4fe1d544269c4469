"""What a person should know about a plan before it is written."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.compiler.evaluation import Evaluation, sources_of, with_definitions
from engine.compiler.records import Plan
from engine.compiler.row_effects import RowEffects
from engine.compiler.shapes import side_terms
from engine.rules.checked import CheckedShape
from engine.rules.diagnostics import Diagnostic, Place, Severity
from engine.rules.terms import Apply, Constant, Meta, Statistic, Term, walk
from engine.wording import counted

FEW_PAIRS = 30
"""A target that fewer input pairs carry inside the selection gets a warning."""
MOVES = 0.005
"""Change of a mean disparity that counts as moving against a statement's verb."""
LOW_SHARE = 0.5
"""Effective share of the kept pairs below which a warning is due."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Pairs whose weight or offset reached the limits of the settings."""

    n_weights: int
    n_offsets: int
    n_matched: int = 0
    """Weights that rules set above the bound of matching."""
    n_below: int = 0
    """Weights that matching set below a cap's lower bound."""


def plan_warnings(
    plan: Plan, evaluation: Evaluation, effects: RowEffects, caps: Caps
) -> tuple[Diagnostic, ...]:
    """All findings, in the order of the file where they have a place."""
    found = [*plan.checked.warnings, *_rules(plan, evaluation, effects), *_limits(plan, caps)]
    for shape in plan.checked.shapes:
        found += _target(shape, evaluation, effects)
        found += _backwards(shape, plan)
    found += _held(plan)
    return tuple(sorted(found, key=lambda d: (d.place, d.code)))


def _warn(
    code: str,
    message: str,
    place: Place,
    help_line: str | None = None,
    *,
    n_pairs: int | None = None,
    rules: tuple[str, ...] = (),
) -> Diagnostic:
    severity = Severity.ERROR if code.startswith("R6") else Severity.WARNING
    return Diagnostic(code, message, place, help_line, severity, n_pairs, rules)


def _rules(plan: Plan, evaluation: Evaluation, effects: RowEffects) -> Iterator[Diagnostic]:
    yield from _values(plan, effects)
    yield from _protected(plan, effects)
    yield from _turned(plan, effects)
    yield from _conflicts(plan)
    yield from _statistics(plan, evaluation)
    yield from _missing(plan, evaluation)


def _values(plan: Plan, effects: RowEffects) -> Iterator[Diagnostic]:
    """Rules that match nothing, and values that are missing or negative."""
    for rule in plan.checked.rules:
        if not effects.matched[rule.name].any():
            message = f"`{rule.name}` matches no pair"
            yield _warn("R506", message, rule.place, rule.if_nothing, rules=(rule.name,))
        for kind, count in (("missing", effects.n_without_value), ("negative", effects.n_negative)):
            n = count.get(rule.name, 0)
            if n:
                meaning = "has no effect there" if kind == "missing" else "counts as 0 there"
                message = f"the value of `{rule.name}` is {kind} on {counted(n, 'pair')} and {meaning}"
                code = "R504" if kind == "missing" else "R511"
                yield _warn(code, message, rule.place, n_pairs=n, rules=(rule.name,))


def _protected(plan: Plan, effects: RowEffects) -> Iterator[Diagnostic]:
    """Pairs that something would drop and that stay, and those that `protect` cannot keep."""
    for drop, dropped in (*effects.dropped_by.items(), *plan.spared.items()):
        for rule in plan.checked.rules:
            n = int((dropped & effects.matched[rule.name]).sum())
            if rule.action("protect") and n:
                held = counted(n, "pair is", "pairs are")
                message = f"{held} kept by `{rule.name}` that `{drop}` would drop"
                yield _warn("R501", message, rule.place, n_pairs=n, rules=(drop, rule.name))
    weightless = effects.protected & (effects.weight <= 0) & ~effects.dropped
    if weightless.any():
        names = tuple(r.name for r in plan.checked.rules if r.action("protect"))
        n = int(weightless.sum())
        zero = counted(n, "protected pair gets", "protected pairs get")
        message = f"{zero} the weight 0 and will be dropped: `protect` shields from `drop`"
        place = next(r.place for r in plan.checked.rules if r.action("protect"))
        yield _warn("R501", message, place, "leave them out of the rule that sets it", n_pairs=n, rules=names)


def _turned(plan: Plan, effects: RowEffects) -> Iterator[Diagnostic]:
    """Flipped pairs whose raw offset was written for the sides as labelled."""
    rules = [r for r in plan.checked.rules if r.action("offset +=")]
    turned = np.zeros(len(effects.flipped), bool)
    for rule in rules:
        turned |= effects.matched[rule.name] & effects.flipped
    n = int(turned.sum())
    if n:
        got = counted(n, "flipped pair gets", "flipped pairs get")
        message = f"{got} a raw offset; its expression sees the sides as labelled"
        yield _warn("R507", message, rules[0].place, n_pairs=n, rules=tuple(r.name for r in rules))


def _conflicts(plan: Plan) -> Iterator[Diagnostic]:
    """Pairs that statements of one rank give different weights."""
    if plan.conflicts:
        rules = tuple(r.name for r in plan.checked.rules if r.action("weight ="))
        got = counted(plan.conflicts, "pair gets", "pairs get")
        message = f"{got} different weights from {', '.join(rules)}"
        place = next(r.place for r in plan.checked.rules if r.action("weight ="))
        yield _warn(
            "R601", message, place, "give one of them `priority 1`", n_pairs=plan.conflicts, rules=rules
        )


def _statistics(plan: Plan, evaluation: Evaluation) -> Iterator[Diagnostic]:
    terms: list[tuple[Term, Place]] = [(r.condition, r.place) for r in plan.checked.rules]
    terms += [(s.condition, s.place) for s in plan.checked.shapes]
    for term, place in terms:
        for part in walk(term):
            if not isinstance(part, Statistic) or part.kind != "p" or part.only_active:
                continue
            if evaluation.statistics[part.key].value == 0:
                message = f"p{part.level:g} is 0: the concept is silent on most pairs"
                yield _warn("R503", message, place, f"write `p{part.level:g}(…, active)`")


def _missing(plan: Plan, evaluation: Evaluation) -> Iterator[Diagnostic]:
    """Conditions, keys and orders that read a column which some pairs do not have."""
    places = [(r.name, r.condition, r.place) for r in plan.checked.rules]
    places += [(s.name, s.condition, s.place) for s in plan.checked.shapes]
    for name, condition, place in places:
        for source in sources_of(with_definitions([condition], plan.checked.definitions)):
            absent = evaluation.missing.get(source)
            if absent is None:
                continue
            written = _written(source)
            n, hit = int(absent.sum()), int((absent & evaluation.truths[condition]).sum())
            message = (
                f"`{written}` is missing on {counted(n, 'pair')}; `{name}` matches {hit or 'none'} of them"
            )
            help_line = (
                "where nothing is known `!=` and `not` are true; `==` and `<` are not" if hit else None
            )
            if written == "near_copy":
                help_line = "set near_duplicates = true below [ingest] in prosect.toml, and audit again"
            yield _warn("R504", message, place, help_line, n_pairs=n, rules=(name,))
    sets = plan.checked.sets
    terms = [(s, s.key, "takes them as one value") for s in sets if s.key is not None]
    terms += [(s, s.order, "puts them last") for s in sets if s.order is not None]
    for statement, term, treated in terms:
        for source in sources_of(with_definitions([term], plan.checked.definitions)):
            if (absent := evaluation.missing.get(source)) is not None:
                n, name = int(absent.sum()), statement.name
                message = f"`{_written(source)}` is missing on {counted(n, 'pair')}; `{name}` {treated}"
                yield _warn("R504", message, statement.place, n_pairs=n, rules=(name,))


def _written(source: Term) -> str:
    """A column, a metadata key or the number of one, as rule files write it."""
    if isinstance(source, Apply):
        return f"{source.operator}({_written(source.arguments[0])})"
    return ".".join(("meta", *source.path)) if isinstance(source, Meta) else getattr(source, "name", "…")


def _limits(plan: Plan, caps: Caps) -> Iterator[Diagnostic]:
    nowhere = Place(0, 0)
    if caps.n_weights:
        message = f"{caps.n_weights} weights were cut to max_weight"
        yield _warn("R511", message, nowhere, "raise max_weight in [rules]", n_pairs=caps.n_weights)
    if caps.n_matched:
        message = f"{caps.n_matched} weights that rules set were cut by matching, others made up for it"
        yield _warn("R511", message, nowhere, "raise `max` of the statement", n_pairs=caps.n_matched)
    if caps.n_below:
        message = (
            f"matching set {caps.n_below} weights below the lower bound of `cap weight`, which comes before"
        )
        yield _warn(
            "R511", message, nowhere, "lower the cap's bound, or soften the targets", n_pairs=caps.n_below
        )
    if caps.n_offsets:
        message = f"{caps.n_offsets} offsets were cut to max_offset"
        yield _warn("R511", message, nowhere, "raise max_offset in [rules]", n_pairs=caps.n_offsets)
    if plan.counts["kept"] == 0:
        yield _warn("R605", "no pair is left", nowhere)
    elif plan.effective_share < LOW_SHARE:
        message = f"uneven weights leave {plan.effective_share:.0%} effective pairs"
        yield _warn("R512", message, nowhere, _evener(plan))
    for concept, share in plan.effective_active.items():
        if 0 < share < LOW_SHARE <= plan.effective_share:
            message = f"uneven weights leave {share:.0%} effective pairs among those that carry `{concept}`"
            yield _warn("R512", message, nowhere, _evener(plan))


def _evener(plan: Plan) -> str:
    return "lower `max`, or soften the targets" if plan.matched else "cap weight, or weigh fewer pairs"


def _target(shape: CheckedShape, evaluation: Evaluation, effects: RowEffects) -> Iterator[Diagnostic]:
    """Of the pairs that row rules leave: how many a statement can act on, and what is undone outside."""
    left = ~effects.dropped & (effects.weight > 0)
    inside = evaluation.truths[shape.condition] & left
    if shape.concept is None:
        if not inside.any():
            yield _warn("R506", f"`{shape.name}` matches no pair", shape.place, rules=(shape.name,))
        return
    chosen, rejected = (evaluation.values[t] for t in side_terms(shape.concept))
    delta = np.where(effects.flipped, rejected - chosen, chosen - rejected)
    n = int((inside & (delta != 0)).sum())
    name = shape.concept.name
    if n < FEW_PAIRS:
        differ = counted(n, "pair of the selection differs", "pairs of the selection differ")
        message = f"only {differ} in `@{name}`"
        yield _warn("R508", message, shape.place, "widen the selection", n_pairs=n, rules=(shape.name,))
    outside = ~evaluation.truths[shape.condition] & left & (delta != 0)
    if isinstance(shape.condition, Constant) or not outside.any():
        return
    ahead = float(np.sign(delta[inside]).sum())
    alike = outside & (np.sign(delta) == np.sign(ahead))
    m, of = int(alike.sum()), int(outside.sum())
    if 2 * m > of:
        message = (
            f"`@{name}` leans the same way in {m} of the {of} pairs outside the selection that differ in it,"
            " where it can be undone"
        )
        yield _warn("R509", message, shape.place, "drop the `where`", n_pairs=m, rules=(shape.name,))


def _backwards(shape: CheckedShape, plan: Plan) -> Iterator[Diagnostic]:
    """A concept that the plan moves against its statement's verb."""
    if shape.concept is None or shape.concept.concept_id is None:
        return
    for found in plan.collateral:
        if found.concept_id != shape.concept.concept_id or shape.sign * found.change < MOVES:
            continue
        name, lean = f"`@{shape.concept.name}`", shape.sign * found.mean_before
        message = f"`{shape.name}` is to {shape.verb} {name}, and the plan moves it by {found.change:+.3f}"
        if lean < 0 and shape.method == "matching":
            side = "rejected" if shape.sign > 0 else "chosen"
            message += f": it is carried by {side} responses already, and matching takes that away"
        help_line = f"`{shape.verb} … by offset 0.5` moves it the other way, or leave the statement out"
        yield _warn("R516", message, shape.place, help_line, rules=(shape.name,))


def _held(plan: Plan) -> Iterator[Diagnostic]:
    beyond = [(f"`{c.label}`", c.change, c.limit) for c in plan.collateral if c.is_beyond]
    beyond += [
        (f"`{h.label}` in the context `{h.context}`", h.change, h.limit)
        for h in plan.held_inside
        if h.is_beyond
    ]
    for name, change, limit in beyond:
        if limit is not None:
            message = f"{name} is held and moves by {change:+.4f}, beyond ±{limit:.4f}"
            yield _warn("R510", message, Place(0, 0), "shape by matching, which holds it")
