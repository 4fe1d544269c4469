"""The filter line: rows narrow while it is typed; ``tab`` completes columns and their values."""

import re

from engine.errors import ProsectError
from tui.filter_text import value_part
from tui.moving import Moving, pause_s
from tui.places import Place

MAX_VALUES = 200
"""Values of a column that are asked for at once; of more, those that hold what is typed are asked for."""
N_HINTED = 8


class Filtering(Moving):
    """Actions that choose rows by what is typed."""

    def __init__(self) -> None:
        super().__init__()
        self._offered_filters: tuple[str, ...] = ()
        """The filter with each thing that ``tab`` goes round."""
        self._values: dict[tuple[str, str, str], tuple[str, ...]] = {}
        """Table, column and part of a value → values that hold it, as a filter writes them."""
        self._tab_waits: tuple[str, int] = ("", 0)
        """The filter as it was when ``tab`` was pressed before the values were here, and how often."""

    def do_filter(self, argument: str | None = None) -> None:
        """Filter, live while typing."""
        self._filter(argument)

    def mend_filter(self, error: ProsectError) -> None:
        """A filter that means nothing: the line again, with what is wrong beside it until it is changed."""
        text = self.desk.place.ident
        if self.desk.past and self.desk.past[-1].view == self.desk.place.view:
            self.desk.place = self.desk.past.pop()
        said = f"{error.message} ({error.hint})" if error.hint else error.message
        self._filter(None, text=text, said=said)

    def _filter(self, argument: str | None, *, text: str | None = None, said: str = "") -> None:
        desk = self.desk
        control, before = desk.table, desk.place
        n_rows = control.grid.n_rows
        if text is None:
            text = f"{control.wish.filter_text} ".lstrip()

        def give_up() -> None:
            self.not_later()
            control.filter_by(before.ident)

        def apply(text: str) -> None:
            place = Place(desk.list_name, text.strip(), control.wish.context_id)
            if place != before:
                desk.past.append(before)
            desk.place = place
            control.filter_by(text.strip())

        if argument is not None:
            apply(argument)
            return
        self._values.clear()  # of names and verdicts there may be others by now

        def change(typed: str) -> None:
            self._ask_values(typed)
            self.later(lambda: control.filter_by(typed.strip()), pause_s(desk.list_name, n_rows, typed))

        self.ask_line(
            "filter", "/", apply, text=text,
            change=change,
            cancel=give_up,
            complete=self._complete_filter,
            hint=lambda typed: said if said and typed == text else self._hint_filter(typed),
        )  # fmt: skip

    # -- what tab completes -----------------------------------------------------------------------------

    def _complete_filter(self, text: str) -> str | None:
        """The filter with the first thing that could stand at its end; again: with the next."""
        if text not in self._offered_filters:
            self._offered_filters = self._filter_offers(text)
            if not self._offered_filters:
                known, n = self._tab_waits
                self._tab_waits = (text, n + 1 if known == text else 1)
                return None
            return self._offered_filters[0]
        at = self._offered_filters.index(text) + 1
        return self._offered_filters[at % len(self._offered_filters)]

    def _filter_offers(self, text: str) -> tuple[str, ...]:
        value = value_part(text)
        if value is not None:
            return tuple(value.head + word for word in self._known_values(value.column, value.part) or ())
        head, _, word = text.rpartition(" ")
        bare = word.lstrip("!")
        before = (f"{head} " if head else "") + word[: len(word) - len(bare)]
        names = (c.name for c in self.desk.table.grid.spec.columns if c.name.startswith(bare))
        return tuple(f"{before}{name}:" for name in names)

    def _known_values(self, column: str, part: str) -> tuple[str, ...] | None:
        """Values that hold a part, those that begin so first; None where they were not asked for yet."""
        table, low = self.desk.list_name, part.casefold()
        whole = self._values.get((table, column, ""))
        if whole is None or len(whole) >= MAX_VALUES:
            return self._values.get((table, column, part))
        found = [word for word in whole if low in word.casefold()]
        return tuple(sorted(found, key=lambda word: not word.strip('"').casefold().startswith(low)))

    def _ask_values(self, text: str) -> None:
        """Ask for the values that the end of the filter may become, where they are not known."""
        value, desk = value_part(text), self.desk
        table = desk.list_name
        if value is None or self._known_values(value.column, value.part) is not None:
            return
        column, project = value.column, desk.session.project
        part = "" if (table, column, "") not in self._values else value.part
        desk.session.ask(
            "values", lambda: ((table, column, part), project.filter_values(table, column, part, MAX_VALUES))
        )

    def values_read(self, key: tuple[str, str, str], found: tuple[str, ...]) -> None:
        """Values of a column are here: show them beside what is typed, and do what ``tab`` waited for."""
        self._values[key] = found
        prompt = self.desk.keyboard.prompt
        if prompt is None or value_part(prompt.typing.text) is None:
            return
        (waits, n), self._tab_waits = self._tab_waits, ("", 0)
        self._ask_values(prompt.typing.text)
        if waits == prompt.typing.text and found:
            for _ in range(n):
                prompt.typing.key("tab", None)
            self.desk.keyboard.typed(prompt)
        else:
            self.desk.draw_bottom()

    def _hint_filter(self, text: str) -> str:
        columns = self.desk.table.grid.spec.columns
        if not text:
            searched = " or ".join(c.name for c in columns if c.is_searched)
            terms = "column:text, column>number, !term; tab completes"
            whole = f"words of {searched}, {terms} columns and values"
            return whole if len(whole) + 4 <= self.desk.size.width else f"words, {terms}"
        value = value_part(text)
        words = self._known_values(value.column, value.part) if value is not None else None
        if value is not None and text in self._offered_filters:  # what tab goes on with
            at = self._offered_filters.index(text) + 1
            following = self._offered_filters[at:] + self._offered_filters[:at]
            words = tuple(offer.removeprefix(value.head) for offer in following)
        if words:
            more = f"  and {len(words) - N_HINTED:,} more" if len(words) > N_HINTED else ""
            return f"tab: {'  '.join(words[:N_HINTED])}{more}"
        word = text.rpartition(" ")[2].lstrip("!")
        name = re.split("[:=<>]", word, maxsplit=1)[0].lower() if re.search("[:=<>]", word) else ""
        if name:
            return next((f"{c.name}: {c.help}" for c in columns if c.name == name), f"no column {name}")
        return "  ".join(c.name for c in columns if word and c.name.startswith(word))
