r"""Filter text of a grid to SQL: ``verdict:none win>.6 !source:web "free words"``.

Terms are joined by *and*. ``!`` inverts a term, as ``col!:value`` and ``col!=value`` do. ``col:value``
looks for text without case, or a flag, ``col:a,"b c"`` is either, ``col:none`` is undefined; ``col>n``
compares numbers, where ``.6``, ``60%``, ``2k``, ``1,500`` and ``1e-6`` are understood. A word alone is
looked for in the text columns; ``#812`` also finds what has the latent. In quotes ``\"`` is a quote. Values
only travel as parameters. What can only be a slip (a share above 1, an operator without a column, a quote
that is never closed, a badge that does not exist) is said instead of matching nothing.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.errors import StoreError
from engine.records import Verdict
from engine.views.tables import ColumnKind

_ITEM = r'(?:"(?:[^"\\]|\\.)*"?|[^\s,"][^\s,]*)'
_TERM = re.compile(rf"(!?)(?:([A-Za-z_%]+)(!=|!:|:|>=|<=|>|<|=))?({_ITEM}?(?:,{_ITEM}?)*)")
_PART = re.compile(r'"(?:[^"\\]|\\.)*"?|[^,"][^,]*')
_NUMBER = re.compile(
    r"([+-]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(%|k|m)?\Z", re.IGNORECASE
)
_ESCAPED = re.compile(r'\\(["\\])')
_PATTERN = re.compile(r"[%_\\]")
_LATENT = re.compile(r"#(\d{1,9})")
_SCALE = {"%": 0.01, "k": 1e3, "m": 1e6}
_NUMERIC = {
    ColumnKind.COUNT,
    ColumnKind.NUMBER,
    ColumnKind.SIGNED,
    ColumnKind.SHARE,
    ColumnKind.INTERVAL,
    ColumnKind.Q,
}
_TEXTS = {ColumnKind.TEXT, ColumnKind.VERDICT}
_OPERATORS = (":", ">", "<", "=")
SHARES = frozenset({ColumnKind.SHARE, ColumnKind.INTERVAL, ColumnKind.Q})
"""Kinds whose values lie between 0 and 1."""
_UNDEFINED = frozenset({"none", "null", "–"})
_FLAGS = {"yes": True, "true": True, "y": True, "no": False, "false": False, "n": False}


@dataclass(frozen=True, slots=True)
class FilterColumn:
    """What a filter may compare."""

    sql: str
    kind: ColumnKind
    is_searched: bool = False
    """Free words look here."""
    values: tuple[str, ...] = ()
    """Every value that it can have, where these are few and known; nothing else is looked for."""
    spoken: Mapping[str, str] = field(default_factory=dict)
    """Shorter words that screens show, lower case, to the values that they stand for."""
    with_latent: str = ""
    """Condition with one ``?`` for the rows that have a latent; empty: none can."""


class Part(NamedTuple):
    """One of the values that a term joins by commas."""

    text: str
    """Lower case."""
    is_whole: bool
    """It stood in quotes: a text, commas and all, even ``none``."""

    @property
    def is_undefined(self) -> bool:
        """Rows without a value are asked for."""
        return not self.is_whole and self.text in _UNDEFINED


class Asked(NamedTuple):
    """A text that a filter looks for in a column."""

    column: str
    operator: str
    """``:`` contains, ``=`` is."""
    value: str
    """Lower case."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A WHERE clause with its parameters, and the columns it reads."""

    sql: str
    parameters: tuple[Any, ...]
    columns: frozenset[str]
    asked: tuple[Asked, ...] = ()
    """Texts that it looks for in named columns."""


def parse_filter(text: str, columns: Mapping[str, FilterColumn]) -> Condition:
    """The condition that a filter text means; an empty text means ``TRUE``.

    Raises:
        StoreError: an unknown column, or a value that its column cannot have or be compared with.
    """
    clauses: list[str] = []
    asked: list[Asked] = []
    parameters: list[Any] = []
    used: set[str] = set()
    for match in _TERM.finditer(text):
        inverted, name, operator, raw = match.groups()
        word = _free_word(raw) if name is None else ""
        if name is None and not word:
            if inverted:
                raise StoreError("`!` inverts the term after it", hint="for example !verdict:none")
            continue
        if name is None:
            _refuse_slips(raw, columns)
            if raw.startswith(_OPERATORS):
                raise StoreError(
                    f"`{raw}` has no column before it",
                    hint=f'write column{raw}, or "{raw}" to look for the text',
                )
            clause, values = _free(word, columns)
            used |= {c for c, column in columns.items() if column.is_searched}
        else:
            name = name if name in columns else name.lower()
            column = _column(name, columns)
            if operator.startswith("!"):
                inverted, operator = not inverted, operator[1:]
            used.add(name)
            parts = _parts(raw, column) if column.kind in _TEXTS else [_part(raw)]
            clause, values = _compare(name, column, operator, parts)
            asked += (found := _asked(name, column, operator, parts))
            _refuse_unknown(found, column)
        clauses.append(f"NOT coalesce({clause}, FALSE)" if inverted else clause)
        parameters += values
    whole = " AND ".join(f"({c})" for c in clauses) or "TRUE"
    return Condition(whole, tuple(parameters), frozenset(used), tuple(asked))


def _part(raw: str) -> Part:
    return Part(_unquoted(raw).lower(), raw.startswith('"'))


def _parts(raw: str, column: FilterColumn) -> list[Part]:
    """The texts that a value asks for, joined by commas; shorter words as what they stand for."""
    return [
        Part(column.spoken.get(part.text, part.text).lower(), part.is_whole)
        for part in map(_part, _PART.findall(raw))
    ]


def _free_word(raw: str) -> str:
    if raw.startswith('"') and len(_PART.findall(raw)) > 1:
        raise StoreError(
            f"`{raw}` has no column before it", hint=f"write column:{raw}, or the texts one by one"
        )
    return _unquoted(raw)


def _unquoted(raw: str) -> str:
    if not raw.startswith('"'):
        return raw.strip('"')
    if not re.fullmatch(r'"(?:[^"\\]|\\.)*"', raw):
        raise StoreError(f"the quote in `{raw}` is not closed", hint='quotes come in pairs: "two words"')
    return _ESCAPED.sub(r"\1", raw[1:-1])


def _refuse_slips(raw: str, columns: Mapping[str, FilterColumn]) -> None:
    """A second ``!``, and ``-`` before a column, which other tools take for *not*."""
    slip = re.match(r"(?:!|-(?=([A-Za-z_%]+)[:=<>]))", raw)
    if slip is not None and (slip.group(1) is None or slip.group(1).lower() in columns):
        said = "`!` stands once" if raw.startswith("!") else "`!` inverts a term, not `-`"
        raise StoreError(f"{said}: `{raw}`", hint=f"write !{raw.lstrip('!-')}")


def _column(name: str, columns: Mapping[str, FilterColumn]) -> FilterColumn:
    if name in columns:
        return columns[name]
    raise unknown_column(name, columns)


def unknown_column(name: str, columns: Iterable[str], purpose: str = "") -> StoreError:
    """What to say of a column that is not there: the nearest one, or all of them."""
    known = list(columns)
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean `{close[0]}`?" if close else "columns: " + ", ".join(known)
    return StoreError(f"there is no column `{name}`{purpose}", hint=hint)


def _free(word: str, columns: Mapping[str, FilterColumn]) -> tuple[str, list[Any]]:
    """Rows that hold a word in a searched column; of a latent's number, rows that have the latent, too."""
    found = [_contains(c.sql, word) for c in columns.values() if c.is_searched]
    if latent := _LATENT.fullmatch(word):
        number: Any = int(latent.group(1))
        found += [(c.with_latent, number) for c in columns.values() if c.with_latent]
    return _any(found)


def _any(found: list[tuple[str, str]]) -> tuple[str, list[Any]]:
    return " OR ".join(sql for sql, _ in found), [value for _, value in found]


def _contains(sql: str, word: str) -> tuple[str, str]:
    """Contains, ignoring case, with its parameter. Lowering copies every text: a pattern does without, and a
    word without letters takes half the time.
    """
    if word.lower() == word.upper():
        return f"contains({sql}, ?)", word
    if not _PATTERN.search(word):
        return f"{sql} ILIKE ?", f"%{word}%"
    return f"contains(lower({sql}), ?)", word.lower()


def is_numeric(kind: ColumnKind) -> bool:
    """Its values are compared as numbers."""
    return kind in _NUMERIC


def text_term(name: str, value: str | None) -> str:
    """The term that keeps rows with this text, flag or number in a column, ignoring case; None: without any.

    Empty where no term says it: for an empty text.
    """
    if value is None:
        return f"{name}:none"
    if not value:
        return ""
    needs_quotes = re.search(r'[\s,"]', value) is not None or value.lower() in _UNDEFINED
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}="{escaped}"' if needs_quotes else f"{name}={value}"


def number_of(text: str) -> float:
    """The number that a filter takes a text for. Raises ``StoreError`` where it is none."""
    return _number("a number", text)


def _compare(name: str, column: FilterColumn, operator: str, parts: list[Part]) -> tuple[str, list[Any]]:
    value = ",".join(part.text for part in parts)
    if not value:
        raise StoreError(f"`{name}{operator}` needs a value", hint=f"for example {name}:none")
    if len(parts) == 1 and parts[0].is_undefined and operator in {":", "="}:
        return f"{column.sql} IS NULL", []
    if column.kind is ColumnKind.FLAG:
        if value not in _FLAGS:
            raise StoreError(f"`{name}` is yes or no, not {value!r}", hint=f"{name}:yes")
        return f"{column.sql} = ?", [_FLAGS[value]]
    if column.kind in _NUMERIC:
        return _compare_numbers(name, column, operator, value)
    if operator not in {":", "="}:
        raise StoreError(f"`{name}` is text: it has no {operator}", hint=f"use {name}:{value}")
    return _compare_texts(column, operator, parts)


def _compare_numbers(name: str, column: FilterColumn, operator: str, value: str) -> tuple[str, list[Any]]:
    if operator not in {":", "="}:
        return f"{column.sql} {operator} ?", [_checked(name, column, operator, value)]
    options = [value] if _NUMBER.match(value) else value.split(",")  # `1,500` is a number, `0,19` are two
    numbers = [_checked(name, column, operator, o) for o in options if o not in _UNDEFINED]
    clause = f"{column.sql} IN ({', '.join('?' * len(numbers))})" if numbers else "FALSE"
    return (f"{clause} OR {column.sql} IS NULL" if len(numbers) < len(options) else clause), numbers


def _checked(name: str, column: FilterColumn, operator: str, value: str) -> float:
    """The number that a column is compared with; one that it can never be is a slip."""
    number = _number(name, value)
    if column.kind is ColumnKind.COUNT and value.endswith("%"):
        raise StoreError(f"`{name}` is a count, not a share: {value}", hint=f"{name}{operator}60")
    if column.kind in SHARES and abs(number) > 1:
        raise StoreError(f"`{name}` is a share from 0 to 1: it is never {value}", hint=f"{name}{operator}60%")
    return number


def _compare_texts(column: FilterColumn, operator: str, parts: list[Part]) -> tuple[str, list[Any]]:
    options = [part.text for part in parts if not part.is_undefined]
    if column.kind is ColumnKind.VERDICT:
        _check_verdicts(options)
    if operator == "=" or column.kind is ColumnKind.VERDICT:
        clause, values = f"lower({column.sql}) IN ({', '.join('?' * len(options))})", list[Any](options)
    else:
        clause, values = _any([_contains(column.sql, option) for option in options])
    return (f"{clause} OR {column.sql} IS NULL" if len(options) < len(parts) else clause), values


def _check_verdicts(options: list[str]) -> None:
    known = [v.value for v in Verdict]
    for option in options:
        if option not in known:
            raise StoreError(f"there is no verdict `{option}`", hint=f"verdicts: {', '.join(known)}, none")


def _asked(name: str, column: FilterColumn, operator: str, parts: list[Part]) -> list[Asked]:
    is_text = column.kind is ColumnKind.TEXT
    return [Asked(name, operator, part.text) for part in parts if is_text and not part.is_undefined]


def _refuse_unknown(asked: Iterable[Asked], column: FilterColumn) -> None:
    for one in asked if column.values else ():
        if not is_met(one, column.values):
            raise StoreError(f"`{one.column}` is never `{one.value}`", hint=nearest(one.value, column.values))


def is_met(asked: Asked, values: Iterable[str]) -> bool:
    """Whether one of the values is, or contains, what is asked for."""
    if asked.operator == "=":
        return any(asked.value == value.lower() for value in values)
    return any(asked.value in value.lower() for value in values)


def nearest(word: str, values: Iterable[str]) -> str:
    """A question after the nearest value, or the first of all of them."""
    known = {value.lower(): value for value in values}
    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f"did you mean `{known[close[0]]}`?"
    return "values: " + ", ".join(list(known.values())[:12]) + (", …" if len(known) > 12 else "")


def _number(name: str, value: str) -> float:
    found = _NUMBER.match(value)
    if not found:
        raise StoreError(f"`{name}` is a number, not {value!r}", hint=f"{name}>.6 or {name}>60%")
    return float(found.group(1).replace(",", "")) * _SCALE.get((found.group(2) or "").lower(), 1.0)
