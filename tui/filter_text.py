"""The text of a filter, as far as the line that it is typed in has to understand it. Pure."""

import re
from typing import NamedTuple

_TERM = re.compile(r'(?:[^\s"]|"(?:[^"\\]|\\.)*"?)+')
_ASKED = re.compile(r"!?([A-Za-z_%]+)(!=|!:|:|=)")
_PART = re.compile(r'"(?:[^"\\]|\\.)*"?|[^,"][^,]*|,')


_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")


class ValuePart(NamedTuple):
    """A value that is being typed at the end of a filter."""

    head: str
    """The filter before it."""
    column: str
    part: str
    """What is there of it, without quotes."""


def terms(filter_text: str) -> list[str]:
    """The terms of a filter; quotes hold words together."""
    return _TERM.findall(filter_text)


def value_part(text: str) -> ValuePart | None:
    """The value at the end of a filter, after a column and ``:`` or ``=``; None where there is none."""
    last = (terms(text) or [""])[-1]
    asked = _ASKED.match(last)
    if asked is None or not text.endswith(last):
        return None
    pieces = _PART.findall(last[asked.end() :])
    raw = pieces[-1] if pieces and pieces[-1] != "," else ""
    bare = re.sub(r'\\(["\\])', r"\1", raw.removeprefix('"').removesuffix('"')) if raw[:1] == '"' else raw
    return ValuePart(text[: len(text) - len(raw)], asked.group(1).lower(), bare)


def joined(column: str, found: list[str]) -> str:
    """One term for the rows of several, each of which asks for a value of one column; empty: none can."""
    heads = (f"{column}=", f"{column}:")
    if not all(term.startswith(heads) and len(terms(term)) == 1 for term in found):
        return ""
    values = [term[len(column) + 1 :] for term in found]
    for order in (values, values[::-1]):
        if not _THOUSANDS.fullmatch(",".join(order)):  # `1,500` is one number
            return f"{column}=" + ",".join(order)
    return ""
