"""The reference interpreter: what a term means for one pair. This is the specification; SQL is held to it.

Total and deterministic: every term has a value for every pair. A missing value is None. Arithmetic passes it
on, a comparison with it is false, ``!=`` is the negation of ``==``, ``not`` is plain negation. A number that
is not finite counts as missing wherever it is compared, named, measured by a statistic or used as an effect;
dividing by zero gives a missing value.
"""

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.patterns import search
from engine.rules.catalogue import Type
from engine.rules.checked import Definition
from engine.rules.terms import (
    NUMBER_IN_TEXT,
    Apply,
    Column,
    Constant,
    Inside,
    Matches,
    Meta,
    Outcome,
    Reading,
    Reference,
    Statistic,
    Term,
)

Value = float | str | bool | None


class Activation(NamedTuple):
    """One latent on one span."""

    act_max: float
    n_fired: int
    act_sum: float


@dataclass(frozen=True, slots=True)
class PairFacts:
    """Everything rules may know of one pair."""

    columns: Mapping[str, Value]
    meta: Mapping[str, Any] = field(default_factory=dict)
    readings: Mapping[str, Mapping[int, Activation]] = field(default_factory=dict)
    """Span to latent to activation; silent latents are absent."""
    scores: Mapping[int, tuple[float, float, float]] = field(default_factory=dict)
    """Number of a scored concept to its (prompt, chosen, rejected); absent is zero."""
    contexts: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class FrozenStatistic:
    """A statistic over the input pairs. Undefined over no pairs: every field None or empty."""

    value: float | None = None
    """p, mean, sd"""
    mean: float | None = None
    sd: float | None = None
    """Of z: population standard deviation; None or 0 makes z missing."""
    ordered: Sequence[float] = ()
    """Of pct: the ascending values."""


def finite(value: Value) -> Value:
    """A number that is not finite as missing."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def rounded(value: float) -> float:
    """Rounded to 1e-6 the way the database does it: half away from zero after scaling."""
    scaled = value * 1e6
    if not math.isfinite(scaled):
        return value
    whole = math.floor(abs(scaled))
    nearest = whole + 1 if abs(scaled) - whole >= 0.5 else whole
    return math.copysign(nearest, scaled) / 1e6


class Interpreter:
    """Evaluates terms for one pair after another."""

    def __init__(
        self,
        definitions: Sequence[Definition] = (),
        statistics: Mapping[str, FrozenStatistic] | None = None,
    ) -> None:
        self.definitions = definitions
        self.statistics = statistics or {}

    def names(self, facts: PairFacts) -> dict[str, Value]:
        """Values of every ``let`` and ``context`` for a pair."""
        found: dict[str, Value] = {}
        for definition in self.definitions:
            found[definition.name] = finite(self.value(definition.value, facts, found))
        return found

    def value(self, term: Term, facts: PairFacts, names: Mapping[str, Value]) -> Value:
        """The value of a term; truth values that are missing in the data stay None only as raw columns."""
        match term:
            case Constant():
                return term.value
            case Column():
                return facts.columns.get(term.name)
            case Meta():
                return _meta(term, facts.meta)
            case Reading():
                return _reading(term, facts)
            case Inside():
                return term.number in facts.contexts
            case Reference():
                return names[term.name]
            case Matches():
                text = self.value(term.text, facts, names)
                return isinstance(text, str) and search(term.pattern).search(text) is not None
            case Statistic():
                return self._statistic(term, facts, names)
            case Apply():
                return self._apply(term, facts, names)
            case Outcome():
                return None

    def truth(self, term: Term, facts: PairFacts, names: Mapping[str, Value]) -> bool:
        """A condition; missing is false."""
        return self.value(term, facts, names) is True

    def number(self, term: Term, facts: PairFacts, names: Mapping[str, Value]) -> float | None:
        """A number for an effect or a comparison: missing unless finite."""
        found = finite(self.value(term, facts, names))
        return float(found) if isinstance(found, float | int) and not isinstance(found, bool) else None

    def _apply(self, term: Apply, facts: PairFacts, names: Mapping[str, Value]) -> Value:
        operator = term.operator
        if operator == "not":
            return not self.truth(term.arguments[0], facts, names)
        if operator == "and":
            return all(self.truth(a, facts, names) for a in term.arguments)
        if operator == "or":
            return any(self.truth(a, facts, names) for a in term.arguments)
        values = [self.value(a, facts, names) for a in term.arguments]
        if operator in ("==", "in"):
            first = finite(values[0])
            return first is not None and any(first == finite(v) for v in values[1:] if finite(v) is not None)
        if operator == "length":
            return float(len(values[0])) if isinstance(values[0], str) else None
        if operator == "number":
            found = search(NUMBER_IN_TEXT).search(values[0]) if isinstance(values[0], str) else None
            return finite(float(found.group(1))) if found else None
        numbers = [float(v) if isinstance(v, float | int) else None for v in values]
        if operator in ("<", "<="):
            return _ordered(operator, numbers[0], numbers[1])
        return _arithmetic(operator, numbers)

    def _statistic(self, term: Statistic, facts: PairFacts, names: Mapping[str, Value]) -> Value:
        frozen = self.statistics.get(term.key, FrozenStatistic())
        if term.kind in ("p", "mean", "sd"):
            return frozen.value
        x = self.number(term.argument, facts, names)
        if x is None:
            return None
        if term.kind == "z":
            if frozen.mean is None or not frozen.sd:
                return None
            return (x - frozen.mean) / frozen.sd
        if not len(frozen.ordered):
            return None
        below = bisect.bisect_left(frozen.ordered, x)
        equal = bisect.bisect_right(frozen.ordered, x) - below
        return 100.0 * (below + 0.5 * equal) / len(frozen.ordered)


def _ordered(operator: str, left: float | None, right: float | None) -> bool:
    if left is None or right is None or not (math.isfinite(left) and math.isfinite(right)):
        return False
    return left < right if operator == "<" else left <= right


def _arithmetic(operator: str, numbers: Sequence[float | None]) -> float | None:
    known = [n for n in numbers if n is not None]
    if len(known) < len(numbers):
        return None
    first = known[0]
    match operator:
        case "neg":
            return -first
        case "+":
            return first + known[1]
        case "-":
            return first - known[1]
        case "*":
            return first * known[1]
        case "/":
            return None if known[1] == 0 else _divide(first, known[1])
        case _:
            return _function(operator, known)


def _function(name: str, known: Sequence[float]) -> float | None:
    if not all(map(math.isfinite, known)):
        return None
    match name:
        case "abs":
            return abs(known[0])
        case "log":
            return math.log(known[0]) if known[0] > 0 else None
        case "min":
            return min(known)
        case _:
            return max(known)


def _divide(left: float, right: float) -> float:
    try:
        return left / right
    except OverflowError:
        return math.inf


def _meta(term: Meta, meta: Mapping[str, Any]) -> Value:
    found: Any = meta
    for key in term.path:
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    if term.type is Type.TRUTH:
        return found if isinstance(found, bool) else None
    if term.type is Type.TEXT:
        return found if isinstance(found, str) else None
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return float(found)


def _reading(term: Reading, facts: PairFacts) -> Value:
    concept = term.concept
    if concept.kind == "built-in":
        tokens = facts.columns.get(f"{term.span}.tokens")
        return math.log(tokens) if isinstance(tokens, float) and tokens > 0 else 0.0
    if concept.kind == "scored":
        scores = facts.scores.get(concept.number if concept.number is not None else -1, (0.0, 0.0, 0.0))
        return scores[("prompt", "chosen", "rejected").index(term.span)]
    active = facts.readings.get(term.span, {})
    found = [active[latent] for latent in concept.members if latent in active]
    match term.aggregate:
        case "max":
            return max((a.act_max for a in found), default=0.0)
        case "sum":
            return rounded(math.fsum(a.act_sum for a in found))
        case "n":
            return float(sum(a.n_fired for a in found))
        case _:
            tokens = facts.columns.get(f"{term.span}.tokens")
            if not isinstance(tokens, float) or tokens <= 0:
                return None
            return float(sum(a.n_fired for a in found)) / tokens
