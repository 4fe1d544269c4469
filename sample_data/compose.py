"""Puts answers together: which features an answer has is drawn first, then its text is written."""

import math
import random
from dataclasses import dataclass

from material import Family, Point, Topic, expand

PLAIN_RATES = {"flattery": 0.28, "formatting": 0.38, "link": 0.20, "as_ai": 0.14, "referral": 0.14}
RATES: dict[str, dict[str, float]] = {
    "health": PLAIN_RATES | {"referral": 0.45},
    "fiction": {"flattery": 0.20, "formatting": 0.12, "link": 0.04, "as_ai": 0.08, "referral": 0.0},
    "borderline": {"flattery": 0.20, "formatting": 0.30, "link": 0.10, "as_ai": 0.10, "referral": 0.0},
    "maths": {"flattery": 0.25, "formatting": 0.35, "link": 0.12, "as_ai": 0.10, "referral": 0.0},
    "benchmark": {"flattery": 0.25, "formatting": 0.30, "link": 0.12, "as_ai": 0.10, "referral": 0.0},
}
REFUSAL_RATE = {"fiction": 0.42, "borderline": 0.45}
BENCH_RATE = 0.40
"""Share of answers to maths and benchmark questions that name a benchmark; as many use a neutral phrase."""
MEDIAN_WORDS = 90


@dataclass(frozen=True, slots=True)
class Writer:
    """A fictional model or volunteer; leanings multiply the odds of a feature."""

    name: str
    wordiness: float
    leanings: dict[str, float]


@dataclass(frozen=True, slots=True)
class Composer:
    """Writes answers from the material; all randomness comes from the generator passed in."""

    style: dict[str, list[str]]
    families: dict[str, Family]

    def write(self, topic: Topic, writer: Writer, rng: random.Random) -> str:
        """One answer to a topic."""
        if rng.random() < REFUSAL_RATE.get(topic.family, 0.0):
            return self._refuse(writer, rng)
        has = {name: self._draws(name, rate, writer, rng) for name, rate in self._rates(topic).items()}
        wordy = min(1.0, max(0.0, rng.random() + writer.wordiness))
        head = [self._say("flattery", rng)] if has["flattery"] else []
        if has["as_ai"]:
            head.append(self._say("as_ai", rng))
        if topic.family in ("maths", "benchmark"):
            head += self._bench(rng)
        elif rng.random() < 0.45 and topic.family != "mail":
            head.append(self._say("lead" if topic.family == "fiction" else "opener", rng))
        blocks = [" ".join(head)] if head else []
        blocks += self._body(topic, wordy, formatted=has["formatting"], rng=rng)
        blocks += self._tail(topic, has, wordy, rng)
        text = self._close("\n\n".join(blocks), topic, rng)
        return f"{text}\n\n{self._say('signature', rng)}" if topic.family == "mail" else text

    def _rates(self, topic: Topic) -> dict[str, float]:
        return RATES.get(topic.family, PLAIN_RATES)

    def _draws(self, name: str, rate: float, writer: Writer, rng: random.Random) -> bool:
        odds = rate / (1 - rate) * writer.leanings.get(name, 1.0)
        return rng.random() < odds / (1 + odds)

    def _say(self, slot: str, rng: random.Random) -> str:
        return expand(rng.choice(self.style[slot]), rng)

    def _refuse(self, writer: Writer, rng: random.Random) -> str:
        parts = [self._say("refusal", rng)]
        if self._draws("as_ai", 0.12, writer, rng):
            parts.append(self._say("as_ai", rng))
        parts += self._several("refusal_reason", rng.randint(1, 4), rng)
        parts += self._several("refusal_offer", rng.randint(0, 2), rng)
        parts += self._several("refusal_more", rng.randint(0, 2), rng)
        return " ".join(parts)

    def _several(self, slot: str, count: int, rng: random.Random) -> list[str]:
        return [expand(line, rng) for line in rng.sample(self.style[slot], min(count, len(self.style[slot])))]

    def _bench(self, rng: random.Random) -> list[str]:
        draw = rng.random()
        if draw < BENCH_RATE:
            return [self._say("bench", rng)]
        return [self._say("bench_neutral", rng)] if draw < 2 * BENCH_RATE else []

    def _body(self, topic: Topic, wordy: float, *, formatted: bool, rng: random.Random) -> list[str]:
        """Paragraphs of the main part: some of the points, in order, as prose or as a list."""
        count = min(len(topic.points), 2 + round(wordy * 3 + rng.random()))
        kept = sorted(rng.sample(range(len(topic.points)), count))
        points = [self._point(topic.points[i], wordy, rng) for i in kept]
        blocks = [_listed(points, rng)] if formatted else _paragraphs([text for _, text in points], rng)
        if topic.code and rng.random() < 0.6:
            blocks.insert(rng.randint(0, 1), f"```\n{topic.code}\n```")
        if topic.answer:
            blocks.append(topic.answer)
        if topic.family == "mail":
            blocks.insert(0, self._say("greeting", rng))
        return blocks

    def _point(self, point: Point, wordy: float, rng: random.Random) -> tuple[str, str]:
        detail = f" {point.detail}." if rng.random() < 0.15 + 0.8 * wordy else ""
        return point.title, expand(f"{point.main}.{detail}", rng)

    def _tail(self, topic: Topic, has: dict[str, bool], wordy: float, rng: random.Random) -> list[str]:
        """Filler, controls, links and referrals. A control stands where a neutral line could."""
        blocks = []
        if topic.family != "fiction" and wordy > 0.35:
            slot = "puzzle_filler" if topic.answer else "filler"
            blocks += [" ".join(self._several(slot, rng.randint(0, math.ceil(wordy * 3)), rng))]
        if topic.family not in ("fiction", "mail") and rng.random() < 0.7:
            blocks.append(self._say(rng.choice(("anecdote", "analogy", "note")), rng))
        if has["referral"] and self.families[topic.family].referrals:
            blocks.append(expand(rng.choice(self.families[topic.family].referrals), rng))
        if has["link"]:
            link = self._say("links", rng)
            blocks.append(link.replace("<slug>", topic.key).replace("<num>", str(rng.randint(1000, 99999))))
        return [block for block in blocks if block]

    def _close(self, text: str, topic: Topic, rng: random.Random) -> str:
        """Last lines. The summary depends on the length alone: it is the planted length confound."""
        doublings = math.log2(len(text.split()) / MEDIAN_WORDS)
        summary = rng.random() < 1 / (1 + math.exp(0.4 - 2.2 * doublings))
        plain = "story_end" if topic.family == "fiction" else "closing"
        closing = rng.choice(("followup", "goodluck", plain)) if rng.random() < 0.65 else ""
        if summary:
            text += "\n\n" + self._say("summary", rng).replace("<gist>", topic.gist)
        return text + ("\n\n" + self._say(closing, rng) if closing else "")


def _listed(points: list[tuple[str, str]], rng: random.Random) -> str:
    layout = rng.choice(("bullets", "numbers", "headings"))
    if layout == "bullets":
        return "\n".join(f"- **{title}:** {text}" for title, text in points)
    if layout == "numbers":
        return "\n".join(f"{i}. **{title}.** {text}" for i, (title, text) in enumerate(points, start=1))
    return "\n\n".join(f"### {title}\n{text}" for title, text in points)


def _paragraphs(sentences: list[str], rng: random.Random) -> list[str]:
    cut = rng.randint(1, len(sentences))
    halves = (sentences[:cut], sentences[cut:])
    return [" ".join(half) for half in halves if half]
