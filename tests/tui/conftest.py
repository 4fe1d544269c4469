"""What every test of the workstation needs."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from engine.paths import ProjectPaths
from tests.worlds import World, make_world


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Yanked texts go to a folder of the test, never to the person's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.delenv("TMUX", raising=False)
    return folder


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A made project, built once; tests get copies of it."""
    return make_world(tmp_path_factory.mktemp("template") / "p", 90, 24)


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    """A project of a test's own."""
    shutil.copytree(template.paths.root, tmp_path / "p")
    return replace(template, paths=ProjectPaths(tmp_path / "p"))
