"""What the user wrote behind --map, checked against the first rows of the file before anything is read."""

import difflib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from engine.errors import IngestError
from engine.ingest.drafts import Row
from engine.ingest.formats.generic import EXAMPLE, EXTRA_ROLES, TEXT_ROLES, VALUE_ROLES, is_complete
from engine.ingest.formats.places import find, listed, record_text, row_lists
from engine.ingest.suggest import suggested
from engine.safe_text import one_line

_ROLES = (*TEXT_ROLES, *EXTRA_ROLES, *VALUE_ROLES)
_NEAREST = 3
"""Names that are suggested at most."""
_LOOKED_THROUGH = 10
"""Rows whose places are suggested: those of one may lack some."""


class Settled(NamedTuple):
    """A mapping whose every column is in the file."""

    mapping: Mapping[str, str]
    """Role to column or place, spelt as in the file."""
    places: tuple[str, ...]
    """Those that are no columns themselves."""


def settle(path: str, mapping: Mapping[str, str], sample: Sequence[tuple[int, Row]]) -> Settled:
    """Find the columns and places of a mapping in the first rows.

    Raises:
        IngestError: with every role and column that does not exist, the nearest ones, and the first record.
    """
    rows = [row for _, row in sample]
    columns = dict.fromkeys(column for row in rows for column in row)
    problems, found, places = [], {}, []
    for role, column in mapping.items():
        if role not in _ROLES:
            problems.append(f"--map: `{one_line(role, 40)}` is no role{_meant(role, _ROLES)}")
        elif role in VALUE_ROLES or column in columns:
            found[role] = column
        elif (padded := _padded(column, columns)) is not None:
            found[role] = padded
        elif any(find(row, column) is not None for row in rows):
            found[role] = column
            places.append(column)
        else:
            problems.append(f"--map {role}={one_line(column, 80)}: {_unknown(column, rows)}")
    problems += _contradictions(mapping) if not problems else []
    if problems:
        is_role = all("is no role" in p for p in problems)
        hint = "roles: " + ", ".join(_ROLES) if is_role else first_record(sample)
        raise IngestError(f"{one_line(path, 200)}: " + "\n  ".join(problems), hint=hint)
    return Settled(found, tuple(dict.fromkeys(places)))


def first_record(sample: Sequence[tuple[int, Row]]) -> str:
    """The first record of a file, place by place: what a mapping may name, and what stands there."""
    number, row = sample[0]
    inside = row_lists(row) if len(sample) == 1 else []
    places = " and ".join(f"`{place}` ({n:,})" for place, n in inside)
    said = (
        f"the file is a single record; if its rows lie in {places}, write them as a file of their own: "
        f"jq -c '{inside[0][0]}[]' FILE > rows.jsonl\n  "
        if inside
        else ""
    )
    return f"{said}the first record (row {number}), by the names that --map takes:\n{record_text(row)}"


def how_to_map(sample: Sequence[tuple[int, Row]]) -> str:
    """What to type for a table of no known format, and what there is to choose from."""
    guess = next((found for _, row in sample[:_LOOKED_THROUGH] if (found := suggested(row))), None)
    tried = f"\n  perhaps --map {shlex.quote(guess)}; look at the pairs with --preview" if guess else ""
    return f"map the table (`prosect help formats map`): {EXAMPLE}{tried}\n  {first_record(sample)}"


def unmapped(mapping: Mapping[str, str]) -> str | None:
    """What a mapping of the texts lacks; None where it is whole or names none of the sides."""
    if is_complete(mapping):
        return None
    for sides in (("chosen", "rejected"), ("a", "b", "label")):
        missing = [role for role in sides if role not in mapping]
        if len(missing) < len([role for role in sides if role != "label"]) or missing == ["label"]:
            return f"--map names {_and(r for r in sides if r in mapping)}, but not {_and(missing)}"
    return None


def _and(roles: Iterable[str]) -> str:
    *most, last = roles
    return f"{', '.join(most)} and {last}" if most else last


def _contradictions(mapping: Mapping[str, str]) -> list[str]:
    """Roles that nothing would ask for: what is mapped and then passed over would be taken for read."""
    if {"chosen", "rejected"} & mapping.keys():
        others = [role for role in ("a", "b", *VALUE_ROLES) if role in mapping]
        if others:
            return [f"--map names chosen or rejected: {_and(others)} would say nothing beside them"]
    values = [role for role in VALUE_ROLES if role in mapping]
    if values and "label" not in mapping:
        return [f"--map {values[0]}={mapping[values[0]]}: a value of the label column: add label=COLUMN"]
    return []


def _padded(column: str, columns: Iterable[str]) -> str | None:
    """The only column that is called so but for white space at its ends, which nobody sees."""
    alike = [name for name in columns if name.strip() == column]
    return alike[0] if len(alike) == 1 else None


def _unknown(column: str, rows: Sequence[Row]) -> str:
    known = list(dict.fromkeys(place for row in rows[:_LOOKED_THROUGH] for place in (*row, *listed(row))))
    what = "column" if "." not in column and "[" not in column else "place"
    return f"there is no {what} `{one_line(column, 80)}`{_meant(column, known)}"


def _meant(word: str, known: Sequence[str]) -> str:
    """The nearest of some names, whatever their case; names at the end of places count as well."""
    folded: dict[str, list[str]] = {}
    for name in known:
        for said in dict.fromkeys((name, name.rpartition(".")[2])):
            folded.setdefault(said.strip().lower(), []).append(name)
    close = difflib.get_close_matches(word.strip().lower(), list(folded), _NEAREST, 0.6)
    names = list(dict.fromkeys(name for said in close for name in folded[said]))[:_NEAREST]
    if not names:
        return ""
    return "; did you mean " + " or ".join(f"`{one_line(name, 80)}`" for name in names) + "?"
