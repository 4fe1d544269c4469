"""Are model and SAE of a reader there? Asked before anything long, and answered with the nearest names."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.errors import ModelError
from engine.models.names import check_model, check_repository, meant, nearest, nearest_paths
from engine.paths import is_path
from engine.reading.presets import PRESETS
from engine.reading.spec import ReaderSpec

_SHOWN = 5
"""Names that stand for all where none is alike."""


def check_names(spec: ReaderSpec) -> None:
    """Look whether a reader's checkpoint and SAE can be there; neither is fetched or loaded.

    Raises:
        ModelError: a folder, hub id, release or SAE id that does not exist; the hint has the nearest ones.
    """
    check_model(spec.model, spec.revision, [preset.model for preset in PRESETS.values()])
    if spec.sae is not None:
        check_sae_name(spec.sae)


def check_sae_name(name: str) -> None:
    """Look whether an SAE of this name can be there.

    Args:
        name: a folder, a file, or ``release:id``; see ``load_sae``.

    Raises:
        ModelError: there is none; the hint has the nearest names.
    """
    path = Path(name).expanduser()
    if path.is_dir() or path.is_file():
        return
    release, separator, sae_id = name.partition(":")
    folders = nearest_paths(path)
    if is_path(release):
        raise ModelError(f"there is no SAE folder {name}", hint=meant(folders) or _BOTH)
    directory = sae_directory()
    if release not in directory:
        known = [*directory, *dict.fromkeys(listed.repo_id for listed in directory.values())]
        hint = meant([*nearest(release, known, hub=True), *folders][:3])
        if "/" not in release or not separator:
            what = "SAE release" if separator else "SAE folder or release"
            raise ModelError(f"there is no {what} {release}", hint=hint or _BOTH)
        if release not in known and not _is_cached(release):
            check_repository(release, hint)
        return
    ids = directory[release].saes_map
    if sae_id not in ids:
        what = f"{release} has no SAE {sae_id}" if separator else f"{release} is a release of {len(ids)} SAEs"
        hint = meant(f"{release}:{found}" for found in nearest(sae_id, ids)) if sae_id else None
        raise ModelError(what, hint=hint or f"give release:id; its ids are {_some(ids)}")


_BOTH = "give a folder, or release:id as in sae-lens' directory"


def sae_directory() -> dict[str, Any]:
    """sae-lens' directory by release; it is part of the package and needs no connection."""
    from engine.reading.sae import import_sae_lens

    import_sae_lens()
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    return dict(get_pretrained_saes_directory())


def _is_cached(repository: str) -> bool:
    from huggingface_hub import constants

    return (Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}").is_dir()


def _some(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:_SHOWN]) + (" …" if len(every) > _SHOWN else "")
