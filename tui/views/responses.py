"""Both responses of a pair: side by side, stacked or as one text, with what differs and what fires. Pure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from engine.views.details import PairDetail
from tui.format import Glyphs
from tui.lines import Line, PaneLine, fit, fold_line, width_of, wrap
from tui.views.headings import heading
from tui.views.layouts import Layout, PairOptions
from tui.views.strip import char_levels, mark_levels, top_of
from tui.views.top_pairs import More
from tui.views.words import (
    MAX_DIFF_WORDS,
    MAX_DIFF_WORK,
    QUICK_DIFF_WORK,
    Word,
    diff_work,
    differences,
    fold_words,
    inline_words,
    marked_words,
    words_of,
)

if TYPE_CHECKING:
    from engine.views.strips import PairStrip

HEAD = 20_000
"""Characters of a text that a page lays out before somebody asks for the rest."""
BRIEF_HEAD = 1_500
"""The same beside a list, where it is laid out while the cursor moves."""
TEXTS = "texts"
"""The section of a page that is expanded when texts are shown whole."""


class Sides(NamedTuple):
    """Both responses as words with roles, as far as they are shown."""

    chosen: list[Word]
    rejected: list[Word]
    note: str
    is_diffed: bool
    titles: tuple[str, str]
    more: tuple[PaneLine, ...]
    """What is left out, and how to see it."""


def head_of(text: str, limit: int) -> str:
    """The text, or its start up to white space near the limit where it is longer than that and a tenth."""
    if len(text) <= limit + limit // 10:
        return text
    head = text[:limit]
    near = max(head.rfind(" ", limit - 200), head.rfind("\n", limit - 200))
    return head[: near + 1] if near > 0 else head


def limit_of(expanded: frozenset[str], *, is_brief: bool) -> int | None:
    """Characters of a text that are shown; None: all."""
    return BRIEF_HEAD if is_brief else None if TEXTS in expanded else HEAD


def response_lines(
    detail: PairDetail, options: PairOptions, strip: "PairStrip | None", width: int, glyphs: Glyphs, *,
    expanded: frozenset[str], is_brief: bool,
) -> list[PaneLine]:  # fmt: skip
    """Both responses.

    Args:
        detail: the pair.
        options: what the person chose.
        strip: activations token by token.
        width: cells.
        glyphs: characters to draw with.
        expanded: holds ``TEXTS`` when long texts are shown whole.
        is_brief: beside a list: less text, and a difference only where it is found at once.
    """
    layout = options.layout_for(width)
    sides = _sides(detail, options, strip, layout, limit_of(expanded, is_brief=is_brief), is_brief=is_brief)
    lines = [PaneLine(line) for line in wrap(sides.note, width, "warn")] if sides.note else []
    if layout is Layout.SPLIT:
        lines += _split(sides, width, glyphs)
    elif layout is Layout.STACK or not sides.is_diffed:
        lines += _stacked(sides, width)
    else:
        lines += _inline(detail, sides, width)
    return [*lines, *sides.more]


def _sides(
    detail: PairDetail, options: PairOptions, strip: "PairStrip | None", layout: Layout, limit: int | None, *,
    is_brief: bool,
) -> Sides:  # fmt: skip
    heads = [text if limit is None else head_of(text, limit) for text in (detail.chosen, detail.rejected)]
    chosen, rejected = words_of(heads[0]), words_of(heads[1])
    telling = frozenset(t.strip().casefold() for t in detail.concept_tokens if t.strip())
    lit = {s.span: s for s in strip.spans} if strip is not None else {}
    top = top_of(strip) if strip is not None else 0.0
    counted = dict(detail.marks)
    levels = {
        side: char_levels("".join(words), lit[side], top)
        if side in lit
        else mark_levels(head, "".join(words), counted.get(side, ()))
        for side, words, head in (("chosen", chosen, heads[0]), ("rejected", rejected, heads[1]))
    }
    note = _why_no_difference(chosen, rejected, is_brief=is_brief) if options.is_diffed else ""
    only: tuple[set[int], set[int]] = (set(), set())
    if options.is_diffed and not note and layout is not Layout.INLINE:
        only = differences(chosen, rejected)
    return Sides(
        marked_words(chosen, only[0], "added", telling, levels["chosen"]),
        marked_words(rejected, only[1], "removed", telling, levels["rejected"]),
        note,
        options.is_diffed and not note,
        _titles(detail, heads),
        _more(detail, heads, is_brief=is_brief),
    )


def _why_no_difference(chosen: Sequence[str], rejected: Sequence[str], *, is_brief: bool) -> str:
    if max(len(chosen), len(rejected)) > MAX_DIFF_WORDS:
        return f"no difference is shown beyond {MAX_DIFF_WORDS:,} words"
    if diff_work(chosen, rejected) > (QUICK_DIFF_WORK if is_brief else MAX_DIFF_WORK):
        return "no difference is shown: words repeat too often" + "; enter opens the pair" * is_brief
    return ""


def _titles(detail: PairDetail, heads: Sequence[str]) -> tuple[str, str]:
    found = []
    for name, n_tokens, text, head in (
        ("CHOSEN", detail.chosen_tokens, detail.chosen, heads[0]),
        ("REJECTED", detail.rejected_tokens, detail.rejected, heads[1]),
    ):
        part = "" if len(head) == len(text) else f", the first {len(head):,} of {len(text):,} characters"
        found.append(f"{name}  {n_tokens} tokens{part}")
    return found[0], found[1]


def _more(detail: PairDetail, heads: Sequence[str], *, is_brief: bool) -> tuple[PaneLine, ...]:
    """How much is left out; enter on the line shows it."""
    texts = (("chosen", detail.chosen), ("rejected", detail.rejected))
    left = [
        f"{len(text) - len(head):,} more characters of {name}"
        for (name, text), head in zip(texts, heads, strict=True)
        if len(head) < len(text)
    ]
    if not left:
        return ()
    text = "… " + ", ".join(left)
    if is_brief:
        return (PaneLine(((text, "key"),)), PaneLine((("enter opens the pair", "key"),)))
    return (
        PaneLine(((f"{text}: enter shows all", "key"),), More(TEXTS)),
        PaneLine((("differences are those of what is shown", "dim"),)),
    )


def _split(sides: Sides, width: int, glyphs: Glyphs) -> list[PaneLine]:
    half = (width - 3) // 2
    left, right = fold_words(sides.chosen, half), fold_words(sides.rejected, half)
    titles = [fit(title, half, more=glyphs.more) for title in sides.titles]
    lines = [PaneLine(((titles[0], "title"), (f" {glyphs.column} ", "dim"), (titles[1].rstrip(), "title")))]
    for i in range(max(len(left), len(right))):
        one = left[i] if i < len(left) else ()
        other = right[i] if i < len(right) else ()
        gap = " " * max(half - width_of(one), 0)
        lines.append(PaneLine((*one, (gap, "text"), (f" {glyphs.column} ", "dim"), *other)))
    return lines


def _stacked(sides: Sides, width: int) -> list[PaneLine]:
    lines: list[PaneLine] = []
    for title, words, gutter, role in zip(
        sides.titles, (sides.chosen, sides.rejected), "+-", ("plus", "minus"), strict=True
    ):
        lines.append(heading(title))
        lines += [PaneLine(((gutter + " ", role), *line)) for line in fold_words(words, width - 2)]
        lines.append(PaneLine(()))
    return lines


def _inline(detail: PairDetail, sides: Sides, width: int) -> list[PaneLine]:
    """One text with marks for what only one response has."""
    tokens = f"{detail.chosen_tokens} and {detail.rejected_tokens} tokens"
    head: Line = (
        ("{+chosen only+}", "added"),
        (" [-rejected only-]", "removed"),
        (f"  {' · '.join(sides.titles) if sides.more else tokens}", "dim"),
    )
    words = inline_words(sides.chosen, sides.rejected)
    return [PaneLine(line) for line in (*fold_line(head, width), *fold_words(words, width))]
