"""Texts of the ingested pairs for the rooms that need them: conversations and single tokens by number."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.records import Message, Span

if TYPE_CHECKING:
    import pyarrow as pa

    from engine.models.chat import ChatLayout

_CACHED_RESPONSES = 4096


def read_messages(pairs_path: Path, n_pairs: int | None = None) -> "PairMessages":
    """Open the conversations of pairs.parquet (the first ``n_pairs``)."""
    import pyarrow.parquet as pq

    table = pq.read_table(pairs_path, columns=["prompt", "chosen", "rejected"], memory_map=True)
    return PairMessages(table if n_pairs is None else table.slice(0, n_pairs))


class PairMessages:
    """Messages of each span by pair number; converted to Python only where asked for."""

    def __init__(self, table: "pa.Table") -> None:
        self._columns = {span: table.column(span.value).combine_chunks() for span in Span}
        self.n_pairs = table.num_rows

    def of(self, pair: int, span: Span) -> tuple[Message, ...]:
        """The messages of one span of one pair."""
        return tuple(Message(m["role"], m["content"] or "") for m in self._columns[span][pair].as_py())


class TokenReader:
    """Text of single response tokens, as the reader's own layout cuts them.

    Working labels ask for a few tokens of many responses, often several of one response in a row, so the
    last few thousand tokenised responses are kept.
    """

    def __init__(self, messages: PairMessages, layout: "ChatLayout", max_tokens: int) -> None:
        self._messages = messages
        self._layout = layout
        self._max_tokens = max_tokens
        self._cache: OrderedDict[tuple[int, Span], Sequence[str]] = OrderedDict()

    def __call__(self, pair: int, span: Span, position: int) -> str:
        """One token; empty where the position does not exist."""
        tokens = self._tokens(pair, span)
        return tokens[position] if 0 <= position < len(tokens) else ""

    def _tokens(self, pair: int, span: Span) -> Sequence[str]:
        key = (pair, span)
        found = self._cache.get(key)
        if found is not None:
            self._cache.move_to_end(key)
            return found
        prompt = self._messages.of(pair, Span.PROMPT)
        response = None if span is Span.PROMPT else self._messages.of(pair, span)
        encoded = self._layout.encode(prompt, response, max_tokens=self._max_tokens)
        own = encoded.prompt_own if response is None else encoded.response_own
        tokens = tuple(encoded.token_text(int(i)) for i in own)
        self._cache[key] = tokens
        if len(self._cache) > _CACHED_RESPONSES:
            self._cache.popitem(last=False)
        return tokens
