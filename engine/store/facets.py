"""Counts of a column over some rows: of its values, or of bins where a number has too many of them.

Every count comes with the filter terms that select exactly its rows: bins are counted by the same comparisons
with the same numbers that a filter makes of those terms.
"""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from engine.store.filters import SHARES, is_numeric, number_of, text_term
from engine.views.tables import ColumnKind, FacetCount

if TYPE_CHECKING:
    from engine.store.pages import QuerySlot

N_BINS = 8
"""Quantile bins: each holds about an eighth of the rows; a value that more rows have stands alone."""
MAX_VALUES = 24
"""A number with at most so many values is counted value by value."""
MAX_CHARACTERS = 200
"""Texts are counted by so many first characters."""
SHARE_EDGES = ("0", ".1", ".2", ".3", ".4", ".5", ".6", ".7", ".8", ".9", "1")
Q_EDGES = ("0", ".001", ".01", ".05", ".1", ".5", "1")
_FINE = 100
"""Edges of bins are rounded to a hundredth of the range or finer."""


class Column(NamedTuple):
    """What is counted."""

    name: str
    kind: ColumnKind
    sql: str
    source: str
    """FROM clause over the rows of the selection."""
    is_filtered: bool
    """The selection asks something of this column: no bin may reach beyond its rows then."""


class Cut(NamedTuple):
    """A place between numbers: just before one, or just behind it. Cuts sort as numbers do."""

    at: float
    is_behind: bool
    text: str
    """The number as a filter writes it."""


class Bin(NamedTuple):
    """Numbers between two cuts."""

    low: Cut
    high: Cut

    @property
    def operators(self) -> tuple[str, str]:
        """How a number is compared with the two ends."""
        return ">" if self.low.is_behind else ">=", "<=" if self.high.is_behind else "<"

    def terms(self, name: str) -> str:
        """The filter that selects it."""
        if self.low.at == self.high.at:
            return f"{name}={self.low.text}"
        above, below = self.operators
        return f"{name}{above}{self.low.text} {name}{below}{self.high.text}"

    def label(self, kind: ColumnKind) -> str:
        """``12 to 44``; ``0.5 to <0.75`` where the end belongs to the next bin."""
        is_share = kind in (ColumnKind.SHARE, ColumnKind.INTERVAL)
        low, high = (_shown(cut.at, is_share=is_share) for cut in self)
        if self.low.at == self.high.at:
            return low
        return f"{'>' if self.low.is_behind else ''}{low} to {'' if self.high.is_behind else '<'}{high}"


def facet(slot: "QuerySlot", column: Column, limit: int) -> tuple[FacetCount, ...]:
    """Counts of texts, most frequent first; of numbers in ascending order, of many different ones in bins.

    Args:
        slot: where the queries run.
        column: what is counted.
        limit: texts at most.
    """
    if not is_numeric(column.kind):
        return _texts(slot, column, limit)
    found: list[FacetCount] = []
    n, n_values, n_none, n_odd, is_whole = slot.run(
        f"SELECT count(v), count(DISTINCT v), count(*) - count(raw), count(raw) - count(v),"
        f" bool_and(v = floor(v)) FROM {_numbers(column)}"
    )[0]
    if n and n_values <= MAX_VALUES and column.kind not in SHARES:
        rows = slot.run(
            f"SELECT v, count(*) FROM {_numbers(column)} WHERE v IS NOT NULL GROUP BY 1 ORDER BY 1"
        )
        found = [FacetCount(_plain(v), int(k), f"{column.name}={_plain(v)}") for v, k in rows]
    elif n:
        found = _counted(slot, column, _bins(slot, column, is_whole=is_whole))
    if n_odd:
        found.append(FacetCount("no finite number", int(n_odd)))
    if n_none:
        found.append(FacetCount(None, int(n_none), text_term(column.name, None)))
    return tuple(found)


def _numbers(column: Column) -> str:
    """A table of ``raw`` and of ``v``, which is NULL where it is no finite number."""
    v = f"CAST({column.sql} AS DOUBLE)"
    return f"(SELECT {column.sql} AS raw, CASE WHEN isfinite({v}) THEN {v} END AS v FROM {column.source})"


def _texts(slot: "QuerySlot", column: Column, limit: int) -> tuple[FacetCount, ...]:
    rows = slot.run(
        f"SELECT left(CAST({column.sql} AS VARCHAR), {MAX_CHARACTERS}) AS value, count(*) AS n"
        f" FROM {column.source} GROUP BY 1 ORDER BY n DESC, value LIMIT ?",
        [limit],
    )
    found = []
    for value, n in rows:
        is_cut = value is not None and len(value) == MAX_CHARACTERS
        found.append(FacetCount(value, int(n), "" if is_cut else text_term(column.name, value)))
    return tuple(found)


def begun(slot: "QuerySlot", column: Column, part: str, limit: int) -> tuple[str, ...]:
    """Texts of a column that hold a part, ignoring case: those that begin so first, then the frequent ones.

    Args:
        slot: where the query runs.
        column: of texts.
        part: empty: all of them.
        limit: texts at most.
    """
    rows = slot.run(
        f"SELECT value FROM (SELECT left(CAST({column.sql} AS VARCHAR), {MAX_CHARACTERS}) AS value,"
        f" count(*) AS n FROM {column.source} GROUP BY 1)"
        f" WHERE value <> '' AND length(value) < {MAX_CHARACTERS} AND contains(lower(value), lower(?))"
        " ORDER BY starts_with(lower(value), lower(?)) DESC, n DESC, value LIMIT ?",
        [part, part, limit],
    )
    return tuple(str(value) for (value,) in rows)


def _counted(slot: "QuerySlot", column: Column, bins: Sequence[Bin]) -> list[FacetCount]:
    cases, ends = [], []
    for number, found in enumerate(bins):
        above, below = found.operators
        cases.append(f"WHEN v {above} ? AND v {below} ? THEN {number}")
        ends += [found.low.at, found.high.at]
    rows = slot.run(
        f"SELECT CASE {' '.join(cases)} END AS bin, count(*) FROM {_numbers(column)}"
        " WHERE v IS NOT NULL GROUP BY 1 ORDER BY 1",
        ends,
    )
    return [FacetCount(bins[i].label(column.kind), int(n), bins[i].terms(column.name)) for i, n in rows]


def _bins(slot: "QuerySlot", column: Column, *, is_whole: bool) -> list[Bin]:
    """Bins without gaps that hold every finite number of the column."""
    low, *between, high = _quantiles(slot, column, N_BINS)
    ends = [_cut(_plain(low)), _cut(_plain(high), is_behind=True)]
    if column.kind in SHARES:
        edges = Q_EDGES if column.kind is ColumnKind.Q else SHARE_EDGES
        if not column.is_filtered:
            ends = [_cut(edges[0]), _cut(edges[-1], is_behind=True)]
        return _between(ends, [_cut(edge) for edge in edges])
    often = sorted({q for q, following in pairwise([low, *between, high]) if q == following})
    if often:  # values that fill more than a bin stand alone, and the others are dealt out anew
        between = _quantiles(slot, column, max(N_BINS - len(often), 2), often)[1:-1]
    cuts = [_cut(_plain(q), is_behind=behind) for q in often for behind in (False, True)]
    if is_whole:
        bins = _between(ends, [*cuts, *(_cut(_plain(q)) for q in between)])
        return [b for b in map(_of_whole, bins) if b.low.at <= b.high.at]
    digits = _digits(low, high)
    if not column.is_filtered:
        ends = [
            _cut(_rounded(low, digits, "ROUND_FLOOR")),
            _cut(_rounded(high, digits, "ROUND_CEILING"), is_behind=True),
        ]
    return _between(ends, [*cuts, *(_cut(_rounded(q, digits)) for q in between)])


def _digits(low: float, high: float) -> int | None:
    """Digits behind the point that edges of bins need; None: all that a number has."""
    step = (high - low) / _FINE
    is_usual = 1e-15 < step < 1e15 and max(abs(low), abs(high)) < 1e15
    return max(math.ceil(-math.log10(step)), 0) if is_usual else None


def _quantiles(slot: "QuerySlot", column: Column, n: int, without: Sequence[float] = ()) -> list[float]:
    """Smallest number, the ones that end each n-th of the rows, largest number."""
    shares = ", ".join(str(k / n) for k in range(n + 1))
    marks = f"AND v NOT IN ({', '.join('?' * len(without))})" if without else ""
    found = slot.run(
        f"SELECT quantile_disc(v, [{shares}]) FROM {_numbers(column)} WHERE v IS NOT NULL {marks}", without
    )[0][0]
    return [float(q) for q in found or ()]


def _between(ends: Sequence[Cut], cuts: Iterable[Cut]) -> list[Bin]:
    first, last = ends
    places = {(c.at, c.is_behind): c for c in cuts if first[:2] < c[:2] < last[:2]}
    return [Bin(a, b) for a, b in pairwise([first, *(places[key] for key in sorted(places)), last])]


def _cut(text: str, *, is_behind: bool = False) -> Cut:
    return Cut(number_of(text), is_behind, text)


def _of_whole(found: Bin) -> Bin:
    """The same whole numbers with both ends inside."""
    low = found.low.at + found.low.is_behind
    high = found.high.at - (not found.high.is_behind)
    return Bin(_cut(_plain(low)), _cut(_plain(high), is_behind=True))


def _rounded(value: float, digits: int | None, rounding: str = "ROUND_HALF_EVEN") -> str:
    """With so many digits behind the point."""
    if digits is None:
        return _plain(value)
    return _text(Decimal(value).quantize(Decimal(1).scaleb(-digits), rounding))


def _shown(value: float, *, is_share: bool) -> str:
    if is_share:
        return f"{value * 100:.4g}%"
    return f"{value:.0f}" if value == int(value) else f"{value:.4g}"


def _plain(value: float) -> str:
    """All digits of a number: read back it is the same number."""
    return _text(Decimal(repr(value)))


def _text(value: Decimal) -> str:
    """Without an exponent, which a filter does not read, and without trailing zeros."""
    return format(value.normalize(), "f") if value else "0"
