"""The card of an audit says what tables and journal say, and carries no text of a dataset as Markdown."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from engine.api import Project
from engine.api.card_parts import interval
from engine.cli.main import main
from engine.safe_text import code_block, code_span


def section(page: str, title: str) -> str:
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table(text: str) -> list[list[str]]:
    """Cells of the rows below the header."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[c.strip(" ") for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    header = rows[0]
    return [row for row in rows if row != header and not set("".join(row)) <= set("-:")]


def test_every_called_concept_stands_with_its_interval(audited: Path) -> None:
    with Project(audited) as project:
        called = project.concepts("called:yes", sort="-evidence")
        rows = table(section(project.card(1000), "Taught everywhere"))
        few = section(project.card(2), "Taught everywhere")
    assert len(rows) == called.n_rows > 3
    for row, record in zip(rows, called.records(), strict=True):
        low, middle, high = (record[k] for k in ("taught_low", "taught", "taught_high"))
        assert row[0] == code_span(record["concept"], 80)
        said = f"{middle:.1%} ({100 * low:.1f} to {100 * high:.1f})"
        assert row[1] == said.replace(" ", "\u00a0")  # never broken over two lines
        assert row[3] == record["badge"]
        assert row[4] == f"{record['discordant']:,}"
    assert table(few) == rows[:2]
    assert f"… and {called.n_rows - 2:,} more." in few


def test_decisions_stand_with_reason_and_author(own_project: Callable[[], Path]) -> None:
    with Project(own_project(), overrides={"review": {"author": "ada"}}) as project:
        assert "0 of" in section(project.card(), "Decided")
        project.decide("@exclamations", "suppress", "cheer | `help` ![](http://x.y)")
        inside = project.hypotheses("!context=everywhere", limit=1).records()[0]
        project.decide(inside["concept_id"], "keep", context=inside["context_id"])
        rows = {row[1]: row for row in table(section(project.card(), "Decided"))}
        effect = next(r for r in project.concepts().records() if r["concept"] == "@exclamations")
    assert rows["`@exclamations`"] == [
        "suppress", "`@exclamations`", "everywhere", interval(effect, "taught"),
        r"`cheer \| 'help' ![](http://x.y)`", "`ada`",
    ]  # fmt: skip
    kept = rows[code_span(inside["concept"], 80)]
    assert kept[0] == "keep"
    assert kept[2] == code_span(inside["context"], 80)


def test_what_comes_first_says_what_is_taught_decided_and_made(own_project: Callable[[], Path]) -> None:
    root = own_project()
    (root / "rules").mkdir(exist_ok=True)
    rules = root / "rules" / "hostile.rules"
    rules.write_text(
        "prosect rules 1\n# ``` </details> <b>\nsuppress @exclamations by matching\n", encoding="utf-8"
    )
    with Project(root, overrides={"review": {"author": "ada"}}) as project:
        project.decide("@exclamations", "suppress")
        shaped = project.compile(rules)
        page = project.card()
        called = project.concepts("called:yes", sort="-evidence").records()
    short = page.split("\n## ")[0]
    firm = [r for r in called if r["badge"] == "both"] or called
    for word, some in (
        ("reward", [r for r in firm if r["taught"] > 0.5]),
        ("punish", [r for r in firm if r["taught"] < 0.5]),
    ):
        line = [text for text in short.splitlines() if text.startswith(f"- The labels {word}")]
        assert len(line) == bool(some)
        for r in some[:5]:
            assert f"{code_span(r['concept'], 80)} ({r['taught']:.0%})" in line[0]
    assert "- 1 verdict; " in short
    target = next(c for c in shaped.plan.collateral if c.is_target)
    assert f"`@exclamations` {target.rate_before:.1%} → {target.rate_after:.1%}" in short
    made = section(page, "Shaped datasets")
    assert "\n````text\nprosect rules 1\n# ``` </details> <b>\n" in made
    first = table(made)[0]
    assert first == ["`@exclamations`", f"{target.rate_before:.1%}", f"{target.rate_after:.1%}", "target"]


@given(st.text(max_size=300))
def test_a_code_block_cannot_be_left(text: str) -> None:
    first, *lines, last = code_block(text, 5)
    assert first == f"{last}text"
    assert set(last) == {"`"}
    assert len(lines) <= 6
    assert not [line for line in lines if last in line]


def test_the_page_says_nothing_of_the_machine(audited: Path, tmp_path: Path) -> None:
    """The same project elsewhere has the same card, to the byte; so has it a second later."""
    copy = tmp_path / "elsewhere" / audited.name
    shutil.copytree(audited, copy)
    result = CliRunner().invoke(main, ["card", str(copy), "-o", str(tmp_path / "card.md")])
    assert result.exit_code == 0, result.stderr
    page = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert page == CliRunner().invoke(main, ["card", str(audited)]).stdout
    assert str(audited.parent) not in page
    assert str(tmp_path) not in page


def test_weights_that_were_unpacked_are_said_to_be(own_project: Callable[[], Path]) -> None:
    folder = own_project()
    (file,) = folder.glob("readings/*/reader.json")
    for packed, is_said in (("mxfp4", True), (None, False)):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"model_unpacked": packed}))
        with Project(folder) as project:
            assert ("packed as `mxfp4`, unpacked to read" in section(project.card(3), "Made with")) is is_said


def test_before_an_audit_there_is_no_card(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["card", str(tmp_path)])
    assert result.exit_code == 1
    assert "prosect audit" in result.stderr


@given(st.text(max_size=300))
@pytest.mark.parametrize("limit", [None, 20])
def test_a_code_span_cannot_be_left(limit: int | None, text: str) -> None:
    span = code_span(text, limit)
    assert span == "" or (span[0], span[-1], span.count("`")) == ("`", "`", 2)
    assert "\n" not in span
    assert re.search(r"(?<!\\)\|", span) is None
