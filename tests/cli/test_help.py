"""``prosect help``: every command is there for a want; pages are whole, fit the terminal and are found."""

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from engine.cli.fitting import cells
from engine.cli.help import WANTS, Topic, topics
from engine.cli.main import main
from engine.cli.markdown import rendered, sections

TYPED = [command for _, wants in WANTS for _, command in wants]
PAGES = topics()


def run(*words: str, width: int = 80) -> Result:
    return CliRunner().invoke(main, ["help", *words], env={"COLUMNS": str(width)})


def test_every_command_is_there_for_something_one_wants() -> None:
    assert {command.split()[0] for command in TYPED} == set(main.commands)
    listed = run().output
    for topic in PAGES:
        assert topic.name.isdigit() or f"prosect help {topic.name} " in listed
    for width in (60, 80, 120):
        assert max(map(len, run(width=width).output.splitlines())) <= width


@pytest.mark.parametrize("typed", TYPED)
def test_what_one_is_told_to_type_is_a_command_with_its_options(typed: str) -> None:
    node: click.Command = main
    words = shlex.split(typed)
    while isinstance(node, click.Group):
        node = node.commands[words.pop(0)]
    known = {name for p in node.params if isinstance(p, click.Option) for name in p.opts}
    assert {word for word in words if word.startswith("-")} <= known
    if node.name == "help":
        assert run(*words).exit_code == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.parametrize("width", [40, 80, 100])
def test_pages_fit_and_lose_no_word(width: int, page: Topic) -> None:
    text = page.file.read_text(encoding="utf-8")
    plain = rendered(text, width, styled=False)
    said = re.sub(r"^```.*$|!\[[^\]]*\]\([^)]*\)|\]\([^)]*\)", " ", text, flags=re.MULTILINE)
    words = set(re.findall(r"[^\W_]{3,}", said))
    assert words <= set(re.findall(r"[^\W_]{3,}", plain.replace("\n", " "))) | in_tables(text)
    code = {line for line in text.splitlines() if line.startswith("    ")}
    code |= {
        f"    {line}".rstrip()
        for part in re.findall(r"```.*\n((?:.*\n)*?)```", text)
        for line in part.splitlines()
    }
    for line in plain.splitlines():
        if line not in code and "|" not in text:
            assert cells(line) <= max(width, *(cells(word) for word in line.split()), 0)


def in_tables(text: str) -> set[str]:
    """Words of tables, which a column narrower than they are breaks."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return set(re.findall(r"[^\W_]{3,}", " ".join(lines)))


def test_blocks_look_like_this() -> None:
    page = (
        "# Title\n\nSome *emphasised* and **strong** words with `a * b`, a [link](other.md)\n"
        "and a [site](https://x.y).\n\n"
        "![a picture](x.svg)\n\n* one item that\n  goes on\n* two\n\n    code  stays\n\n"
        "| name | meaning |\n|---|---|\n| `x` | a word \\| another and much more to say |\n| y | z |\n"
    )
    assert rendered(page, 40, styled=False) == (
        "Title\n=====\n\nSome emphasised and strong words with `a\n* b`, a link (prosect help other) and a\n"
        "site (https://x.y).\n\n"
        "* one item that goes on\n* two\n\n    code  stays\n\n"
        "name  meaning\n----  ----------------------------------\nx     a word | another and much more to\n"
        "      say\n\ny     z\n"
    )


def test_headings_in_code_are_no_parts() -> None:
    page = "# A\n\n```\n# no\n```\n\n## B `c`\n\ntext\n\n### D\n\nmore\n\n## E\n"
    assert [(s.title, s.text.count("\n")) for s in sections(page)] == [
        ("A", 15),
        ("B c", 8),
        ("D", 4),
        ("E", 1),
    ]


def test_parts_of_a_page_are_found_by_heading_then_by_text() -> None:
    assert run("formats", "places").output.startswith("Places inside columns\n---")
    assert run("workstation", "sends", "no", "bytes").output.startswith("Terminal\n")
    assert run("GLOSSARY.md").output == run("gloss").output
    missing = run("formats", "no such words")
    assert missing.exit_code == 1
    assert "    Mixes\n" in missing.output


def test_entries_of_tables_are_looked_up() -> None:
    found = run("settings", "lora_rank").output
    assert found.startswith("[training]\n")
    assert "full fine-tuning" in " ".join(found.split())
    assert "beta" not in found
    assert run("glossary", "reader").output.splitlines()[0] == "Glossary"
    assert "no_answer  a side" in run("formats", "no_answer").output
    both = run("settings", "seed").output
    assert [line for line in both.splitlines() if line.startswith("[")] == [
        "[sae]",
        "[concepts]",
        "[training]",
    ]
    missing = run("glossary", "zzz")
    assert (missing.exit_code, "shows all of it" in missing.output) == (1, True)


def test_words_settings_and_codes_need_no_page_before_them() -> None:
    assert run("offset").output.startswith(run("glossary", "offset").output)
    assert run("lora_rank").output.startswith("[training]\n")
    (row,) = [line for line in run("stats.q").output.splitlines() if line.startswith("q ")]
    assert "0.05" in row
    assert run("r404").output == CliRunner().invoke(main, ["explain", "R404"]).output
    assert run("stats.zzz").exit_code == 1


def test_commands_are_explained_as_by_their_own_help() -> None:
    assert run("plan").output == CliRunner().invoke(main, ["plan", "--help"]).output
    assert run("verdicts", "set").output == CliRunner().invoke(main, ["verdicts", "set", "--help"]).output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plna"], "did you mean `plan`?"),
        (["verdicts", "sett"], "did you mean `set`?"),
        (["zzz"], "lists them"),
        (["card", "audit"], "`card` has no command `audit`"),
    ],
)
def test_what_is_not_there_is_said_with_the_nearest(words: list[str], said: str) -> None:
    found = run(*words)
    assert found.exit_code == 1
    assert said in found.output


def test_nothing_is_styled_where_nobody_looks() -> None:
    assert "\x1b" not in run().output + run("statistics").output


def test_the_pages_go_along_with_the_package() -> None:
    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"] == ["engine/docs/images"]
