"""``selftest transfer``: matching measured on pairs that it was not solved on."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.complete import rule_files
from engine.cli.exits import exits_with
from engine.cli.options import index_argument, output_options, parse_assignments, set_option
from engine.cli.output import write_json, write_table
from engine.cli.progress import progress_for

if TYPE_CHECKING:
    from engine.compiler.transferred import TransferReport

_FAILED = 3
_SHOWN = 12


@click.command("transfer")
@index_argument
@click.argument(
    "rules", type=click.Path(path_type=Path, dir_okay=False), metavar="RULES", shell_complete=rule_files
)
@click.option(
    "--pattern",
    "patterns",
    multiple=True,
    metavar="NAME=REGEX",
    help="Measure a regular expression on the texts, too, against the target NAME; may be repeated.",
)
@click.option(
    "--draws", type=click.IntRange(0), default=200, show_default=True, help="Redrawn groups, for intervals."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the halves and the draws.")
@click.option("--all", "show_all", is_flag=True, help="Every concept, not only those that move most.")
@set_option
@output_options
def transfer_command(
    project: Path, rules: Path, patterns: tuple[str, ...], draws: int, seed: int, show_all: bool,
    assignments: tuple[str, ...], plain: bool, as_json: bool,
) -> None:  # fmt: skip
    """Solve the matching of RULES on half of the prompt groups, measure it on the other half.

    On the pairs it is solved on, matching meets its targets by construction; here it can fail. Exits with 3
    when more than 0.2 of a matched effect surely remains, or a held concept surely leaves its limit.
    """
    from engine.api import Project
    from engine.pipeline.transfer import TransferOptions

    named = {}
    for text in patterns:
        name, separator, pattern = text.partition("=")
        if not separator or not name or not pattern:
            raise click.UsageError(f"--pattern {text}: write NAME=REGEX, for example 'bold=\\*\\*'")
        named[name.removeprefix("@")] = pattern
    options = TransferOptions(named, draws, seed)
    with (
        Project(project, overrides=parse_assignments(assignments)) as opened,
        progress_for(plain=plain, as_json=as_json) as progress,
    ):
        report = opened.selftest_transfer(rules, options, progress=progress)
    with exits_with(_FAILED if report.state == "fails" else 0):
        if as_json:
            states = {"state": report.state, "targets": [t.state for t in report.targets]}
            write_json({"report": report, "states": states})
        else:
            _show(report, plain=plain, limit=None if show_all else _SHOWN)


def _show(report: "TransferReport", *, plain: bool, limit: int | None) -> None:
    solved, measured = report.n_groups
    click.echo(
        f"solved on {report.n_solved:,} pairs of {solved:,} prompt groups,"
        f" measured on {report.n_measured:,} pairs of {measured:,}\n"
        f"there: effective pairs {report.effective_share:.0%}, largest weight {report.largest_weight:.3g}"
    )
    if report.n_failed:
        click.echo(f"{report.n_failed} of {report.n_draws} draws could not meet the targets")
    click.echo(
        "\n── targets, in standard deviations; left: share of the distance from the target, 90% interval"
    )
    rows = [
        (
            t.concept, t.measure + ("" if t.is_matched else " *"), t.n_active, t.before, t.after, t.left,
            t.low, t.high, t.state, t.needed,
        )
        for t in report.targets
    ]  # fmt: skip
    header = (
        "concept",
        "measure",
        "active",
        "before",
        "after",
        "left",
        "low",
        "high",
        "≤ 0.2",
        "pairs needed",
    )
    write_table(header, rows, plain=plain, flexible=0, ranks=(1, 1, 4, 2, 1, 1, 2, 2, 1, 3))
    if not plain:
        click.echo("*  not what was matched: another pooling, or the text itself")
    moved = ("concept", "before", "after", "change", "low", "high")
    if report.held:
        click.echo("\n── held concepts: mean u")
        held = [
            (m.concept, m.before, m.after, m.change, m.low, m.high, m.limit, m.state) for m in report.held
        ]
        write_table((*moved, "limit", "inside"), held, plain=plain, flexible=0)
    click.echo("\n── every other concept: mean u" + (f", the {limit} that move most" if limit else ""))
    others = [(m.concept, m.before, m.after, m.change, m.low, m.high) for m in report.others[:limit]]
    write_table(moved, others, plain=plain, flexible=0)
