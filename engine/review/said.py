"""What entries are about, in few words."""

from collections import Counter
from collections.abc import Sequence

from engine.review.entries import Entry


def who_of(entries: Sequence[Entry]) -> str:
    """The concept with its context; of several ``3 concepts``, ``2 hypotheses`` or decisions, where mixed."""
    if len(entries) == 1:
        only = entries[0]
        return f"{only.name} · in {only.context}" if only.context is not None else only.name
    kinds = {entry.target.kind if entry.target is not None else "" for entry in entries}
    what = {"concept": "concepts", "hypothesis": "hypotheses"}
    return f"{len(entries):,} {what.get(kinds.pop(), 'decisions') if len(kinds) == 1 else 'decisions'}"


def whose(held: Sequence[Entry]) -> str:
    """``bo's keep``, ``2 by bo, 1 by cy``."""
    if len(held) == 1:
        verdict = held[0].verdict
        return f"{held[0].author}'s {verdict.value if verdict is not None else 'verdict'}"
    return ", ".join(f"{n:,} by {author}" for author, n in Counter(e.author for e in held).most_common())
