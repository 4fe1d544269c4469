"""Stage 2 over all input pairs at once: the algebra of engine/rules/effects.py on arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    missing: dict[str, int] = {}
    negative: dict[str, int] = {}
    weight, conflict = _exclusive(rules, evaluation, matched, missing, negative, base)
    offset = np.zeros(n)
    for rule in rules:
        value = _value(rule, "weight *=", evaluation, matched, missing)
        if value is not None:
            _count_negative(rule, value, negative)
            weight *= np.where(np.isnan(value), 1.0, np.maximum(value, 0.0))
    for rule in rules:
        value = _value(rule, "offset +=", evaluation, matched, missing)
        if value is not None:
            offset += np.nan_to_num(value)
    weight = rounded(weight)
    dropped = np.logical_or.reduce([none, *dropped_by.values()]) & ~protected
    return RowEffects(
        dropped, protected, weight, rounded(offset), flipped, conflict, touched, matched, dropped_by, missing,
        negative,
    )  # fmt: skip


def _value(
    rule: CheckedRule, verb: str, evaluation: Evaluation, matched: dict[str, Bools], missing: dict[str, int]
) -> Floats | None:
    """The action's number where the rule matches and it has one, else NaN; None without such an action."""
    action = rule.action(verb)
    if action is None or action.value is None:
        return None
    value = evaluation.values[action.value]
    hit = matched[rule.name]
    n_missing = int((hit & np.isnan(value)).sum())
    if n_missing:
        missing[rule.name] = missing.get(rule.name, 0) + n_missing
    return np.where(hit, value, np.nan)


def _count_negative(rule: CheckedRule, value: Floats, negative: dict[str, int]) -> None:
    n = int((value < 0).sum())
    if n:
        negative[rule.name] = negative.get(rule.name, 0) + n


def _exclusive(
    rules: Sequence[CheckedRule],
    evaluation: Evaluation,
    matched: dict[str, Bools],
    missing: dict[str, int],
    negative: dict[str, int],
    base: Floats | None,
) -> tuple[Floats, Bools]:
    """``weight =``: the highest priority wins; equals must agree; elsewhere the weight of the mix stands."""
    n = len(evaluation.pair)
    weight = np.ones(n) if base is None else base.copy()
    conflict = np.zeros(n, bool)
    best = np.full(n, -1, np.int64)
    for rule in rules:
        value = _value(rule, "weight =", evaluation, matched, missing)
        if value is None:
            continue
        _count_negative(rule, value, negative)
        value = np.maximum(value, 0.0)
        has = ~np.isnan(value)
        wins = has & (rule.priority > best)
        equal = has & (rule.priority == best)
        conflict |= equal & (rounded(np.nan_to_num(value)) != rounded(weight))
        conflict &= ~wins
        weight = np.where(wins, value, weight)
        best = np.where(wins, rule.priority, best)
    return weight, conflict
