"""Where lines end: text to lines of at most so many cells, in time linear in the text, line by line. Pure."""

from collections.abc import Iterator
from itertools import accumulate

from rich.cells import get_character_cell_size

_MAX_KNOWN = 65_536
_MAX_PER_CELL = 16
"""Characters without a width that a line takes for each of its cells; then it ends, whatever they are."""
_NEVER_FIRST = frozenset("，。、：；！？）」』》】〉〕・ー～％’”")
"""Wide signs that belong to what stands before them."""


class _Sizes(dict[str, int]):
    """Cells of every character that was seen."""

    def __missing__(self, letter: str) -> int:
        if len(self) >= _MAX_KNOWN:
            self.clear()
        size = self[letter] = get_character_cell_size(letter)
        return size


_SIZES = _Sizes()


def cells(text: str) -> int:
    """Cells of a text that ``shown`` gave: without joiners, so that each character has its own width."""
    return len(text) if text.isascii() else sum(map(_SIZES.__getitem__, text))


def fold(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Start and end of every line of a text that ``shown`` gave; at least one.

    A line ends at white space, which is left out, or beside a wide character; only what has neither within a
    line is broken where the line is full. Every line looks at no more than its own letters, so a text of any
    length can be folded as far as it is needed.
    """
    width = max(width, 1)
    at, n = 0, len(text)
    while True:
        full = _full(text, at, width)
        end = full if full >= n else _break(text, at, full)
        yield at, at + len(text[at:end].rstrip())
        while end < n and text[end].isspace():
            end += 1
        if end >= n:
            return
        at = end


def _full(text: str, at: int, width: int) -> int:
    """Where a line that begins at ``at`` has no room left."""
    room = width + 1
    while True:
        window = text[at : at + room]
        if window.isascii():
            sizes: list[int] = []
            n_fit = min(len(window), width)
        else:
            sizes = list(accumulate(map(_SIZES.__getitem__, window)))
            n_fit = _n_fitting(sizes, width)
        if n_fit < len(window) or len(window) < room or room >= _MAX_PER_CELL * width:
            return at + max(n_fit, 1) if window else at
        room = min(room * 2, _MAX_PER_CELL * width)


def _n_fitting(sizes: list[int], width: int) -> int:
    """How many of the letters fit; those without a width go with the letter before them."""
    n = min(len(sizes), width)
    while n < len(sizes) and sizes[n] <= width:
        n += 1
    while n and sizes[n - 1] > width:
        n -= 1
    return n


def _break(text: str, at: int, full: int) -> int:
    """The last place up to ``full`` where a line may end."""
    line = text[at : full + 1]
    if line[-1:].isspace():
        return full
    if line.isascii():
        found = line.rfind(" ") + 1
        return at + found if line[:found].strip() else full
    for place in range(len(line) - 1, 0, -1):
        before, after = line[place - 1], line[place]
        if before.isspace():
            return at + place if line[:place].strip() else full
        is_beside_wide = _SIZES[before] == 2 or _SIZES[after] == 2
        if is_beside_wide and after not in _NEVER_FIRST and _SIZES[after]:
            return at + place
    return full
