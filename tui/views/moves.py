"""Which statements of the rules move a concept: its mean with each of them less its mean without it. Pure."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.safe_text import one_line
from engine.views.rules import effects_on, only_together
from tui.format import Glyphs
from tui.lines import PaneLine, Span, fit
from tui.views.headings import heading
from tui.views.top_pairs import more_lines

if TYPE_CHECKING:
    from engine.views.rules import ConceptShift, LeftOut, PlanPreview, WithAndWithout

FAINT = 5e-4
"""A smaller effect is shown as 0.000."""
SHOWN = 5
"""Statements that a concept's page shows at first."""
TOGETHER = "only together"


@dataclass(frozen=True, slots=True)
class StatementLine:
    """A statement of the rule file, under the cursor of another page."""

    line: int
    """From 1."""


@dataclass(frozen=True, slots=True)
class Moves:
    """Plans without one statement each, as far as they were made."""

    found: tuple["LeftOut", ...] = ()
    n: int | None = None
    """Statements that can move a concept; None: not known yet."""

    @property
    def is_whole(self) -> bool:
        """Every statement was left out once."""
        return self.n == len(self.found)

    def plus(self, found: "LeftOut") -> "Moves":
        """With one more."""
        return replace(self, found=(*self.found, found), n=found.n_statements)


def fits(found: "LeftOut", preview: "PlanPreview") -> bool:
    """The plan that a statement was left out of is the one that is shown."""
    means = found.means or {}
    shown = ((means.get(s.concept_id), s.mean_after) for s in preview.shifts)
    return all(known is None or abs(known.with_it - mean) < 1e-9 for known, mean in shown)


def mover(shift: "ConceptShift", moves: Moves | None, room: int) -> Span:
    """In a table: the statement that moves a concept most, with its effect where there is room for both."""
    if moves is None:
        return ("", "dim")
    if not moves.is_whole:
        return (fit("…", room), "dim")
    effects = effects_on(shift.concept_id, moves.found)
    together = only_together(shift.concept_id, shift.change, moves.found)
    name, value = (effects[0][0].name, effects[0][1].effect) if effects else ("", 0.0)
    if together is not None and abs(together) > abs(value):
        name, value = TOGETHER, together
    if abs(value) < FAINT:
        return (" " * room, "dim")
    if room < 20:
        return (fit(one_line(name), room), "dim")
    return (f"{fit(one_line(name), room - 7)} {value:+.3f}", "dim")


def moves_lines(
    shift: "ConceptShift", moves: Moves, width: int, glyphs: Glyphs, *, is_expanded: bool
) -> list[PaneLine]:
    """The section of a concept's page: statement, effect, and where the concept would be without it."""
    if not moves.is_whole:
        if moves.n == 0:
            return []
        said = "looking" if moves.n is None else f"{len(moves.found)} of {moves.n} statements looked at"
        return [PaneLine(()), heading("Moved by", f"{said}…")]
    shown = [e for e in effects_on(shift.concept_id, moves.found) if abs(e[1].effect) >= FAINT]
    together = only_together(shift.concept_id, shift.change, moves.found)
    is_mixed = together is not None and abs(together) >= FAINT
    broken = [s for s in moves.found if s.means is None]
    if not shown and not is_mixed and not broken:
        return []
    note = "statements of the rules: mean disparity with each − without it"
    lines = [PaneLine(()), heading("Moved by", note if width >= 75 else "with it − without it")]
    limit = len(shown) if is_expanded else SHOWN
    lines += [_effect(statement, means, width, glyphs) for statement, means in shown[:limit]]
    if is_mixed and together is not None:
        lines.append(PaneLine((*_name(TOGETHER, "", width), _value(together))))
    lines += [
        PaneLine(
            (
                *_name(s.name, f"line {s.line:,}", width),
                ("–", "dim"),
                ("  without it the rest has no plan", "dim"),
            ),
            StatementLine(s.line),
        )
        for s in broken
    ]
    return [*lines, *more_lines("moves", len(shown) - limit)]


def _effect(statement: "LeftOut", means: "WithAndWithout", width: int, glyphs: Glyphs) -> PaneLine:
    spans = [*_name(statement.name, f"line {statement.line:,}", width), _value(means.effect)]
    if width >= 60:
        after = round(means.with_it, 3) + 0.0
        spans.append((f"  {means.without:+.3f} without it {glyphs.arrow} {after:+.3f}", "dim"))
    if width >= 90:
        spans.append((f"  {one_line(statement.kind, 24)}", "dim"))
    return PaneLine(tuple(spans), StatementLine(statement.line))


def _name(name: str, place: str, width: int) -> list[Span]:
    return [(f"{place:<9}", "dim"), (fit(one_line(name), min(max(width - 44, 12), 32)) + " ", "text")]


def _value(value: float) -> Span:
    return (f"{value:+.3f}", "plus" if value > 0 else "minus")
