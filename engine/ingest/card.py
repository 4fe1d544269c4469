"""What a dataset's card says of its tables: configurations and their files, as the hub lays them out."""

import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import IngestError

CARD = "README.md"


class Table(NamedTuple):
    """One configuration of a dataset."""

    name: str
    is_default: bool
    files: tuple[tuple[str | None, str], ...]
    """(split, pattern of files below the folder); None: the split is read from the file's name."""


def tables_of(folder: Path) -> tuple[Table, ...]:
    """Configurations that the card names with their files; none where it says nothing of the kind."""
    listed = _front_matter(folder / CARD).get("configs")
    found = []
    for raw in listed if isinstance(listed, list) else ():
        if isinstance(raw, dict) and isinstance(raw.get("config_name"), str):
            files = tuple(_patterns(raw.get("data_files")))
            if files:
                found.append(Table(raw["config_name"], bool(raw.get("default")), files))
    return tuple(found)


def _front_matter(path: Path) -> dict[str, Any]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        value = yaml.safe_load(text.split("---", 2)[1]) if text.startswith("---") else None
    except (OSError, UnicodeDecodeError, IndexError, yaml.YAMLError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _patterns(value: Any) -> list[tuple[str | None, str]]:
    if isinstance(value, str):
        return [(None, value)]
    found: list[tuple[str | None, str]] = []
    for item in value if isinstance(value, list) else ():
        if isinstance(item, str):
            found.append((None, item))
        elif isinstance(item, dict):
            paths = item.get("path")
            split = item.get("split")
            found += [
                (split if isinstance(split, str) else None, p)
                for p in (paths if isinstance(paths, list) else [paths])
                if isinstance(p, str)
            ]
    return found


def pick_table(
    tables: tuple[Table, ...], shown: str, asked: str
) -> tuple[Table | None, str, tuple[str, ...]]:
    """The table to read, the split that is left to pick, and remarks on what is left out.

    Args:
        tables: what the card names.
        shown: the folder as the user wrote it.
        asked: what stands behind ``#``: a table, a split, or both with a slash between.

    Raises:
        IngestError: several tables, none of which is the default.
    """
    name, _, split = asked.partition("/")
    for table in tables:
        if table.name == name:
            return table, split, ()
    if not tables or asked == "all":
        return None, asked, ()
    chosen = next((t for t in tables if t.is_default or t.name == "default"), None)
    chosen = tables[0] if chosen is None and len(tables) == 1 else chosen
    if chosen is None:
        raise IngestError(
            f"{shown} holds several tables: {', '.join(t.name for t in tables)}",
            hint=f"say which: {shown}#{tables[0].name}",
        )
    left = [t.name for t in tables if t is not chosen]
    said = f"{shown}: read {chosen.name}, left out {', '.join(left)} (use {shown}#{left[0]})" if left else ""
    return chosen, asked, (said,) if said else ()


def split_by_card(table: Table, inside: Path) -> str | None:
    """Split of a file by the card; empty where the file's own name says it, None where it is no part."""
    for split, pattern in table.files:
        if fnmatch.fnmatch(inside.as_posix(), pattern.removeprefix("./")):
            return split or ""
    return None
