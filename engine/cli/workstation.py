"""Starting the workstation: the first rows come while the framework is still being read."""

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ReviewError

if TYPE_CHECKING:
    from engine.api import Project
    from engine.live.browse import Browser
    from tui.rows import Opened

UNABLE = ("dumb", "unknown")
"""Terminals that the workstation does not start on: it would wait for answers that never come."""
SWITCH_S = 0.001
"""How long a thread may keep another waiting: the event loop and the readers take turns all the time."""


def open_workstation(
    project: Path,
    *,
    author: str | None = None,
    theme: str | None = None,
    ascii_only: bool = False,
    mouse: bool = True,
    tour: bool = False,
) -> None:
    """Run the app until the user quits; with ``tour`` it begins with a page about what is here."""
    from concurrent.futures import ThreadPoolExecutor

    from engine.api import Project

    terminal = os.environ.get("TERM", "")
    if terminal in UNABLE:
        raise ReviewError(
            f"a terminal of the kind `{terminal}` cannot place a cursor",
            hint="set TERM, such as TERM=xterm-256color; `prosect show` and `prosect hypotheses` need none",
        )

    gc.disable()  # what is made while starting stays; the app collects again from its first rows on
    sys.setswitchinterval(SWITCH_S)
    overrides = {"review": {"author": author}} if author else None
    with ThreadPoolExecutor(1, "prosect-first") as first, Project(project, overrides=overrides) as opened:
        browser = first.submit(_open, opened)
        rows = first.submit(_first_rows, opened)
        from tui.app import run
        from tui.places import Place

        start = Place("tour") if tour else None
        run(browser.result(), theme=theme, is_ascii=ascii_only, has_mouse=mouse, start=start, warm=rows)


def _open(project: "Project") -> "Browser":
    return project.browser


def _first_rows(project: "Project") -> "Opened":
    from tui.rows import first_rows

    return first_rows(project.browser)
