"""Latents that fire together become one concept; nothing about it depends on which side won."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import mutual_info_score

from engine.arrays import PairArrays, Readings
from engine.concepts.cofiring import normalised_information
from engine.concepts.delta import NAMING_PROMPTS, delta_words
from engine.concepts.discover import ConceptSet, _told_apart, discover
from engine.concepts.redundancy import redundancy_groups
from engine.concepts.scores import ConceptScores
from engine.concepts.texts import PairTexts, TokenPlace
from engine.errors import ConceptError
from engine.progress import NullProgress
from engine.records import ConceptKind
from engine.settings import ConceptSettings
from tests.concepts.inputs import texts_for, token
from tests.worlds import from_dense, make_readings

SETTINGS = ConceptSettings(min_pairs=10, edge_share=0.1)


def _discover(readings: Readings, texts: PairTexts | None = None, hashed: str = "r") -> ConceptSet:
    own = texts or texts_for(readings.n_pairs)
    return discover(readings, own, token, SETTINGS, NullProgress(), reader_hash=hashed)


def _blocks(n_pairs: int = 400, n_blocks: int = 4, width: int = 4, seed: int = 0) -> Readings:
    """Latents in blocks that nearly always fire together, plus as many that fire alone."""
    rng = np.random.default_rng(seed)
    base = make_readings(n_pairs, 4, seed=seed).pairs

    def side() -> NDArray[np.bool_]:
        cause = rng.random((n_pairs, n_blocks)) < 0.3
        together = np.repeat(cause, width, axis=1) & (rng.random((n_pairs, n_blocks * width)) < 0.9)
        alone = rng.random((n_pairs, n_blocks * width)) < 0.15
        return np.concatenate([together, alone], axis=1)

    def dense(fires: NDArray[np.bool_]) -> tuple[NDArray[np.generic], ...]:
        count = fires.astype(np.uint16) * 3
        top = (fires * rng.gamma(2, 1, fires.shape)).astype(np.float32)
        return top, count, top * 2, np.zeros(fires.shape, np.uint16)

    return from_dense(base, dense(side()), dense(side()), dense(side()))  # type: ignore[arg-type] # arrays


def _swapped(readings: Readings) -> Readings:
    p: PairArrays = dataclasses.replace(
        readings.pairs,
        chosen_tokens=readings.pairs.rejected_tokens,
        rejected_tokens=readings.pairs.chosen_tokens,
    )
    by_latent = dataclasses.replace(
        readings.by_latent, chosen=readings.by_latent.rejected, rejected=readings.by_latent.chosen
    )
    by_pair = dataclasses.replace(
        readings.by_pair, chosen=readings.by_pair.rejected, rejected=readings.by_pair.chosen
    )
    return Readings(p, by_latent, by_pair, readings.prompts)


def test_blocks_of_latents_that_fire_together_are_found_whole() -> None:
    found = _discover(_blocks())
    clusters = {frozenset(c.latents) for c in found.concepts if c.kind is ConceptKind.CLUSTER}
    for block in range(4):
        assert frozenset(range(4 * block, 4 * block + 4)) in clusters


def test_latents_that_fire_alone_become_concepts_of_their_own() -> None:
    found = _discover(_blocks())
    single = {c.latents[0] for c in found.concepts if c.kind is ConceptKind.LATENT}
    assert len(single & set(range(16, 32))) >= 12


def test_information_is_scikit_learns_over_the_root_of_the_entropies() -> None:
    rng = np.random.default_rng(0)
    a = rng.random(500) < 0.3
    others = np.stack([a & (rng.random(500) < 0.8), rng.random(500) < 0.4, ~a], axis=1)
    together = (others & a[:, None]).sum(axis=0).astype(np.int32)
    got, _ = normalised_information(together, float(a.sum()), others.sum(axis=0).astype(float), 500)
    for k in range(3):
        expected = mutual_info_score(a, others[:, k])
        expected /= np.sqrt(mutual_info_score(a, a) * mutual_info_score(others[:, k], others[:, k]))
        if together[k] * 500 > a.sum() * others[:, k].sum():
            assert got[k] == pytest.approx(expected)
        else:
            assert got[k] == 0  # avoiding one another is no reason to be one concept


@given(st.integers(0, 100))
@settings(max_examples=4)
def test_swapping_sides_changes_nothing_but_the_sign_of_u(seed: int) -> None:
    readings = _blocks(200, seed=seed)
    texts = texts_for(200)
    one = _discover(readings, texts)
    other = _discover(_swapped(readings), PairTexts(texts.prompt, texts.rejected, texts.chosen))
    assert one.ids == other.ids
    assert [c.redundancy_id for c in one.concepts] == [c.redundancy_id for c in other.concepts]
    np.testing.assert_array_equal(one.scores.u, -other.scores.u)
    np.testing.assert_array_equal(one.scores.activity, other.scores.activity)


def test_ids_hold_across_runs_and_depend_on_reader_and_members_only() -> None:
    readings = _blocks()
    assert _discover(readings).ids == _discover(readings, texts_for(400, seed=9)).ids
    latent = [c.concept_id for c in _discover(readings).concepts if c.latents]
    other = [c.concept_id for c in _discover(readings, hashed="another").concepts if c.latents]
    assert not set(latent) & set(other)


def test_scores_are_the_members_own_numbers() -> None:
    readings = make_readings(300, 20, seed=3)
    found = _discover(readings)
    tau = SETTINGS.fire_rate_threshold
    by_pair, pairs = readings.by_pair, readings.pairs
    for number in (0, len([c for c in found.concepts if c.latents]) - 1):
        members = found.concepts[number].latents
        rows = found.scores.rows(number)
        score = dict(zip(found.scores.pair[rows].tolist(), range(rows.start, rows.stop), strict=True))
        for i in range(0, 300, 17):
            at = slice(int(by_pair.indptr[i]), int(by_pair.indptr[i + 1]))
            inside = np.isin(by_pair.latent[at], members)
            c_rate = by_pair.chosen.n_fired[at][inside] / pairs.chosen_tokens[i]
            r_rate = by_pair.rejected.n_fired[at][inside] / pairs.rejected_tokens[i]
            u = ((c_rate > tau).sum() - (r_rate > tau).sum()) / len(members)
            if i not in score:
                assert not inside.any()
                continue
            row = score[i]
            assert found.scores.u[row] == pytest.approx(u)
            assert found.scores.chosen[row] == by_pair.chosen.act_max[at][inside].max(initial=0)
            assert found.scores.activity[row] == pytest.approx((c_rate + r_rate).sum(), rel=1e-5)


def test_the_medoid_comes_first_and_is_the_most_connected() -> None:
    for concept in _discover(_blocks()).concepts:
        assert list(concept.centrality) == sorted(concept.centrality, reverse=True)


def test_rare_latents_stay_outside_but_are_counted() -> None:
    readings = make_readings(300, 40)
    n_fired = np.diff(readings.by_latent.indptr)
    few = ConceptSettings(min_pairs=int(np.median(n_fired)) + 1, edge_share=0.1)
    found = discover(readings, texts_for(300), token, few, NullProgress())
    assert found.coverage.latents_rare == int(((n_fired > 0) & (n_fired < few.min_pairs)).sum())
    assert found.coverage.latents_clustered + found.coverage.latents_rare == found.coverage.latents_fired
    assert found.coverage.share_activation < 1
    assert (found.concept_of[n_fired < few.min_pairs] == -1).all()


def test_two_latents_that_always_fire_alike_share_a_redundancy_group() -> None:
    rng = np.random.default_rng(0)
    readings = _blocks(300)
    fires = rng.random((300, 6)) < 0.3
    fires[:, 1] = fires[:, 0]
    top = fires.astype(np.float32)
    dense = (top, fires.astype(np.uint16), top, np.zeros((300, 6), np.uint16))
    twin = from_dense(readings.pairs, dense, dense, dense)
    alone = dataclasses.replace(SETTINGS, min_latents=3)  # the twins stay two concepts
    found = discover(twin, texts_for(300), token, alone, NullProgress())
    group = {c.latents[0]: c.redundancy_id for c in found.concepts if len(c.latents) == 1}
    assert group[0] is not None
    assert group[0] == group[1]
    assert all(group[k] is None for k in range(2, 6))


def test_no_activation_at_all_is_an_error_that_says_where_to_look() -> None:
    readings = make_readings(20, 3)
    silent = np.zeros((20, 3))
    nothing = (silent.astype(np.float32), silent.astype(np.uint16), silent.astype(np.float32),
               silent.astype(np.uint16))  # fmt: skip
    with pytest.raises(ConceptError, match="no latent fires"):
        _discover(from_dense(readings.pairs, nothing, nothing, nothing))


def test_no_two_concepts_have_the_same_working_label() -> None:
    readings = make_readings(400, 60)
    everywhere = TokenPlace("same", "", "")
    found = discover(
        readings, texts_for(400), lambda *_: everywhere, ConceptSettings(min_pairs=10), NullProgress()
    )
    names = [c.name.casefold() for c in found.concepts]
    assert len(set(names)) == len(names)
    assert names[0].startswith('"same" #')


def test_a_delta_is_named_by_the_side_that_has_more_of_it_whichever_won() -> None:
    """U is +1 where chosen says "sorry" and −1 where rejected does; swapping sides changes nothing."""
    n = 60
    with_it, without = "sorry to say that", "happy to say that"
    chosen = [with_it if i % 2 else without for i in range(n)]
    rejected = [without if i % 2 else with_it for i in range(n)]
    u = np.where(np.arange(n) % 2, 1.0, -1.0).astype(np.float32)
    zeros, no = np.zeros(n, np.float32), np.zeros(n, np.bool_)
    for sign in (1, -1):
        scores = ConceptScores(
            np.array([0, n]), np.arange(n, dtype=np.uint32), zeros, zeros, zeros, sign * u, zeros, no, no, no
        )
        sides = (chosen, rejected) if sign == 1 else (rejected, chosen)
        own = [f"{chr(97 + i % 26) * 3} {'klm'[i // 26] * 4}" for i in range(n)]
        told = [[f"{text} {w}" for text, w in zip(side, own, strict=True)] for side in sides]
        texts = PairTexts(["p"] * n, *told)
        words, pairs = delta_words(scores, 0, texts, np.arange(n, dtype=np.int32))
        assert words[0] == "sorry"
        assert "happy" not in words
        assert len(pairs) == n


def test_a_delta_is_read_off_the_most_different_pair_of_each_of_the_first_prompts() -> None:
    """Two pairs of each of 230 prompts; the second differs more, and more so in later prompts."""
    n = 460
    u = np.repeat(np.linspace(0.1, 0.5, 230), 2) + np.tile([0.0, 0.4], 230)
    zeros, no = np.zeros(n, np.float32), np.zeros(n, np.bool_)
    scores = ConceptScores(
        np.array([0, n]),
        np.arange(n, dtype=np.uint32),
        zeros,
        zeros,
        zeros,
        u.astype(np.float32),
        zeros,
        no,
        no,
        no,
    )
    texts = PairTexts(["p"] * n, ["sorry about it"] * n, ["happy about it"] * n)
    _, pairs = delta_words(scores, 0, texts, (np.arange(n) // 2).astype(np.int32))
    assert pairs == tuple(range(n - 2 * NAMING_PROMPTS + 1, n, 2))


def test_concepts_that_every_response_carries_are_not_taken_for_the_same() -> None:
    """Correlation says nothing of what never varies; 2 and 3 are the same on half of the responses."""
    n = 40
    carries = [np.ones(n, np.bool_), np.ones(n, np.bool_), np.arange(n) % 2 == 0, np.arange(n) % 2 == 0]
    pair = np.concatenate([np.flatnonzero(c) for c in carries])
    fires = np.ones(len(pair), np.bool_)
    zeros = np.zeros(len(pair), np.float32)
    indptr = np.cumsum([0, *(c.sum() for c in carries)])
    scores = ConceptScores(
        indptr, pair.astype(np.uint32), zeros, zeros, zeros, zeros, zeros, fires, fires, ~fires
    )
    found = redundancy_groups(scores, n, np.random.default_rng(0))
    assert found[:2] == [None, None]
    assert found[2] is not None
    assert found[2] == found[3]


def test_two_concepts_of_one_label_are_told_apart_and_others_left_alone() -> None:
    found = _discover(_blocks()).concepts
    first, second, third = [c for c in found if c.latents][:3]
    twins = [dataclasses.replace(c, name=n) for c, n in ((first, "Tea"), (second, "tea"), (third, "milk"))]
    assert [c.name for c in _told_apart(twins)] == [
        f"Tea #{first.latents[0]}", f"tea #{second.latents[0]}", "milk",
    ]  # fmt: skip


def test_coverage_counts_what_is_in_a_concept() -> None:
    readings = _blocks()
    found = _discover(readings)
    latents = [c.latents for c in found.concepts if c.kind in (ConceptKind.CLUSTER, ConceptKind.LATENT)]
    inside = {latent for own in latents for latent in own}
    by_latent = readings.by_latent
    latent = np.repeat(np.arange(readings.n_latents), np.diff(by_latent.indptr))
    mass = by_latent.chosen.act_sum.astype(float) + by_latent.rejected.act_sum
    fires = (by_latent.chosen.n_fired > 0) | (by_latent.rejected.n_fired > 0)
    told = found.coverage
    assert (told.n_clusters, told.n_single) == (
        sum(len(own) > 1 for own in latents), sum(len(own) == 1 for own in latents),
    )  # fmt: skip
    assert told.n_clusters > 0
    assert told.latents_clustered == len(inside)
    assert told.latents_fired == len(set(latent))
    is_inside = np.isin(latent, sorted(inside))
    assert told.share_activation == pytest.approx(mass[is_inside].sum() / mass.sum())
    carried = set(by_latent.pair[is_inside & fires].tolist())
    assert told.share_pairs >= len(carried) / readings.n_pairs
