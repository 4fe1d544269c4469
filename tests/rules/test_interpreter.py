"""What terms mean on one pair, value by value: the specification that SQL is held to elsewhere."""

import math

import pytest

from engine.rules.catalogue import Type
from engine.rules.evaluate import Activation, FrozenStatistic, Interpreter, PairFacts, Value
from engine.rules.terms import Apply, Column, Concept, Constant, Matches, Meta, Reading, Statistic, Term

FACTS = PairFacts(
    columns={
        "text": "two words",
        "n": 3.0,
        "none": None,
        "zero": 0.0,
        "big": 1e308,
        "chosen.tokens": 100.0,
        "prompt.tokens": 9.0,
    },
    meta={"rating": 4, "flag": True, "label": "12.5 ", "deep": {"er": {"x": 1.5}}},
    readings={"chosen": {1: Activation(2.0, 3, 4.25), 4: Activation(5.0, 1, 5.0)}},
    scores={7: (0.1, 0.2, 0.3)},
)


def number(name: str) -> Term:
    return Column(name, Type.NUMBER)


def apply(operator: str, *arguments: Term, kind: Type = Type.NUMBER) -> Term:
    return Apply(operator, arguments, kind)


def constant(value: float | str | bool) -> Term:
    kind = {bool: Type.TRUTH, str: Type.TEXT}.get(type(value), Type.NUMBER)
    return Constant(value, kind)


@pytest.mark.parametrize(
    ("term", "value"),
    [
        (Meta(("rating",), Type.NUMBER), 4.0),
        (Meta(("flag",), Type.NUMBER), None),  # a truth value is no number
        (Meta(("flag",), Type.TRUTH), True),
        (Meta(("rating",), Type.TRUTH), None),
        (Meta(("rating",), Type.TEXT), None),
        (Meta(("deep", "er", "x"), Type.NUMBER), 1.5),
        (Meta(("deep", "other"), Type.NUMBER), None),
        (Meta(("gone",), Type.NUMBER), None),
        (Meta(("rating", "x"), Type.NUMBER), None),  # nothing is inside a number
        (apply("+", number("n"), number("none")), None),
        (apply("-", number("n"), constant(5.0)), -2.0),
        (apply("neg", number("n")), -3.0),
        (apply("*", number("n"), constant(2.0)), 6.0),
        (apply("/", number("n"), constant(2.0)), 1.5),
        (apply("/", number("n"), number("zero")), None),
        (apply("/", number("big"), constant(1e-9)), math.inf),
        (apply("abs", constant(-2.0)), 2.0),
        (apply("abs", apply("*", number("big"), constant(10.0))), None),  # no function of what is not finite
        (apply("log", number("zero")), None),
        (apply("log", constant(math.e)), 1.0),
        (apply("min", number("n"), constant(2.0)), 2.0),
        (apply("max", number("n"), constant(2.0)), 3.0),
        (apply("length", Column("text", Type.TEXT)), 9.0),
        (apply("length", number("none")), None),
        (apply("number", Meta(("label",), Type.TEXT)), 12.5),
        (apply("number", Column("text", Type.TEXT)), None),
        (apply("<", number("none"), constant(1.0)), False),
        (apply("<", number("n"), constant(3.0)), False),
        (apply("<=", number("n"), constant(3.0)), True),
        (apply("<", number("n"), apply("*", number("big"), constant(10.0))), False),  # ∞ counts as missing
        (apply("==", number("none"), number("none")), False),
        (apply("not", apply("==", number("none"), number("none"))), True),
        (apply("in", number("n"), constant(1.0), constant(3.0)), True),
        (apply("in", number("n")), False),
        (apply("and", constant(True), number("none")), False),
        (apply("or", number("none"), constant(True)), True),
        (Matches(Column("text", Type.TEXT), "wor"), True),
        (Matches(Column("text", Type.TEXT), "^wor"), False),
        (Matches(number("none"), "."), False),
    ],
)
def test_terms_of_one_pair(term: Term, value: Value) -> None:
    found = Interpreter().value(term, FACTS, {})
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("aggregate", "value"), [("max", 5.0), ("sum", 9.25), ("n", 4.0), ("rate", 0.04)])
def test_readings_are_taken_over_the_members_that_fire(aggregate: str, value: float) -> None:
    members = Concept("c", "latents", (1, 2, 4))
    assert Interpreter().value(Reading(members, "chosen", aggregate), FACTS, {}) == pytest.approx(value)
    assert Interpreter().value(Reading(members, "prompt", aggregate), FACTS, {}) == 0
    scored = Concept("s", "scored", number=7)
    spans = ("prompt", "chosen", "rejected")
    found = [Interpreter().value(Reading(scored, span, "max"), FACTS, {}) for span in spans]
    assert found == [0.1, 0.2, 0.3]
    assert Interpreter().value(Reading(Concept("o", "scored", number=8), "chosen", "max"), FACTS, {}) == 0
    length = Concept("length", "built-in")
    assert Interpreter().value(Reading(length, "chosen", "max"), FACTS, {}) == math.log(100)
    assert Interpreter().value(Reading(length, "rejected", "max"), FACTS, {}) == 0


def test_statistics_place_a_value_among_all() -> None:
    """Of 1, 3, 3, 5 one lies below 3 and two tie with it: its percentile is 100·(1 + 2/2)/4."""
    z, pct = Statistic("z", number("n")), Statistic("pct", number("n"))
    p = Statistic("p", number("n"), 50)
    frozen = {
        z.key: FrozenStatistic(mean=2.0, sd=4.0),
        pct.key: FrozenStatistic(ordered=(1, 3, 3, 5)),
        p.key: FrozenStatistic(value=3.0),
    }
    interpreter = Interpreter((), frozen)
    assert [interpreter.value(t, FACTS, {}) for t in (z, pct, p)] == [0.25, 50.0, 3.0]
    nothing = Interpreter((), {z.key: FrozenStatistic(mean=2.0, sd=0.0)})
    assert [nothing.value(t, FACTS, {}) for t in (z, pct, p)] == [None, None, None]
    missing = Statistic("z", number("none"))
    assert Interpreter((), {missing.key: FrozenStatistic(mean=0.0, sd=1.0)}).value(missing, FACTS, {}) is None
