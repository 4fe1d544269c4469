"""What is known of concepts beyond their estimates: SQL in, view models out."""

import json
from itertools import groupby
from typing import Any

from engine.errors import StoreError
from engine.store.mirror import SHOWN_NAME
from engine.store.pages import QuerySlot
from engine.views.scrutiny import (
    ConceptScrutiny,
    LevelEffect,
    LevelSummary,
    Mix,
    MixConcept,
    PoolingEffect,
    SideEffect,
    Spread,
)
from engine.views.tables import Interval

_NAME = SHOWN_NAME
_NAMES = "LEFT JOIN memory.main.names n ON n.concept_id = c.concept_id"
_LEVEL = """l.facet, l.level, l.n_pairs, l.n_discordant, l.push, l.low, l.win_rate, l.high, l.call,
    l.without_low, l.without_win_rate, l.without_high, l.without_call, l.equal_low, l.equal_win_rate,
    l.equal_high, l.equal_call"""
_SPREAD = "s.facet, s.n_levels, s.mean_low, s.mean_win_rate, s.mean_high, s.tau, s.i2"


def concept_scrutiny(slot: QuerySlot, concept: int) -> ConceptScrutiny:
    """Poolings, unique contribution, side effects and parts of the mix of one concept."""
    own = slot.run(
        "SELECT unique_win_rate, unique_selected FROM hypotheses WHERE context = 0 AND concept = ?", [concept]
    )
    win_rate, selected = own[0] if own else (None, None)
    pooled = slot.run(
        "SELECT pooling, agrees, win_low, win_rate, win_high, taught_z, taught_call, equal_low,"
        " equal_win_rate, equal_high, equal_z, equal_call FROM poolings WHERE concept = ? ORDER BY pooling",
        [concept],
    )
    moved = slot.run(
        f"SELECT e.dropped, c.concept_id, {_NAME}, e.before, e.after, e.change_low, e.change_high"
        f" FROM side_effects e JOIN concepts c ON c.concept = e.moved {_NAMES} WHERE e.concept = ?"
        " ORDER BY abs(e.after - e.before) / (e.change_high - e.change_low) DESC, e.moved",
        [concept],
    )
    levels = slot.run(
        f"SELECT {_LEVEL} FROM levels l WHERE l.concept = ? ORDER BY facet DESC, rank", [concept]
    )
    spreads = slot.run(f"SELECT {_SPREAD} FROM spreads s WHERE s.concept = ? ORDER BY facet DESC", [concept])
    return ConceptScrutiny(
        win_rate,
        selected,
        tuple(
            PoolingEffect(r[0], r[1], Interval(*r[2:5]), r[5], r[6], Interval(*r[7:10]), r[10], r[11])
            for r in pooled
        ),
        float(moved[0][0]) if moved else 0.0,
        tuple(SideEffect(r[1], r[2] or "", *r[3:7]) for r in moved),
        tuple(_level(r) for r in levels),
        tuple(_spread(r) for r in spreads),
        tuple(_left_out(slot).items()),
    )


def mix(slot: QuerySlot, facet: str) -> Mix:
    """A facet over all concepts.

    Raises:
        StoreError: the index has nothing by this facet: fewer than two levels that can be tested.
    """
    levels = slot.run(
        "SELECT l.level, any_value(l.n_pairs), any_value(l.n_groups), count(*) FILTER (l.call),"
        f" count(*) FILTER ({_LOST}), count(*) FILTER ({_GAINED})"
        " FROM levels l JOIN hypotheses h ON h.concept = l.concept AND h.context = 0 WHERE l.facet = ?"
        " GROUP BY l.level, l.rank ORDER BY l.rank",
        [facet],
    )
    if not levels:
        others = [str(r[0]) for r in slot.run("SELECT DISTINCT facet FROM levels ORDER BY facet")]
        instead = f"; there is something `--by {'` and `--by '.join(others)}`" if others else ""
        raise StoreError(
            f"this index has nothing by {facet}",
            hint=f"at least two {facet}s with enough prompt groups are needed{instead}",
        )
    rows = slot.run(
        f"SELECT c.concept_id, {_NAME}, h.win_low, h.win_rate, h.win_high, h.taught_call, h.equal_call,"
        f" {_SPREAD}, {_LEVEL} FROM hypotheses h JOIN levels l ON l.concept = h.concept"
        " JOIN spreads s ON s.concept = h.concept AND s.facet = l.facet"
        f" JOIN concepts c ON c.concept = h.concept {_NAMES} WHERE h.context = 0 AND l.facet = ?"
        " ORDER BY abs(h.taught_z) DESC NULLS LAST, h.concept, l.rank",
        [facet],
    )
    return Mix(
        facet,
        tuple(LevelSummary(*r) for r in levels),
        tuple(_mix_concept(list(part)) for _, part in groupby(rows, key=lambda r: r[0])),
        _left_out(slot).get(facet, 0),
    )


def _left_out(slot: QuerySlot) -> dict[str, int]:
    """Levels that were not compared, by facet."""
    facts = slot.run("SELECT value FROM meta WHERE key = 'stats'")
    found = json.loads(facts[0][0]).get("levels_left_out", {}) if facts else {}
    return {str(facet): int(n) for facet, n in found.items() if n}


_LOST = (
    "(h.taught_call AND NOT coalesce(l.without_call, FALSE))"
    " OR (h.equal_call AND NOT coalesce(l.equal_call, FALSE))"
)
_GAINED = (
    "(l.without_call AND NOT coalesce(h.taught_call, FALSE))"
    " OR (l.equal_call AND NOT coalesce(h.equal_call, FALSE))"
)


def _mix_concept(rows: list[tuple[Any, ...]]) -> MixConcept:
    first = rows[0]
    return MixConcept(
        first[0],
        first[1] or "",
        Interval(*first[2:5]),
        first[5],
        first[6],
        _spread(first[7:14]),
        tuple(_level(r[14:]) for r in rows),
    )


def _level(row: tuple[Any, ...]) -> LevelEffect:
    facet, level, n_pairs, n_discordant, push = row[:5]
    return LevelEffect(
        facet, level, n_pairs, n_discordant, push, Interval(*row[5:8]), row[8], Interval(*row[9:12]), row[12],
        Interval(*row[13:16]), row[16],
    )  # fmt: skip


def _spread(row: tuple[Any, ...]) -> Spread:
    return Spread(row[0], int(row[1]), Interval(*row[2:5]), row[5], row[6])
