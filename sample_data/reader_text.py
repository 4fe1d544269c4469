"""Text that the sample reader is trained on: the pairs, further conversations of the same kind, and notes."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

from make_pairs import FAMILIES, draw_pairs
from material import expand, load_family

Messages = list[dict[str, str]]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def sample_conversations(folder: Path) -> list[Messages]:
    """Both sides of every committed pair as conversations, without repeats and without empty answers."""
    found: dict[str, Messages] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            for side in ("chosen", "rejected"):
                if row[side][0]["content"]:
                    conversation = row["prompt"] + row[side]
                    found[json.dumps(conversation)] = conversation
    return list(found.values())


def further_conversations(seed: int, count: int) -> list[Messages]:
    """Conversations from the same generator that are not in the sample."""
    return [row["prompt"] + row[side] for row in draw_pairs(seed, count) for side in ("chosen", "rejected")]


def notes(seed: int, count: int) -> Iterator[str]:
    """Running text without a chat layout: what is known about a subject, in changing order and form."""
    rng = random.Random(seed)
    families = [load_family(name) for name in FAMILIES]
    for _ in range(count):
        family = rng.choice(families)
        topic = rng.choice(family.topics)
        points = rng.sample(topic.points, rng.randint(2, len(topic.points)))
        lines = [expand(f"{point.main}. {point.detail}.", rng) for point in points]
        layout = rng.randint(0, 2)
        if layout == 0:
            yield " ".join(lines)
        elif layout == 1:
            yield f"Notes on {topic.key}\n\n" + "\n".join(f"* {line}" for line in lines)
        else:
            yield f"Q: {expand(rng.choice(topic.ask), rng)}\nA: {' '.join(lines)}"


def as_text(conversation: Messages) -> str:
    """The conversation in the chat layout of TEMPLATE."""
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in conversation)
