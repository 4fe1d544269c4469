"""Rated answers, one per row, joined into pairs by their prompt (KTO, rating files)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.errors import IngestError
from engine.ingest.drafts import Answer, Draft, Dropped, Notes, Origin, Reason, Turns, oriented
from engine.manifest import hash_json

MAX_HELD_BYTES = 2 << 30
"""All answers of a source are held until it is read: which belong together is only known then."""

Made = tuple[Origin, Draft | Dropped | None, Notes]
"""A row, what came of it, and what is worth noting about it."""


class _Held(NamedTuple):
    """An answer that waits for another one."""

    origin: Origin
    answer: Answer
    notes: Notes


@dataclass(slots=True)
class RatedAnswers:
    """Answers of one source by prompt and the tools that were offered with it."""

    _by_prompt: dict[tuple[Turns, str | None], list[_Held]] = field(default_factory=dict)
    _bytes: int = 0

    def add(self, origin: Origin, answer: Answer, notes: Notes) -> None:
        """Hold one answer. Raises ``IngestError`` when a source is too large to be held."""
        self._bytes += sum(len(content) for _, content in answer.prompt + answer.answer)
        if self._bytes > MAX_HELD_BYTES:
            raise IngestError(
                f"{origin.file}: more than {MAX_HELD_BYTES >> 30} GB of rated answers to be paired by prompt",
                hint="split the file by prompt, or write pairs with chosen and rejected",
            )
        self._by_prompt.setdefault((answer.prompt, answer.tools), []).append(_Held(origin, answer, notes))

    def pairs(self) -> Iterator[Made]:
        """For each row held: the pair it makes, None where it joined another row's pair, or why not.

        Good and bad answers (yes or no) are joined one to one; graded answers as the best against each of
        the others, equal grades as ties. Answers are put in an order of their own first, so that the order
        of rows does not matter.
        """
        for held in self._by_prompt.values():
            held.sort(
                key=lambda h: (-h.answer.score, hash_json(h.answer.answer), h.origin.file, h.origin.row)
            )
            if held[0].answer.is_binary:
                yield from _one_to_one(held)
            else:
                yield from _best_against_rest(held)


def _one_to_one(held: list[_Held]) -> Iterator[Made]:
    good = [h for h in held if h.answer.score > 0]
    bad = [h for h in held if h.answer.score <= 0]
    n = min(len(good), len(bad))
    for better, worse in zip(good[:n], bad[:n], strict=True):
        yield better.origin, None, better.notes
        yield worse.origin, _pair(better.answer, worse.answer), worse.notes
    counts = f"{len(good)} good and {len(bad)} bad answers to this prompt"
    for origin, _, notes in (*good[n:], *bad[n:]):
        yield origin, Dropped(Reason.UNPAIRED, counts), notes


def _best_against_rest(held: list[_Held]) -> Iterator[Made]:
    best, *others = held
    if not others:
        yield best.origin, Dropped(Reason.UNPAIRED, "the only answer to this prompt"), best.notes
        return
    yield best.origin, None, best.notes
    for other in others:
        yield other.origin, _pair(best.answer, other.answer), other.notes


_SAID = ("annotator", "language", "conversation_id", "source")
_BETTER_DECIDES = ("conversation_id", "source")
"""A pair has to have one: where its rows differ, that of the better answer."""


def _pair(better: Answer, worse: Answer) -> Draft:
    """Two answers as a pair. What their rows say alike is the pair's, the rest stays with each answer."""
    draft = oriented(better.prompt, better.answer, worse.answer, better.score - worse.score)
    draft.chosen_was = None
    draft.tools = better.tools
    metas = (dict(better.meta), dict(worse.meta))
    for name in _SAID:
        values = (getattr(better, name), getattr(worse, name))
        said = [v for v in values if v is not None]
        if len(set(said)) == 1 or (said and name in _BETTER_DECIDES):
            setattr(draft, name, said[0])
        if len(set(said)) > 1:
            for meta, value in zip(metas, values, strict=True):
                meta[name] = value
    weights = [a.weight for a in (better, worse)]
    if any(w is not None for w in weights):
        draft.weight = sum(1.0 if w is None else w for w in weights) / 2
    draft.meta = {"chosen_row": metas[0], "rejected_row": metas[1]} if any(metas) else {}
    if not better.is_binary:
        draft.score_chosen, draft.score_rejected = better.score, worse.score
        draft.strength = better.score - worse.score
    return draft
