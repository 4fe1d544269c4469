"""Commands about rule files: ``rules``, ``explain``, ``diff``, ``export``."""

from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING

import click

from engine.cli.complete import codes, projects, rule_files, shaped_folders, trainers
from engine.cli.exits import exits_with
from engine.cli.fitting import cells
from engine.cli.groups import Commands
from engine.cli.options import index_argument, output_options, tell_if_stale
from engine.cli.output import write_json, write_table
from engine.safe_text import one_line, sanitise

if TYPE_CHECKING:
    from engine.compiler.compare import PlanDifference
    from engine.rules.diagnostics import Diagnostic

_FAILED = 3
_READABLE = 100
"""Columns of running text."""
_DIFF_CONCEPTS = 20
_DIFF_PAIRS = 20
_HEADING = 16
"""Cells up to which the name of a file heads a column."""
_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILES = click.argument(
    "files", nargs=-1, required=True, type=_FILE, metavar="FILE...", shell_complete=rule_files
)
_IN_PROJECT = click.option(
    "--project",
    type=_FOLDER,
    metavar="DIR",
    shell_complete=projects,
    help="Check names against this project's index.",
)


@click.group("rules", cls=Commands)
def rules_group() -> None:
    """Write, check and test rule files."""


@rules_group.command("fmt")
@_FILES
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if a file would change.")
def format_command(files: tuple[Path, ...], check: bool) -> None:
    """Bring rule files into canonical layout; comments stay where they are."""
    from engine.api import format_rules

    changed = [path for path in files if format_rules(path, check_only=check)]
    with exits_with(1 if check and changed else 0):
        for path in changed:
            click.echo(f"{'would change' if check else 'changed'}: {path}")


@rules_group.command("check")
@_FILES
@_IN_PROJECT
@click.option("--json", "as_json", is_flag=True, help="Findings as one JSON document on stdout.")
def check_command(files: tuple[Path, ...], project: Path | None, as_json: bool) -> None:
    """Every mistake in rule files, with its place; exits with 1 when there is an error.

    Names are looked up in the project that a file lies in (DIR/rules), or in that of --project.
    """
    from engine.rules.diagnostics import Severity, render

    owners = {path: project or _own_project(path) for path in files}
    for owner in sorted({owner for owner in owners.values() if owner is not None}):
        tell_if_stale(owner, as_json=as_json)
    checked = [(path, *_diagnosed(path, owner)) for path, owner in owners.items()]
    is_wrong = any(d.severity is Severity.ERROR for _, _, found in checked for d in found)
    if None in owners.values() and not is_wrong and not as_json:
        click.echo("note: names were not looked up: --project DIR says where", err=True)
    with exits_with(1 if is_wrong else 0):
        if as_json:
            write_json([_finding(d, text, path) for path, text, found in checked for d in found])
            return
        for path, text, found in checked:
            for diagnostic in found:
                click.echo(render(diagnostic, text, str(path)))


def _own_project(path: Path) -> Path | None:
    """The project whose rules folder a file lies in, once it has an index."""
    root = path.absolute().parent.parent
    is_inside = path.absolute().parent.name == "rules" and (root / "current").exists()
    return root if is_inside else None


def _diagnosed(path: Path, project: Path | None) -> "tuple[str, tuple[Diagnostic, ...]]":
    from engine.api import Project, diagnose_text

    if project is None:
        return diagnose_text(path)
    with Project(project) as opened:
        return opened.diagnose(path)


def _finding(found: "Diagnostic", text: str, path: Path) -> dict[str, object]:
    """One finding as editors want it; lines and columns from 1."""
    from engine.rules.diagnostics import line_and_column

    line, column = line_and_column(text, min(found.place.start, len(text)))
    end_line, end_column = line_and_column(text, min(found.place.end, len(text)))
    return {
        "file": path,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
        "severity": found.severity,
        "code": found.code,
        "message": found.message,
        "help": found.help,
    }


@rules_group.command("test")
@index_argument
@_FILES
@output_options
def test_command(project: Path, files: tuple[Path, ...], plain: bool, as_json: bool) -> None:
    """Plan rule files and check their `expect` lines; exits with 3 when one fails.

    A plan that holds an error, with which `compile` writes nothing, is told on stderr; it exits with 1.
    """
    from engine.api import Project
    from engine.rules.diagnostics import render

    with Project(project) as opened:
        plans = [(path.name, opened.plan(path)) for path in files]
    errors = [(error, plan.checked.text, name) for name, plan in plans for error in plan.errors]
    rows = [(name, e.line, e.text, e.holds, e.found) for name, plan in plans for e in plan.expectations]
    header = ("file", "line", "expect", "holds", "found")
    with exits_with(1 if errors else 0 if all(row[3] for row in rows) else _FAILED):
        for found in errors:
            click.echo(render(*found), err=True)
        if as_json:
            write_json([dict(zip(header, row, strict=True)) for row in rows])
        else:
            write_table(header, rows, plain=plain, flexible=4)


@rules_group.command("find")
@index_argument
@click.argument("condition", metavar="CONDITION")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True, help="Pairs to list.")
@output_options
def find_command(project: Path, condition: str, limit: int, plain: bool, as_json: bool) -> None:
    """Pairs that a `where` would select, before it stands in a file."""
    from engine.api import Project
    from engine.cli.rows import show_pairs
    from engine.rules.diagnostics import render

    with Project(project) as opened:
        found = opened.rows_matching(condition, limit)
    for warning in found.warnings:
        click.echo(render(warning, condition, "condition"), err=True)
    show_pairs(found, plain=plain, as_json=as_json)


@rules_group.command("from-verdicts")
@index_argument
@click.option(
    "--method",
    type=click.Choice(["matching", "offset", "dropping"]),
    default="matching",
    show_default=True,
    help="How to suppress and amplify.",
)
@click.option("--strength", type=float, metavar="λ", help="Of offsets, from 0 on; 0.5 unless set.")
@click.option("-o", "--output", type=_FILE, metavar="FILE", help="Write here instead of to stdout.")
def from_verdicts_command(project: Path, method: str, strength: float | None, output: Path | None) -> None:
    """A rule file that does what the verdicts say, to edit from there."""
    from engine.api import Project
    from engine.manifest import write_atomic

    if strength is not None and method != "offset":
        raise click.UsageError(f"--strength is the λ of offsets; --method {method} has none")
    with Project(project) as opened:
        text = opened.draft_rules(method=method, strength=0.5 if strength is None else strength)
    if output is None:
        click.echo(sanitise(text), nl=False)
        return
    if output.exists():
        raise click.UsageError(f"{output} exists; name another file or remove it")
    write_atomic(output, text.encode("utf-8"))
    click.echo(f"written: {output}")


@click.command("explain")
@click.argument("code", metavar="CODE", shell_complete=codes)
def explain_command(code: str) -> None:
    """What a numbered error of the rule language means, with an example."""
    from engine.rules.explain import EXPLANATIONS, explain

    found = explain(f"R{code}" if code.isdigit() else code)
    if found is None:
        raise click.UsageError(f"there is no code {code}; known: {', '.join(sorted(EXPLANATIONS))}")
    why = click.wrap_text(found.why, min(get_terminal_size().columns, _READABLE))
    click.echo(f"{found.code}: {found.title}\n\n{why}\n\n  {found.example}")


@click.command("diff")
@index_argument
@click.argument("first", type=_FILE, shell_complete=rule_files)
@click.argument("second", type=_FILE, shell_complete=rule_files)
@output_options
def diff_command(project: Path, first: Path, second: Path, plain: bool, as_json: bool) -> None:
    """What changes from one rule file to another: fates, weights, every concept."""
    from engine.api import Project

    with Project(project) as opened:
        found = opened.compare(first, second)
    if as_json:
        write_json(found)
        return
    if found.is_empty:
        click.echo("every pair gets the same from both")
        return
    _show_difference(found, first.name, second.name, plain=plain)


def _show_difference(found: "PlanDifference", first: str, second: str, *, plain: bool) -> None:
    is_short = plain or max(cells(first), cells(second)) <= _HEADING
    names = (first, second) if first != second and is_short else ("first", "second")
    if not is_short:
        click.echo(f"first: {one_line(first)}\nsecond: {one_line(second)}\n")
    counts: list[tuple[str, object, object]] = [
        (name, *both) for name, both in found.counts.items() if both[0] != both[1]
    ]
    counts.append(("effective pairs / kept", *found.effective_share))
    write_table(("pairs", *names), counts, plain=plain)
    for name, only in ((names[0], found.only_first), (names[1], found.only_second)):
        if only:
            click.echo(f"only {name} has: " + ", ".join(only))
    if found.fates:
        click.echo("\n── fates")
        moved = [(m.before, m.after, m.n_pairs) for m in found.fates]
        write_table((*names, "pairs"), moved, plain=plain)
    click.echo("\n── kept by both, with another")
    rows = [("weight", found.n_weight), ("offset", found.n_offset), ("chosen side", found.n_flipped)]
    write_table(("what", "pairs"), rows, plain=plain)
    if found.concepts:
        click.echo("\n── concepts: mean disparity under each, largest difference first")
        shifts = [
            (c.label, c.mean_first, c.mean_second, c.mean_second - c.mean_first)
            for c in found.concepts[:_DIFF_CONCEPTS]
        ]
        write_table(("concept", *names, "difference"), shifts, plain=plain, flexible=0)
        if len(found.concepts) > _DIFF_CONCEPTS:
            click.echo(f"… and {len(found.concepts) - _DIFF_CONCEPTS:,} more: --json")
    shown = " ".join(str(pair) for pair in found.example_pairs[:_DIFF_PAIRS])
    more = f" … of {found.n_pairs:,}" if found.n_pairs > _DIFF_PAIRS else ""
    click.echo(f"\npairs that differ: {shown}{more}")


@click.command("export")
@click.argument("shaped", type=_FOLDER, metavar="SHAPED", shell_complete=shaped_folders)
@click.option(
    "--to",
    "target",
    required=True,
    metavar="TRAINER",
    shell_complete=trainers,
    help="prosect, trl, trl-reward, axolotl, llama-factory, open-instruct.",
)
@click.option("-o", "--output", type=_FOLDER, required=True, metavar="OUT", help="Folder to write.")
@click.option(
    "--weights",
    type=click.Choice(["keep", "replicate", "bucket"]),
    default="keep",
    show_default=True,
    help="For trainers that take none: copies, or one file per weight to be mixed (open-instruct).",
)
@click.option(
    "--copies", type=click.IntRange(1, 100), default=4, show_default=True, help="Copies of weight 1."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the fractional copies.")
@output_options
def export_command(
    shaped: Path, target: str, output: Path, weights: str, copies: int, seed: int, plain: bool, as_json: bool
) -> None:  # fmt: skip
    """Write a shaped dataset for another trainer; an error if anything would be lost on the way."""
    from engine.api import export_shaped

    report = export_shaped(
        shaped, output, target, replicate=copies if weights == "replicate" else None, seed=seed,
        bucket=weights == "bucket",
    )  # fmt: skip
    if as_json:
        write_json(report)
        return
    rows = [("pairs", report.n_pairs), ("rows", report.n_rows), ("pairs without a copy", report.n_absent)]
    rows += [(f"changed: {what}", n) for what, n in report.changed.items()]
    write_table(("what", "n"), rows, plain=plain)
    click.echo("written: " + ", ".join(report.files))
