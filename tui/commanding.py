"""Actions by name: the list of all of them, and the line after ``:`` with what it offers."""

from tui import actions as act
from tui.moving import Moving
from tui.places import Place
from tui.views.help import help_lines


class Commanding(Moving):
    """Actions that run others."""

    def do_help(self, argument: str | None = None) -> None:
        """Every action that works here, or those that are about some words; enter runs."""
        desk = self.desk
        scopes = desk.keyboard.scopes
        here = [a for a in act.ACTIONS if a.scope in scopes]
        here.sort(key=lambda a: -scopes.index(a.scope))

        def lines(text: str) -> None:
            desk.set_page(help_lines(here, text, desk.frame.page_width))

        def done(_text: str) -> None:
            item = desk.page.item
            self._end_list()
            if isinstance(item, str):
                self.desk.doing.run(item)

        self._start_list(Place("help"), "type to filter, enter runs: ", lines, done, text=argument or "")

    do_palette = do_help

    def do_command(self) -> None:
        """A command by name."""

        def done(text: str) -> None:
            word, _, rest = text.strip().partition(" ")
            self.command(word, rest.strip())

        self.desk.doing.ask_known_files()
        self.ask_line("command", ":", done, complete=self._complete_command, hint=self._hint_command)

    def _known_commands(self, text: str) -> list[act.Action]:
        """Commands of this place that begin so."""
        scopes = self.desk.keyboard.scopes
        return [a for a in act.ACTIONS if a.scope in scopes and a.ident.startswith(text)]

    def _complete_command(self, text: str) -> str | None:
        """The command with the first name that begins so, or with the first thing it could be given."""
        word, has_rest, rest = text.partition(" ")
        if has_rest:
            offered = self._offered_after(word, rest)
            return f"{word} {offered[0]}" if offered else None
        found = self._known_commands(word)
        return found[0].ident + " " if found else None

    def _hint_command(self, text: str) -> str:
        word, has_rest, rest = text.partition(" ")
        if not word:
            return "tab completes, up and down recall"
        found = self._known_commands(word)
        if not found:
            return ""
        if len(found) > 1 and not has_rest and word not in {a.ident for a in found}:
            return "  ".join(a.ident for a in found)
        offered = self._offered_after(word, rest) if has_rest else []
        if offered and rest not in offered:
            return "tab: " + "  ".join(offered)
        return "  ".join(x for x in (found[0].argument if not rest else "", found[0].help) if x)

    def _offered_after(self, command: str, begun: str) -> list[str]:
        """What a command could be given that begins so; nothing where any text will do."""
        desk = self.desk
        if command in ("sort", "facets") and desk.place.is_table:
            known = [c.name for c in desk.table.grid.spec.columns]
        elif command == "rule-file":
            known = desk.doing.known_files()
        elif command == "outcome":
            known = desk.doing.other_finished()
        else:
            known = []
        return [name for name in known if name.startswith(begun)]

    def command(self, word: str, rest: str) -> None:
        """Run what was typed after ``:``."""
        if not word:
            return
        if word.isdigit():
            self.do_first(count=int(word))
            return
        if word in ("q!", "quit!"):
            self.desk.doing.quit_now()
            return
        if word in ("wq", "x"):
            self.desk.doing.do_write()
            if self.desk.keyboard.prompt is None:
                self.desk.doing.do_quit()
            return
        alias = {"q": "quit", "h": "help"}.get(word, word)
        names = [a.ident for a in act.ACTIONS if a.ident == alias or a.ident.startswith(alias)]
        if alias not in names and len(names) != 1:
            self.desk.say(f"no command {word}" + (f"; {', '.join(names[:6])}" if names else ""), "warn")
            return
        ident = alias if alias in names else names[0]
        if act.BY_ID[ident].scope not in self.desk.keyboard.scopes:
            where = act.TITLES[act.BY_ID[ident].scope].lower()
            self.desk.say(f"{ident} does not work here; it does on: {where}", "warn")
            return
        takes = self.desk.doing.takes(ident)
        if rest and "argument" not in takes and not (rest.isdigit() and "count" in takes):
            self.desk.say(f"{ident} takes nothing behind it: {rest}", "warn")
            return
        self.desk.doing.run(ident, argument=rest or None, count=int(rest) if rest.isdigit() else None)
