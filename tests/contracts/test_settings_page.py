"""engine/docs/settings.md names every key of every settings file, with what a person needs to set it."""

import re
from pathlib import Path

import pytest

from engine.cli.options import parse_assignments
from engine.cli.settings_page import TARGET, Key, keys, settings_page, stages
from engine.reading.spec import ReaderSpec
from engine.settings import Settings
from engine.settings_file import apply, load_settings

ROOT = Path(__file__).resolve().parents[2]
KEYS = [(stage, key) for stage, cls in stages().items() for key in keys(cls)]
NAMES = [f"{stage}.{key.name}" for stage, key in KEYS]


def test_the_page_is_current() -> None:
    assert TARGET.read_text(encoding="utf-8") == settings_page(), "run python -m engine.cli.settings_page"


@pytest.mark.parametrize(("stage", "key"), KEYS, ids=NAMES)
def test_every_key_has_a_meaning_and_every_number_a_unit(stage: str, key: Key) -> None:
    assert key.meaning, f"[{stage}] {key.name}: write a docstring below the field"
    if "number" in key.value:
        assert key.unit, f"[{stage}] {key.name}: give the unit, as in Annotated[Count, 'tokens'], or NO_UNIT"


def test_every_key_of_a_reader_has_a_meaning() -> None:
    assert [key.name for key in keys(ReaderSpec) if not key.meaning] == []


def test_the_defaults_on_the_page_are_the_settings_that_hold_without_a_file(tmp_path: Path) -> None:
    lines = []
    for stage, cls in stages().items():
        lines += [f"[{stage}]", *(f"{k.name} = {k.default}" for k in keys(cls) if k.default)]
    path = tmp_path / "prosect.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert load_settings(path) == Settings()


@pytest.mark.parametrize("page", sorted((ROOT / "engine" / "docs").glob("*.md")), ids=lambda p: p.stem)
def test_settings_that_pages_set_exist(page: Path) -> None:
    for text in re.findall(r"--set ([a-z_]+\.[a-z_0-9]+=[^\s`;]+)", page.read_text(encoding="utf-8")):
        for stage, values in parse_assignments((text,)).items():
            apply(getattr(Settings(), stage), values, page.name)
