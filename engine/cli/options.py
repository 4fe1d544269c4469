"""Options that commands share."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from engine.cli.complete import projects, settings

F = TypeVar("F", bound=Callable[..., Any])


def output_options(function: F) -> F:
    """--plain and --json."""
    function = click.option(
        "--json", "as_json", is_flag=True, help="Results as one JSON document on stdout."
    )(function)
    return click.option("--plain", is_flag=True, help="Tab-separated values; progress as plain lines.")(
        function
    )


def project_argument(function: F) -> F:
    """The project folder."""
    return click.argument(
        "project", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", shell_complete=projects
    )(function)


def index_argument(function: F) -> F:
    """The project folder of a command that reads its index; says so when it is out of date."""

    @functools.wraps(function)
    def told(*args: Any, **kwargs: Any) -> Any:
        tell_if_stale(kwargs["project"], as_json=kwargs.get("as_json", False))
        return function(*args, **kwargs)

    return project_argument(told)  # type: ignore[return-value]


def tell_if_stale(project: Path, *, as_json: bool) -> None:
    """Say on stderr, once, that the index is out of date; as a note of progress where that is JSON."""
    from engine.paths import ProjectPaths
    from engine.safe_text import sanitise
    from engine.store.stale import stale_text

    text = stale_text(ProjectPaths(project))
    if text is not None:
        line = json.dumps({"stage": "", "note": text}) if as_json else f"note: {text}"
        click.echo(sanitise(line), err=True)


def set_option(function: F) -> F:
    """--set stage.key=value, as often as wanted."""
    return click.option(
        "--set", "assignments", multiple=True, metavar="STAGE.KEY=VALUE", shell_complete=settings,
        help="Override a setting of prosect.toml, for example --set stats.q=0.1; may be repeated.",
    )(function)  # fmt: skip


def parse_assignments(assignments: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """``("stats.q=0.1",)`` → ``{"stats": {"q": 0.1}}``; values are TOML, bare words are strings."""
    import tomllib

    parsed: dict[str, dict[str, Any]] = {}
    for text in assignments:
        target, separator, raw = text.partition("=")
        stage, dot, key = target.strip().partition(".")
        if not separator or not dot or not key:
            raise click.UsageError(f"--set {text}: write STAGE.KEY=VALUE, for example --set stats.q=0.1")
        try:
            value = tomllib.loads(f"value = {raw}")["value"]
        except tomllib.TOMLDecodeError:
            value = raw.strip()
        parsed.setdefault(stage, {})[key] = value
    return parsed
