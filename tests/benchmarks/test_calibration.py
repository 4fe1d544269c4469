"""Calibration on real preference data, figures printed for the lab log.

    PROSECT_DATA=folder pytest -s -m benchmark tests/benchmarks/test_calibration.py
    PROSECT_PROJECTS=audit:other pytest -s -m benchmark tests/benchmarks/test_calibration.py

The folder holds ``hh_harmless_base_test.jsonl.gz`` and ``alpaca_eval_battles.parquet``, whose units are words
(see ``words.py``); projects are audits of any data, whose units are the concepts of their own reader. Without
either the tests are skipped. Labels are redrawn, so the truth is known. ``PROSECT_DRAWS`` sets the
relabellings (default 20 per world and 40 per null; the log's figures say theirs).
"""

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.arrays import Disparity, PairArrays, Readings
from engine.concepts.scores import latent_disparity
from engine.paths import ProjectPaths
from engine.progress import NullProgress
from engine.settings import Settings, StatsSettings
from engine.stats.arms import joined, length_arm, model_arm, reading_arm, unit_arm
from engine.stats.auc import held_out
from engine.stats.design import build_design
from engine.stats.length_worlds import length_worlds
from engine.stats.selftest import null_test, random_contexts
from tests.benchmarks.words import battles, harmless, word_readings

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(
        not {"PROSECT_DATA", "PROSECT_PROJECTS"} & set(os.environ),
        reason="PROSECT_DATA and PROSECT_PROJECTS name no folder",
    ),
]
DRAWS = int(os.environ.get("PROSECT_DRAWS", "20"))
WORDS = ("harmless", "battles") if "PROSECT_DATA" in os.environ else ()
PROJECTS = tuple(p for p in os.environ.get("PROSECT_PROJECTS", "").split(":") if p)
SETS = WORDS + PROJECTS or ("none",)
"""Never empty: without data the tests are collected and skipped."""


def _say(line: str) -> None:
    """Shown with ``pytest -s``."""
    sys.stdout.write(line + "\n")


def _readings(name: str) -> Readings:
    folder = Path(os.environ["PROSECT_DATA"])
    if name == "harmless":
        return word_readings(harmless(folder), 2000)
    return word_readings(battles(folder), 600)


def _units(name: str) -> tuple[Disparity, PairArrays, NDArray[np.int32] | None]:
    """Units, pairs and topics (None: no topics) of a dataset of words or of an audit."""
    if name in WORDS:
        readings = _readings(name)
        return latent_disparity(readings, 0.0), readings.pairs, None
    from engine.pipeline.checks import open_audit

    audited = open_audit(ProjectPaths(Path(name)), Settings())
    return audited.concepts.disparity, audited.readings.pairs, audited.topic


def _topic(group: NDArray[np.int32]) -> NDArray[np.int32]:
    """Eight subjects dealt to prompt groups at random."""
    own = np.random.default_rng(0).permutation(int(group.max()) + 1) % 8
    return own[group].astype(np.int32)


@pytest.mark.timeout(14400)
@pytest.mark.parametrize("name", SETS)
def test_equal_length_calls_are_hardly_confounded_in_five_length_worlds(name: str) -> None:
    units, pairs, topic = _units(name)
    unknown = np.full(pairs.n_pairs, -1, np.int32)
    pairs = dataclasses.replace(pairs, model_chosen=unknown, model_rejected=unknown)
    topic = _topic(pairs.group) if topic is None else topic
    results = length_worlds(
        units, pairs, build_design(pairs, topic=topic), pairs.is_signed.astype(np.float64),
        topic, StatsSettings(), draws=DRAWS, progress=NullProgress(),
    )  # fmt: skip
    _say(f"\n{name}: {pairs.n_pairs:,} pairs, {DRAWS} draws per world")
    for r in results:
        _say(
            f"  {r.world:15s} {r.judge:16s} {r.calls:6.1f} calls, {r.found:5.1f} of 50 found, "
            f"{r.confounded_share:.1%} confounded"
        )
    by = {(r.world, r.judge): r for r in results}
    for world in {r.world for r in results}:
        assert by[world, "full null model"].confounded_share <= 0.08
        assert by[world, "full null model"].found >= 0.9 * by[world, "oracle"].found


@pytest.mark.timeout(14400)
@pytest.mark.parametrize("name", SETS)
def test_nulls_and_random_contexts_are_calibrated(name: str) -> None:
    units, pairs, topic = _units(name)
    design, weight = build_design(pairs, topic=topic), pairs.is_signed.astype(np.float64)
    _say(f"\n{name}: {pairs.n_pairs:,} pairs, {units.n_units:,} units, {design.n_columns} null columns")
    nulls = null_test(
        {"units": units}, pairs, design, weight, StatsSettings(), draws=2 * DRAWS, progress=NullProgress()
    )
    for r in nulls:
        _say(f"  {r.test:16s} {r.draws_with_call}/{r.draws} draws with a call [{r.low:.3f}, {r.high:.3f}]")
    contexts = random_contexts(units, pairs, design, weight, StatsSettings())
    _say(f"  random contexts: sd {contexts.sd:.3f} over {contexts.n_cells:,} cells, {contexts.calls} calls")
    assert all(r.passed for r in nulls)
    assert contexts.passed


@pytest.mark.timeout(14400)
@pytest.mark.skipif(not WORDS, reason="PROSECT_DATA names no folder; `prosect auc` does this for audits")
@pytest.mark.parametrize("name", WORDS or ("none",))
def test_what_tells_the_sides_apart_on_held_out_prompts(name: str) -> None:
    readings = _readings(name)
    pairs = readings.pairs
    length, reading, model = length_arm(pairs), reading_arm(readings), model_arm(pairs)
    words = unit_arm("presence of words", latent_disparity(readings, 0.0), pairs.n_pairs, "l1")
    arms = [length, words, reading, joined("length + full reading", length, reading, penalty="l1")]
    if model is not None:
        arms += [model, joined("model + length", model, length)]
        arms.append(joined("model + length + full reading", model, length, reading, penalty="l1"))
    _say(f"\n{name}: held out by prompt")
    for row in (arm.result for arm in held_out(arms, pairs, np.ones(pairs.n_pairs), progress=NullProgress())):
        _say(
            f"  {row.name:30s} {row.n_columns:5d} columns  AUC {row.auc:.3f} [{row.low:.3f}, {row.high:.3f}]"
            f"  accuracy {row.accuracy:.3f}  log-loss {row.log_loss:.3f}"
        )
        assert row.low <= row.auc <= row.high
