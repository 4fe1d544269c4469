"""``names``: names of concepts that a language model proposes, and taking them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.complete import concepts as offer_concepts
from engine.cli.groups import Commands
from engine.cli.labels import import_command
from engine.cli.options import index_argument, output_options, parse_assignments, set_option
from engine.cli.output import write_json, write_table
from engine.cli.progress import job_progress, progress_for, saved_on_termination
from engine.safe_text import one_line, sanitise
from engine.wording import counted

if TYPE_CHECKING:
    from engine.api.naming import ProposedName
    from engine.pipeline.naming import NamingPlan
    from engine.pipeline.naming_run import NamingReport
    from engine.settings import NamingSettings
    from engine.views.names import NameControl, NameProposal, Recognition

_CONCEPTS = click.argument("concepts", nargs=-1, metavar="[CONCEPT]...", shell_complete=offer_concepts)
_FAILURES = 10
"""Questions that came to nothing whose reasons are told."""
_MANY = 0.2
"""Share of the controls that pass from which on it is said that names say little."""
_AUTHOR = click.option(
    "--author", metavar="NAME", help="Who decides; default: prosect.toml, then git, then user@host."
)


@click.group("names", cls=Commands)
def names_group() -> None:
    """Names of concepts that a language model proposes, tested before they are shown.

    Only `propose` sends anything, and only to the server that you name: short parts of responses around the
    places where a concept fires, and of others where it does not.
    """


@names_group.command("propose")
@index_argument
@_CONCEPTS
@click.option("--endpoint", metavar="URL", help="Server to ask, such as http://localhost:8000/v1.")
@click.option("--model", metavar="NAME", help="What that server calls the model.")
@click.option("--key-env", metavar="VARIABLE", help="Environment variable that holds the server's key.")
@click.option(
    "-n", "--limit", "limit", type=click.IntRange(1), help="Concepts at most; default: [naming] concepts."
)
@click.option("--parallel", metavar="N", type=click.IntRange(1, 256), help="Questions at a time; default: 8.")
@click.option("--again", is_flag=True, help="Ask also what the same model has answered before.")
@click.option(
    "--test-labels", is_flag=True, help="Ask for no names: test imported labels of concepts of one latent."
)
@click.option("--dry-run", is_flag=True, help="Print the questions as they would be sent; send nothing.")
@click.option("--yes", is_flag=True, help="Send without asking.")
@set_option
@output_options
def propose_command(
    project: Path, concepts: tuple[str, ...], endpoint: str | None, model: str | None, key_env: str | None,
    limit: int | None, parallel: int | None, again: bool, test_labels: bool, dry_run: bool, yes: bool,
    assignments: tuple[str, ...], plain: bool, as_json: bool,
) -> None:  # fmt: skip
    """Ask a language model for names of concepts that have none, and test each name.

    Without CONCEPT the concepts with the strongest evidence are asked about. The command says beforehand how
    much it would send where, and goes on where it was stopped. A name counts as recognised when the model,
    shown only the name, picks the excerpts where the concept fires from others, better than chance.
    """
    from engine.api import Project
    from engine.naming.endpoint import check_settings
    from engine.pipeline.naming_run import key_from

    flags = {
        "endpoint": endpoint,
        "model": model,
        "key_env": key_env,
        "concepts": limit,
        "parallel": parallel,
    }
    overrides: dict[str, dict[str, Any]] = parse_assignments(assignments)
    given = {key: value for key, value in flags.items() if value is not None}
    overrides["naming"] = overrides.get("naming", {}) | given
    with Project(project, overrides=overrides) as opened:
        settings = opened.settings.naming
        if not dry_run:  # before any work: what is missing, and a key that is not there
            check_settings(settings)
            key_from(settings)
        with progress_for(plain=plain, as_json=as_json) as looking:
            planned = opened.label_plan if test_labels else opened.naming_plan
            plan = planned(concepts, again=again, progress=looking)
        if dry_run:
            _show_questions(plan, as_json=as_json)
            return
        _tell_skipped(plan)
        if plan.n_requests and not yes:
            _ask_leave(plan, settings)
        with (
            job_progress(project, "names", "names of concepts", plain=plain, as_json=as_json) as progress,
            saved_on_termination(progress),
        ):
            report = opened.propose_names(plan, progress=progress)
        labels = opened.browser.shown_names({p.concept_id for p in report.proposals})
    if as_json:
        write_json({"report": report, "n_answered": plan.n_answered, "skipped": plan.skipped})
        return
    _show_report(plan, report, labels, plain=plain)


def _tell_skipped(plan: "NamingPlan") -> None:
    """Concepts that cannot be asked about, by reason."""
    for reason in dict.fromkeys(why for _, why in plan.skipped):
        labels = [one_line(label, 40) for label, why in plan.skipped if why == reason]
        more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
        click.echo(f"left out, {reason}: {', '.join(labels[:3])}{more}", err=True)


def _ask_leave(plan: "NamingPlan", settings: "NamingSettings") -> None:
    """Say what would be sent where, and go on only when told to."""
    from engine.naming.endpoint import is_local

    where = "a server on this machine" if is_local(settings.endpoint) else "they leave this machine"
    server = f"{one_line(settings.endpoint, 80)} ({one_line(settings.model, 60)})"
    click.echo(
        f"{plan.n_requests:,} questions at most about {len(plan.tasks):,} concepts, about"
        f" {plan.n_tokens:,} tokens in all, go to {server}, {settings.parallel:,} at a time.\n"
        f"They hold parts of responses of this dataset: {where}.",
        err=True,
    )
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is here to ask: --yes sends them")
    click.confirm("Send them?", abort=True, err=True)


def _show_questions(plan: "NamingPlan", *, as_json: bool) -> None:
    from engine.pipeline.naming import SOME_NAME

    if as_json:
        found = [
            {
                "concept_id": t.concept.concept_id,
                "label": t.concept.label,
                "questions": [q._asdict() for q in t.questions()],
            }
            for t in plan.tasks
        ]
        write_json({"concepts": found, "n_requests": plan.n_requests, "n_tokens": plan.n_tokens})
        return
    for task in plan.tasks:
        for question in task.questions():
            click.echo(f"── {one_line(task.concept.label, 60)} · system\n{sanitise(question.system)}")
            click.echo(f"── user\n{sanitise(question.user)}\n")
    is_any = any(task.proposal is None for task in plan.tasks)
    stands = f" `{SOME_NAME}` stands for what is proposed." if is_any else ""
    own = sum(len(task.questions()) for task in plan.tasks)
    click.echo(
        f"{own:,} questions, and {plan.n_controls:,} controls at most that repeat some with another name;"
    )
    click.echo(f"about {plan.n_tokens:,} tokens; nothing was sent.{stands}")


def _show_report(plan: "NamingPlan", report: "NamingReport", labels: "Any", *, plain: bool) -> None:
    rows = [(p.name, *_recognised(p), labels.get(p.concept_id, ""), p.description) for p in report.proposals]
    header = ("proposed name", "recognised", "right", "of", "95%", "p", "concept", "description")
    write_table(header, rows, plain=plain, flexible=(6, 7), ranks=(1, 1, 1, 1, 3, 2, 1, 4))
    for failure in report.failures[:_FAILURES]:
        click.echo(f"{one_line(failure.label, 60)}: {one_line(failure.why, 160)}", err=True)
    if n := len(report.failures):
        more = f"… and {n - _FAILURES:,} more; " if n > _FAILURES else ""
        click.echo(f"{more}{counted(n, 'question')} came to nothing: the same command asks again", err=True)
    if plain:
        return
    _tell_controls(report.controls)
    said = f"\n{report.n_recognised:,} of {len(report.proposals):,} names were recognised"
    if plan.n_answered:
        said += f"; {counted(plan.n_answered, 'concept was', 'concepts were')} answered before"
    if report.n_requests:
        again = f" ({report.n_again:,} sent again)" if report.n_again else ""
        said += (
            f"; {counted(report.n_requests, 'question')}{again}, {report.n_read:,} tokens read,"
            f" {report.n_written:,} written"
        )
    click.echo(said)


def _tell_controls(controls: "Sequence[NameControl]") -> None:
    """How often names pass where they should not."""
    if not controls:
        return
    n = sum(c.recognition.is_recognised for c in controls)
    said = f"control: {n:,} of {len(controls):,} recognised names also passed on excerpts of another concept"
    if n > len(controls) * _MANY:
        said += "; that is many: the names say little, or the concepts are alike"
    click.echo(f"\n{said}")


def _recognised(proposal: "NameProposal") -> tuple[Any, ...]:
    found = proposal.recognition
    if found is None:
        return ("not tested", None, None, None, None)
    return (found.is_recognised, found.n_right, found.n, interval_text(found), found.p)


def interval_text(found: "Recognition") -> str:
    """``0.68–0.99``"""
    return f"{found.low:.2f}–{found.high:.2f}"


@names_group.command("list")
@index_argument
@click.option("--labels", is_flag=True, help="Also imported labels of concepts of one latent without a name.")
@output_options
def list_command(project: Path, labels: bool, plain: bool, as_json: bool) -> None:
    """Every proposed name, how far it was recognised, and what became of it."""
    from engine.api import Project

    with Project(project) as opened:
        found, untested = opened.proposed_names(), opened.labelled_names()
        damaged = {
            "names.jsonl": opened.browser.proposed.n_damaged,
            "labels.jsonl": opened.browser.labels.n_damaged,
        }
    if labels:
        found += untested
    for file, n in damaged.items():
        if n:
            lines = f"{n:,} line{'s' if n > 1 else ''} of {file}"
            click.echo(f"warning: {lines} cannot be read and count for nothing", err=True)
    if as_json:
        write_json([_as_dict(p) for p in found])
        return
    rows = [
        (p.proposal.name, p.state, *_recognised(p.proposal)[1:], p.label, _whose(p.proposal),
         p.proposal.time[:19])
        for p in found
    ]  # fmt: skip
    header = ("proposed name", "state", "right", "of", "95%", "p", "concept", "model", "time")
    write_table(header, rows, plain=plain, flexible=(6, 7), ranks=(1, 1, 1, 1, 3, 2, 1, 4, 5))
    if untested and not labels and not plain:
        click.echo(
            f"\n{len(untested):,} concepts of one latent have an imported label: --labels lists them too"
        )


def _whose(proposal: "NameProposal") -> str:
    """Who named it, and who tested it where that is another."""
    return f"{proposal.model}; tested by {proposal.tested_by}" if proposal.tested_by else proposal.model


def _as_dict(found: "ProposedName") -> dict[str, Any]:
    return {"proposal": found.proposal, "label": found.label, "given": found.given, "state": found.state}


@names_group.command("take")
@index_argument
@_CONCEPTS
@_AUTHOR
def take_command(project: Path, concepts: tuple[str, ...], author: str | None) -> None:
    """Give concepts the names that were proposed for them: CONCEPT..., else all that were recognised.

    From then on they are names like those that people type: rule files know them, and undo takes them back.
    """
    from engine.api import Project

    overrides = {"review": {"author": author}} if author else None
    with Project(project, overrides=overrides) as opened:
        taken = opened.take_names(concepts)
    for name in taken.names:
        click.echo(f"named: {one_line(name)}")
    for name, why in taken.refused:
        click.echo(f"not taken: {one_line(name)}: {one_line(why)}", err=True)
    if not taken.names and not taken.refused:
        click.echo("no proposal was recognised that nobody has decided on")


names_group.add_command(import_command)
