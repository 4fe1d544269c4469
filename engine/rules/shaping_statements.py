"""Statements that shape what is learnt: suppress, amplify, soften, steer, ablate, mask."""

from engine.rules.diagnostics import did_you_mean
from engine.rules.lexer import Kind, Token, concept_literal
from engine.rules.parser import (
    RESERVED,
    Cursor,
    parse_concept_name,
    parse_expression,
    parse_number,
    parse_string,
    unknown_word,
)
from engine.rules.syntax import (
    AblateStatement,
    ConceptName,
    Expression,
    MaskStatement,
    Number,
    ShapeStatement,
    SoftenStatement,
    Statement,
    SteerStatement,
)

METHODS = ("matching", "offset", "dropping")
STATISTICS = ("delta", "u", "sum", "n", "rate")
"""What matching can balance: the largest activation, the disparity, and other poolings."""


def take_number(cursor: Cursor, what: str) -> Number:
    """A number, possibly negative."""
    minus = cursor.take("-")
    token = cursor.expect_kind(Kind.NUMBER, what)
    number = parse_number(cursor, token)
    return Number(-number.value if minus else number.value, number.is_percent, cursor.since(minus or token))


def take_plain(cursor: Cursor, what: str) -> Number:
    """A number where a share means nothing: a percent sign there is a slip."""
    number = take_number(cursor, what)
    if number.is_percent:
        message = f"a percent sign means nothing here: this is {what}"
        cursor.fail("R404", message, number.place, f"write `{number.value / 100:.12g}`")
    return number


def take_whole(cursor: Cursor, what: str) -> int:
    """A whole number ≥ 0 without a percent sign."""
    token = cursor.expect_kind(Kind.NUMBER, what)
    if not token.text.isdigit() or len(token.text) > 15:
        cursor.fail(
            "R404", f"expected {what}, found `{token.text}`", token.place, "write a plain whole number"
        )
    return int(token.text)


def take_concept(cursor: Cursor) -> ConceptName:
    """A concept name."""
    found = cursor.token
    help_line = None
    if found.kind is Kind.STRING:
        help_line = f"write `{concept_literal(parse_string(cursor, found))}`"
    elif found.kind is Kind.WORD and found.text not in (*RESERVED, "by", "at"):
        help_line = f"write `@{found.text}`"
    return parse_concept_name(
        cursor, cursor.expect_kind(Kind.CONCEPT, "a concept such as `@style`", help_line)
    )


def _take_by(cursor: Cursor, help_line: str) -> None:
    """The `by` behind a concept; a second concept is a second statement."""
    if cursor.at(",", "and", "or"):
        help_line = "one statement shapes one concept: write a line for each"
    cursor.expect("by", help_line)


def _where(cursor: Cursor) -> Expression | None:
    return parse_expression(cursor) if cursor.take("where") else None


def parse_shape(cursor: Cursor, name: str | None, first: Token) -> Statement:
    """``suppress`` and ``amplify`` by one of three methods."""
    verb = cursor.next().text
    concept = take_concept(cursor)
    _take_by(cursor, "write `by matching`, `by offset 0.5` or `by dropping 5%`")
    method = cursor.expect_kind(Kind.WORD, "matching, offset or dropping")
    if method.text == "matching":
        return _matching(cursor, name, first, verb, concept)
    if method.text == "offset":
        amount = take_plain(cursor, "the strength λ, such as 0.5")
        constant = cursor.take("constant") is not None
        if amount.value < 0:
            cursor.fail("R404", "the verb carries the sign; λ is ≥ 0", amount.place, "use the other verb")
        condition = _where(cursor)
        return ShapeStatement(
            name, verb, concept, "offset", amount.value,
            is_constant=constant, condition=condition, place=cursor.since(first),
        )  # fmt: skip
    if method.text == "dropping":
        amount = take_number(cursor, "a share such as 5%")
        if not amount.is_percent or not 0 <= amount.value <= 100:
            cursor.fail("R404", "say which share to drop", amount.place, "write `by dropping 5%`")
        condition = _where(cursor)
        return ShapeStatement(
            name, verb, concept, "dropping", amount.value, condition=condition, place=cursor.since(first)
        )
    help_line = did_you_mean(method.text, METHODS, "known: " + ", ".join(METHODS))
    return cursor.fail("R405", f"there is no method `{method.text}`", method.place, help_line)


def _matching(cursor: Cursor, name: str | None, first: Token, verb: str, concept: ConceptName) -> Statement:
    target: float | None = None
    maximum: float | None = None
    control = "total"
    statistics: tuple[str, ...] = ()
    within: Expression | None = None
    while option := cursor.take("to", "max", "unique", "total", "at", "on", "within"):
        if option.text == "to":
            target = take_plain(cursor, "a target in standard deviations").value
        elif option.text == "max":
            number = take_plain(cursor, "the largest weight")
            maximum = number.value
            if maximum < 1:
                cursor.fail("R404", "the largest weight is at least 1", number.place, "write `max 4`")
        elif option.text == "on":
            statistics = _statistics(cursor)
        elif option.text == "within":
            within = parse_expression(cursor)
        elif option.text == "at":
            cursor.expect("equal", "write `at equal length`")
            cursor.expect("length", "write `at equal length`")
            control = "length"
        else:
            control = option.text
    condition = _where(cursor)
    place = cursor.since(first)
    if verb == "amplify" and target is None:
        cursor.fail("R403", "amplifying by matching needs a target", place, "write `by matching to 0.2`")
    return ShapeStatement(
        name, verb, concept, "matching", target, control=control, statistics=statistics, within=within,
        maximum=maximum, condition=condition, place=place,
    )  # fmt: skip


def _statistics(cursor: Cursor) -> tuple[str, ...]:
    """``on delta, u, n``: what is balanced, in a fixed order and each once."""
    found: set[str] = set()
    while True:
        word = cursor.expect_kind(Kind.WORD, "one of " + ", ".join(STATISTICS))
        if word.text not in STATISTICS:
            unknown_word(cursor, "R108", f"`{word.text}` cannot be matched on", word, STATISTICS)
        found.add(word.text)
        if not cursor.take(","):
            return tuple(s for s in STATISTICS if s in found)


def parse_soften(cursor: Cursor, name: str | None, first: Token) -> Statement:
    """``soften CONTEXT by N``"""
    cursor.next()
    context = parse_expression(cursor)
    cursor.expect("by", "write `soften tea by 0.5`")
    amount = take_plain(cursor, "the offset").value
    return SoftenStatement(name, context, amount, cursor.since(first))


def _layer(cursor: Cursor) -> int:
    cursor.expect("at", "write `at layer 12`")
    cursor.expect("layer", "write `at layer 12`")
    return take_whole(cursor, "a layer number")


def parse_steer(cursor: Cursor, name: str | None, first: Token) -> Statement:
    """``steer @x by N at layer L where …``"""
    cursor.next()
    concept = take_concept(cursor)
    _take_by(cursor, "write `steer @x by 0.3 at layer 12`")
    amount = take_plain(cursor, "α in units of the median norm").value
    layer = _layer(cursor)
    condition = _where(cursor)
    return SteerStatement(name, concept, amount, layer, condition, cursor.since(first))


def parse_ablate(cursor: Cursor, name: str | None, first: Token) -> Statement:
    """``ablate @x at layer L``"""
    cursor.next()
    concept = take_concept(cursor)
    layer = _layer(cursor)
    return AblateStatement(name, concept, layer, cursor.since(first))


def parse_mask(cursor: Cursor, name: str | None, first: Token) -> Statement:
    """``mask tokens where @x > 0.3 within CONTEXT``"""
    cursor.next()
    cursor.expect("tokens", "write `mask tokens where @style > 0.3`")
    cursor.expect("where", "write `mask tokens where @style > 0.3`")
    condition = parse_expression(cursor)
    within = parse_expression(cursor) if cursor.take("within") else None
    return MaskStatement(name, condition, within, cursor.since(first))
