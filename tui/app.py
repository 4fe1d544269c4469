"""The workstation: ``run(project)`` opens it. Wiring only."""

import asyncio
import gc
import os
import signal
import sys
import termios
import threading
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.app import App
from textual.binding import BindingType

from tui.desk import Desk
from tui.format import ASCII, UNICODE
from tui.places import Place
from tui.session import ProjectLike
from tui.theme import choose_palette

if TYPE_CHECKING:
    from tui.rows import Opened


class Workstation(App[None]):
    """One screen, no palette, no animation: what the framework would draw unasked is off."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = []
    INHERIT_BINDINGS = False

    def __init__(
        self,
        project: ProjectLike,
        *,
        theme: str | None = None,
        is_ascii: bool = False,
        start: Place | None = None,
        warm: "Future[Opened] | None" = None,
    ) -> None:
        super().__init__()
        is_ascii = is_ascii or bool(os.environ.get("PROSECT_ASCII"))
        palette = replace(choose_palette(theme, os.environ), is_ascii=is_ascii)
        self.theme = palette.textual_theme
        self.animation_level = "none"
        glyphs = ASCII if is_ascii else UNICODE
        self.desk = Desk(project, palette, glyphs, start or Place("hypotheses"), warm)

    def get_default_screen(self) -> Desk:
        """The desk is the first screen: laying out an empty one before it would cost as much."""
        return self.desk

    def on_ready(self) -> None:
        """Collect garbage again: what is here by now stays, and is no longer looked through."""
        gc.freeze()
        gc.enable()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGHUP, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, self._end, number)

    def _end(self, number: int) -> None:
        """Told to end: what was decided gets to disk; the terminal, if it is still there, is given back."""
        self.desk.session.close()
        try:
            termios.tcgetattr(2)
        except (OSError, termios.error):  # hung up: nobody reads what leaving would write
            os._exit(128 + number)
        self.exit(return_code=128 + number)

    def on_unmount(self) -> None:
        """Let go of everything again: the database complains about connections that are never collected."""
        gc.unfreeze()


def run(
    project: ProjectLike, *, theme: str | None = None, is_ascii: bool = False, has_mouse: bool = True,
    start: Place | None = None, warm: "Future[Opened] | None" = None,
) -> None:  # fmt: skip
    """Open the workstation on a project and return when the person quits.

    Args:
        project: the façade.
        theme: terminal, dark, light or mono; None: by the environment.
        is_ascii: draw with ASCII only.
        has_mouse: let the terminal report the mouse.
        start: where to begin; None: the hypotheses.
        warm: the first rows, where they were asked for already.
    """
    for name in ("COLUMNS", "LINES"):  # exported by some shells; the framework would believe them for ever
        os.environ.pop(name, None)
    app = Workstation(project, theme=theme, is_ascii=is_ascii, start=start, warm=warm)
    try:
        app.run(mouse=has_mouse)
    finally:
        app.desk.session.close()  # also after a failure: what was decided gets to disk, questions are let go
    if app.return_code:
        sys.exit(app.return_code)
