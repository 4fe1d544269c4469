"""Mistakes that people make: each is told in the words of this language, with what to write instead."""

from dataclasses import replace

import numpy as np
import pytest

from engine.rules.catalogue import ConceptEntry, ContextEntry, Type
from engine.rules.check_file import check, diagnose
from engine.rules.diagnostics import Diagnostic, Place, Severity, render
from engine.rules.evaluate import Interpreter, PairFacts
from engine.rules.explain import EXPLANATIONS
from tests.rules.test_checking import CATALOGUE, HEAD

INDEX = replace(
    CATALOGUE,
    concepts=(
        *CATALOGUE.concepts,
        ConceptEntry(5, "ffff6666" * 4, "cluster", "take such", None, (10,)),
        ConceptEntry(6, "99990000" * 4, "column", "@bold", None, ()),
    ),
    contexts=(
        *CATALOGUE.contexts,
        ContextEntry(2, "5678abcd" * 4, "topic", "about charged · mail · broke", 4),
        ContextEntry(3, "6678abcd" * 4, "source", "desk_mail", 4),
    ),
    meta={**CATALOGUE.meta, ("family",): Type.TEXT},
)


def told(lines: str) -> Diagnostic:
    """The only finding of these lines."""
    (found,) = diagnose(f"{HEAD}{lines}\n", INDEX)
    return found


@pytest.mark.parametrize(
    ("line", "code", "help_line"),
    [
        ('drop if source == "web"', "R108", "write `where`"),
        (
            'drop where slot == "a" AND copy > 1',
            "R108",
            "write `and`: words of the language are lower case",
        ),
        ('drop where NOT slot == "a"', "R108", "write `not`: words of the language are lower case"),
        ('drop WHERE slot == "a"', "R108", "write `where`: words of the language are lower case"),
        ("suppress @sorry BY matching", "R108", "write `by`: words of the language are lower case"),
        (
            "suppress @sorry by matching where copy > 1 max 2",
            "R108",
            "options stand before the condition: `… by matching max … where …`",
        ),
        ("drop where meta.wrong == TRUE", "R202", "write `true`: words of the language are lower case"),
        ("DROP where copy > 1", "R101", "did you mean `drop`?"),
        ('drop where source contains "a/b.c"', "R108", "write `~ /a\\/b\\.c/`"),
        ('drop where (source like "web")', "R108", "write `~ /web/`"),
        ('drop where source ~ "sorry"', "R108", "write `~ /sorry/`"),
        ('drop where source !~ "sorry"', "R108", "write `!~ /sorry/`"),
        ('drop where "desk" in source', "R304", "write `source ~ /desk/`"),
        ('drop where source is "web"', "R108", "write `==`"),
        (
            "drop where annotator is null",
            "R108",
            "write `annotator != annotator`: it is true where annotator is missing",
        ),
        (
            'drop where meta."odd key" is null',
            "R108",
            'write `meta."odd key" != meta."odd key"`: it is true where meta."odd key" is missing',
        ),
        (
            "drop where annotator is not null",
            "R108",
            "`!=` is the sign for that; `annotator == annotator` is true where annotator is not missing",
        ),
        (
            "drop where annotator == null",
            "R202",
            "write `annotator != annotator`: it is true where annotator is missing",
        ),
        (
            "drop where meta.rating != None",
            "R202",
            "write `meta.rating == meta.rating`: it is false where meta.rating is missing",
        ),
        ("weight += 0.5", "R108", "`weight *= 0.5` multiplies, `weight = 2` sets"),
        ("weight -= 0.5", "R108", "`weight *= 0.5` multiplies, `weight = 2` sets"),
        ("weight /= 2", "R108", "`weight *= 0.5` multiplies, `weight = 2` sets"),
        ("offset -= 1", "R108", "offsets add up: write `offset += 0.5`, to take away `offset += -0.5`"),
        ("let x == 3", "R102", "write `let x = …`"),
        ("concept c: @sorry", "R108", "write `concept c = …`"),
        (
            "let my-x = 3",
            "R108",
            "a name has letters, digits and `_`; `-` takes away",
        ),
        (
            "drop where copy > 1;",
            "R104",
            "leave it out: a statement ends where the next one starts in the first column",
        ),
        ('soften "tea" by 0.5', "R304", 'a context is written `context("tea")`'),
        ("drop where context(desk_mail)", "R308", 'write `context("desk_mail")`'),
        (
            "context here = copy > 1\ndrop where context(here)",
            "R308",
            "`here` is true inside already: write it alone",
        ),
        ('drop where source == "web" or "x" or "y"', "R304", 'write `source in ["web", "x", "y"]`'),
        ('drop where source != "web" and "x"', "R304", 'write `not source in ["web", "x"]`'),
        ("drop where copy", "R304", "compare it, as in `… > 0`"),
        ("tag mail", "R108", 'a text stands in double quotes: write `"mail"`'),
        ("drop because mail", "R108", 'a text stands in double quotes: write `"mail"`'),
        ("use index abcd", "R108", 'a text stands in double quotes: write `"abcd"`'),
        ("drop where meta.family == mail", "R202", 'a text stands in double quotes: write `"mail"`'),
        ("drop where source in [web]", "R202", 'a text stands in double quotes: write `"web"`'),
        ("drop where source == language2", "R202", "did you mean `language`?"),
        ("rule-1: drop", "R108", "a name has letters, digits and `_`; `-` takes away: write `rule_1: …`"),
        (
            "expect matched(drop-1a2b3c) > 1",
            "R210",
            "name it: `links: drop where …`, then `matched(links)`",
        ),
        (
            "expect unique(drop-ab) > 1",
            "R210",
            "name it: `links: drop where …`, then `unique(links)`",
        ),
        ('drop where context("desk mail")', "R206", "did you mean `desk_mail`?"),
        ('drop where context("broke")', "R206", "did you mean `about charged · mail · broke`?"),
        (
            'drop where context("no such")',
            "R206",
            "known: everywhere, tea, about charged · mail · broke, desk_mail",
        ),
        ('drop where delta(@"no such")', "R201", "`prosect concepts` lists them"),
        (
            'drop where meta == "mail"',
            "R202",
            'write `meta.rating`, `meta.wrong`, `meta."odd key"`, `meta.mixed`, `meta.family`',
        ),
        ("drop where meta.odd_key > 1", "R202", 'did you mean `meta."odd key"`?'),
        (
            'drop where prompt == "x"',
            "R202",
            "write `prompt.text`, `prompt.tokens`, or `prompt(@concept)` for a score",
        ),
        ("limit 2 per prompt seed 3", "R202", "write `group`: pairs of one prompt have the same"),
        ("limit 1 per group order copy descending seed 3", "R108", "write `desc`"),
        (
            "limit 1 per group order copy ascending seed 3",
            "R108",
            "leave it out: `order` puts the smallest first, `desc` the largest",
        ),
        ("sample 90% within source seed 7", "R108", "write `by`, as in `sample 10% by source seed 7`"),
        ("sample 90% by source 7", "R108", "add `seed 7`"),
        (
            "sample 5 seed 7 where copy > 1",
            "R108",
            "it takes no `where`: it acts on every pair that the row rules left",
        ),
        (
            "suppress @sorry, @length by matching",
            "R108",
            "one statement shapes one concept: write a line for each",
        ),
        ("suppress bold by matching", "R108", "write `@bold`"),
        ('suppress "bold · lists" by offset 1', "R108", 'write `@"bold · lists"`'),
        ("drop where delta(bold) > 1", "R308", "write `delta(@bold)`"),
        ('drop where delta("bold · lists") > 1', "R308", 'write `delta(@"bold · lists")`'),
        ("expect change(bold) < 0.1", "R308", "write `change(@bold)`"),
        ('expect effect("bold · lists") < 0.1', "R308", 'write `effect(@"bold · lists")`'),
        ("expect pair(ab12).kept", "R308", 'write `pair("ab12").kept`'),
        ('x: drop where copy > 1\nexpect matched("x") < 9', "R308", "write `matched(x)` with a rule's name"),
    ],
)
def test_a_mistake_comes_with_what_to_write_instead(line: str, code: str, help_line: str) -> None:
    found = told(line)
    assert (found.code, found.help) == (code, help_line)


def test_blanks_before_the_first_statement_are_named() -> None:
    (found,) = diagnose("prosect rules 1\n drop where copy > 1\n", INDEX)
    assert (found.code, found.message) == ("R111", "`drop` continues the statement above")
    assert "remove the spaces before it" in (found.help or "")


def test_what_is_said_of_missing_values_is_so() -> None:
    checked = check(
        HEAD + "a: drop where annotator != annotator\nb: drop where annotator == annotator\n", INDEX
    )
    absent, there = PairFacts({"annotator": None}), PairFacts({"annotator": "x"})
    interpreter = Interpreter()
    got = [[interpreter.truth(r.condition, facts, {}) for r in checked.rules] for facts in (absent, there)]
    assert got == [[True, False], [False, True]]


def test_a_help_line_in_code_can_be_pasted() -> None:
    assert not diagnose(HEAD + 'drop where source ~ /a\\/b\\.c/ or meta."odd key" > 1\n', INDEX)


@pytest.mark.parametrize(
    ("line", "quoted", "instead"),
    [
        ('soften context("tea") by 50%', "50%", "write `0.5`"),
        ("suppress @sorry by offset 50%", "50%", "write `0.5`"),
        ("suppress @sorry by matching to 10%", "10%", "write `0.1`"),
        ("suppress @sorry by matching max 500%", "500%", "write `5`"),
        ("cap weight 50% .. 2", "50%", "write `0.5`"),
        ("cap weight 0.5 .. 200%", "200%", "write `2`"),
        ("steer @sorry by -20% at layer 3", "-20%", "write `-0.2`"),
        ("offset += 50%", "50%", "write `0.5`"),
        ("drop where pct(copy) > 95%", "95%", "write `95`"),
        ("drop where 0.95 < pct(copy)", "0.95", "write `95`"),
        ("drop where pct(copy) == (5%)", "5%", "write `5`"),
        ("drop where pct(copy) in [0.5]", "0.5", "write `50`"),
        ("drop where pct(copy) between 0.9 and 100", "0.9", "write `90`"),
        ("let p = pct(copy)\nlet high = 0.95\ndrop where p > high", "high", "write `95`"),
        ("expect kept > 0.8", "0.8", "write `80%` for a share of the input pairs"),
        ("expect dropped between 0 and 0.05", "0.05", "write `5%` for a share of the input pairs"),
        (
            "x: drop where copy > 1\nexpect matched(x) < 0.1",
            "0.1",
            "write `10%` for a share of the input pairs",
        ),
    ],
)
def test_a_number_on_the_wrong_scale_is_an_error(line: str, quoted: str, instead: str) -> None:
    text = f"{HEAD}{line}\n"
    (found,) = diagnose(text, INDEX)
    assert (found.code, found.severity, found.help) == ("R404", Severity.ERROR, instead)
    assert text.rindex(quoted) == found.place.start
    assert found.place.end == found.place.start + len(quoted)


@pytest.mark.parametrize(
    "line",
    [
        "weight *= 50%",
        "drop where pct(copy) > 1",
        "drop where pct(copy) between 0 and 100",
        "drop where chosen(@sorry, rate) > 5%",
        "expect kept > 80% and kept >= 1 and ess > 0.5 and kept / input > 0.5",
        "suppress @sorry by dropping 5%",
    ],
)
def test_shares_stay_where_they_mean_something(line: str) -> None:
    assert not diagnose(f"{HEAD}{line}\n", INDEX)


def test_a_count_equals_a_share_of_the_input() -> None:
    one, two = (check(f"{HEAD}expect {e}\n", INDEX) for e in ("kept == 100%", "not kept != 100%"))
    assert "input" in repr(one.expects[0].condition)
    assert "input" in repr(two.expects[0].condition)


@pytest.mark.parametrize(
    ("line", "code", "quoted", "part"),
    [
        ("flip, drop where copy > 1", "R517", "flip", "another rule protects"),
        ('drop, inoculate "x" where copy > 1', "R517", 'inoculate "x"', "another rule protects"),
        ('drop, tag "x" where copy > 1', "R517", 'tag "x"', "in the ledger only"),
        ("sample 10 seed 1", "R518", "sample 10 seed 1", "the index has 9"),
        ("sample 100% seed 1", "R518", "sample 100% seed 1", "keeps every pair"),
    ],
)
def test_what_cannot_do_anything_is_warned_about(line: str, code: str, quoted: str, part: str) -> None:
    text = f"{HEAD}{line}\n"
    (found,) = diagnose(text, INDEX)
    assert (found.code, found.severity) == (code, Severity.WARNING)
    assert text[found.place.start : found.place.end] == quoted
    assert part in found.message
    assert code in EXPLANATIONS


def test_what_does_something_is_not_warned_about() -> None:
    assert not diagnose(HEAD + 'sample 9 seed 1\nflip, tag "x" where copy > 1\n', INDEX)


def test_a_finding_about_the_whole_plan_is_drawn_under_no_line() -> None:
    whole = Diagnostic("R605", "no pair is left", Place(0, 0), "check the rules that drop")
    assert render(whole, HEAD + "drop\n", "a.rules") == (
        "error[R605]: no pair is left\n --> a.rules\n  = help: check the rules that drop"
    )


def test_thresholds_between_two_counts_select_what_the_page_says() -> None:
    """Scores are stored in single precision, so a threshold on a count itself would be a matter of luck."""
    for wanted in range(1, 200):
        scores = np.log1p(np.arange(400)).astype(np.float32).astype(np.float64)
        assert int((scores > np.log(wanted + 0.5)).sum()) == 400 - wanted


@pytest.mark.parametrize(
    ("lines", "help_line"),
    [
        ("drop where chosen(@bold) > 3", "@bold is ln(1 + n): `chosen(@bold) > log(4.5)` is 4 or more"),
        ("drop where rejected(@bold) >= 3", "@bold is ln(1 + n): `rejected(@bold) > log(3.5)` is 3 or more"),
        (
            "drop where chosen(@length) > 400",
            "@length is ln(tokens): `chosen(@length) > log(400.5)` is 401 tokens or more",
        ),
        (
            "drop where delta(@bold) > 3",
            "@bold is ln(1 + n): `delta(@bold) > log(2)` is more than twice as much",
        ),
        (
            "concept b = @bold\nlet few = 3\nlet big = chosen(@b) > few\ndrop where copy > 1 and big",
            "@b is ln(1 + n): `chosen(@b) > log(4.5)` is 4 or more",
        ),
        ("drop where chosen(@bold) > 0.5", None),
        ("drop where chosen(@bold) > log(4.5)", None),
        ("drop where chosen(@sorry) > 3", None),
        ("drop where chosen.tokens > 300", None),
        ("drop", None),
    ],
)
def test_a_threshold_in_pieces_has_help_in_case_it_matches_nothing(lines: str, help_line: str | None) -> None:
    (rule,) = check(f"{HEAD}{lines}\n", INDEX).rules
    assert rule.if_nothing == help_line
