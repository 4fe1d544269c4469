"""Rated answers, one per row, joined into pairs by their prompt (KTO, rating files)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.errors import IngestError
from engine.ingest.drafts import Answer, Draft, Dropped, Origin, Reason, Turns, oriented
from engine.manifest import hash_json

MAX_HELD_BYTES = 2 << 30
"""All answers of a source are held until it is read: which belong together is only known then."""

Made = tuple[Origin, Draft | Dropped | None]


@dataclass(slots=True)
class RatedAnswers:
    """Answers of one source by prompt."""

    _by_prompt: dict[Turns, list[tuple[Origin, Answer]]] = field(default_factory=dict)
    _bytes: int = 0

    def add(self, origin: Origin, answer: Answer) -> None:
        """Hold one answer. Raises ``IngestError`` when a source is too large to be held."""
        self._bytes += sum(len(content) for _, content in answer.prompt + answer.answer)
        if self._bytes > MAX_HELD_BYTES:
            raise IngestError(
                f"{origin.file}: more than {MAX_HELD_BYTES >> 30} GB of rated answers to be paired by prompt",
                hint="split the file by prompt, or write pairs with chosen and rejected",
            )
        self._by_prompt.setdefault(answer.prompt, []).append((origin, answer))

    def pairs(self) -> Iterator[Made]:
        """For each row held: the pair it makes, None where it joined another row's pair, or why not.

        Good and bad answers (yes or no) are joined one to one; graded answers as the best against each of
        the others, equal grades as ties. Answers are put in an order of their own first, so that the order
        of rows does not matter.
        """
        for prompt, held in self._by_prompt.items():
            held.sort(key=lambda h: (-h[1].score, hash_json(h[1].answer), h[0].file, h[0].row))
            if held[0][1].is_binary:
                yield from _one_to_one(prompt, held)
            else:
                yield from _best_against_rest(prompt, held)


def _one_to_one(prompt: Turns, held: list[tuple[Origin, Answer]]) -> Iterator[Made]:
    good = [h for h in held if h[1].score > 0]
    bad = [h for h in held if h[1].score <= 0]
    n = min(len(good), len(bad))
    for (good_origin, good_answer), (bad_origin, bad_answer) in zip(good[:n], bad[:n], strict=True):
        yield good_origin, None
        yield bad_origin, _pair(prompt, good_answer, bad_answer)
    for origin, _ in (*good[n:], *bad[n:]):
        yield origin, Dropped(Reason.UNPAIRED, f"{len(good)} good and {len(bad)} bad answers to this prompt")


def _best_against_rest(prompt: Turns, held: list[tuple[Origin, Answer]]) -> Iterator[Made]:
    origin, best = held[0]
    if len(held) == 1:
        yield origin, Dropped(Reason.UNPAIRED, "the only answer to this prompt")
        return
    yield origin, None
    for other_origin, other in held[1:]:
        yield other_origin, _pair(prompt, best, other)


def _pair(prompt: Turns, better: Answer, worse: Answer) -> Draft:
    draft = oriented(prompt, better.answer, worse.answer, better.score - worse.score)
    draft.chosen_was = None
    draft.meta = {"chosen_row": better.meta, "rejected_row": worse.meta} if better.meta or worse.meta else {}
    if not better.is_binary:
        draft.score_chosen, draft.score_rejected = better.score, worse.score
        draft.strength = better.score - worse.score
    return draft
