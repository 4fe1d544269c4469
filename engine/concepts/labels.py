"""Working labels without a network: telling words and places of concepts.

A word tells when a concept is strongest on it again and again and other concepts hardly ever are (frequency ×
log lift). Tokens are read as the whole words they are part of, and as two words where they nearly always
stand together. Which pairs are looked at depends on ``max(chosen, rejected)`` only, never on which side won,
so a label cannot leak the test it stands beside. Labels are marked as made from tokens; a person's name
replaces them. ``label_check`` puts them to a test on other responses.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.arrays import Readings
from engine.concepts.texts import TokenPlace, TokenText
from engine.records import Span
from engine.safe_text import one_line

PAIRS_PER_CONCEPT = 24
MAX_PEAKS = 60_000
"""Most tokens fetched for all labels together: with many concepts each gets fewer, at least six."""
LATENTS_PER_CONCEPT = 3
TOGETHER = 0.6
"""Share of a word's peaks that must have the same neighbour for the two to be shown together."""
COMMON = 0.04
"""Share of all words beside which a word stands, from which on it is no telling neighbour."""
SHOWN_SNIPPETS = 3
_SNIPPET_SIDE = 36
_NEXT = re.compile(r"^ ([\w'’-]+)")
_LAST = re.compile(r"([\w'’-]+) $")


@dataclass(frozen=True, slots=True)
class Peak:
    """Where a latent is strongest: one token of one response."""

    owner: int
    """Number of the concept."""
    pair: int
    span: Span
    position: int


@dataclass(frozen=True, slots=True)
class Label:
    """What can be said of a concept from the places where it is strongest."""

    tokens: tuple[str, ...] = ()
    """Telling words or two-word phrases, at most five, most telling first."""
    snippets: tuple[str, ...] = ()
    """Places where it is strongest, the word in «», from different prompts."""
    pairs: tuple[int, ...] = ()
    """Pairs that were looked at."""


def peaks_of(
    readings: Readings, owner: int, latents: Sequence[int], n_peaks: int = PAIRS_PER_CONCEPT
) -> list[Peak]:
    """The strongest places of a concept's most central latents, chosen without looking at labels.

    At most one per prompt group and latent: the same answer often stands in many pairs of a prompt.

    Args:
        readings: all readings.
        owner: number of the concept.
        latents: its latents, most central first; the first ``LATENTS_PER_CONCEPT`` are used.
        n_peaks: places wanted, shared out over those latents.
    """
    central = list(latents[:LATENTS_PER_CONCEPT])
    peaks = []
    for latent in central:
        at = slice(int(readings.by_latent.indptr[latent]), int(readings.by_latent.indptr[latent + 1]))
        chosen, rejected = readings.by_latent.chosen, readings.by_latent.rejected
        top = np.maximum(chosen.act_max[at], rejected.act_max[at])
        pair = readings.by_latent.pair[at]
        order = np.lexsort((pair, -top))
        for k in _spread(order, readings.pairs.group[pair[order]], n_peaks // len(central)):
            is_chosen = chosen.act_max[at][k] >= rejected.act_max[at][k]
            side = chosen if is_chosen else rejected
            span = Span.CHOSEN if is_chosen else Span.REJECTED
            peaks.append(Peak(owner, int(pair[k]), span, int(side.peak[at][k])))
    return peaks


def _spread(order: NDArray[np.integer], group: NDArray[np.int32], wanted: int) -> NDArray[np.integer]:
    """The first ``wanted`` entries of different groups."""
    return order[np.sort(np.unique(group, return_index=True)[1])[:wanted]]


def telling_labels(peaks: Sequence[Peak], token_text: TokenText, n_owners: int) -> list[Label]:
    """Telling words and snippets of each owner.

    Tokens are fetched in pair order, so that a cache of the last response is enough; snippets are in the
    order of the peaks, strongest first for each latent in turn.
    """
    places: dict[Peak, TokenPlace] = {}
    for peak in sorted(set(peaks), key=lambda p: (p.pair, p.span, p.position)):
        places[peak] = token_text(peak.pair, peak.span, peak.position)
    own: list[list[TokenPlace]] = [[] for _ in range(n_owners)]
    seen: list[set[int]] = [set() for _ in range(n_owners)]
    for peak in peaks:
        own[peak.owner].append(places[peak])
        seen[peak.owner].add(peak.pair)
    counts = [Counter(folded(p.word) for p in some) for some in own]
    everywhere: Counter[str] = Counter()
    for counted in counts:
        everywhere.update(counted.keys())
    common = _common_neighbours(places.values())
    labels = []
    for some, counted in zip(own, counts, strict=True):
        words = _telling(counted, everywhere, n_owners)
        written = [_as_written([p for p in some if folded(p.word) == w], common) for w in words]
        labels.append(Label(tuple(dict.fromkeys(written)), _snippets(some, words)))
    return [replace(label, pairs=tuple(sorted(s))) for label, s in zip(labels, seen, strict=True)]


def folded(word: str) -> str:
    """A word as it is counted: without case, with straight apostrophes."""
    return show_token(word).casefold().replace("’", "'")


def _telling(own: Counter[str], everywhere: Counter[str], n_owners: int) -> list[str]:
    """At most five words; those seen only once only where there are no others."""
    total = sum(own.values())

    def weight(word: str) -> float:
        return own[word] / total * float(np.log((n_owners + 1) / everywhere[word]))

    repeated = [w for w in own if own[w] > 1] or list(own)
    return sorted(repeated, key=lambda w: (-weight(w), w))[:5]


def _neighbours(place: TokenPlace) -> tuple[str | None, str | None]:
    """The words right before and after, parted by one space."""
    before, after = _LAST.search(place.before), _NEXT.search(place.after)
    return (folded(before[1]) if before else None, folded(after[1]) if after else None)


def _common_neighbours(places: Iterable[TokenPlace]) -> frozenset[str]:
    """Words that stand beside everything ("the", "to") and so tell nothing of their neighbour."""
    beside = {(n, folded(p.word)) for p in places for n in _neighbours(p) if n is not None}
    counts = Counter(neighbour for neighbour, _ in beside)
    n_words = len({word for _, word in beside})
    return frozenset(w for w, n in counts.items() if n > max(2, COMMON * n_words))


def _as_written(places: Sequence[TokenPlace], common: frozenset[str]) -> str:
    """A word in its most frequent spelling, with the telling neighbour that it nearly always has."""
    word = Counter(show_token(p.word) for p in places).most_common(1)[0][0]
    if not any(c.isalnum() for c in word):
        return word
    beside = [_neighbours(p) for p in places]
    for side in (0, 1):
        found = Counter(pair[side] for pair in beside if pair[side] is not None and pair[side] not in common)
        neighbour, n = found.most_common(1)[0] if found else ("", 0)
        if n >= max(3, TOGETHER * len(places)):
            return one_line(f"{word} {neighbour}" if side else f"{neighbour} {word}", 32)
    return word


def _snippets(places: Sequence[TokenPlace], words: Sequence[str]) -> tuple[str, ...]:
    """The strongest place of each telling word, then others."""
    first = [next(p for p in places if folded(p.word) == w) for w in words]
    return tuple(dict.fromkeys(snippet(p) for p in [*first, *places]))[:SHOWN_SNIPPETS]


def snippet(place: TokenPlace) -> str:
    """``…sorry, but I «can't» help with that…`` on one line."""
    before, after = place.before[-_SNIPPET_SIDE:], place.after[:_SNIPPET_SIDE]
    if len(place.before) > _SNIPPET_SIDE:
        before = "…" + (before.split(" ", 1)[1] if " " in before else before)
    if len(place.after) > _SNIPPET_SIDE:
        after = (after.rsplit(" ", 1)[0] if " " in after else after) + "…"
    return one_line(f"{before}«{show_token(place.word)}»{after}", 140)


def show_token(text: str) -> str:
    """A token as a person reads it: white space made visible, unsafe characters replaced."""
    if not text.strip():
        return "⏎" if "\n" in text else "␣"
    return one_line(text.strip(), 24)


def label_of(tokens: Sequence[str], fallback: str) -> str:
    """``"sorry" · "can't" · "don't"``; ``fallback`` where no token is known."""
    return " · ".join(f'"{t}"' for t in tokens[:3]) or fallback
