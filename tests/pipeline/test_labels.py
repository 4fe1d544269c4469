"""Imported labels of latents: where a project shows them, and that no list takes them for names."""

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result

from engine.api import Project
from engine.cli.main import main
from engine.naming.labels import Labels
from engine.paths import ProjectPaths

NewProject = Callable[[], Path]
HOSTILE = "[bold]tea[/bold] \x1b[2J\u202e and more"


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


def single(project: Project) -> tuple[str, int]:
    """A concept of one latent, and the latent."""
    rows = project.browser._store.rows(
        "SELECT c.concept_id, m.latent FROM concepts c JOIN concept_members m ON m.concept = c.concept"
        " WHERE c.n_latents = 1 ORDER BY c.concept LIMIT 1"
    )
    return str(rows[0][0]), int(rows[0][1])


def test_labels_are_shown_as_untested_and_are_no_names(own_project: NewProject, tmp_path: Path) -> None:
    root = own_project()
    with Project(root) as project:
        ident, latent = single(project)
        before = project.browser.shown_names([ident])
    file = tmp_path / "labels.jsonl"
    file.write_text(json.dumps({"index": latent, "description": HOSTILE, "explanationModelName": "m"}) + "\n")
    done = run("names", "import", root, file)
    assert done.exit_code == 0, done.output
    assert "1 labels of 1 latents; 1 rows" in done.stdout
    assert "does not say which SAE" in done.stdout
    for what in (f"#{latent}", ident):
        page = run("show", root, what).stdout
        assert f"#{latent}: [bold]tea[/bold]" in page
        assert "(label from labels.jsonl by m, untested)" in page
        assert "\x1b" not in page
        assert "\u202e" not in page
    with Project(root) as project:
        assert project.browser.shown_names([ident]) == before
        assert [x.latent for x in project.concept(ident).labels] == [latent]
    assert "were there already" in run("names", "import", root, file).stdout
    assert len(ProjectPaths(root).labels.read_bytes().splitlines()) == 1


def test_nothing_is_kept_where_one_file_is_of_another_sae(own_project: NewProject, tmp_path: Path) -> None:
    root = own_project()
    good, other = tmp_path / "a.csv", tmp_path / "b.csv"
    good.write_text("latent,label\n3,tea\n")
    other.write_text("latent,label,layer\n3,tea,31-llamascope-res-32k\n")
    refused = run("names", "import", root, good, other)
    assert refused.exit_code == 1
    assert "of layer 31" in refused.stderr
    assert not ProjectPaths(root).labels.exists()
    taken = run("names", "import", root, good, other, "--accept-other", "--json")
    assert [r["n_kept"] for r in json.loads(taken.stdout)] == [1, 1]


def test_labels_of_another_reader_are_not_shown(own_project: NewProject) -> None:
    root = own_project()
    with Project(root) as project:
        ident, latent = single(project)
        labels = Labels(ProjectPaths(root).labels)
        file = root / "x.csv"
        file.write_text(f"latent,label\n{latent},tea\n")
        project.import_labels([file])
        found = project.concept(ident).labels
        labels.path.unlink()
        labels.add("another", "x.csv", "0", "now", found)
        assert found
        assert project.concept(ident).labels == ()
        assert project.latent(latent).labels == ()
