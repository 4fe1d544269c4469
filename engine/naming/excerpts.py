"""What a model is shown of a concept: excerpts where it peaks, of several strengths, and others to test with.

Which are taken depends on how strong the concept is there and on chance, never on which side of a pair won.
A prompt is used once: what a name is made from and what it is tested on share none. Texts come from
datasets: they are sanitised, cut, and carry no mark but ours.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.safe_text import sanitise

MARKS = ("«", "»")
"""Around the word where the concept peaks; the text's own marks become single ones."""
_OWN_MARKS = str.maketrans({"«": "‹", "»": "›"})
_WORD_EDGE = 24
"""Characters within which a cut is moved to a gap between words."""


class Stratum(NamedTuple):
    """Excerpts by strength."""

    word: str
    until: float
    """Share of the prompts, the strongest first, up to which this stratum reaches."""
    share: float
    """Of the excerpts that are taken."""


STRATA = (Stratum("strongest", 0.05, 0.5), Stratum("strong", 0.25, 0.25), Stratum("middling", 0.6, 0.25))
"""Half of the excerpts are where the concept is strongest, the others down to where it is common."""


@dataclass(frozen=True, slots=True)
class Carriers:
    """Responses that carry a concept, one entry each."""

    pair: NDArray[np.int64]
    side: NDArray[np.int64]
    """0 chosen, 1 rejected."""
    group: NDArray[np.int64]
    """Prompt group."""
    text: NDArray[np.uint64]
    """Hash of the text: the same answer often stands in many pairs."""
    score: NDArray[np.float64]
    """Largest activation on the response, above 0."""

    def __len__(self) -> int:
        """Responses."""
        return len(self.pair)


class Picked(NamedTuple):
    """Excerpts to use, as positions among the carriers."""

    shown: tuple[tuple[int, str], ...]
    """With the word of their stratum, strongest first."""
    held: tuple[int, ...]
    """In the same proportions."""


def pick(carriers: Carriers, n_shown: int, n_held: int, rng: np.random.Generator) -> Picked:
    """Divide excerpts among what a name is made from and what it is tested on.

    Every prompt and every text is used once. Where there are too few, both parts shrink alike.

    Args:
        carriers: of one concept.
        n_shown: excerpts to make a name from.
        n_held: excerpts to test it on.
        rng: draws inside each stratum.
    """
    order = _one_each(carriers)
    wanted = n_shown + n_held
    if len(order) < wanted:
        n_held = n_held * len(order) // wanted
        n_shown = len(order) - n_held
    shown: list[tuple[int, str]] = []
    held: list[int] = []
    start, due = 0, [0.0, 0.0]
    for stratum in STRATA:
        stop = max(math.ceil(stratum.until * len(order)), start)
        some = rng.permutation(np.arange(start, stop))
        start, due = stop, [due[0] + stratum.share * n_shown, due[1] + stratum.share * n_held]
        first, second = round(due[0]) - len(shown), round(due[1]) - len(held)
        shown += [(int(order[at]), stratum.word) for at in some[:first]]
        held += [int(order[at]) for at in some[first : first + second]]
    used = {at for at, _ in shown} | set(held)
    rest = [int(at) for at in order if int(at) not in used]
    while len(held) < n_held and rest:  # few prompts: strata were too narrow
        held.append(rest.pop(0))
    while len(shown) < n_shown and rest:
        shown.append((rest.pop(0), STRATA[-1].word))
    return Picked(tuple(sorted(shown, key=lambda s: -carriers.score[s[0]])), tuple(held))


def _one_each(carriers: Carriers) -> NDArray[np.int64]:
    """The strongest response of every prompt, none of whose text stands further up, strongest first."""
    order = np.lexsort((carriers.side, carriers.pair, -carriers.score))
    for keys in (carriers.text, carriers.group):
        order = order[np.sort(np.unique(keys[order], return_index=True)[1])]
    return order


def excerpt(text: str, start: int, end: int, n_chars: int, *, is_marked: bool) -> str:
    """The part of a text around the characters ``start:end``, safe to show.

    Args:
        text: of a response.
        start: first character of the word in the middle.
        end: one past its last.
        n_chars: of the part, about; cuts are moved to gaps between words where one is near.
        is_marked: put the word in «».
    """
    side = max((n_chars - (end - start)) // 2, 0)
    first, last = max(start - side, 0), min(end + side, len(text))
    if first:
        gap = text.find(" ", first - 1, min(first + _WORD_EDGE, start))
        first = gap + 1 if gap >= 0 else first
    if last < len(text):
        gap = text.rfind(" ", max(last - _WORD_EDGE, end), last + 1)
        last = gap if gap >= 0 else last
    parts = [_clean(text[a:b]) for a, b in ((first, start), (start, end), (end, last))]
    middle = f"{MARKS[0]}{parts[1]}{MARKS[1]}" if is_marked else parts[1]
    before, after = "…" if first else "", "…" if last < len(text) else ""
    return f"{before}{parts[0]}{middle}{parts[2]}{after}"


def _clean(text: str) -> str:
    return sanitise(text).translate(_OWN_MARKS)
