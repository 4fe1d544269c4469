"""Places inside a row, ``data.answers[0].text``: where a mapping finds what has no column of its own.

A place walks through objects by name, through lists by number (from 0, or from the end with ``-1``) or by a
stretch (``[:-1]``), and through JSON text as if it were what it holds.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from engine.ingest.drafts import Row
from engine.ingest.formats.turns import is_messages, unpacked
from engine.safe_text import one_line

Step = str | int | slice
"""A name in an object, an element or a stretch of a list."""
_IN_LIST = re.compile(r"\[(-?\d+|-?\d*:-?\d*)\]")
_SHOWN_TEXT = 60
_SHOWN_ELEMENTS = 2
_SHOWN_LINES = 30
_SHOWN_DEPTH = 8


class Found(NamedTuple):
    """Where a place leads in one row."""

    steps: tuple[Step, ...]
    value: Any


def find(row: Row, place: str) -> Found | None:
    """What stands at a place; None where the row has no such place. A column that is called so goes first."""
    if place in row:
        return Found((place,), row[place])
    return _walk(row, place, is_start=True)


def _walk(value: Any, rest: str, *, is_start: bool = False) -> Found | None:
    if not rest:
        return Found((), value)
    inner = value if is_start else unpacked(value)
    if isinstance(inner, dict):
        return _in_object(inner, rest if is_start else rest.removeprefix("."))
    if isinstance(inner, list) and (step := _IN_LIST.match(rest)) is not None:
        return _in_list(inner, step[1], rest[step.end() :])
    return None


def _in_object(inner: Mapping[str, Any], rest: str) -> Found | None:
    """By the longest name that leads on: names may hold dots and brackets themselves."""
    ends = [len(rest), *(i for i in range(len(rest) - 1, 0, -1) if rest[i] in ".[")]
    for end in ends:
        if rest[:end] in inner and (found := _walk(inner[rest[:end]], rest[end:])) is not None:
            return Found((rest[:end], *found.steps), found.value)
    return None


def _in_list(inner: list[Any], step: str, rest: str) -> Found | None:
    first, colon, last = step.partition(":")
    if colon:
        stretch = slice(int(first) if first else None, int(last) if last else None)
        return None if rest else Found((stretch,), inner[stretch])
    at = int(first)
    if not -len(inner) <= at < len(inner):
        return None
    found = _walk(inner[at], rest)
    return None if found is None else Found((at % len(inner), *found.steps), found.value)


def placed(row: Row, places: Sequence[str], whole: frozenset[str]) -> dict[str, Any]:
    """The row with what stands at some places as columns of their names, None where it has none.

    What was taken is left out of the column that it stood in, so that texts are not kept a second time as
    metadata; the columns of ``whole`` stay as they are.
    """
    made = dict(row)
    taken: dict[str, list[tuple[Step, ...]]] = {}
    for place in places:
        found = find(row, place)
        made[place] = None if found is None else found.value
        if found is not None and len(found.steps) > 1 and found.steps[0] not in whole:
            taken.setdefault(str(found.steps[0]), []).append(found.steps[1:])
    for column, steps in taken.items():
        rest = _without(row[column], steps)
        if rest in (None, {}, []):
            del made[column]
        else:
            made[column] = rest
    return made


def _without(value: Any, taken: Sequence[tuple[Step, ...]]) -> Any:
    """A value without what stands at the end of some steps; what is empty then goes, too."""
    inner = unpacked(value)
    names = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
    left: dict[Any, Any] = {}
    for name in names:
        beyond = [rest for step, *rest in taken if _leads_to(step, name, len(names))]
        if [] in beyond:
            continue
        kept = _without(inner[name], [tuple(rest) for rest in beyond]) if beyond else inner[name]
        if not beyond or kept not in (None, {}, []):
            left[name] = kept
    return left if isinstance(inner, dict) else list(left.values())


def _leads_to(step: Step, name: str | int, n: int) -> bool:
    return name in range(n)[step] if isinstance(step, slice) else step == name


def listed(row: Row) -> list[str]:
    """Every place of a row that a mapping may name, in the order of the file."""
    return [place for place, _ in _leaves(row, "", 0) if not place.endswith("[…]")]


def record_text(row: Row) -> str:
    """A record as people read it: every place with the beginning of what it holds, on lines of their own."""
    lines = [f"    {one_line(place)}: {_shown(value)}" for place, value in _leaves(row, "", 0)]
    if len(lines) > _SHOWN_LINES:
        lines[_SHOWN_LINES:] = [f"    … and {len(lines) - _SHOWN_LINES} more"]
    return "\n".join(lines)


def row_lists(row: Row) -> list[tuple[str, int]]:
    """Where a record that is a whole file keeps its rows, as jq writes it, with how many there are."""
    found: list[tuple[str, int]] = []
    todo: list[tuple[str, Any]] = [("", row)]
    while todo and len(found) < _SHOWN_ELEMENTS:
        path, value = todo.pop(0)
        items = list(value.values()) if isinstance(value, dict) else value
        are_rows = len(items) > 1 and all(isinstance(i, dict) and i.keys() == items[0].keys() for i in items)
        if are_rows and items[0] and not is_messages(items):
            found.append((path or ".", len(items)))
        elif isinstance(value, dict) and path.count(".") < _SHOWN_DEPTH:
            todo += [
                (f"{path}.{k}", v)
                for k, v in value.items()
                if isinstance(v, dict | list) and k.isidentifier()
            ]
    return found


def _leaves(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    inner = unpacked(value)
    if depth > _SHOWN_DEPTH:
        yield path, value
    elif isinstance(inner, dict) and inner and not is_messages([inner]):
        for name, item in inner.items():
            yield from _leaves(item, f"{path}.{name}" if path else str(name), depth + 1)
    elif isinstance(inner, list) and inner and not is_messages(inner):
        for i, item in enumerate(inner[:_SHOWN_ELEMENTS]):
            yield from _leaves(item, f"{path}[{i}]", depth + 1)
        if len(inner) > _SHOWN_ELEMENTS:
            yield f"{path}[…]", f"{len(inner)} elements"
    else:
        yield path, inner if isinstance(inner, dict | list) else value


def _shown(value: Any) -> str:
    if isinstance(value, list) and is_messages(value):
        role = value[-1].get("role", value[-1].get("from"))
        return f"{len(value)} message{'s' if len(value) > 1 else ''}, the last by {one_line(str(role), 20)}"
    if isinstance(value, dict | list):
        return ("a message" if is_messages([value]) else "an object") if isinstance(value, dict) else "a list"
    said = one_line(value if isinstance(value, str) else json.dumps(value, default=str), _SHOWN_TEXT)
    return f'"{said}"' if isinstance(value, str) else said
