"""How the effects of row rules combine on one pair: the specification of stage 2.

Every rule sees the input pair. The order of rules cannot matter: ``protect`` beats ``drop``, ``keep only``
drops the rest, ``flip`` is idempotent, a weight starts as that of the pair in the mix, ``weight *=``
multiplies it in the order of rule names, ``weight =`` replaces it and is exclusive unless a priority decides,
``offset +=`` adds, tags unite. Weights and offsets are rounded to 1e-6.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.rules.checked import CheckedRule
from engine.rules.evaluate import Interpreter, PairFacts, rounded


@dataclass(frozen=True, slots=True)
class RowEffect:
    """What the row rules of a file do to one pair."""

    is_dropped: bool
    dropped_by: tuple[str, ...]
    protected_by: tuple[str, ...]
    weight: float
    offset: float
    is_flipped: bool
    tags: tuple[str, ...]
    rules: tuple[str, ...]
    """Names of the rules that matched."""
    has_conflict: bool
    """Two ``weight =`` of the same priority disagree."""


def combine(
    rules: Sequence[CheckedRule], interpreter: Interpreter, facts: PairFacts, base: float = 1.0
) -> RowEffect:
    """Effects of all row rules on one pair; ``base`` is its weight in the mix.

    A weight or offset that is missing has no effect; a negative weight counts as 0; weight 0 drops the pair.
    """
    names = interpreter.names(facts)
    ordered = sorted(rules, key=lambda r: r.name)
    matched = [r for r in ordered if interpreter.truth(r.condition, facts, names)]
    protected = tuple(r.name for r in matched if r.action("protect"))
    dropped = [r.name for r in matched if r.action("drop")]
    dropped += [r.name for r in ordered if r.action("keep only") and r not in matched]
    weight = base
    best: int | None = None
    conflict = False
    for rule in matched:
        action = rule.action("weight =")
        value = (
            None if action is None or action.value is None else interpreter.number(action.value, facts, names)
        )
        if value is None or (best is not None and rule.priority < best):
            continue
        value = max(value, 0.0)
        if best is None or rule.priority > best:
            best, weight, conflict = rule.priority, value, False
        elif rounded(value) != rounded(weight):
            conflict = True
    for rule in matched:
        action = rule.action("weight *=")
        if action is not None and action.value is not None:
            factor = interpreter.number(action.value, facts, names)
            weight *= 1.0 if factor is None else max(factor, 0.0)
    offset = 0.0
    for rule in matched:
        action = rule.action("offset +=")
        if action is not None and action.value is not None:
            offset += interpreter.number(action.value, facts, names) or 0.0
    tags = sorted({a.text or "" for r in matched for a in r.actions if a.verb == "tag"})
    weight = rounded(weight)
    is_dropped = not protected and bool(dropped)
    touching = {r.name for r in matched if not _only_keeps(r)} | set(dropped)
    return RowEffect(
        is_dropped=is_dropped or weight == 0,
        dropped_by=tuple(sorted(dropped)),
        protected_by=protected,
        weight=weight,
        offset=rounded(offset),
        is_flipped=any(r.action("flip") for r in matched),
        tags=tuple(tags),
        rules=tuple(sorted(touching)),
        has_conflict=conflict,
    )


def _only_keeps(rule: CheckedRule) -> bool:
    """A ``keep only`` touches the pairs it does not match; those it matches stay as they were."""
    return all(a.verb == "keep only" for a in rule.actions)
