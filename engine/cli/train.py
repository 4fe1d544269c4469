"""Commands that train and look back: ``train``, ``outcome``."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.complete import run_folders, shaped_folders
from engine.cli.options import output_options, parse_assignments, set_option, tell_if_stale
from engine.cli.output import write_json, write_table
from engine.cli.progress import job_progress, saved_on_termination
from engine.safe_text import one_line
from engine.views.jobs import outcome_title

if TYPE_CHECKING:
    from engine.pipeline.outcome import NamedOutcome
    from engine.stats.outcome import ConceptOutcome

_FOLDER = click.Path(path_type=Path, file_okay=False)
_REPORT = {
    "n_pairs": "pairs of the dataset",
    "n_used": "pairs that the steps reach",
    "max_length": "tokens of a prompt and response at most",
    "n_truncated": "pairs cut to that",
    "n_prompt_lost": "pairs whose prompt the template renders in two ways",
    "n_inoculated": "pairs inoculated",
    "n_reference_computed": "reference log-probabilities computed",
    "n_steps": "steps",
    "resumed_from": "gone on from step",
}
"""Facts of a finished run in words."""
_LAST = {
    "step": "step",
    "epoch": "epochs",
    "loss": "loss",
    "loss/weighted": "loss, weighted",
    "rewards/margins": "reward margin",
    "rewards/accuracies": "share of pairs with the chosen response ahead",
    "rewards/chosen": "reward, chosen",
    "rewards/rejected": "reward, rejected",
    "logps/chosen": "log-probability, chosen",
    "logps/rejected": "log-probability, rejected",
    "logits/chosen": "mean logit, chosen",
    "logits/rejected": "mean logit, rejected",
    "weight": "mean weight",
    "learning_rate": "learning rate",
    "grad_norm": "norm of the gradient",
    "entropy": "entropy per token",
    "mean_token_accuracy": "share of tokens guessed",
    "num_tokens": "tokens seen",
}
"""Numbers of a step in words."""


@click.command("train")
@click.argument("shaped", type=_FOLDER, metavar="SHAPED", shell_complete=shaped_folders)
@click.option("--model", metavar="CHECKPOINT", help="Start from this checkpoint; default: the reader's own.")
@click.option("--steps", type=click.IntRange(1), help="Optimiser steps; default: one epoch.")
@click.option("--lr", "learning_rate", type=float, help="Learning rate.")
@click.option("--beta", type=float, help="β of the loss.")
@click.option(
    "--lora", "lora_rank", type=click.IntRange(0), help="Rank of LoRA adapters; 0: full fine-tuning."
)
@click.option(
    "-o", "--output", type=_FOLDER, metavar="RUN", help="Name of the run in DIR/runs; default: a hash."
)
@click.option("--dry-run", is_flag=True, help="Say how long it would take and what it needs; start nothing.")
@set_option
@output_options
def train_command(
    shaped: Path,
    output: Path | None,
    dry_run: bool,
    assignments: tuple[str, ...],
    plain: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Weighted DPO on a shaped dataset (DIR/shaped/HASH), forecast first.

    The same command again resumes the same run; ctrl+c and SIGTERM save and stop.
    """
    from engine.api import Project, project_of

    overrides = parse_assignments(assignments)
    given = {key: value for key, value in options.items() if value is not None}
    overrides["training"] = overrides.get("training", {}) | given
    root, title = project_of(shaped).root, f"train on {shaped.resolve().name[:12]}"
    tell_if_stale(root, as_json=as_json)
    if dry_run:
        with Project(root, overrides=overrides) as opened:
            needs = opened.training_needs(shaped).as_dict()
        if as_json:
            write_json(needs)
        else:
            write_table(("training", ""), list(needs.items()), plain=plain)
        return
    with (
        Project(root, overrides=overrides) as opened,
        job_progress(root, "train", title, plain=plain, as_json=as_json) as progress,
        saved_on_termination(progress),
    ):
        started = opened.train(shaped, run_dir=output, progress=progress)
        progress.result("run", Path(str(started.report.as_dict()["run_dir"])).name)
    report = started.report.as_dict()
    if as_json:
        write_json(report | {"forecast": started.forecast_path})
        return
    shown = [(words, report[key]) for key, words in _REPORT.items() if report.get(key) is not None]
    write_table(("what", "n"), shown, plain=plain)
    if not plain:
        click.echo("")
    write_table(("last step", ""), _last_step(report["last"]), plain=plain)
    click.echo(f"\nforecast of {started.n_forecast} concepts: {started.forecast_path}")
    click.echo(f"tuned checkpoint: {report['model_dir']}\noutcome: prosect outcome {report['run_dir']}")


def _last_step(last: Mapping[str, float]) -> list[tuple[str, float]]:
    """The numbers of the last step in words, what matters most first; what the trainer adds goes last."""
    known = [(words, _whole(last[key])) for key, words in _LAST.items() if key in last]
    return known + sorted((key, value) for key, value in last.items() if key not in _LAST)


def _whole(value: float) -> float:
    """A step and a count of tokens as whole numbers: tables round others to four places."""
    return int(value) if float(value).is_integer() else value


@click.command("outcome")
@click.argument("run", type=_FOLDER, metavar="RUN", shell_complete=run_folders)
@click.option(
    "--against", type=_FOLDER, metavar="RUN", shell_complete=run_folders,
    help="Difference of runs: compare with this run, folder or name, not with the start. "
    "Usually one on the unshaped pairs.",
)  # fmt: skip
@click.option(
    "-n", "--limit", type=click.IntRange(1), default=20, show_default=True,
    help="Scored concepts to list, largest forecast first; targets of the rules come on top of them.",
)  # fmt: skip
@click.option("--all", "show_all", is_flag=True, help="Every concept, also those that cannot be scored.")
@set_option
@output_options
def outcome_command(
    run: Path,
    against: Path | None,
    limit: int,
    show_all: bool,
    assignments: tuple[str, ...],
    plain: bool,
    as_json: bool,
) -> None:
    """What a finished run changed, concept by concept, beside what was forecast."""
    from engine.api import Project, project_of

    root = project_of(run).root
    tell_if_stale(root, as_json=as_json)
    title = outcome_title(run.resolve().name, against.resolve().name if against is not None else "")
    with (
        Project(root, overrides=parse_assignments(assignments)) as opened,
        job_progress(root, "outcome", title, plain=plain, as_json=as_json) as progress,
    ):
        found = opened.outcome(run, against=against, progress=progress)
    if as_json:
        write_json(found.as_dict())
        return
    _show(found, plain=plain, limit=None if show_all else limit)


def _show(found: "NamedOutcome", *, plain: bool, limit: int | None) -> None:
    """Concepts by the size of their forecast, targets below them, and the report in words last."""
    every = zip(found.outcome.concepts, found.names, found.is_target, strict=True)
    lines = sorted(every, key=lambda line: -abs(line[0].forecast))
    others = [line for line in lines if not line[2] and (line[0].is_scored or limit is None)]
    shown = [*others[:limit], *(line for line in lines if line[2])]
    header = ("concept", "forecast", "± se", "observed", "low", "high", "q", "")
    write_table(header, [_row(*line, plain=plain) for line in shown], plain=plain, flexible=0)
    if plain:
        return
    if limit is not None and len(others) > limit:
        click.echo(f"… and {len(others) - limit:,} more scored concepts: -n or --all")
    if found.unmeasured_targets:
        names = ", ".join(one_line(name) for name in found.unmeasured_targets)
        click.echo(f"targets that a response alone has no score for: {names}")
    if found.n_unmeasured:
        click.echo(
            f"{found.n_unmeasured} concepts have forecasts, but a response alone has no score for them"
        )
    click.echo("")
    for line in found.lines:
        click.echo(line)


def _row(outcome: "ConceptOutcome", name: str, is_target: bool, *, plain: bool) -> tuple[Any, ...]:
    numbers: tuple[float | None, ...] = (
        outcome.forecast,
        outcome.forecast_se,
        outcome.change,
        outcome.change_low,
        outcome.change_high,
    )
    if not plain:  # what sums leave of a zero is no finding
        numbers = tuple(None if x is None else round(x, 6) + 0.0 for x in numbers)
    marks = [mark for mark in ("target" if is_target else "", _mark(outcome)) if mark]
    return (name, *numbers, outcome.q_value, ", ".join(marks))


def _mark(outcome: "ConceptOutcome") -> str:
    if outcome.is_moved:
        return "moved"
    if outcome.is_scored:
        return ""
    from engine.stats.outcome import MIN_GROUPS

    if outcome.n_groups < MIN_GROUPS:
        return "too rare"
    return "no change" if outcome.change == 0 else "all changed alike"
