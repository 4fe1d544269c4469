"""What a shell offers where an argument takes a project, a concept, a rule file and so on.

Each function is what Click asks for the values of one parameter. Nobody waits for an explanation at a prompt:
what cannot be found out offers nothing.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Offer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]
_MOST = 400
"""Names that are offered at most."""


def _offer(values: Iterable[str | tuple[str, str]]) -> "list[CompletionItem]":
    """Values, or values with what they mean, in their order; without those that no line can hold safely."""
    from click.shell_completion import CompletionItem

    from engine.safe_text import sanitise

    pairs = ((value, None) if isinstance(value, str) else value for value in values)
    return [
        CompletionItem(value, help=said)
        for value, said in pairs
        if sanitise(value) == value and "\n" not in value
    ]


def _shells_own(incomplete: str, kind: str) -> "list[CompletionItem]":
    """Leave it to the shell to complete folders (``dir``) or files (``file``)."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type=kind)]


def _quiet(find: Offer) -> Offer:
    """No traceback may get into a line that somebody is typing."""

    def found(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        try:
            return find(ctx, param, incomplete)
        except Exception:  # noqa: BLE001 - whatever is wrong is said by the command itself, once it is run
            return []

    return found


@_quiet
def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Files, as the shell knows them."""
    return _shells_own(incomplete, "file")


def _folders(incomplete: str) -> Iterator[tuple[str, Path]]:
    """Folders that begin so, spelt like what was typed, with where they are."""
    head, _, start = incomplete.rpartition("/")
    head = f"{head}/" if "/" in incomplete else ""
    where = Path(head).expanduser() if head else Path()
    for entry in sorted(os.scandir(where), key=lambda e: e.name):
        is_hidden = entry.name.startswith(".") and not start.startswith(".")
        if entry.name.startswith(start) and entry.is_dir() and not is_hidden:
            yield head + entry.name, Path(entry.path)


def _named_project(ctx: click.Context) -> Path | None:
    """The project that the line names; where an option waits for its value, Click has read no arguments."""
    from click.shell_completion import split_arg_string

    if ctx.params.get("project"):
        return Path(ctx.params["project"])
    line = os.environ.get("COMP_LINE") or os.environ.get("COMP_WORDS", "")
    named = (Path(word).expanduser() for word in split_arg_string(line))
    return next((folder for folder in named if _is_project(folder)), None)


def _is_project(folder: Path) -> bool:
    return any((folder / part).exists() for part in ("current", "pairs/manifest.json", "journal.jsonl"))


@_quiet
def projects(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Project folders; any folders where none is near."""
    found = [name for name, folder in _folders(incomplete) if _is_project(folder)]
    return _offer(found) if found else _shells_own(incomplete, "dir")


def _inside(part: str) -> Offer:
    """Folders in the ``part`` folder of projects, newest first."""

    @_quiet
    def found(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        near = [(n, f) for n, f in _folders(incomplete) if _is_project(f)]
        names = [f"{n}/{part}/{f.name}" for n, f in near if (f / part).is_dir() for f in _newest(f / part)]
        if not names and f"/{part}" in incomplete:
            at = incomplete.rindex(f"/{part}") + len(part) + 1
            folder = Path(incomplete[:at]).expanduser()
            names = [f"{incomplete[:at]}/{f.name}" for f in _newest(folder)]
        kept = [name for name in names if name.startswith(incomplete)]
        return _offer(kept) if kept else _shells_own(incomplete, "dir")

    return found


def _newest(folder: Path) -> list[Path]:
    entries = [e for e in folder.iterdir() if e.is_dir() and not e.name.startswith(".")]
    return sorted(entries, key=lambda e: e.stat().st_mtime, reverse=True)


shaped_folders = _inside("shaped")
"""Shaped datasets of projects."""
run_folders = _inside("runs")
"""Runs of projects."""


@_quiet
def rule_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Rule files of the project that was named, by their names alone where a command takes them so; any files
    where there are none that begin so.
    """
    project = _named_project(ctx)
    folders = [project / "rules"] if project else [f / "rules" for _, f in _folders("") if _is_project(f)]
    files = [file for folder in folders for file in sorted(folder.glob("*.rules"))]
    found: list[str] = []
    if any(p.name == "project" and isinstance(p, click.Argument) for p in ctx.command.params):
        found = [f.stem for f in files if f.stem.startswith(incomplete) and not Path(f.stem).exists()]
    found = found or [str(file) for file in files if str(file).startswith(incomplete)]
    return _offer(found) if found else _shells_own(incomplete, "file")


def _names(kind: str) -> Offer:
    @_quiet
    def found(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from engine.api import Project

        project = _named_project(ctx)
        if project is None:
            return []
        with Project(project) as opened:
            return _offer(opened.names_beginning(kind, incomplete, _MOST))

    return found


concepts = _names("concept")
"""Concepts of the project that was named, strongest evidence first."""
contexts = _names("context")
"""Contexts of the project that was named, largest first."""


@_quiet
def sources(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Sources of the project that was named; where each gets a value, with the sign that goes before it."""
    from engine.api import Project

    project = _named_project(ctx)
    if project is None:
        return []
    end = "=" if param.name == "weights" else ""
    with Project(project) as opened:
        rows = opened.mix()
    return _offer((f"{r.source}{end}", f"{r.pairs:,} pairs") for r in rows if r.source.startswith(incomplete))


@_quiet
def jobs(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Jobs of the project that was named, newest first."""
    project = _named_project(ctx)
    if project is None:
        return []
    return _offer(f.name for f in _newest(project / "jobs") if f.name.startswith(incomplete))


@_quiet
def readers(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Folders with reader.toml and presets; any folders where none is near."""
    from engine.reading.presets import PRESETS
    from engine.reading.spec import READER_FILE

    found: list[str | tuple[str, str]] = [n for n, f in _folders(incomplete) if (f / READER_FILE).exists()]
    found += [(name, "preset") for name in PRESETS if name.startswith(incomplete)]
    return _offer(found) if found else _shells_own(incomplete, "dir")


@_quiet
def formats(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Names of dataset formats."""
    from engine.ingest.formats.registry import FORMATS

    return _offer((f.name, f.title) for f in FORMATS if f.name.startswith(incomplete))


@_quiet
def settings(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """``stage.key=`` of every setting; the stages first."""
    from dataclasses import fields

    from engine.settings import Settings

    stages = {field.name: getattr(Settings(), field.name) for field in fields(Settings)}
    stage, dot, _ = incomplete.partition(".")
    if not dot:
        return _offer(f"{name}." for name in stages if name.startswith(incomplete))
    keys = [f"{stage}.{field.name}=" for field in fields(stages[stage])]
    return _offer(key for key in keys if key.startswith(incomplete))


@_quiet
def roles(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """``role=`` of a mapping, after those that stand there already."""
    from engine.ingest.formats.generic import EXTRA_ROLES, TEXT_ROLES, VALUE_ROLES

    before, comma, start = incomplete.rpartition(",")
    known = (*TEXT_ROLES, *EXTRA_ROLES, *VALUE_ROLES)
    return _offer(f"{before}{comma}{role}=" for role in known if role.startswith(start))


@_quiet
def columns(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Columns of the table that a command lists, also after others."""
    from engine.store.grids import GRIDS

    before, comma, start = incomplete.rpartition(",")
    known = (c.spec for c in GRIDS[getattr(ctx.command, "grid", "")].columns)
    return _offer((f"{before}{comma}{c.name}", c.help) for c in known if c.name.startswith(start))


@_quiet
def codes(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Numbers of errors of the rule language."""
    from engine.rules.explain import EXPLANATIONS

    found = (EXPLANATIONS[code] for code in sorted(EXPLANATIONS))
    return _offer((e.code, e.title) for e in found if e.code.startswith(incomplete.upper()))


@_quiet
def trainers(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Trainers that an export can be written for."""
    from engine.compiler.export import TARGETS

    return _offer(name for name in TARGETS if name.startswith(incomplete))
