"""What a rule file shapes already, and that what is added to it fits beside what it has."""

from dataclasses import replace

import pytest

from engine.compiler.from_verdicts import rules_from_verdicts
from engine.compiler.records import VerdictNote
from engine.compiler.standing import standing
from engine.records import Verdict
from engine.rules.catalogue import Catalogue, ConceptEntry, ContextEntry
from engine.rules.check_file import diagnose

STYLE, MORAL = "aa" * 16, "bb" * 16
TEA, CODE, FORUM = "11" * 16, "22" * 16, "33" * 16


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
            ContextEntry(3, FORUM, "source", "forum", 30),
        ),
    )


@pytest.mark.parametrize(
    ("text", "shaped"),
    [
        (f'concept s = id "{STYLE[:12]}"\nsuppress @s by matching', {(STYLE, None, "suppress")}),
        (f'concept s = id "{STYLE[:12]}"', set()),  # a definition moves nothing
        ("amplify @preaching by offset 0.5", {(MORAL, None, "amplify")}),
        ("#off amplify @morals by offset 0.5", {(MORAL, None, "amplify")}),  # switched off is decided, too
        ('suppress @"over styled" by matching within source', {(STYLE, None, "suppress")}),
        (f'suppress @morals by matching where context("{TEA[:12]}")', {(MORAL, TEA, "suppress")}),
        (
            'suppress @morals by offset 1 where context("tea") or context("code")',
            {(MORAL, TEA, "suppress"), (MORAL, CODE, "suppress")},
        ),
        ('suppress @morals by offset 1 where context("1111")', {(MORAL, TEA, "suppress")}),
        ('context b = context("tea")\nsuppress @morals by offset 1 where b', {(MORAL, TEA, "suppress")}),
        ('context b = context("tea")\nsuppress @morals by matching within b', {(MORAL, TEA, "suppress")}),
        ('let f = source == "forum"\nsuppress @morals by offset 1 where f', {(MORAL, FORUM, "suppress")}),
        ('suppress @morals by offset 1 where source != "forum"', {(MORAL, None, "suppress")}),
        ('suppress @morals by offset 1 where not context("tea")', {(MORAL, None, "suppress")}),
        ('suppress @morals by matching where context("no such")', set()),  # an error
        ("concept both = @morals or @preaching\ndrop where delta(@both) > 1", {(MORAL, None, "either")}),
        ("let m = delta(@morals)\nweight *= 0.5 where m > 1", {(MORAL, None, "either")}),
        ("suppress @morals by matchig\ndrop where delta(@preaching) > 2", {(MORAL, None, "either")}),
        ("steer @morals by -0.3 at layer 2", {(MORAL, None, "either")}),
        ('expect change(@morals) < 1\ntag "x" where delta(@morals) > 1\nlet m = delta(@morals)', set()),
        ("protect where delta(@morals) > 1", set()),
    ],
)  # fmt: skip
def test_a_text_says_what_it_shapes(
    catalogue: Catalogue, text: str, shaped: set[tuple[str, str | None, str]]
) -> None:
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
    assert standing(text, catalogue).shaped == {
        (STYLE, None, "suppress"), (STYLE, TEA, "suppress"), (MORAL, None, "suppress"),
    }  # fmt: skip


def test_a_verdict_in_a_context_that_is_gone_shapes_nothing_anywhere(catalogue: Catalogue) -> None:
    text = rules_from_verdicts([VerdictNote(STYLE, Verdict.SUPPRESS, context_id="44" * 16)], catalogue)
    assert "not in this index" in text
    assert standing(text, catalogue).shaped == frozenset()
    assert "suppress" not in "".join(line for line in text.splitlines() if not line.startswith("#"))


def test_a_statement_in_the_opposite_direction_carries_nothing_out(catalogue: Catalogue) -> None:
    found = standing("prosect rules 1\namplify @morals by offset 1\n", catalogue)
    assert found.carries_out(MORAL, None, Verdict.AMPLIFY)
    assert not found.carries_out(MORAL, None, Verdict.SUPPRESS)
    assert not found.carries_out(MORAL, TEA, Verdict.AMPLIFY)


def test_concepts_are_called_by_their_present_names_in_words_of_the_language(catalogue: Catalogue) -> None:
    renamed = replace(
        catalogue, concepts=(replace(catalogue.concepts[0], name="İstanbul ²"), catalogue.concepts[1])
    )
    text = rules_from_verdicts([VerdictNote(STYLE, Verdict.SUPPRESS, "as it was")], renamed)
    assert not diagnose(text, renamed), text
    assert "as_it_was" not in text
