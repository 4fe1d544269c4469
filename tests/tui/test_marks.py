"""What a column counts is marked where it stands, in snippets and in whole responses."""

from hypothesis import given
from hypothesis import strategies as st

from engine.safe_text import sanitise
from engine.store.snippets import SNIPPET_CHARS, cut_around, places_of
from tui.folding import cells
from tui.format import UNICODE
from tui.views.strip import LEVELS, mark_levels
from tui.views.top_pairs import snippet

TEXT = "lorem ipsum " * 60 + "so sorry, Sorry. " + "dolor sit " * 60


def test_a_text_is_cut_at_the_first_match() -> None:
    piece = cut_around(TEXT, None, 400, "(?i)sorry")
    assert [piece.text[a:b] for a, b in piece.marks] == ["sorry", "Sorry"]
    assert len(piece.text) <= SNIPPET_CHARS
    assert piece.n_before + len(piece.text) + piece.n_after == len(TEXT)
    assert cut_around(TEXT, None, 400, "absent").n_before == 0


def test_a_line_shows_the_first_match_underlined() -> None:
    line = snippet(cut_around(TEXT, None, 400, "(?i)sorry"), 60, frozenset(), UNICODE)
    assert [text for text, role in line if role == "mark"] == ["sorry", "Sorry"]
    assert sum(cells(text) for text, _ in line) == 60


@given(st.text(max_size=200), st.integers(1, 80))
def test_a_line_has_its_width_whatever_the_text(text: str, width: int) -> None:
    piece = cut_around(text.encode("utf-8", "replace").decode(), 3, 9, "[a-f]+|!")
    line = snippet(piece, width, frozenset(), UNICODE)
    assert sum(cells(part) for part, _ in line) == width


@given(st.text(max_size=200))
def test_letters_are_lit_where_the_pattern_matches(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    lit = mark_levels(text, sanitise(text), places_of(text, "[a-z]"))
    if not lit:
        assert not places_of(text, "[a-z]") or "\r\n" in text
        return
    assert len(lit) == len(sanitise(text))
    letters = [c for c, level in zip(sanitise(text), lit, strict=True) if level == LEVELS]
    assert letters == [c for c in text if "a" <= c <= "z"]
