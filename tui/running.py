"""Watching training runs: read again while one is shown and running, never touched but for the stop flag.

What only this view needs is imported when it is first drawn: the first rows wait for every module.
"""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tui import prompts
from tui.places import Place

if TYPE_CHECKING:
    from engine.run_views import RunDetail, RunRow
    from tui.desk import Desk

SMOOTHINGS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)
TICK_S = 1.0


@runtime_checkable
class RunsLike(Protocol):
    """What a project needs to offer for the runs view to exist."""

    def runs(self) -> "tuple[RunRow, ...]":
        """All runs."""

    def run(self, ident: str) -> "RunDetail":
        """One run."""

    def stop_run(self, ident: str) -> None:
        """Ask it to stop."""


class Running:
    """Actions of the runs view."""

    desk: "Desk"

    def __init__(self) -> None:
        super().__init__()
        self._smoothing = 0
        self._is_due = False
        self._run: RunDetail | None = None
        self._rows: tuple[RunRow, ...] = ()

    def do_runs(self) -> None:
        """Open the runs."""
        if isinstance(self.desk.session.project, RunsLike):
            self.desk.go(Place("runs"))
        else:
            self.desk.say("this project offers no runs here", "warn")

    def ask_runs(self) -> None:
        """Read what is shown."""
        project, place = self.desk.session.project, self.desk.place
        if not isinstance(project, RunsLike):
            return
        if place.view == "runs":
            self.desk.session.ask("runs", project.runs)
        else:
            self.desk.session.ask("run", lambda: project.run(place.ident))

    def runs_read(self, found: "tuple[RunRow, ...] | RunDetail") -> None:
        """The files were read."""
        from engine.run_views import RunDetail, RunState

        rows = (found.row,) if isinstance(found, RunDetail) else found
        if isinstance(found, RunDetail):
            self._run = found
        else:
            self._rows = found
        self.draw_runs()
        if any(r.state is RunState.RUNNING for r in rows) and not self._is_due:
            self._is_due = True
            self.desk.set_timer(TICK_S, self._look_again)

    def _look_again(self) -> None:
        self._is_due = False
        if self.desk.place.view in ("runs", "run"):
            self.ask_runs()

    def draw_runs(self) -> None:
        """Lay the runs or the run out."""
        from tui.views.runs import run_lines, runs_lines

        desk = self.desk
        if desk.place.view == "runs":
            lines = runs_lines(self._rows, desk.page_width, desk.glyphs)
            desk.set_page([*desk.doing.work_lines("train", "outcome"), *lines], keep_place=True)
        elif self._run is not None and self._run.row.ident == desk.place.ident:
            lines = run_lines(self._run, desk.page_width, desk.glyphs, SMOOTHINGS[self._smoothing])
            desk.set_page(lines, keep_place=True)

    def do_smoother(self) -> None:
        """Smooth more."""
        self._smoothing = min(self._smoothing + 1, len(SMOOTHINGS) - 1)
        self.draw_runs()

    def do_rougher(self) -> None:
        """Smooth less."""
        self._smoothing = max(self._smoothing - 1, 0)
        self.draw_runs()

    def do_stop_run(self) -> None:
        """Ask, then set the flag."""
        desk, project = self.desk, self.desk.session.project
        item = desk.page.item if desk.place.view == "runs" else desk.place
        if not isinstance(project, RunsLike) or not isinstance(item, Place) or item.view != "run":
            desk.say("no run here", "warn")
            return
        ident = item.ident

        def done(text: str) -> None:
            if text.strip().lower() in {"y", "yes"}:
                desk.session.ask("stopped", lambda: project.stop_run(ident))
                desk.say(f"run {ident} saves and stops at its next step")
            else:
                desk.say("nothing was stopped")

        desk.keyboard.ask_line(prompts.make(f"stop run {ident} after saving? y/N ", done))
