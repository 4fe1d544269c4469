"""`prosect coverage` and `prosect auc` on a real index: intervals, and the weights of the mix."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from engine.api import Project
from engine.arrays import PairArrays
from engine.cli.main import main
from engine.pipeline import checks
from engine.progress import NullProgress
from engine.records import Verdict
from engine.stats.arms import length_arm
from engine.stats.auc import held_out
from engine.views.tables import Target
from tests.pipeline.conftest import OVERRIDES


def run(*arguments: object) -> str:
    """A command's output."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_coverage_has_an_interval_and_what_needs_no_verdict_is_kept(own_project: Callable[[], Path]) -> None:
    root = own_project()
    with Project(root, overrides=OVERRIDES) as opened:
        listing = opened.listing("hypotheses", "family:concepts", "", 3)
        for row in listing.rows:
            ident = str(row.values[listing.spec.index("concept_id")])
            opened.browser.set_verdict([Target("concept", ident, ident)], Verdict.IGNORE, "for the test")
    meter = json.loads(run("coverage", root, "--json"))["meter"]
    assert meter["n_judged"] == 3
    for name in ("judged", "concepts"):
        share = meter[name]
        gain = np.log(2) - meter[f"{name}_loss"]
        if share["share"] is None:
            assert meter["reading_loss"] >= np.log(2)
        else:
            assert share["share"] == pytest.approx(gain / (np.log(2) - meter["reading_loss"]))
        assert share["low"] is None or share["low"] <= share["share"] <= share["high"]
    [kept] = (root / "cache").glob("coverage-*.json")
    before = kept.stat().st_mtime_ns
    again = json.loads(run("coverage", root, "--json"))["meter"]
    assert again == meter
    assert kept.stat().st_mtime_ns == before
    assert "share of the gain\tlow\thigh" in run("coverage", root, "--plain")


def test_base_weights_of_the_mix_reach_the_held_out_figures(
    audited: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heavier(pairs: PairArrays) -> np.ndarray:
        weight = np.where(pairs.source == 0, 3.0, 1.0)
        return np.asarray(weight / weight[pairs.is_signed].mean())

    with Project(audited, overrides=OVERRIDES) as opened:
        monkeypatch.setattr(checks, "mix_weights", heavier)
        weighted = {arm.name: arm for arm in opened.auc()}["length only"]
        pairs = checks.open_audit(opened.paths, opened.settings).readings.pairs
    alone, even = (
        held_out([length_arm(pairs)], pairs, weight, progress=NullProgress())[0].result
        for weight in (heavier(pairs), np.ones(pairs.n_pairs))
    )
    assert weighted == alone
    assert weighted.log_loss != even.log_loss


def test_a_self_test_says_what_it_did_not_test_and_refuses_to_test_nothing(
    own_project: Callable[[], Path],
) -> None:
    root = own_project()
    # more than half of the prompt groups: length differs in so many, but no part of the pairs has them
    command = ("selftest", "null", root, "--draws", "10", "--set")
    rows = json.loads(run(*command, "stats.min_discordant=125", "--json"))
    cells = rows[-1]
    assert (cells["family"], cells["tested"], cells["passed"], cells["share"]) == ("cells", 0, None, None)
    assert all(row["passed"] is (None if row["tested"] == 0 else True) for row in rows)
    assert any(row["tested"] for row in rows)
    assert run(*command, "stats.min_discordant=125", "--plain").splitlines()[-1].endswith("not tested")
    refused = CliRunner().invoke(main, [*map(str, command), "stats.min_discordant=10000"])
    assert refused.exit_code == 1
    assert "so nothing is tested" in refused.stderr
