"""Copying over SSH and tmux, the shell command of a place, redrawing, suspending, quitting."""

import os
import shlex
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import RuleError
from engine.safe_text import one_line
from tui import watching
from tui.places import Place
from tui.prompts import LOOKING
from tui.yank import yank

if TYPE_CHECKING:
    from textual.app import App

    from tui.desk import Desk


def edit_outside(app: "App[object]", path: Path) -> None:
    """Open a file in the person's own editor; the workstation waits.

    Raises:
        RuleError: there is no such editor.
    """
    words = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    if not words or shutil.which(words[0]) is None:
        raise RuleError("no editor was found", hint="set EDITOR")
    with app.suspend():
        subprocess.run([*words, str(path)], check=False)  # noqa: S603 - the person's own editor


class Tools:
    """Actions that neither move nor decide."""

    desk: "Desk"
    _last_cancel: float = -1e9
    _wants_out = False

    def _ident(self) -> str:
        desk = self.desk
        if not desk.place.is_table:
            return desk.place.ident
        row = desk.table.grid.current
        return row.ident if row is not None else ""

    def do_yank_id(self) -> None:
        """Copy the id."""
        self._yank(self._ident(), "id")

    def do_yank_row(self) -> None:
        """Copy the row."""
        grid = self.desk.table.grid
        row = grid.current
        if row is not None:
            self._yank("\t".join(grid.cell_text(row, c) for _, c, _ in grid.columns()), "row")

    def do_yank_name(self) -> None:
        """Copy the name."""
        name = getattr(self.desk.detail, "name", "")
        row = self.desk.table.grid.current
        if self.desk.place.is_table and row is not None and self.desk.list_name == "hypotheses":
            name = str(row.values[self.desk.table.grid.spec.index("concept")])
        self._yank(one_line(name), "name")

    def do_yank_page(self) -> None:
        """Copy the page."""
        desk = self.desk
        self._yank(desk.side.plain_text() if desk.place.is_table else desk.page.plain_text(), "page")

    def _spot(self) -> Place:
        """Where the person is: the shaped dataset under the cursor, else the view."""
        from tui.views.jobs import ShapedItem

        item = self.desk.page.item if not self.desk.place.is_table else None
        return Place("shaped", item.ident) if isinstance(item, ShapedItem) else self.desk.place

    def _shell(self) -> str:
        place, name = self._spot(), self.desk.doing.rule_name
        going_on = self.desk.doing.resume_command(place.ident) if place.view == "run" else ""
        if going_on:
            return going_on
        if place.view in ("rules", "plan") and not place.ident:
            place = replace(place, ident=name)
        sort = self.desk.table.wish.sort if place.is_table else ()
        return place.shell(self.desk.root, ",".join(f"{'-' * key.descending}{key.column}" for key in sort))

    def do_yank_shell(self) -> None:
        """Copy the shell command."""
        self._yank(self._shell(), "command")

    def _yank(self, text: str, what: str) -> None:
        if not text:
            self.desk.say(f"no {what} to copy here", "warn")
            return
        desk = self.desk
        # tmux and the file may be slow on a busy machine: nobody waits for them on the screen.
        desk.session.ask("yank", lambda: (what, text, yank(text, self._to_terminal)), is_slow=True)

    def _to_terminal(self, text: str) -> None:
        app = self.desk.app
        app.call_from_thread(app.copy_to_clipboard, text)

    def yanked(self, what: str, text: str, places: str) -> None:
        """It is copied."""
        self.desk.say(f"{what} copied to {places}: {one_line(text, 60)}")

    def do_shell_command(self) -> None:
        """Show the shell command."""
        self.desk.say(self._shell(), "key")

    def do_reload(self) -> None:
        """Look for changes now."""
        self.desk.doing.strip_failure = None
        self.desk.doing.ask_strip()
        project = self.desk.session.project
        self.desk.session.ask("watch", lambda: watching.look(project))
        if self.desk.place.is_table:
            self.desk.table.filter_by(self.desk.table.wish.filter_text)
        self.desk.say(LOOKING[0][0], LOOKING[0][1])

    def do_redraw(self) -> None:
        """Draw everything again."""
        self.desk.refresh(layout=True)
        self.desk.draw_page(keep_place=True)

    def do_cancel(self) -> None:
        """Cancel what runs; twice within a second: quit."""
        desk = self.desk
        now = time.monotonic()
        if now - self._last_cancel < 1.0:
            self.do_quit()
            return
        self._last_cancel = now
        desk.session.cancel()
        for control in desk.tables.values():
            control.failed()
        desk.is_seeking = desk.doing.is_costing = False
        desk.keyboard.keys.reset()
        desk.say("cancelled; ctrl+c again quits")

    def do_suspend(self) -> None:
        """To the shell."""
        self.desk.app.action_suspend_process()

    def do_quit(self) -> None:
        """Quit once every write is on disk; rules that cannot be written go only after a yes."""
        doing = self.desk.doing
        self._wants_out = doing.is_saving_rules
        if self._wants_out:
            self.desk.say("quitting once the rules are saved")
            return
        lost = ", ".join(f"{name}.rules" for name in doing.unsaved_rules)
        if lost:
            doing.confirm(f"edits of {lost} are NOT SAVED: quit and lose them?", self.quit_now)
        else:
            self.quit_now()

    def quit_if_saved(self) -> None:
        """Go on with quitting that waited for a save."""
        if self._wants_out:
            self.do_quit()

    def quit_now(self) -> None:
        """Quit, whatever is not saved."""
        self.desk.session.close()
        self.desk.app.exit()
