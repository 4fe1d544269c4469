"""The headless twin: listings, single records, errors; as a person or a script would call it."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from engine.api.listing import Counts, telling_words
from engine.cli.counts import show_counts
from engine.cli.fitting import cells
from engine.cli.main import main
from engine.cli.start import errors_told
from engine.errors import Cancelled
from engine.views.tables import FacetCount
from tests.worlds import World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


def test_json_listing_is_one_document_with_counts(world: World) -> None:
    result = run("hypotheses", world.paths.root, "--json", "-n", "5")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert len(document["rows"]) == 5
    assert document["n_rows"] == document["n_total"] == 24  # 8 concepts × (everywhere + 2 topics)
    row = document["rows"][0]
    assert row["taught_low"] <= row["taught"] <= row["taught_high"]


def test_concepts_are_the_hypotheses_everywhere(world: World) -> None:
    rows = json.loads(run("concepts", world.paths.root, "--json").stdout)["rows"]
    assert len(rows) == 8
    assert {row["context"] for row in rows} == {"everywhere"}


def test_a_list_says_how_many_of_what_there_are(world: World) -> None:
    def last(*args: str) -> str:
        return run(args[0], world.paths.root, *args[1:]).stdout.splitlines()[-1]

    assert last("concepts", "-n", "5") == "5 of 8 concepts"
    assert last("concepts", "-n", "5", "-f", '"concept 1"') == "1 of 1 selected from 8 concepts"
    assert last("hypotheses", "-n", "5") == "5 of 24 hypotheses"
    assert last("pairs", "-n", "2") == "2 of 200 pairs"
    assert last("concepts", "--count", "kind") == "8 of 8 concepts"
    found = json.loads(run("concepts", world.paths.root, "--json", "-n", "5").stdout)
    assert (found["n_rows"], found["n_total"]) == (8, 8)


@pytest.fixture(scope="module")
def long_texts(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Responses of a thousand characters; a word that stands in one of the three texts of a pair only."""
    made = make_world(tmp_path_factory.mktemp("long"), n_pairs=40)
    with duckdb.connect(str(made.paths.index("world"))) as index:
        index.execute("UPDATE pairs SET chosen_text = repeat('tea ', 250) || 'end'")
        for pair, column in ((1, "prompt_text"), (2, "chosen_text"), (3, "rejected_text")):
            index.execute(f"UPDATE pairs SET {column} = {column} || ' Zeppelin' WHERE pair = {pair}")
    return made


def test_a_word_is_looked_for_in_all_three_texts_of_a_pair(long_texts: World) -> None:
    def numbers(filter_: str) -> list[int]:
        found = run("pairs", long_texts.paths.root, "--json", "-n", "100", "-f", filter_)
        return [row["pair"] for row in json.loads(found.stdout)["rows"]]

    assert numbers("zeppelin") == [1, 2, 3]
    assert numbers("!zeppelin") == [0, *range(4, 40)]
    assert numbers("prompt:zeppelin") == [1]
    shown = " ".join(run("pairs", "--help").stdout.split())
    assert "word rows with the word in prompt, chosen or rejected" in shown


def test_what_machines_read_has_whole_texts_and_the_screen_their_start(long_texts: World) -> None:
    whole = "tea " * 250 + "end"
    root = long_texts.paths.root
    row = json.loads(run("pairs", root, "--json", "-n", "1").stdout)["rows"][0]
    assert row["chosen"] == whole
    header, line = run("pairs", root, "--plain", "--all-columns", "-n", "1").stdout.splitlines()
    assert dict(zip(header.split("\t"), line.split("\t"), strict=True))["chosen"] == whole
    assert "end" not in run("pairs", root, "--all-columns", "-n", "1").stdout
    found = run("rules", "find", root, "chosen.tokens > 0", "--plain", "-n", "1").stdout.splitlines()[1]
    assert found.split("\t")[4] == whole


def test_plain_listing_is_tab_separated_and_rectangular(world: World) -> None:
    lines = run("pairs", world.paths.root, "--plain", "-n", "7").stdout.splitlines()
    assert len(lines) == 8
    assert len({line.count("\t") for line in lines}) == 1


def test_filter_and_sort_do_what_the_workstation_does(world: World) -> None:
    result = run("pairs", world.paths.root, "--json", "-f", "label:tie", "-s", "-chosen_tokens", "-n", "500")
    rows = json.loads(result.stdout)["rows"]
    expected = [
        int(world.readings.pairs.chosen_tokens[i])
        for i, row in enumerate(world.pair_rows)
        if row["label"] == "tie"
    ]
    assert [row["chosen_tokens"] for row in rows] == sorted(expected, reverse=True)


@pytest.mark.parametrize(
    ("command", "column", "given"),
    [
        ("pairs", "source", ""),
        ("pairs", "chosen_tokens", "rejected_tokens>60"),
        ("hypotheses", "win", ""),
        ("concepts", "verdict", ""),
        ("contexts", "kind", ""),
    ],
)
def test_every_count_of_a_column_has_the_filter_that_lists_its_rows(
    world: World, command: str, column: str, given: str
) -> None:
    found = json.loads(run(command, world.paths.root, "--count", column, "-f", given, "--json").stdout)
    assert sum(c["n"] for c in found["counts"]) == found["n_rows"] <= found["n_total"]
    for c in found["counts"]:
        both = f"{given} {c['filter']}".strip()
        listed = run(command, world.paths.root, "-f", both, "--json", "-n", "1")
        assert json.loads(listed.stdout)["n_rows"] == c["n"], c
    shown = run(command, world.paths.root, "--count", column, "-f", given, "--plain").stdout.splitlines()
    assert shown[0].split("\t") == [column, "n", "share", "filter"]
    assert [int(line.split("\t")[1]) for line in shown[1:]] == [c["n"] for c in found["counts"]]


def test_a_filter_that_a_terminal_cannot_show_is_only_in_the_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = Counts((FacetCount("\x1b[2Jevil", 2, "model=\x1b[2Jevil"), FacetCount("a", 1, "model=a")), 3, 3)
    show_counts("model", found, "pairs", None, plain=True, as_json=False)
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[3] for row in rows] == ["filter", "", "model=a"]
    assert "\x1b" not in rows[1][0]
    show_counts("model", found, "pairs", None, plain=False, as_json=True)
    assert json.loads(capsys.readouterr().out)["counts"][0]["filter"] == "model=\x1b[2Jevil"


def test_counts_name_a_wrong_column_and_refuse_an_order(world: World) -> None:
    near = run("pairs", world.paths.root, "--count", "sourc")
    assert (near.exit_code, "did you mean `source`?" in near.stderr) == (1, True)
    assert run("pairs", world.paths.root, "--count", "source", "-s", "source").exit_code == 2
    empty = run("pairs", world.paths.root, "--count", "source", "-f", "chosen_tokens>100000", "--json")
    assert json.loads(empty.stdout)["counts"] == []
    assert json.loads(empty.stdout)["stale"] is None


def test_wrong_filter_column_says_what_there_is(world: World) -> None:
    result = run("pairs", world.paths.root, "-f", "nonsense>3")
    assert result.exit_code == 1
    assert "nonsense" in result.stderr
    assert "hint" in result.stderr


def test_wrong_sort_column_suggests_the_nearest_or_lists_what_there_is(world: World) -> None:
    near = run("hypotheses", world.paths.root, "-s", "tauhgt")
    assert near.exit_code == 1
    assert "did you mean `taught`?" in near.stderr
    assert "columns: verdict, concept," in run("hypotheses", world.paths.root, "-s", "zzz").stderr


@pytest.mark.parametrize(
    ("command", "column"),
    [("hypotheses", "badge"), ("concepts", "taught"), ("contexts", "groups"), ("pairs", "chosen_tokens")],
)
def test_help_lists_the_columns_of_filter_and_sort(command: str, column: str) -> None:
    shown = run(command, "--help").stdout
    assert f"\n  {column} " in shown.partition("Columns for -f and -s")[2]
    assert "column:none" in shown


def test_a_value_that_a_column_cannot_have_is_refused_with_the_nearest(world: World) -> None:
    refused = run("hypotheses", world.paths.root, "-f", "badge:boht")
    assert refused.exit_code == 1
    assert "did you mean `both`?" in refused.stderr


def test_a_value_that_no_pair_of_this_index_has_is_a_warning_with_the_nearest(world: World) -> None:
    known = sorted({str(row["source"]) for row in world.pair_rows})
    wrong = known[0][:-1] + known[0][-1] * 2 + "x"
    result = run("pairs", world.paths.root, "-f", f"source:{wrong}")
    assert result.exit_code == 0
    assert f"warning: no row has `{wrong}` in `source`; did you mean `{known[0]}`?" in result.stderr
    assert run("pairs", world.paths.root, "-f", f"source:{known[0]}").stderr == ""
    listed = json.loads(run("pairs", world.paths.root, "--json", "-f", f"source:{wrong}").stdout)
    assert listed["n_rows"] == 0
    assert wrong in listed["remark"]


def test_pair_is_found_by_number_and_by_start_of_id(world: World) -> None:
    row = world.pair_rows[3]
    by_number = json.loads(run("show", world.paths.root, "3", "--json").stdout)
    by_id = json.loads(run("show", world.paths.root, row["pair_id"][:12], "--json").stdout)
    assert by_number == by_id
    assert by_number["chosen"] == row["chosen"][0]["content"]


def test_an_id_of_digits_names_its_pair_where_no_pair_has_that_number(long_texts: World) -> None:
    root = long_texts.paths.root
    with duckdb.connect(str(long_texts.paths.index("world"))) as index:
        index.execute("UPDATE pairs SET pair_id = '7412345' || right(pair_id, 25) WHERE pair = 5")
    assert json.loads(run("show", root, "7412345", "--json").stdout)["pair"] == 5
    assert json.loads(run("show", root, "7", "--json").stdout)["pair"] == 7
    assert "nothing is called '7412346'" in run("show", root, "7412346").stderr


def test_concept_is_found_by_name_and_shown_with_evidence(world: World) -> None:
    shown = run("show", world.paths.root, "concept 0")
    assert shown.exit_code == 0
    assert "taught:" in shown.stdout
    assert "discordant" in shown.stdout


@pytest.mark.parametrize(("what", "message"), [("999999", "999999"), ("no such thing", "no such thing")])
def test_what_is_not_there_is_named(world: World, what: str, message: str) -> None:
    result = run("show", world.paths.root, what)
    assert result.exit_code == 1
    assert message in result.stderr


def test_folder_without_project_gets_a_hint(tmp_path: Path) -> None:
    result = run("hypotheses", tmp_path)
    assert result.exit_code == 1
    assert "prosect audit" in result.stderr


def test_escape_sequences_of_the_data_never_reach_the_terminal(tmp_path: Path) -> None:
    result = run("hypotheses", tmp_path / "\x1b[2Jevil")
    assert "\x1b" not in result.stderr


def test_help_needs_neither_torch_nor_textual() -> None:
    code = (
        "import sys\nfrom engine.cli.main import main\n"
        "try:\n    main(['audit', '--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'textual', 'duckdb', 'numpy'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_full_or_read_only_place_is_a_message_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    for number, where, said in (
        (errno.EACCES, "audit/runs", "no access to audit/runs"),
        (errno.EROFS, "audit/runs", "cannot write audit/runs"),
        (errno.ENOSPC, None, "cannot write a file"),
    ):
        with pytest.raises(SystemExit) as stopped, errors_told():
            raise OSError(number, os.strerror(number), where)
        assert stopped.value.code == 1
        first, hint = capsys.readouterr().err.splitlines()
        assert first == f"error: {said}: {os.strerror(number)}"
        assert "permissions" in hint
    with pytest.raises(FileNotFoundError), errors_told():  # a mistake of ours keeps its traceback
        raise FileNotFoundError(errno.ENOENT, "gone", "x")


def test_compiling_where_nothing_can_be_written_is_told(world: World, tmp_path: Path) -> None:
    project = tmp_path / "audit"
    shutil.copytree(world.paths.root, project)
    (project / "shaped").write_text("a file where the folder should be")
    rules = tmp_path / "a.rules"
    rules.write_text("prosect rules 1\ndrop where chosen.tokens > 1000000\n")
    refused = run("compile", project, rules)
    assert refused.exit_code == 1
    assert "cannot write" in refused.stderr
    assert "Errno" not in refused.stderr
    assert ".tmp" not in refused.stderr
    assert "Errno" not in run("compile", project, tmp_path / "absent.rules").stderr


def test_who_stops_the_work_is_told_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    for message, said in (
        ("stopped on request", "stopped on request"),
        ("a newer query", "stopped: a newer query"),
    ):
        with pytest.raises(SystemExit), errors_told():
            raise Cancelled(message)
        assert capsys.readouterr().err.splitlines()[0] == said


def test_telling_tokens_are_a_list_in_json_and_words_in_tables(world: World) -> None:
    row = json.loads(run("hypotheses", world.paths.root, "--json", "-n", "1").stdout)["rows"][0]
    assert isinstance(row["tokens"], list)
    assert telling_words('["sorry", " cannot"]') == ["sorry", " cannot"]
    assert telling_words(None) == []
    table = run("hypotheses", world.paths.root, "--all-columns", "--plain").stdout
    assert "[" not in table


def test_doctor_refuses_options_about_a_reading_without_a_reader() -> None:
    refused = run("doctor", "-n", "1000")
    assert refused.exit_code == 2
    assert "--reader" in refused.stderr


def test_doctor_refuses_a_project_that_is_not_there(tmp_path: Path) -> None:
    for arguments in ((), ("--reader", "gemma-2-2b")):
        refused = run("doctor", "--project", tmp_path / "nosuch", *arguments)
        assert refused.exit_code == 1
        assert "there is no project at" in refused.stderr
    assert "has no pairs" in run("doctor", "--project", tmp_path).stderr


def test_a_folder_that_is_not_there_is_no_unknown_command(tmp_path: Path) -> None:
    for text in (str(tmp_path / "nosuch"), "./nosuch", "~nosuch"):
        refused = run(text)
        assert refused.exit_code == 2
        assert f"{text} is no folder" in refused.stderr
        assert "No such command" not in refused.stderr
    (tmp_path / "file").write_text("")
    assert "is a file, no project folder" in run(tmp_path / "file").stderr
    assert "No such command" in run("nosuch").stderr


@pytest.mark.parametrize("group", ["mix", "verdicts", "rules", "selftest"])
def test_help_of_a_group_cuts_no_sentence(group: str) -> None:
    shown = CliRunner().invoke(main, [group, "--help"], terminal_width=80).output
    assert "..." not in shown.partition("Commands:")[2]
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    "command", ["hypotheses", "concepts", "contexts", "pairs", "verdicts list", "verdicts log", "jobs"]
)
def test_default_tables_fit_a_terminal_of_80_columns(
    long_texts: World, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    root = long_texts.paths.root
    why = "it is what this project wants of the model, and a good deal more than that"
    run(
        "verdicts",
        "set",
        root,
        "keep",
        "concept 1",
        "--context",
        "tea",
        "--author",
        "somebody",
        "--reason",
        why,
    )
    lines = run(*command.split(), root).stdout.splitlines()
    assert lines
    assert max(map(cells, lines)) <= 80


def test_who_asks_for_every_column_gets_every_column(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    header = run("pairs", world.paths.root, "--all-columns").stdout.splitlines()[0].split()
    plain = run("pairs", world.paths.root, "--all-columns", "--plain").stdout.splitlines()[0].split("\t")
    assert header == plain


def test_contexts_tell_rows_apart_and_stay_where_room_is_short(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "context" in run("hypotheses", world.paths.root).stdout.splitlines()[0]
    assert "equal" in run("concepts", world.paths.root).stdout.splitlines()[0]


def test_a_concept_is_shown_inside_a_context(world: World) -> None:
    everywhere = json.loads(run("show", world.paths.root, "concept 1", "--json").stdout)
    inside = json.loads(run("show", world.paths.root, "concept 1", "--context", "tea", "--json").stdout)
    assert everywhere["inside"] is None
    assert inside["inside"]["context_name"] == "tea"
    as_a_context = run("show", world.paths.root, "concept 1", "--context", "everywhere", "--json")
    assert json.loads(as_a_context.stdout) == everywhere
    assert inside["top_pairs"] != everywhere["top_pairs"]
    text = run("show", world.paths.root, "concept 1", "--context", "tea").stdout
    assert text.index("in tea") < text.index("everywhere") < text.index("top pairs in tea")
    refused = run("show", world.paths.root, "concept 1", "--context", "nowhere")
    assert refused.exit_code == 1
    assert "no context is called 'nowhere'" in refused.stderr
