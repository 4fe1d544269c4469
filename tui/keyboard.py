"""From key events to actions: prompts, prefixes, and keys typed ahead of what they act on."""

from typing import TYPE_CHECKING

from textual import events

from tui import actions as act
from tui import idle
from tui.edges import which_key
from tui.prefix import ANY, Matched, PrefixMachine, Waiting
from tui.prompts import Prompt

if TYPE_CHECKING:
    from textual.timer import Timer

    from tui.desk import Desk

NEVER_WAITS = frozenset({"cancel", "quit", "back", "close", "redraw", "suspend"})
BLIND = frozenset({"ctrl+c", "ctrl+l", "ctrl+q", "ctrl+z", "Q"})
"""Keys that work while the screen is too small to show anything."""
MOVES = frozenset(
    {
        "down", "up", "first", "last", "half-down", "half-up", "page-down", "page-up", "record-next",
        "record-previous", "hypotheses", "contexts", "pairs", "coverage", "history-back", "history-forward",
        "last-view", "help", "palette", "command", "zoom", "column-left", "column-right", "undo", "redo",
        "reload",
    }
)  # fmt: skip
"""Actions that need no row or page to be here."""
FROM_FILES = ("runs", "run", "jobs", "job")
"""Views that are read when they are shown: until then the lines of another one stand there."""


class Keyboard:
    """Keys of one desk."""

    def __init__(self, desk: "Desk") -> None:
        self.desk = desk
        self.keys = PrefixMachine()
        self.prompt: Prompt | None = None
        self._ahead: list[tuple[str, str | None]] = []
        self._blocked: Matched | None = None
        self._sequence: list[tuple[str, str | None]] = []
        """The keys of what waits, or of what was begun: for a line that opens meanwhile they are text."""
        self._which_key: Timer | None = None

    # -- keys -------------------------------------------------------------------------------------------

    @property
    def scopes(self) -> tuple[str, ...]:
        """Scopes of the keys that work here, general first."""
        if self.desk.place.is_table:
            return (
                (act.GLOBAL, act.GRID, act.REVIEW)
                if self.desk.list_name == "hypotheses"
                else (act.GLOBAL, act.GRID)
            )
        if self.desk.place.view == "concept":
            return (act.GLOBAL, act.PAGE, act.RECORD, act.REVIEW)
        if self.desk.place.view == "pair":
            return (
                act.GLOBAL,
                act.PAGE,
                act.RECORD,
                act.PAIR,
                *([act.REVIEW] if self.desk.place.about else []),
            )
        if self.desk.place.view == "rules":
            return (act.GLOBAL, act.PAGE, act.PLAN, act.TRAIN, act.RULES)
        if self.desk.place.view == "plan":
            return (act.GLOBAL, act.PAGE, act.TRAIN, act.PLAN)
        if self.desk.place.view in ("runs", "run"):
            return (act.GLOBAL, act.PAGE, act.TRAIN, act.RUNS)
        if self.desk.place.view in ("jobs", "job"):
            return (act.GLOBAL, act.PAGE, act.TRAIN, act.JOBS)
        if self.desk.place.view == "context":
            return (act.GLOBAL, act.PAGE, act.RECORD)
        return (act.GLOBAL, act.PAGE)

    def press(self, event: events.Key) -> None:
        """Every key comes here."""
        event.stop()
        event.prevent_default()
        if self.desk.frame.is_small and not (self.prompt is None and key_name(event) in BLIND):
            return  # nobody decides or types what they cannot see
        if event.key.startswith("alt+"):  # what terminals make of escape and a key right behind it
            self._ahead.append(("escape", None))
        self._ahead.append((key_name(event), event.character))
        self.take_keys()

    def take_keys(self) -> None:
        """Take the keys that were typed, as far as what they act on is here; the rest waits for answers."""
        while self._ahead or self._blocked is not None:
            if self._blocked is not None:
                if self._is_waiting_for(self._blocked.action):
                    self._skip_wait()
                    return
                found, self._blocked = self._blocked, None
                if self.prompt is not None:
                    self._ahead[:0] = self._sequence
                else:
                    self._run(found)
                continue
            if self.prompt is not None and self.prompt.is_waiting:
                self._skip_wait()
                return
            key, character = self._ahead.pop(0)
            self._take_key(key, character)

    def _skip_wait(self) -> None:
        """Keys that never wait, typed while others do: cancel and quit."""
        for i, (key, _) in enumerate(self._ahead):
            if key in {"ctrl+c", "Q", "ctrl+q", "escape"}:
                self._blocked = None
                del self._ahead[:i]
                self._take_key(*self._ahead.pop(0))
                return

    def _is_waiting_for(self, action: str) -> bool:
        if action in NEVER_WAITS:
            return False
        if self.desk.is_seeking:  # whatever comes next is about where the cursor will be
            return True
        if self.desk.place.is_table:
            control = self.desk.table
            if control.is_opening:
                return True
            return action not in MOVES and control.grid.n_rows > 0 and control.grid.current is None
        if action in MOVES:
            return False
        if self.desk.place.view in FROM_FILES:
            return self.desk.page_place != self.desk.place
        return self.desk.detail is None and self.desk.place.view in ("concept", "context", "pair")

    def _take_key(self, key: str, character: str | None) -> None:
        if self.prompt is not None:
            self._prompt_key(self.prompt, key, character)
            return
        if not self.keys.pending:
            self._sequence = []
        self._sequence.append((key, character))
        has_old, self.desk.message = bool(self.desk.message or self.keys.pending), ()
        if key == "escape" and has_old:  # the innermost thing, and nothing else
            self.keys.reset()
            self.desk.draw_bottom()
            if self.desk.doing.is_costing:
                self.desk.doing.give_up_costing()
            return
        found = self.keys.feed(key, act.bindings(self.scopes))
        if isinstance(found, Matched):
            if self._is_waiting_for(found.action):
                self._blocked = found
                return
            self._run(found)
            if has_old and not self.desk.message and self.prompt is None:
                self.desk.draw_bottom()
        elif isinstance(found, Waiting):
            self._wait(found)
        else:
            self.desk.say(idle.unknown(self.desk, found.keys), "warn")

    def _run(self, found: Matched) -> None:
        """Carry an action out; one that changes nothing says why."""
        before = idle.mark(self.desk)
        self.desk.doing.run(found.action, count=found.count, argument=found.argument)
        if found.action in NEVER_WAITS or found.action == "editor":
            return  # what they do is not on the screen
        if not self.desk.message and self.prompt is None and idle.mark(self.desk) == before:
            self.desk.say(idle.reason(self.desk, found.action), "dim")

    def paste(self, event: events.Paste) -> None:
        """Pasted text goes into the line being typed, never into keys."""
        event.stop()
        prompt = self.prompt
        if prompt is None or self.desk.frame.is_small:
            return
        lines = event.text.splitlines()
        if prompt.paste_lines is not None and len(lines) > 1:
            self.prompt = None
            self.desk.draw_bottom()
            typing = prompt.typing
            before, after = typing.text[: typing.cursor], typing.text[typing.cursor :]
            prompt.paste_lines([before + lines[0], *lines[1:-1], lines[-1] + after])
            return
        prompt.typing.insert(event.text)
        self.typed(prompt)

    def _wait(self, found: Waiting) -> None:
        self.desk.bar("bottom").set_line(((found.keys, "key"), (" …", "dim")))
        if self._which_key is not None:
            self._which_key.stop()
        self._which_key = self.desk.set_timer(0.3, self._show_continuations)

    def _show_continuations(self) -> None:
        following = self.keys.continuations(act.bindings(self.scopes))
        if following and self.prompt is None:
            names = [(key.replace(ANY, "a–z"), ident) for key, ident in following]
            self.desk.bar("bottom").set_line(which_key(self.keys.pending, names, self.desk.size.width))

    def _prompt_key(self, prompt: Prompt, key: str, character: str | None) -> None:
        if key in {"escape", "ctrl+c"}:
            self.prompt = None
            self.desk.draw_bottom()
            if prompt.cancel is not None:
                prompt.cancel()
        elif key == "enter":
            self.prompt = None
            self.desk.draw_bottom()
            prompt.done(prompt.typing.text)
        elif key in prompt.keys:
            prompt.keys[key]()
        elif prompt.is_list and key in {"up", "down", "ctrl+p", "ctrl+n"}:
            self.desk.page.step(-1 if key in {"up", "ctrl+p"} else 1)
        elif prompt.typing.key(key if key != "space" else " ", character):
            self.typed(prompt)

    def typed(self, prompt: Prompt) -> None:
        """What is typed has changed."""
        self.desk.draw_bottom()
        if prompt.change is not None:
            prompt.change(prompt.typing.text)

    def ask_line(self, prompt: Prompt) -> None:
        """Let the person type a line; half a sequence that was begun before does not outlive it."""
        self.keys.reset()
        self.prompt = prompt
        self.desk.draw_bottom()


def key_name(event: events.Key) -> str:
    """Keys as the action table writes them: the character where there is one, else the key's name."""
    if event.character is not None and event.character.isprintable():
        return "space" if event.character == " " else event.character
    return {"ctrl+j": "enter", "return": "enter"}.get(event.key, event.key)
