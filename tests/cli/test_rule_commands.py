"""Rule files from the command line: rows behind a number, conditions, transfer, exports."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli.main import main
from tests.worlds import make_world

RULES = """prosect rules 1
less: weight *= 0.5 where source == "alpha"
wrong: flip where delta(@"concept 1") > 0
suppress @"concept 0" by matching
expect kept >= 50%
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_world(tmp_path_factory.mktemp("rules") / "audit", 400).paths.root
    (root / "a.rules").write_text(RULES)
    return root


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


def test_rows_behind_an_overlap_are_those_that_it_counts(project: Path) -> None:
    plan = json.loads(run("plan", project, project / "a.rules", "--json").stdout)
    overlap = next(o for o in plan["overlaps"] if {o["first"], o["second"]} == {"less", "wrong"})
    both = ("--rows", "less", "--rows", "wrong")
    found = json.loads(run("plan", project, project / "a.rules", *both, "-n", "3", "--json").stdout)
    assert found["n_pairs"] == overlap["n_pairs"]
    assert len(found["rows"]) == 3
    assert all(row["source"] == "alpha" and row["is_flipped"] for row in found["rows"])
    shown = run("plan", project, project / "a.rules", *both, "-n", "3").stdout
    assert f"3 of {found['n_pairs']} pairs" in shown
    mistaken = run("plan", project, project / "a.rules", "--rows", "les")
    assert mistaken.exit_code == 1
    assert "did you mean `less`" in mistaken.stderr


def test_what_each_statement_does_to_a_concept_is_the_plan_without_its_line(
    project: Path, tmp_path: Path
) -> None:
    def mean(text: str) -> float:
        path = tmp_path / "b.rules"
        path.write_text(text)
        plan = json.loads(run("plan", project, path, "--json").stdout)
        return float(next(c["mean_after"] for c in plan["collateral"] if c["label"] == "concept 3"))

    moves = ("plan", project, project / "a.rules", "--moves", "concept 3")
    found = json.loads(run(*moves, "--json").stdout)
    less, wrong = RULES.splitlines()[1:3]
    effects = {s["name"]: s["effect"] for s in found["statements"]}
    assert effects["less"] == pytest.approx(mean(RULES) - mean(RULES.replace(less + "\n", "")))
    assert effects["wrong"] == pytest.approx(mean(RULES) - mean(RULES.replace(wrong + "\n", "")))
    assert len(effects) == 3
    assert found["together"] == pytest.approx(found["after"] - found["before"] - sum(effects.values()))
    shown = run(*moves).stdout
    assert "only together" in shown
    assert run(*moves, "--control").exit_code == 2
    assert "no" in run("plan", project, project / "a.rules", "--moves", "nothing").stderr


def test_a_condition_lists_its_pairs(project: Path) -> None:
    found = json.loads(run("rules", "find", project, 'source == "alpha"', "--json", "-n", "2").stdout)
    assert [row["source"] for row in found["rows"]] == ["alpha", "alpha"]
    mistyped = run("rules", "find", project, 'source == "alhpa"', "--json")
    assert json.loads(mistyped.stdout)["n_pairs"] == 0
    assert "warning[R515]" in mistyped.stderr
    assert "did you mean `alpha`?" in mistyped.stderr
    wrong = run("rules", "find", project, "source == 3")
    assert wrong.exit_code == 1
    assert wrong.stderr.startswith("error[R304]: ")


def test_a_plan_shows_what_moves_and_nothing_else(project: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.rules"
    nothing.write_text('prosect rules 1\ntag "x" where true\n')
    shown = run("plan", project, nothing).stdout
    assert "no concept moves" in shown
    assert "no drift" in shown
    everything = run("plan", project, project / "a.rules", "--all").stdout
    assert "more" not in everything
    assert everything.count("concept ") > run("plan", project, project / "a.rules").stdout.count("\n") // 9


def test_concepts_that_matching_holds_are_named_and_the_total_has_one_name(tmp_path: Path) -> None:
    root = make_world(tmp_path / "audit", 400).paths.root
    rules = root / "a.rules"
    rules.write_text('prosect rules 1\nsuppress @"concept 0" by matching\n')
    assert "verdict keep" not in run("plan", root, rules).stdout
    run("verdicts", "set", root, "keep", "concept 3")
    planned = run("plan", root, rules).stdout
    assert "by the verdict keep, which changes weights, too: concept 3\n" in planned
    held = next(line for line in planned.splitlines() if line.startswith("concept 3 "))
    assert held.split()[4] == "0.000"  # the solver's rest of a zero is no finding
    written = run("compile", root, rules).stdout
    counts = [text.splitlines()[:10] for text in (planned, written)]
    assert counts[0] == counts[1]
    assert counts[0][1].split() == ["total", "400"]


def test_a_target_out_of_reach_points_at_its_line(project: Path, tmp_path: Path) -> None:
    far = tmp_path / "far.rules"
    far.write_text('prosect rules 1\ndrop where false\namplify @"concept 0" by matching to 9\n')
    result = run("plan", project, far)
    assert result.exit_code == 1
    assert "error[R602]" in result.stderr
    assert "far.rules:3:1" in result.stderr


def test_transfer_from_the_command_line(project: Path) -> None:
    result = run(
        "selftest", "transfer", project, project / "a.rules", "--draws", "20", "--pattern", "concept 0=tea"
    )
    assert result.exit_code in (0, 3), result.stderr
    assert "measured on" in result.stdout
    assert "text *" in result.stdout
    report = json.loads(
        run("selftest", "transfer", project, project / "a.rules", "--draws", "0", "--json").stdout
    )
    assert {t["measure"] for t in report["report"]["targets"]} == {"delta", "u", "sum", "n", "rate"}
    assert run("selftest", "transfer", project, project / "a.rules", "--pattern", "x").exit_code == 2
    broken = run("selftest", "transfer", project, project / "a.rules", "--pattern", "x=(?=y)")
    assert broken.exit_code == 1
    assert "pattern x: not an RE2 expression" in broken.stderr


def test_plans_differ_by_name_and_number(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.rules"
    other.write_text(RULES.replace("0.5 where", "0.25 where"))
    shown = run("diff", project, project / "a.rules", other).stdout
    assert "a.rules" in shown
    assert "b.rules" in shown
    found = json.loads(run("diff", project, project / "a.rules", other, "--json").stdout)
    assert found["n_pairs"] >= found["n_weight"] > 0
    assert "the same from both" in run("diff", project, project / "a.rules", project / "a.rules").stdout


def test_weights_reach_open_instruct_as_files_to_mix(project: Path, tmp_path: Path) -> None:
    rules = tmp_path / "w.rules"
    rules.write_text('prosect rules 1\nweight *= 0.5 where source == "alpha"\n')
    shaped = json.loads(run("compile", project, rules, "--json").stdout)["folder"]
    refused = run("export", shaped, "--to", "open-instruct", "-o", tmp_path / "no")
    assert refused.exit_code == 1
    assert "--weights replicate" in refused.stderr
    done = run("export", shaped, "--to", "open-instruct", "-o", tmp_path / "out", "--weights", "bucket")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "out" / "mixer.txt").exists()


def test_findings_come_as_json_for_editors(project: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.rules"
    wrong.write_text("prosect rules 1\ndrop where delta(@nosuch) > 1\n")
    result = run("rules", "check", wrong, "--project", project, "--json")
    assert result.exit_code == 1
    (found,) = json.loads(result.stdout)
    assert (found["code"], found["line"], found["column"], found["end_column"]) == ("R201", 2, 18, 25)
    assert run("rules", "check", project / "a.rules", "--project", project, "--json").stdout.strip() == "[]"


CONFLICT = "prosect rules 1\na: weight = 1 where true\nb: weight = 2 where true\n"
NOTHING = "prosect rules 1\nnone: drop where true\n"


@pytest.mark.parametrize(("text", "code"), [(CONFLICT, "R601"), (NOTHING, "R605")])
def test_what_compile_refuses_fails_the_plan_and_its_test_too(
    project: Path, tmp_path: Path, text: str, code: str
) -> None:
    wrong = tmp_path / "wrong.rules"
    wrong.write_text(text + "expect kept >= 200%\n")  # the error counts for more than the expectation
    assert run("compile", project, wrong).exit_code == 1
    planned = run("plan", project, wrong)
    assert planned.exit_code == 1
    assert f"error[{code}]" in planned.stdout
    found = json.loads(run("plan", project, wrong, "--json").stdout)["warnings"]
    assert {w["severity"] for w in found if w["code"] == code} == {"error"}
    assert {w["severity"] for w in found if not w["code"].startswith("R6")} <= {"warning"}
    tested = run("rules", "test", project, wrong, "--json")
    assert tested.exit_code == 1
    assert f"error[{code}]" in tested.stderr
    assert [row["holds"] for row in json.loads(tested.stdout)] == [False]


def test_an_expectation_that_fails_exits_with_three(project: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.rules"
    wrong.write_text(RULES + "expect kept >= 200%\n")
    assert run("plan", project, wrong).exit_code == 3
    assert run("rules", "test", project, wrong).exit_code == 3
    assert run("rules", "test", project, project / "a.rules").exit_code == 0


def test_a_control_cannot_be_locked(project: Path, tmp_path: Path) -> None:
    rules = tmp_path / "a.rules"
    rules.write_text(RULES)
    assert run("compile", project, rules).exit_code == 0
    refused = run("compile", project, rules, "--control", "--locked")
    assert refused.exit_code == 2
    assert "a control plan has none" in refused.stderr
    control = json.loads(run("compile", project, rules, "--control", "--json").stdout)
    assert control["drift"] == []
    assert run("compile", project, rules, "--locked").exit_code == 0  # the control left the lock alone


def test_what_has_drifted_is_said_in_words(tmp_path: Path) -> None:
    root = make_world(tmp_path / "audit", 400).paths.root
    rules = root / "a.rules"
    rules.write_text('prosect rules 1\ndrop where delta(@"concept 1") > p90(delta(@"concept 1"))\n')
    run("verdicts", "set", root, "keep", "concept 3", "concept 4")
    run("compile", root, rules)
    run("verdicts", "set", root, "suppress", "concept 3")
    rules.write_text('prosect rules 1\ndrop where delta(@"concept 2") > p90(delta(@"concept 2"))\n')
    refused = run("compile", root, rules, "--locked", "--set", "rules.max_weight=5")
    assert refused.exit_code == 1
    said = [line.strip() for line in refused.stderr.splitlines()]
    assert said[1:-1] == [
        "concepts: concept 1, concept 2",
        "held concepts: 1 no longer held",
        "verdicts: 1 made since, 1 no longer in force",
        "meaning: the rules say something else (layout, comments and order do not count)",
        "settings: max_weight 10.0 → 5.0",
        "statistics: 2 of 2 have other values",
    ]
    assert "…" not in refused.stderr


def test_a_dry_run_from_a_model_that_is_not_there_fails(project: Path, tmp_path: Path) -> None:
    shaped = json.loads(run("compile", project, project / "a.rules", "--json").stdout)["folder"]
    refused = run("train", shaped, "--model", tmp_path / "nosuch", "--dry-run")
    assert refused.exit_code == 1
    assert "there is no model folder" in refused.stderr
    elsewhere = json.loads(run("train", shaped, "--model", "some/model", "--dry-run", "--json").stdout)
    assert "its size is not known" in elsewhere["note"]


def test_a_file_of_a_project_is_checked_against_its_index(project: Path, tmp_path: Path) -> None:
    text = "prosect rules 1\ndrop where delta(@nosuch) > 0\n"
    inside, outside = project / "rules" / "own.rules", tmp_path / "own.rules"
    inside.parent.mkdir(exist_ok=True)
    for path in (inside, outside):
        path.write_text(text, encoding="utf-8")
    found = run("rules", "check", inside)
    assert (found.exit_code, "no concept `@nosuch`" in found.stdout) == (1, True)
    found = run("rules", "check", outside)
    assert (found.exit_code, found.stdout) == (0, "")
    assert "names were not looked up" in found.stderr
    assert run("rules", "check", outside, "--project", project).exit_code == 1


def test_a_rule_file_of_the_project_goes_by_its_name(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "rules").mkdir(exist_ok=True)
    (project / "rules" / "named.rules").write_text(RULES, encoding="utf-8")
    monkeypatch.chdir(project.parent)
    by_path = run("plan", project, project / "rules" / "named.rules", "--json")
    for name in ("named", "named.rules"):
        assert run("plan", project, name, "--json").stdout == by_path.stdout
    lost = run("plan", project, "other").output
    assert "there is no rule file other" in lost
    assert "named" in lost.partition("hint")[2]


def test_an_export_of_a_whole_project_names_its_datasets(project: Path, tmp_path: Path) -> None:
    (tmp_path / "a.rules").write_text("prosect rules 1\n", encoding="utf-8")
    written = run("compile", project, tmp_path / "a.rules").output
    folder = next(line.partition(": ")[2] for line in written.splitlines() if line.startswith("written"))
    refused = run("export", project, "--to", "trl", "-o", tmp_path / "out")
    assert refused.exit_code == 1
    assert folder in refused.output


def test_codes_go_by_their_number_too() -> None:
    assert run("explain", "404").output == run("explain", "R404").output != ""
