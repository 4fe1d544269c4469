"""Curves of dots: braille, eight dots a cell, or rows of ASCII. Pure."""

from collections.abc import Sequence
from itertools import pairwise

from tui.format import Glyphs

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille cell by row and column."""


def smooth(values: Sequence[float], strength: float) -> list[float]:
    """Exponential moving average; strength 0 leaves the values alone, 0.9 looks back some ten of them."""
    found: list[float] = []
    for value in values:
        found.append(value if not found else strength * found[-1] + (1 - strength) * value)
    return found


def columns_of(values: Sequence[float], n: int) -> list[float]:
    """Values gathered into at most ``n`` columns, the mean of each."""
    if len(values) <= n:
        return list(values)
    edges = [i * len(values) // n for i in range(n + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]


def _between(points: Sequence[float], n: int) -> list[float]:
    """``n`` values along straight lines from point to point."""
    if len(points) < 2:
        return list(points) * n
    found = []
    for i in range(n):
        place = i * (len(points) - 1) / max(n - 1, 1)
        left = min(int(place), len(points) - 2)
        found.append(points[left] + (points[left + 1] - points[left]) * (place - left))
    return found


def curve(values: Sequence[float], width: int, height: int, glyphs: Glyphs) -> list[str]:
    """A curve in ``height`` lines of ``width`` cells, from its smallest value up to its largest."""
    is_braille = glyphs.blocks != " .:-=+*#@"
    across, down = (2, 4) if is_braille else (1, 1)
    points = columns_of(values, width * across)
    low, high = min(points, default=0.0), max(points, default=0.0)
    rows, dots = height * down, width * across
    cells = [[0] * width for _ in range(height)]
    before: int | None = None
    for x, value in enumerate(_between(points, dots)):
        share = (value - low) / (high - low) if high > low else 0.5
        y = rows - 1 - round(share * (rows - 1))
        for at in range(
            min(y, before if before is not None else y), max(y, before if before is not None else y) + 1
        ):
            cells[at // down][x // across] |= _DOTS[at % down][x % across] if is_braille else 1
        before = y
    if is_braille:
        return ["".join(chr(0x2800 + bits) if bits else " " for bits in row) for row in cells]
    return ["".join("*" if bits else " " for bits in row) for row in cells]
