"""Offers at the cursor."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rules.catalogue import ConceptEntry
from engine.rules.complete import complete
from tests.rules.test_checking import CATALOGUE
from tests.rules.test_help import INDEX
from tests.rules.test_parsing import FILE


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("prosect rules 1\nsup", "suppress"),
        ("prosect rules 1\n", "drop"),
        ("prosect rules 1\nx: dr", "drop"),
        ("prosect rules 1\ndrop, ta", "tag"),
        ("prosect rules 1\ndrop where del", "delta("),
        ("prosect rules 1\ndrop where delta(@so", "@sorry"),
        ("prosect rules 1\ndrop where delta(@", '@"bold · lists"'),
        ("prosect rules 1\ndrop where delta(@lis", '@"bold · lists"'),
        ("prosect rules 1\nconcept mine = #1\ndrop where delta(@mi", "@mine"),
        ("prosect rules 1\ndrop where meta.ra", "meta.rating"),
        ("prosect rules 1\ndrop where chosen.to", "chosen.tokens"),
        ("prosect rules 1\nlet longer = true\ndrop where lon", "longer"),
        ("prosect rules 1\ndrop where con", 'context("tea")'),
        ("prosect rules 1\ndrop where sou", "source"),
    ],
)
def test_what_fits_is_offered(text: str, offered: str) -> None:
    found = complete(text, len(text), CATALOGUE)
    assert offered in [c.text for c in found]
    chosen = next(c for c in found if c.text == offered)
    assert text[chosen.start :].strip('@"').lower() in offered.lower()


def test_a_filter_prompt_offers_no_verbs() -> None:
    assert "drop" not in [c.text for c in complete("", 0, CATALOGUE, is_condition=True)]
    assert "source" in [c.text for c in complete("so", 2, CATALOGUE, is_condition=True)]


def test_nothing_is_offered_inside_a_string() -> None:
    text = 'prosect rules 1\ndrop where source == "al'
    assert complete(text, len(text), CATALOGUE) == ()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("suppress @bold by ", ["matching", "offset", "dropping"]),
        ("suppress @bold by m", ["matching"]),
        (
            "amplify @bold by matching ",
            ["to", "max", "on", "within", "unique", "at equal length", "where"],
        ),
        ("suppress @bold by matching max 4 unique ", ["to", "on", "within", "at equal length", "where"]),
        (
            "suppress @bold by matching within source ",
            ["to", "max", "on", "unique", "at equal length", "where"],
        ),
        ("suppress @bold by matching at ", ["equal length"]),
        ("suppress @bold by matching to ", []),
        ("suppress @bold by matching on ", ["delta", "u", "sum", "n", "rate"]),
        ("suppress @bold by matching on delta, ", ["u", "sum", "n", "rate"]),
        ("suppress @bold by offset 0.5 ", ["constant", "where"]),
        ("suppress @bold ", ["by"]),
        ("quota by source ", ["max"]),
        ("quota by source max 10 ", ["seed"]),
        ("limit 2 per group ", ["order", "seed"]),
        ("limit 2 per group order copy ", ["desc", "seed"]),
        ("sample 10% ", ["by", "seed"]),
        ("cap ", ["weight"]),
        ("use ", ["data", "reader", "index"]),
        ('use index "', ['"abcdef12"']),
        ('use reader "', []),
        ("expect ch", ["change("]),
        ("expect ke", ["kept"]),
        ('expect pair("ab").', ["kept", "dropped", "flipped", "weight", "offset", "fate"]),
        ('expect pair("ab").fl', ["flipped"]),
        ("links: drop where copy > 1\nexpect matched(", ["links"]),
        ("steer @bold by 0.2 at ", ["layer"]),
        ("mask ", ["tokens where"]),
        ("keep ", ["only"]),
        ("drop ", ["where", "because", "priority"]),
        ("drop where p90(copy, ", ["active"]),
        ("drop where delta(@sorry, ", ["max", "sum", "n", "rate"]),
        ('drop where source == "', ['"harbor_forum"', '"web"']),
        ('drop where source != "w', ['"web"']),
        ('drop where source in ["web", "h', ['"harbor_forum"']),
        ('drop where context("desk', ['"desk_mail"']),
        ('drop where delta(@"take', ['@"take such"']),
        ("concept x = lab", ["label ~ /"]),
        ("concept x = #1 ", ["or", "except"]),
        ("drop where source ~ /s", []),
        ("drop where source ~ ", []),
        ('tag "s', []),
        ('drop where copy > 1 because "s', []),
        ("# drop where s", []),
        ("drop where copy > 12", []),
    ],
)
def test_only_what_the_language_takes_is_offered(line: str, offered: list[str]) -> None:
    text = f"prosect rules 1\n{line}"
    found = [c.text for c in complete(text, len(text), INDEX)]
    assert [w for w in found if w not in ("and", "or") or w in offered] == offered


@pytest.mark.parametrize(
    ("line", "kinds", "first"),
    [
        ("suppress ", {"concept"}, '@"bold · lists"'),
        ("expect change(", {"concept"}, '@"bold · lists"'),
        ("expect ", {"word", "function"}, "input"),
        ("quota by ", {"key", "context"}, "id"),
        ("suppress @bold by matching within ", {"key", "context"}, "id"),
        ("soften ", {"context"}, 'context("everywhere")'),
        ("x: ", {"verb"}, "drop"),
        ("drop, ", {"action"}, "drop"),
        ("drop where source == ", {"value", "function", "column", "context"}, '"harbor_forum"'),
        ("weight *= max(1, ", {"function", "column", "context"}, "chosen("),
    ],
)
def test_names_of_the_right_kind_are_offered(line: str, kinds: set[str], first: str) -> None:
    text = f"prosect rules 1\n{line}"
    found = complete(text, len(text), INDEX)
    assert {c.kind for c in found} == kinds
    assert found[0].text == first


def test_whole_texts_and_unnamed_statements_are_not_offered_where_they_are_refused() -> None:
    keys, named = "prosect rules 1\nquota by ", "prosect rules 1\nx: "
    assert not {"prompt.text", "chosen.text"} & {c.text for c in complete(keys, len(keys), INDEX)}
    assert not {"let", "expect"} & {c.text for c in complete(named, len(named), INDEX)}


def test_the_same_case_comes_first_and_plain_words_before_quoted_ones() -> None:
    labels = ("Exchange · finger", "exact · copy", "@exclamations", "EXTRA", "vexed")
    catalogue = replace(
        INDEX,
        concepts=tuple(
            ConceptEntry(n, f"{n}" * 32, "cluster", label, None, (n,)) for n, label in enumerate(labels)
        ),
    )
    text = "prosect rules 1\ndrop where delta(@ex"
    assert [c.text for c in complete(text, len(text), catalogue)] == [
        "@exclamations", '@"exact · copy"', "@EXTRA", '@"Exchange · finger"', "@vexed",
    ]  # fmt: skip


def test_every_offer_of_a_condition_fits_a_condition() -> None:
    found = complete('source == "w', 12, INDEX, is_condition=True)
    assert [(c.start, c.text, c.kind) for c in found] == [(10, '"web"', "value")]


@given(st.integers(0, len(FILE)))
def test_any_cursor_is_fine(cursor: int) -> None:
    complete(FILE, cursor, CATALOGUE)
