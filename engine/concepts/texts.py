"""What the concepts room may see of the texts: plain strings by pair number, and single tokens in place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.records import Span


class TokenPlace(NamedTuple):
    """One token as a person would read it."""

    word: str
    """The whole word that holds the token; the token itself where it is no part of a word."""
    before: str
    """Some of the text before the word, on the same response."""
    after: str
    """Some of the text after it."""


TokenText = Callable[[int, Span, int], TokenPlace]
"""A token in its place: pair number, span, position among the span's own tokens (from 0)."""


_CONTEXT = 60
_LONGEST_WORD = 24
_JOINERS = "'’-"


def place(text: str, start: int, end: int) -> TokenPlace:
    """The characters ``start:end`` of a text, grown to the word they are part of, with what is around it."""
    first, last = word_at(text, start, end)
    return TokenPlace(text[first:last], text[max(first - _CONTEXT, 0) : first], text[last : last + _CONTEXT])


def word_at(text: str, start: int, end: int) -> tuple[int, int]:
    """The characters of the word that ``start:end`` is part of.

    Letters and digits grow to the whole word; other characters (``**``) stand for themselves, as does a token
    of a script that does not part its words, where growing would take in a sentence.
    """
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    first, last = start, end
    if any(c.isalnum() for c in text[start:end]):
        while first > 0 and _is_inside(text, first - 1):
            first -= 1
        while last < len(text) and _is_inside(text, last):
            last += 1
    if last - first > max(_LONGEST_WORD, end - start):
        return start, end
    return first, last


def _is_inside(text: str, at: int) -> bool:
    """Whether a character belongs to a word: alphanumeric, or an apostrophe or hyphen between two such."""
    if text[at].isalnum():
        return True
    between = 0 < at < len(text) - 1 and text[at - 1].isalnum() and text[at + 1].isalnum()
    return between and text[at] in _JOINERS


@dataclass(frozen=True, slots=True)
class PairTexts:
    """Plain text of every pair, by pair number; all three have P entries."""

    prompt: Sequence[str]
    chosen: Sequence[str]
    rejected: Sequence[str]
