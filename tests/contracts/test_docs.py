"""Documents that would mislead when out of date are checked against the code."""

import re
import shlex
import sys
from pathlib import Path

import click
import pytest

from engine.cli.main import main
from engine.cli.reference import TARGET, reference

ROOT = Path(__file__).resolve().parents[2]


def test_command_reference_is_current() -> None:
    assert TARGET.read_text(encoding="utf-8") == reference(), "run python -m engine.cli.reference"


def commands(group: click.Group, path: str = "prosect") -> list[str]:
    found = []
    for name, command in group.commands.items():
        found.append(f"{path} {name}")
        if isinstance(command, click.Group):
            found += commands(command, f"{path} {name}")
    return found


@pytest.mark.parametrize("command", commands(main))
def test_every_command_explains_itself(command: str) -> None:
    assert f"## `{command}`" in TARGET.read_text(encoding="utf-8")
    node: click.Command = main
    for name in command.split()[1:]:
        assert isinstance(node, click.Group)
        node = node.commands[name]
    assert node.help
    for parameter in node.params:
        if isinstance(parameter, click.Option):
            assert parameter.help or parameter.name in ("plain", "limit", "sort"), (
                f"{command} {parameter.name}"
            )


DOCS = ROOT / "engine" / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])


def anchors(page: Path) -> set[str]:
    """What links into a page may name after the hash sign, as GitHub makes it from headings."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        aim = page.parent / name if name else page
        assert aim.exists(), target
        assert not anchor or anchor in anchors(aim), target


CALLS = sorted(
    {
        (page.stem, line.strip())
        for page in PAGES
        for line in re.findall(r"^    (?:\$ )?prosect (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        if not line.startswith("rules 1")  # the first line of a rule file
    }
)


@pytest.mark.parametrize(("page", "line"), CALLS, ids=[f"{page}: {line}" for page, line in CALLS])
def test_commands_in_pages_have_the_options_that_they_are_given(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    node: click.Command = main
    while isinstance(node, click.Group) and words and words[0] in node.commands:
        node = node.commands[words.pop(0)]
    assert node is not main or not words[0].isalpha(), page
    known = {
        name for p in node.params if isinstance(p, click.Option) for name in (*p.opts, *p.secondary_opts)
    }
    for word in words:
        if re.match(r"--?[a-z]", word):
            assert word.partition("=")[0] in known | {"-h", "--help"}, word


def test_every_page_is_in_the_index_of_the_docs() -> None:
    text = (DOCS / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"^- \[[^\]]+\]\(([^)]+)\): [^\n]+\.$", text, re.MULTILINE))
    assert linked == {p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md")} - {"README.md"}


def test_readme_tree_names_every_room() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rooms = [p.name for p in (ROOT / "engine").iterdir() if (p / "__init__.py").exists()]
    for room in [*rooms, "tui", "tests", "sample_data"]:
        assert f"{room}/" in text, room


def test_changelog_has_an_unreleased_part() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path", sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "engine").rglob("*.py"))
)
def test_no_module_shadows_the_standard_library(path: str) -> None:
    name = Path(path).stem
    assert name in ("__init__",) or name not in sys.stdlib_module_names, path
