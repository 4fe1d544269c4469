"""A context as lines: what it is, which concepts differ inside it, some of its prompts. Pure."""

import json

from engine.safe_text import one_line
from engine.views.details import ContextDetail
from tui import format as fmt
from tui.cells import interval_title
from tui.format import Glyphs
from tui.lines import PaneLine, fit, wrap
from tui.places import Place
from tui.views.headings import heading


def context_lines(
    detail: ContextDetail, width: int, glyphs: Glyphs, *, is_brief: bool = False
) -> list[PaneLine]:
    """The page of a context."""
    sources = ", ".join(f"{one_line(f.value or '?', 24)} {fmt.count(f.n)}" for f in detail.sources[:6])
    if detail.n_sources > 6:
        sources += f" and {detail.n_sources - 6:,} more"
    defined = wrap(definition_words(detail.definition), width, "dim")
    if len(defined) > 4:
        defined = [*defined[:4], ((f"… {len(defined) - 4} more lines of the definition", "dim"),)]
    size = f"{fmt.count(detail.n_pairs)} pairs in {fmt.count(detail.n_groups)} groups"
    lines = [
        PaneLine(((one_line(detail.name, width - 2), "bold"),)),
        PaneLine(((f"{detail.kind.replace('_', ' ')} · {size}", "text"),)),
        *(PaneLine(line) for line in wrap(f"sources: {sources}", width, "dim")),
        *(PaneLine(line) for line in defined),
    ]
    if detail.context:
        members = Place("pairs", "", detail.context_id)
        lines.append(PaneLine((("its pairs as a list", "key"),), members))
    if detail.concepts:
        lines.append(PaneLine((("its hypotheses as a list, to decide on", "key"),), _hypotheses(detail)))
    lines += _concepts(detail, width, glyphs, limit=12 if is_brief else 300)
    if detail.examples:
        n_shown = min(len(detail.examples), 10 if is_brief else 40)
        shown = f"the first {n_shown:,} of {detail.n_pairs:,}" if n_shown < detail.n_pairs else "all of them"
        lines += [PaneLine(()), heading("Prompts", f"{shown}, in the order of the index")]
        lines += [
            PaneLine(
                (
                    (f"{pair:>9,} ", "dim"),
                    (fit(one_line(fmt.first_question(prompt), width), max(width - 11, 4)), "text"),
                ),
                Place("pair", str(pair)),
            )
            for pair, prompt in detail.examples[: 10 if is_brief else 40]
        ]
    return lines


def definition_words(definition: str) -> str:
    """Which pairs a context holds, said in words; a definition of no known kind stands as it is."""
    try:
        facts = json.loads(definition or "{}")
    except ValueError:
        return f"defined by {one_line(definition, 300)}"
    kind = facts.get("kind") if isinstance(facts, dict) else None
    if kind == "everywhere":
        return "every pair"
    if kind == "source":
        return f"every pair of the source {one_line(str(facts.get('source')), 80)}"
    if kind == "topic":
        return f"pairs on which similar concepts fire, found by clustering: number {facts.get('cluster')}"
    if kind == "silent":
        return "pairs on which hardly any concept fires; no topic holds them, and nothing is tested on them"
    if kind == "prompt_concept":
        latents = facts.get("latents") or []
        some = ", ".join(str(latent) for latent in latents[:8]) + (", …" if len(latents) > 8 else "")
        return f"pairs whose prompts fire most on {len(latents):,} latents that go together: {some}"
    rest = ", ".join(f"{k} {v}" for k, v in facts.items() if k != "kind") if isinstance(facts, dict) else ""
    return f"defined by {one_line(rest or definition, 300)}" if definition not in ("", "{}") else ""


def _order(detail: ContextDetail, *, is_narrow: bool) -> str:
    """What the first of the concepts are, and whether any of them was called."""
    if not detail.context:
        return "strongest evidence first"
    n = sum(1 for concept in detail.concepts if concept.here.is_differs_call)
    if is_narrow:
        return f"≠ {n:,} differ; largest z first" if n else "none differs beyond chance"
    if not n:
        return "none differs from everywhere beyond chance; largest difference first"
    return f"{n:,} differ{'s' * (n == 1)} from everywhere (≠); largest difference first"


def _concepts(detail: ContextDetail, width: int, glyphs: Glyphs, *, limit: int) -> list[PaneLine]:
    if not detail.concepts:
        return [PaneLine(()), PaneLine((("no concept was tested inside this context", "dim"),))]
    bar = min(21, max(width // 4, 9)) | 1
    # beside everywhere there is no second bar: it would be the same one
    is_wide, is_narrow = width >= 90 and bool(detail.context), width < 60
    tail = 16 if is_narrow else 32
    name = min(max(width - (bar + 1) * (2 if is_wide else 1) - tail - 3, 10), 48)
    title = interval_title("here", bar, glyphs) + (" " + interval_title("all", bar, glyphs)) * is_wide
    title += "   win%      z" if is_narrow else ""
    lines = [
        PaneLine(()),
        heading("Concepts", _order(detail, is_narrow=is_narrow)),
        PaneLine(((" " * (name + 3) + title, "dim"),)),
    ]
    for concept in detail.concepts[:limit]:
        here = concept.here
        z = "" if here.differs_z is None else fmt.signed(here.differs_z)
        count = "" if is_narrow else f"{fmt.count(here.n_discordant):>8} pairs"
        everywhere = (fmt.interval_bar(concept.everywhere, bar, glyphs) + " ", "weak")
        lines.append(
            PaneLine(
                (
                    ("≠ " if here.is_differs_call else "  ", "warn"),
                    (fit(one_line(concept.name), name) + " ", "text"),
                    (fmt.interval_bar(here.taught, bar, glyphs), fmt.leaning(here.taught)),
                    (" ", "text"),
                    *((everywhere,) if is_wide else ()),
                    (f"{fmt.share(here.taught.estimate):>6}%", "text"),
                    (f"{count} {f'z {z}' if z and not is_narrow else z:>7}", "dim"),
                ),
                Place("concept", concept.concept_id, detail.context_id if detail.context else None),
            )
        )
    hidden = max(detail.n_concepts, len(detail.concepts)) - min(len(detail.concepts), limit)
    if hidden > 0:
        lines.append(PaneLine(((f"{hidden:>9,} more: enter lists all", "key"),), _hypotheses(detail)))
    return lines


def _hypotheses(detail: ContextDetail) -> Place:
    return Place("hypotheses", f"context_id={detail.context_id}")
