"""Help lines for words and signs of other languages: what stands there, and what is meant.

People come from SQL, Python and search boxes. Where one of their words stands at a place that the parser did
not expect, the word of this language is the most useful thing to say.
"""

import re
from collections.abc import Sequence

from engine.rules.lexer import Kind, Token, quote

_WORDS = frozenset(
    {
        "and", "or", "not", "in", "between", "true", "false", "where", "because", "priority", "seed", "order",
        "within", "desc", "by", "per", "max", "to", "on", "at", "layer", "matching", "offset", "dropping",
        "constant", "unique", "total", "equal", "length", "tokens", "weight", "only",
    }
)  # fmt: skip
"""Words of the language that are no verbs."""
_MEANT = {"if": "where", "when": "where", "equals": "==", "eq": "==", "descending": "desc"}
_SEARCHES = frozenset({"contains", "contain", "like", "ilike", "matches", "match", "includes", "has"})
MISSING_WORDS = frozenset({"null", "none", "nil", "nan", "undefined", "missing"})
"""What other languages call a value that is not there."""


def regex_literal(text: str) -> str:
    """A regular expression, as a file writes it, that finds exactly this text."""
    escaped = re.sub(r"([\\/.+*?()|\[\]{}^$])", r"\\\1", text)
    return "/" + escaped.replace("\n", r"\n").replace("\t", r"\t") + "/"


def in_quotes(word: str) -> str:
    """Help for a text without quotes."""
    return f"a text stands in double quotes: write `{quote(word)}`"


def missing_help(written: str, *, is_not: bool = False) -> str:
    """How to ask whether a value is missing: nothing equals it, itself included."""
    if is_not:
        return f"write `{written} == {written}`: it is false where {written} is missing"
    return f"write `{written} != {written}`: it is true where {written} is missing"


def lower_case_help(word: str) -> str | None:
    """Help for a word of the language in capital letters."""
    meant = word.lower()
    return f"write `{meant}`: words of the language are lower case" if _is_shouted(word) else None


def foreign_help(before: Sequence[Token], found: Token, follower: Token) -> str | None:
    """Help for a token that another language would take here.

    Args:
        before: the tokens of the statement up to it.
        found: the token.
        follower: the one after it.
    """
    if found.kind is Kind.WORD:
        help_line = lower_case_help(found.text) or _foreign_word(before, found.text.lower(), follower)
        if help_line is not None:
            return help_line
    previous = before[-1] if before else None
    is_part = len(before) > 1 and before[-2].text == "."
    if previous is None or previous.kind is not Kind.WORD or is_part:
        return None
    return lower_case_help(previous.text)


def _foreign_word(before: Sequence[Token], word: str, follower: Token) -> str | None:
    if word in _MEANT:
        return f"write `{_MEANT[word]}`"
    if word == "is":
        name = _name_before(before)
        if follower.text.lower() in MISSING_WORDS:
            return missing_help(name)
        if follower.text.lower() == "not":
            return f"`!=` is the sign for that; `{name} == {name}` is true where {name} is not missing"
        return "write `==`"
    if word in _SEARCHES:
        is_text = follower.kind is Kind.STRING
        return f"write `~ {regex_literal(follower.text[1:-1])}`" if is_text else "write `~ /…/`"
    return None


def _name_before(before: Sequence[Token]) -> str:
    """The dotted name that ends here, `x` where there is none."""
    parts: list[str] = []
    for token in reversed(before):
        is_dot = token.text == "."
        if is_dot != (len(parts) % 2 == 1):
            break
        if not is_dot and not (token.kind is Kind.WORD or (token.kind is Kind.STRING and not parts)):
            break
        parts.insert(0, token.text)
    if parts and parts[0] == ".":
        parts = parts[1:]
    return "".join(parts) or "x"


def _is_shouted(word: str) -> bool:
    return word != word.lower() and word.lower() in _WORDS
