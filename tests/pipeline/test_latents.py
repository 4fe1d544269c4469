"""A latent by its number: its own estimates, its concepts, the pairs where it differs most."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.api import Project
from engine.cli.main import main
from engine.errors import StoreError
from engine.store.connection import Store


@pytest.fixture(scope="module")
def fired(audited: Path) -> tuple[int, set[str]]:
    """A latent of a cluster with more than one latent, and the ids of the concepts that it is in."""
    with Project(audited) as project, Store(project.index_file) as store:
        latent = store.value(
            "SELECT m.latent FROM concept_members m JOIN concepts c USING (concept) WHERE c.kind = 'cluster'"
            " ORDER BY c.concept, m.centrality DESC LIMIT 1"
        )
        homes = store.rows(
            "SELECT c.concept_id FROM concept_members m JOIN concepts c USING (concept) WHERE m.latent = ?",
            [latent],
        )
    return int(latent), {row[0] for row in homes}


def test_estimates_are_those_of_its_own_readings(audited: Path, fired: tuple[int, set[str]]) -> None:
    """Counted again from the readings: fire rate above 0.01 on one side only, labelled pairs."""
    latent, homes = fired
    with Project(audited) as project, Store(project.index_file) as store:
        rows = store.rows(
            "SELECT a.chosen_n, p.chosen_tokens, a.rejected_n, p.rejected_tokens,"
            " a.chosen_max, a.rejected_max FROM acts a JOIN pairs p USING (pair)"
            " WHERE a.latent = ? AND p.label = 'chosen'",
            [latent],
        )
        found = project.latent(latent)
    fires = [(c / max(tc, 1) > 0.01, r / max(tr, 1) > 0.01) for c, tc, r, tr, _, _ in rows]
    discordant = [chosen for chosen, rejected in fires if chosen != rejected]
    assert found.everywhere is not None
    assert found.everywhere.n_discordant == len(discordant) > 5
    assert found.everywhere.taught.estimate == pytest.approx(sum(discordant) / len(discordant))
    assert {home.concept_id for home in found.concepts} == homes
    assert found.concepts[0].place == 1
    largest = sorted((abs(row[4] - row[5]) for row in rows), reverse=True)
    shown = [abs(top.chosen_score - top.rejected_score) for top in found.top_pairs]
    assert shown == pytest.approx(largest[: len(shown)])


def test_filters_find_what_has_a_latent(audited: Path, fired: tuple[int, set[str]]) -> None:
    latent, homes = fired
    with Project(audited) as project, Store(project.index_file) as store:
        concepts = {row["concept_id"] for row in project.concepts(f"#{latent}").records()}
        pairs = {row["pair"] for row in project.pairs(f"#{latent}").records()}
        others = project.concepts(f"!#{latent}").n_rows
        held = {row[0] for row in store.rows("SELECT DISTINCT pair FROM acts WHERE latent = ?", [latent])}
        total = project.concepts().n_rows
    assert homes <= concepts  # and whatever has the number in its name
    assert len(concepts) + others == total
    assert held <= pairs


def test_commands_know_latents(audited: Path, fired: tuple[int, set[str]]) -> None:
    shown = CliRunner().invoke(main, ["show", str(audited), f"#{fired[0]}"])
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.startswith(f"#{fired[0]}  latent  fires on ")
    held = json.loads(CliRunner().invoke(main, ["show", str(audited), f"#{fired[0]}", "--json"]).stdout)
    assert held["latent"] == fired[0]
    refused = CliRunner().invoke(main, ["show", str(audited), f"#{fired[0]}", "--context", "everywhere"])
    assert refused.exit_code == 2
    unknown = CliRunner().invoke(main, ["show", str(audited), "#999999999"])
    assert unknown.exit_code == 1
    assert "fires on no span" in unknown.stderr
    with Project(audited) as project, pytest.raises(StoreError, match="did you mean"):
        project.concept_target(f"#{fired[0]}")  # verdicts are about concepts
