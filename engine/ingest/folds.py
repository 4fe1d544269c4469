"""The fold of every prompt ever ingested here: what keeps held-out prompts held out when sources change."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import IngestError
from engine.ingest.grouping import Folds, Groups

FILE = "folds.parquet"
_SALT = b"prosect.fold_salt"


def read_folds(folder: Path, salt: str) -> dict[bytes, int]:
    """Prompt hash (16 bytes) to fold; empty before the first ingest.

    Raises:
        IngestError: the folds were made with another salt, or the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        table = pq.read_table(path)
        made_with = (table.schema.metadata or {})[_SALT].decode()
        frozen = dict(zip(table["prompt"].to_pylist(), table["fold"].to_pylist(), strict=True))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise IngestError(f"{path} is damaged", hint="restore it, or remove it to draw new folds") from error
    if made_with != salt:
        raise IngestError(
            f"folds here were drawn with fold_salt {made_with!r}, the settings say {salt!r}",
            hint=f"set [ingest] fold_salt back; removing {path} draws all folds anew",
        )
    return frozen


def write_folds(folder: Path, salt: str, groups: Groups, folds: Folds, frozen: Mapping[bytes, int]) -> None:
    """Write the folds of today's prompts and of those that earlier ingests knew."""
    raw = groups.prompts.astype(">u8").tobytes()
    prompts = [raw[i : i + 16] for i in range(0, len(raw), 16)]
    known = dict(frozen) | dict(zip(prompts, folds.fold_of_prompt.tolist(), strict=True))
    ordered = sorted(known)
    table = pa.table(
        {
            "prompt": pa.array(ordered, pa.binary(16)),
            "fold": pa.array(np.array([known[p] for p in ordered], np.int8)),
        }
    )
    table = table.replace_schema_metadata({_SALT: salt.encode()})
    pq.write_table(table, folder / FILE, compression="zstd")
