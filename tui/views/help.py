"""Help, coverage and other pages that need no project table. Pure."""

from collections.abc import Iterable, Sequence

from engine.views.tables import Coverage, ProjectSummary
from tui import format as fmt
from tui.actions import Action, shown_keys
from tui.format import Glyphs
from tui.lines import PaneLine, fit, wrap, wrap_plain
from tui.places import Place
from tui.views.headings import heading

BESIDE = 72
"""Cells from which on a page has two columns of words."""


def help_lines(actions: Iterable[Action], text: str, width: int) -> list[PaneLine]:
    """Actions that match every word of a text, as lines that run them."""
    words = text.casefold().split()
    lines = []
    for action in actions:
        haystack = f"{action.ident} {shown_keys(action)} {action.label} {action.help}".casefold()
        if all(w in haystack for w in words):
            keys = fit(shown_keys(action), 24) + " "
            name = fit(action.ident, 19)
            if width < BESIDE:  # no room for what it does beside it
                lines.append(
                    PaneLine(((shown_keys(action) + "  ", "key"), (action.ident, "bold")), action.ident)
                )
                lines += [PaneLine((("   " + part, "text"),)) for part in wrap_plain(action.help, width - 4)]
                continue
            first, *rest = wrap_plain(action.help, width - 46)
            lines.append(PaneLine(((keys, "key"), (name + " ", "bold"), (first, "text")), action.ident))
            lines += [PaneLine(((" " * 45 + part, "text"),)) for part in rest]
    return lines or [PaneLine((("nothing matches", "dim"),))]


def coverage_lines(
    summary: ProjectSummary | None, coverage: Coverage, author: str, width: int, glyphs: Glyphs,
    lost: str = "",
) -> list[PaneLine]:  # fmt: skip
    """How far the review is; ``lost`` is what to know of a journal that somebody took away."""
    is_narrow = width < BESIDE
    bar = max(width - 36, 4) if is_narrow else min(width - 62, 40)
    lines = [heading("Review", f"you decide as {author}"), PaneLine(())]
    for label, part, whole, what in (
        ("concepts decided", coverage.n_decided, coverage.n_concepts, "concepts, everywhere"),
        ("called and decided", coverage.n_called_decided, coverage.n_called, "that were called there"),
    ):
        lines.append(
            PaneLine(
                (
                    (f"{label:<20}", "dim"),
                    (fmt.meter(part, whole, bar, glyphs), "key"),
                    (f" {part:,} of {whole:,} ", "text"),
                    ("" if is_narrow else what, "dim"),
                )
            )
        )
    n = sum(n for _, n in coverage.by_verdict)
    about = f"{n - coverage.n_inside:,} about concepts everywhere, {coverage.n_inside:,} inside contexts"
    lines += [
        PaneLine(()),
        PaneLine(
            ((f"{'verdicts':<20}", "dim"), (f"{n:>8,}", "text"), ("" if is_narrow else f"  {about}", "dim"))
        ),
        *((PaneLine(line) for line in wrap(about, width, "dim")) if is_narrow else ()),
    ]
    for verdict, n in coverage.by_verdict:
        lines.append(PaneLine(((f"{verdict.value:<20}", verdict.value), (f"{n:>8,}", "text"))))
    if coverage.n_others:
        lines.append(PaneLine(((f"{'by others':<20}", "dim"), (f"{coverage.n_others:>8,}", "text"))))
    n = coverage.undo_depth
    lines += [PaneLine(()), PaneLine(((f"{n:,} step{'s' if n != 1 else ''} can be taken back", "dim"),))]
    lines += _left_over(coverage)
    lines += [PaneLine(line) for line in wrap(lost, width, "error")] if lost else []
    if coverage.n_damaged_lines:
        lines.append(PaneLine(((f"{coverage.n_damaged_lines:,} journal lines cannot be read", "warn"),)))
    if summary is not None:
        lines += [PaneLine(()), *_summary_lines(summary, width)]
    return lines


def _left_over(coverage: Coverage) -> list[PaneLine]:
    """What came over from an older index, and what found no place here."""
    lines = []
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
    for n, what in (
        (coverage.n_names_carried, "names came over from an older index (~): name again to confirm"),
        (coverage.n_names_orphaned, "names are of concepts that this index does not have"),
    ):
        if n:
            lines.append(PaneLine(((f"{n:,} {what}", "warn"),)))
    return lines


def _summary_lines(summary: ProjectSummary, width: int) -> list[PaneLine]:
    rows: Sequence[tuple[str, str]] = (
        ("pairs", f"{summary.n_pairs:,}, {summary.n_signed:,} labelled"),
        ("read", f"{summary.share_read * 100:.0f}% of the pairs"),
        ("concepts", f"{summary.n_concepts:,}"),
        ("contexts", f"{summary.n_contexts:,}, everywhere not counted"),
        ("hypotheses", f"{summary.n_hypotheses:,}: concepts everywhere and inside contexts"),
        ("called", f"{summary.n_called:,} of {summary.n_concepts:,} concepts everywhere: beyond chance"),
        ("index", summary.index_hash),
        ("reader", f"{summary.reader}  {summary.reader_hash[:12]}".strip()),
        ("length explains", _explained(summary.length_explains)),
        ("authorship explains", _explained(summary.models_explain)),
    )
    lines = [heading("Index")]
    if summary.warning:
        lines += [PaneLine(line) for line in wrap(summary.warning, width, "warn")]
    lines += [PaneLine(((f"{name:<20}", "dim"), (value, "text"))) for name, value in rows]
    lines += [
        PaneLine(((f"source {f.value}"[:19].ljust(20), "dim"), (f"{f.n:,} pairs", "text")))
        for f in summary.sources
    ]
    return lines


def _explained(share: float | None) -> str:
    return fmt.UNDEFINED if share is None else f"{share:.1%} of the labels' log-loss"


_TOUR = (
    ("The question", "Which of these would the data teach your model, and which of them do you want?", None),
    ("j k", "move; a number before a key is a count; enter opens, q goes back", Place("hypotheses")),
    (
        "= - + i",
        "keep, suppress, amplify, ignore: one key decides and goes on; u takes it back",
        Place("hypotheses"),
    ),
    (
        "the bars",
        "win rate from ¼ to ¾ with its interval: a filled point leaves one half out, ◂ ▸ lie beyond",
        Place("hypotheses"),
    ),
    (
        "length",
        "len (only): it rides on longer answers; mask(ed): length hides it; both: with length and without",
        None,
    ),
    (
        "called",
        "beyond chance, with all that was tested counted in; the first line has how many of them are decided",
        Place("coverage"),
    ),
    ("/", "filters: verdict:none win>.6 context:tea; s sorts by the column that < and > choose", None),
    ("enter", "evidence of a concept, then its pairs; J goes on to the next without leaving the page", None),
    (
        "g r",
        "rules: A writes a first draft from your verdicts, every edit shows what would move",
        Place("rules"),
    ),
    ("g l C T", "plan: C compiles the rules, T trains on what came of it; both ask first", Place("plan")),
    ("g u g j", "training runs, and all long work with its progress; it outlives this screen", Place("runs")),
    ("?", "every key; type to find one, enter runs it", Place("coverage")),
)


def tour_lines(summary: ProjectSummary | None, width: int) -> list[PaneLine]:
    """A short tour; every stop can be opened."""
    size = f"{summary.n_pairs:,} pairs, {summary.n_concepts:,} concepts" if summary is not None else ""
    lines = [heading("A short tour", f"{size}; q closes it, g t brings it back"), PaneLine(())]
    if summary is not None and summary.warning:
        lines += [*(PaneLine(line) for line in wrap(summary.warning, width, "warn")), PaneLine(())]
    for key, text, place in _TOUR:
        first, *rest = wrap_plain(text, max(width - 16, 20))
        lines.append(PaneLine(((f"{key:<14}", "key"), (first, "text")), place))
        lines += [PaneLine(((" " * 14 + part, "text"),)) for part in rest]
        lines.append(PaneLine(()))
    return lines
