"""Writes the sample's preference pairs and planted.json. Seeded: every run gives the same bytes.

python sample_data/make_pairs.py [--out sample_data]
"""

import argparse
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import puzzles
from compose import Composer, Writer
from material import Topic, expand, load_family, load_style
from truth import as_json, log_odds

SEED = 20261127
N_PAIRS = 1500
N_VOTES = 90
TIE_SHARE = 0.40
BOTH_BAD_SHARE = 0.20
FAMILIES = (
    "howto", "cooking", "travel", "health", "advice", "coding", "facts", "mail", "garden", "fiction",
    "borderline",
)  # fmt: skip
FAMILY_WEIGHTS = {"fiction": 3.0, "health": 2.0, "maths": 1.5, "benchmark": 1.7, "borderline": 2.2}
MODELS = (
    Writer("larch-2b", -0.15, {"flattery": 0.7, "formatting": 0.7}),
    Writer("wren-7b", 0.0, {"flattery": 1.6, "as_ai": 0.7}),
    Writer("otter-mini", -0.05, {"link": 1.5, "as_ai": 1.5}),
    Writer("heron-chat", 0.15, {"formatting": 1.6, "referral": 1.2}),
)
VOLUNTEER = Writer("", 0.0, {})
FOLLOW_UPS = (
    "{Thanks|Okay|Got it}. {What else can I do?|And what comes after that?|Can you go on?}",
    "I tried that, and it only helped {a little|for a day}. What else?",
    "{That makes sense.|Good.} Can you tell me more about the rest?",
)
SYSTEMS = (
    "You are a helpful assistant. Answer in plain English.",
    "You are the assistant of a small {community|neighbourhood} site. Be friendly and accurate.",
    "You answer questions for {beginners|busy people}.",
    "You are a patient {tutor|librarian}.",
)


Messages = list[dict[str, str]]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """Where pairs seem to come from."""

    name: str
    share: float
    leanings: dict[str, float]
    has_models: bool


SOURCES = (
    Source(
        "harbor_forum",
        0.40,
        {"cooking": 2, "travel": 2, "garden": 2, "howto": 2, "health": 1.5, "fiction": 0.5},
        True,
    ),
    Source(
        "quill_arena", 0.38, {"fiction": 2, "maths": 2, "benchmark": 2, "facts": 1.5, "borderline": 1.5}, True
    ),
    Source("desk_mail", 0.22, {"mail": 6, "coding": 3, "advice": 2, "fiction": 0.3, "benchmark": 0.5}, False),
)


VOTED = SOURCES[1]


class World:
    """Draws prompts and pairs."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.families = {name: load_family(name) for name in FAMILIES}
        self.composer = Composer(load_style(), self.families)
        self.seen: set[str] = set()

    def prompt(self, source: Source) -> tuple[Topic, Messages]:
        """A prompt that was not drawn before: topic and messages."""
        while True:
            topic, messages = self._draw_prompt(source)
            key = json.dumps(messages)
            if key not in self.seen:
                self.seen.add(key)
                return topic, messages

    def _topic(self, source: Source) -> Topic:
        names = [*FAMILIES, "maths", "benchmark"]
        weights = [FAMILY_WEIGHTS.get(name, 1.0) * source.leanings.get(name, 1.0) for name in names]
        name = self.rng.choices(names, weights)[0]
        if name == "maths":
            return puzzles.maths(self.rng)
        if name == "benchmark":
            return puzzles.benchmark(self.rng)
        return self.rng.choice(self.families[name].topics)

    def _draw_prompt(self, source: Source) -> tuple[Topic, Messages]:
        rng, topic = self.rng, self._topic(source)
        parts = [expand(rng.choice(topic.ask), rng) if topic.family in self.families else topic.ask[0]]
        context = self.families[topic.family].context if topic.family in self.families else puzzles.CONTEXT
        if rng.random() < 0.65:
            parts.append(expand(rng.choice(context), rng))
        if rng.random() < 0.08:
            parts.insert(0, expand("{Hi!|Hello,|Good evening.|Quick question:}", rng))
        messages = [{"role": "user", "content": " ".join(parts)}]
        if topic.family in self.families and topic.family != "mail" and rng.random() < 0.15:
            point = rng.choice(topic.points)
            reply = expand(f"{point.main}. {point.detail}.", rng)
            messages += [{"role": "assistant", "content": reply}]
            messages += [{"role": "user", "content": expand(expand(rng.choice(FOLLOW_UPS), rng), rng)}]
        if rng.random() < 0.12:
            messages.insert(0, {"role": "system", "content": expand(rng.choice(SYSTEMS), rng)})
        return topic, messages

    def battle(self, source: Source, topic: Topic) -> tuple[list[str], list[str], int]:
        """Two answers, who wrote them, and which of the two the planted odds made the winner."""
        writers = self.rng.sample(MODELS, 2) if source.has_models else [VOLUNTEER, VOLUNTEER]
        texts = [self.composer.write(topic, writer, self.rng) for writer in writers]
        log_odds_first = log_odds(topic.family, texts[0], texts[1])
        winner = 0 if self.rng.random() < 1 / (1 + math.exp(-log_odds_first)) else 1
        return texts, [writer.name for writer in writers], winner

    def pair(self, source: Source, topic: Topic, messages: Messages) -> Row:
        """A preference pair in TRL's conversational format with an explicit prompt."""
        texts, writers, winner = self.battle(source, topic)
        row: Row = {
            "prompt": messages,
            "chosen": [{"role": "assistant", "content": texts[winner]}],
            "rejected": [{"role": "assistant", "content": texts[1 - winner]}],
            "source": source.name,
            "family": topic.family,
        }
        if source.has_models:
            return row | {"model_chosen": writers[winner], "model_rejected": writers[1 - winner]}
        return row | {"annotator": f"desk-{self.rng.randint(1, 6)}"}

    def vote(self, source: Source, topic: Topic, messages: Messages) -> Row:
        """A vote in the Arena format, which unlike TRL's knows ties and pairs where both are bad."""
        texts, writers, winner = self.battle(source, topic)
        draw = self.rng.random()
        said = "tie" if draw < TIE_SHARE else "both_bad" if draw < TIE_SHARE + BOTH_BAD_SHARE else None
        return {
            "conversation_a": [*messages, {"role": "assistant", "content": texts[0]}],
            "conversation_b": [*messages, {"role": "assistant", "content": texts[1]}],
            "winner": said or ("model_a", "model_b")[winner],
            "model_a": writers[0],
            "model_b": writers[1],
            "source": source.name,
            "family": topic.family,
        }


def draw_pairs(seed: int, count: int) -> Iterator[Row]:
    """Pairs without the blemishes; several of them may share a prompt."""
    world = World(seed)
    while count > 0:
        source = world.rng.choices(SOURCES, [source.share for source in SOURCES])[0]
        topic, messages = world.prompt(source)
        for _ in range(min(count, world.rng.choices((1, 2, 3, 4), (0.86, 0.08, 0.04, 0.02))[0])):
            yield world.pair(source, topic, messages)
            count -= 1


def blemish(rows: list[Row], rng: random.Random) -> list[Row]:
    """Add what real files have: exact duplicates, an empty answer on either side, one pair of equal sides."""
    rows = [*rows, *rng.sample(rows, 12)]
    rng.shuffle(rows)
    for side in ("chosen", "rejected"):
        rng.choice(rows)[side] = [{"role": "assistant", "content": ""}]
    row = rng.choice(rows)
    row["rejected"] = row["chosen"]
    return rows


def draw_votes(seed: int, count: int) -> Iterator[Row]:
    """Raw votes of the second source, with ties and pairs where both are bad."""
    world = World(seed)
    for _ in range(count):
        topic, messages = world.prompt(VOTED)
        yield world.vote(VOTED, topic, messages)


def write_rows(path: Path, rows: list[Row]) -> None:
    """One JSON object a line, the same bytes on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8", newline="\n")
    print(f"{path.name}: {len(rows)} rows")


def main() -> None:
    """Write pairs/*.jsonl, one file per source, votes/*.jsonl and planted.json."""
    parser = argparse.ArgumentParser(description="Write the sample's preference pairs and planted.json.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    out: Path = parser.parse_args().out
    rows = blemish(list(draw_pairs(SEED, N_PAIRS)), random.Random(SEED + 1))
    for source in SOURCES:
        write_rows(out / "pairs" / f"{source.name}.jsonl", [r for r in rows if r["source"] == source.name])
    write_rows(out / "votes" / f"{VOTED.name}_votes.jsonl", list(draw_votes(SEED + 2, N_VOTES)))
    truth = json.dumps(as_json(), indent=2, ensure_ascii=False) + "\n"
    (out / "planted.json").write_text(truth, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
