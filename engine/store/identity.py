"""What a table of pairs says, as one hash: the same for whoever ingested the same files."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_TEXTS = frozenset({"prompt", "chosen", "rejected"})
"""The ids of a pair are hashes of these."""
_BATCH = 65_536


def pairs_identity(path: Path) -> str:
    """Hash of every value of pairs.parquet but the folders that its files lay in.

    A copy of the files elsewhere, or the same folder by another spelling, gives the same pairs; so does
    another version of the library that wrote the table.
    """
    digest = hashlib.blake2b(digest_size=16)
    with pq.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if name not in _TEXTS]
        digest.update("\x1f".join(names).encode())
        for batch in file.iter_batches(_BATCH, columns=names):
            digest.update(b"".join(_lines(batch)))
    return digest.hexdigest()


def _lines(batch: pa.RecordBatch) -> list[bytes]:
    """One line per pair; columns are parted by characters that no JSON text and no name holds."""
    columns = []
    for name in batch.schema.names:
        column = pc.cast(batch.column(name), pa.large_string())
        if name == "source_file":
            column = pc.replace_substring_regex(column, r"^.*[/\\]", "")
        columns.append(column)
    end = pa.array(["\x1e"] * batch.num_rows, pa.large_string())
    joined = pc.binary_join_element_wise(
        *columns, end, pa.scalar("\x1f", pa.large_string()), null_handling="replace", null_replacement="\x00"
    )
    return [text.encode("utf-8") for text in joined.to_pylist()]
