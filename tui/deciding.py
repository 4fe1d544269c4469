"""Verdicts, reasons, names, undo: the actions that write to the journal."""

from collections.abc import Sequence
from typing import NamedTuple

from engine.records import Verdict
from engine.safe_text import one_line
from engine.views.details import ConceptDetail
from engine.views.tables import Target
from tui.moving import Moving
from tui.places import Place
from tui.review import target_of

MAX_BULK = 20_000
"""Rows that one key may decide on …"""
MAX_STEPS = 1000
"""Steps that one key may take back."""
ASKED_FROM = 100
"""… after a question from so many on."""


class Deciding(Moving):
    """Actions that decide."""

    _subjects: "dict[Place, Subject]"
    """What concept pages were about, for the pages of pairs behind them."""

    # -- verdicts ---------------------------------------------------------------------------------------

    def do_keep(self, argument: str | None = None) -> None:
        """Keep, with a reason where one was typed."""
        self._decide(Verdict.KEEP, argument)

    def do_suppress(self, argument: str | None = None) -> None:
        """Suppress, with a reason where one was typed."""
        self._decide(Verdict.SUPPRESS, argument)

    def do_amplify(self, argument: str | None = None) -> None:
        """Amplify, with a reason where one was typed."""
        self._decide(Verdict.AMPLIFY, argument)

    def do_ignore(self, argument: str | None = None) -> None:
        """Ignore, with a reason where one was typed."""
        self._decide(Verdict.IGNORE, argument)

    def do_stay(self) -> None:
        """Stay after a verdict, or go on to the next undecided row."""
        desk = self.desk
        desk.advances = not desk.advances
        said = "goes on" if desk.advances else "stays"
        desk.say(f"after a verdict the cursor {said}; review.advance in prosect.toml sets how to begin")
        desk.draw_where()

    def do_clear(self) -> None:
        """Clear."""
        self._decide(None)

    def do_repeat(self) -> None:
        """Repeat the last verdict, its reason included."""
        if self.desk.reviewer.last is None:
            self.desk.say("no verdict to repeat yet", "warn")
        else:
            verdict, reason = self.desk.reviewer.last
            self._decide(verdict, reason)

    def _decide(self, verdict: Verdict | None, reason: str | None = None) -> None:
        desk = self.desk
        if not desk.place.is_table:
            target = self.page_target()
            if target is None:
                desk.say("nothing to decide on here", "warn")
                return
            desk.reviewer.decide([target], verdict, reason)
            desk.draw_page(keep_place=True)
            is_next_wanted = verdict is not None and desk.advances
            if is_next_wanted and desk.place.view == "concept" and self.came_from_list():
                self.do_next_undecided()
            return
        rows = desk.table.grid.selection()
        if rows:
            self._decide_bulk(rows, verdict, reason)
            return
        row = desk.table.grid.current
        if row is None:
            desk.say("the row is still under way", "warn")
            return
        desk.reviewer.decide([target_of(row, desk.table.grid.spec)], verdict, reason)
        desk.table.grid.refresh_rows(desk.table.grid.cursor)
        if verdict is not None and desk.advances:
            self.do_next_undecided(is_quiet=True)

    def _decide_bulk(self, rows: Sequence[int], verdict: Verdict | None, reason: str | None) -> None:
        desk = self.desk
        if len(rows) > MAX_BULK:
            desk.say(f"{len(rows):,} rows are selected; {MAX_BULK:,} at most can be decided at once", "warn")
            return
        if len(rows) >= ASKED_FROM:
            what = verdict.value if verdict is not None else "clear"
            said = f"{what} {len(rows):,} selected rows, as one step?"
            desk.doing.confirm(said, lambda: self._decide_rows(rows, verdict, reason))
        else:
            self._decide_rows(rows, verdict, reason)

    def _decide_rows(self, rows: Sequence[int], verdict: Verdict | None, reason: str | None) -> None:
        desk = self.desk
        cursor, spec = desk.table.cursor, desk.table.grid.spec
        if cursor is None:
            return
        ranges = _runs(rows)

        def question() -> tuple[list[Target], Verdict | None, str | None]:
            found = [
                r
                for first, n in ranges
                for k in range(0, n, 4000)
                for r in cursor.rows(first + k, min(n - k, 4000))
            ]
            return [target_of(r, spec) for r in found], verdict, reason

        desk.table.grid.clear_selection()
        desk.draw_where()
        if len(rows) >= ASKED_FROM:
            desk.say(f"deciding on {len(rows):,} rows…")
        desk.session.ask("bulk", question)

    def decide_bulk(self, targets: list[Target], verdict: Verdict | None, reason: str | None) -> None:
        """The selected rows' targets are known: decide on all of them as one step."""
        unique = list({t.key: t for t in targets}.values())
        self.desk.reviewer.decide(unique, verdict, reason)
        self.desk.table.grid.refresh()

    def page_target(self) -> Target | None:
        """What a verdict on this page is about."""
        subject = self.page_subject()
        return subject.target if subject is not None else None

    def page_subject(self) -> "Subject | None":
        """The hypothesis that the page shows, else its concept everywhere; None where it shows neither.

        A pair's page goes on with what the page before it was about, if that is the concept of its peaks.
        """
        place = self.desk.place
        if place.view == "pair":
            before = next((p for p in reversed(self.desk.past) if p.view != "pair"), None)
            if before is not None and (before.view, before.ident) == ("concept", place.about):
                return self._subjects.get(before) or _everywhere(place.about)
            return _everywhere(place.about)
        if place.view != "concept":
            return None
        found = self._shown_subject(place)
        if found is not None:
            self._subjects[place] = found
        return found or self._subjects.get(place) or _everywhere(place.ident)

    def _shown_subject(self, place: Place) -> "Subject | None":
        """Of a concept's page, once it is known: the list's row, else what the page says."""
        desk = self.desk
        row = desk.table.grid.current if desk.list_name == "hypotheses" else None
        if row is not None and self.came_from_list():
            spec = desk.table.grid.spec
            name = str(row.values[spec.index("context")]) if place.about is not None else ""
            return Subject(target_of(row, spec), name)
        detail = desk.detail
        if not isinstance(detail, ConceptDetail) or detail.concept_id != place.ident:
            return None
        inside = detail.inside
        if inside is None or inside.context_id != place.about:
            return None
        target = Target("hypothesis", inside.hypothesis_id, place.ident, place.about)
        return Subject(target, inside.context_name)

    def do_reason(self, argument: str | None = None) -> None:
        """Ask for a reason of the verdict here, else of the one just given, and write that again with it."""
        desk = self.desk
        row = desk.table.grid.current if desk.place.is_table else None
        target = target_of(row, desk.table.grid.spec) if row else self.page_target()
        last = desk.reviewer.last_targets
        is_decided = target is not None and desk.reviewer.verdict(target.key) is not None
        targets = [target] if target and is_decided and target not in last else last
        verdict = desk.reviewer.verdict(targets[0].key) if targets else None
        if verdict is None:
            desk.say("decide first, then give the reason", "warn")
            return
        view = desk.reviewer.held.get(targets[0].key)

        def done(text: str) -> None:
            desk.reviewer.decide(targets, verdict, text.strip() or None, is_reason=True)

        if argument is not None:
            done(argument)
        else:
            label = f"reason for {verdict.value} {self._named(targets)}: "
            self.ask_line("reason", label, done, text=(view.reason or "") if view else "")

    def _named(self, targets: Sequence[Target]) -> str:
        """What a verdict is about, in few words."""
        if len(targets) > 1:
            return f"of {len(targets):,} rows"
        grid = self.desk.tables["hypotheses"].grid
        at = grid.row_of(targets[0].key)
        row = grid.row(at) if at is not None else None
        return one_line(str(row.values[grid.spec.index("concept")]), 40) if row is not None else "here"

    def do_name(self, argument: str | None = None) -> None:
        """Ask for a name of the concept."""
        desk = self.desk
        row = desk.table.grid.current if desk.place.is_table else None
        target = target_of(row, desk.table.grid.spec) if row else self.page_target()
        if target is None:
            desk.say("no concept here to name", "warn")
            return
        project = desk.session.project

        def done(text: str) -> None:
            desk.reviewer.write("name", lambda: project.set_name(target.concept_id, text))

        if argument is not None:
            done(argument)
        else:
            proposed = project.name_to_give(target.concept_id, untested=not desk.place.is_table)
            self.ask_line("name", "name: ", done, text=proposed)

    def do_undo(self, count: int | None = None) -> None:
        """Take back."""
        self.desk.is_seeking = True  # the cursor goes to what changed, and keys that follow are for that
        self.desk.reviewer.undo(min(count or 1, MAX_STEPS))

    def do_redo(self, count: int | None = None) -> None:
        """Restore."""
        self.desk.is_seeking = True
        self.desk.reviewer.undo(min(count or 1, MAX_STEPS), is_redo=True)

    def do_restore_verdicts(self) -> None:
        """Write what the journal has lost again."""
        desk, coverage = self.desk, self.desk.coverage
        if coverage is None or coverage.lost is None:
            desk.say("the journal has everything that was decided: nothing to write again")
            return
        desk.reviewer.write("undo", desk.session.project.restore_journal)

    def reload_names(self, version: int) -> None:
        """Concepts are called otherwise, by whomever: fetch what shows names again, unless that was done."""
        desk = self.desk
        if version == desk.names_version:
            return
        desk.names_version = version
        for control in desk.tables.values():
            control.grid.fetch_again()
        if not desk.place.is_table:
            self.ask_page()
        if desk.keyboard.prompt is None:
            desk.doing.ask_preview()  # rule files know concepts by name
        desk.rest()

    def reload_tables(self) -> None:
        """The index changed: open what is open again, at the same record."""
        for control in self.desk.tables.values():
            if control.cursor is not None:
                control.open(control.wish, stay_on=control.grid.current)
        if not self.desk.place.is_table:
            self.ask_page()


def _runs(rows: Sequence[int]) -> list[tuple[int, int]]:
    """Sorted row numbers as (first, length) of their unbroken stretches."""
    runs: list[tuple[int, int]] = []
    for row in rows:
        if runs and runs[-1][0] + runs[-1][1] == row:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((row, 1))
    return runs


class Subject(NamedTuple):
    """What a page is about."""

    target: Target
    context: str
    """Name of the context; empty: everywhere."""


def _everywhere(concept_id: str | None) -> Subject | None:
    return Subject(Target("concept", concept_id, concept_id), "") if concept_id is not None else None
