"""``jobs``: long work of a project, whoever started it and from wherever."""

from pathlib import Path

import click

from engine.cli.complete import jobs as offer_jobs
from engine.cli.options import output_options, project_argument
from engine.cli.output import write_json, write_table
from engine.errors import StoreError
from engine.safe_text import one_line
from engine.views.jobs import JobRow


@click.command("jobs")
@project_argument
@click.option(
    "--cancel",
    metavar="JOB",
    shell_complete=offer_jobs,
    help="Ask a job to stop at its next safe place; again ends it.",
)
@click.option(
    "--log",
    "log_of",
    metavar="JOB",
    shell_complete=offer_jobs,
    help="Stages, remarks and the end of a job's output.",
)
@output_options
def jobs_command(project: Path, cancel: str | None, log_of: str | None, plain: bool, as_json: bool) -> None:
    """Audits, compilations, training and other long work: where each stands, and stopping them."""
    from engine.api import Project

    if not project.is_dir():
        raise StoreError(f"there is no project at {project}", hint="`prosect audit FILE -o DIR` makes one")
    work = Project(project).work
    if cancel is not None:
        click.echo(work.cancel_job(cancel))
        return
    if log_of is not None:
        detail = work.job(log_of)
        if as_json:
            write_json(detail)
            return
        write_table(("stage", "n", "unit", "seconds"), [tuple(s) for s in detail.stages], plain=plain)
        for line in (*detail.notes, *detail.log):
            click.echo(one_line(line))
        return
    rows = work.jobs()
    if as_json:
        write_json(rows)
        return
    header = ("job", "what", "state", "stage", "done", "of", "per s", "left s", "remark")
    write_table(
        header,
        [_cells(row) for row in rows],
        plain=plain,
        flexible=8,
        ranks=(1, 1, 1, 2, 2, 2, 4, 3, 2),
        copied=(0,),
    )


def _cells(row: JobRow) -> tuple[object, ...]:
    rate = None if row.rate is None else float(f"{row.rate:.3g}")
    left = None if row.left_s is None else round(row.left_s)
    return row.ident, row.title, row.state.value, row.stage, row.done, row.total, rate, left, row.message
