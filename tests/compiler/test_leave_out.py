"""What each statement does to a concept, held against two plans of two files and against sums by hand."""

import numpy as np
import pytest

from engine.compiler.leave_out import LeaveOuts, moving_statements
from engine.compiler.plan import make_plan
from engine.compiler.records import Plan, VerdictNote
from engine.errors import CompileError
from engine.records import Verdict
from engine.settings import RulesSettings
from engine.store.connection import Store
from tests.compiler.facts import is_input
from tests.worlds import World

STATEMENTS = {
    "long": 'long: drop where chosen.tokens > 90 because "long"',
    "half": 'half: weight *= 0.5 where source == "alpha"',
    "held": "held: protect where meta.rating == 5",
    "turned": "turned: flip where meta.rating == 1",
    "few": "few: quota by source max 80 seed 3",
    "ranked": 'ranked: suppress @"concept 1" by dropping 10%',
    "soft": 'soft: suppress @"concept 2" by offset 0.5',
    "even": 'even: suppress @"concept 0" by matching',
    "also": 'also: suppress @"concept 5" by matching where chosen.tokens > 20',
}
NAMED = tuple(STATEMENTS)


def plan_of(store: Store, names: tuple[str, ...], verdicts: tuple[VerdictNote, ...] = ()) -> Plan:
    text = "prosect rules 1\n" + "".join(STATEMENTS[n] + "\n" for n in names)
    return make_plan(store, text, verdicts=verdicts)


def means(plan: Plan) -> dict[str, float]:
    return {c.concept_id: c.mean_after for c in plan.collateral}


def steps_of(store: Store, plan: Plan, verdicts: tuple[VerdictNote, ...] = ()) -> LeaveOuts:
    return LeaveOuts(store, plan, verdicts, RulesSettings())


def test_a_statement_left_out_is_the_plan_of_the_file_without_its_line(world: World, store: Store) -> None:
    ident = next(c.concept_id for c in plan_of(store, ()).collateral if c.label == "concept 6")
    verdicts = (VerdictNote(ident, Verdict.KEEP),)
    steps = steps_of(store, plan_of(store, NAMED, verdicts), verdicts)
    assert steps.names == NAMED
    for name in NAMED:
        found = dict(zip(steps.concept_ids, steps.without(name).tolist(), strict=True))
        rest = plan_of(store, tuple(n for n in NAMED if n != name), verdicts)
        assert found == pytest.approx(means(rest), abs=1e-12), name


def test_the_effect_of_a_weight_is_a_difference_of_two_means(world: World, store: Store) -> None:
    inputs = [i for i, r in enumerate(world.pair_rows) if is_input(r)]
    weight = np.array([0.5 if world.pair_rows[i]["source"] == "alpha" else 1.0 for i in inputs])
    by_latent, members = world.readings.by_latent, world.concepts[0][1]
    u = np.zeros(world.readings.n_pairs)
    for latent in members:
        at = slice(by_latent.indptr[latent], by_latent.indptr[latent + 1])
        fires = (by_latent.chosen.n_fired[at] > 0).astype(float) - (by_latent.rejected.n_fired[at] > 0)
        np.add.at(u, by_latent.pair[at], fires / len(members))
    expected = np.average(u[inputs], weights=weight) - u[inputs].mean()
    plan = plan_of(store, ("half",))
    steps = steps_of(store, plan)
    ident = next(c.concept_id for c in plan.collateral if c.label == "concept 0")
    without = float(steps.without("half")[steps.concept_ids.index(ident)])
    assert abs(expected) > 1e-4
    assert means(plan)[ident] - without == pytest.approx(expected)


def test_of_two_statements_that_drop_the_same_pairs_neither_moves_anything(store: Store) -> None:
    text = "prosect rules 1\na: drop where chosen.tokens > 90\nb: drop where not chosen.tokens <= 90\n"
    plan = make_plan(store, text)
    steps = steps_of(store, plan)
    assert any(abs(c.change) > 1e-4 for c in plan.collateral)
    for name in ("a", "b"):
        left = dict(zip(steps.concept_ids, steps.without(name).tolist(), strict=True))
        assert left == pytest.approx(means(plan))


def test_statements_that_the_forecast_knows_nothing_of_are_no_steps(store: Store) -> None:
    text = (
        "prosect rules 1\n"
        'marked: tag "x" where chosen.tokens > 50\n'
        'told: inoculate "You are terse." where chosen.tokens > 50\n'
        'both: weight *= 0.5, tag "y" where chosen.tokens > 50\n'
        'mask tokens where @"concept 0" > 1\n'
        "expect kept >= 1%\n"
    )
    assert moving_statements(make_plan(store, text).checked) == ("both",)


def test_what_another_statement_needs_cannot_be_left_out(store: Store) -> None:
    text = (
        "prosect rules 1\n"
        'fewer: drop where delta(@"concept 0") < 0\n'
        'more: amplify @"concept 0" by matching to 0.9 on u max 1.2\n'
    )
    steps = steps_of(store, make_plan(store, text))
    with pytest.raises(CompileError, match=r"`@concept 0` cannot reach 0\.9 sd"):
        steps.without("fewer")
