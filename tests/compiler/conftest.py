"""A synthetic project with an open index."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.store.connection import Store
from tests.compiler.facts import WorldFacts, facts_of, is_input
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


@pytest.fixture(scope="session")
def known(world: World) -> WorldFacts:
    """What the interpreter may know of its pairs."""
    inputs = [i for i, row in enumerate(world.pair_rows) if is_input(row)]
    return WorldFacts(facts_of(world), inputs)
