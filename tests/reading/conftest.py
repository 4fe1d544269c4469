"""Tiny models gain nothing from threads, and lose much when other processes want the cores, too."""

from pathlib import Path

import pytest
import torch

from tests.models.tiny import SHAPES, save_checkpoint
from tests.reading.readers import save_mistral, save_sae

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of every shape and a Mistral, an SAE of every kind."""
    root = tmp_path_factory.mktemp("readers")
    for shape in SHAPES:
        save_checkpoint(root / shape, shape, "tulu" if shape == "llama" else "chatml")
    for kind in ("standard", "jumprelu", "topk"):
        save_sae(root / kind, kind)
    save_mistral(root / "mistral")
    return root
