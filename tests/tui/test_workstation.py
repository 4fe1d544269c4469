"""The workstation by keys alone, on a real index."""

import json
from pathlib import Path

import pytest

from tests.tui.driving import Driver, drive
from tests.worlds import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path / "p", 120, 40)


def journal(world: World) -> list[dict[str, object]]:
    return [json.loads(line) for line in world.paths.journal.read_text().splitlines()]


def test_a_verdict_key_writes_the_journal_and_moves_to_the_next_undecided(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        assert "concept 0" in driver.screen()
        await driver.keys("-")
        await driver.shows("1 verdicts")
        assert driver.desk.table.grid.cursor == 1
        await driver.keys("k", "=")
        assert driver.desk.table.grid.cursor == 1
        await driver.until(lambda: len(journal(world)) == 2)

    drive(world, scenario, (80, 24))
    assert [e["verdict"] for e in journal(world)] == ["suppress", "keep"]
