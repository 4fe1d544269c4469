"""Weights as proportions: one file per level of weight, for trainers that mix files but weight no pairs.

A pair of weight w is seen with probability w / w_max: the trainer takes that share of its file. Where weights
are many, those within 10% of each other share a file, and its share is the mean of its pairs' weights. Rows
stand in the order of md5(seed:pair id), since some trainers take the first rows and others draw.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.compiler.export_rows import Row

_MANY = 12
"""Up to so many different weights each has a file of its own."""
_RATIO = 1.1
"""Largest over smallest weight of one file otherwise."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Pairs of about one weight."""

    rows: tuple[Row, ...]
    n_taken: int
    """How many of them the trainer is to see in one epoch."""

    @property
    def proportion(self) -> float:
        """Share to ask for: int(proportion · n) is ``n_taken``."""
        n = len(self.rows)
        return 1.0 if self.n_taken == n else (self.n_taken + 0.5) / n


def buckets(rows: Sequence[Row], seed: int) -> list[Bucket]:
    """Files by falling weight; a file of which nothing would be seen still takes one pair."""
    top = max(row.weight for row in rows)
    is_many = len({round(row.weight, 6) for row in rows}) > _MANY
    levels: dict[float, list[Row]] = {}
    for row in rows:
        level = math.floor(math.log(top / row.weight, _RATIO) + 1e-9) if is_many else -round(row.weight, 6)
        levels.setdefault(level, []).append(row)
    out = []
    for level in sorted(levels):
        members = sorted(levels[level], key=lambda row: _draw(seed, row.pair_id))
        mean = sum(row.weight for row in members) / len(members)
        # the heaviest file sets the scale, so that it is taken whole
        out.append((members, mean))
    scale = out[0][1]
    return [Bucket(tuple(m), max(round(len(m) * w / scale), 1)) for m, w in out]


def _draw(seed: int, pair_id: str) -> bytes:
    return hashlib.md5(f"{seed}:{pair_id}".encode(), usedforsecurity=False).digest()[8:][::-1]
