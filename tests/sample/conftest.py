"""The sample's rows and truth, read once."""

import json
from pathlib import Path
from typing import Any

import pytest

SAMPLE = Path(__file__).resolve().parents[2] / "sample_data"


def read_rows(folder: str) -> list[dict[str, Any]]:
    """All rows of one folder of the sample, files in name order."""
    paths = sorted((SAMPLE / folder).glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def sample() -> Path:
    return SAMPLE


@pytest.fixture(scope="session")
def pairs() -> list[dict[str, Any]]:
    return read_rows("pairs")


@pytest.fixture(scope="session")
def votes() -> list[dict[str, Any]]:
    return read_rows("votes")


@pytest.fixture(scope="session")
def planted() -> list[dict[str, Any]]:
    truth: dict[str, Any] = json.loads((SAMPLE / "planted.json").read_text(encoding="utf-8"))
    concepts: list[dict[str, Any]] = truth["concepts"]
    return concepts
