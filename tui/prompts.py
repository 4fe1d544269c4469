"""Lines that a person types: what is asked, and what becomes of the answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tui.lines import Line
from tui.widgets.bars import Typing

LOOKING: Line = (("looking for changes", "text"),)
"""The message after ``R``, until the answer is there."""


@dataclass(slots=True)
class Prompt:
    """A line being typed and what becomes of it."""

    typing: Typing
    done: Callable[[str], None]
    change: Callable[[str], None] | None = None
    cancel: Callable[[], None] | None = None
    is_list: bool = False
    """Up and down move in the page; enter takes the item there."""
    keys: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    """Keys with a meaning of their own while this is typed."""
    is_waiting: bool = False
    """What is chosen from is not here yet: keys wait for it, escape aside."""
    paste_lines: Callable[[Sequence[str]], None] | None = None
    """What becomes of several lines that are pasted; None: they are one."""


def make(
    label: str, done: Callable[[str], None], *, text: str = "", history: Sequence[str] = (),
    change: Callable[[str], None] | None = None, cancel: Callable[[], None] | None = None,
    complete: Callable[[str], str | None] | None = None, is_list: bool = False,
    hint: Callable[[str], str] | None = None,
) -> Prompt:  # fmt: skip
    """A prompt with its cursor at the end of ``text``."""
    return Prompt(
        Typing(label, text, history=history, complete=complete, hint=hint), done, change, cancel, is_list
    )
