"""A context as lines: what it is, which concepts differ inside it, some of its prompts. Pure."""

from engine.detail_views import ContextDetail
from engine.safe_text import one_line
from tui import format as fmt
from tui.cells import interval_title
from tui.format import Glyphs
from tui.lines import PaneLine, fit
from tui.places import Place
from tui.views.headings import heading


def context_lines(
    detail: ContextDetail, width: int, glyphs: Glyphs, *, is_brief: bool = False
) -> list[PaneLine]:
    """The page of a context."""
    sources = ", ".join(f"{one_line(f.value or '?', 24)} {fmt.count(f.n)}" for f in detail.sources[:6])
    lines = [
        PaneLine(((one_line(detail.name, width - 2), "bold"),)),
        PaneLine(
            (
                (
                    f"{detail.kind} · {fmt.count(detail.n_pairs)} pairs in"
                    f" {fmt.count(detail.n_groups)} groups",
                    "text",
                ),
            )
        ),
        PaneLine(((f"sources: {sources}", "dim"),)),
    ]
    if detail.definition not in ("", "{}"):
        lines.append(PaneLine(((f"defined by {one_line(detail.definition, 300)}", "dim"),)))
    if detail.context:
        members = Place("pairs", "", detail.context_id)
        lines.append(PaneLine((("its pairs as a list", "key"),), members))
    lines += _concepts(detail, width, glyphs, limit=12 if is_brief else 300)
    if detail.examples:
        lines += [PaneLine(()), heading("Prompts", "in the order of the index")]
        lines += [
            PaneLine(
                ((f"{pair:>9,} ", "dim"), (fit(one_line(prompt, width), max(width - 11, 4)), "text")),
                Place("pair", str(pair)),
            )
            for pair, prompt in detail.examples[: 10 if is_brief else 40]
        ]
    return lines


def _concepts(detail: ContextDetail, width: int, glyphs: Glyphs, *, limit: int) -> list[PaneLine]:
    if not detail.concepts:
        return [PaneLine(()), PaneLine((("no concept was tested inside this context", "dim"),))]
    bar = min(21, max(width // 4, 9)) | 1
    is_wide = width >= 90
    name = min(max(width - bar * (2 if is_wide else 1) - 34, 10), 48)
    title = interval_title("here", bar, glyphs) + (" " + interval_title("all", bar, glyphs)) * is_wide
    lines = [
        PaneLine(()),
        heading("Concepts", "those whose effect here differs from everywhere (≠) first"),
        PaneLine(((" " * (name + 3) + title, "dim"),)),
    ]
    for concept in detail.concepts[:limit]:
        here = concept.here
        z = "" if here.differs_z is None else f"  z {fmt.signed(here.differs_z)}"
        everywhere = (fmt.interval_bar(concept.everywhere, bar, glyphs), "weak") if is_wide else ("", "weak")
        lines.append(
            PaneLine(
                (
                    ("≠ " if here.is_differs_call else "  ", "warn"),
                    (fit(one_line(concept.name), name) + " ", "text"),
                    (fmt.interval_bar(here.taught, bar, glyphs), fmt.leaning(here.taught)),
                    (" ", "text"),
                    everywhere,
                    (f" {fmt.share(here.taught.estimate):>5}%", "text"),
                    (f"  {fmt.count(here.n_discordant)} pairs{z}", "dim"),
                ),
                Place("concept", concept.concept_id),
            )
        )
    return lines
