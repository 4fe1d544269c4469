"""Text to syntax tree: what is understood, what is reported, where."""

import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rules.diagnostics import RuleFileError, line_and_column, render
from engine.rules.explain import EXPLANATIONS, explain
from engine.rules.format import format_text
from engine.rules.lexer import lex, quote, unquote
from engine.rules.statements import parse, parse_condition
from engine.rules.syntax import Binary, Number, RuleStatement, SampleStatement, ShapeStatement

FILE = """prosect rules 1
# what we know
concept style = #12 or @"bold · lists" except #9 or label ~ /markdown|fla\\/x/i
let has_link = chosen.text ~ /https?:\\/\\/|www\\./i
context tea = context("tea") and meta."odd key" >= 3
style_wins: weight *= 0.25, tag "style \\"x\\"" where delta(@style) > p90(delta(@style), active) and
    abs(chosen.tokens - rejected.tokens) < 80   # same length
    because "only more markdown"
drop where has_link and not (source in ["a", "b"] or pct(rejected(@style, max)) > 95)
flip where meta.wrong == true
keep only where chosen.tokens between 1 and 3000
weight = 2 where tea priority 3
offset += 2 * z(delta(@style)) where tea
suppress @style by matching within source max 4
amplify @"bold · lists" by matching to 0.2 unique max 3 where source == "persona"
soft: suppress @style by offset 0.5 constant where tea
suppress @length by dropping 5%
soften tea by 0.5
steer @style by -0.3 at layer 12 where tea
ablate @style at layer 3
mask tokens where @style > 0.3 within tea
inoculate "Format a lot." where delta(@style) > 0
quota by source max 2000 seed 7
limit 3 per group order delta(@style) desc seed 7
sample 10% by source seed 7
cap weight 0.1 .. 4
expect kept >= 80%
expect pair("ab12").dropped or matched(style_wins) between 200 and 5000
"""


def test_a_whole_file_parses_without_a_finding() -> None:
    parsed = parse(FILE)
    assert [d.message for d in parsed.diagnostics] == []
    assert len(parsed.file.statements) == 24
    assert parsed.file.header is not None
    assert parsed.file.header.version == 1


def test_layout_is_canonical_and_loses_nothing() -> None:
    laid_out = format_text(FILE)
    assert parse(laid_out).file == parse(FILE).file
    assert format_text(laid_out) == laid_out
    assert "# what we know" in laid_out
    assert "# same length" in laid_out


def test_layout_spaces_signs_and_breaks_long_lines() -> None:
    text = (
        "prosect rules 1\nr1:weight*=.5\n".replace(".5", "0.5")
        + 'drop where(a>-1 or b<2)and source=="' + "x" * 90 + '"\n\n\n\n# end\n'
    )  # fmt: skip
    assert format_text(text) == (
        ["prosect rules 1\nr1: weight *= 0.5\n", "\n    where (a > -1 or b < 2) and source\n"][0]
        + "drop\n    where (a > -1 or b < 2)\n"
        + '    and source == "' + "x" * 90 + '"\n\n# end\n'
    )  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "drop where -a < 2 and b - 1 > -c or not -d < (-e - 2)",
        "offset += -chosen.tokens * -2",
        "amplify @x by matching to -0.2 max 3",
        "drop where a between -1 and -b and max(-1, a) - min(2, -3) > -(a - b)",
        'drop where context("tea") and not (a in ["b"]) or delta(@"a b") - 1 > 0',
    ],
)
def test_a_sign_sits_on_its_number_and_a_subtraction_between_two(line: str) -> None:
    spread = "prosect rules 1\n" + line.replace("-", " - ").replace("(", " ( ") + "\n"
    assert format_text(spread) == f"prosect rules 1\n{line}\n"
    assert parse(spread).file == parse(f"prosect rules 1\n{line}\n").file


@pytest.mark.parametrize(
    ("line", "code", "quoted", "help_part"),
    [
        ("filp where x", "R101", "filp", "did you mean `flip`?"),
        ("syco: filp where x", "R101", "filp", "did you mean `flip`?"),
        ('drop where source = "web"', "R102", "=", "write `==`"),
        ("drop where delta(@b) => 1", "R102", "=>", "write `>=`"),
        ("drop where source == 'a \"web\"'", "R104", "'a \"web\"'", 'write `"a \\"web\\""`'),
        ('drop where source in ("a", "b")', "R108", "(", 'write `in ["a", "b"]`'),
        ('drop because "a" where true', "R108", "where", "in this order: where, because, priority"),
        ("flip where (a > 3 and b", "R103", "(", "add `)`"),
        ("drop where a in [1, 2", "R103", "[", "add `]`"),
        ("drop where a § 2", "R104", "§", None),
        ("drop where a > 1 && b > 2", "R104", "&&", "write `and`"),
        ("drop where a > 1 || b > 2", "R104", "||", "write `or`"),
        ("drop where !(a > 1)", "R104", "!", "write `not`"),
        ('tag "style', "R105", '"style', "closing"),
        ("drop where a ~ /x", "R105", "/x", "closing"),
        ("drop where " + "(" * 60 + "a", "R106", "(", "let"),
        ("drop where a" + " + 1" * 200 + " > 2", "R106", "+", "let"),
        ("drop where a > 1e999", "R107", "1e999", None),
        ("cap weight 4", "R108", "4", "cap weight 0.1 .. 4"),
        ("drop where 1 < a < 3", "R110", "<", "between"),
        ('tag "a\\d"', "R112", "\\d", "known"),
        ("sample 50000", "R401", "sample 50000", "seed 7"),
        ("quota by source max 3", "R401", "quota by source max 3", "seed 7"),
        ("keep where a", "R402", "keep", "keep only where"),
        ("amplify @x by matching", "R403", "amplify @x by matching", "to 0.2"),
        ("suppress @x by offset -1", "R404", "-1", "other verb"),
        ("cap weight 4 .. 1", "R404", "cap weight 4 .. 1", None),
        ("sample 150% seed 1", "R404", "150%", None),
        ("suppress @x by maching", "R405", "maching", "did you mean `matching`?"),
        ("margin += 1", "R407", "margin", "offset +="),
        ("balance by source max 3 seed 1", "R407", "balance", "quota"),
        ("drop, protect where a", "R408", "drop, protect", "two rules"),
        ("  drop where a", "R111", "drop", "spaces"),
        ('use dta "x"', "R108", "dta", "did you mean `data`?"),
    ],
)
def test_a_mistake_is_reported_at_its_place(line: str, code: str, quoted: str, help_part: str | None) -> None:
    text = f"prosect rules 1\nlet a = 1\n{line}\ndrop where ok\n"
    found = parse(text).diagnostics
    assert [d.code for d in found] == [code]
    assert text[found[0].place.start : found[0].place.end] == quoted
    assert line_and_column(text, found[0].place.start)[0] == 3
    if help_part is not None:
        assert found[0].help is not None
        assert help_part in found[0].help


def test_one_mistake_costs_one_statement() -> None:
    text = "prosect rules 1\nfilp where x\ndrop where (a\ntag 3\nprotect where b\nsample 5\n"
    parsed = parse(text)
    assert [d.code for d in parsed.diagnostics] == ["R101", "R103", "R108", "R401"]
    assert len(parsed.file.statements) == 1
    assert isinstance(parsed.file.statements[0], RuleStatement)


@pytest.mark.parametrize("text", ["", "drop where a\n", "prosect rulez 1\n", "prosect rules 2\n"])
def test_the_version_line_is_required(text: str) -> None:
    assert parse(text).diagnostics[0].code in ("R109", "R108")


def test_a_drawn_error_points_at_the_mistake() -> None:
    text = 'prosect rules 1\ndrop where source = "web"\n'
    assert render(parse(text).diagnostics[0], text, "dolci.rules") == (
        "error[R102]: `=` assigns; comparing needs `==`\n"
        " --> dolci.rules:2:19\n"
        '2 | drop where source = "web"\n'
        "  |                   ^\n"
        "  = help: write `==`"
    )


def test_a_hostile_file_cannot_drive_the_terminal() -> None:
    text = "prosect rules 1\ndrop where \x1b]0;owned\x07 \u202e x\n"
    for finding in parse(text).diagnostics:
        drawn = render(finding, text, "a\x1b[2Jb.rules")
        assert "\x1b" not in drawn
        assert "\u202e" not in drawn


def test_operators_bind_as_in_arithmetic_and_logic() -> None:
    found, problems = parse_condition("not a and b or c + 1 * 2 > 3")
    assert problems == ()
    assert isinstance(found, Binary)
    assert found.sign == "or"
    assert isinstance(found.right, Binary)
    assert found.right.sign == ">"
    assert isinstance(found.right.left, Binary)
    assert found.right.left.sign == "+"


def test_a_prompt_takes_one_expression_over_several_lines() -> None:
    assert parse_condition("  a > 1\nand b < 2")[1] == ()
    assert parse_condition("a > 1 b")[1][0].code == "R108"
    assert parse_condition("")[0] is None


def test_the_same_words_mean_the_same_tree_wherever_they_stand() -> None:
    one = parse("prosect rules 1\ndrop where a > 1\n").file
    two = parse("prosect rules 1\n\n# x\ndrop   where\n   a>1").file
    assert one == two


def test_numbers_and_shares_keep_their_values() -> None:
    statement = parse("prosect rules 1\nsample 12.5% seed 3\n").file.statements[0]
    assert isinstance(statement, SampleStatement)
    assert (statement.amount, statement.is_share, statement.seed) == (12.5, True, 3)
    found, _ = parse_condition("80%")
    assert found == Number(80.0, is_percent=True)


def test_matching_options_come_in_any_order() -> None:
    one = parse("prosect rules 1\nsuppress @x by matching max 4 to 0.1 unique\n").file.statements[0]
    two = parse("prosect rules 1\nsuppress @x by matching unique to 0.1 max 4\n").file.statements[0]
    assert isinstance(one, ShapeStatement)
    assert one == two


def test_every_reported_code_is_explained() -> None:
    assert explain(" r101 ") is not None
    assert explain("R999") is None
    assert all(entry.why and entry.example for entry in EXPLANATIONS.values())


@given(st.text(max_size=40))
def test_a_quoted_text_reads_back(text: str) -> None:
    printable = "".join(c for c in text if c in "\n\t" or (c >= " " and not "\ud800" <= c <= "\udfff"))
    literal = quote(text)
    assert unquote(literal) == (printable, None)
    if "\x00" not in literal and "\x85" not in literal:
        assert [t.text for t in lex(literal).tokens][:-1] == [literal]


@given(st.text(alphabet=string.printable + "@#é✓\ud800\x00·", max_size=200))
def test_no_text_raises(text: str) -> None:
    parse(text)
    parse_condition(text)


def mutate(text: str, rng: random.Random) -> str:
    """A few random edits: cut, repeat, swap or insert pieces."""
    pieces = [
        '"',
        "/",
        "(",
        ")",
        "@",
        "#1",
        " where ",
        "\n",
        "..",
        "and",
        "1e9",
        "\\",
        "\x00",
        "not ",
        "[",
        "%",
    ]
    for _ in range(rng.randint(1, 6)):
        at = rng.randint(0, len(text))
        end = min(len(text), at + rng.randint(0, 12))
        kind = rng.randint(0, 3)
        if kind == 0:
            text = text[:at] + text[end:]
        elif kind == 1:
            text = text[:at] + text[at:end] * rng.randint(2, 30) + text[end:]
        elif kind == 2:
            text = text[:at] + rng.choice(pieces) + text[at:]
        else:
            text = text[:at] + chr(rng.randint(1, 0x2FF)) + text[end:]
    return text


def check_mutations(n: int, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    lines = FILE.splitlines(keepends=True)
    for number in range(n):
        start = rng.randrange(1, len(lines) - 5)
        mutated = mutate(lines[0] + "".join(lines[start : start + 5]), rng)
        parsed = parse(mutated)
        if parsed.is_valid:
            laid_out = format_text(mutated)
            assert parse(laid_out).file == parsed.file
            assert format_text(laid_out) == laid_out
        elif number % 10 == 0:
            with pytest.raises(RuleFileError):
                format_text(mutated)


def test_2000_mutated_files_neither_crash_nor_change_meaning_in_layout() -> None:
    check_mutations(2000, 1)


@pytest.mark.slow
def test_20000_mutated_files_neither_crash_nor_change_meaning_in_layout() -> None:
    check_mutations(20_000, 2)


@settings(max_examples=30)
@given(st.permutations(FILE.splitlines(keepends=True)[1:5]))
def test_statements_may_stand_in_any_order(lines: list[str]) -> None:
    assert parse("prosect rules 1\n" + "".join(lines)).is_valid
