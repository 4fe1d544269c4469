"""Statements about the set of pairs that the row rules left: cap, quota, limit, sample."""

from engine.rules.diagnostics import did_you_mean
from engine.rules.lexer import Kind, Token
from engine.rules.parser import Cursor, parse_expression
from engine.rules.shaping_statements import take_number, take_plain, take_whole
from engine.rules.syntax import (
    CapStatement,
    LimitStatement,
    QuotaStatement,
    SampleStatement,
    Statement,
)


def parse_cap(cursor: Cursor, name: str | None, first: Token) -> Statement:
    """``cap weight 0.1 .. 4``"""
    cursor.next()
    cursor.expect("weight")
    low = take_plain(cursor, "a weight").value
    cursor.expect("..", "write `cap weight 0.1 .. 4`")
    high = take_plain(cursor, "a weight").value
    if not 0 <= low <= high or high == 0:
        cursor.fail(
            "R404", "the lower cap must not exceed the upper", cursor.since(first), "cap weight 0.1 .. 4"
        )
    return CapStatement(name, low, high, cursor.since(first))


def _seed(cursor: Cursor, first: Token, verb: str) -> int:
    if not cursor.at("seed") and cursor.token.kind in (Kind.END, Kind.EOF):
        place = cursor.since(first)
        cursor.fail(
            "R401", f"`{verb}` needs a seed so that the result can be reproduced", place, "add `seed 7`"
        )
    cursor.expect("seed", _seed_help(cursor, verb))
    return take_whole(cursor, "a whole number")


def _seed_help(cursor: Cursor, verb: str) -> str | None:
    """Help where something else stands before the seed, or in its place."""
    found = cursor.token.text
    if verb == "limit" and found in ("asc", "ascending"):
        return "leave it out: `order` puts the smallest first, `desc` the largest"
    if verb == "sample" and found in ("within", "per", "of", "in", "from"):
        return "write `by`, as in `sample 10% by source seed 7`"
    if any(t.text == "seed" for t in cursor.tokens[cursor.index :][:20] if not t.starts_statement):
        return did_you_mean(found, ("desc", "order", "by", "seed"))
    return "add `seed 7`"


def parse_quota(cursor: Cursor, name: str | None, first: Token) -> Statement:
    """``quota by source max 2000 seed 7``"""
    cursor.next()
    cursor.expect("by")
    key = parse_expression(cursor)
    cursor.expect("max", "write `quota by source max 2000 seed 7`")
    maximum = take_whole(cursor, "how many pairs at most")
    return QuotaStatement(name, key, maximum, _seed(cursor, first, "quota"), cursor.since(first))


def parse_limit(cursor: Cursor, name: str | None, first: Token) -> Statement:
    """``limit 3 per group order delta(@x) desc seed 7``"""
    cursor.next()
    maximum = take_whole(cursor, "how many pairs at most")
    cursor.expect("per", "write `limit 3 per group seed 7`")
    key = parse_expression(cursor)
    order = parse_expression(cursor) if cursor.take("order") else None
    descending = order is not None and cursor.take("desc") is not None
    seed = _seed(cursor, first, "limit")
    return LimitStatement(name, maximum, key, order, descending, seed, cursor.since(first))


def parse_sample(cursor: Cursor, name: str | None, first: Token) -> Statement:
    """``sample 10% by source seed 7``"""
    cursor.next()
    amount = take_number(cursor, "how many pairs to keep")
    if amount.value < 0 or (amount.is_percent and amount.value > 100):
        cursor.fail("R404", "a share lies between 0% and 100%", amount.place, "sample 10% seed 7")
    if not amount.is_percent and amount.value != int(amount.value):
        cursor.fail("R404", "a number of pairs is whole", amount.place, "sample 5000 seed 7")
    key = parse_expression(cursor) if cursor.take("by") else None
    seed = _seed(cursor, first, "sample")
    return SampleStatement(name, amount.value, amount.is_percent, key, seed, cursor.since(first))
