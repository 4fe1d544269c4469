"""``help``: what one can want with the command for it, and the pages of the documentation in a terminal."""

import difflib
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from engine.errors import ProsectError
from engine.safe_text import one_line

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

DOCS = Path(__file__).parent.parent / "docs"
_TOPIC = re.compile(r"^- \[([^\]]+)\]\(([^)]+)\): (.+)$", re.MULTILINE)
_WORDS = ("glossary", "settings")
"""Pages whose entries need no page before them."""
_WIDEST = 100
"""Cells of a line at most: longer ones are hard to read."""

WANTS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Begin",
        (
            ("see it work, offline, on pairs that ship with it", "demo"),
            ("go through the loop step by step", "help guide"),
            ("have commands and names completed in my shell", "completion bash"),
        ),
    ),
    (
        "Get my data in",
        (
            ("know whether a file is understood", "ingest FILE --preview"),
            ("map a table that is not recognised", "help formats places"),
            ("know what a reading would cost on this machine", "doctor --reader R"),
            ("train an SAE for a model that has none", "sae DIR --model M --layer N"),
            ("find out what the pairs would teach", "audit FILE --reader R -o DIR"),
            ("share the reading among processes or machines", "read DIR --reader R"),
            ("see which rows were dropped or repaired, and why", "report DIR"),
            ("add, remove or weigh sources later", "mix list DIR"),
        ),
    ),
    (
        "Look",
        (
            ("review by keyboard", "open DIR"),
            ("list what the labels reward, everywhere", "concepts DIR -f badge:both"),
            ("list it inside topics and sources as well", "hypotheses DIR"),
            ("see the contexts", "contexts DIR"),
            ("read pairs, filtered", "pairs DIR -f sorry"),
            ("see the evidence of a concept, or one pair", "show DIR NAME"),
            ("see where in a pair a concept fires", "strip DIR PAIR --concept NAME"),
            ("compare sources, models or annotators", "sources DIR"),
            ("write an audit down as one page", "card DIR"),
            ("have concepts named by a language model", "names propose DIR --endpoint URL --model NAME"),
        ),
    ),
    (
        "Decide and shape",
        (
            ("say what may be learnt of a concept", "verdicts set DIR suppress NAME"),
            ("take a decision back", "verdicts undo DIR"),
            ("turn decisions into rules", "rules from-verdicts DIR -o FILE"),
            ("find the mistakes in a rule file", "rules check FILE"),
            ("see what rules would do, before anything is written", "plan DIR RULES"),
            ("compare two rule files", "diff DIR FIRST SECOND"),
            ("understand an error such as R404", "explain R404"),
            ("build the shaped dataset", "compile DIR RULES"),
            ("train on it elsewhere", "export SHAPED --to trl -o OUT"),
        ),
    ),
    (
        "Train and compare",
        (
            ("train on it here", "train SHAPED"),
            ("see what a run changed, beside what was forecast", "outcome RUN"),
        ),
    ),
    (
        "Doubt",
        (
            ("count calls where there is nothing to find", "selftest null DIR"),
            ("know how strong an effect must be to be found", "selftest plant DIR NAME"),
            ("compare concepts with simpler explanations of the labels", "auc DIR"),
            ("see which calls stand under stricter rules", "strict DIR"),
            ("know how much of the labels was looked at", "coverage DIR"),
        ),
    ),
    (
        "Keep house",
        (
            ("see or stop long work", "jobs DIR"),
            ("free disk space", "gc DIR"),
        ),
    ),
)
"""What one can want, with a command as one would type it."""


class Topic(NamedTuple):
    """A page of the documentation."""

    name: str
    file: Path
    about: str


def topics() -> list[Topic]:
    """Every page that the index of the documentation lists, in its order."""
    try:
        index = (DOCS / "README.md").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ProsectError(
            "this installation carries no documentation", hint="`prosect COMMAND --help` explains commands"
        ) from error
    return [Topic(name, DOCS / file, about) for name, file, about in _TOPIC.findall(index)]


def _offered(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001 - Click's signature
    from click.shell_completion import CompletionItem

    if ctx.params.get("words"):
        return []
    return [CompletionItem(t.name, help=t.about) for t in topics() if t.name.startswith(incomplete)]


@click.command("help")
@click.argument("words", nargs=-1, metavar="[TOPIC [WORDS...]|COMMAND...]", shell_complete=_offered)
@click.pass_context
def help_command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """What to type for what one wants, or a page of the documentation.

    TOPIC is a page, such as guide, formats or statistics; WORDS are of one of its headings, or name what
    one of its tables explains, as in `prosect help settings lora_rank`. Words of the glossary, settings such
    as stats.q and codes such as R404 need no page before them. A COMMAND is explained as by --help.
    """
    if not words:
        _show(_overview())
        return
    from engine.cli.markdown import rendered
    from engine.cli.rules import explain_command

    topic = _topic(words[0])
    if re.fullmatch(r"[Rr]\d{3}", words[0]):
        ctx.invoke(explain_command, code=words[0].upper())
        return
    if topic is not None:
        page = topic.file.read_text(encoding="utf-8")
        text = page if len(words) == 1 else _section(topic, page, words[1:])
    elif not (text := _explained(words)):
        click.echo(_command_help(ctx, words))
        return
    _show(rendered(text, _width(), styled=_is_terminal()))


def _explained(words: Sequence[str]) -> str:
    """What words of the glossary and settings, such as `stats.q`, mean; empty where they are none."""
    from engine.cli.main import main
    from engine.cli.markdown import entries, sections

    if words[0] in main.commands:
        return ""
    pages = {topic.name: topic.file.read_text(encoding="utf-8") for topic in topics() if topic.name in _WORDS}
    stage, dot, key = words[0].partition(".")
    if dot and len(words) == 1:
        parts = [part.text for part in sections(pages.get("settings", "")) if part.title == f"[{stage}]"]
        return "\n".join(entries(part, [f"`{key}`"]) for part in parts)
    wanted = [word.lower() for word in words]
    found = [entries(pages[name], wanted) for name in _WORDS if name in pages and len(words[0]) > 2]
    return "\n".join(filter(None, found))


def _topic(word: str) -> Topic | None:
    """The page that is called so or begins so; None where a command may be meant."""
    from engine.cli.main import main

    known = topics()
    wanted = word.lower().removesuffix(".md")
    for topic in known:
        if topic.name == wanted:
            return topic
    beginning = [topic for topic in known if topic.name.startswith(wanted)]
    return beginning[0] if len(beginning) == 1 and word not in main.commands else None


def _section(topic: Topic, page: str, words: Sequence[str]) -> str:
    """The first part with all the words in its heading, else entries of tables, else the shortest part."""
    from engine.cli.markdown import entries, sections

    found = sections(page)[1:]
    wanted = [word.lower() for word in words]
    titled = [part for part in found if all(word in part.title.lower() for word in wanted)]
    holding = [part for part in found if all(word in part.text.lower() for word in wanted)]
    listed = "" if titled else entries(page, wanted)
    if titled or listed or holding:
        return titled[0].text if titled else listed or min(holding, key=lambda part: len(part.text)).text
    titles = "\n".join(f"    {part.title}" for part in found)
    hint = f"its parts:\n{titles}" if found else f"`prosect help {topic.name}` shows all of it"
    raise ProsectError(f"the page {topic.name} says nothing of {one_line(' '.join(words), 60)}", hint=hint)


def _command_help(ctx: click.Context, words: Sequence[str]) -> str:
    """What ``prosect WORDS --help`` prints."""
    from engine.cli.main import main

    command: click.Command = main
    parent = ctx.parent or ctx
    for word in words:
        inner = command.commands.get(word) if isinstance(command, click.Group) else None
        if inner is None:
            raise _unknown(word, command)
        command, parent = inner, click.Context(inner, info_name=word, parent=parent)
    return command.get_help(parent)


def _unknown(word: str, command: click.Command) -> ProsectError:
    from engine.cli.main import main

    if not isinstance(command, click.Group):
        return ProsectError(
            f"`{command.name}` has no command `{one_line(word, 60)}`",
            hint=f"`prosect help {command.name}` explains it",
        )
    known = list(command.commands)
    known += [topic.name for topic in topics()] if command is main else []
    close = difflib.get_close_matches(word.lower(), known, 3)
    meant = f"did you mean {' or '.join(f'`{name}`' for name in close)}? " if close else ""
    what = "page and no command" if command is main else "command"
    return ProsectError(
        f"there is no {what} `{one_line(word, 60)}`", hint=f"{meant}`prosect help` lists them"
    )


def _overview() -> str:
    """What one can want, and the pages: side by side where there is room, else below each other."""
    width = _width()
    wanted = [(title, [(w, f"prosect {c}") for w, c in wants]) for title, wants in WANTS]
    first = max(len(want) for _, wants in wanted for want, _ in wants)
    fits = 4 + first + max(len(command) for _, wants in wanted for _, command in wants) <= width
    lines = []
    for title, wants in wanted:
        lines += [
            _bold(title),
            *(f"  {w:<{first}}  {c}" if fits else f"  {w}\n      {c}" for w, c in wants),
            "",
        ]
    lines += [_bold("Pages"), *_pages(width), ""]
    lines += textwrap.wrap(
        "`prosect --help` lists the commands, `prosect COMMAND --help` their options.", width
    )
    return "\n".join(lines) + "\n"


def _pages(width: int) -> list[str]:
    """How each page is called up, and what it is about."""
    pages = [(f"prosect help {t.name}", t.about) for t in topics() if not t.name.isdigit()]
    first = max(len(typed) for typed, _ in pages)
    lines = []
    for typed, about in pages:
        start, *rest = textwrap.wrap(about, max(width - first - 4, 20))
        lines += [f"  {typed:<{first}}  {start}", *(f"{'':{first + 4}}{line}" for line in rest)]
    return lines


def _bold(text: str) -> str:
    return click.style(text, bold=True) if _is_terminal() else text


def _show(text: str) -> None:
    """On a terminal page by page where it is longer than the screen, else at once."""
    if _is_terminal() and text.count("\n") >= shutil.get_terminal_size().lines:
        click.echo_via_pager(text)
    else:
        click.echo(text, nl=False)


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _width() -> int:
    return min(shutil.get_terminal_size((80, 24)).columns, _WIDEST)
