"""Tokens to statements: the verbs of the rule language, with recovery at the next statement."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from engine.rules.diagnostics import Diagnostic, Place, did_you_mean
from engine.rules.lexer import Kind, Token, lex
from engine.rules.parser import (
    RESERVED,
    Cursor,
    Stop,
    hyphenated,
    parse_concept_name,
    parse_expression,
    parse_pattern,
    take_text,
    unknown_word,
)
from engine.rules.set_statements import parse_cap, parse_limit, parse_quota, parse_sample
from engine.rules.shaping_statements import (
    parse_ablate,
    parse_mask,
    parse_shape,
    parse_soften,
    parse_steer,
    take_whole,
)
from engine.rules.syntax import (
    LANGUAGE_VERSION,
    Action,
    ConceptStatement,
    ContextStatement,
    ExpectStatement,
    Expression,
    Header,
    LetStatement,
    Member,
    RuleFile,
    RuleStatement,
    Statement,
    Text,
    Use,
)

ACTIONS = ("drop", "protect", "keep", "flip", "weight", "offset", "tag", "inoculate")
VERBS = (
    *ACTIONS, "use", "concept", "context", "let", "cap", "quota", "limit", "sample", "suppress", "amplify",
    "soften", "steer", "ablate", "mask", "expect",
)  # fmt: skip
_LEFT_OUT = {
    "relabel": "`flip` exchanges the sides, `weight *= 0.5` halves a pair's say",
    "route": "`drop` puts pairs into the ledger, `tag` marks them",
    "margin": "write `offset +=`: our sign is the loss argument's, not TRL's margin",
    "balance": "write `quota by source max 2000 seed 7`",
    "penalty": "write `suppress @x by offset 0.5`",
}


@dataclass(frozen=True, slots=True)
class Parsed:
    """Result of ``parse``: what was understood and every error found."""

    file: RuleFile
    diagnostics: tuple[Diagnostic, ...]
    text: str

    @property
    def is_valid(self) -> bool:
        """True without errors."""
        return not self.diagnostics


def parse(text: str) -> Parsed:
    """Parse a rule file. Never raises; errors are in ``diagnostics``, in the order of the text."""
    cursor = Cursor(lex(text))
    header = _header(cursor)
    statements: list[Statement] = []
    while cursor.tokens[cursor.index].kind is not Kind.EOF:
        cursor.start = cursor.index
        statement = _recovering(cursor, _statement)
        if statement is not None:
            statements.append(statement)
    found = sorted(cursor.diagnostics, key=lambda d: d.place)
    return Parsed(RuleFile(header, tuple(statements)), tuple(found), text)


def parse_condition(text: str) -> tuple[Expression | None, tuple[Diagnostic, ...]]:
    """Parse one expression, as in a filter prompt; white space around it does not matter."""
    cursor = Cursor(lex(text))
    cursor.start = len(cursor.tokens)  # a prompt has no statements, so no token can start one
    found: Expression | None = None
    try:
        found = parse_expression(cursor)
        if cursor.token.kind is not Kind.EOF:
            cursor.fail_expected("the end")
    except Stop:
        found = None
    return found, tuple(sorted(cursor.diagnostics, key=lambda d: d.place))


def _recovering(cursor: Cursor, read: Callable[[Cursor], Statement]) -> Statement | None:
    cursor.depth = 0
    cursor.open.clear()
    try:
        statement = read(cursor)
        if cursor.token.kind not in (Kind.END, Kind.EOF):
            _fail_tail(cursor)
        return statement
    except Stop:
        cursor.index = max(cursor.index, cursor.start + 1)
        while not cursor.tokens[cursor.index].starts_statement:
            cursor.index += 1
        return None


def _fail_tail(cursor: Cursor, what: str = "the end of the statement") -> NoReturn:
    found = cursor.token
    if found.text in VERBS and found.kind is Kind.WORD:
        cursor.fail(
            "R111",
            f"`{found.text}` continues the statement above",
            found.place,
            "a statement starts in the first column of a line of its own: remove the spaces before it",
        )
    cursor.fail_expected(what, _tail_help(cursor))


_MATCHING = frozenset({"to", "max", "unique", "total", "at", "on", "within"})
"""Options of matching."""


def _tail_help(cursor: Cursor) -> str | None:
    found = cursor.token
    if found.kind is not Kind.WORD:
        return None
    before = [t.text for t in cursor.tokens[cursor.start : cursor.index]]
    if "matching" in before and "where" in before and found.text in _MATCHING:
        return f"options stand before the condition: `… by matching {found.text} … where …`"
    words = set(before[:3])
    if found.text == "where" and words & {"quota", "limit", "sample", "cap"}:
        return "it takes no `where`: it acts on every pair that the row rules left"
    if found.text in ("where", "because", "priority"):
        return "each part stands once, in this order: where, because, priority"
    return did_you_mean(found.text, _CLAUSES)


_CLAUSES = ("where", "because", "priority", "within", "seed", "and", "or")
"""Words that may go on with a statement."""


def _header(cursor: Cursor) -> Header | None:
    first = cursor.token
    if first.text != "prosect":
        help_line = f"start the file with `prosect rules {LANGUAGE_VERSION}`"
        cursor.report("R109", "the version line is missing", Place(0, max(first.place.end, 1)), help_line)
        return None
    cursor.start = cursor.index
    try:
        cursor.next()
        cursor.expect("rules", "write `prosect rules 1`")
        version = take_whole(cursor, "a version number")
        if cursor.token.kind not in (Kind.END, Kind.EOF):
            _fail_tail(cursor, "the end of the version line")
        header = Header(version, cursor.since(first))
        if version != LANGUAGE_VERSION:
            message = f"this file is written in version {version} of the language"
            help_line = f"this prosect reads version {LANGUAGE_VERSION}: update prosect"
            cursor.report("R109", message, header.place, help_line)
        return header
    except Stop:
        while not cursor.tokens[cursor.index].starts_statement or cursor.index == cursor.start:
            cursor.index += 1
        return None


_NO_HYPHEN = "a name has letters, digits and `_`; `-` takes away"


def _refuse_hyphen(cursor: Cursor) -> None:
    """`rule-1: drop`: looks like the generated names, but cannot be written."""
    found = hyphenated(cursor, cursor.index)
    if found is not None and cursor.tokens[found[1]].text == ":":
        written = "".join(t.text for t in cursor.tokens[cursor.index : found[1]])
        help_line = f"{_NO_HYPHEN}: write `{written.replace('-', '_')}: …`"
        cursor.fail("R108", f"`{written}` cannot be a name", found[0], help_line)


def _statement(cursor: Cursor) -> Statement:
    first = cursor.token
    _refuse_hyphen(cursor)
    name = _statement_name(cursor)
    word = cursor.token
    if word.kind is Kind.WORD:
        plain = _UNNAMED.get(word.text)
        if plain is not None and name is None:
            return plain(cursor)
        named = _NAMED.get(word.text)
        if named is not None:
            return named(cursor, name, first)
        if word.text in ACTIONS:
            return _rule(cursor, name, first)
        if word.text in _LEFT_OUT:
            cursor.fail("R407", f"there is no verb `{word.text}`", word.place, _LEFT_OUT[word.text])
    if not first.starts_statement:
        cursor.fail(
            "R111", "a statement starts in the first column", first.place, "remove the spaces before it"
        )
    shown = f"`{word.text}`" if word.text else str(word.kind)
    help_line = did_you_mean(
        word.text, VERBS, "a statement starts with a verb such as drop, weight, suppress"
    )
    return cursor.fail("R101", f"expected a statement, found {shown}", word.place, help_line)


def _statement_name(cursor: Cursor) -> str | None:
    token = cursor.token
    follower = cursor.tokens[min(cursor.index + 1, len(cursor.tokens) - 1)]
    if token.kind is Kind.WORD and follower.text == ":" and not follower.starts_statement:
        if token.text in RESERVED:
            cursor.fail("R108", f"`{token.text}` cannot be a name", token.place, "choose another word")
        cursor.next()
        cursor.next()
        return token.text
    return None


def _new_name(cursor: Cursor, what: str) -> Token:
    token = cursor.expect_kind(Kind.WORD, what)
    if token.text in RESERVED:
        cursor.fail("R108", f"`{token.text}` cannot be a name", token.place, "choose another word")
    return token


def _take_equals(cursor: Cursor, head: str) -> None:
    """The `=` of a definition."""
    if cursor.at("=="):
        cursor.fail("R102", "`==` compares; defining needs `=`", cursor.token.place, f"write `{head} = …`")
    is_hyphen = cursor.at("-") and cursor.token.place.start == cursor.previous_end
    cursor.expect("=", _NO_HYPHEN if is_hyphen else f"write `{head} = …`")


def _use(cursor: Cursor) -> Statement:
    first = cursor.next()
    what = cursor.expect_kind(Kind.WORD, "data, reader or index")
    if what.text not in ("data", "reader", "index"):
        unknown_word(cursor, "R108", f"`use {what.text}` is unknown", what, ("data", "reader", "index"))
    value = take_text(cursor, "a quoted hash")
    return Use(what.text, value, cursor.since(first))


def _concept(cursor: Cursor) -> Statement:
    first = cursor.next()
    name = _new_name(cursor, "a concept name")
    _take_equals(cursor, f"concept {name.text}")
    members = [_member(cursor, "or")]
    while joiner := cursor.take("or", "except"):
        members.append(_member(cursor, joiner.text))
    return ConceptStatement(name.text, tuple(members), cursor.since(first), name.place)


def _member(cursor: Cursor, joined_by: str) -> Member:
    token = cursor.token
    if token.kind is Kind.LATENT:
        cursor.next()
        return Member(joined_by, "latent", token.text[1:][:12].lstrip("0") or "0", place=token.place)
    if token.kind is Kind.CONCEPT:
        name = parse_concept_name(cursor, cursor.next())
        return Member(joined_by, "concept", name.name, place=token.place)
    if cursor.take("id"):
        text = take_text(cursor, "a quoted id prefix")
        if not re.fullmatch(r"[0-9a-f]{4,32}", text):
            cursor.fail(
                "R108", "an id is 4 to 32 hex digits", cursor.since(token), "copy it from the workstation"
            )
        return Member(joined_by, "id", text, place=cursor.since(token))
    if cursor.take("label"):
        cursor.expect("~")
        pattern = parse_pattern(cursor, cursor.expect_kind(Kind.REGEX, "a regular expression"))
        return Member(joined_by, "label", pattern.source, pattern.flags, cursor.since(token))
    return cursor.fail_expected('a concept: #812, @name, @"label", id "a1b2…" or label ~ /…/')


def _context(cursor: Cursor) -> Statement:
    first = cursor.next()
    name = _new_name(cursor, "a context name")
    _take_equals(cursor, f"context {name.text}")
    return ContextStatement(name.text, parse_expression(cursor), cursor.since(first), name.place)


def _let(cursor: Cursor) -> Statement:
    first = cursor.next()
    name = _new_name(cursor, "a name")
    _take_equals(cursor, f"let {name.text}")
    return LetStatement(name.text, parse_expression(cursor), cursor.since(first), name.place)


def _expect(cursor: Cursor) -> Statement:
    first = cursor.next()
    return ExpectStatement(parse_expression(cursor), cursor.since(first))


def _rule(cursor: Cursor, name: str | None, first: Token) -> Statement:
    actions = [_action(cursor)]
    while cursor.take(","):
        actions.append(_action(cursor))
    condition = reason = priority = None
    if cursor.take("where"):
        condition = parse_expression(cursor)
    if cursor.take("because"):
        reason = take_text(cursor, "a quoted reason")
    if cursor.take("priority"):
        priority = take_whole(cursor, "a whole number")
    _check_actions(cursor, actions)
    return RuleStatement(name, tuple(actions), condition, reason, priority, cursor.since(first))


def _check_actions(cursor: Cursor, actions: list[Action]) -> None:
    verbs = [a.verb for a in actions]
    place = actions[0].place.to(actions[-1].place)
    if len({"drop", "protect", "keep only"} & set(verbs)) > 1:
        cursor.fail("R408", "one rule cannot " + " and ".join(dict.fromkeys(verbs)), place, "write two rules")
    once = [v for v in verbs if v != "tag"]
    if len(once) != len(set(once)):
        cursor.fail("R408", "an action stands here twice", place, "write it once")


def _action(cursor: Cursor) -> Action:
    first = cursor.token
    if first.kind is not Kind.WORD or first.text not in ACTIONS:
        if first.kind is Kind.WORD:
            unknown_word(cursor, "R101", f"expected an action, found `{first.text}`", first, ACTIONS)
        cursor.fail_expected("an action such as drop")
    cursor.next()
    if first.text == "keep":
        if not cursor.take("only"):
            help_line = (
                "`keep only where …` drops every other pair; `protect where …` shields pairs from `drop`"
            )
            cursor.fail("R402", "`keep` alone is ambiguous", first.place, help_line)
        return Action("keep only", None, cursor.since(first))
    if first.text in ("drop", "protect", "flip"):
        return Action(first.text, None, first.place)
    if first.text == "weight":
        sign = cursor.take("*=", "=") or cursor.fail_expected(
            "`*=` or `=`", "`weight *= 0.5` multiplies, `weight = 2` sets"
        )
        return Action(f"weight {sign.text}", parse_expression(cursor), cursor.since(first))
    if first.text == "offset":
        cursor.expect("+=", "offsets add up: write `offset += 0.5`, to take away `offset += -0.5`")
        return Action("offset +=", parse_expression(cursor), cursor.since(first))
    at = cursor.token.place
    return Action(first.text, Text(take_text(cursor, "a quoted text"), at), cursor.since(first))


_UNNAMED: dict[str, Callable[[Cursor], Statement]] = {
    "use": _use,
    "concept": _concept,
    "context": _context,
    "let": _let,
    "expect": _expect,
}
_NAMED: dict[str, Callable[[Cursor, str | None, Token], Statement]] = {
    "cap": parse_cap,
    "quota": parse_quota,
    "limit": parse_limit,
    "sample": parse_sample,
    "suppress": parse_shape,
    "amplify": parse_shape,
    "soften": parse_soften,
    "steer": parse_steer,
    "ablate": parse_ablate,
    "mask": parse_mask,
}
