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
_TEXT_PARTS = ("text", "input_text", "output_text")


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
    spoken = message.get("role")
    if spoken is None:
        spoken = message.get("from")
    role = ROLES.get(spoken) if isinstance(spoken, str) else None
    if role is None:
        role = ROLES.get(str(spoken).strip().lower())
        if role is None:
            raise Dropped(Reason.UNKNOWN_ROLE, repr(spoken)[:80])
    content = message.get("content")
    if content is None:
        content = message.get("value")
    if not isinstance(content, str):
        content = _content(content, notes)
    calls = message.get("tool_calls") or message.get("function_call")
    if calls:
        notes.append(Note(Kind.NOTED, Reason.TOOL_CALLS_AS_TEXT, ""))
        text = json.dumps({"tool_calls": calls}, ensure_ascii=False, sort_keys=True, default=str)
        content = f"{content}\n{text}" if content else text
    return role, content


def _content(content: Any, notes: Notes) -> str:
    if content is None:
        return ""
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise Dropped(Reason.WRONG_TYPE, f"a message's content is {type(content).__name__}, not text")
    parts = []
    for part in content:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str) and _is_text(part):
            parts.append(part["text"])
        else:
            kind = part.get("type", "object") if isinstance(part, dict) else type(part).__name__
            notes.append(Note(Kind.REPAIRED, Reason.NON_TEXT_PART, str(kind)[:40]))
    return "".join(parts)


def _is_text(part: dict[str, Any]) -> bool:
    return part.get("type") is None or part["type"] in _TEXT_PARTS


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
            columns = [value.get(f) for f in fields]
            if all(isinstance(c, list) for c in columns) and len({len(c or []) for c in columns}) == 1:
                return [dict(zip(fields, cells, strict=True)) for cells in zip(*columns, strict=True)]
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
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


def text(row: Row, column: str) -> str:
    """A text column. Raises ``Dropped`` where it is absent or no text."""
    value = row.get(column)
    if isinstance(value, str):
        return value
    if value is None:
        raise Dropped(Reason.MISSING_COLUMN, f"{column} is null or absent")
    raise Dropped(Reason.WRONG_TYPE, f"{column} is {type(value).__name__}, not text")


def number(value: Any) -> float | None:
    """A finite number, also from its text; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return result if result - result == 0 else None


def word(value: Any) -> str | None:
    """A short text or a number as text; None for null, empty and structured values."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def split_common(chosen: Turns, rejected: Turns, notes: Notes) -> tuple[Turns, Turns, Turns]:
    """Prompt and two sides from two whole conversations: the longest common beginning of whole turns.

    Each side keeps at least one turn with an assistant turn in it. Sides that part before their last
    answer are noted.
    """
    limit = min(_last_answer(chosen), _last_answer(rejected))
    same = 0
    while same < limit and chosen[same] == rejected[same]:
        same += 1
    if same < max(len(chosen), len(rejected)) - 1:
        notes.append(Note(Kind.NOTED, Reason.DIFFER_EARLIER, f"the sides part at turn {same + 1}"))
    return chosen[:same], chosen[same:], rejected[same:]


def _last_answer(conversation: Turns) -> int:
    for i in range(len(conversation) - 1, -1, -1):
        if conversation[i][0] == "assistant":
            return i
    raise Dropped(Reason.NO_ANSWER, "a side has no assistant turn")


def without_prompt(prompt: Turns, side: Turns) -> Turns:
    """A side whose messages repeat the prompt, without it; other sides as they are."""
    n = len(prompt)
    if len(side) > n and side[:n] == prompt:
        return side[n:]
    shown = tuple(t for t in prompt if t[0] != "system")
    if len(shown) < n and len(side) > len(shown) and side[: len(shown)] == shown:
        return side[len(shown) :]
    return side
