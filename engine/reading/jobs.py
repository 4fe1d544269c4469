"""From pairs to sequences for the model: every distinct text once.

A language model reads prompt and response together; the prompt's own reading is taken from the first
sequence with that prompt, since no token sees what follows it. An encoder reads the prompt alone, and prompt
and response cut to the response. What is read once is shared by content: the same prompt, the same prompt
and response. Sequences with the same prompt are neighbours, so that the prompt need be computed only once.
"""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.models.chat import ChatLayout, EncodedText
from engine.reading.pair_file import Messages, PairTexts
from engine.records import Span


class Encode(Protocol):
    """Tokenises conversations, as ``ChatLayout.encode_many`` does."""

    def __call__(
        self,
        conversations: Sequence[tuple[Messages, Messages | None]],
        *,
        tools: Sequence[str | None],
        max_tokens: int,
    ) -> list[EncodedText]:
        """Tokens of many conversations, in order."""


@dataclass(frozen=True, slots=True)
class Want:
    """A span that a job should read."""

    key: Hashable
    own: NDArray[np.int64]
    """Indices of the span's own tokens in the job's ids."""
    is_truncated: bool


@dataclass(frozen=True, slots=True)
class Job:
    """One sequence for the model, and the spans to read in it."""

    ids: NDArray[np.int64]
    wants: tuple[Want, ...]
    n_prompt: int = 0
    """Leading tokens up to the prompt's last own one: other responses to it begin with the same."""


class Conversation(NamedTuple):
    """What one sequence is made of, and the key of the reading of its last part."""

    prompt: Messages
    tools: str | None
    response: Messages | None
    """None for the prompt alone."""

    @property
    def prompt_key(self) -> "Conversation":
        """The key of its prompt's reading."""
        return Conversation(self.prompt, self.tools, None)


@dataclass(frozen=True, slots=True)
class Work:
    """Sequences to run, and where each pair's readings will be found."""

    jobs: list[Job]
    texts: list[EncodedText]
    """What each job was made of, as ``encode`` gave it."""
    keys: list[dict[Span, Conversation]]
    """Per pair: the key of each span's reading."""
    n_lost: int
    n_plain: int
    n_without_tools: int


def span_conversations(pair: PairTexts) -> dict[Span, Conversation]:
    """The conversation that ends with each span of a pair."""
    return {
        Span.PROMPT: Conversation(pair.prompt, pair.tools, None),
        Span.CHOSEN: Conversation(pair.prompt, pair.tools, pair.chosen),
        Span.REJECTED: Conversation(pair.prompt, pair.tools, pair.rejected),
    }


def plan_work(
    pairs: Sequence[PairTexts],
    layout: ChatLayout,
    max_tokens: int,
    spans: Sequence[Collection[Span]] | None = None,
    encode: Encode | None = None,
) -> Work:
    """Tokenise the distinct texts of some pairs.

    Args:
        pairs: their texts.
        layout: the reader's.
        max_tokens: the reader's limit.
        spans: per pair, which spans to read; None: all three.
        encode: does what ``layout.encode_many`` does, perhaps elsewhere.
    """
    keys = [span_conversations(pair) for pair in pairs]
    wanted: dict[Conversation, None] = {}
    for i, of_pair in enumerate(keys):
        for span in Span if spans is None else spans[i]:
            wanted[of_pair[span]] = None
    families: dict[Conversation, dict[Conversation, None]] = {}
    for of_pair in keys:  # a language model's prompt is read before a response: any will do
        for span in (Span.CHOSEN, Span.REJECTED):
            if of_pair[span] in wanted:
                families.setdefault(of_pair[Span.PROMPT], {})[of_pair[span]] = None
    for of_pair in keys:
        prompt = of_pair[Span.PROMPT]
        if prompt in wanted and not layout.is_causal:
            families[prompt] = {prompt: None} | families.get(prompt, {})
        elif prompt in wanted and prompt not in families:
            families[prompt] = {of_pair[Span.CHOSEN]: None}
    ordered = [conversation for family in families.values() for conversation in family]
    encoded = (encode or layout.encode_many)(
        [(c.prompt, c.response) for c in ordered], tools=[c.tools for c in ordered], max_tokens=max_tokens
    )
    jobs: list[Job] = []
    seen: set[Conversation] = set()
    for conversation, text in zip(ordered, encoded, strict=True):
        prompt, wants = conversation.prompt_key, []
        if (layout.is_causal or conversation == prompt) and prompt in wanted and prompt not in seen:
            seen.add(prompt)
            wants.append(Want(prompt, text.prompt_own, text.prompt_truncated))
        if conversation.response is not None and conversation in wanted:
            wants.append(Want(conversation, text.response_own, text.response_truncated))
        jobs.append(Job(text.ids, tuple(wants), prompt_length(text, layout)))
    return Work(
        jobs,
        encoded,
        keys,
        n_lost=sum(text.n_lost for text in encoded),
        n_plain=sum(layout.has_template and not text.has_template for text in encoded),
        n_without_tools=sum(text.lacks_tools for text in encoded),
    )


def response_job(key: Hashable, text: EncodedText, layout: ChatLayout) -> Job:
    """The sequence of a prompt and a response, of which only the response is wanted."""
    want = Want(key, text.response_own, text.response_truncated)
    return Job(text.ids, (want,), prompt_length(text, layout))


def prompt_length(text: EncodedText, layout: ChatLayout) -> int:
    """Leading tokens that depend on the prompt alone; 0 where every token sees the whole text."""
    if not layout.is_causal or not len(text.prompt_own):
        return 0
    return int(text.prompt_own[-1]) + 1
