"""Texts of the ingested pairs for the rooms that need them: conversations and single tokens by number."""

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from engine.concepts.texts import TokenPlace, place, word_at
from engine.records import Message, Span

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from engine.models.chat import ChatLayout

_CACHED_RESPONSES = 4096


def read_messages(pairs_path: Path, n_pairs: int | None = None) -> "PairMessages":
    """Open the conversations of pairs.parquet (the first ``n_pairs``)."""
    import pyarrow.parquet as pq

    table = pq.read_table(pairs_path, columns=["prompt", "chosen", "rejected", "tools"], memory_map=True)
    return PairMessages(table if n_pairs is None else table.slice(0, n_pairs))


class PairMessages:
    """Messages of each span by pair number; converted to Python only where asked for."""

    def __init__(self, table: "pa.Table") -> None:
        self._columns = {span: table.column(span.value).combine_chunks() for span in Span}
        self._tools = table.column("tools")
        self.n_pairs = table.num_rows

    def of(self, pair: int, span: Span) -> tuple[Message, ...]:
        """The messages of one span of one pair."""
        return tuple(Message(m["role"], m["content"] or "") for m in self._columns[span][pair].as_py())

    def tools(self, pair: int) -> str | None:
        """JSON of the tools that a pair's prompt offers."""
        found = self._tools[pair].as_py()
        return None if found is None else str(found)


class TokenReader:
    """Single tokens of responses in their place, as the reader's own layout cuts them.

    Working labels ask for a few tokens of many responses, often several of one response in a row, so the
    last few thousand tokenised responses are kept.
    """

    def __init__(self, messages: PairMessages, layout: "ChatLayout", max_tokens: int) -> None:
        self._messages = messages
        self._layout = layout
        self._max_tokens = max_tokens
        self._cache: OrderedDict[tuple[int, Span], _Located] = OrderedDict()

    def __call__(self, pair: int, span: Span, position: int) -> TokenPlace:
        """One token; empty where the position does not exist."""
        located = self._located(pair, span)
        if not 0 <= position < len(located.offsets):
            return TokenPlace("", "", "")
        return place(located.text, *(int(c) for c in located.offsets[position]))

    def in_text(self, pair: int, span: Span, position: int) -> tuple[str, int, int]:
        """The text of a span, and the characters of the word that one of its tokens belongs to.

        White space is no part of a word and stands for itself. An empty range at the text's beginning where
        the position does not exist.
        """
        located = self._located(pair, span)
        if not 0 <= position < len(located.offsets):
            return located.text, 0, 0
        start, end = (int(c) for c in located.offsets[position])
        first, last = word_at(located.text, start, end)
        return (located.text, first, last) if first < last else (located.text, start, end)

    def _located(self, pair: int, span: Span) -> "_Located":
        key = (pair, span)
        found = self._cache.get(key)
        if found is not None:
            self._cache.move_to_end(key)
            return found
        prompt = self._messages.of(pair, Span.PROMPT)
        response = None if span is Span.PROMPT else self._messages.of(pair, span)
        tools = self._messages.tools(pair)
        encoded = self._layout.encode(prompt, response, tools=tools, max_tokens=self._max_tokens)
        own = encoded.prompt_own if response is None else encoded.response_own
        offsets = encoded.offsets[own]
        start = int(offsets[0, 0]) if len(offsets) else 0
        stop = int(offsets[-1, 1]) if len(offsets) else 0
        located = _Located(encoded.text[start:stop], offsets - start)
        self._cache[key] = located
        if len(self._cache) > _CACHED_RESPONSES:
            self._cache.popitem(last=False)
        return located


class _Located(NamedTuple):
    text: str
    """Of one span."""
    offsets: "NDArray[np.int64]"
    """(T, 2) character range of each of its tokens."""
