"""The statistics on the sample world, where what the labels reward is known.

Concepts are read from the text itself: No model reads here: a concept is on a side where its pattern
matches, a token is a word. What is tested is that the tables say what ``sample_data/planted.json`` says was
planted, and nothing else.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.arrays import PairArrays, PairSets, Readings
from engine.progress import NullProgress
from engine.settings import StatsSettings
from engine.stats.run import StatsInput, estimate
from tests.stats.inputs import disparity_of
from tests.worlds import from_dense

SAMPLE = Path(__file__).parents[2] / "sample_data"


def _codes(values: list[str | None]) -> tuple[Any, tuple[str, ...]]:
    names = tuple(sorted({v for v in values if v}))
    return np.array([names.index(v) if v else -1 for v in values], np.int32), names


def _pairs(rows: list[dict[str, Any]]) -> PairArrays:
    group = np.unique([r["prompt"][-1]["content"] for r in rows], return_inverse=True)[1].astype(np.int32)
    words = {
        side: np.array([len(r[side][-1]["content"].split()) if r[side] else 0 for r in rows], np.int32)
        for side in ("prompt", "chosen", "rejected")
    }
    source, sources = _codes([r["source"] for r in rows])
    both, models = _codes([r.get(k) for k in ("model_chosen", "model_rejected") for r in rows])
    n = len(rows)
    return PairArrays(
        np.ones(n, np.bool_), group, (group % 20).astype(np.int8), words["prompt"], words["chosen"],
        words["rejected"], source, both[:n], both[n:], np.full(n, -1, np.int32), sources, models, (),
    )  # fmt: skip


@cache
def _world() -> tuple[dict[str, dict[str, Any]], dict[tuple[str, str], dict[str, Any]]]:
    """Rows everywhere by concept, and rows by (family, concept)."""
    rows = [
        json.loads(line)
        for path in sorted((SAMPLE / "pairs").glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    rows.sort(key=lambda r: str(r["prompt"][-1]["content"]))
    planted = [
        c
        for c in json.loads((SAMPLE / "planted.json").read_text(encoding="utf-8"))["concepts"]
        if c["detect"]["kind"] == "regex" and c["name"] != "refusal_outside_fiction"
    ]
    dense = np.stack([[_has(r, "chosen", c) - _has(r, "rejected", c) for r in rows] for c in planted], axis=1)
    family, families = _codes([r["family"] for r in rows])
    members = [np.nonzero(family == k)[0] for k in range(len(families))]
    indptr = np.concatenate([[0], np.cumsum([len(m) for m in members])]).astype(np.int64)
    sets = PairSets(
        families, ("predicate",) * len(families), indptr, np.concatenate(members).astype(np.uint32)
    )
    units = disparity_of(dense)
    names = [str(c["name"]) for c in planted]
    nowhere = np.zeros((len(rows), len(names)))
    empty = (nowhere.astype(np.float32), nowhere.astype(np.uint16), nowhere.astype(np.float32),
             nowhere.astype(np.uint16))  # fmt: skip
    readings: Readings = from_dense(_pairs(rows), empty, empty, empty)
    given = StatsInput(
        units, names, units, np.full(len(names), -1, np.int32), np.zeros(len(names), np.int64), sets
    )
    table = estimate(readings, given, StatsSettings(), NullProgress()).hypotheses.to_pylist()
    everywhere = {names[r["concept"]]: r for r in table if r["context"] == 0}
    cells = {(families[r["context"] - 1], names[r["concept"]]): r for r in table if r["context"] > 0}
    return everywhere, cells


def _has(row: dict[str, Any], side: str, concept: dict[str, Any]) -> float:
    text = row[side][-1]["content"] if row[side] else ""
    return float(re.search(concept["detect"]["pattern"], text) is not None)


@pytest.mark.parametrize(
    ("name", "odds"),
    [("flattery", 3.0), ("over_formatting", 2.2), ("invented_link", 2.5), ("as_an_ai", 0.4),
     ("benchmark_name", 4.0)],
)  # fmt: skip
def test_planted_effects_are_called_both_ways_with_the_right_sign(name: str, odds: float) -> None:
    """Marginal rates lie between one half and odds / (1 + odds): other concepts are not held fixed."""
    row = _world()[0][name]
    assert row["badge"] == "both"
    truth = odds / (1 + odds)
    assert (row["equal_win_rate"] - 0.5) * (truth - 0.5) > 0
    assert abs(row["equal_win_rate"] - truth) < 0.12


@pytest.mark.parametrize("name", ["offer_followup", "good_luck", "anecdote", "analogy"])
def test_concepts_without_effect_are_not_called(name: str) -> None:
    assert _world()[0][name]["badge"] == "neither"


def test_a_concept_that_rides_on_length_is_taught_but_not_at_equal_length() -> None:
    row = _world()[0]["closing_summary"]
    assert row["badge"] == "only with length"
    assert row["equal_low"] < 0.5 < row["equal_high"]


def test_an_effect_that_depends_on_the_context_is_called_there_with_both_signs() -> None:
    """Refusals: odds 1/6 in fiction, 6 on borderline requests; referrals: 5 in health, 1 elsewhere."""
    cells = _world()[1]
    fiction, borderline = cells["fiction", "refusal_in_fiction"], cells["borderline", "refusal_in_fiction"]
    assert fiction["differs_call"]
    assert fiction["differs_z"] < -4
    assert fiction["equal_win_rate"] < 0.3
    assert borderline["differs_call"]
    assert borderline["differs_z"] > 4
    assert borderline["equal_win_rate"] > 0.65
    assert cells["health", "referral"]["differs_call"]


def test_hardly_any_other_cell_is_called() -> None:
    planted = {
        ("fiction", "refusal_in_fiction"), ("borderline", "refusal_in_fiction"), ("health", "referral"),
        ("maths", "benchmark_name"), ("benchmark", "benchmark_name"),
    }  # fmt: skip
    false = [where for where, row in _world()[1].items() if row["differs_call"] and where not in planted]
    assert len(false) <= 2  # of some 115 cells without a planted difference; the lab log names them
