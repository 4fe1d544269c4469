"""A rule file with what every statement does, and the plan it amounts to. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.safe_text import one_line, sanitise
from engine.views.rules import FAILS, OFF
from engine.wording import counted
from tui import format as fmt
from tui.format import Glyphs
from tui.lines import PaneLine, Span, fit, width_of, wrap_plain
from tui.places import Place
from tui.rulebook import Rulebook
from tui.views.headings import heading
from tui.views.moves import Moves, mover
from tui.views.top_pairs import more_lines

if TYPE_CHECKING:
    from engine.views.rules import ConceptShift, PlanPreview, RuleFinding


OVERLAPS, DRIFTS = 8, 20
"""Pairs of statements, and parts of the data, that a plan shows at first."""
MANY_CELLS, MOVER_CELLS = 100, 26
"""From so many cells on, the statement that moves a concept most stands beside its win rates."""


INDENT, MAX_ROWS = " " * 14, 8
"""What stands before the text of a line; rows that one line of the file may take."""


@dataclass(frozen=True, slots=True)
class RuleLine:
    """A line of the file, as something the cursor stands on."""

    number: int
    """From 0."""


def rule_lines(book: Rulebook, preview: "PlanPreview | None", width: int) -> list[PaneLine]:
    """The file: line numbers, text, pairs that each statement changes; findings under their lines."""
    effects = {e.line: e for e in preview.effects} if preview else {}
    room = max(width - 18, 20)
    lines: list[PaneLine] = []
    for number, text in enumerate(book.lines):
        effect = effects.get(number + 1)
        count = f"{fmt.compact(effect.n_effect):>8} " if effect else " " * 9
        role = "dim" if text.startswith("#") or number == 0 else "text"
        spans: list[Span] = [(f"{number + 1:>4} ", "dim"), (count, "key" if effect else "dim")]
        shown = sanitise(text.removeprefix(OFF).removesuffix("\r"), tab=" ")
        off = text.startswith(OFF)
        (_, first), *more = folded("off " + shown if off else shown, room)
        spans.append((first, "dim" if off else role))
        lines.append(PaneLine(tuple(spans), RuleLine(number)))
        found = [f for f in preview.findings if f.line == number + 1] if preview else []
        if not more:
            lines += _findings_under(found, text, room)
            continue
        starts = [start for start, _ in more]
        lines += _carets(found, text, 0, starts[0])
        for (start, part), end in zip(more, [*starts[1:], len(shown) + 1], strict=True):
            lines.append(PaneLine(((INDENT + part, "dim" if off else role),)))
            lines += _carets(found, text, start, end)
        lines += [line for f in found for line in _said(f, room, INDENT)]
    return lines


def folded(text: str, room: int) -> list[tuple[int, str]]:
    """A line of the file as rows with where each begins; of a very long one the first, and what is left."""
    rows: list[tuple[int, str]] = []
    start = 0
    while len(rows) < MAX_ROWS and not _fits(text, start, room):
        n = room
        while width_of([(text[start : start + n], "")]) > room:
            n -= 1
        n = (
            text.rfind(" ", start + n // 2, start + n) + 1 - start
            if " " in text[start + n // 2 : start + n]
            else n
        )
        rows.append((start, text[start : start + n]))
        start += n
    rest = text[start:]
    if len(rows) == MAX_ROWS:
        rest = f"… {len(rest):,} more characters: enter edits the line"
    return [*rows, (start, rest)]


def _fits(text: str, start: int, room: int) -> bool:
    """Whether the rest of a line has room on a row; more letters than cells may, where some have no width."""
    if width_of([(text[start : start + room + 1], "")]) > room:
        return False
    return len(text) - start <= room + 1 or width_of([(text[start:], "")]) <= room


def _carets(findings: "Sequence[RuleFinding]", text: str, start: int, end: int) -> list[PaneLine]:
    """Marks under one row of a folded line."""
    lines = []
    for found in findings:
        before = len(sanitise(text[: found.column - 1], tab=" "))
        if start <= before < end:
            caret = "^" * max(min(found.width, end - before), 1)
            role = "error" if found.is_error else "warn"
            lines.append(PaneLine(((INDENT + " " * (before - start), "dim"), (caret, role))))
    return lines


def _findings_under(findings: "Sequence[RuleFinding]", text: str, room: int) -> list[PaneLine]:
    return [
        line
        for found in findings
        for line in (*_carets([found], text, 0, len(text) + 1), *_said(found, room, INDENT))
    ]


def _said(found: "RuleFinding", room: int, indent: str) -> list[PaneLine]:
    """A finding in words, folded."""
    role = "error" if found.is_error else "warn"
    lines = [
        PaneLine(((indent + part, role),))
        for part in wrap_plain(f"{found.code}: {one_line(found.message)}", room)
    ]
    helped = wrap_plain(one_line(found.help), room) if found.help else []
    return lines + [PaneLine(((indent + part, "dim"),)) for part in helped]


def plan_lines(
    preview: "PlanPreview | None", width: int, glyphs: Glyphs, *, good: "PlanPreview | None" = None,
    n_shifts: int = 30, made: Sequence[PaneLine] = (), is_alone: bool = False, moves: Moves | None = None,
    expanded: frozenset[str] | None = frozenset(),
) -> list[PaneLine]:  # fmt: skip
    """What the file would do to the data and to every concept.

    Args:
        preview: of the text as it is; None while it is not known.
        width: cells.
        glyphs: to draw with.
        good: the last one of a text without errors, shown below the errors of this one.
        n_shifts: concepts of a kind at most.
        made: shown before the concepts.
        is_alone: the file is not beside it, so findings are named with their lines here.
        moves: which statements move the concepts of ``preview``; None: nobody asked.
        expanded: titles of the sections that are shown whole; None: no cursor gets here.
    """
    if preview is None:
        return [PaneLine((("planning…", "warn"),)), *made]
    if preview.has_plan:
        note = f"nothing is written; {preview.elapsed_s * 1000:,.0f} ms"
        warned = _findings(preview, width) if is_alone else []
        first = [PaneLine(((text, "warn"),)) for text in _said_first(preview)] if is_alone else []
        return [
            heading("Effect", note),
            *first,
            *_plan(preview, width, glyphs, n_shifts, made, moves, expanded),
            *warned,
        ]
    n_errors = sum(f.is_error for f in preview.findings)
    said = preview.problem or f"{n_errors} error{'s' if n_errors != 1 else ''}: no plan until mended"
    lines = [heading("Effect"), *(PaneLine(((one_line(part, 300), "error"),)) for part in said.split("\n"))]
    lines += _findings(preview, width) if is_alone else []
    if preview.counts:  # statements that contradict each other: what they come to is known all the same
        return [*lines, *_plan(preview, width, glyphs, n_shifts, made, expanded=expanded)]
    if good is None:
        return [*lines, *made]
    last = heading("Effect before", "of the last text without errors" if width >= 50 else "last good text")
    return [*lines, PaneLine(()), last, *_plan(good, width, glyphs, n_shifts, made, expanded=expanded)]


def _said_first(preview: "PlanPreview") -> list[str]:
    """What a person should know before the counts: held concepts that move too far, and how many findings."""
    beyond = beyond_words(preview)
    n = sum(f.code != FAILS for f in preview.findings)
    counted = [f"{n} finding{'s' if n != 1 else ''} at the end of this page"] if n else []
    return [*([beyond] if beyond else []), *counted]


def beyond_words(preview: "PlanPreview") -> str:
    """``2 held concepts move beyond their limits: …``; empty where none does."""
    names = [one_line(s.name, 30) for s in preview.shifts if s.is_beyond]
    names += [
        f"{one_line(h.name, 30)} in {one_line(h.context, 20)}" for h in preview.held_inside if h.is_beyond
    ]
    if not names:
        return ""
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    what = (
        "held concepts move beyond their limits" if len(names) > 1 else "held concept moves beyond its limit"
    )
    return f"{len(names)} {what}: {', '.join(names[:2])}{more}"


def _findings(preview: "PlanPreview", width: int) -> list[PaneLine]:
    """Errors and warnings about lines of the file, each with its line."""
    found = [f for f in preview.findings if f.line and f.code != FAILS]  # expectations are listed already
    lines = [PaneLine(()), heading("Findings")] if found else []
    for finding in found:
        lines += [PaneLine(((f"line {finding.line:,}", "bold"),)), *_said(finding, max(width - 2, 8), "  ")]
    return lines


def _plan(
    preview: "PlanPreview", width: int, glyphs: Glyphs, n_shifts: int, made: Sequence[PaneLine],
    moves: Moves | None = None, expanded: frozenset[str] | None = frozenset(),
) -> list[PaneLine]:  # fmt: skip
    lines: list[PaneLine] = []
    lines += _counts(preview, width, glyphs)
    lines += _lengths(preview, glyphs)
    lines += _expectations(preview)
    lines += _conflicts(preview)
    lines += made
    lines += _overlaps(preview, width, expanded)
    lines += _held_inside(preview, width, glyphs)
    lines += _shifts(preview, width, glyphs, n_shifts, moves, expanded)
    lines += _drift(preview, width, expanded)
    for found in preview.findings:
        if found.line == 0:
            lines += _said(found, width, "")
    return lines


_COUNTS = {
    "total": "all pairs", "unlabelled": "unlabelled", "refused": "refused", "held_out": "held out",
    "input": "may be used", "dropped": "dropped", "kept": "kept", "flipped": "  flipped",
    "offset": "  offset",
}  # fmt: skip
"""What each count is called, in the order in which pairs are sorted out."""


def _counts(preview: "PlanPreview", width: int, glyphs: Glyphs) -> list[PaneLine]:
    counts = dict(preview.counts)
    bar = max(min(width - 34, 40), 6)
    lines = [
        PaneLine(
            (
                (f"{_COUNTS[name]:<11}", "dim"),
                (f"{n:>10,} ", "text"),
                (fmt.meter(n, counts.get("total", 0), bar, glyphs), "key"),
            )
        )
        for name, n in ((k, counts[k]) for k in _COUNTS if k in counts)
        if n or name in ("kept", "dropped")
    ]
    if preview.effective_share is not None:
        largest = f"{preview.largest_weight:.2f}" if preview.largest_weight is not None else fmt.UNDEFINED
        text = f"weights: worth {preview.effective_share * 100:.0f}% of the kept pairs, largest {largest}"
        lines.append(PaneLine(((text, "warn" if preview.effective_share < 0.5 else "dim"),)))
    return lines


def _lengths(preview: "PlanPreview", glyphs: Glyphs) -> list[PaneLine]:
    """Mean tokens of both sides and how many times as long the chosen one is."""
    found = preview.lengths
    if found is None:
        return []
    lines = [PaneLine(()), heading("Length", "mean tokens")]
    rows = [
        ("chosen", f"{found.chosen_before:,.1f}", f"{found.chosen_after:,.1f}"),
        ("rejected", f"{found.rejected_before:,.1f}", f"{found.rejected_after:,.1f}"),
    ]
    if found.rejected_before and found.rejected_after:
        ratios = (found.chosen_before / found.rejected_before, found.chosen_after / found.rejected_after)
        rows.append(("ratio", f"{ratios[0]:.3f}", f"{ratios[1]:.3f}"))
    return lines + [
        PaneLine(((f"{name:<11}", "dim"), (f"{before:>10} {glyphs.arrow} {after:>10}", "text")))
        for name, before, after in rows
    ]


def _conflicts(preview: "PlanPreview") -> list[PaneLine]:
    """Pairs that statements give different weights; the finding about them names the statements."""
    if not preview.n_conflicts:
        return []
    said = counted(preview.n_conflicts, "pair gets", "pairs get") + " different weights: `priority 1` decides"
    return [PaneLine(()), heading("Conflicts", "C compiles none of it"), PaneLine(((said, "error"),))]


def _expectations(preview: "PlanPreview") -> list[PaneLine]:
    return [
        PaneLine(
            (
                ("holds  " if holds else "FAILS  ", "plus" if holds else "error"),
                (one_line(text, 120), "text"),
                (f"  {one_line(found, 80)}", "dim"),
            )
        )
        for holds, text, found in preview.expectations
    ]


def _held_inside(preview: "PlanPreview", width: int, glyphs: Glyphs) -> list[PaneLine]:
    """Keeps inside contexts, with the means there."""
    if not preview.held_inside:
        return []
    note = "kept there: mean disparity of its pairs, before and after" if width >= 75 else "kept there"
    lines = [PaneLine(()), heading("In contexts", note)]
    for held in preview.held_inside:
        name = f"{one_line(held.name)} in {one_line(held.context)}"
        means = f" {_signed(held.mean_before)} {glyphs.arrow} {_signed(held.mean_after)}"
        spans: list[Span] = [
            ("! " if held.is_beyond else "= ", "error" if held.is_beyond else "keep"),
            (fit(name, max(min(width - 28, 60), 10)), "text"),
            (means, "text"),
            (f" {_signed(held.change)}", "error" if held.is_beyond else "dim"),
        ]
        lines.append(PaneLine(tuple(spans), Place("concept", held.concept_id, held.context_id)))
    return lines


def _shifts(
    preview: "PlanPreview", width: int, glyphs: Glyphs, limit: int, moves: Moves | None,
    expanded: frozenset[str] | None,
) -> list[PaneLine]:  # fmt: skip
    targets = [s for s in preview.shifts if s.is_target]
    others = [s for s in preview.shifts if not s.is_target and (abs(s.change) > 1e-9 or s.is_held)]
    lines: list[PaneLine] = []
    what = "mean disparity" if moves is not None and width < MANY_CELLS else "mean disparity and win rate"
    by = "; what moves it most" if moves is not None else ""
    for title, note, short, shifts in (
        ("Targets", f"{what}, before and after{by}", "disparity", targets),
        ("Collateral", f"other concepts, furthest first{by}", "others that move", others),
    ):
        if shifts:
            lines += [PaneLine(()), heading(title, note if width >= 60 else short)]
            shown = len(shifts) if expanded is not None and title in expanded else limit
            lines += [_shift(s, width, glyphs, moves) for s in shifts[:shown]]
            lines += _rest(title, len(shifts) - shown, can_open=expanded is not None)
    return lines


def _rest(title: str, n: int, *, can_open: bool) -> list[PaneLine]:
    if can_open or n <= 0:
        return more_lines(title, n)
    return [PaneLine(((f"{n:>9,} more: g l, the plan", "dim"),))]


def _shift(shift: "ConceptShift", width: int, glyphs: Glyphs, moves: Moves | None) -> PaneLine:
    """A concept in a line; where there is room for one only, what moves it, not its win rates."""
    mark = "!" if shift.is_beyond else "=" if shift.is_held else " "
    rates = f"  {fmt.share(shift.rate_before):>5}% {glyphs.arrow} {fmt.share(shift.rate_after):>5}%"
    tail: list[Span] = [(rates, "dim")] if width >= 60 else []
    room = width - 46
    if moves is not None and width >= MANY_CELLS:
        tail, room = [*tail, ("  ", "dim"), mover(shift, moves, MOVER_CELLS)], room - MOVER_CELLS - 2
    elif moves is not None and width >= 60:
        tail = [("  ", "dim"), mover(shift, moves, 17)]
    name = fit(one_line(shift.name), max(min(room, 50), 10))
    role = "error" if shift.is_beyond else "plus" if shift.change > 0 else "minus"
    return PaneLine(
        (
            (mark + " ", "error" if shift.is_beyond else "keep"),
            (name, "text"),
            (f" {_signed(shift.mean_before)} {glyphs.arrow} {_signed(shift.mean_after)}", "text"),
            (f" {_signed(shift.change)}", role),
            *tail,
        ),
        Place("concept", shift.concept_id),
    )


def _signed(value: float) -> str:
    return f"{round(value, 3) + 0.0:+.3f}"  # + 0.0: no minus before zero


def _overlaps(preview: "PlanPreview", width: int, expanded: frozenset[str] | None) -> list[PaneLine]:
    if not preview.overlaps:
        return []
    title = "Overlaps"
    shown = len(preview.overlaps) if expanded is not None and title in expanded else OVERLAPS
    lines = [PaneLine(()), heading(title, "pairs that two statements touch")]
    lines += [
        PaneLine(
            (
                (f"{n:>10,} ", "text"),
                (fit(f"{one_line(a, 60)} and {one_line(b, 60)}", max(width - 12, 8)), "dim"),
            )
        )
        for a, b, n in preview.overlaps[:shown]
    ]
    return lines + _rest(title, len(preview.overlaps) - shown, can_open=expanded is not None)


def _drift(preview: "PlanPreview", width: int, expanded: frozenset[str] | None) -> list[PaneLine]:
    moved = sorted(
        (d for d in preview.drift if abs(d.after - d.before) >= 0.001), key=lambda d: -abs(d.after - d.before)
    )
    if not moved:
        return []
    title = "Drift"
    shown = len(moved) if expanded is not None and title in expanded else DRIFTS
    lines = [PaneLine(()), heading(title, "share of the data, before and after")]
    lines += [
        PaneLine(
            (
                (fit(f"{one_line(d.category)} {one_line(d.value)}", max(min(width - 26, 40), 8)), "text"),
                (f" {d.before * 100:5.1f}% to {d.after * 100:5.1f}%", "dim"),
            )
        )
        for d in moved[:shown]
    ]
    return lines + _rest(title, len(moved) - shown, can_open=expanded is not None)
