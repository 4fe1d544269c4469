"""Which places are shown, and how they are cut."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.naming.excerpts import STRATA, Carriers, excerpt, pick


def carriers(n: int, *, n_groups: int = 0, seed: int = 0) -> Carriers:
    """Responses in random order of strength; without ``n_groups`` each has a prompt and a text of its own."""
    rng = np.random.default_rng(seed)
    return Carriers(
        pair=np.arange(n) // 2,
        side=np.arange(n) % 2,
        group=rng.integers(0, n_groups, n) if n_groups else np.arange(n),
        text=(rng.integers(0, 2 * n, n) if n_groups else np.arange(n)).astype(np.uint64),
        score=rng.permutation(np.arange(1, n + 1)).astype(np.float64),
    )


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 5))
def test_no_prompt_and_no_text_is_used_twice(n: int, n_groups: int, seed: int) -> None:
    among = carriers(n, n_groups=n_groups, seed=seed)
    picked = pick(among, 12, 10, np.random.default_rng(seed))
    at = [*(i for i, _ in picked.shown), *picked.held]
    assert len(set(among.group[at])) == len(set(among.text[at])) == len(at)
    assert len(picked.shown) <= 12
    assert len(picked.held) <= 10


def test_both_parts_hold_places_of_every_strength() -> None:
    among = carriers(2000)
    picked = pick(among, 12, 8, np.random.default_rng(0))
    rank = (-among.score).argsort().argsort() / len(among)
    bounds = [0.0, *(stratum.until for stratum in STRATA)]
    for part, counts in (([i for i, _ in picked.shown], [6, 3, 3]), (list(picked.held), [4, 2, 2])):
        found = np.histogram(rank[part], bounds)[0]
        assert list(found) == counts  # halves and quarters of 12 and of 8
    assert [word for _, word in picked.shown] == ["strongest"] * 6 + ["strong"] * 3 + ["middling"] * 3


def test_few_prompts_are_shared_out_alike() -> None:
    picked = pick(carriers(11), 12, 10, np.random.default_rng(0))
    assert (len(picked.shown), len(picked.held)) == (6, 5)


def test_which_side_won_makes_no_difference() -> None:
    """The same responses on the other sides: the same places."""
    among = carriers(400, seed=7)
    swapped = Carriers(among.pair, 1 - among.side, among.group, among.text, among.score)
    one, other = (pick(c, 12, 10, np.random.default_rng(5)) for c in (among, swapped))
    assert one == other


def test_the_word_is_marked_and_the_cut_is_between_words() -> None:
    text = "one two three four five six seven eight nine ten"
    at = text.index("five")
    assert excerpt(text, at, at + 4, 26, is_marked=True) == "…three four «five» six seven…"
    assert excerpt(text, at, at + 4, 26, is_marked=False) == "…three four five six seven…"
    assert excerpt(text, 0, 3, 12, is_marked=True) == "«one» two…"
    assert excerpt("short", 0, 5, 100, is_marked=True) == "«short»"


def test_marks_of_the_text_are_not_taken_for_ours() -> None:
    assert excerpt("«a» b «c»", 4, 5, 100, is_marked=True) == "‹a› «b» ‹c›"


def test_what_could_drive_a_terminal_is_made_visible() -> None:
    assert excerpt("a\x1b[2J\u202eb c", 7, 8, 100, is_marked=True) == "a<ESC>[2J<U+202E>b« »c"


@given(st.text(max_size=400), st.integers(0, 400), st.integers(0, 30), st.integers(40, 200))
def test_an_excerpt_holds_its_word_and_is_not_much_longer_than_told(
    text: str, start: int, length: int, n_chars: int
) -> None:
    start = min(start, len(text))
    end = min(start + length, len(text))
    cut = excerpt(text, start, end, n_chars, is_marked=True)
    assert cut.count("«") == cut.count("»") == 1
    plain = "".join(c for c in text if c.isprintable() or c == " ")
    if plain == text and "<" not in text:
        assert text[start:end].replace("«", "‹").replace("»", "›") in cut
        assert len(cut) <= max(n_chars, end - start) + 10 * sum(ord(c) > 126 for c in text) + 4
