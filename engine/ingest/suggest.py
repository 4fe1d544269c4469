"""A mapping to try, from names that say what they hold: a hint for a person, never taken unasked.

Which side is the better one decides every sign, so only words that say so are understood.
"""

import re
from collections.abc import Iterable, Sequence

from engine.ingest.drafts import Row
from engine.ingest.formats.generic import preference_word
from engine.ingest.formats.places import find, listed
from engine.ingest.formats.turns import is_messages, unpacked
from engine.ingest.formats.values import number

_PROMPT = frozenset(
    [
        "prompt",
        "question",
        "query",
        "instruction",
        "input",
        "user",
        "ask",
        "context",
        "messages",
        "conversation",
        "conversations",
        "dialog",
        "dialogue",
        "chat",
        "turns",
        "history",
        "post",
    ]
)
_BETTER = frozenset(
    ["chosen", "good", "better", "best", "winner", "winning", "accepted", "preferred", "positive", "pos"]
)
_WORSE = frozenset(
    ["rejected", "bad", "worse", "worst", "loser", "losing", "dispreferred", "negative", "neg"]
)
_LABEL = frozenset(
    ["winner", "label", "better", "best", "preference", "preferred", "choice", "verdict", "vote"]
)
_SCORE = frozenset(["score", "rating", "reward"])
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_SLOTS = (("a", "b"), ("1", "2"), ("left", "right"), ("first", "second"))


def suggested(row: Row) -> str | None:
    """A mapping for a record with a prompt and two texts, as one types it; None: names say too little."""
    places = listed(row)
    texts = [place for place in places if _is_text(row, place)]
    prompt = _only(p for p in texts if _words(p) & _PROMPT)
    if prompt is None:
        return None
    sides = [p for p in texts if p != prompt]
    better, worse = (_only(p for p in sides if _words(p) & known) for known in (_BETTER, _WORSE))
    if better is not None and worse is not None:
        return f"prompt={prompt},chosen={better},rejected={worse}"
    slots = _slots(sides)
    if slots is None:
        return None
    beside = [p for p in places if p not in texts]
    label = _only(p for p in beside if _words(p) & _LABEL and _is_label(row, p))
    scores = _slots([p for p in beside if _words(p) & _SCORE])
    if label is None and scores is None:
        return None
    says = (
        f"label={label}"
        if label is not None or scores is None
        else f"score_a={scores[0]},score_b={scores[1]}"
    )
    return f"prompt={prompt},a={slots[0]},b={slots[1]},{says}"


def _words(place: str) -> set[str]:
    """Words of the last name of a place, in lower case."""
    return {word.lower() for word in _WORDS.findall(place.rpartition(".")[2])}


def _only(places: Iterable[str]) -> str | None:
    found = list(places)
    return found[0] if len(found) == 1 else None


def _is_text(row: Row, place: str) -> bool:
    """A text or messages; a word such as ``left`` says who won, a number in quotes is a score."""
    found = find(row, place)
    value = None if found is None else unpacked(found.value)
    if isinstance(value, list | dict):
        return is_messages(value if isinstance(value, list) else [value])
    is_said = isinstance(value, str) and bool(value.strip())
    return is_said and preference_word(value) is None and number(value) is None


def _is_label(row: Row, place: str) -> bool:
    found = find(row, place)
    return found is not None and isinstance(found.value, str) and preference_word(found.value) is not None


def _slots(places: Sequence[str]) -> tuple[str, str] | None:
    """Two places whose names differ only in which slot they are."""
    found = []
    for first in places:
        for a, b in _SLOTS:
            other = re.sub(
                rf"(?<![A-Za-z0-9]){a}(?![A-Za-z0-9])", b, first.replace("_", " "), flags=re.IGNORECASE
            )
            found += [
                (first, p) for p in places if p != first and p.replace("_", " ").lower() == other.lower()
            ]
    return found[0] if len(found) == 1 else None
