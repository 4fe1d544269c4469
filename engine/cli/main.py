"""``prosect``: the headless twin of the workstation.

Commands import the façade inside themselves, so that ``--help`` stays instant. Results go to stdout, progress
and errors to stderr. Exit codes: 0 done, 1 an expected failure, 2 wrong usage, 3 an expectation or self-test
that does not hold, 130 stopped by the user.
"""

from pathlib import Path
from typing import Any

import click

from engine.cli.audit import audit_command, demo_command
from engine.cli.browse import (
    concepts_command,
    contexts_command,
    hypotheses_command,
    pairs_command,
    show_command,
)
from engine.cli.checks import auc_command, selftest_group
from engine.cli.jobs import jobs_command
from engine.cli.mix import mix_group
from engine.cli.opening import open_command
from engine.cli.prepare import (
    doctor_command,
    gc_command,
    ingest_command,
    read_command,
    report_command,
    sae_command,
)
from engine.cli.rules import diff_command, explain_command, export_command, rules_group
from engine.cli.scrutiny import coverage_command, sources_command
from engine.cli.shape import compile_command, plan_command
from engine.cli.start import errors_told
from engine.cli.strip import strip_command
from engine.cli.train import outcome_command, train_command
from engine.cli.transfer import transfer_command
from engine.cli.verdicts import verdicts_group

_SUBCOMMAND_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Prosect(click.Group):
    """Turns the error family into messages; ``prosect DIR`` opens the workstation on DIR."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read a lone existing folder as ``open FOLDER``."""
        if args and args[0] not in self.commands and not args[0].startswith("-") and Path(args[0]).is_dir():
            args = ["open", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with errors_told():
            return super().invoke(ctx)


@click.group(cls=Prosect, context_settings=_SUBCOMMAND_HELP)
@click.version_option(package_name="prosect")
def main() -> None:
    """Shows what a preference dataset would teach a language model before anyone trains on it.

    \b
    A first look:     prosect demo
    Your own data:    prosect audit pairs.jsonl --reader MODEL --layer 12 --sae SAE -o audit
    Then:             prosect open audit
    """  # noqa: D301 - \b is Click's mark for text that must not be wrapped


COMMANDS: tuple[click.Command, ...] = (
    demo_command,
    audit_command,
    hypotheses_command,
    concepts_command,
    contexts_command,
    pairs_command,
    show_command,
    strip_command,
    open_command,
    plan_command,
    compile_command,
    train_command,
    outcome_command,
    jobs_command,
    rules_group,
    explain_command,
    diff_command,
    export_command,
    verdicts_group,
    selftest_group,
    auc_command,
    sources_command,
    mix_group,
    coverage_command,
    ingest_command,
    report_command,
    read_command,
    sae_command,
    doctor_command,
    gc_command,
)
selftest_group.add_command(transfer_command)
for command in COMMANDS:
    main.add_command(command)

if __name__ == "__main__":
    main()
