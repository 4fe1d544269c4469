"""Plans: one fate per pair, counts that add up, and numbers checked by hand or by a second way."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.compiler.compare import compare_plans
from engine.compiler.forecast import effective_share
from engine.compiler.plan import catalogue_of, make_plan
from engine.compiler.records import Plan, VerdictNote
from engine.errors import CompileError
from engine.records import Verdict
from engine.rules.diagnostics import RuleFileError
from engine.settings import RulesSettings
from engine.store.connection import Store
from tests.compiler.facts import is_input
from tests.worlds import World

Floats = NDArray[np.float64]


def plan_of(store: Store, rules: str, **options: object) -> Plan:
    return make_plan(store, "prosect rules 1\n" + rules, **options)  # type: ignore[arg-type]


def rows_where(world: World, **wanted: object) -> list[int]:
    rows = enumerate(world.pair_rows)
    return [i for i, r in rows if is_input(r) and all(r[k] == v for k, v in wanted.items())]


def codes(plan: Plan) -> set[str]:
    return {w.code for w in plan.warnings}


def test_without_rules_every_input_pair_is_kept_with_weight_one(world: World, store: Store) -> None:
    plan = plan_of(store, "")
    inputs = rows_where(world)
    assert plan.counts["kept"] == plan.counts["input"] == len(inputs)
    assert plan.counts["dropped"] == 0
    assert np.flatnonzero(plan.fates.weight == 1.0).tolist() == inputs
    assert all(c.change == pytest.approx(0, abs=1e-12) for c in plan.collateral)
    assert plan.effective_share == pytest.approx(1.0)


def test_fates_partition_the_pairs(world: World, store: Store) -> None:
    counts = plan_of(store, 'drop where source == "alpha"\n').counts
    kinds = ("kept", "dropped", "held_out", "unlabelled", "refused")
    assert sum(counts[k] for k in kinds) == counts["total"] == len(world.pair_rows)
    assert counts["dropped"] == len(rows_where(world, source="alpha"))
    assert counts["held_out"] == sum(r["fold"] == 19 and r["label"] == "chosen" for r in world.pair_rows)
    assert counts["unlabelled"] == sum(r["label"] != "chosen" for r in world.pair_rows)


def test_weights_have_mean_one_over_what_is_kept(world: World, store: Store) -> None:
    plan = plan_of(store, 'weight *= 0.5 where source == "alpha"\n')
    alpha, beta = rows_where(world, source="alpha"), rows_where(world, source="beta")
    mean = (0.5 * len(alpha) + len(beta)) / (len(alpha) + len(beta))
    assert plan.fates.weight[alpha] == pytest.approx(0.5 / mean)
    assert plan.fates.weight[beta] == pytest.approx(1 / mean)
    raw = np.array([0.5] * len(alpha) + [1.0] * len(beta))
    expected = raw.sum() ** 2 / (raw**2).sum() / len(raw)
    assert plan.effective_share == pytest.approx(expected)
    assert effective_share(raw) == pytest.approx(expected)


def test_lengths_go_by_weight_and_by_sides_as_flipped(world: World, store: Store) -> None:
    plan = plan_of(store, 'weight *= 0.5 where source == "alpha"\nflip where chosen.tokens > 60\n')
    chosen, rejected = world.readings.pairs.chosen_tokens, world.readings.pairs.rejected_tokens
    inputs = rows_where(world)
    factors = [0.5 if world.pair_rows[i]["source"] == "alpha" else 1.0 for i in inputs]
    after = [rejected[i] if chosen[i] > 60 else chosen[i] for i in inputs]
    assert plan.lengths is not None
    assert plan.lengths.chosen_before == pytest.approx(np.mean([chosen[i] for i in inputs]))
    assert plan.lengths.rejected_before == pytest.approx(np.mean([rejected[i] for i in inputs]))
    assert plan.lengths.chosen_after == pytest.approx(
        sum(f * n for f, n in zip(factors, after, strict=True)) / sum(factors)
    )
    assert plan_of(store, "drop where chosen.tokens >= 0\n").lengths is None


def test_protect_beats_drop_and_says_so(world: World, store: Store) -> None:
    plan = plan_of(store, 'gone: drop where source == "alpha"\nsafe: protect where meta.rating >= 4\n')
    assert "R501" in codes(plan)
    counted = {r.name: r for r in plan.rules}
    assert counted["safe"].n_effect == next(w.n_pairs for w in plan.warnings if w.code == "R501")
    assert counted["gone"].n_effect == counted["gone"].n_matched - counted["safe"].n_effect
    assert plan.counts["dropped"] == counted["gone"].n_effect


def test_a_number_counts_as_an_effect_only_where_it_changes_a_pair(world: World, store: Store) -> None:
    """Missing numbers, offsets of 0, factors of 1 and weights that are overruled do nothing."""
    rating = [json.loads(world.pair_rows[i]["meta"])["rating"] for i in rows_where(world)]
    rules = """
by_log: offset += log(meta.rating - 2)
by_ratio: weight *= meta.rating / 5
usual: weight = 2 where meta.rating <= 4
strong: weight = 3 where meta.rating >= 4 priority 1
unknown: offset += strength
"""
    counted = {r.name: r for r in plan_of(store, rules.lstrip()).rules}
    effects = {name: rule.n_effect for name, rule in counted.items()}
    assert effects == {
        "by_log": sum(r > 3 for r in rating),
        "by_ratio": sum(r < 5 for r in rating),
        "usual": sum(r < 4 for r in rating),
        "strong": sum(r >= 4 for r in rating),
        "unknown": 0,
    }
    assert counted["unknown"].n_matched == len(rating)


def test_a_number_in_quotes_is_read_where_it_is_asked_for(world: World, store: Store) -> None:
    with pytest.raises(RuleFileError, match=r"`number\(meta\.margin\)`"):
        plan_of(store, "drop where meta.margin > 0\n")
    value = {"1.5": 1.5, " -2\n": -2, "+3e-1": 0.3, "7.": 7, ".25": 0.25}
    plan = plan_of(store, "low: drop where number(meta.margin) < 1\nm: offset += number(meta.margin) / 8\n")
    margins = {i: json.loads(world.pair_rows[i]["meta"])["margin"] for i in rows_where(world)}
    low = {i for i, m in margins.items() if value.get(m, 1) < 1}
    assert {i for i in margins if plan.fates.weight[i] == 0} == low
    assert all(plan.fates.offset[i] == value.get(m, 0) / 8 for i, m in margins.items() if i not in low)
    n = sum(m not in value for m in margins.values())
    assert f"`number(meta.margin)` is missing on {n} pairs; `low` matches none of them" in [
        w.message for w in plan.warnings
    ]


def test_pairs_without_a_value_are_one_value_of_a_quota_and_last_of_an_order(
    world: World, store: Store
) -> None:
    """No pair of this world names a model or a strength; a third has no number for a margin."""
    few = plan_of(store, "q: quota by chosen.model max 5 seed 1\n")
    assert few.counts["kept"] == 5
    ordered = plan_of(store, "l: limit 60 per source order number(meta.margin) desc seed 1\n")
    value = {"1.5": 1.5, " -2\n": -2, "+3e-1": 0.3, "7.": 7, ".25": 0.25}
    margins = {i: value.get(json.loads(world.pair_rows[i]["meta"])["margin"]) for i in rows_where(world)}
    for source in ("alpha", "beta"):
        mine = [i for i in margins if world.pair_rows[i]["source"] == source]
        known = [i for i in mine if margins[i] is not None]
        assert len(known) < 60 < len(mine)
        assert all(ordered.fates.weight[i] > 0 for i in known)
    n = sum(m is None for m in margins.values())
    said = {w.message for plan in (few, ordered) for w in plan.warnings if w.code == "R504"}
    assert said == {
        f"`chosen.model` is missing on {len(margins)} pairs; `q` takes them as one value",
        f"`number(meta.margin)` is missing on {n} pairs; `l` puts them last",
    }


def test_keep_only_drops_the_rest(world: World, store: Store) -> None:
    assert plan_of(store, 'keep only where source == "beta"\n').counts["kept"] == len(
        rows_where(world, source="beta")
    )


def test_weight_zero_drops_with_its_reason(world: World, store: Store) -> None:
    plan = plan_of(store, 'weight *= 0 where source == "alpha"\n')
    assert plan.counts["dropped"] == len(rows_where(world, source="alpha"))
    assert plan.fates.reason["weight"].sum() == plan.counts["dropped"]


def test_different_weights_on_one_pair_conflict_until_priority_decides(store: Store) -> None:
    rules = 'a: weight = 2 where meta.rating > 2\nb: weight = 3 where source == "alpha"{}\n'
    plan = plan_of(store, rules.format(""))
    assert plan.conflicts > 0
    assert "R601" in codes(plan)
    assert plan_of(store, rules.format(" priority 1")).conflicts == 0


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(
    order=st.permutations(
        [
            'drop where source == "alpha" and meta.rating > 3',
            "protect where meta.rating == 5",
            "weight *= 0.3 where chosen.tokens > 50",
            "weight *= 1.7 where rejected.tokens > 50",
            'x: flip, tag "t" where delta(@"concept 1") < 0',
            'offset += 0.3 where context("tea")',
            'suppress @"concept 0" by matching',
            'soften context("code") by 0.2',
        ]
    )
)
def test_row_rules_are_a_set(store: Store, order: list[str]) -> None:
    first = plan_of(store, "\n".join(sorted(order)) + "\n")
    second = plan_of(store, "\n".join(order) + "\n")
    assert first.lock == second.lock
    assert compare_plans(first, second).is_empty


def test_quota_limit_and_sample_count_pairs(world: World, store: Store) -> None:
    assert plan_of(store, "quota by source max 7 seed 1\n").counts["kept"] == 14
    assert plan_of(store, "sample 31 seed 1\n").counts["kept"] == 31
    n = len(rows_where(world))
    assert plan_of(store, "sample 10% seed 1\n").counts["kept"] == round(0.1 * n)
    groups = {world.pair_rows[i]["group_id"] for i in rows_where(world)}
    assert plan_of(store, "limit 1 per group seed 1\n").counts["kept"] == len(groups)


def test_samples_of_one_seed_are_nested(store: Store) -> None:
    small = plan_of(store, "sample 20 seed 5\n").fates.weight > 0
    large = plan_of(store, "sample 50 seed 5\n").fates.weight > 0
    other = plan_of(store, "sample 20 seed 6\n").fates.weight > 0
    assert (small <= large).all()
    assert (small != other).any()


def test_a_sample_by_value_keeps_proportions(world: World, store: Store) -> None:
    plan = plan_of(store, "sample 50% by source seed 2\n")
    for source in ("alpha", "beta"):
        rows = rows_where(world, source=source)
        assert abs((plan.fates.weight[rows] > 0).sum() - len(rows) / 2) <= 1


def test_limit_takes_the_first_by_order(world: World, store: Store) -> None:
    plan = plan_of(store, "limit 1 per source order chosen.tokens desc seed 1\n")
    for source in ("alpha", "beta"):
        rows = rows_where(world, source=source)
        kept = [i for i in rows if plan.fates.weight[i] > 0]
        tokens = world.readings.pairs.chosen_tokens
        assert tokens[kept[0]] == max(tokens[i] for i in rows)


def test_set_statements_run_in_file_order(store: Store) -> None:
    first = plan_of(store, "sample 40 seed 1\nquota by source max 10 seed 1\n")
    second = plan_of(store, "quota by source max 10 seed 1\nsample 40 seed 1\n")
    assert first.counts["kept"] == second.counts["kept"] == 20
    assert first.lock != second.lock


def _scores(world: World, members: range) -> tuple[Floats, Floats]:
    by_latent = world.readings.by_latent
    sides = (np.zeros(world.readings.n_pairs), np.zeros(world.readings.n_pairs))
    for latent in members:
        at = slice(by_latent.indptr[latent], by_latent.indptr[latent + 1])
        for side, values in zip(sides, (by_latent.chosen, by_latent.rejected), strict=True):
            np.maximum.at(side, by_latent.pair[at], values.act_max[at])
    return sides


def test_offsets_follow_the_formula_and_its_signs(world: World, store: Store) -> None:
    chosen, rejected = _scores(world, range(5, 10))
    rows = rows_where(world)
    sd = np.std(np.concatenate([chosen[rows], rejected[rows]]))
    delta = chosen - rejected
    suppress = plan_of(store, 'suppress @"concept 1" by offset 0.5\n').fates.offset
    amplify = plan_of(store, 'amplify @"concept 1" by offset 0.5\n').fates.offset
    constant = plan_of(store, 'suppress @"concept 1" by offset 0.5 constant\n').fates.offset
    assert suppress[rows] == pytest.approx(0.5 * delta[rows] / sd, abs=1e-6)
    assert amplify[rows] == pytest.approx(-suppress[rows])
    assert constant[rows] == pytest.approx(0.5 * np.sign(delta[rows]))
    flipped = plan_of(store, 'suppress @"concept 1" by offset 0.5\nflip\n').fates.offset
    assert flipped[rows] == pytest.approx(-suppress[rows])


def test_dropping_takes_the_pairs_that_teach_it_most(world: World, store: Store) -> None:
    chosen, rejected = _scores(world, range(5, 10))
    rows = np.array(rows_where(world))
    delta = (chosen - rejected)[rows]
    plan = plan_of(store, 'suppress @"concept 1" by dropping 5%\n')
    dropped = plan.fates.weight[rows] == 0
    assert dropped.sum() == round(0.05 * len(rows))
    assert delta[dropped].min() >= delta[~dropped].max()


def test_softening_touches_exactly_its_context(world: World, store: Store) -> None:
    offset = plan_of(store, 'soften context("tea") by 0.4\n').fates.offset
    inside = [i for i in rows_where(world) if i % 3 == 0]
    assert np.flatnonzero(offset).tolist() == inside
    assert set(offset[inside]) == {0.4}


def test_the_forecast_counts_weights_flips_and_offsets(world: World, store: Store) -> None:
    u = np.zeros(world.readings.n_pairs)
    by_latent = world.readings.by_latent
    for latent in range(5):
        at = slice(by_latent.indptr[latent], by_latent.indptr[latent + 1])
        fires = (by_latent.chosen.n_fired[at] > 0).astype(int) - (by_latent.rejected.n_fired[at] > 0)
        np.add.at(u, by_latent.pair[at], fires / 5)
    rows = rows_where(world)
    plan = plan_of(
        store,
        'weight *= 0.5 where source == "alpha"\nflip where meta.rating == 1\nsoften context("tea") by 1\n',
    )
    expected = total = ahead = behind = 0.0
    for i in rows:
        row = world.pair_rows[i]
        weight = 0.5 if row["source"] == "alpha" else 1.0
        side = -1 if json.loads(row["meta"])["rating"] == 1 else 1
        pull = 2 / (1 + np.e) if i % 3 == 0 else 1.0
        expected += weight * pull * side * u[i]
        total += weight
        ahead += weight * pull * (side * u[i] > 0)
        behind += weight * pull * (side * u[i] < 0)
    found = next(c for c in plan.collateral if c.concept == 0)
    assert found.mean_before == pytest.approx(u[rows].mean(), abs=1e-6)
    assert found.mean_after == pytest.approx(expected / total, abs=1e-6)
    assert found.rate_before == pytest.approx((u[rows] > 0).sum() / (u[rows] != 0).sum())
    assert found.rate_after == pytest.approx(ahead / (ahead + behind))
    assert found.n_active == (u[rows] != 0).sum()


def test_matching_reaches_zero_and_holds_what_is_kept(world: World, store: Store) -> None:
    held = catalogue_of(store).concepts[3].concept_id
    rules = 'suppress @"concept 0" by matching max 6\n'
    plan = plan_of(store, rules, verdicts=[VerdictNote(held, Verdict.KEEP)])
    target = next(c for c in plan.collateral if c.concept == 0)
    kept = next(c for c in plan.collateral if c.concept == 3)
    assert abs(target.mean_before) > 0.02
    assert target.mean_after == pytest.approx(0, abs=1e-5)
    assert kept.is_held
    assert kept.change == pytest.approx(0, abs=1e-5)
    assert not kept.is_beyond
    assert {m.statistic for m in plan.matched} == {"delta", "u"}
    assert all(m.after == pytest.approx(0, abs=1e-5) for m in plan.matched)
    assert plan.fates.raw_weight.max() <= 6


def test_matching_within_a_column_balances_every_value(world: World, store: Store) -> None:
    plan = plan_of(store, 'suppress @"concept 0" by matching within source max 8\n')
    assert {m.stratum for m in plan.matched} == {"alpha", "beta"}
    assert all(m.after == pytest.approx(0, abs=1e-5) for m in plan.matched)
    chosen, rejected = _scores(world, range(5))
    for found in (m for m in plan.matched if m.statistic == "delta"):
        delta = (chosen - rejected)[rows_where(world, source=found.stratum)]
        assert found.before == pytest.approx(delta.mean() / delta.std(), abs=1e-5)


def test_matching_with_a_selection_leaves_other_pairs_alone(world: World, store: Store) -> None:
    plan = plan_of(store, 'suppress @"concept 0" by matching max 8 where source == "alpha"\n')
    assert set(plan.fates.raw_weight[rows_where(world, source="beta")]) == {1.0}
    alpha = plan.fates.raw_weight[rows_where(world, source="alpha")]
    assert alpha.mean() == pytest.approx(1.0, abs=1e-5)


def test_an_amplifying_target_is_met_in_standard_deviations(store: Store) -> None:
    plan = plan_of(store, 'amplify @"concept 2" by matching to 0.2 max 6\n')
    assert [m.after for m in plan.matched] == [pytest.approx(0.2, abs=1e-5)]


def test_a_target_out_of_reach_names_its_concept(store: Store) -> None:
    with pytest.raises(CompileError, match="concept 2"):
        plan_of(store, 'amplify @"concept 2" by matching to 3 max 1.5\n')


def test_a_held_concept_that_moves_too_far_is_reported(store: Store) -> None:
    catalogue = catalogue_of(store)
    rules = 'drop where delta(@"concept 4") > 0\nsuppress @"concept 0" by offset 0.1\n'
    plan = plan_of(store, rules, verdicts=[VerdictNote(catalogue.concepts[4].concept_id, Verdict.KEEP)])
    assert "R510" in codes(plan)
    assert plan.collateral[0].concept == 4
    assert plan.collateral[0].is_beyond


def test_the_limits_of_the_settings_cut_and_say_so(store: Store) -> None:
    plan = plan_of(
        store,
        "weight *= 50 where meta.rating == 1\noffset += 9 where meta.rating == 2\n",
        settings=RulesSettings(max_weight=10.0, max_offset=5.0),
    )
    assert plan.fates.raw_weight.max() == 10
    assert plan.fates.offset.max() == 5
    assert sum(w.code == "R511" for w in plan.warnings) == 2


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ("drop where chosen.tokens > 100000\n", "R506"),
        ("weight *= strength\n", "R504"),
        ('drop where delta(@"concept 7") > p50(delta(@"concept 7"))\n', "R503"),
        ("offset += 1 where meta.rating > 2\nflip where meta.rating > 3\n", "R507"),
        ('suppress @"concept 1" by offset 1 where chosen.tokens > 118\n', "R508"),
        ("weight *= 9.9 where meta.rating == 1 and chosen.tokens > 80\n", "R512"),
        ("weight *= -chosen.tokens\n", "R511"),
        ("drop\n", "R605"),
    ],
)
def test_findings_are_reported(store: Store, rules: str, code: str) -> None:
    assert code in codes(plan_of(store, rules))


def test_matching_that_teaches_more_of_what_it_is_to_suppress_is_warned_about(store: Store) -> None:
    """Matching brings a mean of 0 from either side; offsets move with the verb whatever the labels say."""
    every = plan_of(store, 'soften context("everywhere") by 0\n').collateral
    against = min(every, key=lambda c: c.mean_before)
    towards = max(every, key=lambda c: c.mean_before)
    assert against.mean_before < -0.02
    assert towards.mean_before > 0.02
    rule = 's: suppress @"{}" by {}\n'
    found = [w for w in plan_of(store, rule.format(against.label, "matching")).warnings if w.code == "R516"]
    assert len(found) == 1
    assert f"the plan moves it by {-against.mean_before:+.3f}" in found[0].message
    assert "carried by rejected responses already" in found[0].message
    assert "R516" not in codes(plan_of(store, rule.format(against.label, "offset 0.5")))
    assert "R516" not in codes(plan_of(store, rule.format(towards.label, "matching")))


def test_expectations_are_checked_with_what_was_found(world: World, store: Store) -> None:
    ident = world.pair_rows[rows_where(world, source="alpha")[0]]["pair_id"]
    rules = (
        'a: drop where source == "alpha"\nexpect kept >= 80%\nexpect matched(a) > 3 and ess == 1\n'
        f'expect pair("{ident[:12]}").dropped\nexpect pair("{ident}").fate == "kept"\n'
        'expect abs_change < 1\n'.replace("abs_change", 'change(@"concept 1")')
    )  # fmt: skip
    plan = plan_of(store, rules)
    assert [e.holds for e in plan.expectations] == [False, True, True, False, True]
    assert "kept = " in plan.expectations[0].found
    assert plan.expectations[-1].found.startswith('change(@"concept 1") = ')
    assert not plan.is_passing
    with pytest.raises(CompileError, match="no pair has an id"):
        plan_of(store, 'expect pair("zz").kept\n')


def test_a_control_plan_deals_the_same_effects_to_other_pairs(world: World, store: Store) -> None:
    rules = 'drop where source == "alpha"\nweight *= 0.4 where meta.rating > 3\nflip where meta.rating == 2\n'
    plan, control = plan_of(store, rules), plan_of(store, rules, control=True)
    assert control.counts == plan.counts
    assert control.rules == plan.rules  # what is dealt, not what statements meet by chance
    assert sorted(control.fates.weight) == pytest.approx(sorted(plan.fates.weight))
    assert (control.fates.weight != plan.fates.weight).any()
    again = plan_of(store, rules, control=True)
    assert (again.fates.weight == control.fates.weight).all()
    other = plan_of(store, rules, control=True, control_seed=1)
    assert (other.fates.weight != control.fates.weight).any()


def test_two_plans_differ_where_they_differ(world: World, store: Store) -> None:
    first = plan_of(store, 'a: drop where source == "alpha"\n')
    second = plan_of(store, "b: weight *= 2 where meta.rating == 1\n")
    found = compare_plans(first, second)
    assert [(m.before, m.after, m.n_pairs) for m in found.fates] == [
        ("dropped", "kept", len(rows_where(world, source="alpha")))
    ]
    assert (found.only_first, found.only_second) == (("a",), ("b",))
    assert compare_plans(first, first).is_empty


def test_names_of_people_and_label_patterns_resolve(store: Store) -> None:
    catalogue = catalogue_of(store)
    ident = catalogue.concepts[2].concept_id
    named = plan_of(store, "drop where delta(@politeness) > 2\n", names={ident: "politeness"})
    plain = plan_of(store, 'drop where delta(@"concept 2") > 2\n')
    assert (named.fates.weight == plain.fates.weight).all()
    by_id = plan_of(store, f'concept p = id "{ident[:8]}"\ndrop where delta(@p) > 2\n')
    assert (by_id.fates.weight == plain.fates.weight).all()
    frozen = {"label_patterns": {"concept [12]": [ident]}}
    locked = plan_of(store, "concept p = label ~ /concept [12]/\ndrop where delta(@p) > 2\n", lock=frozen)
    assert (locked.fates.weight == plain.fates.weight).all()
    assert "R502" in codes(locked)


def test_a_plan_calls_concepts_as_people_do(store: Store) -> None:
    """In what moves and in what is found: the name in the rule file is the name in its plan."""
    ident = catalogue_of(store).concepts[4].concept_id
    rules = "drop where delta(@politeness) > 0\n"
    kept = [VerdictNote(ident, Verdict.KEEP)]
    plan = plan_of(store, rules, verdicts=kept, names={ident: "politeness"})
    labels = {c.concept_id: c.label for c in plan.collateral}
    assert labels.pop(ident) == "politeness"
    assert all(label.startswith("concept ") for label in labels.values())
    assert any("`politeness` is held" in w.message for w in plan.warnings)
    unnamed = plan_of(store, 'drop where delta(@"concept 4") > 0\n', verdicts=kept)
    assert {c.label for c in unnamed.collateral} == {*labels.values(), "concept 4"}


def test_a_plan_is_plain_json(store: Store) -> None:
    plan = plan_of(store, 'suppress @"concept 0" by matching\nexpect kept > 3\n')
    assert json.loads(json.dumps(plan.as_dict()))["counts"] == plan.counts


def test_errors_of_a_file_are_all_reported(store: Store) -> None:
    with pytest.raises(RuleFileError) as caught:
        plan_of(store, "drop where @x > 1\ndrop where metta.y > 1\nfilp\n")
    assert [d.code for d in caught.value.diagnostics] == ["R201", "R202", "R101"]


@pytest.mark.parametrize("option", ["unique", "at equal length"])
def test_residual_matching_balances_only_the_unexplained_part(store: Store, option: str) -> None:
    plan = plan_of(store, f'suppress @"concept 0" by matching {option} max 8\n')
    total = plan_of(store, 'suppress @"concept 0" by matching max 8\n')
    assert all(m.after == pytest.approx(0, abs=1e-5) for m in plan.matched)
    assert (plan.fates.weight != total.fates.weight).any()


def test_matching_within_too_many_values_is_refused(store: Store) -> None:
    with pytest.raises(CompileError, match="coarser"):
        plan_of(store, 'suppress @"concept 0" by matching within group\n')


def test_held_concepts_beyond_their_limit_can_fail_a_file(store: Store) -> None:
    held = catalogue_of(store).concepts[4].concept_id
    rules = 'drop where delta(@"concept 4") > 0\nsuppress @"concept 0" by offset 0.1\nexpect beyond == 0\n'
    plan = plan_of(store, rules, verdicts=[VerdictNote(held, Verdict.KEEP)])
    assert [e.holds for e in plan.expectations] == [False]


def test_matching_balances_the_statistics_it_is_asked_for(store: Store) -> None:
    plan = plan_of(store, 'suppress @"concept 0" by matching on n, delta, rate max 8\n')
    assert [m.statistic for m in plan.matched] == ["delta", "n", "rate"]
    assert all(m.after == pytest.approx(0, abs=1e-5) for m in plan.matched)
    assert any(abs(m.before) > 0.01 for m in plan.matched)
    with pytest.raises(RuleFileError):
        plan_of(store, "suppress @length by matching on n\n")


def test_a_condition_on_a_missing_column_is_reported_with_its_count(world: World, store: Store) -> None:
    plan = plan_of(store, 'let german = language == "de"\nx: drop where german\ndrop where meta.rating > 9\n')
    found = [w for w in plan.warnings if w.code == "R504"]
    assert [(w.rules, w.n_pairs) for w in found] == [(("x",), len(rows_where(world)))]
    assert "`language` is missing" in found[0].message
    assert "`x` matches none of them" in found[0].message


@pytest.mark.parametrize("condition", ['language != "de"', 'not (language == "de")'])
def test_what_negation_makes_of_missing_values_is_counted(world: World, store: Store, condition: str) -> None:
    plan = plan_of(store, f"x: drop where {condition}\n")
    n = len(rows_where(world))
    (found,) = (w for w in plan.warnings if w.code == "R504")
    assert plan.counts["dropped"] == n
    assert f"`x` matches {n} of them" in found.message
