"""From pairs to sequences for the model: every distinct text once.

A language model reads prompt and response together; the prompt's own reading is taken from the first
sequence with that prompt, since no token sees what follows it. An encoder reads the prompt alone, and prompt
and response cut to the response. What is read once is shared by content: the same prompt, the same prompt
and response. Sequences with the same prompt are neighbours, so that the prompt need be computed only once.
"""

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from engine.models.chat import ChatLayout, EncodedText
from engine.reading.packed import Row
from engine.reading.pair_file import Messages, PairFile, PairTexts
from engine.reading.stream import Stream
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
        keys,
        n_lost=sum(text.n_lost for text in encoded),
        n_plain=sum(layout.has_template and not text.has_template for text in encoded),
        n_without_tools=sum(text.lacks_tools for text in encoded),
    )


def prompt_length(text: EncodedText, layout: ChatLayout) -> int:
    """Leading tokens that depend on the prompt alone; 0 where every token sees the whole text."""
    if not layout.is_causal or not len(text.prompt_own):
        return 0
    return int(text.prompt_own[-1]) + 1


def job_residuals(stream: Stream, jobs: Iterable[Job]) -> Iterator[torch.Tensor]:
    """Residual stream of each job in turn, (T, D); a prompt that neighbours share is computed once.

    Whether a prompt is computed by itself depends on its length alone, so that a text gets the same
    activations whatever it is read with.
    """
    held: tuple[bytes, torch.Tensor, object] | None = None
    for job in jobs:
        n = job.n_prompt
        if n < stream.min_shared:
            yield stream.residuals([job.ids])[0] if len(job.ids) else stream.nothing()
            continue
        key = job.ids[:n].tobytes()
        if held is None or held[0] != key:
            held = (key, *stream.begin(job.ids[:n]))
        after = stream.go_on(held[2], job.ids[n:]) if len(job.ids) > n else stream.nothing()
        yield torch.cat([held[1], after])


def plan_rows(jobs: Sequence[Job], longest: int) -> list[list[int]]:
    """Neighbours with the same prompt, as rows of one prompt and several responses.

    Args:
        jobs: sequences; those with the same prompt are neighbours.
        longest: tokens of a row; a longer text has a row of its own.

    Returns:
        Indices into ``jobs``, in order.
    """
    rows: list[list[int]] = []
    held, length = b"", 0
    for i, job in enumerate(jobs):
        prompt = job.ids[: job.n_prompt].tobytes()
        more = len(job.ids) - job.n_prompt
        if prompt and prompt == held and length + more <= longest:
            rows[-1].append(i)
            length += more
        else:
            rows.append([i])
            held, length = prompt, len(job.ids)
    return rows


def row_of(jobs: Sequence[Job]) -> Row:
    """The row of jobs that begin with the same prompt; a single one needs no split."""
    n = jobs[0].n_prompt if len(jobs) > 1 else 0
    return Row(jobs[0].ids[:n], tuple(job.ids[n:] for job in jobs))


def row_length(jobs: Sequence[Job]) -> int:
    """Tokens of that row."""
    return row_of(jobs).n_tokens


def n_computed(jobs: Sequence[Job], min_shared: int) -> int:
    """Tokens that ``job_residuals`` sends through the model."""
    n, held = 0, b""
    for job in jobs:
        n += len(job.ids)
        prompt = job.ids[: job.n_prompt].tobytes() if job.n_prompt >= min_shared else b""
        n -= job.n_prompt if prompt and prompt == held else 0
        held = prompt or held
    return n


def own_residuals(
    pairs: PairFile, stream: Stream, start: int, stop: int
) -> Iterator[tuple[str, torch.Tensor]]:
    """Residual vectors of the spans' own tokens of some pairs, each distinct text once.

    Yields:
        Where the span comes from, ``source/span``, and its (T, D) float32 vectors; T > 0.
    """
    work = plan_work(pairs.texts(start, stop), stream.layout, stream.max_tokens)
    owner: dict[Hashable, str] = {
        key: f"{pairs.sources[start + i]}/{span}"
        for i, keys in enumerate(work.keys)
        for span, key in keys.items()
    }
    for job, residuals in zip(work.jobs, job_residuals(stream, work.jobs), strict=True):
        for want in job.wants:
            if len(want.own):
                yield owner[want.key], residuals[torch.from_numpy(want.own).to(residuals.device)].float()
