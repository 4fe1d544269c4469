"""Regular expressions between slashes: RE2, flags in front, every refusal said."""

import pytest

from engine.errors import PatternError
from engine.patterns import search, written


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("/sorry/", "sorry"),
        ("/sorry|apolog/i", "(?i)sorry|apolog"),
        (r"/https?:\/\//", "https?://"),
        ("/^a.b$/smi", "(?ims)^a.b$"),
        ("/a/b/", "a/b"),
    ],
)
def test_a_pattern_has_its_flags_in_front(text: str, pattern: str) -> None:
    assert written(text) == pattern


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sorry", "between slashes"),
        ("/sorry", "between slashes"),
        ("//i", "between slashes"),
        ("", "between slashes"),
        ("/sorry/g", "unknown flag in `g`"),
        ("/(/", "missing"),
        ("/(?=x)/", "not an RE2 expression"),
    ],
)
def test_what_is_no_pattern_is_refused(text: str, why: str) -> None:
    with pytest.raises(PatternError, match=why):
        written(text)


def test_flags_do_what_they_say() -> None:
    assert search(written("/SORRY/i")).search("so sorry") is not None
    assert search(written("/^b$/")).search("a\nb") is None
    assert search(written("/^b$/m")).search("a\nb") is not None
    assert search(written("/a.b/")).search("a\nb") is None
    assert search(written("/a.b/s")).search("a\nb") is not None
