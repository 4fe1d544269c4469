"""The one screen: places, history, answers. Keys become actions here; ``tui/doing.py`` carries them out."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.screen import Screen

from engine.errors import ProsectError
from engine.safe_text import one_line
from engine.views.tables import Coverage, GridRow, ProjectSummary, TableSpec
from tui import answers, edges, watching
from tui.format import Glyphs
from tui.framing import Frame
from tui.keyboard import Keyboard
from tui.lines import Line, PaneLine
from tui.places import Place
from tui.review import Reviewer
from tui.rows import Opened, Wish
from tui.session import Answer, ProjectLike, Session, defect
from tui.spots import Spots
from tui.tables import TableControl
from tui.theme import Palette
from tui.views.layouts import PairOptions
from tui.widgets.bars import LineBar
from tui.widgets.grid import GridView
from tui.widgets.pane import Spot, TextPane

if TYPE_CHECKING:
    from textual.timer import Timer

    from engine.views.details import ConceptDetail, ContextDetail, PairDetail
    from engine.views.jobs import JobRow
    from tui.doing import Doing

SIDE_DELAY_S = 0.04
"""The pane beside the list is filled when the cursor has rested this long: longer than a held key repeats."""
WATCH_S = 2.0
"""How often the pointer and the journal are looked at for changes by others."""
MESSAGE_ROWS = 5
"""Lines at the bottom that a long message takes until the next key."""


class Answered(Message):
    """An answer from a worker thread."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class Desk(Screen[None]):
    """Everything a person sees."""

    DEFAULT_CSS = """
    Desk { layout: vertical; }
    #body { height: 1fr; width: 1fr; }
    #body GridView { width: 1fr; }
    #side { width: 45; }
    #page { width: 1fr; }
    #small { display: none; }
    Desk.-small #small { display: block; }
    Desk.-small #body, Desk.-small #where, Desk.-small #status, Desk.-small #bottom { display: none; }
    """
    BINDINGS = []  # noqa: RUF012 - the framework's declaration; every key goes through the one action table

    def __init__(
        self, project: ProjectLike, palette: Palette, glyphs: Glyphs, start: Place,
        warm: "Future[Opened] | None" = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.palette, self.glyphs = palette, glyphs
        self.session = Session(project, self._deliver, warm=warm)
        self.reviewer = Reviewer(self.session)
        self.keyboard = Keyboard(self)
        self.place = start
        self.past: list[Place] = []
        self.future: list[Place] = []
        self.marks: dict[str, tuple[Place, GridRow | None]] = {}
        """Places by letter; of a list also the row that was marked in it."""
        self.histories: dict[str, list[str]] = {}
        self.context_names: dict[str, str] = {}
        """Of contexts whose pages were shown: lists of their pairs say it."""
        self.summary: ProjectSummary | None = None
        self.coverage: Coverage | None = None
        self.detail: ConceptDetail | ContextDetail | PairDetail | None = None
        self._spots = Spots()
        self._spot: Spot | None = None
        self.page_place: Place | None = None
        """What the lines of the page are about: another place until those of a new one are here."""
        self.side_detail: ConceptDetail | ContextDetail | PairDetail | None = None
        self.pair_options = PairOptions()
        self.list_name = "hypotheses"
        self.frame = Frame(self)
        self.advances = project.advances
        """After a verdict the cursor goes on to the next row without one."""
        self.expanded: frozenset[str] = frozenset()
        self.beside: tuple[Place, ...] = ()
        """Places beside the one that was opened from a page."""
        self.is_seeking = False
        self.has_rest = False
        """What stands around the rows was asked for."""
        self.has_watch_failed = False
        self.names_version = project.names_version
        """Of the names that are shown: another one means that concepts are called otherwise."""
        self.running: tuple[JobRow, ...] = ()
        """Long work that goes on."""
        self.tables: dict[str, TableControl] = {}
        self._side_timer: Timer | None = None
        self._which_key: Timer | None = None
        self.message: Line = ()

    # -- setting up -------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Status, where one is, the list with its pane or a page, and the bottom line."""
        yield LineBar(self.palette, "bar", ident="status")
        yield LineBar(self.palette, ident="where")
        with Horizontal(id="body"):
            for spec in self.session.project.tables():
                yield self._make_grid(spec)
            yield TextPane(self.palette, self.glyphs, ident="page")
            yield TextPane(self.palette, self.glyphs, ident="side", is_framed=True)
        yield LineBar(self.palette, ident="small")
        yield LineBar(self.palette, ident="bottom")

    def _make_grid(self, spec: TableSpec) -> GridView:
        grid = GridView(spec, self.palette, self.glyphs, self.reviewer.shown)
        self.tables[spec.name] = TableControl(spec.name, grid, self.session)
        grid.display = False
        return grid

    def on_mount(self) -> None:
        """Ask for the first rows before anything else."""
        self.show(self.place)
        if not self.place.is_table:
            self.call_after_refresh(self._ask_rest)
        self.set_interval(WATCH_S, self._watch)
        self.app.app_resume_signal.subscribe(self, self._resumed)

    def _resumed(self, _app: object) -> None:
        """Back from the shell: the terminal shows nothing of what was drawn before."""
        self.refresh(layout=True)

    def _ask_rest(self) -> None:
        """What the first rows need not wait for."""
        self.has_rest = True
        self.ask_verdicts()
        self.session.ask("summary", self.session.project.summary)
        self.ask_coverage()
        self.session.ask("loaded", answers.load_pages)

    def _watch(self) -> None:
        self.session.ask("watch", lambda: watching.look(self.session.project))
        self.doing.ask_work()
        self.doing.watch_rules()

    def ask_verdicts(self) -> None:
        """Ask for all verdicts that hold."""
        project = self.session.project
        self.session.ask("verdicts", lambda: (project.author, project.verdicts()))

    def ask_coverage(self) -> None:
        """Count again how far the review is."""
        self.session.ask("coverage", self.session.project.coverage)

    @cached_property
    def doing(self) -> "Doing":
        """What actions do; imported when it is first needed, which is after the first rows."""
        from tui.doing import Doing

        return Doing(self)

    # -- parts ------------------------------------------------------------------------------------------

    @property
    def page(self) -> TextPane:
        """The page over the whole body."""
        return self.query_one("#page", TextPane)

    @property
    def side(self) -> TextPane:
        """The pane beside the list."""
        return self.query_one("#side", TextPane)

    @property
    def list_position(self) -> str:
        """``17/892``: the cursor's row of the list."""
        grid = self.table.grid
        return f"{grid.cursor + 1:,}/{grid.n_rows:,}" if grid.n_rows else ""

    @property
    def is_idle(self) -> bool:
        """Nothing that was asked is still under way, and nothing is about to be asked."""
        return self.is_attached and self.session.n_waiting == 0 and self._side_timer is None

    @property
    def root(self) -> str:
        """The project's folder."""
        return self.summary.folder if self.summary is not None else "."

    @property
    def table(self) -> TableControl:
        """The list that is shown, or that the page came from."""
        return self.tables[self.list_name]

    def bar(self, name: str) -> LineBar:
        """One of the lines at the edges."""
        return self.query_one(f"#{name}", LineBar)

    # -- places -----------------------------------------------------------------------------------------

    def go(self, place: Place, *, is_return: bool = False) -> None:
        """Go somewhere and remember where one was."""
        if place == self.place:
            return
        if self.place.is_table:
            self.beside = ()  # from here J and K go through the list
        self.past.append(self.place)
        self.future.clear()
        self.show(place, is_return=is_return)

    def show(self, place: Place, *, is_return: bool = False) -> None:
        """Show a place without touching the history; a page that one returns to as it was left."""
        if not self.place.is_table and self.page_place == self.place:
            self._spots.leave(self.place, self.page.spot)
        self._spot = self._spots.back(place, self.place) if is_return else None
        self.place = place
        self.keyboard.keys.reset()
        if place.is_table:
            self.list_name, self.page_place = place.view, None
        self.frame.arrange()  # first: the page's width depends on what is beside it
        if place.is_table:
            self._show_list(place)
        else:
            self.detail = None
            self.doing.ask_page()
        self.draw_where()
        self.rest()

    def _show_list(self, place: Place) -> None:
        control = self.table
        is_same = (control.wish.filter_text, control.wish.context_id) == (place.ident, place.about)
        if control.cursor is None or not is_same:
            control.open(Wish(place.ident, control.wish.sort, place.about), stay_on=control.grid.current)

    def on_resize(self, event: events.Resize) -> None:
        """Lay out for another size."""
        self.frame.resized(event.size.width, event.size.height)
        self.call_after_refresh(self.redraw_page)
        self.draw_where()
        self.draw_status()
        self.draw_bottom()  # a line that is being typed is cut for its width

    def redraw_page(self) -> None:
        """Lay the page out again for the width it has now."""
        self.draw_page(keep_place=True)
        self.draw_side(keep_place=True)

    def draw_page(self, *, keep_place: bool = False) -> None:
        """Lay out what the page shows."""
        if not self.place.is_table:
            from tui import drawing

            drawing.draw_page(self, keep_place=keep_place)

    def draw_side(self, *, keep_place: bool = False) -> None:
        """Lay out the pane beside the list or the page."""
        if self.side.display and self.has_rest:
            from tui import drawing

            drawing.draw_side(self, keep_place=keep_place)

    # -- answers ----------------------------------------------------------------------------------------

    def _deliver(self, answer: Answer) -> None:
        self.post_message(Answered(answer))

    def on_answered(self, message: Answered) -> None:
        """Take an answer over, unless a newer question has overtaken it."""
        if self.session.is_current(message.answer):
            with self.guarded():
                answers.take(self, message.answer)
                self.keyboard.take_keys()
            if not self.has_rest:
                self.call_after_refresh(self._ask_rest)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Say a defect instead of ending: what was decided is on disk, and the review can go on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the last place before the whole workstation goes
            self.complain(defect(error))

    def on_grid_view_pages_wanted(self, message: GridView.PagesWanted) -> None:
        """A grid misses rows."""
        self.tables[message.grid.spec.name].fetch(message.pages)

    def on_grid_view_moved(self, _message: GridView.Moved) -> None:
        """The cursor stands elsewhere."""
        self.draw_where()
        self.rest()

    def on_text_pane_moved(self, _message: TextPane.Moved) -> None:
        """The page's cursor stands elsewhere, or other lines are in view."""
        self.draw_where()
        if self.frame.has_preview:
            self.rest()

    def rest(self) -> None:
        """Fill the side pane once the cursor has rested."""
        if self._side_timer is not None:
            self._side_timer.stop()
            self._side_timer = None
        if (self.place.is_table or self.frame.has_preview) and self.side.display:
            self._side_timer = self.set_timer(SIDE_DELAY_S, self._rested)

    def _rested(self) -> None:
        self._side_timer = None
        self.doing.ask_side()

    # -- keys -------------------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """Every key comes here."""
        with self.guarded():
            self.keyboard.press(event)

    def on_paste(self, event: events.Paste) -> None:
        """Pasted text."""
        self.keyboard.paste(event)

    # -- the lines at the edges -------------------------------------------------------------------------

    def say(self, text: str, role: str = "text") -> None:
        """Show a message until the next key."""
        self.message = ((one_line(text, 400), role),)
        self.draw_bottom()

    def complain(self, error: ProsectError) -> None:
        """Show what went wrong and what to do."""
        hint = f"  ({error.hint})" if error.hint else ""
        self.say(f"{error.message}{hint}", "error")

    def draw_bottom(self) -> None:
        """The line being typed, else the message, else hints."""
        width = self.size.width
        if self.keyboard.prompt is not None:
            typing = self.keyboard.prompt.typing
            self.bar("bottom").set_line(
                typing.line(width), max_rows=MESSAGE_ROWS if typing.is_wordy(width) else 1
            )
        elif self.message:
            self.bar("bottom").set_line(self.message, max_rows=MESSAGE_ROWS)
        else:
            self.bar("bottom").set_line(edges.hint_line(self.keyboard.scopes, width))

    def draw_status(self) -> None:
        """The top line."""
        self.bar("status").set_line(edges.status_line(self, self.size.width))

    def draw_where(self) -> None:
        """The second line."""
        self.bar("where").set_line(edges.where_line(self))
        if self.keyboard.prompt is None and not self.message:
            self.draw_bottom()

    def set_page(self, lines: list[PaneLine], *, keep_place: bool = False) -> None:
        """Fill the page."""
        is_other, self.page_place = self.page_place != self.place, self.place
        self.page.set_lines(lines, keep_place=keep_place and not is_other)  # the place was on another page
        self.draw_where()
        if is_other and self._spot is not None:
            self.page.return_to(self._spot)
            self._spot = None
