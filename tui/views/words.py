"""Words of a response with roles: what differs, what a concept fires on, folded to a width. Pure.

A word is a run of (text, role) parts; a line end is a word of its own.
"""

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from engine.safe_text import sanitise
from tui.lines import JOINERS, Line, Span, fold_line

MAX_DIFF_WORDS = 5_000
MAX_DIFF_WORK = 3_000_000
"""Pairs of equal words, as ``diff_work`` counts them, beyond which no difference is looked for, …"""
QUICK_DIFF_WORK = 60_000
"""… and beyond which it is not looked for while the keyboard waits."""
_WORD = re.compile(r"\n|[^\S\n]+|[^\s]+[^\S\n]*")
Word = tuple[Span, ...]


def words_of(text: str) -> list[str]:
    """Words with the white space after them; joined they are the sanitised text."""
    # One by one: a single call over a long text would keep every other thread waiting for it.
    return [found.group() for found in _WORD.finditer(sanitise(text))]


def diff_work(first: Sequence[str], second: Sequence[str]) -> int:
    """Pairs of equal words: what finding the difference looks at, at least once."""
    one, other = Counter(w.strip() for w in first), Counter(w.strip() for w in second)
    return sum(n * other[word] for word, n in one.items())


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
        if parts and (parts[-1][1] == own or letter in JOINERS):  # what joins goes with what it stands behind
            parts[-1] = (parts[-1][0] + letter, parts[-1][1])
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
    spans: list[Span] = []
    for word in words:
        if word and word[0][0] == "\n":
            lines += fold_line(spans, width)
            spans = []
        else:
            spans += word
    return lines + fold_line(spans, width)
