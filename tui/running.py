"""Watching training runs: read again while one is shown and running; stopping, resuming, measuring them.

What only this view needs is imported when it is first drawn: the first rows wait for every module.
"""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tui.places import Place

if TYPE_CHECKING:
    from engine.views.runs import RunDetail, RunRow
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

    def resume_run(self, ident: str) -> str:
        """Go on with it; the job's id."""

    def start_outcome(self, ident: str, against: str = "") -> str:
        """Measure what it changed, since the start or against another run; the job's id."""


class Running:
    """Actions of the runs view."""

    desk: "Desk"

    def __init__(self) -> None:
        super().__init__()
        self._smoothing = 0
        self._is_due = False
        self._run: RunDetail | None = None
        self._rows: tuple[RunRow, ...] | None = None
        """None: not read yet."""

    def do_runs(self) -> None:
        """Open the runs."""
        if isinstance(self.desk.session.project, RunsLike):
            self.desk.go(Place("runs"))
        else:
            self.desk.say("this project offers no runs here", "warn")

    def other_finished(self) -> list[str]:
        """Runs that the one here could be measured against, as far as they were read."""
        from engine.views.runs import RunState

        item = self.desk.page.item
        here = item.ident if isinstance(item, Place) else self.desk.place.ident
        rows = [r for r in self._rows or () if r.state is RunState.FINISHED]
        return [r.ident for r in rows if r.ident != here]

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
        from engine.views.runs import RunDetail, RunState

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
        from engine.views.jobs import outcome_title
        from tui.views.runs import run_lines, runs_lines

        desk = self.desk
        if desk.place.view == "runs" and self._rows is not None:
            work = desk.doing.work_lines("train", "outcome")
            is_coming = any(job.kind == "train" for job in desk.running)
            rows = (
                runs_lines(self._rows, desk.frame.page_width, desk.glyphs)
                if self._rows or not is_coming
                else []
            )
            desk.set_page([*work, *rows], keep_place=True)
        elif self._run is not None and self._run.row.ident == desk.place.ident:
            title = outcome_title(desk.place.ident)
            work = desk.doing.work_lines("outcome", titles=(title, f"{title} against "))
            lines = run_lines(self._run, desk.frame.page_width, desk.glyphs, SMOOTHINGS[self._smoothing])
            desk.set_page([*work, *lines], keep_place=True)

    def resume_command(self, ident: str) -> str:
        """The shell command that goes on with the run that is shown; empty where there is nothing to do."""
        return self._run.command if self._run is not None and self._run.row.ident == ident else ""

    def do_smoother(self) -> None:
        """Smooth more."""
        self._smooth(1)

    def do_rougher(self) -> None:
        """Smooth less."""
        self._smooth(-1)

    def _smooth(self, by: int) -> None:
        wanted = self._smoothing + by
        if self.desk.place.view != "run":
            self.desk.say("curves are on the page of a run: enter opens it", "warn")
        elif not 0 <= wanted < len(SMOOTHINGS):
            self.desk.say(f"the curves cannot be {'smoother' if by > 0 else 'rougher'} than this")
        else:
            self._smoothing = wanted
            self.draw_runs()

    def _here(self) -> "tuple[RunsLike, RunRow] | None":
        """The run that is shown or under the cursor."""
        desk, project = self.desk, self.desk.session.project
        item = desk.page.item if desk.place.view == "runs" else desk.place
        one = (self._run.row,) if self._run is not None else ()
        rows = (self._rows or ()) if desk.place.view == "runs" else one
        ident = item.ident if isinstance(item, Place) and item.view == "run" else None
        row = next((r for r in rows if r.ident == ident), None)
        if not isinstance(project, RunsLike) or row is None:
            desk.say("no run here", "warn")
            return None
        return project, row

    def do_resume_run(self) -> None:
        """Ask, then go on with a run that ended early."""
        found = self._here()
        if found is None:
            return
        project, row = found
        if not row.state.can_go_on:
            self.desk.say(f"run {row.ident} is {row.state.value}: there is nothing to go on with", "warn")
            return
        self.desk.doing.confirm(
            f"go on with run {row.ident} from its last save before step {row.step:,} of {row.of or 0:,}?",
            lambda: self.desk.session.write("started resume", lambda: project.resume_run(row.ident), ()),
        )

    def do_outcome(self, argument: str | None = None) -> None:
        """Ask, then measure what a finished run changed, since its start or against another run."""
        from engine.views.jobs import outcome_title
        from engine.views.runs import RunState

        found, against = self._here(), argument or ""
        if found is None:
            return
        project, row = found
        title = outcome_title(row.ident, against)
        if row.state is not RunState.FINISHED:
            self.desk.say(f"run {row.ident} is {row.state.value}: its outcome needs a finished one", "warn")
        elif any(job.title == title for job in self.desk.running):
            self.desk.say(f"the {title} is being measured already", "warn")
        else:
            again = " again" if (against in row.against if against else row.has_outcome) else ""
            what = "both" if against else "held-out prompts before and after"
            self.desk.doing.confirm(
                f"{title}{again}: sample and read {what}?",
                lambda: self.desk.session.write(
                    "started outcome", lambda: project.start_outcome(row.ident, against), ()
                ),
            )

    def do_stop_run(self) -> None:
        """Ask, then set the flag; on a job above the runs: tell the job."""
        item = self.desk.page.item
        if self.desk.place.view == "runs" and isinstance(item, Place) and item.view == "job":
            self.desk.doing.do_stop_job()
            return
        found = self._here()
        if found is None:
            return
        project, row = found

        def stop() -> None:
            self.desk.session.ask("stopped", lambda: project.stop_run(row.ident))
            self.desk.say(f"run {row.ident} saves and stops at its next step")

        self.desk.doing.confirm(f"stop run {row.ident} after saving?", stop)
