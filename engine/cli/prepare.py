"""Single steps and housekeeping: ``ingest``, ``read``, ``sae``, ``doctor``, ``gc``."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.audit import show_report
from engine.cli.complete import files, projects, readers
from engine.cli.mix import given_mix, parse_mapping, source_options
from engine.cli.options import output_options, parse_assignments, project_argument, set_option
from engine.cli.output import write_json, write_table
from engine.cli.progress import job_progress
from engine.safe_text import one_line
from engine.wording import counted

if TYPE_CHECKING:
    from engine.ingest.run import SourcePreview
    from engine.records import Message

_FOLDER = click.Path(path_type=Path, file_okay=False)
_LAYER = click.option("--layer", type=int, help="Block after which the residual stream is read.")
_SAE = click.option(
    "--sae", metavar="SAE", shell_complete=files, help="SAE folder or release:id, when the reader names none."
)


@click.command("ingest")
@click.argument("sources", nargs=-1, required=True, metavar="[NAME=]FILE...", shell_complete=files)
@click.option(
    "-o",
    "--output",
    type=_FOLDER,
    metavar="DIR",
    shell_complete=projects,
    help="Project folder; needed unless --preview.",
)
@click.option("--preview", is_flag=True, help="Show the guessed format and ten pairs, write nothing.")
@source_options
@set_option
@output_options
def ingest_command(
    sources: tuple[str, ...], output: Path | None, preview: bool, names: tuple[str, ...], format_: str | None,
    mapping: tuple[str, ...], weights: tuple[str, ...], evaluation: tuple[str, ...],
    assignments: tuple[str, ...], plain: bool, as_json: bool,
) -> None:  # fmt: skip
    """Turn dataset files into pairs, groups and folds, with a report of every row dropped or repaired."""
    from engine.api import Project, preview_source, source_specs

    specs = source_specs(sources, names=names, format_=format_, mapping=parse_mapping(mapping))
    if preview:
        for spec in specs:
            _show_preview(preview_source(spec), plain=plain, as_json=as_json)
        return
    if output is None:
        raise click.UsageError("name a project folder with -o DIR, or look first with --preview")
    project = Project(output, overrides=parse_assignments(assignments))
    mix = given_mix(weights, evaluation)
    with job_progress(output, "ingest", plain=plain, as_json=as_json) as progress:
        lines, report = project.ingest(specs, mix=mix, progress=progress)
    if as_json:
        write_json(report)
        return
    show_report(lines, plain=plain)
    if not plain:
        words = shlex.join(["prosect", "audit", str(output)])
        click.echo(f"\nread them: {words} --reader R  (`prosect help reading` says what R may be)")


def _show_preview(seen: "SourcePreview", *, plain: bool, as_json: bool) -> None:
    if as_json:
        write_json(seen)
        return
    described = " (known from descriptions only)" if seen.from_description else ""
    named = "" if seen.format == "map" else f" (--format {seen.format})"
    click.echo(f"{one_line(seen.path)}: {seen.format_title}{named}{described}")
    for remark in seen.remarks:
        click.echo(f"remark: {one_line(remark, 300)}")
    click.echo("")
    columns = [(c.column, c.holds, c.used_as or "left over: kept as metadata") for c in seen.columns]
    write_table(("column", "holds", "used as"), columns, plain=plain, flexible=(0, 2))
    click.echo("")
    rows = [
        (p.row, p.label or p.dropped, *(_start(m, whole=plain) for m in (p.prompt, p.chosen, p.rejected)))
        for p in seen.pairs
    ]
    header = ("row (from 0)", "label or why dropped", "prompt", "chosen", "rejected")
    write_table(header, rows, plain=plain, flexible=(2, 3, 4))
    details = {p.dropped: f" ({one_line(p.detail, 80)})" for p in reversed(seen.pairs) if p.detail}
    said = ", ".join(f"{reason} {n}{details.get(reason, '')}" for reason, n in seen.dropped.items())
    click.echo(f"\ndropped among the first {seen.n_rows:,} rows: {said or 'nothing'}")
    if seen.n_waiting:
        answers = counted(seen.n_waiting, "answer has no partner", "answers have no partner")
        click.echo(f"{answers} for the same prompt among them: ingest looks through the whole file")
    if seen.noted:
        click.echo("repaired or noted: " + ", ".join(f"{reason} {n}" for reason, n in seen.noted.items()))


def _start(messages: "tuple[Message, ...]", *, whole: bool) -> str:
    return one_line(" ".join(m.content for m in messages), None if whole else 60)


@click.command("read")
@project_argument
@click.option(
    "--reader",
    required=True,
    metavar="R",
    shell_complete=readers,
    help="Folder with reader.toml, a preset, or a checkpoint.",
)
@_LAYER
@_SAE
@set_option
@output_options
def read_command(
    project: Path,
    reader: str,
    layer: int | None,
    sae: str | None,
    assignments: tuple[str, ...],
    plain: bool,
    as_json: bool,
) -> None:
    """Read a project's pairs only; for many processes at once.

    torchrun --no-python --nproc-per-node N prosect read DIR --reader R; then `prosect audit` builds
    the index.
    """
    from engine.api import Project

    opened = Project(project, overrides=parse_assignments(assignments))
    with job_progress(project, "read", f"read with {reader}", plain=plain, as_json=as_json) as progress:
        report = opened.read(reader, layer=layer, sae=sae, progress=progress)
    if as_json:
        write_json(report.as_dict())
    else:
        write_table(("what", "n"), list(report.as_dict().items()), plain=plain)


@click.command("sae")
@project_argument
@click.option("--model", required=True, metavar="CHECKPOINT", help="Folder or hub id.")
@click.option("--layer", type=int, required=True, help="Block after which the SAE reads.")
@click.option(
    "--latents", "n_latents", type=click.IntRange(2), help="Default: eight times the model's width."
)
@click.option("--k", type=click.IntRange(1), help="Latents that fire per token.")
@click.option("--tokens", "n_tokens", type=click.IntRange(1000), help="Tokens that training sees.")
@set_option
@output_options
def sae_command(
    project: Path,
    model: str,
    layer: int,
    assignments: tuple[str, ...],
    plain: bool,
    as_json: bool,
    **options: int | None,
) -> None:
    """Train a TopK SAE on the pairs' own activations, for a model that has none."""
    from engine.api import Project

    overrides = parse_assignments(assignments)
    given = {key: value for key, value in options.items() if value is not None}
    overrides["sae"] = overrides.get("sae", {}) | given
    opened = Project(project, overrides=overrides)
    with job_progress(
        project, "sae", f"SAE for {model} at {layer}", plain=plain, as_json=as_json
    ) as progress:
        report = opened.train_sae(model, layer, progress=progress)
    if as_json:
        write_json(report)
        return
    checked = [(key, value) for key, value in report["check"].items() if isinstance(value, int | float)]
    rows = [*((key, value) for key, value in report.items() if key != "check"), *checked]
    write_table(("what", ""), rows, plain=plain)
    problems = report["check"]["problems"]
    for problem in problems:
        click.echo(f"problem: {problem}")
    words = ["prosect", "audit", str(project), "--reader", report["folder"]]
    is_refused = bool(problems) and not opened.settings.reading.accept_poor_sae
    if is_refused:
        click.echo(
            "\n`prosect audit` refuses an SAE that reads these texts so poorly: train one on more tokens"
            " (--tokens), with other --latents or --k, or at another layer"
        )
        words += ["--set", "reading.accept_poor_sae=true"]
    click.echo(f"\nread with it{' all the same' if is_refused else ''}: {shlex.join(words)}")


@click.command("doctor")
@click.argument("folder", type=_FOLDER, required=False, metavar="[DIR]", shell_complete=projects)
@click.option(
    "--project",
    type=_FOLDER,
    metavar="DIR",
    shell_complete=projects,
    help="Take number and lengths of pairs from this project, as DIR does.",
)
@click.option("--reader", metavar="R", shell_complete=readers, help="Estimate what reading with it costs.")
@_LAYER
@_SAE
@click.option("-n", "--pairs", "n_pairs", type=click.IntRange(1), help="Pairs to plan for.")
@set_option
@output_options
def doctor_command(
    folder: Path | None, project: Path | None, reader: str | None, layer: int | None, sae: str | None,
    n_pairs: int | None, assignments: tuple[str, ...], plain: bool, as_json: bool,
) -> None:  # fmt: skip
    """This machine, and the hours, memory and disk that reading, index and training would take on it."""
    from engine.api import examine

    if folder is not None and project is not None:
        raise click.UsageError("DIR and --project say the same: give one of them")
    if reader is None and (n_pairs, layer, sae) != (None, None, None):
        raise click.UsageError("-n, --layer and --sae are about a reading: name a reader with --reader R")
    found = examine(
        folder or project,
        reader,
        layer=layer,
        sae=sae,
        n_pairs=n_pairs,
        overrides=parse_assignments(assignments),
    )
    if as_json:
        write_json(found)
        return
    machine = found.machine
    rows = [(name, getattr(machine, name)) for name in machine.__slots__ if name != "packages"]
    write_table(("machine", ""), [*rows, *machine.packages.items()], plain=plain)
    if found.cost is None:
        if not plain:
            click.echo("\nwhat reading, index and training would cost here: --reader R")
        return
    write_table(("assumed", ""), list(found.assumed.items()), plain=plain)
    cost = found.cost.as_dict()
    problems = cost.pop("problems")
    for stage, figures in cost.items():
        write_table((stage, ""), list(figures.items()), plain=plain)
    for problem in problems:
        click.echo(f"problem: {problem}")


@click.command("gc")
@project_argument
@click.option("--remove", is_flag=True, help="Remove what is listed.")
@click.option("--cache", "with_cache", is_flag=True, help="Also what can be computed again.")
@output_options
def gc_command(project: Path, remove: bool, with_cache: bool, plain: bool, as_json: bool) -> None:
    """List what nothing points to: old indexes, arrays and readings, leftovers of killed processes."""
    from engine.api import Project

    opened = Project(project)
    found = opened.garbage(with_cache=with_cache)
    if as_json:
        write_json(found)
    elif not found and not plain:
        click.echo("nothing to remove")
    else:
        rows = [(str(g.path.relative_to(project)), round(g.n_bytes / 1e6, 3), g.why) for g in found]
        write_table(("path", "MB", "why"), rows, plain=plain)
    if remove:
        freed = opened.remove(found)
        click.echo(f"{freed / 1e6:,.1f} MB removed", err=as_json)
    elif found and not as_json:
        click.echo("\nnothing was removed; --remove does it")
