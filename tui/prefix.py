"""From keys to actions: counts, sequences (``g g``), prefixes waiting for any key (``m a``). Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

ANY = "any"
"""In a sequence: stands for one printable key, which is passed on as the argument."""
MAX_COUNT = 10_000_000


@dataclass(frozen=True, slots=True)
class Matched:
    """A complete sequence."""

    action: str
    count: int | None
    argument: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A count or the start of a sequence; ``keys`` is what was typed."""

    keys: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Keys that mean nothing here."""

    keys: str


class PrefixMachine:
    """Feeds on keys. ``bindings`` maps key sequences (joined by a space) to action ids."""

    def __init__(self) -> None:
        self._count = ""
        self._typed: list[str] = []

    def reset(self) -> None:
        """Forget a count or half a sequence."""
        self._count, self._typed = "", []

    @property
    def pending(self) -> str:
        """What was typed so far."""
        return " ".join([*([self._count] if self._count else []), *self._typed])

    def continuations(self, bindings: Mapping[str, str]) -> list[tuple[str, str]]:
        """(next key, action id) for what may follow now: the which-key line."""
        start = " ".join(self._typed) + " "
        return [(k[len(start) :], a) for k, a in bindings.items() if self._typed and k.startswith(start)]

    def feed(self, key: str, bindings: Mapping[str, str]) -> Matched | Waiting | Unknown:
        """Take one key. Digits before a sequence are its count; ``0`` counts only after another digit."""
        if not self._typed and key.isdigit() and len(key) == 1 and (self._count or key != "0"):
            self._count += key
            return Waiting(self.pending)
        self._typed.append(key)
        typed = " ".join(self._typed)
        if typed in bindings:
            return self._done(bindings[typed], None)
        general = " ".join([*self._typed[:-1], ANY])
        if len(self._typed) > 1 and general in bindings and len(key) == 1:
            return self._done(bindings[general], key)
        if any(k.startswith(typed + " ") for k in bindings):
            return Waiting(self.pending)
        keys = self.pending
        self.reset()
        return Unknown(keys)

    def _done(self, action: str, argument: str | None) -> Matched:
        count = min(int(self._count), MAX_COUNT) if self._count else None
        self.reset()
        return Matched(action, count, argument)
