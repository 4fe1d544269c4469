"""What a rule file shapes already, and that what is added to it fits beside what it has."""

import pytest

from engine.compiler.from_verdicts import rules_from_verdicts
from engine.compiler.records import VerdictNote
from engine.compiler.standing import standing
from engine.records import Verdict
from engine.rules.catalogue import Catalogue, ConceptEntry, ContextEntry
from engine.rules.check_file import diagnose

STYLE, MORAL = "aa" * 16, "bb" * 16
TEA, CODE = "11" * 16, "22" * 16


@pytest.fixture
def catalogue() -> Catalogue:
    concepts = (
        ConceptEntry(0, STYLE, "cluster", 'over "styled"', None, (1, 2)),
        ConceptEntry(1, MORAL, "latent", "morals", "preaching", (3,)),
    )
    return Catalogue(
        concepts,
        (
            ContextEntry(0, "00" * 16, "all", "all", 90),
            ContextEntry(1, TEA, "cluster", "tea", 30),
            ContextEntry(2, CODE, "cluster", "code", 30),
        ),
    )


@pytest.mark.parametrize(
    ("text", "shaped"),
    [
        (f'concept s = id "{STYLE[:12]}"\nsuppress @s by matching', {(STYLE, None)}),
        (f'concept s = id "{STYLE[:12]}"', set()),  # a definition moves nothing
        ("amplify @preaching by offset 0.5", {(MORAL, None)}),
        ("#off amplify @morals by offset 0.5", {(MORAL, None)}),  # switched off is decided, too
        ('suppress @"over styled" by matching within source', {(STYLE, None)}),
        (f'suppress @morals by matching where context("{TEA[:12]}")', {(MORAL, TEA)}),
        (
            'suppress @morals by offset 1 where context("tea") or context("code")',
            {(MORAL, TEA), (MORAL, CODE)},
        ),
        ('context brew = context("tea")\nsuppress @morals by offset 1 where brew', {(MORAL, TEA)}),
        ('suppress @morals by matching where context("no such")', set()),
        ("concept both = @morals or @preaching\ndrop where delta(@both) > 1", {(MORAL, None)}),
        ("suppress @morals by matchig\ndrop where delta(@preaching) > 2", {(MORAL, None)}),  # an error
    ],
)  # fmt: skip
def test_a_text_says_what_it_shapes(catalogue: Catalogue, text: str, shaped: set[tuple[str, str]]) -> None:
    assert standing(f"prosect rules 1\n{text}\n", catalogue).shaped == shaped


def test_what_is_added_uses_definitions_and_avoids_names(catalogue: Catalogue) -> None:
    first = rules_from_verdicts([VerdictNote(STYLE, Verdict.SUPPRESS)], catalogue)
    notes = [
        VerdictNote(STYLE, Verdict.SUPPRESS, context_id=TEA),
        VerdictNote(MORAL, Verdict.SUPPRESS, "over_styled"),  # the name of the other one's definition
    ]
    added = rules_from_verdicts(notes, catalogue, beside=standing(first, catalogue)).splitlines()[2:]
    text = first + "\n".join(added) + "\n"
    assert not [d for d in diagnose(text, catalogue) if d.severity.value == "error"], text
    assert "# in context tea" in text
    assert standing(text, catalogue).shaped == {(STYLE, None), (STYLE, TEA), (MORAL, None)}


def test_a_verdict_in_a_context_that_is_gone_shapes_nothing_anywhere(catalogue: Catalogue) -> None:
    text = rules_from_verdicts([VerdictNote(STYLE, Verdict.SUPPRESS, context_id="33" * 16)], catalogue)
    assert "not in this index" in text
    assert standing(text, catalogue).shaped == frozenset()
    assert "suppress" not in "".join(line for line in text.splitlines() if not line.startswith("#"))
