"""Imported labels of latents: where a project shows them, and that no list takes them for names."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.api import Project
from engine.cli.main import main
from engine.errors import NamingError
from engine.naming.labels import Labels
from engine.naming.proposals import Proposals
from engine.naming.questions import recognition_question
from engine.naming.recognition import judge
from engine.paths import ProjectPaths
from tests.naming.server import Script, is_naming, serving, truthful

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


def labelled(root: Path, texts: dict[int, str]) -> None:
    file = root / "made.jsonl"
    rows = [{"index": n, "description": text, "explanationModelName": "gpt-x"} for n, text in texts.items()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Project(root) as project:
        project.import_labels([file])


def telling(root: Path, n: int) -> list[tuple[str, int, str]]:
    """Concepts of one latent, their latents, and a label that says where each fires."""
    with Project(root, overrides={"naming": {"concepts": 80, "controls": 0}}) as project:
        singles = project.browser.single_latents()
        found = []
        for task in project.naming_plan().tasks:
            if task.concept.concept_id in singles and task.material.trial is not None:
                name = json.loads(truthful(task.questions()[0].user))["name"]
                question = recognition_question(name, task.material.trial.texts).user
                picked = {at - 1 for at in json.loads(truthful(question))["fits"]}
                if judge(task.material.trial, picked, 0.01).is_recognised:
                    found.append((task.concept.concept_id, singles[task.concept.concept_id], name))
    assert len(found) >= n
    return found[:n]


def test_a_label_is_tested_with_one_question_and_shown_only_where_it_is_recognised(
    own_project: NewProject,
) -> None:
    root = own_project()
    wanted = telling(root, 3)
    labelled(root, {latent: name for _, latent, name in wanted[:2]} | {wanted[2][1]: "zzz qqq"})
    script = Script()
    with serving(script) as url:
        server = ("--endpoint", url, "--model", "words", "--set", "naming.controls=0")
        words = ("names", "propose", root, "--test-labels", *server)
        dry = run(*words, "--dry-run")
        assert "3 questions, and 0 controls" in dry.stdout
        assert "stands for" not in dry.stdout
        done = run(*words, "--yes", "--json")
        assert done.exit_code == 0, done.output
        assert len(script.questions) == 3
        assert not any(is_naming(user) for user in script.questions)
        again = run(*words, "--yes")
        assert "3 concepts were answered before" in again.stdout
        assert len(script.questions) == 3
    made = {p["concept_id"]: p for p in json.loads(done.stdout)["report"]["proposals"]}
    assert {p["model"] for p in made.values()} == {"label from made.jsonl, gpt-x"}
    assert {p["tested_by"] for p in made.values()} == {"words"}
    assert made[wanted[2][0]]["recognition"]["n_picked"] == 0
    page = run("show", root, wanted[0][0]).stdout
    assert f"proposed name: {wanted[0][2]}  label from made.jsonl, gpt-x, tested by words" in page
    with Project(root) as project:
        shown = {ident: project.concept(ident).name for ident, _, _ in wanted}
        recognised = {p.concept_id for p in project.browser.proposed.by_concept.values() if p.is_recognised}
    assert recognised == {ident for ident, _, _ in wanted[:2]}
    assert {ident for ident, name in shown.items() if name.startswith("? ")} == recognised


def test_untested_labels_are_listed_when_asked_for_and_named_concepts_are_left_out(
    own_project: NewProject,
) -> None:
    root = own_project()
    (one, first, _), (two, second, _) = telling(root, 2)
    labelled(root, {first: "tea", second: "bread"})
    with ProjectPaths(root).labels.open("a") as file:
        file.write("nonsense\n")
    listed = run("names", "list", root)
    assert "2 concepts of one latent have an imported label" in listed.stdout
    assert "1 line of labels.jsonl cannot be read" in listed.stderr
    rows = json.loads(run("names", "list", root, "--labels", "--json").stdout)
    assert {(r["proposal"]["concept_id"], r["proposal"]["name"], r["state"]) for r in rows} == {
        (one, "tea", "not tested"), (two, "bread", "not tested")
    }  # fmt: skip
    with Project(root) as project:
        project.browser.set_name(one, "hot drinks")
        assert [p.proposal.name for p in project.labelled_names()] == ["bread"]
        assert [t.concept.concept_id for t in project.label_plan().tasks] == [two]
        assert [t.concept.concept_id for t in project.label_plan([one]).tasks] == [one]


def test_a_test_that_was_stopped_goes_on_and_nothing_to_test_is_said(own_project: NewProject) -> None:
    root = own_project()
    with Project(root) as project, pytest.raises(NamingError, match="has an imported label"):
        project.label_plan()
    ((ident, latent, name),) = telling(root, 1)
    labelled(root, {latent: name})
    with serving(Script()) as url:
        settings = {"endpoint": url, "model": "words", "controls": 0}
        with Project(root, overrides={"naming": settings}) as project:
            open_one = project.label_plan().tasks[0].proposal
            assert open_one is not None
            Proposals(project.paths.proposals).add(open_one)
            report = project.propose_names(project.label_plan())
            every = Proposals(project.paths.proposals).every
    assert [p.ident for p in report.proposals] == [open_one.ident] == [p.ident for p in every]
    assert every[0].recognition is not None
    assert every[0].concept_id == ident
