"""A rule text while it is edited: statements, switching, moving, undo; how it stands to its file. Pure.

A statement starts in the first column and goes on to its last indented line, over empty lines and comments
between them. Switched off, its lines begin with ``#off `` and are comments to the language. Lines end where
the language ends them, and as the file ends them.
"""

from dataclasses import dataclass, field, replace

from engine.views.rules import OFF, RuleText

FIRST_LINE = "prosect rules 1"


@dataclass(frozen=True, slots=True)
class Rulebook:
    """A text with the texts before and after it."""

    lines: tuple[str, ...] = (FIRST_LINE,)
    past: tuple[tuple[str, ...], ...] = ()
    future: tuple[tuple[str, ...], ...] = field(default=())

    @classmethod
    def of(cls, text: str, past: tuple[str, ...] = (), future: tuple[str, ...] = ()) -> "Rulebook":
        """From a file's text, and the texts before and after it."""
        return cls(_lines(text), tuple(_lines(t) for t in past), tuple(_lines(t) for t in future))

    @property
    def text(self) -> str:
        """The whole text."""
        return _joined(self.lines)

    @property
    def is_empty(self) -> bool:
        """There is no statement, not even one that is switched off."""
        return all(line == self.head or self.is_comment(line) for line in range(len(self.lines)))

    @property
    def past_texts(self) -> tuple[str, ...]:
        """Texts that undo brings back, oldest first."""
        return tuple(map(_joined, self.past))

    @property
    def future_texts(self) -> tuple[str, ...]:
        """Texts that redo brings back, next first."""
        return tuple(map(_joined, self.future))

    def instead_of(self, text: str) -> "Rulebook":
        """This text, with another one as what undo brings back."""
        return Rulebook(_lines(text), self.past).change(self.lines)

    def change(self, lines: tuple[str, ...]) -> "Rulebook":
        """Another text, with this one to go back to."""
        return self if lines == self.lines else Rulebook(lines, (*self.past[-499:], self.lines), ())

    def undo(self) -> "Rulebook":
        """The text before."""
        if not self.past:
            return self
        return Rulebook(self.past[-1], self.past[:-1], (self.lines, *self.future))

    def redo(self) -> "Rulebook":
        """The text after."""
        if not self.future:
            return self
        return replace(self, lines=self.future[0], past=(*self.past, self.lines), future=self.future[1:])

    def statement(self, line: int) -> range:
        """Lines (from 0) of the statement that a line belongs to; a comment by itself is one line."""
        line = min(max(line, 0), len(self.lines) - 1)
        found = _extent(self.lines, line)
        if found is not None or not self.lines[line].startswith(OFF):
            return found or range(line, line + 1)
        first, last = line, line + 1
        while first > 0 and self.lines[first - 1].startswith(OFF):
            first -= 1
        while last < len(self.lines) and self.lines[last].startswith(OFF):
            last += 1
        bare = tuple(text.removeprefix(OFF) for text in self.lines[first:last])
        inside = _extent(bare, line - first) or range(line - first, line - first + 1)
        return range(first + inside.start, first + inside.stop)

    def edit(self, line: int, text: str) -> "Rulebook":
        """One line replaced."""
        ended = text + "\r" * self.lines[line].endswith("\r")
        return self.change((*self.lines[:line], ended, *self.lines[line + 1 :]))

    def insert(self, line: int, *texts: str) -> "Rulebook":
        """Lines put in before a line."""
        ended = tuple(text + "\r" * self.lines[0].endswith("\r") for text in texts)
        return self.change((*self.lines[:line], *ended, *self.lines[line:]))

    @property
    def head(self) -> int:
        """The line that says the version: comments may stand above it, statements may not."""
        return next((i for i, text in enumerate(self.lines) if _begins(text)), 0)

    def block(self, line: int) -> range:
        """The statement that a line belongs to with the comments right above it, which are about it.

        Those that follow the version line are about the file.
        """
        at = self.statement(line)
        if not _begins(self.lines[at.start].removeprefix(OFF)):
            return at
        first = at.start
        while first > self.head + 1 and self.is_comment(first - 1) and self.lines[first - 1].strip():
            first -= 1
        return at if first == self.head + 1 and first != at.start else range(first, at.stop)

    def delete(self, line: int) -> "Rulebook":
        """A statement taken out with its comments; the version line stays."""
        at = self.block(line)
        if self.head in at:
            return self
        return self.change((*self.lines[: at.start], *self.lines[at.stop :]))

    def is_comment(self, line: int) -> bool:
        """A comment that is no statement switched off, or an empty line."""
        text = self.lines[line].strip()
        return not text or (_is_remark(text) and not self.lines[line].startswith(OFF))

    def switch(self, line: int) -> "Rulebook":
        """A statement switched off, or on again; a comment is neither."""
        at = self.statement(line)
        if self.head in at or self.is_comment(at.start):
            return self
        block = self.lines[at.start : at.stop]
        if block[0].startswith(OFF):
            block = tuple(text.removeprefix(OFF) for text in block)
        else:
            block = tuple(OFF + text for text in block)
        return self.change((*self.lines[: at.start], *block, *self.lines[at.stop :]))

    def move(self, line: int, by: int) -> "tuple[Rulebook, int]":
        """A statement moved past its neighbour, each with its comments, and where the line is then."""
        at = self.block(line)
        if (by > 0 and at.stop >= len(self.lines)) or at.start <= self.head:
            return self, line
        other = self._neighbour(at, by)
        if self.head in other or other == at:
            return self, line
        first, second = (at, other) if by > 0 else (other, at)
        lines = (
            *self.lines[: first.start], *self.lines[second.start : second.stop],
            *self.lines[first.start : first.stop], *self.lines[second.stop :],
        )  # fmt: skip
        return self.change(lines), line + (len(second) if by > 0 else -len(first))

    def _neighbour(self, at: range, by: int) -> range:
        """What lies above or below a block: the whole of it."""
        if by < 0:
            return self.block(at.start - 1)
        below = at.stop
        while below + 1 < len(self.lines) and self.block(below + 1).start <= below:
            below += 1  # the comments of the statement below
        return range(at.stop, self.block(below).stop)


@dataclass(slots=True)
class Draft:
    """A rule file that is open: its text as it stands here, and how that stands to the file."""

    book: Rulebook
    disk: RuleText
    """As last read from the file, or saved to it, by this workstation."""
    stamp: str
    """Of the file that the next save replaces; empty: there is none."""
    n_writing: int = 0
    """Saves under way."""
    unsaved: str = ""
    """Why what stands here is not on disk; empty: it is, or is on its way."""
    elsewhere: "RuleText | None" = None
    """What somebody else made of the file meanwhile."""

    @classmethod
    def of(cls, found: RuleText) -> "Draft":
        """As the file is."""
        return cls(Rulebook.of(found.text, *found.steps), found, found.stamp)

    @property
    def text(self) -> str:
        """The text to plan and to save: that of the file, byte for byte, while no line was edited."""
        return self.book.text if self.is_edited else self.disk.text

    @property
    def is_edited(self) -> bool:
        """A line differs from the file as it was last read or saved here."""
        return self.book.lines != _lines(self.disk.text)

    def took(self, found: RuleText, book: Rulebook) -> None:
        """This is on disk now, and ``book`` shows it."""
        self.book, self.disk, self.stamp, self.unsaved, self.elsewhere = book, found, found.stamp, "", None


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.removesuffix("\n").split("\n")) if text else (FIRST_LINE,)


def _joined(lines: tuple[str, ...]) -> str:
    return "\n".join(lines) + "\n"


def _extent(lines: tuple[str, ...], line: int) -> range | None:
    """The statement around a line as the language reads it; None: the line is in none."""
    first = line
    while first >= 0 and not _begins(lines[first]):
        first -= 1
    if first < 0:
        return None
    following = next((i for i in range(first + 1, len(lines)) if _begins(lines[i])), len(lines))
    end = 1 + max((i for i in range(first + 1, following) if _goes_on(lines[i])), default=first)
    while end < following and lines[end][:1] in (" ", "\t") and lines[end].lstrip().startswith("#"):
        end += 1  # comments that are indented under it
    return range(first, end) if line < end else None


def _begins(line: str) -> bool:
    """A statement begins in the first column; ``#`` and a digit are a latent, not a comment."""
    return bool(line.strip()) and not line[0].isspace() and not _is_remark(line)


def _goes_on(line: str) -> bool:
    return bool(line.strip()) and line[0].isspace() and not _is_remark(line.lstrip())


def _is_remark(bare: str) -> bool:
    return bare.startswith("#") and not bare[1:2].isdigit()
