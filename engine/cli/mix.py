"""What a project is made of: options that name sources, and ``mix list | add | remove | weight``."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from engine.cli.complete import files, formats, roles
from engine.cli.complete import sources as offer_sources
from engine.cli.groups import Commands
from engine.cli.options import output_options, parse_assignments, project_argument, set_option
from engine.cli.output import write_json, write_table
from engine.cli.progress import job_progress

if TYPE_CHECKING:
    from engine.ingest.run import Mix
    from engine.pipeline.mix import MixChange

F = TypeVar("F", bound=Callable[..., Any])


def source_options(function: F) -> F:
    """--name, --format, --map, --weight and --evaluation: for ``audit``, ``ingest`` and ``mix add``."""
    for option in (
        click.option(
            "--evaluation", multiple=True, metavar="FILE", shell_complete=files,
            help="Prompts of FILE are refused for training wherever they occur; may be repeated.",
        ),
        click.option(
            "--weight", "weights", multiple=True, metavar="NAME=NUMBER",
            help="Weight of every pair of a source in the mix, for example --weight forum=0.5; 1 unless set.",
        ),
        click.option(
            "--map", "mapping", multiple=True, metavar="FIELD=COLUMN", shell_complete=roles,
            help="Where a generic table keeps prompt, chosen, rejected, ...: a column, or a place such as "
            "'data.answers[0].text'; may be repeated.",
        ),
        click.option(
            "--format", "format_", metavar="FORMAT", shell_complete=formats,
            help="Format of the files when it is guessed wrongly; `prosect help formats` lists them.",
        ),
        click.option(
            "--name", "names", metavar="NAME", multiple=True,
            help="Name of each FILE's source, in order.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def parse_mapping(pairs: tuple[str, ...]) -> dict[str, str]:
    """``("prompt=question,chosen=good",)`` → ``{"prompt": "question", "chosen": "good"}``."""
    mapping = {}
    parts = (part for pair in pairs for part in re.split(r",(?=[^,=]+=)", pair))  # columns may hold commas
    for text in parts:
        field, separator, column = text.partition("=")
        if not separator or not field or not column:
            raise click.UsageError(f"--map {text}: write FIELD=COLUMN, for example --map prompt=question")
        mapping[field.strip()] = column.strip()
    return mapping


def parse_weights(pairs: tuple[str, ...]) -> dict[str, float]:
    """``("forum=0.5",)`` → ``{"forum": 0.5}``."""
    weights = {}
    for text in pairs:
        name, _, number = text.rpartition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            name = ""
        if not name:
            raise click.UsageError(f"weight {text}: write NAME=NUMBER, for example forum=0.5")
    return weights


def given_mix(weights: tuple[str, ...], evaluation: tuple[str, ...]) -> "Mix":
    """What the options say of a mix. Raises ``IngestError`` for a weight that is no positive number."""
    from engine.ingest.run import Mix, check_weights

    mix = Mix(weights=parse_weights(weights), evaluation=evaluation)
    check_weights(mix.weights)
    return mix


@click.group("mix", cls=Commands)
def mix_group() -> None:
    """What a project is made of. After a change, `prosect audit DIR` goes on with what is new.

    Pairs that stay keep their ids, groups and folds, and nobody reads their files again.
    """


@mix_group.command("list")
@project_argument
@output_options
def list_command(project: Path, plain: bool, as_json: bool) -> None:
    """Every source with its pairs, its weight and its share of the mix."""
    _show(project, plain=plain, as_json=as_json)


@mix_group.command("add")
@project_argument
@click.argument("sources", nargs=-1, metavar="[NAME=]FILE...", shell_complete=files)
@source_options
@set_option
@output_options
def add_command(
    project: Path, sources: tuple[str, ...], names: tuple[str, ...], format_: str | None,
    mapping: tuple[str, ...], weights: tuple[str, ...], evaluation: tuple[str, ...],
    assignments: tuple[str, ...], plain: bool, as_json: bool,
) -> None:  # fmt: skip
    """Read further files into a project, or read files again that have changed."""
    from engine.api import source_specs
    from engine.pipeline.mix import MixChange

    if not sources and not evaluation:
        raise click.UsageError("name a file, or an evaluation set with --evaluation FILE")
    specs = source_specs(sources, names=names, format_=format_, mapping=parse_mapping(mapping))
    change = MixChange(add=tuple(specs), weights=parse_weights(weights), evaluation=evaluation)
    _change(project, change, assignments, plain=plain, as_json=as_json)


@mix_group.command("remove")
@project_argument
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=offer_sources)
@set_option
@output_options
def remove_command(
    project: Path, names: tuple[str, ...], assignments: tuple[str, ...], plain: bool, as_json: bool
) -> None:
    """Take sources out, by name or as they were given; their files stay, held-out prompts stay held out."""
    from engine.pipeline.mix import MixChange

    _change(project, MixChange(remove=names), assignments, plain=plain, as_json=as_json)


@mix_group.command("weight")
@project_argument
@click.argument("weights", nargs=-1, required=True, metavar="NAME=NUMBER...", shell_complete=offer_sources)
@set_option
@output_options
def weight_command(
    project: Path, weights: tuple[str, ...], assignments: tuple[str, ...], plain: bool, as_json: bool
) -> None:
    """Weigh sources: statistics, plans and shaped datasets count each of their pairs NUMBER times."""
    from engine.pipeline.mix import MixChange

    change = MixChange(weights=parse_weights(weights))
    _change(project, change, assignments, plain=plain, as_json=as_json)


def _change(
    project: Path, change: "MixChange", assignments: tuple[str, ...], *, plain: bool, as_json: bool
) -> None:
    from engine.api import Project

    opened = Project(project, overrides=parse_assignments(assignments))
    opened.check_mix(change)  # a slip of the keyboard is no job that failed
    with job_progress(project, "ingest", plain=plain, as_json=as_json) as progress:
        opened.change_mix(change, progress=progress)
    _show(project, plain=plain, as_json=as_json)
    if not as_json and not plain:
        click.echo(f"\ngo on with it: prosect audit {project}")


def _show(project: Path, *, plain: bool, as_json: bool) -> None:
    from engine.api import Project

    rows = Project(project).mix()
    if as_json:
        write_json(rows)
        return
    header = ("source", "pairs", "weight", "share of the mix", "dropped in input", "format", "read from")
    shown = [
        (
            r.source,
            r.pairs,
            None if r.weight is None else f"{r.weight:g}",
            None if r.share is None else f"{r.share:.1%}",
            r.dropped,
            r.format,
            r.path,
        )
        for r in rows
    ]
    write_table(header, shown, plain=plain, flexible=6, ranks=(1, 1, 1, 2, 4, 3, 3))
