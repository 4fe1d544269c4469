"""What the rules views need of a project, and looks at files that others may be writing."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from engine.errors import ProsectError

if TYPE_CHECKING:
    from engine.views.rules import LeftOut, PairFate, PlanPreview, RuleText, Steps

SETTLES = 0.05
"""Seconds a file that others change must stay as it is before it is shown: editors write in place."""
Completer = Callable[[str, int], tuple[tuple[int, str], ...]]
"""From a text and an offset in it to offers: where what is typed begins, and what to put there."""


@runtime_checkable
class RulesLike(Protocol):
    """What a project needs to offer for the rules view to exist."""

    def rule_files(self) -> tuple[str, ...]:
        """Names."""

    def read_rules(self, name: str) -> "RuleText":
        """A file, or the beginnings of a new one."""

    def save_rules(self, name: str, text: str, stamp: str, steps: "Steps | None" = None) -> "RuleText":
        """Save unless the file changed elsewhere."""

    def rules_path(self, name: str) -> Path:
        """Where a file lies."""

    def plan_preview(self, text: str, file: str = "") -> "PlanPreview":
        """What a text would do as the text of a file."""

    def left_out(self, text: str, number: int, file: str = "") -> "LeftOut | None":
        """What a text would do without one of its statements."""

    def missing_rules(self, text: str) -> tuple[str, ...]:
        """Statements for verdicts that the text does not mention."""

    def pair_fate(self, text: str, pair: int, file: str = "") -> "PairFate | None":
        """What a text does to one pair."""

    def rule_completer(self) -> Completer:
        """What could stand at a cursor."""


def look(rules: RulesLike, name: str, known: str) -> "tuple[str, RuleText] | None":
    """A file as it is now, with the stamp that was known; None: nothing to be said yet."""
    try:
        found = rules.read_rules(name)
        if found.stamp != known:
            time.sleep(SETTLES)
            if rules.read_rules(name).stamp != found.stamp:
                return None  # somebody is still writing: the next look sees the whole
    except ProsectError:
        return None  # said when it is opened or saved, not every two seconds
    return known, found


def first(rules: RulesLike) -> "RuleText | None":
    """The first rule file; None where there is none, or where whoever opens it will be told why not."""
    try:
        names = rules.rule_files()
        return rules.read_rules(names[0]) if names else None
    except ProsectError:
        return None
