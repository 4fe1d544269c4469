"""Training runs as lines: a list, and one run with its curves, events, forecast and outcome. Pure."""

from collections.abc import Sequence

from engine.safe_text import one_line
from engine.views.runs import (
    OTHER_FORECAST,
    ConceptOutcome,
    Point,
    RunDetail,
    RunDifference,
    RunRow,
    RunState,
)
from tui import format as fmt
from tui.charts import curve, smooth
from tui.format import Glyphs
from tui.lines import Line, PaneLine, fit, wrap
from tui.places import Place
from tui.views.headings import heading

_ROLES = {
    RunState.RUNNING: "plus", RunState.FINISHED: "key", RunState.STOPPED: "warn", RunState.FAILED: "error",
    RunState.BROKEN_OFF: "error",
}  # fmt: skip
CURVES = ("loss", "rewards/margins", "rewards/accuracies", "learning_rate")
"""Shown first, in this order; a run that logs others shows those after them."""
FORECASTS, DIFFERENT, OUTCOMES = 20, 20, 40
"""Concepts that a forecast shows, and a difference of runs."""
WITH_PAIRS = 100
"""From so many cells on a run's row has room for its pairs and the year."""
COMPARABLE = 3
"""Runs that are named as ones to compare with."""


def runs_lines(rows: Sequence[RunRow], width: int, glyphs: Glyphs) -> list[PaneLine]:
    """Every run, the latest first."""
    if not rows:
        return [PaneLine((("no runs yet; T trains on what C compiled from the rules", "dim"),))]
    is_wide = width >= WITH_PAIRS
    bar = max(min(width - 102, 30), 4)
    # below, what a run changed is worth more than how many pairs it saw
    title = f"{'run':<14}{'state':<11}{'steps':<{bar + 15}}"
    title += f"{'pairs':>9}       " if is_wide else " "
    lines = [PaneLine(((fit(title + "last event (UTC)", width).rstrip(), "dim"),))]
    return lines + [_row(row, bar, width, glyphs) for row in rows]


def _row(row: RunRow, bar: int, width: int, glyphs: Glyphs) -> PaneLine:
    marks = "  outcome" if row.has_outcome else ""
    marks += f"  less {one_line(row.against[0], 14)}" if row.against else ""
    return PaneLine(
        (
            (fit(row.ident, 14), "text"),
            (fit(row.state.value, 11), _ROLES[row.state]),
            (fmt.meter(row.step, row.of or 0, bar, glyphs), "key"),
            (f" {row.step:>6,}/{fmt.count(row.of):<7}", "text"),
            (f" {fmt.count(row.n_pairs):>8} pairs " if width >= WITH_PAIRS else " ", "dim"),
            (row.last[0 if width >= WITH_PAIRS else 5 : 16].replace("T", " "), "dim"),
            (marks, "plus"),
        ),
        Place("run", row.ident),
    )


def run_lines(detail: RunDetail, width: int, glyphs: Glyphs, smoothing: float) -> list[PaneLine]:
    """One run."""
    row = detail.row
    head: Line = (
        (f"run {row.ident}  ", "bold"),
        (row.state.value, _ROLES[row.state]),
        (f"  step {row.step:,} of {fmt.count(row.of)}  ", "text"),
        (fmt.meter(row.step, row.of or 0, max(min(width - 70, 30), 4), glyphs), "key"),
        (f"  {row.last[:19].replace('T', ' ')}", "dim"),
    )
    lines = [PaneLine(head), *_pace(row)]
    if detail.shaped:
        made_from = f" from {one_line(detail.rule_file, 60)}" if detail.rule_file else ""
        lines.append(
            PaneLine((("dataset  ", "dim"), (f"shaped/{one_line(detail.shaped[:12])}{made_from}", "text")))
        )
    if row.state.can_go_on:
        said = "it ended without a word; " if row.state is RunState.BROKEN_OFF else ""
        lines.append(PaneLine(((f"{said}r goes on from its last save:", "warn"),)))
        lines += [PaneLine(line) for line in wrap(one_line(detail.command), width, "key")]
    elif row.state is RunState.FINISHED:
        if not detail.outcome_lines:
            lines.append(PaneLine((("O measures the outcome", "key"),)))
        said = _comparing(detail)
        lines += [PaneLine(line) for line in wrap(said, width, "dim")] if said else []
    if detail.n_damaged:
        lines.append(PaneLine(((f"{detail.n_damaged} lines of events.jsonl cannot be read", "warn"),)))
    curves = _curves(detail, width, glyphs, smoothing)
    found = [_difference(row.ident, difference, width, glyphs) for difference in detail.differences]
    measured = [line for part in (*found, _outcome(detail, width, glyphs)) for line in part]
    forecast = [] if detail.outcome_lines else _forecast(detail, width, glyphs)
    if measured:  # what came of it before how it went
        lines += [*measured, *forecast, PaneLine(()), heading("Curves", "what was logged")]
        lines += curves if curves[0].spans else curves[1:]  # no empty line behind the heading
    else:
        lines += [*curves, *forecast]
    lines += [PaneLine(()), heading("Events")]
    lines += [
        PaneLine(((f"{time[11:19]}  ", "dim"), (one_line(text, width), "text")))
        for time, text in detail.events
    ]
    if detail.settings:
        lines += [PaneLine(()), heading("Settings")]
        lines += [
            PaneLine(((f"{one_line(k, 22):<24}", "dim"), (one_line(v, width), "text")))
            for k, v in detail.settings
        ]
    return lines


def _pace(row: RunRow) -> list[PaneLine]:
    """How long it was at work so far, how fast it goes, when it will be through."""
    if not row.started:
        return []
    parts = [f"elapsed {fmt.clock(row.active_s)}"]
    if row.rate:
        parts.append(f"{row.rate:.2f} steps/s")
        if row.state is RunState.RUNNING and row.of:
            parts.append(f"{fmt.clock((row.of - row.step) / row.rate)} left")
    return [PaneLine((("  ".join(parts), "dim"),))]


def _curves(detail: RunDetail, width: int, glyphs: Glyphs, smoothing: float) -> list[PaneLine]:
    found = dict(detail.series)
    shown = [(name, found[name]) for name in CURVES if len(found.get(name, ())) > 1]
    if not shown:
        return [PaneLine((("no curve before the second log line", "dim"),))]
    per_row = 2 if width >= 90 else 1
    plot = width // per_row - 3
    lines: list[PaneLine] = []
    for at in range(0, len(shown), per_row):
        blocks = [_curve(name, points, plot, glyphs, smoothing) for name, points in shown[at : at + per_row]]
        lines.append(PaneLine(()))
        lines += [
            PaneLine(tuple(span for part in parts for span in (*part, ("   ", "text"))))
            for parts in zip(*blocks, strict=True)
        ]
    return lines


def _curve(name: str, points: Sequence[Point], width: int, glyphs: Glyphs, smoothing: float) -> list[Line]:
    values = smooth([p.value for p in points], smoothing)
    scale = f"  {min(values):.4g} to {max(values):.4g}, now {values[-1]:.4g}"
    title: Line = ((fit(name + scale, width), "title"),)
    rows = curve(values, width, 5, glyphs)
    return [title, *(((row, "key"),) for row in rows), _steps(points, width, smoothing)]


def _steps(points: Sequence[Point], width: int, smoothing: float) -> Line:
    """Below a curve: first step, how much it is smoothed (what its scale is of, too), last step."""
    first, last = f"step {points[0].step:,}", f"{points[-1].step:,}"
    said = f"smoothed {smoothing:g}" if smoothing else "as logged"
    room = max(width - len(first) - len(last), 0)
    return (
        (first, "dim"),
        (fit(said.center(room), room) if len(said) < room else " " * room, "text" if smoothing else "dim"),
        (last, "dim"),
    )


def _comparing(detail: RunDetail) -> str:
    """How a difference from another run is measured, where there is none yet or more can be."""
    if detail.comparable:
        names = ", ".join(one_line(ident, 20) for ident in detail.comparable[:COMPARABLE])
        more = len(detail.comparable) - COMPARABLE
        others = f"{names} and {more} more" if more > 0 else names
        return f":outcome RUN measures the difference from another run: {others}"
    if detail.differences:
        return ""
    return "to compare runs, train one from the same start, say on the unshaped pairs"


def _difference(ident: str, found: RunDifference, width: int, glyphs: Glyphs) -> list[PaneLine]:
    """A run less another one."""
    if not found.lines:
        return []
    which = f"{one_line(ident, 14)} less {one_line(found.other, 14)}"
    note = f"{which}: what both share cancels" if width >= 75 else which
    title = f"difference of runs: {ident} less {found.other}"  # the heading says it
    said = [text for text in found.lines if text != title]
    return [
        PaneLine(()),
        heading("Difference of runs", note),
        *_scored(said, found.concepts, DIFFERENT, width, glyphs),
    ]


def _outcome(detail: RunDetail, width: int, glyphs: Glyphs) -> list[PaneLine]:
    if not detail.outcome_lines:
        return []
    note = "rollouts on held-out prompts, against the forecast"
    if width >= 75:
        note = f"held-out rollouts against the forecast; {glyphs.yes} right sign, ! wrong"
    title = heading("Outcome", note)
    return [PaneLine(()), title, *_scored(detail.outcome_lines, detail.outcome, OUTCOMES, width, glyphs)]


def _more(n: int) -> list[PaneLine]:
    """What is left out of a list of concepts, and where it is."""
    said = f"{n:,} more concepts: `prosect outcome` has them all"
    return [PaneLine(((said, "dim"),))] if n > 0 else []


def _scored(
    said: Sequence[str], every: Sequence[ConceptOutcome], most: int, width: int, glyphs: Glyphs
) -> list[PaneLine]:
    """A report in words, then forecast and observation of ``most`` concepts, then how other forecasts did."""
    concepts = every[:most]
    first = next((i for i, text in enumerate(said) if text.startswith(OTHER_FORECAST)), len(said))
    lines, others = _wrapped(said[:first], width), _wrapped(said[first:], width)
    if not concepts:
        return lines + others
    top = max((abs(v) for c in concepts for v in (c.forecast, c.change)), default=1.0) or 1.0
    bar = max(min((width - 48) // 2, 25), 9) | 1
    name = max(width - 2 * bar - 26, 10)
    lines += [
        PaneLine(()),
        PaneLine(((fit("concept", name) + "  forecast".ljust(bar + 11) + "observed", "dim"),)),
    ]
    lines += [*(_concept(c, name, bar, top, glyphs) for c in concepts), *_more(len(every) - most)]
    return [*lines, PaneLine(()), *others] if others else lines


def _wrapped(said: Sequence[str], width: int) -> list[PaneLine]:
    return [PaneLine(line) for text in said for line in wrap(one_line(text), width)]


def _forecast(detail: RunDetail, width: int, glyphs: Glyphs) -> list[PaneLine]:
    """What the leading forecast says, the largest changes first."""
    if not detail.forecast:
        return []
    shown = detail.forecast[:FORECASTS]
    top = max(abs(v) for c in shown for v in (c.low, c.high)) or 1.0
    bar = max(min(width - 60, 31), 9) | 1
    name = max(width - bar - 32, 10)
    note = "disparity per pair with its 90% interval, largest first" if width >= 80 else "with 90% intervals"
    lines = [PaneLine(()), heading(f"Forecast by {one_line(detail.leading, 30)}", note)]
    return (
        lines
        + [
            PaneLine(
                (
                    (fit(one_line(c.name), name), "text"),
                    (balance(c.value, c.low, c.high, bar, top, glyphs), "key"),
                    (f" {c.value:+.3f}", "text"),
                    (f"  {c.low:+.3f} to {c.high:+.3f}", "dim"),
                ),
                Place("concept", c.concept_id),
            )
            for c in shown
        ]
        + _more(len(detail.forecast) - FORECASTS)
    )


def _concept(found: ConceptOutcome, name: int, bar: int, top: float, glyphs: Glyphs) -> PaneLine:
    agrees = " " if found.agrees is None else glyphs.yes if found.agrees else "!"
    return PaneLine(
        (
            (fit(one_line(found.name), name), "text"),
            (f" {agrees}", "plus" if found.agrees else "warn"),
            (balance(found.forecast, found.forecast_low, found.forecast_high, bar, top, glyphs), "key"),
            (f" {found.forecast:+.3f}  ", "text"),
            (
                balance(found.change, found.change_low, found.change_high, bar, top, glyphs),
                "plus" if found.is_moved else "weak",
            ),
            (f" {found.change:+.3f}", "text"),
        ),
        Place("concept", found.concept_id),
    )


def balance(value: float, low: float, high: float, width: int, top: float, glyphs: Glyphs) -> str:
    """A number with its interval on an axis from −top to +top, zero in the middle."""

    def share(number: float) -> float:
        place = 0.5 + number / (2 * top)
        return fmt.AXIS_LOW + place * (fmt.AXIS_HIGH - fmt.AXIS_LOW)

    return fmt.interval_bar((share(low), share(value), share(high)), width, glyphs)
