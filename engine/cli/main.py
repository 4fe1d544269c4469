"""``prosect``: the headless twin of the workstation.

Commands import the façade inside themselves, so that ``--help`` stays instant. Results go to stdout, progress
and errors to stderr. Exit codes: 0 done, 1 an expected failure, 2 wrong usage, 3 an expectation or self-test
that does not hold, 130 stopped by the user, 141 nobody read the results to the end.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.audit import audit_command, demo_command
from engine.cli.browse import (
    concepts_command,
    contexts_command,
    hypotheses_command,
    pairs_command,
)
from engine.cli.card import card_command
from engine.cli.checks import auc_command, selftest_group, strict_command
from engine.cli.complete import projects
from engine.cli.completion import completion_command
from engine.cli.examples import add_examples
from engine.cli.help import help_command
from engine.cli.jobs import jobs_command
from engine.cli.mix import mix_group
from engine.cli.names import names_group
from engine.cli.opening import open_command
from engine.cli.prepare import (
    doctor_command,
    gc_command,
    ingest_command,
    read_command,
    sae_command,
)
from engine.cli.report import report_command
from engine.cli.rules import diff_command, explain_command, export_command, rules_group
from engine.cli.scrutiny import coverage_command, sources_command
from engine.cli.shape import compile_command, plan_command
from engine.cli.show import show_command
from engine.cli.start import errors_told
from engine.cli.strip import strip_command
from engine.cli.train import outcome_command, train_command
from engine.cli.transfer import transfer_command
from engine.cli.verdicts import verdicts_group
from engine.paths import is_path
from engine.safe_text import one_line

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_SUBCOMMAND_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Prosect(click.Group):
    """Turns the error family into messages; ``prosect DIR`` opens the workstation on DIR."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read a lone existing folder as ``open FOLDER``."""
        if (
            args
            and not ctx.resilient_parsing
            and args[0] not in self.commands
            and not args[0].startswith("-")
        ):
            if Path(args[0]).is_dir():
                args = ["open", *args]
            elif is_path(args[0]):
                what = "is a file, no project folder" if Path(args[0]).exists() else "is no folder"
                raise click.UsageError(f"{one_line(args[0])} {what}", ctx)
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Commands, and projects to be opened."""
        lines = {str(command.name): line for _, commands in SECTIONS for command, line in commands}
        found = super().shell_complete(ctx, incomplete)
        for item in found:
            item.help = lines.get(str(item.value), item.help)
        if incomplete and not incomplete.startswith("-"):
            near = projects(ctx, self.params[0], incomplete)
            found += [
                n for n in near if n.value not in self.commands and (n.type == "plain" or "/" in incomplete)
            ]
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with errors_told():
            return super().invoke(ctx)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - Click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """List the commands by what they are for, in the order of the loop."""
        width = max(map(len, self.commands))
        for title, commands in SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(str(command.name).ljust(width), line) for command, line in commands])


@click.group(cls=Prosect, context_settings=_SUBCOMMAND_HELP)
@click.version_option(package_name="prosect")
def main() -> None:
    """Shows what a preference dataset would teach a language model before anyone trains on it.

    \b
    A first look:   prosect demo
    Your own data:  prosect audit FILE --reader MODEL --layer 12 --sae SAE -o DIR
    Then:           prosect open DIR
    What to type:   prosect help
    """  # noqa: D301 - \b is Click's mark for text that must not be wrapped


Section = tuple[str, tuple[tuple[click.Command, str], ...]]
SECTIONS: tuple[Section, ...] = (
    (
        "Read the data",
        (
            (demo_command, "Audit the sample pairs offline and open the workstation."),
            (audit_command, "Pairs in, hypotheses out; goes on where it stopped."),
            (ingest_command, "Files into pairs, groups and folds only; --preview a format."),
            (report_command, "Every row that ingest dropped, repaired or noted."),
            (mix_group, "Add, remove and weigh the sources of a project."),
            (sae_command, "Train an SAE on the pairs' own activations."),
            (read_command, "Readings only; for many processes or machines at once."),
        ),
    ),
    (
        "Look at what it teaches",
        (
            (open_command, "The workstation: review by keyboard (also: prosect DIR)."),
            (hypotheses_command, "What the data teaches, everywhere and inside contexts."),
            (concepts_command, "Every concept with its effect everywhere."),
            (contexts_command, "Topics, prompt concepts and sources."),
            (pairs_command, "The pairs as read."),
            (show_command, "One pair, or one concept with its evidence."),
            (strip_command, "One pair token by token."),
            (sources_command, "What each source, model or annotator teaches."),
            (card_command, "The audit as a Markdown page for others."),
        ),
    ),
    (
        "Decide and shape",
        (
            (verdicts_group, "Keep, suppress, amplify, ignore: the journal of decisions."),
            (names_group, "Names of concepts that a language model proposes, tested before they are shown."),
            (rules_group, "Write, format, check and test rule files."),
            (explain_command, "What a numbered error of the rule language means."),
            (plan_command, "What a rule file would do, before anything is written."),
            (diff_command, "What changes from one rule file to another."),
            (compile_command, "Write the shaped dataset with its ledger and lock."),
            (export_command, "A shaped dataset for another trainer, nothing lost."),
        ),
    ),
    (
        "Train and compare",
        (
            (train_command, "Weighted DPO on a shaped dataset, forecast written first."),
            (outcome_command, "What a run changed, beside what was forecast."),
        ),
    ),
    (
        "Trust",
        (
            (selftest_group, "Is nothing called where nothing is, and what is planted found?"),
            (auc_command, "Held-out AUC of concepts beside every baseline."),
            (strict_command, "Calls under stricter rules than BH."),
            (coverage_command, "How much of the labels the judged concepts account for."),
        ),
    ),
    (
        "Housekeeping",
        (
            (help_command, "What to type for what one wants; the pages of the documentation."),
            (completion_command, "A script that completes commands, projects and concepts in your shell."),
            (doctor_command, "This machine, and what reading, index and training would cost on it."),
            (jobs_command, "Long work of a project: where it stands; stop it."),
            (gc_command, "What nothing points to, and how to delete it."),
        ),
    ),
)
"""Every command with the line that ``prosect --help`` shows for it, in the order of the loop."""
selftest_group.add_command(transfer_command)
for _, commands in SECTIONS:
    for command, _line in commands:
        main.add_command(command)
add_examples(main)

if __name__ == "__main__":
    main()
