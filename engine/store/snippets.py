"""Top pairs of a concept, each response cut around the token where the concept peaks.

The index knows the peak as a token position, not as a character. A snippet is therefore centred at the same
share of the text, which is near the peak but not on it; exact marks need the reader's tokeniser.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from engine.store.pages import QuerySlot
from engine.views.details import Mark, Snippet, TopPair

N_TOP, N_BRIEF = 60, 24
"""Pairs on a page, and beside a list."""
SNIPPET_CHARS = 320
MAX_MARKS = 2_000
"""Places that are marked in one text at most."""


def top_pairs(
    slot: QuerySlot, concept: int, latents: Sequence[int], n: int = N_TOP, *, context: int | None = None,
    pattern: str = "",
) -> tuple[TopPair, ...]:  # fmt: skip
    """Labelled pairs (of a context) with the largest |chosen − rejected| score, largest first.

    ``pattern``, of a column, matches where the texts are cut and marked.
    """
    scores = slot.run(
        f"SELECT s.pair, s.chosen, s.rejected FROM {labelled_scores(slot, context)} WHERE s.concept = ?"
        " ORDER BY abs(s.chosen - s.rejected) DESC, s.pair LIMIT ?",
        [concept, n],
    )
    # Texts are read only now that it is known of which pairs: a frequent concept has a third of all.
    texts = slot.run(
        "SELECT p.pair, p.pair_id, p.source, p.chosen_text, p.rejected_text,"
        " p.chosen_tokens, p.rejected_tokens"
        " FROM (SELECT unnest(?::UINTEGER[]) AS pair) k JOIN pairs p ON p.pair = k.pair",
        [[int(r[0]) for r in scores]],
    )
    by_pair = {int(r[0]): r[1:] for r in texts}
    rows = [(*row, *by_pair[int(row[0])]) for row in scores]
    peaks = _peaks(slot, [int(r[0]) for r in rows], latents)
    found = []
    for pair, chosen, rejected, pair_id, source, chosen_text, rejected_text, n_chosen, n_rejected in rows:
        chosen_peak, rejected_peak = peaks.get(int(pair), (None, None))
        found.append(
            TopPair(
                int(pair),
                str(pair_id),
                source or "",
                float(chosen or 0),
                float(rejected or 0),
                cut_around(chosen_text or "", chosen_peak, int(n_chosen or 0), pattern),
                cut_around(rejected_text or "", rejected_peak, int(n_rejected or 0), pattern),
            )
        )
    return tuple(found)


def labelled_scores(slot: QuerySlot, context: int | None = None) -> str:
    """Source ``s`` of the scores of labelled pairs, of one context or (None, 0) everywhere.

    Most datasets have no other pairs, and joining a frequent concept to all pairs costs ten times as much as
    finding its top.
    """
    source = "concept_scores c"
    if slot.run("SELECT 1 FROM pairs WHERE label IS DISTINCT FROM 'chosen' LIMIT 1"):
        source += " JOIN pairs p ON p.pair = c.pair AND p.label = 'chosen'"
    if context:
        source += f" SEMI JOIN context_pairs m ON m.pair = c.pair AND m.context = {context:d}"
    return f"(SELECT c.* FROM {source}) s" if " JOIN " in source else "concept_scores s"


def _peaks(
    slot: QuerySlot, pairs: Sequence[int], latents: Sequence[int]
) -> dict[int, tuple[int | None, int | None]]:
    """Pair → token of the largest activation of any of the latents, (chosen, rejected)."""
    if not pairs or not latents:
        return {}
    rows: list[tuple[Any, ...]] = slot.run(
        "SELECT pair, arg_max(chosen_peak, chosen_max) FILTER (chosen_n > 0),"
        " arg_max(rejected_peak, rejected_max) FILTER (rejected_n > 0) FROM acts"
        " WHERE latent IN (SELECT unnest(?::UINTEGER[])) AND pair IN (SELECT unnest(?::UINTEGER[]))"
        " GROUP BY pair",
        [list(latents), list(pairs)],
    )
    return {int(p): (c, r) for p, c, r in rows}


def cut_around(text: str, peak_token: int | None, n_tokens: int, pattern: str = "") -> Snippet:
    """The part of a text around the first match of a pattern, or the share ``peak_token / n_tokens``.

    Its start where there is neither.
    """
    marks = places_of(text, pattern)
    start = 0
    if marks or (peak_token is not None and n_tokens > 0):
        centre = marks[0][0] if marks else int(((peak_token or 0) + 0.5) / n_tokens * len(text))
        start = min(max(centre - SNIPPET_CHARS // 3, 0), max(len(text) - SNIPPET_CHARS, 0))
        if start:
            space = text.find(" ", start, start + 24)
            start = space + 1 if space >= 0 else start
    piece = text[start : start + SNIPPET_CHARS]
    inside = tuple(
        (a - start, min(b - start, len(piece))) for a, b in marks if start <= a < start + len(piece)
    )
    return Snippet(piece, start, len(text) - start - len(piece), peak_token, n_tokens, inside)


def places_of(text: str, pattern: str) -> tuple[Mark, ...]:
    """Where a pattern matches, at most ``MAX_MARKS`` places."""
    if not pattern:
        return ()
    from engine.patterns import search

    return tuple(m.span() for m in islice(search(pattern).finditer(text), MAX_MARKS) if m.end() > m.start())
