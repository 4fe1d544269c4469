"""Column concepts: numbers computed from text that everybody recognises (length, headings, lists, links …).

They stand beside latent concepts with the same tests. There is no hand-made behaviour among the built-in
ones: no refusal pattern, no list of polite words. A person may add columns of their own, each the count of a
pattern's matches (``concepts.columns``). A column's score is its value on the span; its disparity is
``(chosen − rejected) / RMS of that difference over all pairs``, uncentred so that swapping sides leaves the
scale alone, which keeps the choice of unit label-blind; the win rate uses its sign.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.arrays import Readings
from engine.concepts.scores import ConceptScores
from engine.concepts.texts import PairTexts
from engine.errors import PatternError, SettingsError
from engine.patterns import search, written

LENGTH = "@length"
"""log of the response's own tokens as the reader counts them."""

_HEADING = re.compile(r"^ {0,3}#{1,6} ", re.M)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
_LIST_ITEM = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)]) ", re.M)
_LINK = re.compile(r"https?://|\bwww\.|\]\(")
_DIGITS = re.compile(r"\d+")
_TABLE_ROW = re.compile(r"^\s*\|.*\|\s*$", re.M)


def _is_emoji(char: str) -> bool:
    code = ord(char)
    return 0x1F300 <= code <= 0x1FAFF or 0x2600 <= code <= 0x27BF


def _foreign(text: str) -> float:
    """Share of letters outside the Latin script, 0 for a text without letters."""
    if text.isascii():
        return 0.0
    letters = [c for c in text if c.isalpha()]
    return sum(ord(c) > 0x24F for c in letters) / len(letters) if letters else 0.0


COUNTERS: dict[str, Callable[[str], float]] = {
    "@headings": lambda t: len(_HEADING.findall(t)),
    "@bold": lambda t: len(_BOLD.findall(t)),
    "@list_items": lambda t: len(_LIST_ITEM.findall(t)),
    "@code_blocks": lambda t: t.count("```") // 2,
    "@table_rows": lambda t: len(_TABLE_ROW.findall(t)),
    "@links": lambda t: len(_LINK.findall(t)),
    "@exclamations": lambda t: t.count("!"),
    "@questions": lambda t: t.count("?"),
    "@numbers": lambda t: len(_DIGITS.findall(t)),
    "@emoji": lambda t: 0 if t.isascii() else sum(map(_is_emoji, t)),
    "@non_latin": _foreign,
}
"""Name to what it counts in one text. All but @non_latin (a share) are counts, used as log(1 + n)."""


MEANINGS: dict[str, str] = {
    LENGTH: "tokens as the reader counts them, as ln(n)",
    "@headings": "lines that begin with # to ######, as ln(1 + n)",
    "@bold": "stretches between ** or __, as ln(1 + n)",
    "@list_items": "lines that begin with a bullet or a number, as ln(1 + n)",
    "@code_blocks": "pairs of ```, as ln(1 + n)",
    "@table_rows": "lines between bars, as ln(1 + n)",
    "@links": "http://, https://, www. and ](, as ln(1 + n)",
    "@exclamations": "exclamation marks, as ln(1 + n)",
    "@questions": "question marks, as ln(1 + n)",
    "@numbers": "runs of digits, as ln(1 + n)",
    "@emoji": "emoji, as ln(1 + n)",
    "@non_latin": "share of the letters that are of no Latin script",
}
"""What each built-in column counts, in words."""
PATTERNS: dict[str, str] = {
    "@headings": "(?m)^ {0,3}#{1,6} ",
    "@bold": r"\*\*[^*\n]+\*\*|__[^_\n]+__",
    "@list_items": r"(?m)^[ \t]*(?:[-*+•]|\d{1,3}[.)]) ",
    "@code_blocks": "```",
    "@table_rows": r"(?m)^[ \t]*\|.*\|[ \t]*$",
    "@links": r"https?://|\bwww\.|\]\(",
    "@exclamations": "!",
    "@questions": r"\?",
    "@numbers": r"\d+",
    "@emoji": r"[\x{1F300}-\x{1FAFF}\x{2600}-\x{27BF}]",
}
"""Where a text has what a built-in column counts, in RE2: texts are cut and marked there."""
_BLOCK = 4096
"""Texts that are copied at a time to count in them."""
_OWN_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def own_patterns(columns: Mapping[str, str]) -> dict[str, str]:
    """Columns of a person's own, checked: ``@name`` to its pattern with the flags in front.

    Raises:
        SettingsError: a name that rule files could not write or that is built in, or a pattern that RE2
            refuses or that matches an empty text, which would count characters.
    """
    found = {}
    for name, text in columns.items():
        where = f"[concepts.columns] {name}"
        if not _OWN_NAME.fullmatch(name):
            raise SettingsError(f"{where} is no name for a column", hint="lower case letters, digits and _")
        if f"@{name}" in MEANINGS:
            raise SettingsError(f"{where} is built in", hint="give your own another name")
        try:
            pattern = written(text)
        except PatternError as error:
            raise PatternError(f"{where}: {error.message}", hint=error.hint) from error
        if search(pattern).search("") is not None:
            raise PatternError(
                f"{where}: {text} matches an empty text, so it would count characters",
                hint="ask for one character at least: + instead of *",
            )
        found[f"@{name}"] = pattern
    return found


@dataclass(frozen=True, slots=True)
class Column:
    """One number per span of every pair."""

    name: str
    chosen: NDArray[np.float64]  # (P,)
    rejected: NDArray[np.float64]  # (P,)
    prompt: NDArray[np.float64]  # (P,)
    pattern: str = ""
    """What is counted, of a column of a person's own; empty for a built-in one."""

    @property
    def delta(self) -> NDArray[np.float64]:
        """Chosen − rejected, (P,)"""
        return self.chosen - self.rejected


def surface_columns(
    readings: Readings, texts: PairTexts, own: Mapping[str, str] | None = None
) -> list[Column]:
    """All columns that are not constant over every response; @length comes first and always.

    Args:
        readings: for the tokens.
        texts: plain text by pair number.
        own: ``@name`` to pattern, as ``own_patterns`` gives them; they come after the built-in ones.
    """
    pairs = readings.pairs
    length = Column(
        LENGTH,
        np.log(np.maximum(pairs.chosen_tokens, 1)),
        np.log(np.maximum(pairs.rejected_tokens, 1)),
        np.log(np.maximum(pairs.prompt_tokens, 1)),
    )
    counted = [
        Column(name, _measure(texts.chosen, of), _measure(texts.rejected, of), _measure(texts.prompt, of))
        for name, of in COUNTERS.items()
    ]
    for name, pattern in (own or {}).items():
        sides = [count_matches(side, pattern) for side in (texts.chosen, texts.rejected, texts.prompt)]
        counted.append(Column(name, sides[0], sides[1], sides[2], pattern))
    return [length] + [c for c in counted if c.chosen.any() or c.rejected.any()]


def count_matches(texts: Sequence[str], pattern: str) -> NDArray[np.float64]:
    """log(1 + matches) of a pattern in each text, (R,); matches do not overlap."""
    import pyarrow as pa
    import pyarrow.compute as pc

    counts = np.zeros(len(texts))
    for start in range(0, len(texts), _BLOCK):
        # Arrow takes no lone surrogate; a replaced character matches no letter that a pattern may ask for.
        block = [text.encode("utf-8", "replace") for text in texts[start : start + _BLOCK]]
        strings = pa.array(block, pa.large_binary()).cast(pa.large_string())
        counts[start : start + len(block)] = pc.count_substring_regex(strings, pattern).to_numpy()
    return np.log1p(counts)


def _measure(texts: Sequence[str], of: Callable[[str], float]) -> NDArray[np.float64]:
    is_share = of is _foreign
    return np.array([of(t) if is_share else math.log1p(of(t)) for t in texts])


def text_column(
    name: str, texts: Sequence[str], tokens: NDArray[np.integer], own: Mapping[str, str]
) -> NDArray[np.float64] | None:
    """A column of other responses than the pairs' own, such as sampled ones.

    Args:
        name: of the column, ``@`` included.
        texts: responses.
        tokens: their own tokens, for ``@length``.
        own: ``@name`` to pattern of the columns that are not built in.

    Returns:
        (R,) values as in ``surface_columns``, None for a name that is no column.
    """
    if name == LENGTH:
        return np.asarray(np.log(np.maximum(tokens, 1)), np.float64)
    if name in own:
        return count_matches(texts, own[name])
    return _measure(texts, COUNTERS[name]) if name in COUNTERS else None


def column_scores(columns: Sequence[Column]) -> ConceptScores:
    """Columns in the shape of latent scores; a row exists where any span has a value other than 0."""
    rows: list[NDArray[np.float32]] = []  # (5, N) chosen, rejected, prompt, u, pair of each column
    pairs: list[NDArray[np.int64]] = []
    for column in columns:
        rms = math.sqrt(float(np.mean(column.delta**2))) if len(column.delta) else 0.0
        u = column.delta / rms if rms > 0 else np.zeros_like(column.delta)
        at = np.nonzero((column.chosen != 0) | (column.rejected != 0) | (column.prompt != 0))[0]
        pairs.append(at)
        values = np.stack([column.chosen[at], column.rejected[at], column.prompt[at], u[at]])
        rows.append(values.astype(np.float32))
    indptr = np.concatenate([[0], np.cumsum([len(p) for p in pairs])]).astype(np.int64)
    chosen, rejected, prompt, u32 = np.concatenate(rows, axis=1) if rows else np.zeros((4, 0), np.float32)
    pair = np.concatenate(pairs).astype(np.uint32) if pairs else np.zeros(0, np.uint32)
    return ConceptScores(
        indptr, pair, chosen, rejected, prompt, u32, np.zeros_like(u32),
        chosen != 0, rejected != 0, prompt != 0,
    )  # fmt: skip


def stack_scores(*parts: ConceptScores) -> ConceptScores:
    """The concepts of each part numbered after those of the parts before."""
    indptr, n_rows = [np.zeros(1, np.int64)], 0
    for part in parts:
        indptr.append(part.indptr[1:] + n_rows)
        n_rows += int(part.indptr[-1])
    names = ("pair", "chosen", "rejected", "prompt", "u", "activity", "chosen_fires", "rejected_fires",
             "prompt_fires")  # fmt: skip
    values = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
    return ConceptScores(np.concatenate(indptr), *values)
