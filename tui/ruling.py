"""Writing rules: every edit is saved and planned at once; undo takes edits back."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from engine.detail_views import PairDetail
from engine.errors import ProsectError
from tui.moving import Moving
from tui.places import Place
from tui.rulebook import Rulebook
from tui.tools import edit_outside
from tui.views.rules import RuleLine, plan_lines, rule_lines

if TYPE_CHECKING:
    from engine.rule_views import ConceptShift, PairFate, PlanPreview, RuleText
    from tui.desk import Desk

DEFAULT_NAME = "main"


@runtime_checkable
class RulesLike(Protocol):
    """What a project needs to offer for the rules view to exist."""

    def rule_files(self) -> tuple[str, ...]:
        """Names."""

    def read_rules(self, name: str) -> "RuleText":
        """A file, or the beginnings of a new one."""

    def save_rules(self, name: str, text: str, stamp: str) -> "RuleText":
        """Save unless the file changed elsewhere."""

    def rules_path(self, name: str) -> Path:
        """Where a file lies."""

    def plan_preview(self, text: str) -> "PlanPreview":
        """What a text would do."""

    def missing_rules(self, text: str) -> tuple[str, ...]:
        """Statements for verdicts that the text does not mention."""

    def pair_fate(self, text: str, pair: int) -> "PairFate | None":
        """What a text does to one pair."""


class Ruling(Moving):
    """Actions of the rules view."""

    desk: "Desk"

    def __init__(self) -> None:
        super().__init__()
        self.book = Rulebook()
        self.rule_name = ""
        self.fate: tuple[int, str, PairFate | None] | None = None
        self.preview: PlanPreview | None = None
        self.unsaved: str | None = None
        """Why the last edit is not on disk."""
        self._stamps: dict[str, str] = {}

    @property
    def _rules(self) -> RulesLike | None:
        project = self.desk.session.project
        return project if isinstance(project, RulesLike) else None

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
            self.ask_line("rule-file", "rule file: ", lambda text: self.do_rule_file(text.strip()))
        elif argument:
            self.rule_name, self.preview = argument, None
            self.desk.go(Place("rules", argument))

    def ask_rules(self) -> None:
        """Read the file of the place one is at."""
        rules, wanted = self._rules, self.desk.place.ident
        if rules is None:
            return
        if wanted and wanted == self.rule_name and self._stamps.get(wanted) is not None:
            self.draw_rules()
            self.ask_preview()
            return

        def question() -> "RuleText":
            names = rules.rule_files()
            return rules.read_rules(wanted or (names[0] if names else DEFAULT_NAME))

        self.desk.session.ask("rules", question)

    def rules_read(self, found: "RuleText") -> None:
        """The file is here."""
        self.book, self.rule_name = Rulebook.of(found.text), found.name
        self._stamps[found.name] = found.stamp
        self.draw_rules()
        self.ask_preview()

    def ask_preview(self, text: str | None = None) -> None:
        """Plan a text: the file's, or one that is being typed."""
        rules, whole = self._rules, text if text is not None else self.book.text
        if rules is not None:
            self.desk.session.ask("preview", lambda: rules.plan_preview(whole), is_slow=True)

    def previewed(self, preview: "PlanPreview") -> None:
        """The plan is here."""
        self.preview = preview
        if self.desk.place.view in ("rules", "plan"):
            self.draw_rules()
        else:
            self.desk.draw_page(keep_place=True)

    def draw_rules(self) -> None:
        """Lay the file and its plan out."""
        desk = self.desk
        has_side = desk.side.display
        width = desk.page_width
        plan = plan_lines(self.preview, desk.side_width - 2 if has_side else width, desk.glyphs)
        if desk.place.view == "plan":
            from tui.views.jobs import shaped_lines

            made = shaped_lines(desk.doing.overview.shaped, desk.page_width)
            lines = plan_lines(self.preview, desk.page_width, desk.glyphs, n_shifts=500, made=made)
            desk.set_page([*desk.doing.work_lines("compile"), *lines], keep_place=True)
        elif desk.place.view == "rules":
            lines = rule_lines(self.book, self.preview, width)
            desk.set_page(lines if has_side else [*lines, *plan], keep_place=True)
            if has_side:
                desk.side.set_lines(plan, keep_place=True)
                desk.side.cursor = -1
        desk.draw_where()

    def ask_fate(self, pair: int) -> None:
        """What the rules do to a pair: those being edited, else the first file there is."""
        rules, name, text = self._rules, self.rule_name, self.book.text
        if rules is None:
            return

        def question() -> "tuple[int, str, PairFate | None] | None":
            names = rules.rule_files()
            if not name and not names:
                return None
            known = name or names[0]
            fate = rules.pair_fate(text if name else rules.read_rules(known).text, pair)
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

    # -- editing ----------------------------------------------------------------------------------------

    def _line(self) -> int:
        item = self.desk.page.item
        return item.number if isinstance(item, RuleLine) else len(self.book.lines) - 1

    def _put(self, book: Rulebook, line: int | None = None) -> None:
        """Show an edited text, save it, plan it."""
        rules, name = self._rules, self.rule_name
        if rules is None or book.lines == self.book.lines:
            return
        self.book = book
        self.draw_rules()
        if line is not None:
            at = next((i for i, x in enumerate(self.desk.page.lines) if x.item == RuleLine(line)), None)
            if at is not None:
                self.desk.page.go(at)
        text = book.text

        def save() -> "RuleText":
            saved = rules.save_rules(name, text, self._stamps.get(name, ""))
            self._stamps[name] = saved.stamp
            return saved

        self.desk.session.write("save", save, ())
        self.ask_preview()

    def do_edit_rule(self) -> None:
        """Edit the line."""
        item = self.desk.page.item
        if isinstance(item, Place):
            self.desk.go(item)
            return
        line = self._line()
        self._type(line, self.book.lines[line], lambda text: self.book.edit(line, text))

    def do_new_rule(self) -> None:
        """Begin a statement below."""
        line = self.book.statement(self._line()).stop
        self._type(line, "", lambda text: self.book.insert(line, text) if text.strip() else self.book)

    def _type(self, line: int, text: str, change: Callable[[str], Rulebook]) -> None:
        def done(typed: str) -> None:
            self._put(change(typed), line)

        def cancelled() -> None:
            self.not_later()
            self.ask_preview()

        self.ask_line(
            "rule", f"{line + 1}: ", done, text=text, cancel=cancelled,
            change=lambda typed: self.later(lambda: self.ask_preview(change(typed).text)),
        )  # fmt: skip

    def do_switch_rule(self) -> None:
        """Off or on."""
        line = self._line()
        self._put(self.book.switch(line), line)

    def do_delete_rule(self) -> None:
        """Take a statement out."""
        line = self._line()
        self._put(self.book.delete(line), min(line, len(self.book.lines) - 1))
        self.desk.say("taken out; u brings it back")

    def do_rule_down(self) -> None:
        """Move a statement down."""
        self._put(*self.book.move(self._line(), 1))

    def do_rule_up(self) -> None:
        """Move a statement up."""
        self._put(*self.book.move(self._line(), -1))

    def do_rule_undo(self) -> None:
        """Take the last edit back."""
        if not self.book.past:
            self.desk.say("nothing to take back in this file since it was opened", "warn")
        self._put(self.book.undo())

    def do_rule_redo(self) -> None:
        """Restore it."""
        self._put(self.book.redo())

    def do_rules_from_verdicts(self) -> None:
        """Statements for verdicts without any; verdicts that are being written are waited for."""
        rules, text = self._rules, self.book.text
        if rules is not None:
            self.desk.session.write("draft", lambda: rules.missing_rules(text), ())

    def drafted(self, lines: tuple[str, ...]) -> None:
        """The statements are here."""
        if not lines:
            self.desk.say("every suppress and amplify verdict is in this file already")
            return
        at = len(self.book.lines)
        self._put(self.book.insert(at, *lines), at)
        self.desk.say(f"{len(lines)} lines added; u takes them out")

    def do_reread_rules(self) -> None:
        """Read the file again; unsaved edits there are none."""
        self._stamps.pop(self.rule_name, None)
        self.ask_rules()

    def do_editor(self) -> None:
        """The whole file in $EDITOR."""
        rules = self._rules
        if rules is None:
            return
        try:
            path = rules.rules_path(self.rule_name)
            if not path.exists():
                self._stamps[self.rule_name] = rules.save_rules(self.rule_name, self.book.text, "").stamp
            edit_outside(self.desk.app, path)
        except ProsectError as error:
            self.desk.complain(error)
            return
        self.do_reread_rules()
