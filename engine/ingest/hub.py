"""Datasets from the Hugging Face hub, as files in its own cache: read from there like any local folder."""

from pathlib import Path

from engine.errors import IngestError
from engine.ingest.files import SUFFIXES


def download(name: str) -> tuple[Path, str]:
    """Snapshot folder and commit of ``owner/name`` or ``owner/name@revision``.

    Only data files are fetched; loading scripts never run. With HF_HUB_OFFLINE set, the cache is used.

    Raises:
        IngestError: no such dataset, no access, or no network and nothing in the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    try:
        folder = snapshot_download(
            repository,
            repo_type="dataset",
            revision=revision or None,
            allow_patterns=[f"*{suffix}" for suffix in SUFFIXES],
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise IngestError(
            f"{name}: there is no such file here, and the hub gave no dataset of that name: {first_line}",
            hint="check the spelling, log in for gated datasets, or download it and give the folder",
        ) from error
    return Path(folder), Path(folder).name
