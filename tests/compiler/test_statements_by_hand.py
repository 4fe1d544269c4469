"""Set and shape statements by counting: who goes, who is named for it, what weights and offsets become."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from engine.compiler.evaluation import Evaluation
from engine.compiler.ledger import ledger_table
from engine.compiler.lock import drift_of
from engine.compiler.match_targets import Controls, target_rows
from engine.compiler.plan import catalogue_of, make_plan
from engine.compiler.population import population
from engine.compiler.records import PlanFileError, VerdictNote
from engine.compiler.row_effects import rounded
from engine.compiler.shapes import offsets, side_terms
from engine.errors import CompileError
from engine.records import Verdict
from engine.rules.catalogue import Type
from engine.rules.checked import CheckedShape
from engine.rules.diagnostics import Place
from engine.rules.evaluate import rounded as rounded_by_interpreter
from engine.rules.terms import Concept, Constant
from engine.settings import RulesSettings
from engine.store.connection import Store
from tests.compiler.test_plan import codes, plan_of, rows_where
from tests.worlds import World


@pytest.fixture
def every() -> Constant:
    """The condition of a statement without ``where``."""
    return Constant(True, Type.TRUTH)


def test_a_cap_cuts_weights_on_both_ends_and_names_whom_it_cut(world: World, store: Store) -> None:
    rules = (
        'weight *= 3 where source == "alpha"\nweight *= 0.1 where meta.rating == 1\nc: cap weight 0.5 .. 2\n'
    )
    plan = plan_of(store, rules)
    for i in rows_where(world):
        row = world.pair_rows[i]
        weight = (3 if row["source"] == "alpha" else 1) * (0.1 if '"rating": 1' in row["meta"] else 1)
        assert plan.fates.raw_weight[i] == pytest.approx(min(max(weight, 0.5), 2))
        assert plan.fates.touched["c"][i] == (not 0.5 <= weight <= 2)


@pytest.mark.parametrize(
    "statement", ["quota by source max 7 seed 1", "sample 20 seed 3", "limit 1 per group seed 1"]
)
def test_a_set_statement_is_the_reason_of_the_pairs_that_it_removes(
    world: World, store: Store, statement: str
) -> None:
    plan = plan_of(store, f"s: {statement}\n")
    gone = [i for i in rows_where(world) if plan.fates.weight[i] == 0]
    assert gone
    assert np.flatnonzero(plan.fates.touched["s"]).tolist() == gone
    assert np.flatnonzero(plan.fates.reason["s"]).tolist() == gone


@pytest.mark.parametrize("wanted", [17, 30, 31, 44])
def test_a_sample_by_value_gives_the_rest_to_the_largest_remainder(
    world: World, store: Store, wanted: int
) -> None:
    sizes = {s: len(rows_where(world, source=s)) for s in ("alpha", "beta")}
    exact = {s: wanted * n / sum(sizes.values()) for s, n in sizes.items()}
    expected = {s: int(x) for s, x in exact.items()}
    if sum(expected.values()) < wanted:
        expected[max(exact, key=lambda s: exact[s] - int(exact[s]))] += 1
    plan = plan_of(store, f"sample {wanted} by source seed 2\n")
    kept = {s: int((plan.fates.weight[rows_where(world, source=s)] > 0).sum()) for s in sizes}
    assert kept == expected


@pytest.mark.parametrize("how", ["dropping 20%", "matching"])
def test_only_offsets_are_added_to_the_loss(store: Store, how: str) -> None:
    assert not plan_of(store, f'suppress @"concept 1" by {how}\n').fates.offset.any()
    assert not plan_of(store, 'amplify @"concept 2" by matching to 0.2 max 6\n').fates.offset.any()


def test_what_the_settings_cut_is_counted(world: World, store: Store) -> None:
    rules = "weight *= 50 where meta.rating == 1\noffset += -9 where meta.rating == 2\n"
    plan = plan_of(store, rules, settings=RulesSettings(max_weight=10.0, max_offset=5.0))
    rated = [world.pair_rows[i]["meta"] for i in rows_where(world)]
    found = {w.message.split(" ", 1)[1]: w.n_pairs for w in plan.warnings if w.code == "R511"}
    assert found == {
        "weights were cut to max_weight": sum('"rating": 1' in m for m in rated),
        "offsets were cut to max_offset": sum('"rating": 2' in m for m in rated),
    }
    assert plan.fates.offset.min() == -5


def test_without_a_cap_matching_may_set_any_weight_below_its_bound(store: Store) -> None:
    plan = plan_of(store, 'suppress @"concept 0" by matching\n')
    assert 0 < plan.fates.raw_weight[plan.fates.raw_weight > 0].min() < 0.5
    assert "R511" not in codes(plan)


def test_a_target_out_of_reach_is_shown_at_its_own_statement(store: Store) -> None:
    text = (
        'prosect rules 1\na: soften context("tea") by 0.2\nz: amplify @"concept 2" by matching to 3 max 1.5\n'
    )
    with pytest.raises(PlanFileError) as caught:
        make_plan(store, text)
    (found,) = caught.value.diagnostics
    assert text[found.place.start :].startswith("z: amplify")


def test_pairs_that_weigh_more_than_their_bound_allows_are_refused_with_the_sum(
    world: World, store: Store
) -> None:
    n = len(rows_where(world, source="alpha"))
    rules = (
        'weight = 5 where source == "alpha"\n'
        'suppress @"concept 0" by matching max 2 where source == "alpha"\n'
    )
    with pytest.raises(CompileError, match=f"the {n} pairs .*: {5 * n} of weight, more than weights up to 2"):
        plan_of(store, rules)


def test_a_negative_weight_is_said_to_count_as_nothing(world: World, store: Store) -> None:
    plan = plan_of(store, "w: weight *= (chosen.tokens - 50) * 0.01\n")
    negative = int((world.readings.pairs.chosen_tokens[rows_where(world)] < 50).sum())
    (found,) = (w for w in plan.warnings if w.code == "R511")
    assert (found.n_pairs, found.rules) == (negative, ("w",))
    assert found.message == f"the value of `w` is negative on {negative} pairs and counts as 0 there"


def test_uneven_weights_among_the_pairs_of_a_target_are_said_though_the_whole_is_even(store: Store) -> None:
    light = 'delta(@"concept 7") != 0 and delta(@"concept 7") < 1'
    plan = plan_of(store, f'weight *= 0.05 where {light}\nsuppress @"concept 7" by offset 0.1\n')
    carry = {i for (i,) in store.rows("SELECT pair FROM concept_scores WHERE concept = 7 AND u <> 0")}
    weight = np.array([w for i, w in enumerate(plan.fates.weight) if i in carry and w > 0])
    share = weight.sum() ** 2 / (weight**2).sum() / len(weight)
    assert share < 0.5 <= plan.effective_share
    (found,) = (w for w in plan.warnings if w.code == "R512")
    assert found.message == (
        f"uneven weights leave {share:.0%} effective pairs among those that carry `concept 7`"
    )


def test_keep_only_touches_what_it_drops_and_what_it_does_more_to(world: World, store: Store) -> None:
    plan = plan_of(
        store, 'k: keep only where source == "beta"\nt: keep only, tag "b" where source == "beta"\n'
    )
    assert np.flatnonzero(plan.fates.touched["k"]).tolist() == rows_where(world, source="alpha")
    assert np.flatnonzero(plan.fates.touched["t"]).tolist() == rows_where(world)
    assert np.flatnonzero(plan.fates.tags["b"]).tolist() == rows_where(world, source="beta")


def test_missing_values_are_counted_on_the_pairs_that_a_rule_matches(world: World, store: Store) -> None:
    plan = plan_of(store, 'w: weight *= strength where source == "alpha"\n')
    (found,) = (w for w in plan.warnings if w.code == "R504")
    assert (found.n_pairs, found.rules) == (len(rows_where(world, source="alpha")), ("w",))


def test_a_lock_lists_what_was_held_and_the_verdicts_it_follows_in_order(store: Store) -> None:
    kinds = [Verdict.KEEP, Verdict.SUPPRESS, Verdict.KEEP, Verdict.KEEP]
    idents = [catalogue_of(store).concepts[k].concept_id for k in (3, 0, 1, 3)]
    entries = ["ee", "aa", "", "cc"]
    notes = [VerdictNote(i, k, entry=e) for i, k, e in zip(idents, kinds, entries, strict=True)]
    lock = plan_of(store, 'soften context("tea") by 0.1\n', verdicts=notes).lock
    assert lock["journal"] == ["aa", "cc", "ee"]
    assert lock["held"] == sorted({idents[0], idents[2]})


def test_a_lock_resolves_whatever_a_file_names_wherever_it_stands(store: Store) -> None:
    rules = """
concept seven = #7
let m = delta(@"concept 0")
w: weight *= 0.5 + delta(@"concept 1") * 0 where delta(@seven) > p90(delta(@seven))
l: limit 3 per z(delta(@"concept 2")) > 1 order delta(@"concept 3") seed 4
q: sample 90% seed 9
c: cap weight 0 .. 3
s: suppress @"concept 4" by offset 0.1 where context("tea")
k: mask tokens where @"concept 5" > 1 within delta(@"concept 6") > 0
"""
    lock = plan_of(store, rules).lock
    assert {name.strip("@") for name in lock["concepts"]} == {"seven", *(f"concept {k}" for k in range(7))}
    assert lock["contexts"] == [
        ident for (ident,) in store.rows("SELECT context_id FROM contexts WHERE name = 'tea'")
    ]
    assert lock["seeds"] == [4, 9]
    by_kind = sorted(tuple(sorted(found)) for found in lock["statistics"].values())
    assert by_kind == [("mean", "sd"), ("value",)]


def test_what_two_locks_differ_in_is_said_key_by_key() -> None:
    names = {f"c{k}": k for k in range(9)}
    old = {
        "meaning": "a", "language": 1, "n_input": 90, "concepts": names, "contexts": ["x", "y"],
        "statistics": {"s": 1, "t": 2}, "settings": {"max_weight": 10, "q": 1}, "held": ["h"], "gone": 1,
    }  # fmt: skip
    new = {
        "meaning": "b", "language": 1, "n_input": 80, "concepts": {"c8": 8, "c9": 9}, "contexts": ["x"],
        "statistics": {"s": 1, "t": 3, "u": 4}, "settings": {"max_weight": 5, "q": 1},
        "held": ["h", "i", "j"],
    }  # fmt: skip
    assert drift_of(old, new) == [
        "concepts: c0, c1, c2, c3, c4, c5 and 3 more",  # c0 to c7 went, c9 came
        "contexts: 1 no longer named",
        "gone: 1 → None",
        "held concepts: 2 held since",
        "meaning: the rules say something else (layout, comments and order do not count)",
        "input pairs: 90 → 80",
        "settings: max_weight 10 → 5",
        "statistics: 2 of 3 have other values",
    ]
    assert drift_of(new, {**new, "extra": 1}) == ["extra: None → 1"]
    assert drift_of(old, old) == []


def test_a_held_concept_is_held_by_matching_though_an_offset_shapes_it(store: Store) -> None:
    held = catalogue_of(store).concepts[3].concept_id
    rules = 'suppress @"concept 0" by matching max 6\nsuppress @"concept 3" by offset 0.5\n'
    plan = plan_of(store, rules, verdicts=[VerdictNote(held, Verdict.KEEP)])
    u = np.zeros(len(plan.fates.weight))
    for pair, value in store.rows("SELECT pair, u FROM concept_scores WHERE concept = 3"):
        u[pair] = value
    before = u[population(store).input_pairs].mean()
    assert np.average(u, weights=plan.fates.weight) == pytest.approx(before, abs=1e-6)
    free = plan_of(store, rules)
    assert abs(np.average(u, weights=free.fates.weight) - before) > 1e-3


def test_a_keep_in_a_context_that_rules_emptied_holds_nothing(store: Store) -> None:
    tea = next(c for c in catalogue_of(store).contexts if c.name == "tea")
    held = catalogue_of(store).concepts[3].concept_id
    rules = 'drop where context("tea")\nsuppress @"concept 0" by matching max 8\n'
    note = VerdictNote(held, Verdict.KEEP, context_id=tea.context_id)
    plan = plan_of(store, rules, verdicts=[note])
    assert (plan.fates.weight == plan_of(store, rules).fates.weight).all()
    assert [h.mean_after for h in plan.held_inside] == [0]


def test_what_a_rule_matches_alone_is_counted_apart(world: World, store: Store) -> None:
    alpha = set(rows_where(world, source="alpha"))
    low = {i for i in rows_where(world) if '"rating": 1' in world.pair_rows[i]["meta"]}
    rules = (
        'a: weight *= 0.5 where source == "alpha"\nb: flip where meta.rating == 1\n'
        f"expect matched(a) == {len(alpha)} and unique(a) == {len(alpha - low)}\n"
        f"expect matched(b) == {len(low)} and unique(b) == {len(low - alpha)}\n"
    )
    plan = plan_of(store, rules)
    assert [e.holds for e in plan.expectations] == [True, True], [e.found for e in plan.expectations]
    (overlap,) = plan.overlaps
    assert (overlap.first, overlap.second, overlap.n_pairs) == ("a", "b", len(alpha & low))


def test_what_moves_most_is_named_first_and_targets_last(store: Store) -> None:
    held = catalogue_of(store).concepts[4].concept_id
    rules = 'drop where delta(@"concept 4") > 0\nsuppress @"concept 0" by offset 0.1\n'
    moved = plan_of(store, rules, verdicts=[VerdictNote(held, Verdict.KEEP)]).collateral
    assert [c.concept for c in moved if c.is_target] == [moved[-1].concept] == [0]
    assert moved[0].is_beyond
    assert not any(c.is_beyond for c in moved[1:])
    sizes = [abs(c.change) for c in moved[1:-1]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def test_the_make_up_before_and_after_is_a_count_of_pairs_and_a_share_of_weights(
    world: World, store: Store
) -> None:
    plan = plan_of(store, 'drop where meta.rating == 1\nweight *= 0.5 where source == "alpha"\n')
    inputs = rows_where(world)
    kept = [i for i in inputs if '"rating": 1' not in world.pair_rows[i]["meta"]]
    mass = {i: 0.5 if world.pair_rows[i]["source"] == "alpha" else 1.0 for i in kept}
    tea = {
        i
        for (i,) in store.rows(
            "SELECT pair FROM context_pairs JOIN contexts USING (context) WHERE name = 'tea'"
        )
    }
    groups = {("context", "tea"): tea}
    groups |= {("source", s): set(rows_where(world, source=s)) for s in ("alpha", "beta")}
    for (category, value), members in groups.items():
        found = next(d for d in plan.drift if (d.category, d.value) == (category, value))
        assert (found.n_before, found.n_after) == (len(members & set(inputs)), len(members & set(kept)))
        assert found.share_before == pytest.approx(len(members & set(inputs)) / len(inputs))
        assert found.share_after == pytest.approx(sum(mass.get(i, 0) for i in members) / sum(mass.values()))


def test_the_ledger_says_why_a_pair_is_gone_and_is_counted_again(world: World, store: Store) -> None:
    rules = (
        'gone: drop where source == "alpha" because "bad annotator"\nalso: drop where meta.rating == 1\n'
        "light: weight = 0 where chosen.tokens < 30\n"
    )
    plan, everyone = plan_of(store, rules), population(store)
    groups = pa.chunked_array([[row["group_id"] for row in world.pair_rows]])
    for row, origin in zip(ledger_table(plan, everyone, groups).to_pylist(), world.pair_rows, strict=True):
        if row["fate"] != "dropped":
            continue
        reasons = ["also"] if '"rating": 1' in origin["meta"] else []
        reasons += ["gone: bad annotator"] if origin["source"] == "alpha" else []
        assert row["reason"] == "; ".join(reasons or ["weight 0"])  # a weight counts where no rule drops
    silent = replace(plan, fates=replace(plan.fates, reason={}))
    with pytest.raises(CompileError, match=rf"{plan.counts['dropped']} dropped pairs have no reason"):
        ledger_table(silent, everyone, groups)
    moved = {"kept": plan.counts["kept"] + 1, "dropped": plan.counts["dropped"] - 1}
    with pytest.raises(CompileError, match="the ledger counts"):
        ledger_table(replace(plan, counts=plan.counts | moved), everyone, groups)


def _evaluation(values: dict[Any, np.ndarray], truths: dict[Any, np.ndarray]) -> Evaluation:
    n = len(next(iter(truths.values())))
    return Evaluation(np.arange(n), truths, values, {}, {}, {}, {}, {})


def _matching(concept: Concept, condition: Constant, control: str) -> CheckedShape:
    return CheckedShape(
        "s", "suppress", "matching", concept, 0.0, condition, None, control, ("u",), False, None, Place(0, 0)
    )


def test_what_matching_takes_out_goes_by_its_control(every: Constant) -> None:
    """Concepts 0 to 3, of which 0 and 2 say the same: beyond 0, only 1 and 3 are other things."""
    length = sparse.csr_matrix([[1.0, 2.0, 3.0], [0.5, 0.0, 0.0]])
    u = sparse.csr_matrix([[1.0, 0, 0], [0, 1, 1], [1, 0, 0], [0, 0, -1]])
    controls = Controls(length, u, (0, 1, 2, 3), {0: 7, 2: 7, 3: 8})
    flipped = np.array([False, True, False])
    own = Concept("own", "latents", (1,), number=0)
    assert controls.of(_matching(own, every, "total"), flipped) is None
    turned = [[1, -2, 3], [0.5, 0, 0]]
    by_length = controls.of(_matching(own, every, "length"), flipped)
    assert by_length is not None
    assert by_length.toarray().tolist() == turned
    unique = controls.of(_matching(own, every, "unique"), flipped)
    assert unique is not None
    assert unique.toarray().tolist() == [*turned, [0, -1, 1], [0, 0, -1]]
    alone = controls.of(_matching(Concept("1", "latents", (2,), number=1), every, "unique"), flipped)
    assert alone is not None
    assert alone.shape == (2 + 3, 3)  # it is in no redundancy group: all others are


@pytest.mark.parametrize(("n", "is_refused"), [(4, False), (3, True)])
def test_only_controls_that_occur_in_the_selection_count_against_its_pairs(
    every: Constant, n: int, is_refused: bool
) -> None:
    """Two length columns, one concept that occurs, one that is silent: three things to take out."""
    own = Concept("own", "latents", (1,), number=0)
    u = np.array([1.0, -1.0, 1.0, 1.0])
    length = sparse.csr_matrix([[1.0, 2, 3, 5], [1, 0, 2, 1]])
    others = sparse.csr_matrix([[1.0, -1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]])
    controls = Controls(length, others, (0, 1, 2), {})
    inside = np.arange(4) < n
    known = ({own.key: u}, controls)
    evaluation = _evaluation({}, {every: inside})
    shape = _matching(own, every, "unique")

    def targets() -> int:
        return len(target_rows(shape, evaluation, known, np.zeros(4, bool), np.ones(4, bool), np.ones(4)))

    if is_refused:
        with pytest.raises(CompileError, match=f"takes out 3 other things on {n} pairs"):
            targets()
    else:
        assert targets() == 1


def test_weights_and_offsets_are_rounded_away_from_zero_at_a_half() -> None:
    values = [2.5e-6, -2.5e-6, 1.4e-6, -1.6e-6, 0.0]
    assert rounded(np.array(values)).tolist() == [3e-6, -3e-6, 1e-6, -2e-6, 0]
    assert [rounded_by_interpreter(v) for v in values] == [3e-6, -3e-6, 1e-6, -2e-6, 0]


def test_a_concept_that_never_varies_cannot_be_shaped_by_an_offset(every: Constant) -> None:
    concept = Concept("flat", "latents", (1,))
    shape = CheckedShape(
        "s", "suppress", "offset", concept, 0.5, every, None, "total", (), False, None, Place(0, 0)
    )
    same = dict.fromkeys(side_terms(concept), np.full(4, 2.0))
    with pytest.raises(CompileError, match="same score on every response"):
        offsets([shape], _evaluation(same, {every: np.ones(4, bool)}), np.zeros(4, bool), np.ones(4, bool))
