"""Edits of a rule file that undo takes back, kept in the project's cache so that they outlast a restart.

They belong to one text: where the file is another one by now, there are none. Losing them loses no rule.
"""

import json
from pathlib import Path

from engine.manifest import write_atomic
from engine.paths import ProjectPaths
from engine.views.rules import NO_STEPS, Steps

FORMAT = 1
MAX_STEPS = 200
MAX_CHARACTERS = 400_000
"""Of all texts in one direction; of long files fewer steps are kept."""


def read_steps(paths: ProjectPaths, name: str, stamp: str) -> Steps:
    """The edits that led to the text with this stamp; none where another text was saved last."""
    try:
        found = json.loads(_path(paths, name).read_text(encoding="utf-8"))
        if found["v"] != FORMAT or found["stamp"] != stamp:
            return NO_STEPS
        return Steps(*(tuple(str(text) for text in found[side]) for side in ("past", "future")))
    except (OSError, ValueError, KeyError, TypeError):
        return NO_STEPS  # never written, or damaged: undo begins anew


def write_steps(paths: ProjectPaths, name: str, stamp: str, steps: Steps) -> None:
    """Keep the edits that led to the text with this stamp, the nearest ones where there are too many.

    Raises:
        StoreError: the cache cannot be written.
    """
    facts = {
        "v": FORMAT,
        "stamp": stamp,
        "past": _nearest(steps.past[::-1])[::-1],
        "future": _nearest(steps.future),
    }
    write_atomic(_path(paths, name), json.dumps(facts).encode("ascii"))


def _path(paths: ProjectPaths, name: str) -> Path:
    return paths.cache_dir / "undo" / f"{name}.json"


def _nearest(texts: tuple[str, ...]) -> tuple[str, ...]:
    """As many of the first texts as are kept."""
    left, kept = MAX_CHARACTERS, []
    for text in texts[:MAX_STEPS]:
        left -= len(text)
        if left < 0:
            break
        kept.append(text)
    return tuple(kept)
