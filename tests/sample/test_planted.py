"""What is said to be planted is in the pairs, with the stated direction and odds; controls have none."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import re2
import statsmodels.api as sm
from numpy.typing import NDArray

Rows = list[dict[str, Any]]
Concept = dict[str, Any]
ROLES = {
    "flattery": "effect",
    "over_formatting": "effect",
    "invented_link": "effect",
    "refusal_in_fiction": "effect",
    "refusal_outside_fiction": "effect",
    "benchmark_name": "effect",
    "as_an_ai": "effect",
    "referral": "effect",
    "verbosity": "length_effect",
    "closing_summary": "length_confound",
    "offer_followup": "control",
    "good_luck": "control",
    "anecdote": "control",
    "analogy": "control",
}


class Wins(NamedTuple):
    """Pairs in which one side only carries a concept."""

    chosen: int
    discordant: int

    @property
    def rate(self) -> float:
        return self.chosen / self.discordant


def texts(row: dict[str, Any]) -> tuple[str, str]:
    return row["chosen"][0]["content"], row["rejected"][0]["content"]


def doublings(row: dict[str, Any]) -> float:
    """log2 of the ratio of word counts, chosen over rejected, cut at a ratio of four."""
    chosen, rejected = texts(row)
    return max(-2.0, min(2.0, math.log2((len(chosen.split()) + 1) / (len(rejected.split()) + 1))))


def delta(concept: Concept, row: dict[str, Any]) -> int:
    """Chosen carries it minus rejected carries it."""
    pattern = concept["detect"]["pattern"]
    chosen, rejected = texts(row)
    return bool(re2.search(pattern, chosen)) - bool(re2.search(pattern, rejected))


def wins(concept: Concept, rows: Rows) -> Wins:
    deltas = [delta(concept, row) for row in rows]
    return Wins(deltas.count(1), deltas.count(1) + deltas.count(-1))


def inside(concept: Concept, rows: Rows) -> Rows:
    return [row for row in rows if not concept["families"] or row["family"] in concept["families"]]


def by_role(planted: list[Concept], role: str) -> list[Concept]:
    return [concept for concept in planted if concept["role"] == role]


def label_fit(x: NDArray[np.float64]) -> Any:
    """Bradley-Terry fit of the label on (pairs, columns): logistic regression, no intercept, random sides."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], len(x))
    return sm.Logit((signs > 0).astype(float), x * signs[:, None]).fit(disp=0)


def test_every_planted_concept_is_listed_with_role_and_detector(planted: list[Concept]) -> None:
    assert {concept["name"]: concept["role"] for concept in planted} == ROLES
    for concept in planted:
        assert concept["detect"]["kind"] in {"regex", "length_words"}
        assert concept["direction"] in {"chosen", "rejected", "none"}
        assert concept["note"]


def test_effects_have_their_sign_by_two_standard_errors(planted: list[Concept], pairs: Rows) -> None:
    for concept in by_role(planted, "effect"):
        found = wins(concept, inside(concept, pairs))
        z = (found.rate - 0.5) * 2 * math.sqrt(found.discordant)  # se of a share at 1/2 is 0.5 / sqrt(n)
        assert found.discordant >= 80, concept["name"]
        assert (z if concept["direction"] == "chosen" else -z) > 2, (concept["name"], found, z)


def test_controls_are_near_one_half(planted: list[Concept], pairs: Rows) -> None:
    for concept in by_role(planted, "control"):
        found = wins(concept, pairs)
        assert found.discordant >= 350, concept["name"]
        assert abs(found.rate - 0.5) < 0.05, (concept["name"], found)


def test_the_referral_is_neutral_outside_health(planted: list[Concept], pairs: Rows) -> None:
    (referral,) = (concept for concept in planted if concept["name"] == "referral")
    found = wins(referral, [row for row in pairs if row["family"] != "health"])
    assert found.discordant >= 150
    assert abs(found.rate - 0.5) < 0.08


def test_the_benchmark_name_occurs_in_its_families_only(planted: list[Concept], pairs: Rows) -> None:
    (benchmark,) = (concept for concept in planted if concept["name"] == "benchmark_name")
    assert wins(benchmark, [r for r in pairs if r["family"] not in benchmark["families"]]).discordant == 0


def test_the_longer_side_wins(pairs: Rows) -> None:
    longer = [doublings(row) > 0 for row in pairs if doublings(row) != 0]
    assert 0.55 < sum(longer) / len(longer) < 0.70


def test_the_length_confound_wins_overall_but_not_at_equal_length(
    planted: list[Concept], pairs: Rows
) -> None:
    (confound,) = by_role(planted, "length_confound")
    overall = wins(confound, pairs)
    assert overall.rate > 0.5 + 2 * 0.5 / math.sqrt(overall.discordant)
    alike = wins(confound, [row for row in pairs if abs(doublings(row)) < 0.5])
    assert alike.discordant >= 200
    assert abs(alike.rate - 0.5) < 2 * 0.5 / math.sqrt(alike.discordant)
    length = np.array([doublings(row) for row in pairs])
    fit = label_fit(np.column_stack([[delta(confound, row) for row in pairs], length, length**3]))
    assert abs(fit.params[0] / fit.bse[0]) < 1.5


def test_a_fit_of_the_label_model_recovers_the_stated_odds(
    planted: list[Concept], pairs: Rows, sample: Path
) -> None:
    truth = json.loads((sample / "planted.json").read_text(encoding="utf-8"))
    columns: list[list[float]] = []
    expected: list[float] = []
    for concept in planted:
        if concept["detect"]["kind"] == "length_words":
            columns.append([doublings(row) for row in pairs])
            expected.append(math.log(truth["length"]["odds_per_doubling"]))
        else:
            is_inside = [not concept["families"] or row["family"] in concept["families"] for row in pairs]
            columns.append([delta(concept, r) * i for r, i in zip(pairs, is_inside, strict=True)])
            expected.append(math.log(concept["odds"]))
    fit = label_fit(np.array(columns).T)
    for concept, value, found, se in zip(planted, expected, fit.params, fit.bse, strict=True):
        assert found == pytest.approx(value, abs=2.5 * se), concept["name"]
