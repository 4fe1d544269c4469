"""A column that a person defined goes through the whole loop as the built-in ones do."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from engine.api import Project, sample_folder
from engine.errors import SettingsError
from engine.progress import NullProgress
from engine.views.details import ConceptDetail
from tests.pipeline.conftest import OVERRIDES

YOU = r"/\byou\b/i"


def audited_again(root: Path, columns: dict[str, str]) -> Project:
    changed: dict[str, dict[str, Any]] = OVERRIDES | {
        "concepts": OVERRIDES["concepts"] | {"columns": columns}
    }
    project = Project(root, overrides=changed)
    project.audit([], str(sample_folder() / "reader"), progress=NullProgress())
    return project


def counts(root: Path) -> tuple[int, int]:
    """Labelled pairs in which chosen has more matches, and in which either side has: by another engine."""
    rows = pq.read_table(root / "pairs" / "pairs.parquet").to_pylist()
    more = differ = 0
    for row in rows:
        if row["label"] != "chosen":
            continue
        sides = [
            sum(len(re.findall(r"(?i)\byou\b", m["content"])) for m in row[side])
            for side in ("chosen", "rejected")
        ]
        more += sides[0] > sides[1]
        differ += sides[0] != sides[1]
    return more, differ


def test_it_is_tested_named_planned_and_measured(own_project: Callable[[], Path]) -> None:
    root = own_project()
    more, differ = counts(root)
    with audited_again(root, {"you": YOU, "nowhere": "/qzqzqz/"}) as project:
        (row,) = project.concepts("concept=@you").records()
        assert row["discordant"] == differ > 20
        assert row["taught"] == pytest.approx(more / differ)
        assert project.concepts("concept=@nowhere").n_rows == 0
        found = project.find("@you")
        assert isinstance(found, ConceptDetail)
        assert found.definition == YOU
        piece = found.top_pairs[0].chosen if found.top_pairs[0].chosen.marks else found.top_pairs[0].rejected
        assert {piece.text[a:b].lower() for a, b in piece.marks} == {"you"}
        pair = project.browser.pair(found.top_pairs[0].pair, found.concept_id)
        sides = {"chosen": pair.chosen, "rejected": pair.rejected}
        assert {sides[side][a:b].lower() for side, marks in pair.marks for a, b in marks} == {"you"}
        assert (found.kind, found.name_source) == ("column", "pattern")
        links = project.find("@list_items")
        assert isinstance(links, ConceptDetail)
        assert "bullet" in links.definition

        assert f"| columns of its own | `@you = {YOU}` |" in project.card()
        project.decide("@you", "suppress")
        rules = root / "you.rules"
        rules.write_text(project.draft_rules(), encoding="utf-8")
        moved = {shift.label: shift for shift in project.plan(rules).collateral}
        assert moved["@you"].is_target
        assert abs(moved["@you"].mean_after) < abs(moved["@you"].mean_before)

    with audited_again(root, {"you": "/YOU/"}) as project:  # another pattern is another concept
        assert [view.is_orphaned for view in project.browser.verdicts().values()] == [True]


def test_a_mistake_is_said_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="two words"):
        audited_again(tmp_path / "new", {"two words": "/a/"})
    assert not (tmp_path / "new").exists()
