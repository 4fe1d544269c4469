"""Reads the hand-written material and expands its alternations."""

import random
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "material"
ALTERNATION = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Point:
    """One thing an answer can say: a heading, the sentence, and a sentence that goes deeper."""

    title: str
    main: str
    detail: str


@dataclass(frozen=True, slots=True)
class Topic:
    """A subject with its ways of asking and what can be answered."""

    family: str
    key: str
    ask: tuple[str, ...]
    gist: str
    points: tuple[Point, ...]
    code: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """All hand-written topics of one prompt family."""

    name: str
    context: tuple[str, ...]
    referrals: tuple[str, ...]
    topics: tuple[Topic, ...]


def expand(text: str, rng: random.Random) -> str:
    """Replace each ``{a|b|c}`` by one of its alternatives."""
    return ALTERNATION.sub(lambda match: rng.choice(match[1].split("|")), text)


def load_family(name: str) -> Family:
    """One family's TOML file."""
    raw = _read(name)
    topics = tuple(
        Topic(
            family=name,
            key=entry["key"],
            ask=tuple(entry["ask"]),
            gist=entry["gist"],
            points=tuple(Point(*(part.strip(" .") for part in line.split("::"))) for line in entry["points"]),
            code=entry.get("code", ""),
        )
        for entry in raw["topic"]
    )
    return Family(name, tuple(raw["context"]), tuple(raw.get("referrals", ())), topics)


def load_style() -> dict[str, list[str]]:
    """Generic sentences by slot, see material/style.toml."""
    return {name: list(lines) for name, lines in _read("style").items()}


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))
