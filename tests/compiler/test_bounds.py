"""What bounds matching: `max`, caps and the settings; and what there is to match at all."""

import numpy as np
import pytest

from engine.compiler.plan import make_plan
from engine.compiler.population import population
from engine.errors import CompileError
from engine.settings import RulesSettings
from engine.store.connection import Store
from tests.compiler.test_plan import codes, plan_of


def mean_in_sd(store: Store, weight: np.ndarray, concept: int) -> float:
    """Weighted mean of delta over its unweighted standard deviation, input pairs, from the index's rows."""
    at = population(store).input_pairs
    rows = store.rows("SELECT pair, chosen - rejected FROM concept_scores WHERE concept = ?", [concept])
    delta = np.zeros(len(weight))
    for pair, value in rows:
        delta[pair] = value
    return float(np.average(delta[at], weights=weight[at]) / delta[at].std())


@pytest.mark.parametrize("limit", ["max 60", "max 3\ncap weight 0 .. 2.5", "max 60\ncap weight 0.1 .. 3"])
def test_what_a_plan_says_was_reached_is_what_its_weights_reach(store: Store, limit: str) -> None:
    first, *rest = limit.split("\n")
    rules = f'amplify @"concept 2" by matching to 0.25 on delta {first}\n' + "\n".join(rest) + "\n"
    plan = plan_of(store, rules, settings=RulesSettings(max_weight=4.0))
    (matched,) = plan.matched
    assert matched.after == pytest.approx(0.25, abs=1e-5)
    assert plan.fates.raw_weight.max() <= (float(rest[0].split()[-1]) if rest else 4.0) + 1e-6
    reached = mean_in_sd(store, plan.fates.weight, 2)
    assert reached == pytest.approx(0.25, abs=2e-3)  # sd of the weighted plan against that of the pairs


def test_what_would_have_to_be_raised_is_named(store: Store) -> None:
    rules = 'amplify @"concept 2" by matching to 3 max 60\n'
    for more, named in (("", "max_weight in"), ("c: cap weight 0 .. 1.2\n", "the cap `c`")):
        with pytest.raises(CompileError) as error:
            plan_of(store, rules + more, settings=RulesSettings(max_weight=1.5))
        assert named in str(error.value)
    with pytest.raises(CompileError) as error:
        plan_of(store, 'amplify @"concept 2" by matching to 3 max 1.5\n')
    assert "raise `max`" in str(error.value)


def test_a_lower_cap_that_matching_goes_below_is_said(store: Store) -> None:
    plan = plan_of(store, 'cap weight 0.9 .. 4\nsuppress @"concept 0" by matching\n')
    below = int(((plan.fates.raw_weight > 0) & (plan.fates.raw_weight < 0.9)).sum())
    assert below > 0
    assert any(w.code == "R511" and w.n_pairs == below for w in plan.warnings)


def test_nothing_is_matched_where_length_explains_everything(store: Store) -> None:
    with pytest.raises(CompileError, match="nothing is left"):
        plan_of(store, "suppress @length by matching at equal length\n")
    assert plan_of(store, "suppress @length by matching max 8\n").matched


def test_as_many_controls_as_pairs_leave_nothing_to_match(store: Store) -> None:
    found = population(store)
    few = sorted(found.chosen_tokens[found.input_pairs])[:6][-1]
    with pytest.raises(CompileError, match="takes out"):
        plan_of(store, f'suppress @"concept 0" by matching unique where chosen.tokens <= {few}\n')


def test_uneven_weights_are_blamed_on_what_made_them(store: Store) -> None:
    plan = make_plan(store, 'prosect rules 1\namplify @"concept 2" by matching to 0.9 max 30\n',
                     settings=RulesSettings(max_weight=30))  # fmt: skip
    assert "R512" in codes(plan)
    assert all("max" in (w.help or "") for w in plan.warnings if w.code == "R512")


def test_what_protection_keeps_from_a_ranked_filter_is_counted_and_said(store: Store) -> None:
    rules = 's: suppress @"concept 0" by dropping 40%\n'
    free, plan = plan_of(store, rules), plan_of(store, rules + 'p: protect where source == "alpha"\n')
    saved = plan.counts["kept"] - free.counts["kept"]
    assert saved > 0
    assert next(r for r in plan.rules if r.name == "p").n_effect == saved
    assert any(w.code == "R501" and w.n_pairs == saved and w.rules == ("s", "p") for w in plan.warnings)


def test_protected_pairs_that_weigh_nothing_are_said_to_be_dropped(store: Store) -> None:
    rules = 'p: protect where source == "alpha"\nw: weight = 0 where chosen.tokens > 60\n'
    plan = plan_of(store, rules)
    found = [w for w in plan.warnings if w.code == "R501"]
    assert [w.rules for w in found] == [("p",)]
    tokens = store.rows("SELECT pair FROM pairs WHERE source = 'alpha' AND chosen_tokens > 60")
    n = len({pair for (pair,) in tokens} & set(population(store).input_pairs.tolist()))
    assert found[0].n_pairs == n > 0
    assert f"{n} protected pairs get the weight 0" in found[0].message


def test_few_pairs_are_those_that_earlier_rules_leave(store: Store) -> None:
    rules = (
        'drop where delta(@"concept 0") != 0 and chosen.tokens > 15\ns: suppress @"concept 0" by offset 0.5\n'
    )
    plan = plan_of(store, rules)
    left = next(r for r in plan.rules if r.name == "s").n_effect
    assert left < 30
    (found,) = (w for w in plan.warnings if w.code == "R508")
    assert found.n_pairs == left
    gone = plan_of(store, 'drop where delta(@"concept 0") != 0\ns: suppress @"concept 0" by offset 0.5\n')
    assert {"R508"} <= codes(gone)
    assert "R512" not in codes(gone)


def test_a_softened_context_without_pairs_matches_none(store: Store) -> None:
    plan = plan_of(store, 'drop where context("tea")\nsoften context("tea") by 0.5\n')
    assert any(w.code == "R506" and "soften" in w.message for w in plan.warnings)


def test_pairs_outside_are_counted_by_the_way_they_lean(store: Store) -> None:
    plan = plan_of(store, 's: suppress @"concept 0" by offset 0.5 where source == "alpha"\n')
    found = [w for w in plan.warnings if w.code == "R509"]
    rows = store.rows(
        "SELECT p.source, s.chosen - s.rejected, s.pair FROM concept_scores s JOIN pairs p USING (pair)"
        " WHERE s.concept = 0 AND s.chosen <> s.rejected"
    )
    usable = set(population(store).input_pairs.tolist())
    here = sum(np.sign(d) for source, d, pair in rows if source == "alpha" and pair in usable)
    away = [np.sign(d) for source, d, pair in rows if source != "alpha" and pair in usable]
    alike = sum(s == np.sign(here) for s in away)
    assert [(w.n_pairs, f"of the {len(away)} pairs" in w.message) for w in found] == (
        [(alike, True)] if 2 * alike > len(away) else []
    )
