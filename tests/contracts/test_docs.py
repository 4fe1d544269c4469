"""Documents that would mislead when out of date are checked against the code."""

import re
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


def test_readme_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target


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
