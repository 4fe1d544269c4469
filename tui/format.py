"""Numbers and estimates to text of a fixed width. Pure; undefined is ``–``."""

import json
from dataclasses import dataclass
from typing import Any

from engine.records import BADGE_WORDS, Badge
from engine.safe_text import one_line
from engine.views.tables import Interval

UNDEFINED = "–"
AXIS_LOW, AXIS_HIGH = 0.25, 0.75
"""Interval bars show this part of the win rate; what lies beyond is marked at the edge."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Characters of one cell each; nothing here needs a special font."""

    cursor: str = "▌"
    selected: str = "●"
    keep: str = "="
    suppress: str = "-"
    amplify: str = "+"
    ignore: str = "i"
    pending: str = "…"
    orphan: str = "?"
    axis: str = "┊"
    line: str = "─"
    cross: str = "┼"
    point: str = "●"
    weak_point: str = "○"
    low_cut: str = "‹"
    high_cut: str = "›"
    low_point: str = "◂"
    low_weak_point: str = "◃"
    high_point: str = "▸"
    high_weak_point: str = "▹"
    up: str = "▲"
    down: str = "▼"
    column: str = "│"
    rule: str = "─"
    more: str = "…"
    yes: str = "✓"
    no: str = "·"
    blocks: str = " ▁▂▃▄▅▆▇█"
    full: str = "█"
    empty: str = "·"
    arrow: str = "→"


ASCII = Glyphs(
    cursor=">", selected="*", pending="~", axis=":", line="-", cross="+", point="*", weak_point="o",
    low_cut="<", high_cut=">", low_point="{", low_weak_point="(", high_point="}", high_weak_point=")",
    up="^", down="v", column="|", rule="-", more="~", yes="y", no=".",
    blocks=" .:-=+*#@", full="#", empty=".", arrow="->",
)  # fmt: skip
UNICODE = Glyphs()


def count(value: float | None) -> str:
    """Whole number with thousands separators."""
    return UNDEFINED if value is None else f"{int(value):,}"


def compact(value: float | None) -> str:
    """Whole number in at most five cells, a minus apart: ``812``, ``24.3k``, ``250k``, ``1.2M``."""
    if value is None:
        return UNDEFINED
    number = float(value)
    if abs(round(number)) < 10_000:
        return f"{number:.0f}"
    for scale, suffix in ((1e3, "k"), (1e6, "M"), (1e9, "G")):
        tenths, whole = f"{number / scale:.1f}", f"{number / scale:.0f}"
        if abs(float(tenths)) < 100:
            return tenths + suffix
        if abs(int(whole)) < 1000:
            return whole + suffix
    return f"{number:.0e}"


def share(value: float | None) -> str:
    """Percent with one decimal, without the sign: the column's title says it."""
    return UNDEFINED if value is None else f"{value * 100:.1f}"


def number(value: float | None) -> str:
    """Three significant digits."""
    if value is None:
        return UNDEFINED
    return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"


def signed(value: float | None) -> str:
    """Two decimals with a sign; whole numbers stay whole."""
    if value is None:
        return UNDEFINED
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:+,.0f}"
    return f"{value:+.2f}"


def q_value(value: float | None) -> str:
    """False discovery rate: ``<.001``, ``.034``."""
    if value is None:
        return UNDEFINED
    return "<.001" if value < 0.001 else f"{value:.3f}".replace("0.", ".", 1)


def flag(value: bool | None, glyphs: Glyphs) -> str:
    """One cell."""
    return UNDEFINED if value is None else glyphs.yes if value else glyphs.no


def badge(value: str | None, width: int = 8) -> str:
    """Short form of a badge; a still shorter one below eight cells."""
    if value is None:
        return UNDEFINED
    long, short = BADGE_WORDS[Badge(value)] if value in set(Badge) else (value, value)
    return long if width >= 8 else short


_KINDS = ("about ", "topic ", "silent ")


def context_name(value: str | None, width: int) -> str:
    """Name of a context; where it does not fit, without the word for its kind, and everywhere is ``all``."""
    if value is None:
        return UNDEFINED
    name = one_line(value, 200)
    if len(name) <= width:
        return name
    if name == "everywhere":
        return "all"
    for kind in _KINDS:
        name = name.removeprefix(kind)
    return name


def last_turn(prompt: str) -> str:
    """Of a conversation what the user says last, which the responses answer; of any other prompt all."""
    at = prompt.rfind("\n\nuser: ")
    return prompt[at + 2 :] if at >= 0 else prompt


def first_question(prompt: str) -> str:
    """A prompt for a list: without instructions and the word for the user, with which all begin."""
    if prompt.startswith("system: "):
        _, found, rest = prompt.partition("\n\nuser: ")
        return rest if found else prompt
    return prompt.removeprefix("user: ")


def leaning(interval: Interval | tuple[Any, ...]) -> str:
    """Role of an effect: ``plus`` or ``minus`` when its interval leaves out one half, else ``weak``."""
    low, _, high = interval
    if low is not None and low > 0.5:
        return "plus"
    return "minus" if high is not None and high < 0.5 else "weak"


def interval_bar(interval: Interval | tuple[Any, ...], width: int, glyphs: Glyphs) -> str:
    """A win rate with its interval on an axis from ¼ to ¾ with ½ marked; exactly ``width`` cells.

    An interval that goes on beyond the axis ends in ``‹`` or ``›``; an estimate beyond it is a triangle.
    """
    low, estimate, high = interval
    cells = [" "] * width
    cells[width // 2] = glyphs.axis
    if estimate is None:
        cells[0] = UNDEFINED
        return "".join(cells)
    if low is not None and high is not None:
        first, last = _cell(low, width), _cell(high, width)
        for i in range(first, last + 1):
            cells[i] = glyphs.cross if i == width // 2 else glyphs.line
        if low < AXIS_LOW:
            cells[0] = glyphs.low_cut
        if high > AXIS_HIGH:
            cells[-1] = glyphs.high_cut
    is_weak = leaning(interval) == "weak"
    if estimate < AXIS_LOW:
        cells[0] = glyphs.low_weak_point if is_weak else glyphs.low_point
    elif estimate > AXIS_HIGH:
        cells[-1] = glyphs.high_weak_point if is_weak else glyphs.high_point
    else:
        cells[_cell(estimate, width)] = glyphs.weak_point if is_weak else glyphs.point
    return "".join(cells)


def _cell(value: float, width: int) -> int:
    place = (value - AXIS_LOW) / (AXIS_HIGH - AXIS_LOW) * (width - 1)
    return min(max(round(place), 0), width - 1)


def interval_text(interval: Interval | tuple[Any, ...]) -> str:
    """``63.7% [58.2, 69.1]``"""
    low, estimate, high = interval
    if estimate is None:
        return UNDEFINED
    if low is None or high is None:
        return f"{share(estimate)}%"
    return f"{share(estimate)}% [{share(low)}, {share(high)}]"


def sparkline(values: list[float], glyphs: Glyphs, top: float | None = None) -> str:
    """One cell per value, full at ``top`` (None: the largest); what is above zero never looks like zero."""
    top = max(values, default=0) if top is None else top
    if top <= 0:
        return glyphs.blocks[0] * len(values)
    steps = len(glyphs.blocks) - 1
    return "".join(glyphs.blocks[max(round(v / top * steps), 1) if v > 0 else 0] for v in values)


def clock(seconds: float) -> str:
    """``0:05:12``"""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def meter(part: float, whole: float, width: int, glyphs: Glyphs) -> str:
    """A filled bar of ``width`` cells."""
    filled = round(width * part / whole) if whole else 0
    return glyphs.full * filled + glyphs.empty * (width - filled)


def tally(part: float, whole: float, width: int, glyphs: Glyphs) -> str:
    """A filled bar of ``width`` cells for a count: what is there but too little to fill a cell shows."""
    bar = meter(part, whole, width, glyphs)
    few = next(block for block in glyphs.blocks[1:] if block != glyphs.empty)
    return few + bar[1:] if part > 0 and bar[:1] == glyphs.empty else bar


def token_list(text: str | None) -> str:
    """Telling tokens as stored (a JSON list) to words with a space between."""
    if not text:
        return ""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return " ".join(str(t).strip() or "␣" for t in found) if isinstance(found, list) else str(found)
