"""Commands that check an audit on its own data: ``selftest``, ``auc``."""

from pathlib import Path

import click

from engine.cli.complete import concepts
from engine.cli.exits import exits_with
from engine.cli.groups import Commands
from engine.cli.options import index_argument, output_options, parse_assignments, set_option
from engine.cli.output import write_json, write_table
from engine.cli.progress import job_progress

_FAILED = 3
_SEED = click.option("--seed", type=int, default=0, show_default=True, help="Of the random draws.")


@click.group("selftest", cls=Commands)
def selftest_group() -> None:
    """Does the machinery call what is not there, and find what is? Exits with 3 when a test fails."""


@selftest_group.command("null")
@index_argument
@click.option(
    "--draws", type=click.IntRange(10), default=400, show_default=True, help="Relabellings of each kind."
)
@_SEED
@set_option
@output_options
def null_command(
    project: Path, draws: int, seed: int, assignments: tuple[str, ...], plain: bool, as_json: bool
) -> None:
    """Swap whole prompt groups, and redraw labels from the null model: any call is a false one."""
    from engine.api import Project

    with (
        Project(project, overrides=parse_assignments(assignments)) as opened,
        job_progress(project, "selftest", "selftest null", plain=plain, as_json=as_json) as progress,
    ):
        results = opened.selftest_null(draws=draws, seed=seed, progress=progress)
    rows = [
        (
            r.test, r.family, r.tested, r.draws_with_call, r.draws, r.share, r.low, r.high,
            "not tested" if r.passed is None else r.passed,
        )
        for r in results
    ]  # fmt: skip
    header = ("test", "family", "tested", "with a call", "draws", "share", "low", "high", "passed")
    with exits_with(_FAILED if any(r.passed is False for r in results) else 0):
        if as_json:
            write_json(results)
        else:
            write_table(header, rows, plain=plain)


@selftest_group.command("contexts")
@index_argument
@click.option(
    "--contexts", "n_contexts", type=click.IntRange(2), default=8, show_default=True, help="How many."
)
@_SEED
@set_option
@output_options
def contexts_command(
    project: Path, n_contexts: int, seed: int, assignments: tuple[str, ...], plain: bool, as_json: bool
) -> None:
    """Deal prompt groups into contexts at random: the z of every cell must have a spread of about 1."""
    from engine.api import Project

    with Project(project, overrides=parse_assignments(assignments)) as opened:
        result = opened.selftest_contexts(n_contexts=n_contexts, seed=seed)
    with exits_with(0 if result.passed else _FAILED):
        if as_json:
            write_json(result)
        else:
            row = (result.n_cells, result.mean, result.sd, result.calls, result.passed)
            write_table(("cells", "mean z", "sd of z", "calls", "passed"), [row], plain=plain)


@selftest_group.command("plant")
@index_argument
@click.argument("concept", metavar="CONCEPT", shell_complete=concepts)
@click.option(
    "--odds", default="1,1.25,1.5,2,3", show_default=True, help="Strengths to plant, comma-separated."
)
@click.option(
    "--draws", type=click.IntRange(2), default=50, show_default=True, help="Relabellings per strength."
)
@_SEED
@set_option
@output_options
def plant_command(
    project: Path, concept: str, odds: str, draws: int, seed: int, assignments: tuple[str, ...], plain: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Orient random labels on CONCEPT with known odds: recall, rank and false calls by strength."""
    from engine.api import Project

    try:
        strengths = [float(text) for text in odds.split(",")]
    except ValueError:
        raise click.UsageError(f"--odds {odds}: numbers such as 1,1.5,2") from None
    with (
        Project(project, overrides=parse_assignments(assignments)) as opened,
        job_progress(
            project, "selftest", f"selftest plant {concept}", plain=plain, as_json=as_json
        ) as progress,
    ):
        results = opened.selftest_plant(concept, strengths, draws=draws, seed=seed, progress=progress)
    if as_json:
        write_json(results)
        return
    rows = [
        (r.odds, r.draws, r.recall, r.low, r.high, r.median_rank, r.win_rate, r.true_win_rate, r.other_calls)
        for r in results
    ]
    header = ("odds", "draws", "recall", "low", "high", "median rank", "win rate", "true", "other calls")
    write_table(header, rows, plain=plain)


@click.command("strict")
@index_argument
@click.option(
    "--draws", type=click.IntRange(99), default=999, show_default=True, help="Sign changes behind max-T."
)
@_SEED
@set_option
@output_options
def strict_command(
    project: Path, draws: int, seed: int, assignments: tuple[str, ...], plain: bool, as_json: bool
) -> None:
    """How many calls stand under stricter rules: BY, max-T, signed ranks, replication in both halves."""
    from engine.api import Project

    with (
        Project(project, overrides=parse_assignments(assignments)) as opened,
        job_progress(project, "selftest", "strict", plain=plain, as_json=as_json) as progress,
    ):
        results = opened.strict(draws=draws, seed=seed, progress=progress)
    if as_json:
        write_json(results)
        return
    rows = [(r.family, r.question, r.tested, r.rule, r.passing, r.share) for r in results]
    write_table(("family", "question", "tested", "rule", "calls", "share"), rows, plain=plain)


@click.command("auc")
@index_argument
@set_option
@output_options
def auc_command(project: Path, assignments: tuple[str, ...], plain: bool, as_json: bool) -> None:
    """How well length, formatting, authorship, concepts and the full reading predict held-out labels."""
    from engine.api import Project

    with (
        Project(project, overrides=parse_assignments(assignments)) as opened,
        job_progress(project, "auc", plain=plain, as_json=as_json) as progress,
    ):
        results = opened.auc(progress=progress)
    if as_json:
        write_json(results)
        return
    header = ["arm", "columns", "AUC", "low", "high", "accuracy", "log-loss"]
    rows = [[r.name, r.n_columns, r.auc, r.low, r.high, r.accuracy, r.log_loss] for r in results]
    if any(r.within is not None for r in results):
        header += ["within two models", "low", "high"]
        rows = [[*row, r.within, r.within_low, r.within_high] for row, r in zip(rows, results, strict=True)]
    write_table(header, rows, plain=plain)
