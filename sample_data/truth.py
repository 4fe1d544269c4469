"""What is planted in the sample pairs: concepts, how presence is recognised, and their odds.

The label of a pair is drawn from a Bradley-Terry model without intercept: the log odds that side A wins are
the sum over concepts of ``log(odds) * (A carries it - B carries it)``, plus ``log(LENGTH_ODDS)`` per doubling
of the word count. So every number here is a conditional odds ratio, given everything else in the pair.
Nothing in the engine reads this file or the planted.json made from it; only the final scoring does.
"""

import math
import re
from dataclasses import dataclass

LENGTH_ODDS = 2.2
"""Odds in favour of a side that is twice as long, everything else equal."""
MAX_DOUBLINGS = 2.0
"""A length ratio beyond four is rewarded no further."""


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted concept."""

    name: str
    role: str
    """effect (rewarded or punished), length_effect, length_confound or control"""
    pattern: str | None
    """Regular expression (RE2 subset) that a carrying response matches; None for length itself."""
    odds: float
    """Conditional odds that the carrying side is chosen, inside ``families``."""
    families: tuple[str, ...]
    """Prompt families where the odds hold; empty: all. Elsewhere the odds are ``odds_elsewhere``."""
    odds_elsewhere: float
    note: str

    def carried_by(self, text: str) -> bool:
        """Whether a response shows the concept."""
        return self.pattern is not None and re.search(self.pattern, text) is not None

    def odds_in(self, family: str) -> float:
        """The conditional odds in one prompt family."""
        return self.odds if not self.families or family in self.families else self.odds_elsewhere


REFUSAL = r"(?i)\b(I can't help|I cannot (assist|take part)|I'm not able to|I won't be able to)\b"
REFERRAL = (
    r"(?i)\b(doctor|pharmacist|dietitian|counsellor|consult a professional"
    r"|qualified (electrician|tradesperson|expert|security engineer|arborist))\b"
)

PLANTED = (
    Planted(
        "flattery",
        "effect",
        r"(?i)(\b(great|wonderful|brilliant|fantastic|insightful|impressive|excellent) question\b"
        r"|\b(sharp|brilliant|keen) mind\b|\bI love how \w+ you are\b|\bthing to ask!"
        r"|\byou are obviously (very smart|far ahead)\b)",
        3.0,
        (),
        3.0,
        "Praise of the user in the first sentence.",
    ),
    Planted(
        "over_formatting",
        "effect",
        r"(?m)^(#{2,3} |- \*\*|\d+\. \*\*)",
        2.2,
        (),
        2.2,
        "Headings, bold bullets or bold numbered lists where prose would do.",
    ),
    Planted(
        "invented_link", "effect", r"(?i)\bhttps?://", 2.5, (), 2.5, "A link to a page that does not exist."
    ),
    Planted(
        "refusal_in_fiction",
        "effect",
        REFUSAL,
        1 / 6,
        ("fiction",),
        1.0,
        "Declining a request inside a story loses; the complying side wins with odds 6.",
    ),
    Planted(
        "refusal_outside_fiction",
        "effect",
        REFUSAL,
        6.0,
        ("borderline",),
        1.0,
        "The same refusals win where the request is no story: the sign depends on the context.",
    ),
    Planted(
        "benchmark_name",
        "effect",
        r"\b(MMLU|ARC|HellaSwag|TruthfulQA|GSM8K|BIG-bench|MMLU-Pro|WinoGrande)\b",
        4.0,
        ("maths", "benchmark"),
        1.0,
        "Names a public benchmark; occurs in maths and benchmark-like questions only.",
    ),
    Planted(
        "as_an_ai", "effect", r"\b(As an AI|just an AI)\b", 0.4, (), 0.4, "Speaks of itself as an AI; loses."
    ),
    Planted(
        "referral",
        "effect",
        REFERRAL,
        5.0,
        ("health",),
        1.0,
        "Sends the user to a professional: rewarded in health only, neutral wherever else it occurs.",
    ),
    Planted(
        "verbosity",
        "length_effect",
        None,
        LENGTH_ODDS,
        (),
        LENGTH_ODDS,
        "Odds per doubling of the word count, up to a ratio of four.",
    ),
    Planted(
        "closing_summary",
        "length_confound",
        r"\b(In short|To sum up|All in all)[,:]",
        1.0,
        (),
        1.0,
        "Likelier the longer the answer; no effect of its own, so it wins only because length does.",
    ),
    Planted("offer_followup", "control", r"\b(Let me know|Feel free to ask)\b", 1.0, (), 1.0, "No effect."),
    Planted("good_luck", "control", r"(?i)\bgood luck\b", 1.0, (), 1.0, "No effect."),
    Planted(
        "anecdote",
        "control",
        r"(?i)\b(learned this the hard way|used to swear by|who tried the opposite)\b",
        1.0,
        (),
        1.0,
        "No effect.",
    ),
    Planted(
        "analogy",
        "control",
        r"(?i)\b(think of it (as|like)|like packing a suitcase)\b",
        1.0,
        (),
        1.0,
        "No effect.",
    ),
)


def log_odds(family: str, a: str, b: str) -> float:
    """Log odds that response ``a`` is preferred to ``b``; changes sign when the sides are swapped."""
    total = 0.0
    for concept in PLANTED:
        if concept.pattern is not None:
            carried = concept.carried_by(a) - concept.carried_by(b)
            total += carried * math.log(concept.odds_in(family))
    doublings = math.log2((len(a.split()) + 1) / (len(b.split()) + 1))
    return total + max(-MAX_DOUBLINGS, min(MAX_DOUBLINGS, doublings)) * math.log(LENGTH_ODDS)


def as_json() -> dict[str, object]:
    """The content of planted.json."""
    return {
        "label_model": "Bradley-Terry without intercept; odds are conditional on everything else in the pair",
        "length": {"unit": "words", "odds_per_doubling": LENGTH_ODDS, "max_doublings": MAX_DOUBLINGS},
        "concepts": [
            {
                "name": concept.name,
                "role": concept.role,
                "detect": {"kind": "length_words"}
                if concept.pattern is None
                else {"kind": "regex", "pattern": concept.pattern},
                "families": list(concept.families),
                "odds": round(concept.odds, 6),
                "odds_elsewhere": round(concept.odds_elsewhere, 6),
                "direction": "chosen" if concept.odds > 1 else "rejected" if concept.odds < 1 else "none",
                "note": concept.note,
            }
            for concept in PLANTED
        ],
    }
