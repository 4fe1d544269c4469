"""Help, coverage and other pages that need no project table. Pure."""

from collections.abc import Iterable, Sequence

from engine.views import Coverage, ProjectSummary
from tui import format as fmt
from tui.actions import Action, shown_keys
from tui.format import Glyphs
from tui.lines import PaneLine, fit
from tui.views.concept import heading


def help_lines(actions: Iterable[Action], text: str, width: int) -> list[PaneLine]:
    """Actions that match every word of a text, as lines that run them."""
    words = text.casefold().split()
    lines = []
    for action in actions:
        haystack = f"{action.ident} {shown_keys(action)} {action.label} {action.help}".casefold()
        if all(w in haystack for w in words):
            keys = fit(shown_keys(action), 20)
            name = fit(action.ident, 19)
            lines.append(
                PaneLine(
                    ((keys, "key"), (name + " ", "bold"), (fit(action.help, max(width - 42, 8)), "text")),
                    action.ident,
                )
            )
    return lines or [PaneLine((("nothing matches", "dim"),))]


def coverage_lines(
    summary: ProjectSummary | None, coverage: Coverage, author: str, width: int, glyphs: Glyphs
) -> list[PaneLine]:
    """How far the review is."""
    bar = min(max(width - 40, 10), 60)
    lines = [heading("Review", f"you decide as {author}"), PaneLine(())]
    for label, part, whole in (
        ("concepts decided", coverage.n_decided, coverage.n_concepts),
        ("called and decided", coverage.n_called_decided, coverage.n_called),
    ):
        lines.append(
            PaneLine(
                (
                    (f"{label:<20}", "dim"),
                    (fmt.meter(part, whole, bar, glyphs), "key"),
                    (f" {part:,} of {whole:,}", "text"),
                )
            )
        )
    lines.append(PaneLine(()))
    for verdict, n in coverage.by_verdict:
        lines.append(PaneLine(((f"{verdict.value:<20}", verdict.value), (f"{n:>8,}", "text"))))
    lines += [PaneLine(()), PaneLine(((f"{coverage.undo_depth:,} steps can be taken back", "dim"),))]
    if coverage.n_carried:
        text = f"{coverage.n_carried:,} verdicts came over from an older index (~): decide again to confirm"
        lines.append(PaneLine(((text, "warn"),)))
    if coverage.n_orphaned:
        lines.append(
            PaneLine(
                (
                    (
                        f"{coverage.n_orphaned:,} verdicts are about concepts that this index does not have",
                        "warn",
                    ),
                )
            )
        )
    if coverage.n_damaged_lines:
        lines.append(PaneLine(((f"{coverage.n_damaged_lines:,} journal lines cannot be read", "warn"),)))
    if summary is not None:
        lines += [PaneLine(()), *_summary_lines(summary)]
    return lines


def _summary_lines(summary: ProjectSummary) -> list[PaneLine]:
    rows: Sequence[tuple[str, str]] = (
        ("pairs", f"{summary.n_pairs:,}, {summary.n_signed:,} labelled"),
        ("read", f"{summary.share_read * 100:.0f}% of the pairs"),
        ("concepts", f"{summary.n_concepts:,}"),
        ("contexts", f"{summary.n_contexts:,}"),
        ("hypotheses", f"{summary.n_hypotheses:,}, {summary.n_called:,} of those everywhere were called"),
        ("index", summary.index_hash),
        ("reader", summary.reader_hash),
    )
    lines = [heading("Index")]
    lines += [PaneLine(((f"{name:<20}", "dim"), (value, "text"))) for name, value in rows]
    lines += [
        PaneLine(((f"source {f.value}"[:19].ljust(20), "dim"), (f"{f.n:,} pairs", "text")))
        for f in summary.sources
    ]
    return lines
