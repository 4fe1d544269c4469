"""Diagnostics of the rule language: a code, a place, one help line, drawn with a caret.

A front end gets the records; ``render`` draws them for a terminal. Every quoted piece of a file passes the
sanitiser, so a hostile rule file cannot drive the terminal.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from engine.errors import RuleError
from engine.safe_text import one_line, sanitise

_MAX_SHOWN = 160
"""Characters of a source line that are drawn around the caret."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Half-open range of characters in a rule text."""

    start: int
    end: int

    def to(self, other: "Place") -> "Place":
        """From this start to the other's end."""
        return Place(self.start, max(self.end, other.end))


NOWHERE = Place(0, 0)


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding about a rule text or a plan."""

    code: str
    message: str
    place: Place
    help: str | None = None
    severity: Severity = Severity.ERROR
    n_pairs: int | None = None
    """Pairs concerned, for findings of a plan."""
    rules: tuple[str, ...] = ()
    """Names of the rules concerned, for findings of a plan."""


class RuleFileError(RuleError):
    """A rule text with errors; carries every diagnostic found."""

    def __init__(self, diagnostics: Sequence[Diagnostic], text: str, file_name: str) -> None:
        self.diagnostics = tuple(diagnostics)
        self.text = text
        self.file_name = file_name
        errors = [d for d in diagnostics if d.severity is Severity.ERROR]
        drawn = "\n".join(render(d, text, file_name) for d in errors)
        super().__init__(drawn, hint=f"`prosect explain {errors[0].code}` says more" if errors else None)


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """1-based line and column (characters) of an offset."""
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


def render(diagnostic: Diagnostic, text: str, file_name: str) -> str:
    """The diagnostic with its line, a caret under the place and the help line."""
    head = f"{diagnostic.severity}[{diagnostic.code}]: {one_line(diagnostic.message)}"
    if diagnostic.place == NOWHERE:  # about the plan as a whole: no line is to blame
        lines = [head, f" --> {one_line(file_name)}"]
        if diagnostic.help is not None:
            lines.append(f"  = help: {one_line(diagnostic.help)}")
        return "\n".join(lines)
    start = min(diagnostic.place.start, len(text))
    line, column = line_and_column(text, start)
    line_start = start - column + 1
    line_end = text.find("\n", line_start)
    line_end = len(text) if line_end < 0 else line_end
    skipped = max(0, column - 1 - _MAX_SHOWN // 2)
    window = text[line_start + skipped : min(line_end, line_start + skipped + _MAX_SHOWN)]
    before = sanitise(window[: column - 1 - skipped], tab=" ")
    covered = sanitise(text[start : max(min(diagnostic.place.end, line_end), start)][:_MAX_SHOWN], tab=" ")
    margin = " " * len(str(line))
    lines = [
        head,
        f"{margin}--> {one_line(file_name)}:{line}:{column}",
        f"{line} | {'…' if skipped else ''}{sanitise(window, tab=' ')}",
        f"{margin} | {' ' * (len(before) + bool(skipped))}{'^' * max(1, len(covered))}",
    ]
    if diagnostic.help is not None:
        lines.append(f"{margin} = help: {one_line(diagnostic.help)}")
    return "\n".join(lines)


def suggest(word: str, known: Iterable[str], n: int = 1, *, least: float = 0.6) -> list[str]:
    """Names close to a mistyped word, best first; long lists are cut before the slow comparison.

    Args:
        word: what was typed.
        known: what there is.
        n: names to return at most.
        least: how alike they must be: twice the common letters over all letters.
    """
    candidates = list(dict.fromkeys(known))
    same = [c for c in candidates if c.lower() == word.lower()]
    if same:
        return same[:n]  # capital letters are no difference worth a search
    if len(candidates) > 4000:
        lead = word[:1].lower()
        candidates = [c for c in candidates if c[:1].lower() == lead][:4000]
    return difflib.get_close_matches(word[:80], candidates, n, least)


def did_you_mean(word: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """A help line that offers the nearest name, else ``otherwise``."""
    close = suggest(word, known)
    return f"did you mean `{close[0]}`?" if close else otherwise
