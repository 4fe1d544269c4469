"""A weighted mix from the command line to statistics, plans and shaped datasets; sources come and go."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from engine.api import Project, sample_folder, source_specs
from engine.cli.main import main
from engine.pipeline import audit as audit_stage
from engine.pipeline.mix import MixChange
from engine.progress import NullProgress
from engine.store.build import current_index
from engine.store.connection import Store
from tests.pipeline.conftest import OVERRIDES


def run(*arguments: object) -> str:
    """A command's output."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def win_rates(root: Path) -> tuple[list[tuple[int, float]], dict[int, float]]:
    """Stored win rates of concepts everywhere, and the same counted here with the base weights."""
    project = Project(root).paths
    with Store(project.index(current_index(project).index_hash)) as store:
        stored = store.rows(
            "SELECT concept, win_rate FROM hypotheses"
            " WHERE context = 0 AND win_rate IS NOT NULL ORDER BY concept"
        )
        weight = store.columns("SELECT base_weight, label FROM pairs ORDER BY pair")
        scores = store.columns("SELECT concept, pair, u FROM concept_scores WHERE u IS NOT NULL AND u <> 0")
    w = np.asarray(weight["base_weight"], float) * (np.asarray(weight["label"]) == "chosen")
    counted = {}
    for concept, _ in stored:
        here = scores["concept"] == concept
        pair, u = scores["pair"][here], scores["u"][here]
        counted[concept] = float(w[pair][u > 0].sum() / w[pair].sum())
    return stored, counted


@pytest.mark.slow
def test_weights_reach_statistics_plans_and_ledgers_and_can_be_taken_back(
    own_project: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_stage, "EARLY_FROM_PAIRS", 100)  # and yet the index over all pairs stays open
    notes: list[str] = []

    class Watching(NullProgress):
        def note(self, text: str) -> None:
            notes.append(text)

    root = own_project()
    first = current_index(Project(root).paths).index_hash
    plain, _ = win_rates(root)
    run("mix", "weight", root, "harbor_forum=0.5", "--plain")
    project = Project(root, overrides=OVERRIDES)
    report = project.audit([], None, progress=Watching())
    assert report.reading["n_tokens"] == 0
    assert not any("ready to open" in note for note in notes)
    assert report.index_hash != first
    stored, counted = win_rates(root)
    assert stored != plain
    for concept, rate in stored:
        assert rate == pytest.approx(counted[concept], abs=1e-9)
    rules = tmp_path / "empty.rules"
    rules.write_text("prosect rules 1\n", encoding="utf-8")
    shaped = Project(root).compile(rules).dataset.folder
    ledger = pq.read_table(shaped / "ledger.parquet").to_pylist()
    kept = [r for r in ledger if r["fate"] == "kept"]
    assert {(r["source"] == "harbor_forum", r["base_weight"]) for r in kept} == {(True, 0.5), (False, 1.0)}
    mean = np.mean([r["base_weight"] for r in kept])
    assert all(r["weight"] == pytest.approx(r["base_weight"] / mean) for r in kept)
    assert "harbor_forum" in run("report", root)
    project.change_mix(MixChange(weights={"harbor_forum": 1.0}))
    assert project.audit([], None).index_hash == first


def test_the_command_line_adds_lists_and_removes(own_project: Callable[[], Path], tmp_path: Path) -> None:
    root = own_project()
    more = tmp_path / "more.jsonl"
    rows = [f'{{"prompt": "new {i}", "chosen": "yes {i}", "rejected": "no"}}' for i in range(3)]
    more.write_text("\n".join(rows), encoding="utf-8")
    added = run("mix", "add", root, f"extra={more}", "--weight", "extra=2", "--evaluation", more, "--plain")
    assert "extra\t3\t2\t" in added
    assert "(evaluation)\t3" in added
    assert run("mix", "list", root, "--plain") == "\n".join(added.splitlines()) + "\n"
    assert "extra" not in run("mix", "remove", root, "extra", "--plain")
    refused = CliRunner().invoke(main, ["mix", "remove", str(root), "extra"])
    assert refused.exit_code == 1
    assert "no source `extra`" in refused.stderr


@pytest.mark.slow
def test_a_mix_that_has_grown_much_is_published_early(
    sample_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first half holds more pairs than the mix before, its first fifth does not."""
    monkeypatch.setattr(audit_stage, "EARLY_FROM_PAIRS", 100)
    monkeypatch.setattr(audit_stage, "EARLY_SHARES", (0.2, 0.5))
    small, *more = sorted(sample_pairs.iterdir())
    seen: list[tuple[float, int]] = []

    class Watching(NullProgress):
        def note(self, text: str) -> None:
            if "ready to open" in text:
                with Project(tmp_path / "audit") as early:
                    summary = early.browser.summary()
                    seen.append((summary.share_read, summary.n_pairs))

    with Project(tmp_path / "audit", overrides=OVERRIDES) as project:
        first = project.audit(source_specs([str(small)]), str(sample_folder() / "reader"))
        project.change_mix(MixChange(add=tuple(source_specs([str(path) for path in more]))))
        report = project.audit([], None, progress=Watching())
        n_before, n_pairs = first.ingest["pairs"], report.ingest["pairs"]
        assert len(seen) == 1
        assert n_before < seen[0][1] < n_pairs
        assert seen[0][0] == pytest.approx(seen[0][1] / n_pairs)
        assert project.browser.summary().n_pairs == n_pairs
        assert report.reading["n_pairs_read"] < n_pairs


def test_an_audit_without_files_needs_a_project(tmp_path: Path) -> None:
    refused = CliRunner().invoke(main, ["audit", str(tmp_path)])
    assert refused.exit_code == 2
    assert "-o DIR" in refused.stderr
    assert source_specs(["a=b.jsonl"])[0].name == "a"


@pytest.mark.slow
def test_an_index_of_an_older_mix_says_so_once_on_stderr_until_the_audit_goes_on(
    own_project: Callable[[], Path], tmp_path: Path
) -> None:
    def told(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(main, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output
        assert "mix has changed" not in result.stdout
        return result.stderr.count("the mix has changed since the audit"), result.stdout

    root, rules = own_project(), tmp_path / "empty.rules"
    rules.write_text("prosect rules 1\n", encoding="utf-8")
    looks: list[list[object]] = [
        ["hypotheses", root],
        ["concepts", root, "--plain"],
        ["show", root, "0"],
        ["plan", root, rules],
        ["verdicts", "list", root],
        ["rules", "check", rules, "--project", root],
    ]
    assert [told(*look)[0] for look in looks] == [0] * 6
    run("mix", "weight", root, "harbor_forum=0.5")
    assert [told(*look)[0] for look in looks] == [1] * 6
    listed = CliRunner().invoke(main, ["hypotheses", str(root), "--json"])
    assert f"prosect audit {root}" in json.loads(listed.stdout)["stale"]
    assert "mix has changed" in json.loads(listed.stderr)["note"]
    assert told("mix", "list", root)[0] == 0  # not about the index
    run("mix", "weight", root, "harbor_forum=1")  # what the audit saw
    assert told("hypotheses", root)[0] == 0
    run("mix", "weight", root, "harbor_forum=0.5")
    assert told("hypotheses", root)[0] == 1
    with Project(root, overrides=OVERRIDES) as project:
        project.audit([], None)
    assert told("hypotheses", root)[0] == 0


def test_settings_that_changed_after_the_audit_are_named_with_both_values(
    own_project: Callable[[], Path],
) -> None:
    root = own_project()
    with Project(root) as project:
        file = project.paths.settings
        assert project.stale() is None  # flags of the audit are no change of the file
        file.write_text("[stats]\nmin_discordant = 6\n[concepts]\nn_topics = 8\n", encoding="utf-8")
        told = project.stale() or ""
        assert "prosect.toml (concepts.n_topics by the data → 8, stats.min_discordant 15 → 6) has" in told
        looked = CliRunner().invoke(main, ["hypotheses", str(root)])
        assert looked.stderr.count("stats.min_discordant 15 → 6") == 1
        project.change_mix(MixChange(weights={"harbor_forum": 0.5}))
        assert (project.stale() or "").startswith("the mix and prosect.toml (")
        file.write_text("[stats]\nmin_discordant = 15\n", encoding="utf-8")  # what held before, written out
        assert (project.stale() or "").startswith("the mix has changed")
        file.write_text("[training]\nbeta = 0.2\n", encoding="utf-8")  # nothing that an index depends on
        project.change_mix(MixChange(weights={"harbor_forum": 1.0}))
        assert project.stale() is None
        file.write_text("[stats", encoding="utf-8")  # whoever needs the settings says so
        assert project.stale() is None


def test_another_ingest_that_leads_to_the_same_pairs_is_no_other_mix_after_the_audit(
    own_project: Callable[[], Path], tmp_path: Path
) -> None:
    root, prompts = own_project(), tmp_path / "evaluation.jsonl"
    prompts.write_text('{"prompt": "nobody asked this here"}\n', encoding="utf-8")
    before = current_index(Project(root).paths).index_hash
    with Project(root, overrides=OVERRIDES) as project:
        project.change_mix(MixChange(evaluation=(str(prompts),)))
        assert project.stale() is not None
        assert project.audit([], None).index_hash == before
        assert project.stale() is None
