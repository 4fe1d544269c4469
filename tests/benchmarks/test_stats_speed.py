"""Speed of the statistics, as ratios to one bandwidth-bound pass over the same rows in the same run.

    pytest -s -m benchmark tests/benchmarks/test_stats_speed.py

``PROSECT_BENCH_ROWS`` sets the size (default 4 million rows; 44 million is that of the published figures).
Times are CPU seconds of all threads, so that ratios hold on a busy machine. Nothing is asserted about time;
what is asserted is that the passes agree with a plain computation.
"""

import os
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
import statsmodels.api as sm

from engine.arrays import Disparity, PairArrays
from engine.stats.design import build_design, length_ratio, linear_design
from engine.stats.null import fit_null
from engine.stats.score import score_tests
from engine.stats.sums import unit_sums

pytestmark = pytest.mark.benchmark
ROWS = int(os.environ.get("PROSECT_BENCH_ROWS", "4000000"))
ROWS_PER_PAIR = 175
LATENTS = 16_384


def _pairs(n: int, rng: np.random.Generator) -> PairArrays:
    base = rng.lognormal(5.4, 0.8, n)
    chosen = np.maximum(4, base * rng.lognormal(0.12, 0.35, n)).astype(np.int32)
    rejected = np.maximum(4, base * rng.lognormal(0, 0.35, n)).astype(np.int32)
    group = np.cumsum(rng.random(n) > 0.1).astype(np.int32)
    unknown = np.full(n, -1, np.int32)
    return PairArrays(
        np.ones(n, np.bool_), group, (group % 20).astype(np.int8), chosen, chosen, rejected,
        rng.integers(0, 3, n).astype(np.int32), unknown, unknown, unknown, ("a", "b", "c"), (), (),
    )  # fmt: skip


def _disparity(n_pairs: int, rng: np.random.Generator) -> Disparity:
    """Power-law prevalence; 62% of rows discordant, as in real readings."""
    share = 1 / (np.arange(LATENTS) + 12.0) ** 1.02
    sizes = np.minimum(np.maximum(ROWS * share / share.sum(), 4), n_pairs * 0.8).astype(np.int64)
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    pair = np.concatenate([np.sort(rng.choice(n_pairs, int(s), replace=False)) for s in sizes]).astype(
        np.uint32
    )
    u = rng.choice(np.array([-1, 0, 1], np.float32), int(indptr[-1]), p=[0.31, 0.38, 0.31])
    return Disparity(indptr, pair, u)


def _say(line: str) -> None:
    """Shown with ``pytest -s``."""
    sys.stdout.write(line + "\n")


def _best(work: Callable[[], object], repeat: int = 5) -> float:
    work()
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def test_passes_against_bandwidth_and_against_one_logit_per_latent() -> None:
    rng = np.random.default_rng(0)
    n_pairs = max(ROWS // ROWS_PER_PAIR, 2000)
    pairs, disparity = _pairs(n_pairs, rng), _disparity(n_pairs, rng)
    n_rows = len(disparity.pair)
    weight = np.ones(n_pairs)
    full = fit_null(build_design(pairs, topic=(pairs.group % 16).astype(np.int32)), pairs.group, weight)
    linear = fit_null(linear_design(pairs), pairs.group, weight)
    bytes_per_row = np.ascontiguousarray(np.stack([disparity.pair, disparity.u.view(np.uint32)], axis=1))
    bandwidth = _best(lambda: bytes_per_row.view(np.uint64).max())
    timed = {
        "bandwidth-bound pass (8 bytes a row)": bandwidth,
        "taught: sums by prompt group": _best(lambda: unit_sums(disparity, pairs, weight)),
        "equal length, linear null (1 column)": _best(lambda: score_tests(disparity, linear)),
        f"equal length, full null ({full.design.n_columns} columns)": _best(
            lambda: score_tests(disparity, full), 3
        ),
    }
    latent = 50
    x = np.zeros(n_pairs)
    rows = slice(int(disparity.indptr[latent]), int(disparity.indptr[latent + 1]))
    x[disparity.pair[rows]] = disparity.u[rows]
    turn = rng.choice([-1.0, 1.0], n_pairs)
    exog = np.stack([x, length_ratio(pairs)], axis=1) * turn[:, None]
    logit = _best(lambda: sm.Logit((turn > 0).astype(float), exog).fit(disp=0), 2)
    _say(f"\n{n_rows:,} rows, {n_pairs:,} pairs, {LATENTS:,} latents")
    for name, seconds in timed.items():
        _say(f"  {name:45s} {seconds * 1e3:9.1f} ms  {seconds / bandwidth:7.1f}×")
    every = logit * LATENTS
    _say(f"  {'statsmodels Logit, one latent':45s} {logit * 1e3:9.1f} ms")
    for name, seconds in list(timed.items())[2:]:
        _say(f"    all latents that way / {name}: {every / seconds:,.0f}×")
    plain = float((weight[disparity.pair[rows]] * disparity.u[rows]).sum())
    assert unit_sums(disparity, pairs, weight).wu[latent] == pytest.approx(plain)
    assert score_tests(disparity, full).score[latent] == pytest.approx(float(full.residual @ x))
