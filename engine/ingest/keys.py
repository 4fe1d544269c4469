"""What identifies a pair: cleaned texts, content ids, prompt hashes; the columns that grouping works on.

Texts are hashed once. A side's digest covers its roles and contents; the content id covers the digests of
prompt, chosen and rejected and the label, so that 2 GB of text cost 2 GB of hashing.
"""

import hashlib
import json
import re
from array import array
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.ingest.drafts import Draft, Dropped, Kind, Note, Notes, Reason, Turns
from engine.records import Label

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_REPAIRS = (
    (re.compile("\0"), Reason.NUL),
    (re.compile("[\udc80-\udcff]"), Reason.BROKEN_UTF8),  # how surrogateescape hands on a byte
    (re.compile("[\ud800-\udfff]"), Reason.LONE_SURROGATE),
)


def clean(text: str, notes: Notes) -> str:
    """Text that can be stored as UTF-8 without NUL; what had to be replaced is noted."""
    for pattern, reason in _REPAIRS:
        text, n = pattern.subn(_REPLACEMENT, text)
        if n:
            notes.append(Note(Kind.REPAIRED, reason, f"{n} characters"))
    return text


class Hashed(NamedTuple):
    """Turns that can be stored, their digest and size."""

    turns: Turns
    texts: tuple[bytes, ...]
    """Contents of the turns as UTF-8."""
    digest: bytes
    size: int
    """Bytes of text."""


def hashed(turns: Turns, notes: Notes, limit: int) -> Hashed:
    """Clean and hash turns in one go. Raises ``Dropped`` for a text longer than ``limit`` bytes."""
    h = hashlib.blake2b(digest_size=16)
    texts = []
    total = 0
    for i, (role, content) in enumerate(turns):
        try:
            data = content.encode()
        except UnicodeEncodeError:
            data = b"\0"
        if b"\0" in data:
            stored = clean(content, notes)
            turns = (*turns[:i], (role, stored), *turns[i + 1 :])
            data = stored.encode()
        if len(data) > limit:
            raise Dropped(Reason.TEXT_TOO_LONG, f"{len(data):,} bytes")
        total += len(data)
        texts.append(data)
        h.update(b"%s %d\n" % (role.encode(), len(data)))
        h.update(data)
    return Hashed(turns, tuple(texts), h.digest(), total)


def _digest(*parts: bytes, size: int = 16) -> bytes:
    return hashlib.blake2b(b"\0".join(parts), digest_size=size).digest()


class Sealed(NamedTuple):
    """A pair that is ready to be stored."""

    prompt: Hashed
    chosen: Hashed
    rejected: Hashed
    meta: str
    """JSON object"""

    @property
    def size(self) -> int:
        """Bytes of its texts."""
        return self.prompt.size + self.chosen.size + self.rejected.size + len(self.meta)


class Keys(NamedTuple):
    """Identity of one pair before copies and groups are known."""

    prompt: bytes
    """16 bytes over the prompt's turns; for an empty prompt over both sides in either order."""
    content: bytes
    """16 bytes over prompt, chosen, rejected and label."""
    rest: bytes
    """8 bytes over everything else that is stored: puts exact duplicates in an order of their own."""
    conversation: bytes
    """16 bytes over source and conversation id; zeros for none."""


_NONE16 = bytes(16)


def prompt_key(prompt: Hashed, chosen: bytes, rejected: bytes) -> bytes:
    """What groups pairs by prompt: pairs without any prompt must not become one giant group."""
    return prompt.digest if prompt.size else _digest(b"no prompt", *sorted((chosen, rejected)))


def content_key(prompt: bytes, chosen: bytes, rejected: bytes, label: Label) -> bytes:
    """Identity of the content: equal for exact duplicates."""
    return hashlib.blake2b(prompt + chosen + rejected + label.encode(), digest_size=16).digest()


def conversation_key(source: str, conversation_id: str | None) -> bytes:
    """Identity of a conversation: ids are only unique within their source."""
    if not conversation_id:
        return _NONE16
    return _digest(source.encode("utf-8", "replace"), conversation_id.encode("utf-8", "replace"))


def rest_key(draft: Draft, meta: str) -> bytes:
    """Digest of all that is stored beside the texts."""
    rest: tuple[object, ...] = (
        draft.chosen_was,
        draft.strength,
        draft.score_chosen,
        draft.score_rejected,
        draft.model_chosen,
        draft.model_rejected,
        draft.annotator,
        draft.language,
        draft.conversation_id,
        draft.tools,
        meta,
    )
    if draft.weight is not None:
        rest = (*rest, draft.weight)
    return _digest(repr(rest).encode("utf-8", "backslashreplace"), size=8)


def meta_text(meta: dict[str, Any], notes: Notes) -> str:
    """Every other column as a JSON object without anything that JSON or UTF-8 cannot hold."""
    if not meta:
        return "{}"
    try:
        text = json.dumps(meta, ensure_ascii=False, sort_keys=True, allow_nan=False, default=_plain)
    except (ValueError, TypeError):
        text = json.dumps(_finite(meta), ensure_ascii=False, sort_keys=True, default=_plain)
    if "\\u0000" in text:
        notes.append(Note(Kind.REPAIRED, Reason.NUL, "in another column"))
        text = json.dumps(_without_nul(json.loads(text)), ensure_ascii=False, sort_keys=True)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = clean(text, notes)
    return text


def _plain(value: Any) -> str:
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", _REPLACEMENT)
    if isinstance(value, dict):
        return {_without_nul(k): _without_nul(v) for k, v in value.items()}
    return [_without_nul(v) for v in value] if isinstance(value, list) else value


@dataclass(slots=True)
class KeyColumns:
    """Keys of all pairs in the order they were read: about 100 bytes a pair, all that is held in memory."""

    prompt: bytearray = field(default_factory=bytearray)
    content: bytearray = field(default_factory=bytearray)
    rest: bytearray = field(default_factory=bytearray)
    conversation: bytearray = field(default_factory=bytearray)
    source: "array[int]" = field(default_factory=lambda: array("i"))
    file: "array[int]" = field(default_factory=lambda: array("i"))
    row: "array[int]" = field(default_factory=lambda: array("q"))
    size: "array[int]" = field(default_factory=lambda: array("q"))
    weight: "array[float]" = field(default_factory=lambda: array("d"))
    """The row's own weight, 1 where it names none."""
    is_evaluation: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.row)

    def add(
        self,
        keys: Keys,
        *,
        source: int,
        file: int,
        row: int,
        size: int,
        weight: float | None,
        is_evaluation: bool,
    ) -> None:
        """Append one pair."""
        self.prompt += keys.prompt
        self.content += keys.content
        self.rest += keys.rest
        self.conversation += keys.conversation
        self.source.append(source)
        self.file.append(file)
        self.row.append(row)
        self.size.append(size)
        self.weight.append(1.0 if weight is None else weight)
        self.is_evaluation.append(is_evaluation)

    def save(self, path: Path) -> None:
        """Write all columns to one file."""
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        arrays: Any = {f"{name}_column": np.frombuffer(column, np.uint8) for name, column in columns.items()}
        np.savez(path, **arrays)

    def extend(self, path: Path, sources: "NDArray[np.int32]", files: "NDArray[np.int32]") -> None:
        """Append saved columns; their sources and files get the numbers that the arrays give them."""
        with np.load(path) as saved:
            for f in fields(self):
                data = saved[f"{f.name}_column"]
                if f.name in ("source", "file"):
                    data = (sources if f.name == "source" else files)[data.view(np.int32)]
                column = getattr(self, f.name)
                if isinstance(column, bytearray):
                    column += data.tobytes()
                else:
                    column.frombytes(data.tobytes())


def as_words(digests: bytes | bytearray, width: int) -> NDArray[np.uint64]:
    """Digests as big-endian words, so that numeric order is the order of the hex digits: (P, width / 8)."""
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64).reshape(-1, width // 8)


_WORDS = ("model_chosen", "model_rejected", "annotator", "language", "conversation_id", "tools", "source")


def clean_words(draft: Draft, notes: Notes) -> None:
    """Make the short texts of a draft storable."""
    for name in _WORDS:
        value = getattr(draft, name)
        if value is None or (value.isascii() and "\0" not in value):
            continue
        setattr(draft, name, clean(value, notes))
