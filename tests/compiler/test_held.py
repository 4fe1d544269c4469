"""Verdicts keep that are about a context: held there by matching, watched there in every plan."""

import numpy as np
import pytest

from engine.compiler.plan import catalogue_of
from engine.compiler.population import population
from engine.compiler.records import Plan, VerdictNote
from engine.records import Verdict
from engine.store.connection import Store
from tests.compiler.test_plan import codes, plan_of


def context_of(store: Store, name: str) -> tuple[str, set[int]]:
    """Id and members of a context."""
    ident, number = store.row("SELECT context_id, context FROM contexts WHERE name = ?", [name]) or ("", 0)
    members = store.rows("SELECT pair FROM context_pairs WHERE context = ?", [number])
    return str(ident), {int(pair) for (pair,) in members}


def mean_inside(store: Store, plan: Plan, concept: int, members: set[int], *, is_after: bool) -> float:
    """Weighted mean disparity over a context's input pairs, from the index's own rows."""
    u = dict(store.rows("SELECT pair, u FROM concept_scores WHERE concept = ?", [concept]))
    total = mass = 0.0
    for pair in members & set(population(store).input_pairs.tolist()):
        weight = float(plan.fates.weight[pair]) if is_after else 1.0
        force = 2 / (1 + np.exp(plan.fates.offset[pair])) if is_after else 1.0
        sign = -1.0 if is_after and plan.fates.flipped[pair] else 1.0
        total += weight * force * sign * (u.get(pair) or 0.0)
        mass += weight
    return total / mass


def keep(store: Store, concept: int, context_id: str) -> VerdictNote:
    return VerdictNote(catalogue_of(store).concepts[concept].concept_id, Verdict.KEEP, context_id=context_id)


def test_a_keep_inside_a_context_is_held_there_and_nowhere_else(store: Store) -> None:
    tea, members = context_of(store, "tea")
    note = keep(store, 3, tea)
    rules = 'suppress @"concept 0" by matching max 6\n'
    free, plan = plan_of(store, rules), plan_of(store, rules, verdicts=[note])
    (held,) = plan.held_inside
    assert (held.concept_id, held.context) == (note.concept_id, "tea")
    assert held.mean_after == pytest.approx(held.mean_before, abs=1e-5)
    assert held.mean_after == pytest.approx(mean_inside(store, plan, 3, members, is_after=True), abs=1e-6)
    assert not held.is_beyond
    assert abs(mean_inside(store, free, 3, members, is_after=True) - held.mean_before) > 1e-3
    everywhere = next(c for c in plan.collateral if c.concept == 3)
    assert not everywhere.is_held
    assert everywhere.limit is None
    assert plan.lock["held"] == [f"{note.concept_id} in {tea}"]
    target = next(c for c in plan.collateral if c.concept == 0)
    assert target.mean_after == pytest.approx(0, abs=1e-5)


def test_a_target_everywhere_can_be_held_inside_a_context(store: Store) -> None:
    tea, _ = context_of(store, "tea")
    plan = plan_of(store, 'suppress @"concept 0" by matching max 8\n', verdicts=[keep(store, 0, tea)])
    (held,) = plan.held_inside
    assert abs(held.mean_before) > 0.02
    assert held.change == pytest.approx(0, abs=1e-5)
    assert next(c for c in plan.collateral if c.concept == 0).mean_after == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("where", ['context("tea")', "brew"])
def test_what_a_statement_targets_in_the_context_itself_is_not_held_and_said(
    store: Store, where: str
) -> None:
    tea, _ = context_of(store, "tea")
    rules = f'context brew = context("tea")\nsuppress @"concept 0" by matching max 8 where {where}\n'
    rules += "expect beyond == 0\n"
    plan = plan_of(store, rules, verdicts=[keep(store, 0, tea)])
    (held,) = plan.held_inside
    assert held.mean_after == pytest.approx(0, abs=1e-5)
    assert held.is_beyond
    assert "R510" in codes(plan)
    assert any("in the context `tea`" in w.message for w in plan.warnings)
    assert not plan.is_passing


def test_what_no_matching_holds_is_watched_in_its_context(store: Store) -> None:
    tea, members = context_of(store, "tea")
    rules = 'drop where context("tea") and delta(@"concept 4") > 0\nsuppress @"concept 0" by offset 0.1\n'
    plan = plan_of(store, rules, verdicts=[keep(store, 4, tea)])
    (held,) = plan.held_inside
    assert held.mean_before == pytest.approx(mean_inside(store, plan, 4, members, is_after=False), abs=1e-6)
    assert held.mean_after == pytest.approx(mean_inside(store, plan, 4, members, is_after=True), abs=1e-6)
    assert held.is_beyond
    assert plan.as_dict()["held_inside"][0]["change"] == held.change


def test_matching_keeps_the_weight_that_rules_gave_a_stratum(store: Store) -> None:
    """Weights above its bound are cut, others of the stratum make up for them, and it is said."""
    rules = 'weight = 3 where source == "alpha" and chosen.tokens > 70\n'
    weighted = plan_of(store, rules)
    plan = plan_of(store, rules + 'suppress @"concept 0" by matching within source max 2.5\n')
    for drift in weighted.drift:
        if drift.category == "source":
            after = next(d for d in plan.drift if (d.category, d.value) == ("source", drift.value))
            assert after.share_after == pytest.approx(drift.share_after, abs=1e-6)
    assert plan.fates.raw_weight.max() <= 2.5
    n = int((weighted.fates.raw_weight > 2.5).sum())
    assert n > 0
    assert any(w.code == "R511" and w.n_pairs == n for w in plan.warnings)
