"""What kinds of values each column of a sample of rows holds: all that detection looks at."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from engine.ingest.drafts import Row
from engine.ingest.formats.turns import is_messages, unpacked
from engine.ingest.formats.values import number


class ValueKind(StrEnum):
    """Kind of one value."""

    NULL = "null"
    TEXT = "text"
    TRANSCRIPT = "transcript"
    """Text with "Human:" and "Assistant:" markers."""
    NUMBER = "number"
    FLAG = "true/false"
    MESSAGES = "messages"
    """List of {role, content} or {from, value}, also as JSON text."""
    MESSAGE = "message"
    """One {role, content}."""
    TEXTS = "list of texts"
    OBJECTS = "list of objects"
    LIST = "list"
    OBJECT = "object"


K = ValueKind
_PRINTED = re.compile(r"""\[?\{'(role|content|from|value)': """)
"""How Python prints a message or a list of them; pandas and `datasets` write this to csv."""


def kind_of(value: Any) -> ValueKind:
    """The kind of a value; JSON text counts as what it holds."""
    if value is None:
        return K.NULL
    if isinstance(value, bool):
        return K.FLAG
    if isinstance(value, int | float):
        return K.NUMBER
    if isinstance(value, str):
        inner = unpacked(value)
        if isinstance(inner, list) and (is_messages(inner) or _all_text(inner)):
            return kind_of(inner)
        return K.TRANSCRIPT if "\n\nHuman:" in value and "\n\nAssistant:" in value else K.TEXT
    if isinstance(value, list):
        if is_messages(value):
            return K.MESSAGES
        if _all_text(value):
            return K.TEXTS
        return K.OBJECTS if value and all(isinstance(v, dict) for v in value) else K.LIST
    if isinstance(value, dict):
        if isinstance(inner := unpacked(value), list):
            return kind_of(inner)
        is_message = ("role" in value and "content" in value) or ("from" in value and "value" in value)
        return K.MESSAGE if is_message else K.OBJECT
    return K.TEXT


def _cell_kind(value: Any) -> ValueKind:
    if value == "":
        return K.NULL
    return K.NUMBER if number(value) is not None else kind_of(value)


def _all_text(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(v, str) or v is None for v in value)


@dataclass(frozen=True, slots=True)
class Shape:
    """Columns of a sample and the kinds seen in each."""

    kinds: Mapping[str, frozenset[ValueKind]]
    values: Mapping[str, frozenset[str]]
    """Up to 50 distinct short texts or numbers per column, as text: what a label column can say."""
    printed: frozenset[str] = frozenset()
    """Columns whose texts are messages as Python prints them: nothing can read those back for sure."""

    @staticmethod
    def of(rows: Iterable[Row], *, is_csv: bool = False) -> "Shape":
        """The shape of some rows; a column counts when any row has it. In csv, numbers arrive as text."""
        kinds: dict[str, set[ValueKind]] = {}
        values: dict[str, set[str]] = {}
        printed: dict[str, bool] = {}
        for row in rows:
            for column, value in row.items():
                if isinstance(value, str) and value:
                    printed[column] = printed.get(column, True) and _PRINTED.match(value) is not None
                kinds.setdefault(column, set()).add(_cell_kind(value) if is_csv else kind_of(value))
                seen = values.setdefault(column, set())
                if isinstance(value, str | int | float) and len(seen) < 50 and len(str(value)) <= 40:
                    seen.add(str(value))
        return Shape(
            {c: frozenset(k - {K.NULL}) for c, k in kinds.items()},
            {c: frozenset(v) for c, v in values.items()},
            frozenset(c for c, is_printed in printed.items() if is_printed),
        )

    def has(self, *columns: str) -> bool:
        """All of the columns are there."""
        return all(c in self.kinds for c in columns)

    def holds(self, column: str, *kinds: ValueKind) -> bool:
        """The column is there, has values, and most plausibly only of these kinds.

        One stray value of another type must not hide a format: such rows are dropped and counted later.
        """
        seen = self.kinds.get(column, frozenset())
        return bool(seen) and bool(seen & set(kinds))

    def is_text(self, *columns: str) -> bool:
        """The columns hold text of any sort."""
        return all(self.holds(c, K.TEXT, K.TRANSCRIPT) for c in columns)

    def describe(self) -> str:
        """Columns and kinds on one line each, for error messages."""
        lines = []
        for column, kinds in list(self.kinds.items())[:40]:
            name = column if len(column) <= 60 else column[:57] + "..."
            lines.append(f"    {name}: {' or '.join(sorted(kinds)) or 'always null'}")
        if len(self.kinds) > 40:
            lines.append(f"    … and {len(self.kinds) - 40} more")
        return "\n".join(lines)
