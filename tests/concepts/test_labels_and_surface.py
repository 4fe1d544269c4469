"""Working labels, column concepts, carried verdicts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.concepts.context_words import telling_words
from engine.concepts.label_check import LabelCheck, check_labels
from engine.concepts.labels import (
    LATENTS_PER_CONCEPT,
    Peak,
    label_of,
    peaks_of,
    show_token,
    snippet,
    telling_labels,
)
from engine.concepts.scores import ConceptScores
from engine.concepts.surface import column_scores, surface_columns, text_column
from engine.concepts.texts import PairTexts, TokenPlace, place
from engine.records import Span
from tests.stats.inputs import with_pairs
from tests.worlds import make_readings


def _at(text: str, word: str) -> TokenPlace:
    start = text.index(word)
    return place(text, start, start + len(word))


def test_a_word_tells_when_it_is_frequent_here_and_rare_elsewhere() -> None:
    text = {0: "the", 1: "sorry", 2: "Sorry", 3: "the", 4: "cake", 5: "the", 6: "cake", 7: "sorry"}
    peaks = [Peak(0 if i < 3 or i == 7 else 1, i, Span.CHOSEN, 0) for i in range(8)]
    labels = telling_labels(peaks, lambda pair, _span, _position: TokenPlace(text[pair], "", ""), 2)
    assert labels[0].tokens == ("sorry",)  # counted without case; "the" was seen there only once
    assert labels[1].tokens == ("cake", "the")
    assert label_of(labels[1].tokens, "latent 7") == '"cake" · "the"'
    assert label_of((), "latent 7") == "latent 7"


def test_a_piece_of_a_word_is_read_as_the_word() -> None:
    text = "I’m afraid I can't help with explosives, **sorry**."
    assert _at(text, "plos").word == "explosives"
    assert _at(text, "t help"[:1]).word == "can't"
    assert _at(text, "**").word == "**"
    assert _at(text, " sorry"[1:]) == TokenPlace("sorry", text[: text.index("sorry")], "**.")
    assert _at(text, ",").word == ","
    unparted = "我不能帮助你做这件事因为它可能会伤害别人而且这是违法的行为"
    assert _at(unparted, "帮助").word == "帮助"  # growing would take in the sentence


@given(st.text(max_size=60), st.data())
def test_places_are_parts_of_their_text(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    found = place(text, start, end)
    assert text[start:end].strip() in found.word
    assert found.before + found.word + found.after in text


def test_two_words_are_shown_where_they_nearly_always_stand_together() -> None:
    texts = ["I am not sure about the cake", "she was not sure of the way", "they were not sure at all"]
    others = [f"he put the {w} into the box" for w in ("cup", "hat", "pen", "key", "map")] * 8
    every = texts + others
    word = ["sure"] * 3 + [t.split()[3] for t in others]
    peaks = [Peak(0 if i < 3 else 1, i, Span.CHOSEN, 0) for i in range(len(every))]
    labels = telling_labels(peaks, lambda i, _s, _p: _at(every[i], word[i]), 2)
    assert labels[0].tokens == ("not sure",)
    assert set(labels[1].tokens) == {"cup", "hat", "pen", "key", "map"}  # "the" stands beside everything
    assert labels[0].snippets[0] == "I am not «sure» about the cake"


def test_snippets_are_cut_at_words_and_made_safe() -> None:
    text = "one two three four five six seven eight nine ten sorry\x1b[31m " + "eleven twelve " * 5
    shown = snippet(_at(text, "sorry"))
    assert shown.startswith("…four five")
    assert "«sorry»<ESC>[31m eleven" in shown
    assert shown.endswith("…")
    assert snippet(TokenPlace("x", "a" * 90, "b" * 90)) == f"…{'a' * 36}«x»{'b' * 36}…"  # one long word


def test_peaks_come_from_different_prompts_where_they_can() -> None:
    readings = make_readings(60, 3)
    busy = with_pairs(readings, group=(np.arange(60) // 10).astype(np.int32))
    peaks = peaks_of(busy, 0, [0], 6)
    groups = {int(busy.pairs.group[p.pair]) for p in peaks}
    assert len(peaks) == len(groups)
    at = slice(int(busy.by_latent.indptr[0]), int(busy.by_latent.indptr[1]))
    assert groups == {int(busy.pairs.group[i]) for i in busy.by_latent.pair[at]}


def test_peaks_are_the_strongest_places_on_the_side_that_has_them() -> None:
    """Six latents, of which five are looked at: the strongest pair of each prompt, on its stronger side."""
    readings = make_readings(200, 8, seed=3)
    dense = {}
    for side, values in (
        (Span.CHOSEN, readings.by_latent.chosen),
        (Span.REJECTED, readings.by_latent.rejected),
    ):
        top, where = np.zeros((200, 8)), np.zeros((200, 8), int)
        latent = np.repeat(np.arange(8), np.diff(readings.by_latent.indptr))
        top[readings.by_latent.pair, latent], where[readings.by_latent.pair, latent] = (
            values.act_max,
            values.peak,
        )
        dense[side] = (top, where)
    own = list(range(LATENTS_PER_CONCEPT + 1))
    wanted = 4
    expected = []
    for k in own[:LATENTS_PER_CONCEPT]:
        best: dict[int, tuple[float, int, Span]] = {}
        for pair in range(200):
            for side in (Span.CHOSEN, Span.REJECTED):
                found = (dense[side][0][pair, k], pair, side)
                group = int(readings.pairs.group[pair])
                if found[0] > 0 and (group not in best or found[0] > best[group][0]):
                    best[group] = found
        for _, pair, side in sorted(best.values(), key=lambda f: -f[0])[:wanted]:
            expected.append(Peak(9, pair, side, int(dense[side][1][pair, k])))
    assert peaks_of(readings, 9, own, wanted * LATENTS_PER_CONCEPT) == expected
    assert {p.span for p in expected} == {Span.CHOSEN, Span.REJECTED}


def test_a_label_is_checked_on_responses_that_carry_it_and_on_others() -> None:
    """Concept 0 is carried by every chosen side; "sorry" stands on 3 of 4 of these and on 1 of 4 others."""
    n = 40
    chosen = ["I am sorry" if i % 4 else "no way" for i in range(n)]
    rejected = ["sorry not sorry" if i % 4 == 0 else "sure thing" for i in range(n)]
    ones, none = np.ones(n, np.float32), np.zeros(n, np.float32)
    scores = ConceptScores(
        np.array([0, n]), np.arange(n, dtype=np.uint32), ones, none, none, ones, ones,
        np.ones(n, np.bool_), np.zeros(n, np.bool_), np.zeros(n, np.bool_),
    )  # fmt: skip
    texts = PairTexts(["p"] * n, chosen, rejected)

    def check_of(name: tuple[str, ...], seen: list[int] | None = None) -> LabelCheck:
        pairs = np.array(seen or [], np.int64)
        group = np.arange(n, dtype=np.int32)
        return check_labels([name], [pairs], scores, texts, group, np.random.default_rng(0))[0]

    check = check_of(("sorry",))
    assert check.inside == pytest.approx(0.75)
    assert check.outside == pytest.approx(0.25)
    assert check.silent == ("«sorry» not sorry",)
    phrase = check_of(("am sorry", "way"))
    assert (phrase.inside, phrase.outside, phrase.silent) == (1.0, 0.0, ())
    assert check_of(()).inside is None
    # Pairs that the label was made from do not count for it: without the 10 others, it always stands there.
    assert check_of(("sorry",), list(range(0, n, 4))).inside == 1.0


def test_tokens_are_shown_safely() -> None:
    assert show_token("\n\n") == "⏎"
    assert show_token("  ") == "␣"
    assert show_token(" sorry\x1b[31m") == "sorry<ESC>[31m"


def test_words_of_a_context_are_those_it_has_more_of() -> None:
    prompts = [f"bake some bread {i} today" for i in range(20)] + [
        f"write a python loop {i} today" for i in range(20)
    ]
    words = telling_words(prompts, [np.arange(20), np.arange(20, 40)])
    assert "bread" in words[0]
    assert "python" in words[1]
    assert all("today" not in w for w in words)


def test_long_prompts_do_not_name_a_context_after_common_words() -> None:
    """Every prompt holds "and"; the long ones of the context also hold many other words, one of them all."""
    rng = np.random.default_rng(0)
    rare = [f"w{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(300)]
    short = [f"and the of {rng.choice(rare)}" for _ in range(200)]
    long = ["and the of zebra " + " ".join(rng.choice(rare, 25)) for _ in range(40)]
    [words] = telling_words(short + long, [np.arange(200, 240)])
    assert words[0] == "zebra"
    assert not {"and", "the", "of"} & set(words)


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


def test_the_length_of_an_empty_response_is_that_of_one_token() -> None:
    readings = make_readings(3, 3)
    counts = {f"{side}_tokens": np.array([0, 1, 20], np.int32) for side in ("chosen", "rejected", "prompt")}
    length = surface_columns(with_pairs(readings, **counts), PairTexts(["p"] * 3, ["a"] * 3, ["b"] * 3))[0]
    for values in (length.chosen, length.rejected, length.prompt):
        np.testing.assert_allclose(values, [0, 0, math.log(20)])
    sampled = text_column("@length", ["", "a", "b"], np.array([0, 1, 20]), {})
    assert sampled is not None
    np.testing.assert_allclose(sampled, [0, 0, math.log(20)])


@pytest.mark.parametrize(("chosen", "rejected"), [("a!", "b"), ("a", "b!")])
def test_a_column_that_one_side_carries_is_kept(chosen: str, rejected: str) -> None:
    found = surface_columns(make_readings(2, 3), PairTexts(["p"] * 2, [chosen] * 2, [rejected] * 2))
    assert [c.name for c in found] == ["@length", "@exclamations"]


def test_columns_that_nobody_carries_are_left_out_but_length_stays() -> None:
    names = [c.name for c in surface_columns(make_readings(2, 3), PairTexts(["p"] * 2, ["a"] * 2, ["b"] * 2))]
    assert names == ["@length"]
