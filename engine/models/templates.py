"""Conversations as a chat template prints them, and where each message's content lies in the text.

A template is rendered once per sequence of roles with sentinels for the contents, which gives its own text
around them; a rendering is compared with that. Nothing here knows a tokenizer beyond its template.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

import jinja2

from engine.errors import ModelError
from engine.records import Message

FIXED_DATE = "26 Jul 2024"
"""Templates that print today's date would make readings depend on the day; this is Llama 3.1's default."""
_CLOCK = "strftime_now"
"""What other templates ask for the date."""
_DATES = "prosect_dates"
_SINCE_2 = (  # templates with none of these give the readings that they always gave
    _CLOCK, "raise_exception", "'text'", '"text"', ".text",
)  # fmt: skip
_N_SKELETONS = 1024
_OWN_CLOCK = (
    "{%- macro strftime_now(how) -%}{{ prosect_dates.get(how, '" + FIXED_DATE + "') }}{%- endmacro %}{{ '' }}"
)


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


class Template:
    """A tokenizer's chat template.

    Conversations that it refuses are tried again with system messages joined to the message after them, then
    with neighbours of one role joined, too. A template that takes contents only as lists of parts, as those
    of models that also see do, gets them so.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._skeletons: dict[tuple[tuple[str, ...], str | None], _Skeleton | None] = {}
        self._has_clock = _CLOCK in str(tokenizer.chat_template)

    @property
    def marks(self) -> list[str]:
        """What in the template has been rendered otherwise since layout version 2: part of a fingerprint."""
        return [word for word in _SINCE_2 if word in str(self._tokenizer.chat_template)]

    def render(self, messages: Sequence[Message], tools: str | None) -> Rendered | None:
        """A conversation as the template prints it; None where it refuses.

        Args:
            messages: the conversation.
            tools: JSON of the tools on offer, or None; left out where the template refuses them.

        Raises:
            ModelError: the template itself is broken.
        """
        for offered in dict.fromkeys((tools, None)):  # a template may refuse tools, not the messages
            for turns in (_Turns.of(messages), _Turns.folded(messages), _Turns.merged(messages)):
                skeleton = self._skeleton(turns.roles, offered)
                text = None if skeleton is None else self._apply(turns, offered, parts=skeleton.takes_parts)
                if skeleton is not None and text is not None:
                    found = turns.unfold(_match(text, skeleton, turns.contents), len(messages))
                    return replace(found, has_tools=self._prints(turns.roles, offered))
        return None

    def _prints(self, roles: tuple[str, ...], tools: str | None) -> bool:
        """Do the tools change the template's own text?"""
        return tools is not None and self._skeleton(roles, tools) != self._skeleton(roles, None)

    def _skeleton(self, roles: tuple[str, ...], tools: str | None) -> "_Skeleton | None":
        """The template's own text around the contents; None where it refuses this order of roles."""
        key = (roles, tools)
        if key not in self._skeletons:
            if len(self._skeletons) >= _N_SKELETONS:  # every pair may offer tools of its own
                self._skeletons.clear()
            self._skeletons[key] = self._cut(roles, tools)
        return self._skeletons[key]

    def _cut(self, roles: tuple[str, ...], tools: str | None) -> "_Skeleton | None":
        sentinels = [f"zq7x{i}c0ntent{i}x7qz" for i in range(len(roles))]
        turns = _Turns(roles, tuple(sentinels), ())
        found = None
        for parts in (False, True):
            text = self._apply(turns, tools, parts=parts)
            cut = None if text is None else _Skeleton.cut(text, sentinels, takes_parts=parts)
            if cut is not None and (found is None or len(cut.order) > len(found.order)):
                found = cut
            if found is not None and len(found.order) == len(roles):
                break
        return found

    def _apply(self, turns: "_Turns", tools: str | None, *, parts: bool) -> str | None:
        chat = [
            {"role": role, "content": [{"type": "text", "text": content}] if parts else content}
            for role, content in zip(turns.roles, turns.contents, strict=True)
        ]
        try:
            offered = None if tools is None else json.loads(tools)
            clock = self._clock(offered) if self._has_clock else {}
            return str(
                self._tokenizer.apply_chat_template(
                    chat, tools=offered, tokenize=False, date_string=FIXED_DATE, **clock
                )
            )
        except jinja2.TemplateSyntaxError as error:
            raise ModelError(
                f"the chat template is broken: {error.message}", hint="repair chat_template in the tokenizer"
            ) from error
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, IndexError):
            return None  # the template refuses these roles, or the tools are no JSON that it knows

    def _clock(self, tools: Any) -> dict[str, Any]:
        """The template with a clock that stands still, and what that says in every form it is asked for."""
        template = self._tokenizer.get_chat_template(tools=tools)
        day = datetime.strptime(FIXED_DATE, "%d %b %Y")  # noqa: DTZ007 - a date has no zone
        asked = re.findall(_CLOCK + r"\(\s*[\"']([^\"']*)", template)
        return {"chat_template": _OWN_CLOCK + template, _DATES: {how: day.strftime(how) for how in asked}}


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

    @classmethod
    def merged(cls, messages: Sequence[Message]) -> "_Turns":
        """The same, and neighbours of one role joined, as templates with strict turns want it."""
        folded = cls.folded(messages)
        roles: list[str] = []
        contents: list[str] = []
        moved: list[tuple[int, int]] = []
        for role, content in zip(folded.roles, folded.contents, strict=True):
            if roles and roles[-1] == role:
                moved.append((len(roles) - 1, len(contents[-1]) + 2))
                contents[-1] += "\n\n" + content
            else:
                moved.append((len(roles), 0))
                roles.append(role)
                contents.append(content)
        places = [
            (moved[turn][0], start + moved[turn][1], end + moved[turn][1])
            for turn, start, end in folded.turn_of
        ]
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
    takes_parts: bool = False
    """The template takes contents as lists of parts."""

    @classmethod
    def cut(cls, text: str, sentinels: Sequence[str], *, takes_parts: bool = False) -> "_Skeleton":
        found = sorted((text.find(s), i) for i, s in enumerate(sentinels) if s in text)
        pieces, at = [], 0
        for position, i in found:
            pieces.append(text[at:position])
            at = position + len(sentinels[i])
        return cls(tuple(i for _, i in found), (*pieces, text[at:]), takes_parts)


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


def render_plainly(messages: Sequence[Message], *, with_roles: bool) -> Rendered:
    """One paragraph per message, without any template."""
    text, ranges = "", []
    for message in messages:
        text += "\n\n" if text else ""
        text += f"{message.role.capitalize()}: " if with_roles else ""
        ranges.append(CharRange(len(text), len(text) + len(message.content)))
        text += message.content
    return Rendered(text, tuple(ranges), 0, has_template=False)
