"""The page on formats lists what there is."""

from pathlib import Path

import pytest

from engine.ingest.drafts import REASONS, Reason
from engine.ingest.files import SUFFIXES
from engine.ingest.formats.base import Format
from engine.ingest.formats.registry import FORMATS

PAGE = (Path(__file__).parents[2] / "engine" / "docs" / "formats.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.name)
def test_every_format_has_a_row_and_its_mark(form: Format) -> None:
    (row,) = [
        line for line in PAGE.splitlines() if line.startswith("|") and f"`{form.name}`" in line.split("|")[1]
    ]
    assert ("†" in row.split("|")[1]) == form.from_description


def test_every_reason_and_suffix_is_explained() -> None:
    for reason in Reason:
        assert f"| `{reason.value}` | {REASONS[reason]} |" in PAGE
    for suffix in SUFFIXES:
        assert "." + suffix.split(".")[1] in PAGE
