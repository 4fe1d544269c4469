"""What the language takes at a place of a statement, from the words before it. For ``complete``.

A statement is a row of clauses: a word such as `by` or `where` and what stands behind it. The tables below
say for each kind of statement which clause takes what, and which clauses may follow once it has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.rules.catalogue import AGGREGATES
from engine.rules.check import FUNCTIONS
from engine.rules.lexer import Kind, Token
from engine.rules.outcomes import ABOUT_CONCEPTS, ABOUT_PAIRS, ABOUT_RULES, NAMES
from engine.rules.outcomes import FUNCTIONS as OUTCOMES
from engine.rules.shaping_statements import METHODS, STATISTICS
from engine.rules.statements import ACTIONS

_SPANS = ("chosen", "rejected", "prompt", "delta")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What may come next: words as they stand, and names of these kinds."""

    words: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    """action, concept, column, key, name, function, context, value, hash, rule"""
    column: str = ""
    """Whose values or hash."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A part of a statement."""

    takes: str
    """condition, key, tokens, outcome, context, concept, members, number, text, words, name, nothing"""
    then: tuple[str, ...] = ()
    """What may follow when it is complete."""
    words: tuple[str, ...] = ()
    """Of a clause that takes one of a few words."""


_OPTIONS = ("to", "max", "on", "within", "unique", "at equal length", "where")
_RULE = {
    "": Clause("actions", ("where", "because", "priority")),
    "where": Clause("condition", ("because", "priority")),
    "because": Clause("text", ("priority",)),
    "priority": Clause("number"),
}
_SHAPE = {
    "": Clause("concept", ("by",)),
    "by": Clause("words", (), METHODS),
    "matching": Clause("nothing", _OPTIONS),
    "to": Clause("number", _OPTIONS),
    "max": Clause("number", _OPTIONS),
    "unique": Clause("nothing", _OPTIONS),
    "total": Clause("nothing", _OPTIONS),
    "at": Clause("words", (), ("equal length",)),
    "equal": Clause("words", (), ("length",)),
    "length": Clause("nothing", _OPTIONS),
    "on": Clause("statistics", _OPTIONS, STATISTICS),
    "within": Clause("key", _OPTIONS),
    "offset": Clause("number", ("constant", "where")),
    "constant": Clause("nothing", ("where",)),
    "dropping": Clause("number", ("where",)),
    "where": Clause("condition"),
}
_LAYER = {
    "at": Clause("words", (), ("layer",)),
    "layer": Clause("number", ("where",)),
    "where": Clause("condition"),
}
_STATEMENTS: dict[str, dict[str, Clause]] = {
    "suppress": _SHAPE,
    "amplify": _SHAPE,
    "soften": {"": Clause("context", ("by",)), "by": Clause("number")},
    "steer": {"": Clause("concept", ("by",)), "by": Clause("number", ("at layer",)), **_LAYER},
    "ablate": {**_LAYER, "": Clause("concept", ("at layer",)), "layer": Clause("number")},
    "mask": {
        "": Clause("words", (), ("tokens where",)),
        "tokens": Clause("words", (), ("where",)),
        "where": Clause("tokens", ("within",)),
        "within": Clause("context"),
    },
    "quota": {
        "": Clause("words", (), ("by",)),
        "by": Clause("key", ("max",)),
        "max": Clause("number", ("seed",)),
        "seed": Clause("number"),
    },
    "limit": {
        "": Clause("number", ("per",)),
        "per": Clause("key", ("order", "seed")),
        "order": Clause("condition", ("desc", "seed")),
        "desc": Clause("nothing", ("seed",)),
        "seed": Clause("number"),
    },
    "sample": {
        "": Clause("number", ("by", "seed")),
        "by": Clause("key", ("seed",)),
        "seed": Clause("number"),
    },
    "cap": {
        "": Clause("words", (), ("weight",)),
        "weight": Clause("number", ("..",)),
        "..": Clause("number"),
    },
    "use": {
        "": Clause("words", (), ("data", "reader", "index")),
        "data": Clause("hash"),
        "reader": Clause("hash"),
        "index": Clause("hash"),
    },
    "concept": {"": Clause("name", ("=",)), "=": Clause("members", ("or", "except"))},
    "context": {"": Clause("name", ("=",)), "=": Clause("condition")},
    "let": {"": Clause("name", ("=",)), "=": Clause("condition")},
    "expect": {"": Clause("outcome")},
} | dict.fromkeys(ACTIONS, _RULE)  # fmt: skip
_OPERATORS = ("and", "or")
_JOINING = frozenset(
    {"and", "or", "not", "in", "between", "where", "by", "per", "within", "order", "on", "to", "except"}
)
"""Words behind which a value stands."""


def wanted(tokens: Sequence[Token], *, is_condition: bool = False) -> Wanted:
    """What may come behind these tokens of one statement.

    Args:
        tokens: the statement up to the word that is being typed, without its name.
        is_condition: the tokens are one condition, not a statement.
    """
    if is_condition:
        return _of_clause(Clause("condition"), tokens)
    table = _STATEMENTS.get(tokens[0].text) if tokens else None
    if table is None:
        return Wanted()
    if table is _RULE and (found := _of_actions(tokens)) is not None:
        return found
    at = _last_clause(tokens, table)
    clause = table[tokens[at].text if at else ""]
    used = {t.text for t in tokens[1:]} if table is _SHAPE else set()
    found = _of_clause(clause, tokens[at + 1 :])
    words = tuple(w for w in found.words if w.split()[0] not in used or w in clause.words)
    return Wanted(words, found.kinds, found.column or tokens[at].text)


def _last_clause(tokens: Sequence[Token], table: dict[str, Clause]) -> int:
    """Index of the word that the last clause starts with; 0 for the verb."""
    at = 0
    for index in _outside(tokens):
        token = tokens[index]
        is_call = index + 1 < len(tokens) and tokens[index + 1].text == "("
        is_clause = index and token.kind in (Kind.WORD, Kind.SIGN) and token.text in table
        may_follow = tokens[at].text != "where" or token.text in table["where"].then
        if is_clause and may_follow and not is_call and tokens[index - 1].text not in (".", ","):
            at = index
    return at


def _outside(tokens: Sequence[Token]) -> list[int]:
    """Indexes of the tokens that stand in no bracket."""
    depth, found = 0, []
    for index, token in enumerate(tokens):
        if token.text in ("(", "["):
            depth += 1
        elif token.text in (")", "]"):
            depth -= 1
        elif depth == 0:
            found.append(index)
    return found


def _of_actions(tokens: Sequence[Token]) -> Wanted | None:
    """Between the verb of a row rule and its `where`; None behind it."""
    if any(t.text in ("where", "because", "priority") for t in tokens):
        return None
    start = max((i for i in _outside(tokens) if tokens[i].text == ","), default=-1) + 1
    action = tokens[start:]
    if not action:
        return Wanted(kinds=("action",))
    verb, behind = action[0].text, action[1:]
    then = _RULE[""].then
    if verb == "keep":
        return Wanted(then if behind else ("only",))
    if verb in ("weight", "offset"):
        if not behind:
            return Wanted(("*=", "=") if verb == "weight" else ("+=",))
        return _of_clause(Clause("condition", then), behind[1:])
    if verb in ("tag", "inoculate"):
        return Wanted(then if behind else ())
    return Wanted(then)


def _of_clause(clause: Clause, body: Sequence[Token]) -> Wanted:
    """What a clause wants behind the tokens that it has."""
    if clause.takes in ("condition", "key", "tokens", "outcome", "context"):
        return _of_expression(clause, body)
    is_joined = bool(body) and body[-1].text in (",", "or", "except")
    if clause.takes == "nothing" or (body and not is_joined):
        if clause.takes == "members" and body[-1].text in ("~", "id", "label"):
            return Wanted(("~",) if body[-1].text == "label" else ())
        return Wanted(clause.then)
    if clause.takes == "concept":
        return Wanted(kinds=("concept",))
    if clause.takes == "members":
        return Wanted(("label ~ /", 'id "'), ("concept",))
    if clause.takes == "hash":
        return Wanted(kinds=("hash",))
    taken = {t.text for t in body}
    return Wanted(tuple(w for w in clause.words if w not in taken))


def _of_expression(clause: Clause, body: Sequence[Token]) -> Wanted:
    function, arguments = _open_bracket(body)
    if function is not None:
        found = _of_call(function, arguments)
        if found is not None:
            return found
    if body and body[-1].text == "." and len(body) > 1 and body[-2].text == ")":
        return Wanted(tuple(ABOUT_PAIRS))
    if body and _ends_value(body[-1]):
        then = clause.then if function is None else ()
        is_short = clause.takes in ("key", "context")  # seldom more than one name
        return Wanted((*then, *_OPERATORS) if is_short else (*_OPERATORS, *then))
    if body and body[-1].text in ("~", "!~"):
        return Wanted()
    if clause.takes == "outcome":
        return Wanted((*NAMES, *(f"{f}(" for f in OUTCOMES)))
    if clause.takes == "tokens":
        return Wanted(("not",) if not body else (), ("concept",))
    if clause.takes == "context":
        return Wanted(kinds=("name", "context"))
    if clause.takes == "key" and not body:
        return Wanted(kinds=("key", "name", "context"))
    calls = tuple(f"{f}(" for f in FUNCTIONS)
    return Wanted(calls, ("value", "name", "function", "column", "context"), _compared(body))


def _ends_value(token: Token) -> bool:
    if token.kind in (Kind.NUMBER, Kind.STRING, Kind.REGEX, Kind.CONCEPT, Kind.LATENT):
        return True
    if token.kind is Kind.WORD:
        return token.text not in _JOINING
    return token.text in (")", "]")


def _open_bracket(body: Sequence[Token]) -> tuple[str | None, Sequence[Token]]:
    """The function (or bracket) that is still open, and what stands inside it."""
    depth = 0
    for index in range(len(body) - 1, -1, -1):
        if body[index].text in (")", "]"):
            depth += 1
        elif body[index].text in ("(", "["):
            depth -= 1
            if depth < 0:
                is_call = body[index].text == "(" and index and body[index - 1].kind is Kind.WORD
                name = body[index - 1].text if is_call else ""
                return ("" if name in _JOINING else name), body[index + 1 :]
    return None, body


def _of_call(function: str, arguments: Sequence[Token]) -> Wanted | None:
    """Inside the brackets of a function; None where any expression may stand."""
    is_second = bool(arguments) and arguments[-1].text == ","
    if function in _SPANS:
        kinds = () if arguments else ("concept",)
        return Wanted(AGGREGATES) if is_second else Wanted(kinds=kinds)
    if function in ABOUT_CONCEPTS:
        return Wanted(kinds=("concept",) if not arguments else ())
    if function in ABOUT_RULES:
        return Wanted(kinds=("rule",) if not arguments else ())
    if function in ("context", "pair"):
        return Wanted(kinds=("context text",) if function == "context" and not arguments else ())
    if function[:1] == "p" and function[1:].isdigit() and is_second:
        return Wanted(("active",))
    return None


def _compared(body: Sequence[Token]) -> str:
    """The column that a text is compared with here: `source ==`, `source in ["a",`."""
    index = len(body) - 1
    if index >= 0 and body[index].text in ("[", ","):
        while index >= 0 and (body[index].text in ("[", ",") or body[index].kind is Kind.STRING):
            index -= 1
        if index < 0 or body[index].text != "in":
            return ""
    elif index < 0 or body[index].text not in ("==", "!="):
        return ""
    parts: list[str] = []
    for token in reversed(body[:index]):
        if (token.text == ".") != (len(parts) % 2 == 1) or not (token.kind is Kind.WORD or token.text == "."):
            break
        parts.insert(0, token.text)
    return "".join(parts)
