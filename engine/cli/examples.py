"""What one types, for ``--help``: an example for every command that takes more than a project.

A slow test runs them on the sample, in this order.
"""

from collections.abc import Mapping
from inspect import cleandoc

import click

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "ingest": (
        "ingest pairs.csv --preview",
        "ingest pairs.csv --map prompt=q,chosen=good,rejected=bad -o table",
    ),
    "audit": (
        "audit forum=forum.jsonl mail.jsonl --reader READER -o audit",
        "audit audit --set stats.q=0.1",
    ),
    "report": ("report audit --reason exact_duplicate --rows",),
    "mix add": ("mix add table more=more.csv --weight more=0.5",),
    "mix weight": ("mix weight table pairs=2 more=0.5",),
    "mix remove": ("mix remove table more",),
    "sae": ("sae audit --model MODEL --layer 2",),
    "read": ("read audit --reader READER",),
    "doctor": ("doctor audit", "doctor --reader READER -n 100000"),
    "open": ("open audit --theme dark",),
    "hypotheses": ("hypotheses audit -f 'badge:both win>60%'", "hypotheses audit --count badge"),
    "concepts": ("concepts audit -f 'called:yes verdict:none' --sort=-win -n 10",),
    "contexts": ("contexts audit -f kind:topic --sort=-pairs",),
    "pairs": ("pairs audit -f 'sorry longer>20' -n 10", "pairs audit --context forum --count label"),
    "show": ("show audit 17", "show audit @bold", "show audit '#12'"),
    "strip": ("strip audit 17 --latent 12",),
    "sources": ("sources audit --level forum",),
    "card": ("card audit -o AUDIT.md",),
    "verdicts set": ("verdicts set audit suppress @exclamations --reason 'only cheer'",),
    "verdicts clear": ("verdicts clear audit @exclamations",),
    "verdicts undo": ("verdicts undo audit",),
    "verdicts name": ("verdicts name audit @headings 'section titles'",),
    "verdicts export": ("verdicts export audit verdicts.jsonl",),
    "verdicts import": ("verdicts import audit verdicts.jsonl",),
    "verdicts merge": ("verdicts merge audit verdicts.jsonl --prefer newest",),
    "names propose": (
        "names propose audit -n 1 --dry-run",
        "names propose audit --endpoint http://localhost:8000/v1 --model NAME",
    ),
    "names import": ("names import audit labels.csv --index number --label text",),
    "names take": ("names take audit",),
    "rules from-verdicts": ("rules from-verdicts audit -o audit/rules/first.rules",),
    "rules check": ("rules check audit/rules/first.rules",),
    "rules fmt": ("rules fmt audit/rules/first.rules",),
    "rules find": ("rules find audit 'delta(@bold) > 0 and source == \"forum\"'",),
    "rules test": ("rules test audit audit/rules/first.rules",),
    "explain": ("explain R404",),
    "plan": ("plan audit first",),
    "diff": ("diff audit first second",),
    "compile": ("compile audit first",),
    "export": ("export audit/shaped/HASH --to trl --weights replicate -o for-trl",),
    "train": ("train audit/shaped/HASH --steps 200 --dry-run",),
    "outcome": ("outcome audit/runs/shaped --against plain",),
    "selftest null": ("selftest null audit --draws 20",),
    "selftest contexts": ("selftest contexts audit",),
    "selftest plant": ("selftest plant audit @bold --draws 10 --odds 1,2",),
    "selftest transfer": ("selftest transfer audit first",),
    "jobs": ("jobs audit --log JOB",),
    "gc": ("gc audit --remove",),
    "help": ("help formats places", "help stats.q", "help names propose"),
}
"""By command, without ``prosect`` before each line."""


def add_examples(group: click.Group, path: str = "") -> None:
    """Put the examples below what the commands of a group say of themselves."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            add_examples(command, f"{path}{name} ")
        elif lines := EXAMPLES.get(f"{path}{name}"):
            typed = "\n".join(f"  prosect {line}" for line in lines)
            command.help = f"{cleandoc(command.help or '')}\n\n\b\nFor example:\n{typed}"
