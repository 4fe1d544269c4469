"""Whatever a dataset holds, every screen draws clean lines of the right width."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from engine.records import Verdict
from engine.views.details import (
    ConceptDetail,
    ContextConcept,
    ContextDetail,
    DoseBin,
    Evidence,
    Neighbour,
    PairConcept,
    PairDetail,
    Peak,
    Snippet,
    TopPair,
)
from engine.views.names import LatentLabel
from engine.views.rules import (
    ConceptShift,
    HeldShift,
    LeftOut,
    LengthShift,
    PairFate,
    PlanPreview,
    RuleEffect,
    RuleFinding,
    Shift,
    WithAndWithout,
)
from engine.views.runs import ConceptOutcome, Point, RunDetail, RunDifference, RunRow, RunState
from engine.views.tables import FacetCount, Interval, Target, VerdictView
from tests.tui.test_pure import HOSTILE, UNSAFE
from tui.format import ASCII, UNICODE, Glyphs
from tui.lines import PaneLine, to_strip
from tui.rulebook import Rulebook
from tui.theme import PALETTES
from tui.views.concept import concept_lines
from tui.views.context import context_lines
from tui.views.layouts import Layout, PairOptions
from tui.views.moves import Moves
from tui.views.pair import pair_lines
from tui.views.rules import plan_lines, rule_lines
from tui.views.runs import run_lines, runs_lines

WIDTHS = st.sampled_from([20, 44, 79, 119, 199])
GLYPHS = st.sampled_from([UNICODE, ASCII])
quick = settings(max_examples=25)


def check(lines: list[PaneLine], width: int) -> None:
    for line in lines:
        strip = to_strip(line.spans, width, PALETTES["terminal"])
        text = "".join(segment.text for segment in strip)
        assert not UNSAFE & set(text)
        assert cell_len(text) == width


def evidence(text: str) -> Evidence:
    interval = Interval(0.4, 0.6, 0.8)
    return Evidence(
        "h",
        1,
        "x",
        text,
        10,
        5,
        4,
        3,
        0.5,
        interval,
        0.01,
        True,
        Interval(None, None, None),
        None,
        None,
        text,
        text,
        True,
        0.5,
        None,
        0.1,
        2.0,
        0.01,
        True,
    )


def concept(text: str) -> ConceptDetail:
    piece = Snippet(text, 3, 4, 2, 9)
    return ConceptDetail(
        1,
        "c",
        text,
        "cluster",
        text,
        (text, "tea"),
        (1, 2),
        2,
        3,
        4,
        0,
        evidence(text),
        (DoseBin(0, 1, 3, 0),),
        (evidence(text),),
        (Neighbour("d", text, 3, -0.5, True),),
        (TopPair(7, "p", text, 3.0, 0.0, piece, Snippet("", 0, 0, None, 0)),),
        inside=evidence(text),
        labels=(LatentLabel(2, text, text, text),),
    )


def moves(text: str) -> Moves:
    """Two statements, one of which the others need."""
    means = {"c": WithAndWithout(0.2, 0.05)}
    return Moves().plus(LeftOut(text, text, 12_345, means, "", 2)).plus(LeftOut(text, text, 2, None, text, 2))


@given(text=HOSTILE, width=WIDTHS, glyphs=GLYPHS)
@quick
def test_the_concept_page(text: str, width: int, glyphs: Glyphs) -> None:
    target = Target("concept", "c", "c")
    view = VerdictView(target, Verdict.KEEP, text, "2026-01-01T00:00:00", text, text, text, carried_from=text)
    shift = ConceptShift("c", text, 0.1, -0.0001, 0.5, None, 3, True, True, True)
    for is_brief in (False, True):
        held = {"concept:c": view, "hypothesis:h": view}
        drawn = concept_lines(
            concept(text), held, width, glyphs, is_brief=is_brief, shift=shift,
            moves=moves(text),
        )  # fmt: skip
        check(drawn, width)


@given(text=HOSTILE, other=HOSTILE, width=WIDTHS, layout=st.sampled_from([None, *Layout]), glyphs=GLYPHS)
@quick
def test_the_pair_page(text: str, other: str, width: int, layout: Layout | None, glyphs: Glyphs) -> None:
    detail = PairDetail(
        1,
        text,
        text,
        text,
        3,
        "tie",
        19,
        2,
        True,
        text,
        text,
        other,
        3,
        9,
        8,
        ("prompt",),
        ((text, other),),
        (PairConcept("c", text, 1.0, 0.0, -1.0),),
        (("x", text),),
        (Peak("chosen", 1, 2.0, 3, 8),),
        "c",
        (text,),
    )
    fate = (1, text, PairFate("dropped", 0.0, 0.1, True, (text,), (text,), (text,)))
    for is_diffed in (True, False):
        options = PairOptions(layout, is_diffed, is_prompt_open=is_diffed)
        check(pair_lines(detail, options, width, glyphs, fate=fate), width)


@given(text=HOSTILE, width=WIDTHS, glyphs=GLYPHS)
@quick
def test_the_context_page(text: str, width: int, glyphs: Glyphs) -> None:
    detail = ContextDetail(
        1,
        "x",
        text,
        text,
        text,
        9,
        8,
        (FacetCount(text, 3), FacetCount(None, 1)),
        (ContextConcept("c", text, evidence(text), Interval(0.2, 0.5, 0.6)),),
        ((3, text),),
    )
    check(context_lines(detail, width, glyphs), width)


@given(text=HOSTILE, width=WIDTHS, glyphs=GLYPHS)
@quick
def test_the_rules_and_the_plan(text: str, width: int, glyphs: Glyphs) -> None:
    preview = PlanPreview(
        (RuleFinding(False, "R1", text, text, 1, 3, 500), RuleFinding(False, "R2", text, None, 0, 1, 1)),
        None,
        (("total", 9), ("kept", 3)),
        (RuleEffect(text, "drop", 2, 1, 1, 1),),
        ((text, text, 2),),
        (Shift(text, text, 0.1, 0.4),),
        (ConceptShift("c", text, 0.1, 0.2, 0.4, None, 2, False, True, True),),
        0.4,
        3.0,
        ((False, text, text),),
        0.1,
        "s",
        LengthShift(1.0, 2.0, 3.0, 0.0),
        (HeldShift("c", text, "x", text, 0.1, 0.3, True), HeldShift("c", text, "x", text, 0.1, 0.1, False)),
        7,
    )
    book = Rulebook.of("prosect rules 1\n" + text)
    check(rule_lines(book, preview, width), width)
    check(plan_lines(preview, width, glyphs), width)
    broken = PlanPreview((), text, (), (), (), (), (), None, None, (), 0.0, "s")
    check(plan_lines(broken, width, glyphs), width)
    check(plan_lines(broken, width, glyphs, good=preview), width)
    check(plan_lines(preview, width, glyphs, is_alone=True, moves=moves(text)), width)


@given(text=HOSTILE, width=WIDTHS, glyphs=GLYPHS)
@quick
def test_the_runs(text: str, width: int, glyphs: Glyphs) -> None:
    row = RunRow(text, RunState.BROKEN_OFF, 3, None, 7, text, text, True)
    outcome = ConceptOutcome("c", text, 0.1, 0.0, 0.2, -0.1, -0.2, 0.0, False, None)
    detail = RunDetail(
        row,
        (("loss", (Point(1, 0.5), Point(2, 0.25))),),
        ((text, text),),
        1,
        ((text, text),),
        (text,),
        (outcome,),
    )
    check(runs_lines([row], width, glyphs), width)
    check(run_lines(detail, width, glyphs, 0.5), width)
    found = replace(row, state=RunState.FINISHED, against=(text,))
    less = RunDifference(text, (text,), (outcome,))
    check(runs_lines([found], width, glyphs), width)
    for more in ({"differences": (less,)}, {"comparable": (text,) * 5}):
        check(run_lines(replace(detail, row=found, **more), width, glyphs, 0.0), width)
