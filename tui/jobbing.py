"""Long work: watching jobs, asking them to stop, compiling rules and training on what came of it.

A job started here is a process of its own: quitting, a lost connection or a killed terminal leave it alone.
What only these views need is imported when they are first drawn: the first rows of a review wait for all.
"""

import shlex
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from engine.errors import StoreError
from engine.safe_text import one_line
from tui import format as fmt
from tui import prompts
from tui.lines import PaneLine
from tui.places import Place

if TYPE_CHECKING:
    from engine.views.jobs import JobDetail, JobRow, ShapedRow, TrainingCost
    from tui.desk import Desk

MAKERS = ("rules", "plan", "runs", "run", "jobs", "job")
"""Views from which a shaped dataset can be trained on."""
TICK_S = 0.5
"""How often a page about work that goes on is read again."""


class WorkLike(Protocol):
    """The jobs of a project."""

    def jobs(self) -> "tuple[JobRow, ...]":
        """All of them."""

    def job(self, ident: str) -> "JobDetail":
        """One of them."""

    def cancel_job(self, ident: str) -> str:
        """Ask it to stop."""

    def start_compile(self, name: str, stamp: str = "") -> str:
        """Compile a rule file, if it is the one with this stamp."""

    def start_training(self, ident: str, options: Sequence[str] = ()) -> str:
        """Train on a shaped dataset."""

    def shaped(self) -> "tuple[ShapedRow, ...]":
        """Shaped datasets."""

    def training_cost(self, ident: str, options: Sequence[str] = ()) -> "TrainingCost":
        """What training takes."""


@runtime_checkable
class HasWork(Protocol):
    """What a project needs to offer for jobs to exist."""

    @property
    def work(self) -> WorkLike:
        """Its jobs."""


class Overview(NamedTuple):
    """What goes on and what was made."""

    jobs: "tuple[JobRow, ...]"
    shaped: "tuple[ShapedRow, ...]"


class Jobbing:
    """Actions of jobs, and those that start them."""

    desk: "Desk"
    overview = Overview((), ())
    _job: "JobDetail | None" = None
    _gone = ""
    """A job that was looked for in vain."""
    _is_ticking = False
    _asked_at = ""
    """The view on which somebody waits for what training takes."""
    is_costing = False
    """What a training takes is being found out."""
    _known_cost: "tuple[str, Sequence[str], TrainingCost] | None" = None
    """What came while the person was elsewhere: the next ``T`` asks whether to start it."""

    @property
    def _work(self) -> WorkLike | None:
        project = self.desk.session.project
        return project.work if isinstance(project, HasWork) else None

    # -- looking ----------------------------------------------------------------------------------------

    def do_jobs(self) -> None:
        """Open the jobs."""
        if self._work is None:
            self.desk.say("this project offers no jobs here", "warn")
        else:
            self.desk.go(Place("jobs"))

    def ask_work(self) -> None:
        """Read what goes on; also what it takes to read it is imported by the thread that reads."""
        session, place = self.desk.session, self.desk.place
        project = session.project
        known = None if place.view in MAKERS else self.overview.shaped

        def overview() -> Overview | None:
            if not isinstance(project, HasWork):
                return None
            return Overview(project.work.jobs(), project.work.shaped() if known is None else known)

        def job() -> "tuple[str, JobDetail | None]":
            try:
                found = project.work.job(place.ident) if isinstance(project, HasWork) else None
            except StoreError:
                found = None  # it went without a trace, or its folder was removed
            return place.ident, found

        session.ask("work", overview)
        if place.view == "job":
            session.ask("job", job)

    def work_read(self, found: Overview | None) -> None:
        """The files were read: draw what shows them; say what ended. None: there are no jobs here."""
        if found is None:
            return
        before, self.overview = self.overview, found
        self.desk.running = tuple(j for j in found.jobs if j.state.is_alive and j.is_work)
        made = self._say_ended(before.jobs)
        self._draw_work()
        if made is not None and self.desk.place.view == "plan":
            self._stand_on(made)
        if before.jobs != found.jobs:
            self.desk.draw_status()
            if self.desk.place.view in ("runs", "run"):
                self.desk.doing.ask_runs()
        if self._is_shown and self.desk.running and not self._is_ticking:
            self._is_ticking = True
            self.desk.set_timer(TICK_S, self._tick)

    def job_read(self, ident: str, found: "JobDetail | None") -> None:
        """The job's files were read; None: there are none."""
        self._job, self._gone = found, "" if found is not None else ident
        self._draw_work()

    @property
    def _is_shown(self) -> bool:
        return self.desk.place.view in ("jobs", "job", "plan", "runs", "run")

    def _tick(self) -> None:
        self._is_ticking = False
        if self._is_shown:
            self.ask_work()

    def _stand_on(self, shaped: str) -> None:
        """Put the cursor on a shaped dataset: the next thing asked for is probably about it."""
        from tui.views.jobs import ShapedItem

        lines = self.desk.page.lines
        at = next((i for i, line in enumerate(lines) if line.item == ShapedItem(shaped)), None)
        if at is not None:
            self.desk.page.go(at)

    def _say_ended(self, before: "Sequence[JobRow]") -> str | None:
        """Say what has ended since; the shaped dataset that came of it."""
        from engine.views.jobs import JobState

        made = None
        alive = {j.ident for j in before if j.state.is_alive}
        for job in self.overview.jobs:
            if job.ident in alive and not job.state.is_alive:
                results = dict(job.results)
                if "shaped" in results:
                    made, kept = results["shaped"], int(results.get("kept", 0))
                    self.desk.say(f"compiled: shaped/{made[:12]} with {kept:,} pairs; T trains on it")
                elif job.state is JobState.FINISHED:
                    self.desk.say(f"{job.title}: finished")
                else:
                    self.desk.say(f"{job.title}: {job.state.value}: {job.message}", "error")
        return made

    def _draw_work(self) -> None:
        from tui.views.jobs import job_lines, jobs_lines

        desk = self.desk
        view = desk.place.view
        if view == "jobs":
            desk.set_page(jobs_lines(self.overview.jobs, desk.frame.page_width, desk.glyphs), keep_place=True)
        elif view == "job" and self._job is not None and self._job.row.ident == desk.place.ident:
            desk.set_page(job_lines(self._job, desk.frame.page_width, desk.glyphs), keep_place=True)
        elif view == "job" and self._gone == desk.place.ident:
            desk.set_page([PaneLine((("this job is gone", "dim"),))])
        elif view in ("plan", "runs", "run"):
            desk.draw_page(keep_place=True)

    def draw_jobs(self) -> None:
        """Lay the jobs out again."""
        self._draw_work()

    def work_lines(self, *kinds: str, titles: tuple[str, ...] = ()) -> list[PaneLine]:
        """Work of some kinds that goes on, and the last of it if it failed.

        Args:
            kinds: of the jobs.
            titles: only work that is called so, or that begins so where a title ends in a space; empty: any.
        """
        from engine.views.jobs import JobState
        from tui.views.jobs import jobs_lines

        begins = tuple(t for t in titles if t.endswith(" "))
        jobs = [
            j
            for j in self.overview.jobs
            if j.kind in kinds and (not titles or j.title in titles or j.title.startswith(begins))
        ]
        shown = [j for j in jobs if j.state.is_alive]
        if not shown and jobs and jobs[0].state is JobState.FAILED:
            shown = jobs[:1]
        lines = jobs_lines(shown, self.desk.frame.page_width, self.desk.glyphs) if shown else []
        return [*lines, PaneLine(())] if lines else []

    # -- stopping ---------------------------------------------------------------------------------------

    def do_stop_job(self) -> None:
        """Ask, then tell the job."""
        desk, work = self.desk, self._work
        item = desk.place if desk.place.view == "job" else desk.page.item
        if work is None or not isinstance(item, Place) or item.view != "job":
            desk.say("no job here", "warn")
            return
        ident = item.ident
        job = next((j for j in self.overview.jobs if j.ident == ident), None)
        if job is not None and not job.state.is_alive:
            desk.say(f"{job.title} has ended already", "warn")
            return
        is_last = job is not None and (job.is_asked_to_stop or not job.is_work)
        what = "end its process now" if is_last else "stop at a safe place"
        self.confirm(
            f"{job.title if job else ident}: {what}?",
            lambda: desk.session.write("stopped", lambda: work.cancel_job(ident), ()),
        )

    def confirm(self, question: str, then: Callable[[], None]) -> None:
        """Ask for a ``y``; enter alone means no."""
        desk = self.desk

        def done(text: str) -> None:
            if text.strip().lower() in {"y", "yes"}:
                then()
            else:
                desk.say("nothing was done")

        desk.keyboard.ask_line(
            prompts.make(f"{question} y/N ", done, cancel=lambda: desk.say("nothing was done"))
        )

    # -- starting ---------------------------------------------------------------------------------------

    def do_compile(self) -> None:
        """Ask, then write the shaped dataset of the rules that are shown."""
        desk, work = self.desk, self._work
        name, preview, draft = desk.doing.rule_name, desk.doing.preview, desk.doing.draft
        if work is None or draft is None:
            desk.say("no rule file is open", "warn")
        elif draft.unsaved:
            desk.say("what is shown is not what the file has: :write saves it, R takes the file's", "warn")
        elif not draft.stamp:
            desk.say("there is no such rule file yet: the first edit writes it", "warn")
        elif draft.n_writing:
            desk.say("the last edit is being saved; C again in a moment", "warn")
        elif preview is None or preview.stamp != draft.stamp:
            desk.say("the plan is still under way", "warn")
        elif not preview.has_plan:
            desk.say("the rules have errors: nothing to compile", "warn")
        elif not all(holds for holds, _, _ in preview.expectations):
            desk.say(
                "an expect line does not hold; `prosect compile --allow-failing` writes it anyway", "warn"
            )
        else:
            from tui.views.rules import beyond_words

            counts, stamp = dict(preview.counts), preview.stamp
            beyond = beyond_words(preview)
            self.confirm(
                f"compile {name}.rules: {counts.get('kept', 0):,} of {counts.get('total', 0):,} pairs"
                f" to shaped/, lock to rules/{name}.lock{f' ({beyond})' if beyond else ''}?",
                lambda: desk.session.write("started compile", lambda: work.start_compile(name, stamp), ()),
            )

    def do_train(self, argument: str | None = None) -> None:
        """Ask how, say what it takes, ask again, start."""
        from tui.views.jobs import ShapedItem

        desk, work = self.desk, self._work
        item = desk.page.item
        shaped = self.overview.shaped
        ident = item.ident if isinstance(item, ShapedItem) else shaped[0].ident if shaped else None
        if work is None or ident is None:
            desk.say("nothing to train on yet: C compiles the rules", "warn")
            return

        def done(text: str) -> None:
            try:
                options = shlex.split(text)
            except ValueError as error:
                desk.say(f"{text!r} cannot be read: {error}", "warn")
                return
            desk.say("asking `prosect train --dry-run` what it takes…")
            self._asked_at, self.is_costing = desk.place.view, True
            desk.session.ask("cost", lambda: (ident, options, work.training_cost(ident, options)))

        known, self._known_cost = self._known_cost, None
        if argument is not None:
            done(argument)
        elif known is not None and known[0] in {row.ident for row in shaped}:
            self._ask_start(work, *known)
        else:
            label = f"train on {ident[:12]}: options (--steps 200 --lora 8 …), enter for the project's: "
            desk.doing.ask_line("train", label, done)

    def costed(self, ident: str, options: Sequence[str], cost: "TrainingCost") -> None:
        """What the run would take is known: ask whether to start it."""
        desk, work = self.desk, self._work
        self.is_costing = False
        if work is None:
            return
        if desk.place.view != self._asked_at or desk.keyboard.prompt is not None:
            # The person went on: what is typed now is no answer to this.
            self._known_cost = (ident, options, cost)
            desk.say(
                "what the training takes is known; nothing was started: T on rules, plan, runs, jobs goes on"
            )
            return
        self._ask_start(work, ident, options, cost)

    def give_up_costing(self) -> None:
        """Nobody wants to train any more."""
        self.is_costing = False
        self.desk.session.forget("cost")
        self.desk.say("nothing was started")

    def _ask_start(self, work: WorkLike, ident: str, options: Sequence[str], cost: "TrainingCost") -> None:
        desk = self.desk
        model = one_line("/".join(PurePath(cost.model).parts[-2:]), 30) or "the reader"
        needs = "what it takes is not known"
        if cost.hours is not None and cost.memory_gb is not None:
            free = f" ({cost.free_gb:,.0f} free)" if cost.free_gb is not None else ""
            needs = f"about {fmt.clock(cost.hours * 3600)}, {cost.memory_gb:,.1f} GB{free} on {cost.device}"
        run = f"{cost.n_pairs:,} pairs, {cost.n_steps:,} steps of {cost.batch_pairs}"
        self.confirm(
            f"train {model} on {run}: {needs}?",
            lambda: desk.session.write("started train", lambda: work.start_training(ident, options), ()),
        )

    def started(self, kind: str, ident: str) -> None:
        """The process is there."""
        desk = self.desk
        desk.say(f"{ident} runs by itself, also after quitting; g j shows it")
        if kind == "train":
            desk.go(Place("runs"))
        self.ask_work()
