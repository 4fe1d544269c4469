"""Stricter rules: against independent arithmetic, and on planted effects."""

import numpy as np
import pytest
from scipy import stats

from engine.stats.design import linear_design
from engine.stats.null import fit_null
from engine.stats.score import score_tests
from engine.stats.strict import by_q, max_t_equal, max_t_taught, mirror_calls, signed_ranks
from engine.stats.sums import unit_sums
from engine.stats.taught import taught
from tests.stats.inputs import disparity_of, latents_of
from tests.worlds import make_readings


def test_by_is_bh_times_the_harmonic_sum() -> None:
    """Four p of 0.01: BH q 0.01, BY q 0.01 · (1 + 1/2 + 1/3 + 1/4) = 0.0208."""
    q = by_q(np.array([0.01] * 4 + [np.nan, 0.5]), np.array([True] * 4 + [True, False]))
    np.testing.assert_allclose(q[:4], 0.01 * (1 + 1 / 2 + 1 / 3 + 1 / 4))
    assert np.isnan(q[4:]).all()


def test_signed_ranks_give_scipys_wilcoxon() -> None:
    """One pair per group: the flip score of signed ranks is Wilcoxon's z (Pratt's ties, no continuity)."""
    rng = np.random.default_rng(0)
    u = rng.normal(0.2, 1, 80).round(1)
    units = disparity_of(u[:, None])
    readings = make_readings(80, 1)
    pairs = readings.pairs
    alone = type(pairs)(
        **{f: getattr(pairs, f) for f in pairs.__dataclass_fields__}
        | {
            "group": np.arange(80, dtype=np.int32),
            "is_signed": np.ones(80, np.bool_),
        }
    )
    z = taught(unit_sums(signed_ranks(units, np.ones(80)), alone, np.ones(80))).z[0]
    expected = stats.wilcoxon(u, zero_method="wilcox", correction=False, method="approx")
    assert abs(z) == pytest.approx(stats.norm.isf(float(expected.pvalue) / 2), rel=1e-3)


def test_max_t_keeps_planted_effects_and_its_p_is_about_bonferronis() -> None:
    readings = make_readings(1500, 40, effects={0: 1.5, 1: -1.5})
    pairs, units = readings.pairs, latents_of(readings)
    weight = pairs.is_signed.astype(np.float64)
    tested = np.ones(units.n_units, np.bool_)
    p = max_t_taught(units, pairs.group, weight, tested, draws=400, seed=0)
    assert (p[:2] < 0.01).all()
    single = taught(unit_sums(units, pairs, weight)).p
    middle = (single > 0.001) & (single < 0.02) & (np.arange(40) > 1)
    if middle.any():
        np.testing.assert_allclose(p[middle], 1 - (1 - single[middle]) ** 40, atol=0.12)
    null = fit_null(linear_design(pairs), pairs.group, weight)
    equal = max_t_equal(units, null, score_tests(units, null), tested, draws=400, seed=0)
    assert (equal[:2] < 0.01).all()
    assert np.median(equal[2:]) > 0.3


def test_max_t_holds_the_chance_of_any_false_call() -> None:
    rng = np.random.default_rng(3)
    readings = make_readings(400, 20)
    pairs, units = readings.pairs, latents_of(readings)
    weight = pairs.is_signed.astype(np.float64)
    hits = 0
    for draw in range(60):
        flip = rng.choice([-1.0, 1.0], int(pairs.group.max()) + 1)[pairs.group].astype(np.float32)
        turned = type(units)(units.indptr, units.pair, units.u * flip[units.pair])
        p = max_t_taught(turned, pairs.group, weight, np.ones(20, np.bool_), draws=199, seed=draw)
        hits += bool((p <= 0.05).any())
    assert hits <= 8  # P(more | 5%) = 0.4%


def test_the_mirror_calls_what_both_halves_show() -> None:
    """20 effects of z about 4 in both halves among 500 nulls: found, with few nulls."""
    rng = np.random.default_rng(0)
    z = rng.normal(0, 1, (2, 520))
    z[:, :20] += 4
    called = mirror_calls(z[0], z[1], 0.1)
    assert called[:20].sum() >= 15
    assert called[20:].sum() <= 5
    assert not mirror_calls(z[0][20:], z[1][20:], 0.05).any()
    assert not mirror_calls(np.full(3, np.nan), np.zeros(3), 0.05).any()
