"""From messages to token ids, and which of those tokens are the text's own.

A chat template wraps each message in marks, some of them special tokens, some plain text of several tokens
(Tulu's ``<|user|>``). Readings count only the tokens of the messages' own text. The boundary comes from the
template itself: it is rendered once per sequence of roles with sentinels for the contents, which gives the
literal pieces around them; each real rendering is checked against those pieces. Nothing is tokenised twice
and no prompt is tokenised alone to find where its response begins.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jinja2
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from engine.errors import ModelError
from engine.manifest import hash_json
from engine.records import Message

LAYOUT_VERSION = 2
"""Raised when the same messages would give other tokens or other own tokens."""
_FIXED_DATE = "26 Jul 2024"
"""Templates that print today's date would make readings depend on the day; this is Llama 3.1's default."""

_N_SKELETONS = 1024

IntArray = NDArray[np.int64]


class CharRange(NamedTuple):
    """Characters ``start:end`` of a rendered text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as one text, and where each message's content lies in it."""

    text: str
    contents: tuple[CharRange, ...]
    """One per message; empty for a content that the template left out."""
    n_lost: int
    """Contents that the template changed beyond recognition; they count as template text."""
    has_template: bool
    """False: the plain layout was used."""
    has_tools: bool = False
    """Tool definitions are part of the text."""


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
    _skeletons: dict[tuple[tuple[str, ...], str | None], "_Skeleton | None"] = field(
        default_factory=dict, repr=False
    )

    @classmethod
    def of(cls, tokenizer: Any, *, is_causal: bool) -> "ChatLayout":
        """The layout of a fast tokenizer."""
        backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        backend.no_padding()
        backend.no_truncation()
        template = tokenizer.chat_template if is_causal else None
        special_ids = [int(i) for i in tokenizer.all_special_ids]
        is_special = np.zeros(max(special_ids, default=-1) + 2, dtype=bool)
        is_special[special_ids] = True
        return cls(
            tokenizer=tokenizer,
            backend=backend,
            is_causal=is_causal,
            has_template=bool(template),
            fingerprint=hash_json([LAYOUT_VERSION, is_causal, backend.to_str(), template or ""]),
            _is_special=is_special,
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
        if self.has_template:
            for offered in dict.fromkeys((tools, None)):  # a template may refuse tools, not the messages
                for turns in (_Turns.of(messages), _Turns.folded(messages)):
                    skeleton = self._skeleton(turns.roles, offered)
                    text = self._apply(turns, offered) if skeleton is not None else None
                    if skeleton is not None and text is not None:
                        found = turns.unfold(_match(text, skeleton, turns.contents), len(messages))
                        return replace(found, has_tools=self._prints(turns.roles, offered))
        return _render_plainly(messages, with_roles=self.is_causal)

    def _prints(self, roles: tuple[str, ...], tools: str | None) -> bool:
        """Do the tools change the template's own text?"""
        return tools is not None and self._skeleton(roles, tools) != self._skeleton(roles, None)

    def _skeleton(self, roles: tuple[str, ...], tools: str | None) -> "_Skeleton | None":
        """The template's own text around the contents; None where it refuses this order of roles."""
        key = (roles, tools)
        if key not in self._skeletons:
            if len(self._skeletons) >= _N_SKELETONS:  # every pair may offer tools of its own
                self._skeletons.clear()
            sentinels = [f"zq7x{i}c0ntent{i}x7qz" for i in range(len(roles))]
            text = self._apply(_Turns(roles, tuple(sentinels), ()), tools)
            self._skeletons[key] = None if text is None else _Skeleton.cut(text, sentinels)
        return self._skeletons[key]

    def _apply(self, turns: "_Turns", tools: str | None) -> str | None:
        chat = [{"role": r, "content": c} for r, c in zip(turns.roles, turns.contents, strict=True)]
        try:
            offered = None if tools is None else json.loads(tools)
            return str(
                self.tokenizer.apply_chat_template(
                    chat, tools=offered, tokenize=False, date_string=_FIXED_DATE
                )
            )
        except jinja2.TemplateSyntaxError as error:
            raise ModelError(
                f"the chat template is broken: {error.message}", hint="repair chat_template in the tokenizer"
            ) from error
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, IndexError):
            return None  # the template refuses these roles, or the tools are no JSON that it knows


@dataclass(frozen=True, slots=True)
class _Turns:
    """Messages as the template gets them."""

    roles: tuple[str, ...]
    contents: tuple[str, ...]
    turn_of: tuple[tuple[int, int, int], ...]
    """Per message: its turn, and where its content lies inside the turn's content."""

    @classmethod
    def of(cls, messages: Sequence[Message]) -> "_Turns":
        places = tuple((i, 0, len(m.content)) for i, m in enumerate(messages))
        return cls(tuple(m.role for m in messages), tuple(m.content for m in messages), places)

    @classmethod
    def folded(cls, messages: Sequence[Message]) -> "_Turns":
        """System messages joined to the message after them, as templates without a system role want it."""
        roles: list[str] = []
        contents: list[str] = []
        places: list[tuple[int, int, int]] = []
        waiting = ""
        for i, message in enumerate(messages):
            start = len(waiting)
            places.append((len(roles), start, start + len(message.content)))
            if message.role == "system" and i + 1 < len(messages):
                waiting += message.content + "\n\n"
                continue
            roles.append("user" if message.role == "system" else message.role)
            contents.append(waiting + message.content)
            waiting = ""
        return cls(tuple(roles), tuple(contents), tuple(places))

    def unfold(self, rendered: Rendered, n_messages: int) -> Rendered:
        """Ranges per message from ranges per turn."""
        if len(self.roles) == n_messages:
            return rendered
        ranges = []
        for turn, start, end in self.turn_of:
            at = rendered.contents[turn]
            shift = min(len(self.contents[turn]) - len(self.contents[turn].lstrip()), start)
            ranges.append(
                CharRange(min(at.start + start - shift, at.end), min(at.start + end - shift, at.end))
            )
        return replace(rendered, contents=tuple(ranges))


@dataclass(frozen=True, slots=True)
class _Skeleton:
    """Literal text before, between and after the contents, in the order in which the template puts them."""

    order: tuple[int, ...]
    """Message numbers as they come in the text; those that the template drops are absent."""
    pieces: tuple[str, ...]
    """One more than ``order``."""

    @classmethod
    def cut(cls, text: str, sentinels: Sequence[str]) -> "_Skeleton":
        found = sorted((text.find(s), i) for i, s in enumerate(sentinels) if s in text)
        pieces, at = [], 0
        for position, i in found:
            pieces.append(text[at:position])
            at = position + len(sentinels[i])
        return cls(tuple(i for _, i in found), (*pieces, text[at:]))


def _match(text: str, skeleton: _Skeleton, contents: Sequence[str]) -> Rendered:
    """Find each content in a rendered text, exactly where the skeleton says if the text agrees with it."""
    ranges = [CharRange(0, 0)] * len(contents)
    at = 0
    n_lost = sum(1 for i, c in enumerate(contents) if i not in skeleton.order and c.strip())
    for k, i in enumerate(skeleton.order):
        if text.startswith(skeleton.pieces[k], at):
            at += len(skeleton.pieces[k])
        after = skeleton.pieces[k + 1]
        forms = _forms(contents[i])
        exact = [f for f in forms if text.startswith(f, at) and text.startswith(after, at + len(f))]
        if exact:
            ranges[i] = CharRange(at, at + len(exact[0]))
        else:  # the template treats this content in its own way: search for it
            places = [(text.find(f, at), f) for f in forms if f]
            start, form = next(((p, f) for p, f in places if p >= 0), (-1, ""))
            if start < 0:
                n_lost += bool(contents[i].strip())
                continue
            ranges[i] = CharRange(start, start + len(form))
        at = ranges[i].end
    return Rendered(text, tuple(ranges), n_lost, has_template=True)


def _forms(content: str) -> list[str]:
    """How templates print a content: as it is, stripped, or without its reasoning."""
    answer = content.rpartition("</think>")[2].lstrip("\n")
    forms = [content, content.strip(), content.rstrip(), content.lstrip(), answer, answer.strip()]
    return list(dict.fromkeys(forms))


def _render_plainly(messages: Sequence[Message], *, with_roles: bool) -> Rendered:
    text, ranges = "", []
    for message in messages:
        text += "\n\n" if text else ""
        text += f"{message.role.capitalize()}: " if with_roles else ""
        ranges.append(CharRange(len(text), len(text) + len(message.content)))
        text += message.content
    return Rendered(text, tuple(ranges), 0, has_template=False)


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
