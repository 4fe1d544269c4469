"""Writes engine/docs/settings.md from the settings themselves: ``python -m engine.cli.settings_page``."""

import ast
import inspect
import textwrap
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from engine.reading.spec import ReaderSpec
from engine.settings import Range, Settings

TARGET = Path(__file__).parent.parent / "docs" / "settings.md"
_HEAD = """# Settings

Made by `python -m engine.cli.settings_page` from the settings themselves; a test fails when it is stale.

A project has one settings file, `prosect.toml` in its folder. It need not exist, and needs to name only
what differs from the defaults below:

    [reading]
    max_tokens = 2048

    [stats]
    q = 0.1
    covariates = ["annotator"]

A flag goes before the file and the file before the default: `--set stats.q=0.1` overrides one key for one
command, as often as wanted. An unknown table or key, and a value outside its range, is an error that names
the nearest one. What a stage was done with is written to its manifest. When a setting of concepts or
statistics has changed since the audit, commands and the workstation say so; the next `prosect audit DIR`
builds what depends on it again.

An empty default means that nothing is set: what happens then stands beside it. TOML has no word for it, so
leave the key out. Shares are numbers from 0 to 1.
"""
_READER = """## reader.toml

The file that makes a folder a reader ([reading](reading.md)); its keys stand in no table. Only `model` is
needed. Paths are relative to the folder. `--layer` and `--sae` go before the file.
"""
_TABLE = "| key | default | value | unit | meaning |\n|---|---|---|---|---|"


class Key(NamedTuple):
    """One key of a settings file."""

    name: str
    default: str
    """As TOML has it; empty: nothing is set."""
    value: str
    """What it may be, in words."""
    unit: str
    """Of a number; empty for anything else."""
    meaning: str


def settings_page() -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    for stage, cls in stages().items():
        parts += [f"## [{stage}]\n\n{inspect.getdoc(cls)}\n\n{_TABLE}", *map(_row, keys(cls)), ""]
    parts += [f"{_READER}\n{_TABLE}", *map(_row, keys(ReaderSpec)), ""]
    return "\n".join(parts)


def stages() -> dict[str, type]:
    """Tables of prosect.toml and the settings that each holds."""
    hints = typing.get_type_hints(Settings)
    return {field.name: hints[field.name] for field in fields(Settings)}


def keys(cls: type) -> list[Key]:
    """Every key of a table, in the order of its declaration."""
    hints = typing.get_type_hints(cls, include_extras=True)
    meanings = _meanings(cls)
    return [_key(field, hints[field.name], meanings.get(field.name, "")) for field in fields(cls)]


def _key(field: "Field[Any]", hint: Any, meaning: str) -> Key:
    is_union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    option = next(o for o in (typing.get_args(hint) if is_union else (hint,)) if o is not type(None))
    kind, *notes = typing.get_args(option) if typing.get_origin(option) is Annotated else (option,)
    bounds = next((str(note) for note in notes if isinstance(note, Range)), "")
    value = f"{_WORDS[kind]}, {bounds}" if bounds else _WORDS[kind]
    unit = next((note for note in notes if isinstance(note, str)), "")
    return Key(field.name, _toml(field.default), value, unit, meaning)


_WORDS: dict[Any, str] = {
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
    tuple[str, ...]: "list of texts",
    Mapping[str, str]: "table of texts",
}


def _toml(value: Any) -> str:
    if value is MISSING or value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f"{value:_}" if isinstance(value, int) and value >= 10_000 else f"{value}"


def _meanings(cls: type) -> dict[str, str]:
    """The texts below the fields of a class, each on one line."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    body = node.body if isinstance(node, ast.ClassDef) else []
    found = {}
    for field, text in pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(text.value.value).split()).replace("None:", "Not set:")
    return found


def _row(key: Key) -> str:
    default = f"`{key.default}`" if key.default else ""
    cells = (f"`{key.name}`", default, key.value, key.unit, key.meaning.replace("``", "`"))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    TARGET.write_text(settings_page(), encoding="utf-8")
