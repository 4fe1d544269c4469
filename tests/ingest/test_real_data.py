"""Counts on real files, known beforehand; skipped where PROSECT_DATA does not point at them."""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.ingest.tables import entries_of, pairs_of, run

DATA = Path(os.environ.get("PROSECT_DATA", "/nonexistent"))
HH = DATA / "hh_harmless_base_test.jsonl.gz"
BATTLES = DATA / "alpaca_eval_battles.parquet"


@pytest.mark.skipif(not HH.exists(), reason="PROSECT_DATA is unset")
def test_hh_harmless_has_four_empty_answers_and_five_early_partings(tmp_path: Path) -> None:
    report = run(HH, out=tmp_path / "out")
    assert (report.rows_read, report.pairs) == (2312, 2308)
    assert report.dropped == {"empty_side": 4}
    assert report.noted["differ_earlier"] == 5
    longer = [
        sum(len(t["content"]) for t in p["chosen"]) > sum(len(t["content"]) for t in p["rejected"])
        for p in pairs_of(tmp_path / "out")
    ]
    assert sum(longer) / len(longer) == pytest.approx(0.44, abs=0.01)


@pytest.mark.skipif(not BATTLES.exists(), reason="PROSECT_DATA is unset")
def test_alpaca_battles_have_805_groups_and_the_known_winners(tmp_path: Path) -> None:
    report = run(BATTLES, out=tmp_path / "out")
    assert (report.rows_read, report.groups) == (14_485, 805)
    assert report.labels["chosen"] + report.dropped["empty_side"] == 13_635
    assert report.noted["identical_sides"] == 846
    decided = [p for p in pairs_of(tmp_path / "out") if p["label"] == "chosen"]
    wins = Counter(p["model_chosen"] == "gpt4_1106_preview" for p in decided)
    assert wins[True] / len(decided) == pytest.approx(0.94, abs=0.005)
    assert {e["detail"] for e in entries_of(tmp_path / "out", "empty_side")} == {"rejected"}
