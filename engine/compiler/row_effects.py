"""Stage 2 over all input pairs at once: the algebra of engine/rules/effects.py on arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.compiler.evaluation import Evaluation
from engine.compiler.population import Floats
from engine.rules.checked import CheckedRule

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RowEffects:
    """Effects of the row rules on N input pairs."""

    dropped: Bools
    protected: Bools
    weight: Floats
    offset: Floats
    flipped: Bools
    conflict: Bools
    """Two ``weight =`` of one priority disagree here."""
    touched: dict[str, Bools]
    """Rule name to the pairs it touches."""
    matched: dict[str, Bools]
    """Rule name to the pairs for which its condition holds."""
    dropped_by: dict[str, Bools]
    """Rule name to the pairs that it would drop, protected ones too."""
    changed: dict[str, Bools]
    """Rule name to the pairs whose weight or offset is another for it, of rules that set one."""
    n_without_value: dict[str, int]
    """Rule name to matched pairs whose weight or offset is missing."""
    n_negative: dict[str, int]
    """Rule name to matched pairs whose weight was negative and counts as 0."""


def rounded(values: Floats) -> Floats:
    """Rounded to 1e-6, half away from zero, as the interpreter does."""
    scaled = np.abs(values * 1e6)
    whole = np.floor(scaled)
    return np.copysign(np.where(scaled - whole >= 0.5, whole + 1, whole), values) / 1e6


def row_effects(
    rules: Sequence[CheckedRule], evaluation: Evaluation, base: Floats | None = None
) -> RowEffects:
    """Combine all row rules.

    Args:
        rules: in order of name.
        evaluation: what they need to know of each input pair.
        base: (N,) weights of the mix that ``weight *=`` multiplies and ``weight =`` replaces; None: all 1.
    """
    n = len(evaluation.pair)
    matched = {r.name: evaluation.truths[r.condition] for r in rules}
    none = np.zeros(n, bool)
    protected, flipped = none.copy(), none.copy()
    dropped_by: dict[str, Bools] = {}
    touched: dict[str, Bools] = {}
    for rule in rules:
        hit = matched[rule.name]
        touched[rule.name] = hit
        if rule.action("protect"):
            protected |= hit
        if rule.action("flip"):
            flipped |= hit
        if rule.action("drop"):
            dropped_by[rule.name] = hit
        elif rule.action("keep only"):
            dropped_by[rule.name] = ~hit
            others = any(a.verb != "keep only" for a in rule.actions)
            touched[rule.name] = (hit | ~hit) if others else ~hit
    numbers = _Numbers(evaluation, matched)
    weight, conflict = _exclusive(rules, numbers, np.ones(n) if base is None else base.copy())
    offset = np.zeros(n)
    for rule in rules:
        value = numbers.of(rule, "weight *=")
        if value is not None:
            factor = np.where(np.isnan(value), 1.0, np.maximum(value, 0.0))
            numbers.note(rule, factor != 1)
            weight *= factor
    for rule in rules:
        value = numbers.of(rule, "offset +=")
        if value is not None:
            added = np.nan_to_num(value)
            numbers.note(rule, rounded(added) != 0)
            offset += added
    dropped = np.logical_or.reduce([none, *dropped_by.values()]) & ~protected
    return RowEffects(
        dropped, protected, rounded(weight), rounded(offset), flipped, conflict, touched, matched, dropped_by,
        numbers.changed, numbers.missing, numbers.negative,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The weights and offsets that rules give, and what is to be said of them by name of rule."""

    evaluation: Evaluation
    matched: dict[str, Bools]
    missing: dict[str, int] = field(default_factory=dict)
    negative: dict[str, int] = field(default_factory=dict)
    changed: dict[str, Bools] = field(default_factory=dict)

    def of(self, rule: CheckedRule, verb: str) -> Floats | None:
        """The action's number where the rule matches and it has one, else NaN; None: no such action."""
        action = rule.action(verb)
        if action is None or action.value is None:
            return None
        value, hit = self.evaluation.values[action.value], self.matched[rule.name]
        _count(self.missing, rule, hit & np.isnan(value))
        given = np.where(hit, value, np.nan)
        if verb != "offset +=":
            _count(self.negative, rule, given < 0)
        return given

    def note(self, rule: CheckedRule, changed: Bools) -> None:
        """Add pairs whose weight or offset the rule changes."""
        self.changed[rule.name] = self.changed.get(rule.name, False) | changed


def _count(counts: dict[str, int], rule: CheckedRule, where: Bools) -> None:
    if n := int(where.sum()):
        counts[rule.name] = counts.get(rule.name, 0) + n


def _exclusive(rules: Sequence[CheckedRule], numbers: _Numbers, weight: Floats) -> tuple[Floats, Bools]:
    """``weight =``: the highest priority wins; equals must agree; elsewhere the weight of the mix stands."""
    conflict = np.zeros(len(weight), bool)
    best = np.full(len(weight), -1, np.int64)
    given: list[tuple[CheckedRule, Bools]] = []
    for rule in rules:
        value = numbers.of(rule, "weight =")
        if value is None:
            continue
        value = np.maximum(value, 0.0)
        has = ~np.isnan(value)
        given.append((rule, has))
        wins = has & (rule.priority > best)
        equal = has & (rule.priority == best)
        conflict |= equal & (rounded(np.nan_to_num(value)) != rounded(weight))
        conflict &= ~wins
        weight = np.where(wins, value, weight)
        best = np.where(wins, rule.priority, best)
    for rule, has in given:
        numbers.note(rule, has & (rule.priority == best))
    return weight, conflict
