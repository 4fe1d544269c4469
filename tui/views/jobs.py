"""Long work as lines: a list of jobs, one job with its stages and output, what there is to train on. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.progress import rate_text
from engine.safe_text import one_line
from engine.views.jobs import JobDetail, JobRow, JobState, ShapedRow
from tui import format as fmt
from tui.format import Glyphs
from tui.lines import PaneLine, Span, fit, wrap
from tui.places import Place
from tui.views.headings import heading

_ROLES = {
    JobState.STARTING: "weak", JobState.RUNNING: "plus", JobState.FINISHED: "key", JobState.FAILED: "error",
    JobState.CANCELLED: "warn", JobState.BROKEN_OFF: "error",
}  # fmt: skip


RESULT = 21
"""Cells of what came of a job: ``→ shaped 0123456789ab``."""


@dataclass(frozen=True, slots=True)
class ShapedItem:
    """A shaped dataset under the cursor."""

    ident: str


def progress_text(row: JobRow) -> str:
    """``1,234/5,000 pairs  12/s  0:05:12 left``, as far as known."""
    if not row.stage or not row.unit:
        return ""
    parts = [f"{row.done:,}" + (f"/{row.total:,}" if row.total is not None else "") + f" {row.unit}"]
    if row.rate:
        parts.append(rate_text(row.rate))
    if row.left_s is not None:
        parts.append(f"{fmt.clock(row.left_s)} left")
    return "  ".join(parts)


def short_text(row: JobRow) -> str:
    """``audit 42%`` for the status line."""
    percent = f" {min(row.done / row.total, 1):.0%}" if row.total else ""
    return f"{row.kind}{percent}"


def jobs_lines(rows: Sequence[JobRow], width: int, glyphs: Glyphs) -> list[PaneLine]:
    """Every job, those that run first."""
    if not rows:
        text = (
            "no long work was done here since jobs are kept; audit, compile and train show up by themselves"
        )
        return [PaneLine(line) for line in wrap(text, width, "dim")]
    lines: list[PaneLine] = []
    for row in rows:
        lines.append(job_line(row, width, glyphs))
        if row.state.is_alive and progress_text(row):
            lines.append(_bar(row, width, glyphs))
    return lines


def job_line(row: JobRow, width: int, glyphs: Glyphs) -> PaneLine:
    """A job in one line: state, what, when, how long, how it ended."""
    # where there is little room, what came of a job is worth more than the year or the day it began
    start = 0 if width >= 100 else 5
    when = f"{row.started[start:16].replace('T', ' ')}  " if width >= 70 else ""
    used = 22 + len(when)
    title = min(max(width - used - RESULT, 14), 40)
    tail = row.message if not row.state.is_alive else "asked to stop" if row.is_asked_to_stop else row.stage
    made = " ".join(
        f"{glyphs.arrow} {name} {value[:12]}"
        for name, value in row.results
        if name in ("shaped", "run", "index")
    )
    if row.state is JobState.FINISHED and made:
        tail = made
    return PaneLine(
        (
            (fit(row.state.value, 11), _ROLES[row.state]),
            (fit(one_line(row.title), title) + " ", "text"),
            (when, "dim"),
            (f"{fmt.clock(row.elapsed_s):>8}  ", "text"),
            (
                one_line(tail, max(width - title - used, 8)),
                "error" if row.state is JobState.FAILED else "dim",
            ),
        ),
        Place("job", row.ident),
    )


def _bar(row: JobRow, width: int, glyphs: Glyphs) -> PaneLine:
    text = progress_text(row)
    bar = max(min(width - len(text) - 15, 50), 6)
    spans: list[Span] = [(" " * 11, "text")]
    if row.total:
        spans.append((fmt.meter(min(row.done, row.total), row.total, bar, glyphs) + "  ", "key"))
    return PaneLine((*spans, (text, "text")))


def job_lines(detail: JobDetail, width: int, glyphs: Glyphs) -> list[PaneLine]:
    """One job."""
    row = detail.row
    head = f"{one_line(row.title, width // 2)}  "
    lines = [
        PaneLine(
            (
                (head, "bold"),
                (row.state.value, _ROLES[row.state]),
                (f"  {fmt.clock(row.elapsed_s)}", "text"),
                ("  asked to stop" if row.is_asked_to_stop and row.state.is_alive else "", "warn"),
            )
        ),
        PaneLine(
            (
                (
                    f"{row.ident} on {one_line(row.host, 40)}, pid {row.pid}, since"
                    f" {row.started[:19].replace('T', ' ')} UTC",
                    "dim",
                ),
            )
        ),
    ]
    lines += [PaneLine(line) for line in wrap(one_line(detail.command), width, "key")]
    if row.message and not row.state.is_alive:
        role = "error" if row.state in (JobState.FAILED, JobState.BROKEN_OFF) else "text"
        lines += [PaneLine(line) for line in wrap(one_line(row.message), width, role)]
    lines += [_result(name, value) for name, value in row.results]
    if row.state.is_alive:
        lines += [PaneLine(()), heading("Now", row.stage or "starting"), _bar(row, width, glyphs)]
    if detail.stages:
        lines += [PaneLine(()), heading("Stages")]
        lines += [
            PaneLine(
                (
                    (fit(one_line(s.name), min(30, width // 2)), "text"),
                    (f"{s.done:>12,} {fit(one_line(s.unit), 8)}", "text"),
                    (f"  {fmt.clock(s.seconds)}", "dim"),
                )
            )
            for s in detail.stages
        ]
    for title, texts in (("Remarks", detail.notes), ("Output", detail.log)):
        if texts:
            lines += [PaneLine(()), heading(title)]
            lines += [PaneLine(line) for text in texts for line in wrap(one_line(text), width)]
    return lines


def _result(name: str, value: str) -> PaneLine:
    place = Place("run", value) if name == "run" else None
    item: object | None = ShapedItem(value) if name == "shaped" else place
    return PaneLine(((f"{name:<10} ", "dim"), (one_line(value, 120), "text")), item)


def shaped_lines(rows: Sequence[ShapedRow], width: int, *, n: int = 3) -> list[PaneLine]:
    """Shaped datasets, the latest first; each can be trained on."""
    if not rows:
        return []
    note = "T trains on the one under the cursor, else on the latest"
    lines = [PaneLine(()), heading("Shaped datasets", note if width >= 75 else "T trains")]
    for row in rows[:n]:
        stale = "" if row.is_of_index else "  of an older index"
        lines.append(
            PaneLine(
                (
                    (f"  {row.ident[:12]} ", "key"),
                    (f"{row.n_pairs:>9,} of {row.n_total:,} pairs", "text"),
                    (f"  {row.made[:16].replace('T', ' ')}", "dim"),
                    (stale, "warn"),
                ),
                ShapedItem(row.ident),
            )
        )
    if len(rows) > n:
        lines.append(PaneLine(((f"  {len(rows) - n} more in shaped/", "dim"),)))
    return lines
