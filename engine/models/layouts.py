"""The chat layout of a checkpoint without its weights: where tokens lie in a text, and nothing else."""

from engine.errors import ModelError
from engine.models.chat import ChatLayout
from engine.models.fetching import resolve_folder
from engine.models.loading import load_tokenizer


def load_layout(
    path: str, *, revision: str | None, is_causal: bool, fingerprint: str | None = None
) -> ChatLayout:
    """Load a tokenizer and its layout.

    Args:
        path: folder or hub id of the checkpoint.
        revision: commit, tag or branch on the hub.
        is_causal: as the reading says.
        fingerprint: of the layout that was read with; None: any will do.

    Raises:
        ModelError: it is gone, or is not what was read with.
    """
    layout = ChatLayout.of(
        load_tokenizer(resolve_folder(path, revision, with_weights=False)), is_causal=is_causal
    )
    if fingerprint is not None and layout.fingerprint != fingerprint:
        raise ModelError(
            f"the tokenizer of {path} is not the one that read these pairs",
            hint="restore the files, or audit again with the new ones",
        )
    return layout
