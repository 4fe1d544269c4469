"""Commands about decisions, one per thing that can be done with the journal: ``prosect verdicts …``."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.complete import concepts, contexts
from engine.cli.exits import exits_with
from engine.cli.groups import Commands
from engine.cli.options import index_argument, output_options
from engine.cli.output import write_json, write_table
from engine.errors import ReviewError
from engine.records import EVERYWHERE

if TYPE_CHECKING:
    from engine.api import Project
    from engine.review.entries import Entry
    from engine.review.journal import Journal
    from engine.review.merge import MergeReport
    from engine.views.tables import NameView, Target, VerdictView

_CONFLICT = 3
_AUTHOR = click.option(
    "--author", metavar="NAME", help="Who decides; default: prosect.toml, then git, then user@host."
)

_CONTEXT = click.option(
    "--context",
    metavar="CONTEXT",
    shell_complete=contexts,
    help="Inside this context (name or start of an id); default: everywhere.",
)


@click.group("verdicts", cls=Commands)
def verdicts_group() -> None:
    """What people decided: look, decide, take back, move between projects."""


@verdicts_group.command("list")
@index_argument
@output_options
def list_command(project: Path, plain: bool, as_json: bool) -> None:
    """Every verdict and name that holds, and how far the review is."""
    from engine.api import Project

    with Project(project) as opened:
        held, coverage = opened.browser.verdicts(), opened.browser.coverage()
        names = opened.browser.name_views()
        places = {key: entry.context for key, entry in opened.browser.journal.state.verdicts.items()}
        today = opened.browser.shown_names({v.target.concept_id for v in held.values()})
        _remarks(opened.browser.journal)
    if as_json:
        contexts = {v.target.key: places[v.carried_from or v.target.key] for v in held.values()}
        inside = {key: name for key, name in contexts.items() if name is not None}
        called = {key: today.get(v.target.concept_id, v.name) for key, v in held.items()}
        found = {"verdicts": list(held.values()), "contexts": inside, "called": called, "names": names}
        write_json(found | {"coverage": coverage})
        return
    rows = [
        (
            v.verdict.value,
            today.get(v.target.concept_id, v.name),
            places[v.carried_from or v.target.key] or EVERYWHERE,
            v.author,
            v.time[:19],
            v.reason,
            _states(v, today.get(v.target.concept_id, v.name)),
        )
        for v in held.values()
    ]
    rows += [("name", v.name, EVERYWHERE, v.author, v.time[:19], None, _state(v)) for v in names]
    header = ("verdict", "concept", "in context", "author", "time", "reason", "remark")
    write_table(header, rows, plain=plain, flexible=(1, 2), ranks=(1, 1, 1, 3, 4, 2, 2))
    if not plain:
        click.echo(
            f"\n{coverage.n_decided:,} of {coverage.n_concepts:,} concepts decided, "
            f"{coverage.n_called_decided:,} of {coverage.n_called:,} that were called"
        )


def _remarks(journal: "Journal") -> None:
    """What to know of the file, beside the results."""
    if journal.n_damaged:
        n = journal.n_damaged
        said = f"{n} line{'s' if n > 1 else ''} of {journal.path} cannot be read and count for nothing"
        click.echo(f"warning: {said}", err=True)
    latest = journal.state.last_time
    if latest > (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="microseconds"):
        said = f"the journal's latest entry is dated {latest[:19]}: what is decided now is dated after it"
        click.echo(f"warning: {said} (a clock was wrong)", err=True)


def _states(held: "VerdictView", name: str) -> str:
    """What is to know of a verdict, also what its concept was called then if it is called otherwise now."""
    from engine.live.carried import MARK

    then = f"called {held.name} then" if held.name.removesuffix(MARK) != name.removesuffix(MARK) else ""
    return "; ".join(filter(None, (_state(held), then)))


def _state(held: "VerdictView | NameView") -> str:
    if held.is_orphaned:
        return "not in this index"
    if held.carried_from is not None:
        return f"carried ({held.match or 0:.0%} alike): set it again to confirm"
    disputed_by = getattr(held, "disputed_by", None)  # names are not disputed
    return f"disputed by {disputed_by}" if disputed_by else ""


@verdicts_group.command("log")
@index_argument
@output_options
def log_command(project: Path, plain: bool, as_json: bool) -> None:
    """Every entry of the journal by time, undone ones included and marked.

    Entries of one step share its number; undo and redo name the step that they are about.
    """
    from engine.api import Project
    from engine.review.replay import in_time, undone_batches

    with Project(project) as opened:
        entries = in_time(opened.browser.journal.entries)
        _remarks(opened.browser.journal)
    undone = undone_batches(entries)
    if as_json:
        write_json([asdict(e) | {"is_undone": e.batch in undone} for e in entries])
        return
    steps = {batch: n for n, batch in enumerate(dict.fromkeys(e.batch for e in entries), start=1)}
    rows = [
        (
            steps[e.batch],
            e.time[:19],
            e.author,
            e.kind.value,
            e.verdict.value if e.verdict else "",
            e.name,
            _place(e),
            _about(e, steps, undone),
            e.reason,
        )
        for e in entries
    ]
    header = ("step", "time", "author", "entry", "verdict", "concept", "in context", "remark", "reason")
    write_table(header, rows, plain=plain, flexible=(5, 6), ranks=(1, 4, 3, 1, 1, 1, 2, 2, 3))


def _about(entry: "Entry", steps: Mapping[str, int], undone: Collection[str]) -> str:
    if entry.of is None:
        return "undone" if entry.batch in undone else ""
    return f"of step {steps[entry.of]}" if entry.of in steps else "of a step that is not here"


def _place(entry: "Entry") -> str | None:
    return None if entry.target is None else entry.context or EVERYWHERE


@verdicts_group.command("set")
@index_argument
@click.argument("verdict", type=click.Choice(["keep", "suppress", "amplify", "ignore"]))
@click.argument("concepts", nargs=-1, required=True, metavar="CONCEPT...", shell_complete=concepts)
@_CONTEXT
@click.option("--reason", help="Why; kept with the verdict.")
@_AUTHOR
def set_command(
    project: Path,
    verdict: str,
    concepts: tuple[str, ...],
    context: str | None,
    reason: str | None,
    author: str | None,
) -> None:
    """Decide on concepts (name, id or the start of an id), as one step."""
    from engine.api import Project
    from engine.records import Verdict

    with Project(project, overrides=_author(author)) as opened:
        targets = _targets(opened, concepts, context)
        change = opened.browser.set_verdict(targets, Verdict(verdict), reason)
    click.echo(change.label)


def _targets(opened: "Project", concepts: tuple[str, ...], context: str | None) -> "list[Target]":
    """What the words name, each concept once: a name and an id may mean the same."""
    found = [opened.concept_target(what, context) for what in concepts]
    return list({target.key: target for target in found}.values())


@verdicts_group.command("clear")
@index_argument
@click.argument("concepts", nargs=-1, required=True, metavar="CONCEPT...", shell_complete=concepts)
@_CONTEXT
@_AUTHOR
def clear_command(project: Path, concepts: tuple[str, ...], context: str | None, author: str | None) -> None:
    """Take the verdicts of concepts away, as one step."""
    from engine.api import Project

    with Project(project, overrides=_author(author)) as opened:
        change = opened.browser.clear_verdict(_targets(opened, concepts, context))
    click.echo(change.label)


@verdicts_group.command("name")
@index_argument
@click.argument("concept", metavar="CONCEPT", shell_complete=concepts)
@click.argument("name", default="")
@_AUTHOR
def name_command(project: Path, concept: str, name: str, author: str | None) -> None:
    """Name a concept; without NAME its working label comes back."""
    from engine.api import Project

    with Project(project, overrides=_author(author)) as opened:
        change = opened.browser.set_name(opened.concept_target(concept).concept_id, name)
    click.echo(change.label)


@verdicts_group.command("undo")
@index_argument
@_AUTHOR
def undo_command(project: Path, author: str | None) -> None:
    """Take back your own last step, also one of the workstation."""
    from engine.api import Project

    with Project(project, overrides=_author(author)) as opened:
        click.echo(opened.browser.undo().label)


@verdicts_group.command("redo")
@index_argument
@_AUTHOR
def redo_command(project: Path, author: str | None) -> None:
    """Restore your own last undone step."""
    from engine.api import Project

    with Project(project, overrides=_author(author)) as opened:
        click.echo(opened.browser.redo().label)


@verdicts_group.command("export")
@index_argument
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--overwrite", is_flag=True, help="Also over a file that is there.")
def export_command(project: Path, file: Path, overwrite: bool) -> None:
    """Write the journal to a file that `import` and `merge` read; FILE - is the standard output."""
    from engine.api import Project
    from engine.review.merge import export_journal, exported

    with Project(project) as opened:
        if str(file) == "-":
            click.echo(exported(opened.browser.journal), nl=False)
            return
        if file.exists() and not overwrite:
            raise ReviewError(f"{file} is there already", hint="another name, or --overwrite")
        if not file.absolute().parent.is_dir():
            raise ReviewError(
                f"there is no folder {file.absolute().parent}", hint="make it, or check the path"
            )
        n = export_journal(opened.browser.journal, file)
    click.echo(f"{n:,} entries written to {file}")


@verdicts_group.command("import")
@index_argument
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@output_options
def import_command(project: Path, file: Path, plain: bool, as_json: bool) -> None:
    """Take over another journal; the later of two differing verdicts holds."""
    _merge(project, file, "newest", plain=plain, as_json=as_json)


@verdicts_group.command("merge")
@index_argument
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--prefer",
    type=click.Choice(["ask", "ours", "theirs", "newest"]),
    default="ask",
    show_default=True,
    help="What becomes of conflicts; ask: list them and write nothing.",
)
@output_options
def merge_command(project: Path, file: Path, prefer: str, plain: bool, as_json: bool) -> None:  # fmt: skip
    """Merge another journal; exits with 3 and writes nothing while conflicts are open."""
    _merge(project, file, prefer, plain=plain, as_json=as_json)


def _merge(project: Path, file: Path, prefer: str, *, plain: bool, as_json: bool) -> None:
    from engine.api import Project
    from engine.review.merge import Prefer, merge_journal

    with Project(project) as opened:
        report = merge_journal(opened.browser.journal, file, Prefer(prefer))
    with exits_with(0 if report.is_written else _CONFLICT):
        if as_json:
            write_json(report)
        else:
            _show(report, plain=plain)


def _show(report: "MergeReport", *, plain: bool) -> None:
    if report.conflicts:
        rows = [
            (
                c.name,
                c.context or EVERYWHERE,
                c.ours.value,
                c.our_author,
                c.theirs.value,
                c.their_author,
                c.their_reason,
            )
            for c in report.conflicts
        ]
        header = ("concept", "in context", "ours", "by", "theirs", "by", "their reason")
        write_table(header, rows, plain=plain, flexible=(0, 1))
    if report.names:
        named = [(n.concept_id, n.ours, n.our_author, n.theirs, n.their_author) for n in report.names]
        write_table(("concept", "our name", "by", "their name", "by"), named, plain=plain, flexible=(1, 3))
    counts = [("new", report.n_new), ("known", report.n_known), ("unreadable lines", report.n_damaged)]
    write_table(("entries", "n"), counts, plain=plain)
    if not report.is_written:
        click.echo("\nnothing was written: decide with --prefer ours, theirs or newest")


def _author(author: str | None) -> dict[str, dict[str, str]] | None:
    return {"review": {"author": author}} if author else None
