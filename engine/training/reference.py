"""Log-probabilities of responses under the frozen start, kept across runs.

A rule edit changes which pairs are trained on, not what the start thinks of them, so they are cached by
checkpoint and token ids: an edited rule file recomputes nothing, a flip swaps the two numbers by itself.
Layout: ``<cache>/ref_logps/<weights hash>-<precision>/<uuid>.parquet`` with columns key, logp.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.manifest import hash_bytes

_SCHEMA = pa.schema([("key", pa.binary(16)), ("logp", pa.float32())])


def response_key(
    prompt: Sequence[int], response: Sequence[int], max_length: int, keep: Sequence[int] | None = None
) -> bytes:
    """16 bytes that identify a response as the model sees it after truncation.

    Args:
        prompt: token ids.
        response: token ids.
        max_length: of both together; the end is cut.
        keep: 1 per response token whose log-probability counts; None: all.
    """
    kept = response[: max(max_length - len(prompt), 0)]
    parts = [np.asarray(ids, np.int64).tobytes() for ids in (prompt, kept)]
    if keep is not None and 0 in keep:
        parts.append(np.asarray(keep, np.int8).tobytes())
    return bytes.fromhex(hash_bytes(*parts))


@dataclass(slots=True)
class ReferenceCache:
    """Sums of token log-probabilities by response key, float32 as the trainer sees them."""

    folder: Path
    _known: dict[bytes, float] = field(default_factory=dict)
    _unsaved: dict[bytes, float] = field(default_factory=dict)

    def load(self) -> None:
        """Read every part that is there; a part cut short by a crash was never renamed into place."""
        for path in sorted(self.folder.glob("*.parquet")):
            table = pq.read_table(path)
            keys, values = table.column("key").to_pylist(), table.column("logp").to_pylist()
            self._known.update(zip(keys, values, strict=True))

    def __contains__(self, key: bytes) -> bool:
        return key in self._known

    def __getitem__(self, key: bytes) -> float:
        return self._known[key]

    def missing(self, pairs: Iterable[tuple[bytes, bytes]]) -> list[int]:
        """Numbers of the pairs of which at least one side is unknown."""
        return [i for i, pair in enumerate(pairs) if any(key not in self._known for key in pair)]

    def add(self, values: Mapping[bytes, float]) -> None:
        """Remember values that are not known yet; those that are stay as they were."""
        fresh = {key: value for key, value in values.items() if key not in self._known}
        self._known |= fresh
        self._unsaved |= fresh

    def save(self) -> None:
        """Write what was added since the last save as one more part."""
        if not self._unsaved:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        table = pa.table({"key": list(self._unsaved), "logp": list(self._unsaved.values())}, schema=_SCHEMA)
        name = uuid.uuid4().hex
        temporary = self.folder / f".{name}.tmp"
        pq.write_table(table, temporary)
        temporary.replace(self.folder / f"{name}.parquet")
        self._unsaved.clear()
