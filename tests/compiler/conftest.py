"""A synthetic project with an open index."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.store.connection import Store
from tests.worlds import World, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """260 pairs, 40 latents, 8 concepts of 5 latents, contexts tea and code."""
    return make_world(Path(tmp_path_factory.mktemp("world")), 260)


@pytest.fixture(scope="session")
def store(world: World) -> Iterator[Store]:
    """Its index."""
    with Store(world.paths.index("world"), threads=2) as opened:
        yield opened
