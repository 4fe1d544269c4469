"""Texts and tokens for synthetic readings."""

import numpy as np

from engine.concepts.texts import PairTexts, TokenPlace
from engine.records import Span
from tests.worlds import WORDS


def texts_for(n_pairs: int, seed: int = 0) -> PairTexts:
    """Random words; chosen and rejected differ."""
    rng = np.random.default_rng(seed)
    rows = [[" ".join(rng.choice(WORDS, 12)) for _ in range(n_pairs)] for _ in range(3)]
    return PairTexts(*rows)


def token(pair: int, span: Span, position: int) -> TokenPlace:
    """A token that depends on its place only."""
    return TokenPlace(WORDS[(pair + position) % len(WORDS)], "", "")
