"""Datasets from the Hugging Face hub, as files in its own cache: read from there like any local folder."""

from pathlib import Path

from engine.errors import IngestError
from engine.ingest.card import CARD
from engine.ingest.files import SUFFIXES


def download(name: str) -> tuple[Path, str]:
    """Snapshot folder and commit of ``owner/name`` or ``owner/name@revision``.

    Only data files and the card are fetched; loading scripts never run. With HF_HUB_OFFLINE set, the cache is
    used.

    Raises:
        IngestError: no such dataset or revision, no access, no network and nothing in the cache, or a
            dataset without data files.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    repository, _, revision = name.partition("@")
    try:
        folder = Path(
            snapshot_download(
                repository,
                repo_type="dataset",
                revision=revision or None,
                allow_patterns=[*(f"*{suffix}" for suffix in SUFFIXES), CARD],
            )
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise _told(name, repository, revision, error) from error
    if not any(p.name.endswith(SUFFIXES) for p in folder.rglob("*")):
        raise IngestError(
            f"{repository} has no data files of a kind that can be read: its rows come from a script",
            hint=f"the hub keeps most of them as parquet: {repository}@refs/convert/parquet",
        )
    return folder, folder.name


def _told(name: str, repository: str, revision: str, error: Exception) -> IngestError:
    """What went wrong, in the order from special to general that the client's errors have."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    neither = f"{name}: there is no such file here, and"
    if isinstance(error, GatedRepoError):
        return IngestError(
            f"{repository} is gated",
            hint=f"accept its terms at https://huggingface.co/datasets/{repository}, then `hf auth login`",
        )
    if isinstance(error, RevisionNotFoundError):
        return IngestError(f"{repository} has no revision `{revision}`", hint="a branch, a tag or a commit")
    if isinstance(error, RepositoryNotFoundError):
        return IngestError(
            f"{neither} the hub has no dataset of that name, or it is private",
            hint="check the spelling; for private ones `hf auth login`",
        )
    if isinstance(error, HFValidationError):
        return IngestError(
            f"{neither} it is no name of a dataset on the hub", hint="a hub name is owner/name"
        )
    said = str(error).strip().splitlines()
    first_line = said[0] if said else type(error).__name__
    if isinstance(error, HfHubHTTPError) and not isinstance(error, LocalEntryNotFoundError):
        return IngestError(f"{neither} the hub refused: {first_line}", hint="try again later")
    return IngestError(
        f"{neither} the hub cannot be reached or written to its cache: {first_line}",
        hint="check the network and the disk, or download the dataset elsewhere and give the folder",
    )
