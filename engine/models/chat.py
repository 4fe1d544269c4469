"""From messages to token ids, and which of those tokens are the text's own.

A chat template wraps each message in marks, some of them special tokens, some plain text of several tokens
(Tulu's ``<|user|>``). Readings count only the tokens of the messages' own text. The boundary comes from the
template itself: it is rendered once per sequence of roles with sentinels for the contents, which gives the
literal pieces around them; each real rendering is checked against those pieces. Nothing is tokenised twice
and no prompt is tokenised alone to find where its response begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from engine.manifest import hash_json
from engine.models.templates import CharRange, Rendered, Template, render_plainly
from engine.records import Message

LAYOUT_VERSION = 2
"""Raised when the same messages would give other tokens or other own tokens."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EncodedText:
    """Token ids of a prompt, or of prompt and response, and which of them are whose own."""

    ids: IntArray  # (T,)
    prompt_own: IntArray
    """Indices into ``ids``, ascending: tokens of the prompt's contents; no template, no special token."""
    response_own: IntArray
    """Likewise for the response; empty when there is none."""
    offsets: IntArray  # (T, 2)
    """Character range of each token in ``text``."""
    text: str
    has_template: bool
    """False: the plain layout below was used, because the tokenizer has no chat template."""
    prompt_truncated: bool = False
    response_truncated: bool = False
    n_lost: int = 0
    """Contents that the template changed beyond recognition."""
    lacks_tools: bool = False
    """Tool definitions were given that the template does not print."""
    contents: tuple[CharRange, ...] = ()
    """Where each message's content lies in ``text``; empty for one that the template left out."""

    def token_text(self, index: int) -> str:
        """The characters of token ``index``."""
        start, end = self.offsets[index]
        return self.text[int(start) : int(end)]


@dataclass(frozen=True)
class ChatLayout:
    """How a tokenizer lays out conversations.

    Without a chat template a plain layout is used. Language models get one paragraph per message,
    ``User: …``, blank line, ``Assistant: …``, between the tokenizer's own special tokens; encoders get the
    contents alone, separated by blank lines. Conversations that a template refuses even after its system
    message was folded into the first user message are laid out plainly as well, and say so.
    """

    tokenizer: Any
    """The transformers tokenizer, for its template."""
    backend: Tokenizer
    """A copy of its fast tokenizer without padding and truncation, safe to share between threads."""
    is_causal: bool
    has_template: bool
    fingerprint: str
    """Hash over tokenizer, template and layout version."""
    _is_special: NDArray[np.bool_] = field(repr=False)
    """By token id; the last entry stands for all larger ones."""
    _template: Template | None = field(default=None, repr=False)

    @classmethod
    def of(cls, tokenizer: Any, *, is_causal: bool) -> "ChatLayout":
        """The layout of a fast tokenizer."""
        backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        backend.no_padding()
        backend.no_truncation()
        template = tokenizer.chat_template if is_causal else None
        rendering = Template(tokenizer) if template else None
        special_ids = [int(i) for i in tokenizer.all_special_ids]
        is_special = np.zeros(max(special_ids, default=-1) + 2, dtype=bool)
        is_special[special_ids] = True
        return cls(
            tokenizer=tokenizer,
            backend=backend,
            is_causal=is_causal,
            has_template=bool(template),
            fingerprint=hash_json(
                [LAYOUT_VERSION, is_causal, backend.to_str(), template or ""]
                + (rendering.marks if rendering is not None else [])
            ),
            _is_special=is_special,
            _template=rendering,
        )

    def encode(
        self,
        prompt: Sequence[Message],
        response: Sequence[Message] | None,
        *,
        tools: str | None = None,
        max_tokens: int | None = None,
    ) -> EncodedText:
        """Tokens of a prompt, or of prompt and response; see ``encode_many``."""
        return self.encode_many([(prompt, response)], tools=[tools], max_tokens=max_tokens)[0]

    def encode_many(
        self,
        conversations: Sequence[tuple[Sequence[Message], Sequence[Message] | None]],
        *,
        tools: Sequence[str | None] | None = None,
        max_tokens: int | None = None,
    ) -> list[EncodedText]:
        """Tokens of many conversations; the tokenizer spreads them over its own threads.

        Args:
            conversations: prompt and response each; None for the prompt alone.
            tools: per conversation JSON of the tool definitions that its prompt offers, or None. They are
                template text: nobody's own. A template that cannot print them, and the plain layout, leave
                them out and say so.
            max_tokens: cut to this many tokens: a prompt of more than three quarters of it (all of it when
                there is no response) loses its oldest tokens, then the response loses its last.

        Raises:
            ModelError: the chat template itself is broken.
        """
        given = tools if tools is not None else [None] * len(conversations)
        rendered = [
            self._render([*prompt, *(response or ())], offered)
            for (prompt, response), offered in zip(conversations, given, strict=True)
        ]
        by_special: dict[bool, list[int]] = {True: [], False: []}
        for i, item in enumerate(rendered):
            by_special[not item.has_template].append(i)
        encodings: dict[int, Any] = {}
        for adds_special, indices in by_special.items():
            texts = [rendered[i].text for i in indices]
            found = self.backend.encode_batch(texts, add_special_tokens=adds_special)
            encodings.update(zip(indices, found, strict=True))
        located = (
            self._locate(rendered[i], encodings[i], len(prompt), response is not None, max_tokens)
            for i, (prompt, response) in enumerate(conversations)
        )
        return [
            replace(text, lacks_tools=True) if offered is not None and not item.has_tools else text
            for text, offered, item in zip(located, given, rendered, strict=True)
        ]

    def _locate(
        self, rendered: Rendered, encoding: Any, n_prompt: int, has_response: bool, max_tokens: int | None
    ) -> EncodedText:
        ids = np.asarray(encoding.ids, dtype=np.int64)
        offsets = np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        is_special = np.asarray(encoding.special_tokens_mask, dtype=bool)
        is_special |= self._is_special.take(ids, mode="clip")
        prompt_own = _overlapping(offsets, rendered.contents[:n_prompt], is_special)
        response_own = _overlapping(offsets, rendered.contents[n_prompt:], is_special)
        # A token across the boundary belongs to the side that begins it.
        response_own = np.setdiff1d(response_own, prompt_own, assume_unique=True)
        whole = EncodedText(
            ids=ids,
            prompt_own=prompt_own,
            response_own=response_own,
            offsets=offsets,
            text=rendered.text,
            has_template=rendered.has_template,
            n_lost=rendered.n_lost,
            contents=rendered.contents,
        )
        if max_tokens is None:
            return whole
        return _truncate(whole, max_tokens, max_tokens * 3 // 4 if has_response else max_tokens, is_special)

    def _render(self, messages: Sequence[Message], tools: str | None = None) -> Rendered:
        found = None if self._template is None else self._template.render(messages, tools)
        return found or render_plainly(messages, with_roles=self.is_causal)


def _overlapping(offsets: IntArray, ranges: Sequence[CharRange], is_special: NDArray[np.bool_]) -> IntArray:
    """Indices of the tokens that share a character with a range and are not special."""
    own = np.zeros(len(offsets), dtype=bool)
    for start, end in ranges:
        own |= (offsets[:, 0] < end) & (offsets[:, 1] > start) & (offsets[:, 0] < offsets[:, 1])
    return np.flatnonzero(own & ~is_special)


def _truncate(
    encoded: EncodedText, max_tokens: int, prompt_cap: int, is_special: NDArray[np.bool_]
) -> EncodedText:
    """Cut to ``max_tokens``; what a prompt loses depends on the prompt alone, so that both sides agree."""
    n = len(encoded.ids)
    prompt_end = int(encoded.prompt_own[-1]) + 1 if len(encoded.prompt_own) else 0
    excess = max(prompt_end - prompt_cap, 0)
    head = 1 if n and is_special[0] else 0
    keep = np.r_[0:head, head + excess : n][:max_tokens]
    if len(keep) == n:
        return encoded
    place = np.full(n, -1, dtype=np.int64)
    place[keep] = np.arange(len(keep))
    prompt_own, response_own = place[encoded.prompt_own], place[encoded.response_own]
    return replace(
        encoded,
        ids=encoded.ids[keep],
        offsets=encoded.offsets[keep],
        prompt_own=prompt_own[prompt_own >= 0],
        response_own=response_own[response_own >= 0],
        prompt_truncated=bool((prompt_own < 0).any()),
        response_truncated=bool((response_own < 0).any()),
    )
