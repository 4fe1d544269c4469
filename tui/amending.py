"""Writing rules: every edit is saved and planned at once; undo takes edits back, also after a restart."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from engine.errors import ProsectError
from engine.views.rules import Steps
from tui.places import Place
from tui.rulebook import Draft, Rulebook
from tui.ruling import Ruling
from tui.tools import edit_outside
from tui.views.rules import RuleLine
from tui.views.top_pairs import More

if TYPE_CHECKING:
    from engine.views.rules import RuleText


class Amending(Ruling):
    """Actions that change a rule file."""

    _offered: tuple[str, ...] = ()
    """The line as it was typed, then with each offer; ``tab`` goes round."""

    # -- saving -----------------------------------------------------------------------------------------

    @property
    def unsaved_rules(self) -> tuple[str, ...]:
        """Files with edits that are not on disk, the one that is shown first."""
        names = sorted(self.drafts, key=lambda n: n != self.rule_name)
        return tuple(n for n in names if self.drafts[n].unsaved)

    @property
    def is_saving_rules(self) -> bool:
        """Whether a save of rules is under way, which may yet fail."""
        return any(d.n_writing for d in self.drafts.values())

    def _save(self, name: str, draft: Draft) -> None:
        rules, text = self._rules, draft.text
        if rules is None:
            return
        steps = Steps(draft.book.past_texts, draft.book.future_texts)

        def save() -> "RuleText":
            saved = rules.save_rules(name, text, draft.stamp, steps)
            draft.stamp = saved.stamp  # here: the next save, in the same thread, replaces this one
            return saved

        draft.n_writing += 1
        self.desk.session.write(f"save {name}", save, ())
        self.desk.draw_where()

    def rules_saved(self, name: str, saved: "RuleText | None", error: ProsectError | None) -> None:
        """A save has ended, well or not."""
        draft = self.drafts[name]
        draft.n_writing -= 1
        if error is not None:
            draft.unsaved = error.message
            self.desk.complain(error)
        elif saved is not None:
            draft.disk, draft.unsaved, draft.elsewhere = saved, "", None
            if saved.remark:
                self.desk.say(saved.remark, "warn")
        self.desk.draw_where()
        if draft.n_writing:
            return
        if draft.unsaved:
            self.watch_rules()
        self.desk.doing.quit_if_saved()

    def do_write(self) -> None:
        """Save again what is not on disk; over somebody else's change only after a yes."""
        names = self.unsaved_rules
        if not names:
            self.desk.say("the rules are saved already")
        for name in names:
            draft = self.drafts[name]
            if draft.elsewhere is None:
                self._save(name, draft)
                continue

            def write(name: str = name, draft: Draft = draft) -> None:
                if draft.elsewhere is not None:
                    draft.book = draft.book.instead_of(draft.elsewhere.text)
                    draft.stamp = draft.elsewhere.stamp
                    self._save(name, draft)

            self.desk.doing.confirm(
                f"{name}.rules was changed elsewhere: write yours over it (undo brings theirs back)?", write
            )
            return

    # -- editing ----------------------------------------------------------------------------------------

    def _line(self) -> int:
        item = self.desk.page.item
        return item.number if isinstance(item, RuleLine) else len(self.book.lines) - 1

    def _put(self, book: Rulebook, line: int | None = None) -> None:
        """Show an edited text, save it, plan it."""
        draft = self.draft
        if draft is None or book.lines == draft.book.lines:
            return
        draft.book = book
        self.draw_rules()
        if line is not None:
            at = next((i for i, x in enumerate(self.desk.page.lines) if x.item == RuleLine(line)), None)
            if at is not None:
                self.desk.page.go(at)
        self._save(self.rule_name, draft)
        self.ask_preview()

    def do_edit_rule(self) -> None:
        """Edit the line."""
        item = self.desk.page.item
        if isinstance(item, Place | More):  # of the plan, where it stands below the file
            self.desk.doing.do_open_item()
            return
        line = self._line()
        text = self.book.lines[line].removesuffix("\r")
        self._type(line, text, lambda typed: self.book.edit(line, typed))

    def do_new_rule(self) -> None:
        """Begin a statement below."""
        line = self.book.statement(self._line()).stop
        self._type(line, "", lambda text: self.book.insert(line, text) if text.strip() else self.book)

    def _type(self, line: int, text: str, change: Callable[[str], Rulebook]) -> None:
        def done(typed: str) -> None:
            self.typed = None
            self._put(change(typed), line)
            self.draw_rules()

        def cancelled() -> None:
            self.typed = None
            self.not_later()
            self.ask_preview()
            self.draw_rules()

        def changed(typed: str) -> None:
            self.typed = change(typed)
            self.draw_rules()
            self.later(lambda: self.ask_preview(change(typed).text))

        def pasted(lines: Sequence[str]) -> None:
            self.typed = None
            self.not_later()
            self._put(self._with_lines(change(lines[0]), line, lines[1:]), line)
            self.draw_rules()

        self._offered = ()
        self.ask_line(
            "rule", f"{line + 1}: ", done, text=text, cancel=cancelled,
            change=changed,
            complete=lambda typed: self._complete(change(typed), line, typed),
            hint=lambda typed: self._hint(change(typed), line, typed),
        )  # fmt: skip
        if self.desk.keyboard.prompt is not None:
            self.desk.keyboard.prompt.paste_lines = pasted

    def _with_lines(self, first: Rulebook, line: int, more: Sequence[str]) -> Rulebook:
        """Further lines below one that was put in, as one step of undo."""
        return self.book.change(first.insert(line + 1, *more).lines)

    def _offers(self, book: Rulebook, line: int, typed: str) -> list[tuple[int, str]]:
        """What could stand at the end of a line that is being typed: from where on, and what."""
        if self.completer is None or not typed.strip():
            return []
        begin = sum(len(text) + 1 for text in book.lines[:line])
        found = self.completer(book.text, begin + len(typed))
        return [(start - begin, word) for start, word in found if start >= begin]

    def _complete(self, book: Rulebook, line: int, typed: str) -> str | None:
        """The line with the first offer; again: with the next, and after the last as it was typed."""
        if typed not in self._offered:
            self._offered = tuple(typed[:at] + word for at, word in self._offers(book, line, typed))
            if not self._offered:
                return None
            self._offered = (typed, *self._offered)
        return self._offered[(self._offered.index(typed) + 1) % len(self._offered)]

    def _hint(self, book: Rulebook, line: int, typed: str) -> str:
        words = [word for _, word in self._offers(book, line, typed)[:8]]
        return "tab: " + "  ".join(words) if words else ""

    def do_switch_rule(self) -> None:
        """Off or on."""
        line = self._line()
        if self.book.is_comment(line):
            self.desk.say("a comment: the statement stands below it", "warn")
            return
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

    def do_rule_undo(self, count: int | None = None) -> None:
        """Take the last edits back."""
        self._step_through(Rulebook.undo, count or 1, "taken back")

    def do_rule_redo(self, count: int | None = None) -> None:
        """Restore them."""
        self._step_through(Rulebook.redo, count or 1, "restored")

    def _step_through(self, step: Callable[[Rulebook], Rulebook], wanted: int, what: str) -> None:
        """Go through the edits of this file; say how many, where that is not what was asked for."""
        book, n = self.book, 0
        while n < wanted and (following := step(book)) is not book:
            book, n = following, n + 1
        self._put(book)
        if not n:
            self.desk.say(f"no edit of this file can be {what}", "warn")
        elif wanted > 1:
            lacking = "" if n == wanted else ": there were no more"
            self.desk.say(f"{n:,} edit{'s' if n != 1 else ''} {what}{lacking}")

    def do_rules_from_verdicts(self) -> None:
        """Statements for verdicts without any; verdicts that are being written are waited for."""
        rules, draft = self._rules, self.draft
        if rules is not None and draft is not None:
            text = draft.text
            self.desk.session.write("draft", lambda: rules.missing_rules(text), ())

    def drafted(self, lines: tuple[str, ...]) -> None:
        """The statements are here."""
        if not lines:
            self.desk.say("every suppress and amplify verdict is in this file already")
            return
        at = len(self.book.lines)
        self._put(self.book.insert(at, *lines), at)
        self.desk.say(f"{len(lines)} lines added; u takes them out")

    # -- the file itself --------------------------------------------------------------------------------

    def do_reread_rules(self) -> None:
        """Read the file again; what is not saved goes only after a yes."""
        draft, name = self.draft, self.rule_name
        if draft is None:
            self.ask_rules()
        elif draft.n_writing:
            self.desk.say("the last edit is being saved; R again in a moment", "warn")
        elif draft.unsaved:
            self.desk.doing.confirm(
                f"drop what is not saved of {name}.rules for what the file has?", self._reread
            )
        else:
            self._reread()

    def _reread(self) -> None:
        rules, name = self._rules, self.rule_name
        if rules is not None:
            self.desk.session.ask("rules", lambda: rules.read_rules(name))

    def do_editor(self) -> None:
        """The whole file in $EDITOR."""
        rules, draft = self._rules, self.draft
        if rules is None or draft is None:
            return
        if draft.unsaved or draft.n_writing:
            self.desk.say("the editor would show the file without your last edits; :write saves them", "warn")
            return
        try:
            path = rules.rules_path(self.rule_name)
            if not path.exists():
                draft.took(rules.save_rules(self.rule_name, draft.text, ""), draft.book)
            edit_outside(self.desk.app, path)
        except ProsectError as error:
            self.desk.complain(error)
            return
        self._reread()
