"""One small audited project that the tests of the loop share, and copies of it for those that write."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.api import Project, sample_folder, source_specs
from engine.progress import NullProgress

N_PAIRS = 240
OVERRIDES = {"concepts": {"min_pairs": 5}, "stats": {"min_discordant": 5}, "reading": {"shard_pairs": 64}}


@pytest.fixture(scope="session")
def sample_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of each sample source."""
    folder = tmp_path_factory.mktemp("pairs")
    files = sorted((sample_folder() / "pairs").glob("*.jsonl"))
    for path in files:
        lines = path.read_text(encoding="utf-8").splitlines()[: N_PAIRS // len(files)]
        assert all(json.loads(line) for line in lines)
        (folder / path.name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def audited(tmp_path_factory: pytest.TempPathFactory, sample_pairs: Path) -> Path:
    """A project with an index; do not write to it."""
    root = tmp_path_factory.mktemp("audited") / "audit"
    with Project(root, overrides=OVERRIDES) as project:
        project.audit(
            source_specs([str(sample_pairs)]), str(sample_folder() / "reader"), progress=NullProgress()
        )
    return root


@pytest.fixture
def own_project(audited: Path, tmp_path: Path) -> Callable[[], Path]:
    """A copy that a test may change."""

    def copy() -> Path:
        target = tmp_path / "audit"
        shutil.copytree(audited, target)
        return target

    return copy
