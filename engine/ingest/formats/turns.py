"""Any spelling of a conversation → turns. Text is kept exactly as in the file, leading spaces too."""

import json
from typing import Any

from engine.ingest.drafts import Dropped, Kind, Note, Notes, Reason, Row, Turn, Turns

ROLES = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chosen": "assistant",
    "rejected": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "ipython": "tool",
    "function_call": "assistant",
    "tool_calls": "assistant",
}
_TEXT_PARTS = ("text", "input_text", "output_text", "refusal")
_TEXT_FIELDS = ("text", "content", "refusal")
_CALLS = ("tool_calls", "function_call")


class PartialTurn(tuple[str, str]):
    """A turn whose message holds text that is not read; equal to the turn of one that does not."""

    unread: dict[str, Any]
    """The fields that were left out."""


def unread_of(turns: Turns) -> list[tuple[int, str, Any]]:
    """What was left out of the messages of some turns: (turn, field, value)."""
    partial = ((i, t) for i, t in enumerate(turns) if isinstance(t, PartialTurn))
    return [(i, name, value) for i, t in partial for name, value in t.unread.items()]


def is_messages(value: Any) -> bool:
    """True for a non-empty list of {role, content} or {from, value} objects."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(m, dict) and ("role" in m or "from" in m) for m in value)
    )


def turn(message: Any, notes: Notes) -> Turn:
    """One message as a turn. Raises ``Dropped`` for an unknown role or content that is no text."""
    if not isinstance(message, dict):
        raise Dropped(Reason.WRONG_TYPE, f"a message is {type(message).__name__}, not an object")
    by = "role" if message.get("role") is not None else "from"
    spoken = message.get(by)
    role = ROLES.get(spoken) if isinstance(spoken, str) else None
    if role is None:
        role = ROLES.get(str(spoken).strip().lower())
        if role is None:
            raise Dropped(Reason.UNKNOWN_ROLE, _no_role(message) if spoken is None else repr(spoken)[:80])
    holds = "content" if message.get("content") is not None else "value"
    content = message.get(holds)
    if not isinstance(content, str):
        content = _content(content, notes)
    if not content and isinstance(message.get("refusal"), str):
        holds, content = "refusal", message["refusal"]
    calls = message.get("tool_calls") or message.get("function_call")
    if calls:
        notes.append(Note(Kind.NOTED, Reason.TOOL_CALLS_AS_TEXT, ""))
        text = json.dumps({"tool_calls": calls}, ensure_ascii=False, sort_keys=True, default=str)
        content = f"{content}\n{text}" if content else text
    if len(message) > 2 and (left := _unread(message, by, holds)):
        _note_unread(notes, left)
        made = PartialTurn((role, content))
        made.unread = left
        return made
    return role, content


def _no_role(message: dict[str, Any]) -> str:
    return "no role or from among its fields " + ", ".join(str(name)[:20] for name in list(message)[:5])


def _unread(message: dict[str, Any], *read: str) -> dict[str, Any]:
    return {k: v for k, v in message.items() if k not in read and k not in _CALLS and _holds_text(v)}


def _holds_text(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value) and not value.isspace()
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, list) and any(map(_holds_text, value))


def _note_unread(notes: Notes, left: dict[str, Any]) -> None:
    """One note a row, with all names."""
    names = {str(name)[:40] for name in left}
    for i, note in enumerate(notes):
        if note.reason is Reason.UNREAD_FIELDS:
            notes[i] = note._replace(detail=", ".join(sorted(names | set(note.detail.split(", ")))))
            return
    notes.append(Note(Kind.NOTED, Reason.UNREAD_FIELDS, ", ".join(sorted(names))))


def _content(content: Any, notes: Notes) -> str:
    if content is None:
        return ""
    if isinstance(content, dict):
        parts = content.get("parts")
        content = parts if isinstance(parts, list) else [content]
    if not isinstance(content, list):
        raise Dropped(Reason.WRONG_TYPE, f"a message's content is {type(content).__name__}, not text")
    parts = []
    for part in content:
        text = _text_of(part)
        if text is not None:
            parts.append(text)
        else:
            kind = part.get("type", "object") if isinstance(part, dict) else type(part).__name__
            notes.append(Note(Kind.REPAIRED, Reason.NON_TEXT_PART, str(kind)[:40]))
    return "".join(parts)


def _text_of(part: Any) -> str | None:
    """The text of a part of a message; None for images and whatever else is not known."""
    if not isinstance(part, dict):
        return part if isinstance(part, str) else None
    kind = part.get("type")
    if kind is not None and kind not in _TEXT_PARTS:
        return None
    return next((part[name] for name in _TEXT_FIELDS if isinstance(part.get(name), str)), None)


def turns(value: Any, notes: Notes, column: str) -> Turns:
    """A list of messages (or its JSON text) as turns."""
    value = unpacked(value)
    if not isinstance(value, list):
        raise Dropped(Reason.WRONG_TYPE, f"{column} is {type(value).__name__}, not a list of messages")
    return tuple([turn(m, notes) for m in value])


def unpacked(value: Any) -> Any:
    """Messages that arrived as JSON text or as one list per field, as a list; anything else as it is."""
    if isinstance(value, dict):
        for fields in (("role", "content"), ("from", "value")):
            first, *others = (value.get(f) for f in fields)
            if isinstance(first, list) and all(isinstance(o, list) and len(o) == len(first) for o in others):
                held = {k: v for k, v in value.items() if isinstance(v, list) and len(v) == len(first)}
                return [dict(zip(held, cells, strict=True)) for cells in zip(*held.values(), strict=True)]
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):  # text that only looks so, or whose nesting nobody can follow
            return value
    return value


def prompt_turns(value: Any, notes: Notes, column: str) -> Turns:
    """A prompt that is a text (one user turn) or a list of messages."""
    if isinstance(value, str):
        return (("user", value),)
    if value is None:
        raise Dropped(Reason.MISSING_COLUMN, f"{column} is null")
    return turns(value, notes, column)


def side_turns(value: Any, notes: Notes, column: str) -> Turns:
    """A response that is a text (one assistant turn), a message or a list of messages."""
    if isinstance(value, str):
        return (("assistant", value),)
    if value is None:
        raise Dropped(Reason.MISSING_COLUMN, f"{column} is null")
    if isinstance(value, dict) and not isinstance(unpacked(value), list):
        return (turn(value, notes),)
    return turns(value, notes, column)


def is_same_turn(a: Turn, b: Turn) -> bool:
    """One role and one text, white space at its ends aside."""
    return a == b or (a[0] == b[0] and a[1].strip() == b[1].strip())


def _are_same(a: Turns, b: Turns, notes: Notes) -> bool:
    """Turn by turn the same; a difference in white space at their ends is noted."""
    if a == b:
        return True
    if len(a) != len(b) or not all(map(is_same_turn, a, b)):
        return False
    note_spacing(notes)
    return True


def note_spacing(notes: Notes) -> None:
    """Note, once a row, that a repeated turn has other white space at its ends."""
    note = Note(Kind.NOTED, Reason.SPACING, "")
    if note not in notes:
        notes.append(note)


def split_common(chosen: Turns, rejected: Turns, notes: Notes) -> tuple[Turns, Turns, Turns]:
    """Prompt and two sides from two whole conversations: the longest common beginning of whole turns.

    Each side keeps at least one turn with an assistant turn in it. Sides that part before their last
    answer are noted. Where white space at the ends of a common turn differs, the chosen side's text stays.
    """
    limit = min(_last_answer(chosen), _last_answer(rejected))
    same = 0
    while same < limit and is_same_turn(chosen[same], rejected[same]):
        same += 1
    _are_same(chosen[:same], rejected[:same], notes)
    if same < max(len(chosen), len(rejected)) - 1:
        notes.append(Note(Kind.NOTED, Reason.DIFFER_EARLIER, f"the sides part at turn {same + 1}"))
    return chosen[:same], chosen[same:], rejected[same:]


def _last_answer(conversation: Turns) -> int:
    for i in range(len(conversation) - 1, -1, -1):
        if conversation[i][0] == "assistant":
            return i
    raise Dropped(Reason.NO_ANSWER, "a side has no assistant turn")


def without_prompt(prompt: Turns, side: Turns, notes: Notes) -> Turns:
    """A side whose messages repeat the prompt, without it; other sides as they are."""
    n = len(prompt)
    if n and len(side) > n and _are_same(prompt, side[:n], notes):
        return side[n:]
    shown = tuple([t for t in prompt if t[0] != "system"])
    if 0 < len(shown) < n and len(side) > len(shown) and _are_same(shown, side[: len(shown)], notes):
        return side[len(shown) :]
    return side


def with_system(row: Row, prompt: Turns) -> Turns:
    """The prompt behind the row's system text, where it has one and the prompt does not begin with it."""
    system = row.get("system")
    if isinstance(system, str) and system and not (prompt and prompt[0][0] == "system"):
        return (("system", system), *prompt)
    return prompt
