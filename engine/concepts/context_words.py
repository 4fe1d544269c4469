"""Telling words of contexts: what their prompts have more of than all prompts, however long they are.

Log odds of a word inside against all prompts with an informative Dirichlet prior (Monroe, Colaresi & Quinn
2008, "Fightin' words"), on the number of prompts that hold the word, ranked by the log odds less two standard
errors: by z alone, common words with a small excess would come first. Shares are of all words of a prompt, so
that contexts with long prompts are not named after "and" and "of".
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.safe_text import one_line

PER_SET = 400
"""Prompts looked at in each context, evenly spaced …"""
OVERALL = 5000
"""… and over all of them."""
PRIOR = 200.0
"""Largest weight of the prior, in words, …"""
PRIOR_SHARE = 0.25
"""… and its largest share of the context's own: a word must be seen often to outweigh what is usual."""
SHOWN = 3
_LAST_CHARACTERS = 4000
_WORD = re.compile(r"[^\W\d_][\w'’-]+")


def telling_words(prompts: Sequence[str], sets: Sequence[NDArray[np.integer]]) -> list[tuple[str, ...]]:
    """At most three words of each context, most telling first.

    Args:
        prompts: text by pair number.
        sets: pair numbers of each context.
    """
    overall = _document_frequency(
        [prompts[i] for i in range(0, len(prompts), max(1, len(prompts) // OVERALL))]
    )
    total = max(sum(overall.values()), 1)
    usual = {word: n / total for word, n in overall.items()}
    out = []
    for pairs in sets:
        step = max(1, len(pairs) // PER_SET)
        inside = _document_frequency([prompts[int(i)] for i in pairs[::step]])
        out.append(_ranked(inside, overall, usual, total))
    return out


def contrast_words(more: Sequence[str], less: Sequence[str], n: int = 5) -> tuple[str, ...]:
    """At most n words that the first texts have more of than both together, most telling first."""
    inside, overall = _document_frequency(more), _document_frequency([*more, *less])
    total = max(sum(overall.values()), 1)
    usual = {word: count / total for word, count in overall.items()}
    return _ranked(inside, overall, usual, total, n)


def _document_frequency(texts: Sequence[str]) -> Counter[str]:
    """In how many different texts each word stands."""
    seen: Counter[str] = Counter()
    for text in dict.fromkeys(texts):
        seen.update({w.casefold() for w in _WORD.findall(text[-_LAST_CHARACTERS:])})
    return seen


def _ranked(
    inside: Counter[str], overall: Counter[str], usual: dict[str, float], total: int, n: int = SHOWN
) -> tuple[str, ...]:
    n_in = sum(inside.values())
    weight = min(PRIOR, PRIOR_SHARE * n_in)

    def at_least(word: str) -> float:
        prior = weight * usual.get(word, 0.5 / total)
        a = inside[word] + prior
        b = overall[word] + prior
        odds_in = a / (n_in + weight - a)
        odds_all = b / (total + weight - b)
        return float(np.log(odds_in / odds_all) - 2 / np.sqrt(a))

    ranked = sorted((w for w in inside if inside[w] > 2), key=lambda w: (-at_least(w), w))
    return tuple(one_line(w, 24) for w in ranked[:n] if at_least(w) > 0)
