"""Is a working label any good? Its words counted on sampled responses that carry the concept and on others.

A label made from the strongest places can be a lucky word. So every label stands beside two shares, of the
responses that carry the concept and of those that do not, in which one of its words stands, and beside places
where its first word stands although the concept is silent. The sample is of responses of both sides alike
and knows nothing of the concept or the label of the pair; prompts that a label was made from do not count for
that label.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.concepts.labels import folded, snippet
from engine.concepts.scores import ConceptScores
from engine.concepts.texts import PairTexts, place

MAX_PAIRS = 2000
NAME_WORDS = 3
_SHOWN = 2
_LONGEST = 20_000
"""Characters of a response that are looked at."""
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class LabelCheck:
    """How a label's words are spread over sampled responses."""

    inside: float | None = None
    """Share of the responses that carry the concept in which one of its words stands; None without any."""
    outside: float | None = None
    """The same among responses that do not carry it."""
    silent: tuple[str, ...] = ()
    """Places where its first word stands in a response that does not carry the concept."""


def check_labels(
    names: Sequence[tuple[str, ...]],
    seen: Sequence[NDArray[np.int64]],
    scores: ConceptScores,
    texts: PairTexts,
    group: NDArray[np.int32],
    rng: np.random.Generator,
) -> list[LabelCheck]:
    """Check the words of the first concepts' names.

    Args:
        names: telling words of concept 0, 1, …; the first three are the name.
        seen: pairs that each label was made from.
        scores: which responses carry which concept.
        texts: of all pairs.
        group: (P,) prompt group.
        rng: draws the sample.
    """
    n_pairs = len(texts.chosen)
    picked = np.sort(rng.choice(n_pairs, min(n_pairs, MAX_PAIRS), replace=False))
    responses = [side[int(i)][:_LONGEST] for i in picked for side in (texts.chosen, texts.rejected)]
    wanted = {folded(word) for name in names for word in name[:NAME_WORDS]}
    standing = _standing(responses, wanted)
    column = np.full(n_pairs, -1, np.int64)
    column[picked] = np.arange(len(picked))
    found = []
    for k, (name, pairs) in enumerate(zip(names, seen, strict=True)):
        unseen = np.repeat(~np.isin(group[picked], group[pairs]), 2)
        carries = np.zeros(len(responses), np.bool_)
        carries[_carried(scores, k, column)] = True
        words = [folded(w) for w in name[:NAME_WORDS]]
        found.append(_check(words, standing, carries, unseen, responses))
    return found


Standing = dict[str, dict[int, int]]
"""Word to the responses it stands in, and where in each of them it stands first."""


def _check(
    words: Sequence[str],
    standing: Standing,
    carries: NDArray[np.bool_],
    unseen: NDArray[np.bool_],
    responses: Sequence[str],
) -> LabelCheck:
    if not words:
        return LabelCheck()
    has = np.zeros(len(responses), np.bool_)
    has[[r for word in words for r in standing[word]]] = True
    inside, outside = has[carries & unseen], has[~carries & unseen]
    first = standing[words[0]]
    silent = [r for r in first if unseen[r] and not carries[r]]
    # Spread over the sample: the first ones would all come from one prompt.
    some = silent[:: max(1, len(silent) // _SHOWN)][:_SHOWN]
    snippets = (snippet(place(responses[r], first[r], first[r] + len(words[0]))) for r in some)
    return LabelCheck(
        float(inside.mean()) if len(inside) else None,
        float(outside.mean()) if len(outside) else None,
        tuple(dict.fromkeys(snippets)),
    )


def _carried(scores: ConceptScores, concept: int, column: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sampled responses that carry a concept: chosen sides even, rejected sides odd."""
    rows = slice(int(scores.indptr[concept]), int(scores.indptr[concept + 1]))
    at = column[scores.pair[rows]]
    sides = ((scores.chosen_fires[rows], 0), (scores.rejected_fires[rows], 1))
    return np.concatenate([2 * at[fires & (at >= 0)] + side for fires, side in sides])


def _standing(responses: Sequence[str], wanted: set[str]) -> Standing:
    """Where each wanted word, two-word phrase or sign stands first in each response."""
    words = {w for w in wanted if all(_WORD.fullmatch(part) for part in w.split(" "))}
    others = {w: "\n" if w == "⏎" else w for w in wanted - words}
    found: Standing = {w: {} for w in wanted}
    for r, response in enumerate(responses):
        text = response.casefold().replace("’", "'")
        if len(text) != len(response):  # some letters fold into two: places would not fit
            text = response.replace("’", "'")
        for word, start in _words_and_phrases(text):
            if word in words:
                found[word].setdefault(r, start)
        for sign, written in others.items():
            start = text.find(written)
            if start >= 0:
                found[sign][r] = start
    return found


def _words_and_phrases(text: str) -> Iterator[tuple[str, int]]:
    previous, end = None, -2
    for match in _WORD.finditer(text):
        yield match[0], match.start()
        if previous is not None and match.start() == end + 1 and text[end] == " ":
            yield f"{previous[0]} {match[0]}", previous.start()
        previous, end = match, match.end()
