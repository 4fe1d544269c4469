"""Fitting a table into a terminal: which of its columns stay, and how wide each of them is.

Text gives way first, the widest column before the others; then columns of a low rank are left out. Headers,
numbers and what people copy from the screen are never cut.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

GAP = 2
"""Cells between columns."""
_READABLE = 20
"""Cells that a flexible column keeps while columns of a low rank can be left out instead."""
_NARROW = 12
"""Cells that a text column keeps at first."""
_NARROWEST = 4
"""Cells that it keeps in the end."""
_NUMBERS = re.compile(r"[\d\s.,:%+\-−–±×/()\[\]<>≤≥eT]*\Z")
"""Numbers, intervals and times."""


@dataclass(frozen=True, slots=True)
class Manners:
    """How the columns of a table give way in a narrow terminal."""

    flexible: Collection[int] = ()
    """The first to give way."""
    ranks: Sequence[int] | None = None
    """Of each column: high ones are left out first, 1 never; None: all of them matter alike."""
    copied: Collection[int] = ()
    """People copy what stands here: never cut."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What fits."""

    columns: tuple[int, ...]
    """Places of the columns that are shown."""
    widths: Mapping[int, int]


def fit(header: Sequence[str], texts: Sequence[Sequence[str]], manners: Manners, available: int) -> Fit:
    """Columns and widths of a table in a terminal of so many cells."""
    natural = [max([cells(name), *(cells(row[i]) for row in texts)]) for i, name in enumerate(header)]
    every = tuple(range(len(header)))
    if _total(natural) <= available:
        return Fit(every, dict(enumerate(natural)))
    soft = [i for i in every if i not in manners.copied and any(not _NUMBERS.match(r[i]) for r in texts)]
    flexible = set(manners.flexible) & set(soft)
    first = _READABLE if manners.ranks is not None else _NARROW
    floors = [
        _floors(header, natural, dict.fromkeys(flexible, first)),
        _floors(header, natural, {i: first if i in flexible else _NARROW for i in soft}),
        _floors(header, natural, dict.fromkeys(soft, _NARROWEST)),
    ]
    if manners.ranks is not None:
        columns = _best(floors[1], manners.ranks, available)
    else:
        columns = _best(floors[2], [1, *every[1:]], available)
    widths = {i: natural[i] for i in columns}
    for least in floors:
        excess = _total(list(widths.values())) - available
        _give_way(widths, {i: least[i] for i in columns}, excess)
    return Fit(columns, widths)


def squeezed(header: Sequence[str], texts: Sequence[Sequence[str]], manners: Manners, available: int) -> Fit:
    """Every column; only the flexible ones give way, for output that goes to a file or another command."""
    widths = {i: max([cells(name), *(cells(row[i]) for row in texts)]) for i, name in enumerate(header)}
    least = _floors(header, list(widths.values()), dict.fromkeys(manners.flexible, _NARROW))
    _give_way(widths, dict(enumerate(least)), _total(list(widths.values())) - available)
    return Fit(tuple(widths), widths)


def cells(text: str) -> int:
    """Terminal cells that a text takes: none for combining marks, two for wide characters."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def cut(text: str, width: int) -> str:
    """The text, or as much of it as fits beside an ellipsis."""
    if cells(text) <= width:
        return text
    kept = text[: width - 1]
    while cells(kept) > width - 1:
        kept = kept[:-1]
    return kept + "…"


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _floors(header: Sequence[str], natural: Sequence[int], least: Mapping[int, int]) -> list[int]:
    """The narrowest that each column may become: its own width where ``least`` does not name it."""
    return [
        min(width, max(cells(header[i]), least[i])) if i in least else width
        for i, width in enumerate(natural)
    ]


def _best(floors: Sequence[int], ranks: Sequence[int], available: int) -> tuple[int, ...]:
    """As many columns as fit at their narrowest, those of rank 1 always, low ranks before high ones."""
    taken = [i for i, rank in enumerate(ranks) if rank <= 1]
    for i in sorted(range(len(ranks)), key=ranks.__getitem__):
        if i not in taken and _total([floors[k] for k in [*taken, i]]) <= available:
            taken.append(i)
    return tuple(sorted(taken))


def _give_way(widths: dict[int, int], least: Mapping[int, int], excess: int) -> None:
    """Take ``excess`` cells from the columns in ``least``, always from the widest that still can."""
    for _ in range(excess):
        can = [i for i in least if widths[i] > least[i]]
        if not can:
            return
        widths[max(can, key=widths.__getitem__)] -= 1
