"""The SQL that plans run is held to the reference interpreter on random rule files."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.compiler.evaluation import Request, evaluate, freeze, request_of
from engine.compiler.leaves import leaf_key, leaves_of, wide_table
from engine.compiler.lower import Lowering
from engine.compiler.plan import catalogue_of
from engine.compiler.row_effects import row_effects
from engine.rules.catalogue import Type
from engine.rules.check_file import check
from engine.rules.effects import combine
from engine.rules.evaluate import Interpreter, PairFacts
from engine.rules.terms import Column, Statistic
from engine.store.connection import Store
from tests.compiler.facts import WorldFacts, facts_of, is_input
from tests.worlds import World

HEADER = """prosect rules 1
concept a = @"concept 0"
concept b = #5 or #6 or #12
concept c = label ~ /CONCEPT [34]/i except #17
context codey = context("code") and meta.topic == "code"
let longer = chosen.tokens > rejected.tokens
let ratio = delta(@a, sum) / (prompt.tokens - 20)
"""

_number_leaf = st.sampled_from(
    [
        "chosen.tokens", "rejected.tokens", "prompt.tokens", "prompt.turns", "meta.rating",
        "copy", "fold", "strength", "ratio", "delta(@a)", "chosen(@b, n)", "rejected(@c, sum)", "prompt(@b)",
        "delta(@c, rate)", "chosen(@length)", "length(chosen.text)", "length(language)", "0", "2.5",
        # a bare fraction beside `pct(…)` is refused; the same value as a sum is not
        "20", "1.3", "(0.3 + 0)", "near_copy", "number(meta.margin)",
    ]
)  # fmt: skip


def _combine_numbers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda x: f"(-{x})"),
        st.tuples(st.sampled_from(["abs", "log"]), inner).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
    )


_number = st.recursive(_number_leaf, _combine_numbers, max_leaves=5)
_statistic = st.tuples(st.sampled_from(["z", "pct", "p90", "mean", "sd", "p10"]), _number).map(
    lambda t: f"{t[0]}({t[1]})"
)
_any_number = st.one_of(_number, _number, _statistic)
_truth_leaf = st.one_of(
    st.sampled_from(
        [
            "longer", "codey", 'context("tea")', "true", "false", "chosen.truncated", 'source == "alpha"',
            'source != "beta"', 'meta.topic in ["tea", "x"]', "chosen.text ~ /tea|music (list|the)/",
            "prompt.text !~ /^SORRY/i", 'language == "en"', 'language != "en"', "language ~ /e/",
            "chosen.text == rejected.text", 'slot in ["a", "b"]', "meta.rating in [1, 2, 5]", "copy in []",
            "prompt.truncated == false",
        ]
    ),
    st.tuples(_any_number, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), _any_number).map(
        lambda t: f"{t[0]} {t[1]} {t[2]}"
    ),
    st.tuples(_any_number, _number, _number).map(lambda t: f"{t[0]} between {t[1]} and {t[2]}"),
)  # fmt: skip
_truth = st.recursive(
    _truth_leaf,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda x: f"not ({x})"),
    ),
    max_leaves=4,
)
_action = st.one_of(
    st.sampled_from(["drop", "protect", "flip", "keep only", 'tag "x"', "weight *= 0.3", "weight *= 1.7"]),
    # a bare negative literal is refused; the same value as a sum is not
    _number.map(lambda x: f"weight *= {x} + 0"),
    _number.map(lambda x: f"weight = {x} + 0"),
    _any_number.map(lambda x: f"offset += {x}"),
)
RULES = st.tuples(_action, _truth, st.integers(0, 2)).map(
    lambda t: f"{t[0]} where {t[1]}" + (f" priority {t[2]}" if t[0].startswith("weight =") else "")
)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(rules=st.lists(RULES, min_size=1, max_size=5, unique=True))
def test_sql_and_interpreter_agree_on_every_effect_of_every_pair(
    known: WorldFacts, store: Store, rules: list[str]
) -> None:
    checked = check(HEADER + "\n".join(rules) + "\n", catalogue_of(store))
    evaluation = evaluate(store, checked.definitions, request_of(checked))
    cycle = np.arange(len(evaluation.pair), dtype=np.float64) % 4
    base = np.asarray(0.25 + 0.5 * cycle, dtype=np.float64)  # as a weighted mix gives them
    effects = row_effects(checked.rules, evaluation, base)
    interpreter = Interpreter(checked.definitions, evaluation.statistics)
    facts, pairs = known.facts, known.input_pairs
    assert evaluation.pair.tolist() == pairs
    for n, i in enumerate(pairs):
        expected = combine(checked.rules, interpreter, facts[i], base[n])
        assert expected.is_dropped == bool(effects.dropped[n] or effects.weight[n] == 0)
        assert expected.weight == effects.weight[n]
        assert expected.offset == effects.offset[n]
        assert expected.is_flipped == effects.flipped[n]
        assert expected.has_conflict == effects.conflict[n]
        assert expected.rules == tuple(sorted(name for name, hit in effects.touched.items() if hit[n]))


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(expression=_any_number)
def test_numbers_agree_to_the_last_bit(known: WorldFacts, store: Store, expression: str) -> None:
    checked = check(HEADER + f"let x = {expression}\n", catalogue_of(store))
    term = next(d.value for d in checked.definitions if d.name == "x")
    evaluation = evaluate(store, checked.definitions, Request(values=(term,)))
    interpreter = Interpreter(checked.definitions, evaluation.statistics)
    facts = known.facts
    for n, i in enumerate(evaluation.pair):
        expected = interpreter.names(facts[int(i)])["x"]
        found = float(evaluation.values[term][n])
        assert (expected is None and math.isnan(found)) or expected == found


def test_statistics_are_those_of_the_input_pairs(world: World, store: Store) -> None:
    checked = check(
        "prosect rules 1\nlet m = mean(chosen.tokens)\nlet s = sd(chosen.tokens)\n"
        "let p = p25(chosen.tokens)\nlet q = p50(delta(@\"concept 0\"), active)\n",
        catalogue_of(store),
    )  # fmt: skip
    terms = tuple(d.value for d in checked.definitions)
    values = evaluate(store, checked.definitions, Request(values=terms)).values
    pairs = [i for i, row in enumerate(world.pair_rows) if is_input(row)]
    tokens = world.readings.pairs.chosen_tokens[pairs].astype(float)
    by_name = {d.name: float(values[d.value][0]) for d in checked.definitions}
    assert by_name["m"] == pytest.approx(tokens.mean(), rel=1e-11)
    assert by_name["s"] == pytest.approx(tokens.std(), rel=1e-11)
    assert by_name["p"] == pytest.approx(np.quantile(tokens, 0.25), rel=1e-11)
    facts = facts_of(world)
    active = [d for i in pairs if (d := _delta(facts[i])) != 0]
    assert by_name["q"] == pytest.approx(np.median(active), rel=1e-11)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from([1 / 3, 0.1, 2 / 3, 1.1, -0.7, 1e-3]), min_size=1, max_size=102),
    st.integers(0, 100),
)
def test_a_percentile_that_is_one_of_the_values_ties_with_it(few: list[float], level: int) -> None:
    """Readings are float32, whose values have more digits than a rounded number keeps."""
    values = np.sort(np.array(few, np.float32).astype(float))
    tokens = Column("chosen.tokens", Type.NUMBER)
    frozen = freeze(Statistic("p", tokens, level), values[::-1]).value
    assert frozen == pytest.approx(np.quantile(values, level / 100), rel=1e-12, abs=1e-15)
    rank, rest = divmod((len(values) - 1) * level, 100)
    if not rest or values[rank] == values[rank + 1]:
        assert frozen == values[rank]
    assert freeze(Statistic("mean", tokens), values[:1].repeat(len(values))).value == values[0]


def _delta(facts: PairFacts) -> float:
    sides = [
        max((a.act_max for latent, a in facts.readings[side].items() if latent < 5), default=0.0)
        for side in ("chosen", "rejected")
    ]
    return sides[0] - sides[1]


def test_a_users_words_reach_sql_only_as_parameters(store: Store) -> None:
    hostile = "x'; DROP TABLE pairs; --"
    condition = f'source == "{hostile}" or chosen.text ~ /{hostile}/ or meta.rating > 77.25'
    checked = check(f"prosect rules 1\ndrop where {condition}\n", catalogue_of(store))
    terms = [r.condition for r in checked.rules]
    wide = wide_table(store)
    columns = wide.ensure(store, leaves_of(terms))
    lowering = Lowering(columns, (), {})
    lowering.output_masks(terms)
    sql = lowering.statement(str(wide.name))
    assert "DROP" not in sql
    assert "77.25" not in sql
    assert 77.25 in lowering.parameters.values()
    assert evaluate(store, (), request_of(checked)).truths[terms[0]].sum() == 0
    assert store.value("SELECT count(*) FROM pairs") == 260


def test_editing_a_threshold_scans_nothing_again(store: Store) -> None:
    many = _n_dropped(store, 0.1)
    scans = wide_table(store).n_scans
    few = _n_dropped(store, 2.5)
    assert wide_table(store).n_scans == scans
    assert few < many


def _n_dropped(store: Store, limit: float) -> int:
    checked = check(f'prosect rules 1\ndrop where delta(@"concept 2") > {limit}\n', catalogue_of(store))
    evaluation = evaluate(store, checked.definitions, request_of(checked))
    return int(evaluation.truths[checked.rules[0].condition].sum())


def test_equal_leaves_share_one_column(store: Store) -> None:
    catalogue = catalogue_of(store)
    one = check('prosect rules 1\nconcept x = @"concept 1"\ndrop where delta(@x) > 1\n', catalogue)
    two = check(
        "prosect rules 1\nconcept y = #5 or #6 or #7 or #8 or #9\ndrop where delta(@y) > 1\n", catalogue
    )
    keys = [{leaf_key(t) for t in leaves_of([c.rules[0].condition])} for c in (one, two)]
    assert keys[0] == keys[1]
