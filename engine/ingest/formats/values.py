"""Cells of a row as numbers, words and verdicts; what they leave open, and what they must not say."""

from collections.abc import Callable
from typing import Any

from engine.ingest.drafts import Dropped, Reason, Row

_FLAGS = {"true": 1.0, "false": 0.0}


def stated(value: Any) -> Any:
    """A value that says something; None for null, NaN and blank text, which is how csv writes nothing."""
    if isinstance(value, str):
        return value if value and not value.isspace() else None
    return None if isinstance(value, float) and value != value else value


def number(value: Any) -> float | None:
    """A finite number, also from its text; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return result if result - result == 0 else None


def word(value: Any) -> str | None:
    """A short text or a number as text; None for null, empty and structured values."""
    if isinstance(value, str):
        return value if value and not value.isspace() else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def text(row: Row, column: str) -> str:
    """A text column. Raises ``Dropped`` where it is absent or no text."""
    value = row.get(column)
    if isinstance(value, str):
        return value
    if value is None:
        raise Dropped(Reason.MISSING_COLUMN, f"{column} is null or absent")
    raise Dropped(Reason.WRONG_TYPE, f"{column} is {type(value).__name__}, not text")


def verdict(row: Row, column: str, is_known: Callable[[float], bool], what: str) -> float | None:
    """A label that is a number; None where the row gives none.

    Raises ``Dropped`` for any other value: a word where a number belongs is a label nobody understood, not
    a row without one. ``what`` names the values that are known.
    """
    value = stated(row.get(column))
    if value is None:
        return None
    said = number(value)
    if said is None or not is_known(said):
        raise Dropped(Reason.UNKNOWN_LABEL, f"{column} {str(value)[:40]!r} is not {what}")
    return said


def yes_or_no(row: Row, column: str, what: str = "0 or 1") -> float | None:
    """A label that is 0 or 1, true or false: as ``verdict``."""
    value = row.get(column)
    if isinstance(value, bool | str):
        flag = _FLAGS.get(str(value).strip().lower())
        if flag is not None:
            return flag
    return verdict(row, column, lambda said: said in (0, 1), what)


def weight_of(value: Any) -> float:
    """A row's weight. Raises ``Dropped`` where it is no positive number."""
    said = number(value)
    if said is None:
        raise Dropped(Reason.BAD_WEIGHT, repr(value)[:40])
    if said <= 0:
        raise Dropped(Reason.BAD_WEIGHT, f"{said:g}")
    return said
