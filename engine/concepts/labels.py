"""Working labels without a network: telling tokens for concepts, telling words for contexts.

A token tells when it is frequent at a concept's peaks and rare at the peaks of the others (frequency × log
lift). Which pairs are looked at depends on ``max(chosen, rejected)`` only, never on which side won, so a
label cannot leak the test it stands beside. Labels are marked as made
from tokens; a person's name replaces them.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.arrays import Readings
from engine.concepts.texts import TokenText
from engine.records import Span
from engine.safe_text import one_line

PAIRS_PER_CONCEPT = 24
MAX_PEAKS = 60_000
"""Most tokens fetched for all labels together: with many concepts each gets fewer, at least six."""
LATENTS_PER_CONCEPT = 3
_WORD = re.compile(r"[^\W\d_][\w'’-]+")


@dataclass(frozen=True, slots=True)
class Peak:
    """Where a latent is strongest: one token of one response."""

    owner: int
    """Number of the concept."""
    pair: int
    span: Span
    position: int


def peaks_of(
    readings: Readings, owner: int, latents: Sequence[int], n_peaks: int = PAIRS_PER_CONCEPT
) -> list[Peak]:
    """The strongest places of a concept's most central latents, chosen without looking at labels.

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
        for k in np.lexsort((pair, -top))[: n_peaks // len(central)]:
            is_chosen = chosen.act_max[at][k] >= rejected.act_max[at][k]
            side = chosen if is_chosen else rejected
            span = Span.CHOSEN if is_chosen else Span.REJECTED
            peaks.append(Peak(owner, int(pair[k]), span, int(side.peak[at][k])))
    return peaks


def telling_tokens(peaks: Sequence[Peak], token_text: TokenText, n_owners: int) -> list[tuple[str, ...]]:
    """The most telling tokens of each owner, at most five, most telling first.

    Tokens are fetched in pair order, so that a cache of the last response is enough.
    """
    counts: list[Counter[str]] = [Counter() for _ in range(n_owners)]
    everywhere: Counter[str] = Counter()
    for peak in sorted(peaks, key=lambda p: (p.pair, p.span, p.position)):
        token = show_token(token_text(peak.pair, peak.span, peak.position))
        counts[peak.owner][token] += 1
    for own in counts:
        everywhere.update(own.keys())
    return [_telling(own, everywhere, n_owners) for own in counts]


def _telling(own: Counter[str], everywhere: Counter[str], n_owners: int) -> tuple[str, ...]:
    total = sum(own.values())

    def weight(token: str) -> float:
        return own[token] / total * float(np.log((n_owners + 1) / everywhere[token]))

    ranked = sorted(own, key=lambda t: (-weight(t), t))
    return tuple(ranked[:5])


def show_token(text: str) -> str:
    """A token as a person reads it: white space made visible, unsafe characters replaced."""
    if not text.strip():
        return "⏎" if "\n" in text else "␣"
    return one_line(text.strip(), 24)


def label_of(tokens: Sequence[str], fallback: str) -> str:
    """``"sorry" · "can't" · "don't"``; ``fallback`` where no token is known."""
    return " · ".join(f'"{t}"' for t in tokens[:3]) or fallback


def telling_words(
    prompts: Sequence[str], sets: Sequence[NDArray[np.int64]], per_set: int = 200
) -> list[tuple[str, ...]]:
    """Words of the prompts that are more frequent inside each set than over all prompts, at most three.

    Args:
        prompts: text by pair number.
        sets: pair numbers of each context.
        per_set: prompts looked at in each set, evenly spaced.
    """
    step = max(1, len(prompts) // 5000)
    overall = _document_frequency([prompts[i] for i in range(0, len(prompts), step)])
    n_overall = max(len(range(0, len(prompts), step)), 1)
    out = []
    for pairs in sets:
        some = pairs[:: max(1, len(pairs) // per_set)]
        inside = _document_frequency([prompts[int(i)] for i in some])
        out.append(_lifted(inside, max(len(some), 1), overall, n_overall))
    return out


def _document_frequency(texts: Sequence[str]) -> Counter[str]:
    seen: Counter[str] = Counter()
    for text in texts:
        seen.update({w.lower() for w in _WORD.findall(text[-4000:])})
    return seen


def _lifted(inside: Counter[str], n_in: int, overall: Counter[str], n_all: int) -> tuple[str, ...]:
    def surprise(word: str) -> float:
        # Standard errors above the share among all prompts: common words need a large excess.
        usual = (overall[word] + 1) / (n_all + 2)
        return float((inside[word] / n_in - usual) / np.sqrt(usual * (1 - usual) / n_in))

    ranked = sorted((w for w in inside if inside[w] > 2), key=lambda w: (-surprise(w), w))
    return tuple(one_line(w, 24) for w in ranked[:3] if surprise(w) > 0)
