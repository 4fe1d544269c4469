"""Showing rules: the files that are open, what a text would do, and changes by others underneath."""

from dataclasses import replace
from typing import TYPE_CHECKING

from engine.views.details import PairDetail
from tui.lines import Span
from tui.moving import Moving
from tui.places import Place
from tui.rule_source import Completer, RulesLike, first, look
from tui.rulebook import Draft, Rulebook
from tui.views.moves import Moves, fits
from tui.views.rule_start import start_lines
from tui.views.rules import RuleLine, plan_lines, rule_lines

if TYPE_CHECKING:
    from engine.views.rules import ConceptShift, LeftOut, PairFate, PlanPreview, RuleText
    from tui.desk import Desk

DEFAULT_NAME = "main"
WATCHED = ("rules", "plan", "concept")
"""Views that show what a rule file does: changes of it by others are looked for there."""


class Ruling(Moving):
    """The rules and the plan as they are shown."""

    desk: "Desk"

    def __init__(self) -> None:
        super().__init__()
        self.drafts: dict[str, Draft] = {}
        """Rule files that were opened; edits of one outlast a look at another."""
        self.rule_name = ""
        self.fate: tuple[int, str, PairFate | None] | None = None
        self.preview: PlanPreview | None = None
        self.good: PlanPreview | None = None
        """The last plan of a text of this file without errors."""
        self.completer: Completer | None = None
        self.moves: Moves | None = None
        """Which statements move the concepts of ``preview``; None: nobody asked yet."""
        self.typed: Rulebook | None = None
        """The file with the line that is being typed."""
        self.files: tuple[str, ...] = ()
        """Rule files on disk, as last looked up."""
        self._step = 0
        """The question about the next one; 0: none is asked."""
        self._planned = ""
        """The text that ``preview`` is of."""

    @property
    def _rules(self) -> RulesLike | None:
        project = self.desk.session.project
        return project if isinstance(project, RulesLike) else None

    @property
    def draft(self) -> Draft | None:
        """The file that is shown, once it was read."""
        return self.drafts.get(self.rule_name)

    @property
    def book(self) -> Rulebook:
        """Its text."""
        return self.draft.book if self.draft is not None else Rulebook()

    # -- going there ------------------------------------------------------------------------------------

    def do_rules(self) -> None:
        """Open the rules."""
        if self._rules is None:
            self.desk.say("this project offers no rules here", "warn")
            return
        self.desk.go(Place("rules", self.rule_name))

    def do_plan(self) -> None:
        """Open the plan of the rules."""
        if self._rules is None:
            self.desk.say("this project offers no rules here", "warn")
            return
        self.desk.go(Place("plan", self.rule_name))

    def do_rule_file(self, argument: str | None = None) -> None:
        """Open or begin another file."""
        if argument is None:
            self.ask_known_files()
            self.ask_line(
                "rule-file", "rule file: ", lambda text: self.do_rule_file(text.strip()),
                complete=lambda text: next((n for n in self.known_files() if n.startswith(text)), None),
                hint=lambda text: "  ".join(n for n in self.known_files() if n.startswith(text)),
            )  # fmt: skip
        elif argument:
            self.desk.go(Place("rules", argument))

    def ask_known_files(self) -> None:
        """Which files there are, for whoever types the name of one."""
        if self._rules is not None:
            self.desk.session.ask("rule-files", self._rules.rule_files)

    def known_files(self) -> list[str]:
        """Files on disk as far as they are known, and those begun here."""
        return sorted({*self.files, *self.drafts})

    def ask_rules(self) -> None:
        """Read the file of the place one is at; what stands here of one that is open is kept."""
        rules, wanted = self._rules, self.desk.place.ident or self.rule_name
        if rules is None:
            return
        self.desk.session.ask("completer", rules.rule_completer, is_slow=True)
        if wanted in self.drafts:
            self._turn_to(wanted)
            self.watch_rules()
            return

        def question() -> "RuleText":
            names = rules.rule_files()
            return rules.read_rules(wanted or (names[0] if names else DEFAULT_NAME))

        self.desk.session.ask("rules", question)

    def ask_effect(self) -> None:
        """What the rules, open ones or else the first file, do to the concept that is shown."""
        rules = self._rules
        if rules is None or self.draft is not None:
            self.ask_moves()
            return
        self.desk.session.ask("effect", lambda: first(rules))

    def effect_read(self, found: "RuleText | None") -> None:
        """The first rule file is here, unless somebody opened one meanwhile."""
        if found is not None and self.draft is None:
            self.rules_read(found)

    def rules_read(self, found: "RuleText") -> None:
        """The file is here; of one that is open, undo brings back what stood here before."""
        draft = self.drafts.get(found.name)
        if draft is None:
            self.drafts[found.name] = Draft.of(found)
        elif draft.n_writing:
            return  # edited since it was asked for
        else:
            is_same = found.text == draft.text
            draft.took(found, draft.book.change(Rulebook.of(found.text).lines))
            self.desk.say("read again: the same" if is_same else f"read again; {self._way_back}")
        self._turn_to(found.name)

    def _turn_to(self, name: str) -> None:
        if name != self.rule_name:
            self.rule_name, self.preview, self.good = name, None, None
        place = self.desk.place
        if place.view in ("rules", "plan") and not place.ident:
            self.desk.place = replace(place, ident=name)  # going back leads to this file, not to the latest
        self.draw_rules()
        self.ask_preview()

    @property
    def _way_back(self) -> str:
        """How to undo a change of the text; in the plan, `u` is about verdicts."""
        is_here = self.desk.place.view == "rules"
        return f"u{'' if is_here else ' in the rules'} brings back what stood here"

    # -- changes by others ------------------------------------------------------------------------------

    def watch_rules(self) -> None:
        """Look whether the file that is shown is still the one that was read."""
        rules, name, draft = self._rules, self.rule_name, self.draft
        if rules is None or draft is None or self.desk.place.view not in WATCHED:
            return
        known = draft.stamp

        self.desk.session.ask("rules-watch", lambda: look(rules, name, known))

    def rules_looked_at(self, answer: "tuple[str, RuleText] | None") -> None:
        """The file as it is now: take it over where nothing stands here alone, else offer both."""
        if answer is None or self.desk.keyboard.prompt is not None:
            return  # a line that is being typed goes by its number
        known, found = answer
        draft = self.drafts[found.name]
        if draft.n_writing or draft.stamp != known:
            return  # saved since it was asked for
        seen = draft.elsewhere.stamp if draft.elsewhere is not None else draft.stamp
        if found.stamp == seen:
            return
        file = f"{found.name}.rules"
        if not found.stamp and self.desk.place.view == "concept":
            return  # nobody looks at the file here: the rules say so
        if not found.stamp:
            draft.stamp, draft.unsaved, draft.elsewhere = "", "the file is gone", None
            self.desk.say(f"{file} is gone; :write writes it again, R begins anew", "warn")
        elif found.text == draft.text:
            draft.took(found, draft.book)
        elif draft.unsaved and draft.is_edited:
            draft.elsewhere = found
            self.desk.say(f"{file} was changed elsewhere too: R takes that, :write writes yours", "warn")
        else:
            draft.took(found, draft.book.change(Rulebook.of(found.text).lines))
            self.desk.say(f"{file} was changed elsewhere and read again; {self._way_back}")
            if found.name == self.rule_name:
                self.ask_preview()
        self.draw_rules()

    # -- drawing ----------------------------------------------------------------------------------------

    def ask_preview(self, text: str | None = None) -> None:
        """Plan a text: the file's, or one that is being typed."""
        rules, draft = self._rules, self.draft
        if rules is not None and draft is not None:
            whole, name = text if text is not None else draft.text, self.rule_name
            question = lambda: (whole, rules.plan_preview(whole, name))  # noqa: E731
            self.desk.session.ask("preview", question, is_slow=True)

    def previewed(self, text: str, preview: "PlanPreview") -> None:
        """The plan is here."""
        before = self.preview
        self.preview, self._planned, self._step = preview, text, 0
        if before is None or (before.stamp, before.shifts) != (preview.stamp, preview.shifts):
            self.moves = None
        if preview.has_plan:
            self.good = preview
        self.ask_moves()
        if self.desk.place.view in ("rules", "plan"):
            self.draw_rules()
        else:
            self.desk.draw_page(keep_place=True)

    def ask_moves(self) -> None:
        """Leave out the next statement of what was planned: one at a time, while somebody looks at it."""
        rules, preview, text, session = self._rules, self.preview, self._planned, self.desk.session
        is_due = preview is not None and preview.has_plan and self.desk.keyboard.prompt is None
        is_shown = self.desk.place.view in ("rules", "plan", "concept")
        if rules is None or not is_due or not is_shown:
            return
        if self.moves is None:
            self.moves = Moves()
        number, name = len(self.moves.found), self.rule_name
        if not self.moves.is_whole and not (self._step and session.is_latest("left-out", self._step)):
            question = lambda: (preview, rules.left_out(text, number, name))  # noqa: E731
            self._step = session.ask("left-out", question, is_slow=True)

    def left_out(self, preview: "PlanPreview", found: "LeftOut | None") -> None:
        """One more statement was left out; None: no statement can move anything."""
        if preview is not self.preview or self.moves is None:
            return
        self._step = 0
        if found is not None and not fits(found, preview):
            self.moves = None
            self.ask_preview(self._planned)  # a verdict or name was given since it was planned
            return
        self.moves = self.moves.plus(found) if found is not None else Moves(n=0)
        self.desk.draw_page(keep_place=True)
        self.ask_moves()

    def open_statement(self, line: int) -> None:
        """Go to a line (from 1) of the file that was planned."""
        desk = self.desk
        desk.go(Place("rules", self.rule_name))
        at = next((i for i, x in enumerate(desk.page.lines) if x.item == RuleLine(line - 1)), None)
        if at is not None:
            desk.page.go(at)

    def draw_rules(self) -> None:
        """Lay the file and its plan out."""
        desk = self.desk
        has_side = desk.side.display
        width = desk.frame.page_width
        side = desk.frame.side_width - 2 if has_side else width
        if desk.place.view == "plan":
            from tui.views.jobs import shaped_lines

            made = shaped_lines(desk.doing.overview.shaped, desk.frame.page_width)
            lines = plan_lines(
                self.preview, width, desk.glyphs, good=self.good, n_shifts=500, made=made, is_alone=True,
                moves=self.moves, expanded=desk.expanded,
            )  # fmt: skip
            desk.set_page([*desk.doing.work_lines("compile"), *lines], keep_place=True)
        elif desk.place.view == "rules":
            plan = plan_lines(
                self.preview, side, desk.glyphs, good=self.good, moves=self.moves,
                expanded=None if has_side else desk.expanded,
            )  # fmt: skip
            book = self.typed or self.book
            # of a text with more or fewer lines: nothing of it stands beside these
            is_of_these = self._planned.count("\n") == book.text.count("\n")
            lines = rule_lines(book, self.preview if is_of_these else None, width)
            if self.typed is None and book.is_empty:
                lines += start_lines(width)
            desk.set_page(lines if has_side else [*lines, *plan], keep_place=True)
            if has_side:
                desk.side.way_to_rest = "g l"
                desk.side.set_lines(plan, keep_place=True)
                desk.side.cursor = -1
        desk.draw_where()

    def rule_state(self) -> list[Span]:
        """How what is shown stands to its file, for the line that says where one is."""
        draft = self.draft
        if draft is None:
            return [("  working…", "dim")]
        if draft.unsaved:
            way_out = "R takes the file's, :write writes yours" if draft.elsewhere else ":write tries again"
            return [("  NOT SAVED", "error"), (f"  {way_out}", "warn")]
        n = len(draft.book.past)
        edits = f", {n:,} edit{'s' if n != 1 else ''} can be taken back" if n else ""
        if draft.n_writing:
            return [(f"  saving…{edits}", "dim")]
        return [(f"  saved{edits}" if draft.stamp else "  no such file yet; the first edit writes it", "dim")]

    # -- on other pages ---------------------------------------------------------------------------------

    def ask_fate(self, pair: int) -> None:
        """What the rules do to a pair: those being edited, else the first file there is."""
        rules, draft = self._rules, self.draft
        name, text = self.rule_name, draft.text if draft is not None else ""
        if rules is None:
            return

        def question() -> "tuple[int, str, PairFate | None] | None":
            names = rules.rule_files()
            if draft is None and not names:
                return None
            known = name if draft is not None else names[0]
            now = text if draft is not None else rules.read_rules(known).text
            fate = rules.pair_fate(now, pair, known)
            return pair, known, fate

        self.desk.session.ask("fate", question, is_slow=True)

    def fated(self, found: "tuple[int, str, PairFate | None] | None") -> None:
        """The fate is here."""
        detail = self.desk.detail
        if found is not None and isinstance(detail, PairDetail) and detail.pair == found[0]:
            self.fate = found
            self.desk.draw_page(keep_place=True)

    def shift_of(self, concept_id: str) -> "ConceptShift | None":
        """What the rules do to a concept, as last planned."""
        shifts = self.preview.shifts if self.preview is not None else ()
        return next((s for s in shifts if s.concept_id == concept_id), None)
