"""Token strips: how strongly a concept fires on every token, in four levels. Pure."""

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

from engine.safe_text import sanitise
from engine.views.details import Mark
from tui import format as fmt
from tui.format import Glyphs
from tui.lines import PaneLine

if TYPE_CHECKING:
    from engine.views.strips import PairStrip, SpanStrip

LEVELS = 4
_WINDOW = 64
"""Characters within which a token is looked for behind the one before it."""


def top_of(strip: "PairStrip") -> float:
    """The strongest activation in either response: one scale for both."""
    return max((max(s.largest, default=0.0) for s in strip.spans if s.span != "prompt"), default=0.0)


def level(value: float, top: float) -> int:
    """0 for silence, else the quarter of ``top`` that the value lies in, 1 to 4."""
    return 0 if value <= 0 or top <= 0 else min(max(ceil(LEVELS * value / top), 1), LEVELS)


def char_levels(text: str, span: "SpanStrip", top: float) -> list[int]:
    """Per character of a sanitised text the level of its token.

    Tokens are looked for one behind the other, since the model saw the text through its chat template and
    its own alphabet; one that is not found (half of a letter) lights nothing.
    """
    found = [0] * len(text)
    at = 0
    for token, value in zip(span.tokens, span.largest, strict=True):
        word = sanitise(token).strip()
        if not word:
            continue
        place = text.find(word, at, at + len(word) + _WINDOW)
        if place < 0:
            continue
        at = place + len(word)
        here = level(value, top)
        if here:
            found[place:at] = [here] * len(word)
    return found


def mark_levels(text: str, sanitised: str, marks: Sequence[Mark]) -> list[int]:
    """Per character of a sanitised text the highest level where it holds what a column counts, 0 elsewhere.

    Empty without marks, and where sanitising in parts gives another text than at once.
    """
    found: list[int] = []
    at = 0
    for first, behind in marks:
        if at <= first and behind <= len(text):
            found += [0] * len(sanitise(text[at:first])) + [LEVELS] * len(sanitise(text[first:behind]))
            at = behind
    if not any(found):
        return []
    found += [0] * len(sanitise(text[at:]))
    return found if len(found) == len(sanitised) else []


def strip_bar(values: Sequence[float], cells: int, glyphs: Glyphs, top: float) -> str:
    """The strongest activation of every stretch of a response, one cell each; full at ``top``."""
    heights = [0.0] * cells
    for i, value in enumerate(values):
        place = min(i * cells // max(len(values), 1), cells - 1)
        heights[place] = max(heights[place], value)
    return fmt.sparkline(heights, glyphs, top).replace(glyphs.blocks[0], glyphs.empty)


def legend(top: float) -> PaneLine:
    """What the four looks mean."""
    spans = [("fires at  ", "dim")]
    for i in range(1, LEVELS + 1):
        spans += [(f"{top * (i - 1) / LEVELS:.2g} to {top * i / LEVELS:.2g}", f"peak{i}"), ("  ", "text")]
    return PaneLine(tuple(spans))
