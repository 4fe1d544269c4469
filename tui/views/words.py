"""Words of a response with roles: what differs, what a concept fires on, folded to a width. Pure.

A word is a run of (text, role) parts that is never broken at a line's end unless it is longer than a line;
a line end is a word of its own.
"""

import difflib
import re
from collections.abc import Sequence
from functools import lru_cache

from rich.cells import cell_len

from engine.safe_text import sanitise
from tui.lines import Line, Span, shown

MAX_DIFF_WORDS = 5_000
Word = tuple[Span, ...]


def words_of(text: str) -> list[str]:
    """Words with the white space after them; joined they are the sanitised text."""
    return re.findall(r"\n|[^\S\n]+|[^\s]+[^\S\n]*", sanitise(text))


@lru_cache(maxsize=8)
def _matches(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[tuple[str, int, int, int, int], ...]:
    """How to turn the first words into the second; kept, since a page is laid out again and again."""
    return tuple(difflib.SequenceMatcher(None, first, second, autojunk=False).get_opcodes())


def differences(chosen: Sequence[str], rejected: Sequence[str]) -> tuple[set[int], set[int]]:
    """Numbers of the words that only one of the two has in this order."""
    only_chosen: set[int] = set()
    only_rejected: set[int] = set()
    for tag, a, b, c, d in _matches(tuple(w.strip() for w in chosen), tuple(w.strip() for w in rejected)):
        if tag != "equal":
            only_chosen.update(range(a, b))
            only_rejected.update(range(c, d))
    return only_chosen, only_rejected


def marked_words(
    words: Sequence[str], different: set[int], role: str, telling: frozenset[str], levels: Sequence[int] = ()
) -> list[Word]:
    """Words with roles.

    Args:
        words: as ``words_of`` gives them.
        different: numbers of those drawn in ``role``.
        role: of a difference.
        telling: words that are underlined where no activations are known.
        levels: per character how strongly the concept fires there, 0 to 4; empty: unknown.
    """
    found: list[Word] = []
    at = 0
    for i, word in enumerate(words):
        own = role if i in different else "text"
        if not levels and word.strip(" .,;:!?'\"()").casefold() in telling:
            own = "mark"
        found.append(_lit(word, own, levels[at : at + len(word)]))
        at += len(word)
    return found


def _lit(word: str, role: str, levels: Sequence[int]) -> Word:
    if not any(levels):
        return ((word, role),)
    parts: list[Span] = []
    for letter, level in zip(word, levels, strict=False):
        own = f"peak{level}" if level and not letter.isspace() else role
        if parts and parts[-1][1] == own:
            parts[-1] = (parts[-1][0] + letter, own)
        else:
            parts.append((letter, own))
    return tuple(parts)


def inline_words(chosen: Sequence[Word], rejected: Sequence[Word]) -> list[Word]:
    """One text: common words plain, ``[-rejected only-]`` and ``{+chosen only+}``."""
    words: list[Word] = []
    stripped = [tuple(_text(w).strip() for w in side) for side in (rejected, chosen)]
    for tag, a, b, c, d in _matches(*stripped):
        if tag == "equal":
            words += chosen[c:d]
        else:
            if words and not _text(words[-1])[-1:].isspace():
                words[-1] = (*words[-1], (" ", "text"))
            words += bracketed(rejected[a:b], "[-", "-]", "removed") + bracketed(
                chosen[c:d], "{+", "+}", "added"
            )
    return words


def _text(word: Word) -> str:
    return "".join(text for text, _ in word)


def bracketed(words: Sequence[Word], opening: str, closing: str, role: str) -> list[Word]:
    """Words between marks; line ends before and after them are kept outside."""
    found = [tuple((t, role if r == "text" else r) for t, r in w) for w in words]
    full = [i for i, w in enumerate(found) if _text(w) != "\n"]
    if not full:
        return found
    first, last = full[0], full[-1]
    found[first] = ((opening, role), *found[first])
    *body, (text, own) = found[last]
    found[last] = (*body, (text.rstrip(), own), (closing + " ", role))
    return found


def fold_words(words: Sequence[Word], width: int) -> list[Line]:
    """Words folded to lines of at most ``width`` cells."""
    lines: list[Line] = []
    current: list[Span] = []
    size = 0
    for word in words:
        if _text(word) == "\n":
            lines.append(_closed(current))
            current, size = [], 0
            continue
        parts = [(shown(text), role) for text, role in word]
        need = _cells("".join(text for text, _ in parts).rstrip())
        if current and size + need > width:
            lines.append(_closed(current))
            current, size = [], 0
        if need > width:
            parts = _broken(parts, width, lines)
        for text, role in parts:
            if current and current[-1][1] == role:
                current[-1] = (current[-1][0] + text, role)
            elif text:
                current.append((text, role))
        size += sum(_cells(text) for text, _ in parts)
    lines.append(_closed(current))
    return lines


def _cells(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def _broken(parts: Sequence[Span], width: int, lines: list[Line]) -> list[Span]:
    """Put the lines that a too long word fills into ``lines``; what is left of it."""
    rest = [(letter, role) for text, role in parts for letter in text]
    while cell_len("".join(letter for letter, _ in rest).rstrip()) > width:
        size, n = 0, 0
        while n < len(rest) and size + cell_len(rest[n][0]) <= width:
            size += cell_len(rest[n][0])
            n += 1
        n = max(n, 1)
        lines.append(_closed(_joined(rest[:n])))
        rest = rest[n:]
    return _joined(rest)


def _joined(letters: Sequence[Span]) -> list[Span]:
    parts: list[Span] = []
    for letter, role in letters:
        if parts and parts[-1][1] == role:
            parts[-1] = (parts[-1][0] + letter, role)
        else:
            parts.append((letter, role))
    return parts


def _closed(spans: Sequence[Span]) -> Line:
    """A line without the white space at its end."""
    kept = list(spans)
    while kept and not kept[-1][0].rstrip():
        kept.pop()
    if kept:
        kept[-1] = (kept[-1][0].rstrip(), kept[-1][1])
    return tuple(kept)
