"""The null model's columns, each written out again, and which are left out."""

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.arrays import PairArrays
from engine.stats.design import Design, build_design, length_ratio
from tests.stats.inputs import with_pairs
from tests.worlds import make_readings

Vector = NDArray[np.float64]
N = 4000


@pytest.fixture(scope="module")
def pairs() -> PairArrays:
    """Of sources *big* has most pairs but few labels, *main* most labels, *bare* none; one pair is empty."""
    readings = make_readings(N, 1, seed=4)
    rng = np.random.default_rng(5)
    source = rng.choice(4, N, p=[0.45, 0.35, 0.15, 0.05]).astype(np.int32)
    labelled = np.where(source == 0, rng.random(N) < 0.3, source != 3)
    tokens = [rng.integers(1, 300, N).astype(np.int32) for _ in range(2)]
    for side in tokens:
        side[7] = 0
    return with_pairs(
        readings, is_signed=labelled, source=source, source_names=("big", "main", "small", "bare"),
        chosen_tokens=tokens[0], rejected_tokens=tokens[1], group=np.arange(N, dtype=np.int32),
    ).pairs  # fmt: skip


def column(design: Design, name: str) -> Vector:
    return design.z[:, design.names.index(name)]


def scaled(values: Vector, pairs: PairArrays) -> Vector:
    """Over the root of its mean square on labelled pairs."""
    return np.asarray(values / np.sqrt(np.mean(values[pairs.is_signed] ** 2)))


def test_every_column_has_mean_square_one_on_labelled_pairs(pairs: PairArrays) -> None:
    design = build_design(pairs)
    assert len(design.names) == design.z.shape[1] > 15
    np.testing.assert_allclose((design.z[pairs.is_signed] ** 2).mean(axis=0), 1)
    assert np.isfinite(design.z).all()


def test_lengths_stand_in_the_columns_by_their_names(pairs: PairArrays) -> None:
    design, signed = build_design(pairs), pairs.is_signed
    chosen, rejected = (np.maximum(n, 1) for n in (pairs.chosen_tokens, pairs.rejected_tokens))
    ratio, difference = np.log(chosen / rejected), pairs.chosen_tokens.astype(float) - pairs.rejected_tokens
    np.testing.assert_allclose(length_ratio(pairs), ratio, atol=1e-12)
    mean = np.log(np.maximum((pairs.chosen_tokens + pairs.rejected_tokens) / 2, 0.5))
    mean = (mean - mean[signed].mean()) / mean[signed].std()
    expected = {
        "log ratio": ratio,
        "token difference": difference,
        "log ratio × mean length": ratio * mean,
        "token difference × mean length": difference * mean,
        "log ratio × mean length²": ratio * mean**2,
    }
    both = np.log(np.concatenate([chosen[signed], rejected[signed]]))
    for share in (0.5, 0.25, 0.75, 0.9):
        knot = np.quantile(both, share)
        own = np.maximum(np.log(chosen) - knot, 0) - np.maximum(np.log(rejected) - knot, 0)
        expected[f"own length above {np.exp(knot):.0f} tokens"] = own
    for name, x, shares in (
        ("log ratio", ratio, (0.5, 0.25, 0.8)),
        ("token difference", difference, (0.5, 0.8)),
    ):
        for share in shares:
            knot = np.quantile(np.abs(x[signed]), share)
            expected[f"{name} beyond {knot:.3g}"] = np.sign(x) * np.maximum(np.abs(x) - knot, 0)
    assert set(expected) <= {*design.names, *design.left_out}
    for name in set(expected) & set(design.names):
        np.testing.assert_allclose(
            column(design, name), scaled(expected[name], pairs), atol=1e-9, err_msg=name
        )
    assert len(set(expected) & set(design.names)) > 8


def test_sources_have_slopes_of_their_own_beside_the_one_with_most_labels(pairs: PairArrays) -> None:
    design = build_design(pairs)
    every = {*design.names, *design.left_out}
    for source, has_slope in (("big", True), ("main", False), ("small", True), ("bare", False)):
        assert (f"log ratio × source {source}" in every) is has_slope
    inside = length_ratio(pairs) * (pairs.source == 2)
    np.testing.assert_allclose(column(design, "log ratio × source small"), scaled(inside, pairs))


def test_topics_have_slopes_and_pairs_without_one_none(pairs: PairArrays) -> None:
    topic = np.where(np.arange(N) % 3 == 0, -1, np.arange(N) % 3 - 1).astype(np.int32)
    design = build_design(pairs, topic=topic)
    every = [n for n in (*design.names, *design.left_out) if "topic" in n]
    assert sorted(every) == ["log ratio × topic 0", "log ratio × topic 1"]
    inside = length_ratio(pairs) * (topic == 0)
    np.testing.assert_allclose(column(design, "log ratio × topic 0"), scaled(inside, pairs))
    assert build_design(pairs, topic=np.full(N, -1, np.int32)).names == build_design(pairs).names


def test_a_covariate_that_says_nothing_new_is_left_out_and_named(pairs: PairArrays) -> None:
    rng = np.random.default_rng(0)
    new, copy = rng.normal(size=N), 3 * length_ratio(pairs)
    silent = np.where(pairs.is_signed, 0.0, 1.0)  # differs on unlabelled pairs only
    columns = {"@new": new, "@copy": copy, "@silent": silent}
    design = build_design(pairs, covariates=tuple(columns), columns=columns)
    assert "@new" in design.names
    assert {"@copy", "@silent"} <= set(design.left_out)
    np.testing.assert_allclose(column(design, "@new"), scaled(new, pairs))
