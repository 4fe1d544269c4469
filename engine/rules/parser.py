"""Tokens to expressions: a Pratt parser. Statements are in ``engine.rules.statements``.

One mistake costs one statement: ``Stop`` unwinds to the statement loop, which goes on at the next token in
column 0. The end-of-file token is sticky. Nesting and length are limited, so no input overflows the stack.
"""

import math
from collections.abc import Iterable
from typing import NoReturn

from engine.rules.diagnostics import Diagnostic, Place, did_you_mean
from engine.rules.hints import foreign_help, in_quotes, regex_literal
from engine.rules.lexer import Kind, Lexed, Token, unquote
from engine.rules.syntax import (
    Between,
    Binary,
    Call,
    ConceptName,
    Expression,
    Group,
    Items,
    LatentNumber,
    Name,
    Number,
    Pattern,
    Text,
    Truth,
    Unary,
)

MAX_NESTING = 40
MAX_OPERATORS = 120
"""Operators of one expression: deep left-leaning chains are as bad as deep brackets."""
COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">=", "~", "!~", "in", "between"})
_BINDING = {"or": 10, "and": 20} | dict.fromkeys(COMPARISONS, 40) | {"+": 50, "-": 50, "*": 60, "/": 60}
RESERVED = frozenset(
    [
        "and",
        "or",
        "not",
        "in",
        "between",
        "true",
        "false",
        "where",
        "because",
        "priority",
        "seed",
        "order",
        "within",
        "desc",
    ]
)
"""Words that end an expression or belong to it: no name may be one of them."""


class Stop(Exception):
    """The statement cannot be understood further; its diagnostic is recorded."""


class Cursor:
    """A position in the token list, and the diagnostics so far."""

    def __init__(self, lexed: Lexed) -> None:
        self.tokens = lexed.tokens
        self.index = 0
        self.start = 0
        """Index of the first token of the statement being read."""
        self.diagnostics: list[Diagnostic] = list(lexed.diagnostics)
        self.lexical = [d.place for d in lexed.diagnostics]
        self.open: list[Token] = []
        self.depth = 0
        self.operators = 0

    @property
    def token(self) -> Token:
        """The token ahead; an END token where the statement is over."""
        found = self.tokens[self.index]
        if found.kind is Kind.EOF:
            return found
        if found.starts_statement and self.index > self.start:
            return Token(Kind.END, "", Place(found.place.start, found.place.start))
        return found

    @property
    def previous_end(self) -> int:
        """Where the token before this one ends."""
        return self.tokens[self.index - 1].place.end if self.index else 0

    def next(self) -> Token:
        """Take the token ahead; END and EOF stay."""
        found = self.token
        if found.kind not in (Kind.END, Kind.EOF):
            self.index += 1
        return found

    def at(self, *texts: str) -> bool:
        """True when the token ahead is one of these words or signs."""
        return self.token.kind in (Kind.WORD, Kind.SIGN) and self.token.text in texts

    def take(self, *texts: str) -> Token | None:
        """The token ahead if it is one of these words or signs."""
        return self.next() if self.at(*texts) else None

    def expect(self, text: str, help_line: str | None = None) -> Token:
        """Take this word or sign, or fail."""
        return self.take(text) or self.fail_expected(f"`{text}`", help_line)

    def expect_kind(self, kind: Kind, what: str, help_line: str | None = None) -> Token:
        """Take a token of this kind, or fail."""
        return self.next() if self.token.kind is kind else self.fail_expected(what, help_line)

    def report(self, code: str, message: str, place: Place, help_line: str | None = None) -> None:
        """Record an error and go on."""
        self.diagnostics.append(Diagnostic(code, message, place, help_line))

    def fail(self, code: str, message: str, place: Place, help_line: str | None = None) -> NoReturn:
        """Record an error and give the statement up."""
        self.report(code, message, place, help_line)
        raise Stop

    def fail_expected(self, what: str, help_line: str | None = None) -> NoReturn:
        """Fail: something else was found. At a statement's end an open bracket is the likelier cause."""
        found = self.token
        begin = self.tokens[min(self.start, len(self.tokens) - 1)].place.start
        if any(begin <= place.start <= found.place.start for place in self.lexical):
            raise Stop  # the token that is missed here was not understood, and that is reported
        if found.kind in (Kind.END, Kind.EOF) and self.open:
            bracket = self.open[-1]
            closing = ")" if bracket.text == "(" else "]"
            self.fail(
                "R103",
                f"this `{bracket.text}` is never closed",
                bracket.place,
                f"add `{closing}` before the next statement; continuation lines are indented",
            )
        shown = str(found.kind) if found.kind in (Kind.END, Kind.EOF) else f"`{found.text}`"
        place = found.place
        if found.kind in (Kind.END, Kind.EOF) and self.index:
            end = self.previous_end
            place = Place(max(end - 1, 0), end)
        follower = self.tokens[min(self.index + 1, len(self.tokens) - 1)]
        foreign = foreign_help(self.tokens[self.start : self.index], found, follower)
        self.fail("R108", f"expected {what}, found {shown}", place, foreign or help_line)

    def since(self, start: Token) -> Place:
        """From a token to the last one taken."""
        return Place(start.place.start, max(self.previous_end, start.place.end))


def parse_number(cursor: Cursor, token: Token) -> Number:
    """The value of a number token."""
    is_percent = token.text.endswith("%")
    value = float(token.text.rstrip("%"))
    if not math.isfinite(value):
        cursor.fail("R107", "this number is too large", token.place)
    return Number(value, is_percent, token.place)


def take_text(cursor: Cursor, what: str) -> str:
    """The value of a string token, or fail: quotes are what is forgotten most."""
    found = cursor.token
    help_line = in_quotes(found.text) if found.kind in (Kind.WORD, Kind.NUMBER) else None
    return parse_string(cursor, cursor.expect_kind(Kind.STRING, what, help_line))


def parse_string(cursor: Cursor, token: Token) -> str:
    """The value of a string token, or of a quoted concept name without its sigil."""
    literal = token.text.removeprefix("@")
    value, bad = unquote(literal)
    if bad is not None:
        at = token.place.start + (len(token.text) - len(literal)) + bad
        cursor.report("R112", "unknown escape in a string", Place(at, at + 2), 'known: \\" \\\\ \\n \\t')
    return value


def parse_pattern(cursor: Cursor, token: Token) -> Pattern:
    """A regular-expression token; flags other than i, m, s are refused."""
    body, _, flags = token.text[1:].rpartition("/")
    if set(flags) - set("ims"):
        at = token.place.end - len(flags)
        cursor.report("R303", f"unknown flag in `{flags}`", Place(at, token.place.end), "known: i, m, s")
        flags = ""
    return Pattern(body, "".join(sorted(set(flags))), token.place)


def parse_concept_name(cursor: Cursor, token: Token) -> ConceptName:
    """``@name`` or ``@"label"``."""
    if token.text.startswith('@"'):
        return ConceptName(parse_string(cursor, token), token.place)
    return ConceptName(token.text[1:], token.place)


def parse_expression(cursor: Cursor) -> Expression:
    """A whole expression."""
    cursor.operators = 0
    return _expression(cursor, 0)


def _expression(cursor: Cursor, power: int) -> Expression:
    cursor.depth += 1
    if cursor.depth > MAX_NESTING:
        cursor.depth = 0
        cursor.fail("R106", "nested too deeply", cursor.token.place, "give a part a name with `let`")
    left = _prefix(cursor)
    while True:
        sign = cursor.token
        if cursor.at("="):
            _assigns(cursor, sign)
        binding = _BINDING.get(sign.text, 0) if sign.kind in (Kind.WORD, Kind.SIGN) else 0
        if binding <= power:
            cursor.depth -= 1
            return left
        cursor.operators += 1
        if cursor.operators > MAX_OPERATORS:
            cursor.fail("R106", "this expression is too long", sign.place, "give parts names with `let`")
        cursor.next()
        if binding == 40 and isinstance(left, Binary | Between) and _is_comparison(left):
            cursor.fail(
                "R110", "comparisons do not chain", sign.place, "write `a < b and b < c`, or `between`"
            )
        left = _infix(cursor, left, sign, binding)


def _assigns(cursor: Cursor, sign: Token) -> NoReturn:
    """Fail at a `=`, which may be half of a comparison written the wrong way round."""
    cursor.next()
    if cursor.at("<", ">") and cursor.token.place.start == sign.place.end:
        other = cursor.next().text
        cursor.fail("R102", f"`={other}` is no comparison", cursor.since(sign), f"write `{other}=`")
    cursor.fail("R102", "`=` assigns; comparing needs `==`", sign.place, "write `==`")


def _is_comparison(node: Expression) -> bool:
    return isinstance(node, Between) or (isinstance(node, Binary) and node.sign in COMPARISONS)


def _infix(cursor: Cursor, left: Expression, sign: Token, binding: int) -> Expression:
    if sign.text == "between":
        low = _expression(cursor, 40)
        cursor.expect("and", "write `x between 1 and 3`")
        high = _expression(cursor, 40)
        return Between(left, low, high, left.place.to(high.place))
    if sign.text in ("~", "!~") and cursor.token.kind is not Kind.REGEX:
        quoted = unquote(cursor.token.text)[0] if cursor.token.kind is Kind.STRING else None
        help_line = None if quoted is None else f"write `{sign.text} {regex_literal(quoted)}`"
        cursor.fail_expected("a regular expression such as `/sorry/i`", help_line)
    if sign.text == "in" and cursor.at("("):
        bracket = cursor.token
        cursor.fail("R108", "a list stands in square brackets", bracket.place, 'write `in ["a", "b"]`')
    right = _expression(cursor, binding)
    return Binary(sign.text, left, right, left.place.to(right.place))


def _prefix(cursor: Cursor) -> Expression:
    token = cursor.token
    if token.kind is Kind.NUMBER:
        return parse_number(cursor, cursor.next())
    if token.kind is Kind.STRING:
        cursor.next()
        return Text(parse_string(cursor, token), token.place)
    if token.kind is Kind.REGEX:
        return parse_pattern(cursor, cursor.next())
    if token.kind is Kind.CONCEPT:
        return parse_concept_name(cursor, cursor.next())
    if token.kind is Kind.LATENT:
        cursor.next()
        return LatentNumber(int(token.text[1:][:12]), token.place)
    if token.kind is Kind.WORD and token.text in ("true", "false"):
        cursor.next()
        return Truth(token.text == "true", token.place)
    if cursor.at("not", "-"):
        cursor.next()
        operand = _expression(cursor, 30 if token.text == "not" else 70)
        return Unary(token.text, operand, token.place.to(operand.place))
    if cursor.at("("):
        return _group(cursor)
    if cursor.at("["):
        return _items(cursor)
    if token.kind is Kind.WORD and token.text not in RESERVED:
        return _name_or_call(cursor)
    return cursor.fail_expected("a value", _value_help(token))


def _value_help(token: Token) -> str | None:
    if token.text == "/":
        return "a regular expression stands behind `~` or `!~`"
    return "numbers begin with a digit: `0.5`" if token.text == "." else None


def _group(cursor: Cursor) -> Expression:
    bracket = cursor.next()
    cursor.open.append(bracket)
    inner = _expression(cursor, 0)
    cursor.expect(")")
    cursor.open.pop()
    return Group(inner, cursor.since(bracket))


def _items(cursor: Cursor) -> Expression:
    bracket = cursor.next()
    items = _arguments(cursor, bracket, "]")
    return Items(items, cursor.since(bracket))


def _arguments(cursor: Cursor, bracket: Token, closing: str) -> tuple[Expression, ...]:
    cursor.open.append(bracket)
    items: list[Expression] = []
    while not cursor.at(closing):
        items.append(_expression(cursor, 0))
        if not cursor.take(","):
            break
    cursor.expect(closing)
    cursor.open.pop()
    return tuple(items)


def _name_or_call(cursor: Cursor) -> Expression:
    first = cursor.next()
    if cursor.at("("):
        _refuse_generated_name(cursor, first)
        arguments = _arguments(cursor, cursor.next(), ")")
        part = None
        if cursor.take("."):
            part = cursor.expect_kind(Kind.WORD, "a word such as `dropped`").text
        return Call(first.text, arguments, part, cursor.since(first))
    parts = [first.text]
    while cursor.take("."):
        if cursor.token.kind is Kind.STRING:
            parts.append(parse_string(cursor, cursor.next()))
        else:
            parts.append(cursor.expect_kind(Kind.WORD, "a column name").text)
    return Name(tuple(parts), cursor.since(first))


def hyphenated(cursor: Cursor, index: int) -> tuple[Place, int] | None:
    """Place of `a-b-1`, which reads as a subtraction, and the index behind it; None for other words."""
    first = cursor.tokens[index]
    end = first.place.end
    behind = index + 1
    while behind < len(cursor.tokens):
        token = cursor.tokens[behind]
        is_piece = token.text == "-" or token.kind in (Kind.WORD, Kind.NUMBER)
        if token.place.start != end or not is_piece:
            break
        end = token.place.end
        behind += 1
    has_hyphen = any(t.text == "-" for t in cursor.tokens[index + 1 : behind])
    return (Place(first.place.start, end), behind) if first.kind is Kind.WORD and has_hyphen else None


def _refuse_generated_name(cursor: Cursor, function: Token) -> None:
    """`matched(drop-1a2b3c)`: a name that was made up changes with the words of its rule."""
    if function.text not in ("matched", "unique"):
        return
    found = hyphenated(cursor, min(cursor.index + 1, len(cursor.tokens) - 1))
    if found is not None:
        message = "only a rule with a name of its own can be asked about"
        help_line = f"name it: `links: drop where …`, then `{function.text}(links)`"
        cursor.fail("R210", message, found[0], help_line)


def unknown_word(cursor: Cursor, code: str, message: str, token: Token, known: Iterable[str]) -> NoReturn:
    """Fail with the nearest known word as help, or the list of them."""
    words = list(known)
    cursor.fail(code, message, token.place, did_you_mean(token.text, words, "known: " + ", ".join(words)))
