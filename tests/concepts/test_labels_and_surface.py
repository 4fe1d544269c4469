"""Working labels, column concepts, carried verdicts."""

import math

import numpy as np
import pytest

from engine.concepts.identity import carry
from engine.concepts.labels import Peak, label_of, show_token, telling_tokens, telling_words
from engine.concepts.surface import column_scores, surface_columns
from engine.concepts.texts import PairTexts
from engine.records import Span
from tests.worlds import make_readings


def test_a_token_tells_when_it_is_frequent_here_and_rare_elsewhere() -> None:
    text = {0: "the", 1: "sorry", 2: "sorry", 3: "the", 4: "cake", 5: "the"}
    peaks = [Peak(0 if i < 3 else 1, i, Span.CHOSEN, 0) for i in range(6)]
    tokens = telling_tokens(peaks, lambda pair, _span, _position: text[pair], 2)
    assert tokens[0][0] == "sorry"
    assert tokens[1][0] == "cake"
    assert label_of(tokens[0], "latent 7") == '"sorry" · "the"'
    assert label_of((), "latent 7") == "latent 7"


def test_tokens_are_shown_safely() -> None:
    assert show_token("\n\n") == "⏎"
    assert show_token("  ") == "␣"
    assert show_token(" sorry\x1b[31m") == "sorry<ESC>[31m"


def test_words_of_a_context_are_those_it_has_more_of() -> None:
    prompts = ["bake some bread today", "bake a cake today"] * 10 + ["write a python loop today"] * 20
    words = telling_words(prompts, [np.arange(20), np.arange(20, 40)])
    assert "bake" in words[0]
    assert "python" in words[1]
    assert all("today" not in w for w in words)


def _column(name: str, chosen: str, rejected: str) -> tuple[float, float]:
    readings = make_readings(2, 3)
    texts = PairTexts(["p", "p"], [chosen, chosen], [rejected, rejected])
    found = {c.name: c for c in surface_columns(readings, texts)}
    return float(found[name].chosen[0]), float(found[name].rejected[0])


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [
        ("@headings", "# One\ntext\n### Two\n#no", 2),
        ("@bold", "**a** and **b c** but * d *", 2),
        ("@list_items", "- a\n2. b\n* c\n1) d\nnot - e", 4),
        ("@code_blocks", "```py\nx\n```\nand ```a```", 2),
        ("@links", "see https://x.org and [y](z)", 2),
        ("@exclamations", "Hi! Oh!!", 3),
        ("@questions", "Who? What?", 2),
        ("@numbers", "In 1999, 3 of 12", 3),
        ("@emoji", "fine 😀☀", 2),
        ("@table_rows", "| a | b |\n|---|---|\ntext", 2),
    ],
)
def test_surface_counts_are_logs_of_what_a_person_would_count(name: str, text: str, count: int) -> None:
    chosen, rejected = _column(name, text, "plain")
    assert chosen == pytest.approx(math.log1p(count))
    assert rejected == 0


def test_non_latin_is_a_share_of_letters() -> None:
    assert _column("@non_latin", "Привет abcdef", "plain")[0] == pytest.approx(0.5)


def test_column_disparity_is_the_delta_over_its_root_mean_square() -> None:
    readings = make_readings(3, 3)
    texts = PairTexts(["p"] * 3, ["a!", "b", "c"], ["a", "b!", "c"])
    columns = [c for c in surface_columns(readings, texts) if c.name == "@exclamations"]
    scores = column_scores(columns)
    # Deltas are +log 2, −log 2, 0; their root mean square is log 2 · √(2/3).
    np.testing.assert_allclose(scores.u, [math.sqrt(1.5), -math.sqrt(1.5)], rtol=1e-6)
    assert scores.pair.tolist() == [0, 1]


def test_columns_that_nobody_carries_are_left_out_but_length_stays() -> None:
    names = [c.name for c in surface_columns(make_readings(2, 3), PairTexts(["p"] * 2, ["a"] * 2, ["b"] * 2))]
    assert names == ["@length"]


def test_verdicts_move_to_the_best_match_and_orphans_are_listed() -> None:
    old = {"same": frozenset({1}), "grown": frozenset({2, 3, 4}), "lost": frozenset({7, 8, 9, 10})}
    new = {"same": frozenset({1}), "a": frozenset({2, 3, 4, 5}), "b": frozenset({4, 7, 11, 12})}
    carried = carry(old, new)
    assert carried.moved == {"grown": ("a", 0.75)}
    assert carried.orphans == ("lost",)
