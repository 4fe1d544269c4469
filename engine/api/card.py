"""The card of an audit: one Markdown page for those who were not there.

What was read, what the pairs teach with intervals, what was decided and why, what was made of it. It depends
on the project alone, not on time or machine, so two versions of it can be compared line by line. Texts that
may come from a dataset stand in code spans, where Markdown makes no links, pictures or mentions of them.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from engine.live.run_watch import list_runs, read_run
from engine.paths import ProjectPaths, is_path
from engine.pipeline.entries import reason_counts
from engine.records import EVERYWHERE
from engine.safe_text import code_span
from engine.settings import Settings
from engine.settings_file import load_settings
from engine.views.names import MARK
from engine.wording import counted

if TYPE_CHECKING:
    from engine.api import Listing, Project
    from engine.views.tables import ProjectSummary

_WIDTH = 80
"""Characters of a name; longer ones are cut."""


def audit_card(project: "Project", limit: int = 30) -> str:
    """The page.

    Args:
        project: with an index.
        limit: rows at most of each table of hypotheses; what is left out is counted.

    Raises:
        StoreError: there is no index yet.
    """
    summary = project.browser.summary()
    parts = (
        _head(project, summary),
        _data(project),
        _taught(project, summary, limit),
        _differing(project, limit),
        _decisions(project),
        _made(project),
    )
    return "\n".join(line for part in parts for line in part) + "\n"


def _head(project: "Project", summary: "ProjectSummary") -> list[str]:
    lines = [
        f"# What the pairs of {_code(summary.root)} teach",
        "",
        f"An audit of {summary.n_pairs:,} preference pairs with prosect, before anyone trains on them:"
        f" {summary.n_concepts:,} concepts, everywhere and inside {summary.n_contexts:,} contexts."
        " Every signed number is chosen minus rejected. A hypothesis is a statement about data, not a promise"
        " about a model.",
        "",
    ]
    if summary.share_read < 1:
        lines += [f"**Read so far: {summary.share_read:.1%} of the pairs**, a random part of them.", ""]
    for text in filter(None, (summary.warning, summary.stale)):
        lines += [f"**Note:** {_code(text, None)}", ""]
    facts = [*_reader(project.paths, summary), ("index", _code(summary.index_hash))]
    changed = _changed_settings(load_settings(project.paths.settings))
    facts += [("columns of its own", own)] if (own := ", ".join(_own_columns(project))) else []
    facts.append(("set in prosect.toml, other than the defaults", ", ".join(changed) or "nothing"))
    return [*lines, *_table(("", ""), facts)]


def _reader(paths: ProjectPaths, summary: "ProjectSummary") -> list[tuple[str, str]]:
    """Model, layer and SAE, and how well the SAE describes these texts."""
    folder = paths.reader_dir(summary.reader_hash)
    reader, check = _json(folder / "reader.json"), _json(folder / "sae_check.json")
    facts = []
    if reader:
        revision = f", revision {_code(reader['revision'])}" if reader.get("revision") else ""
        model = f"{_shared(reader.get('model'))}{revision}, layer {reader.get('layer')}"
        facts = [
            ("reader", model),
            ("SAE", f"{_shared(reader.get('sae'))}, {reader.get('n_latents', 0):,} latents"),
        ]
    if check.get("unexplained") is not None:
        facts.append(
            (
                "the SAE on these texts",
                f"{check['unexplained']:.1%} of the variance unexplained, {check['l0']:.1f} latents a token,"
                f" {check['dead_share']:.1%} dead, over {check['n_tokens']:,} tokens",
            )
        )
    return facts


def _own_columns(project: "Project") -> list[str]:
    """Columns that a person defined, as the index has them: flags of the audit may have named them."""
    columns = [project.browser.concept(r["concept_id"]) for r in project.concepts("kind:column").records()]
    return [_code(f"{c.name} = {c.definition}") for c in columns if c.name_source == "pattern"]


def _changed_settings(settings: Settings) -> list[str]:
    now, default = settings.as_dict(), Settings().as_dict()
    return [
        _code(f"{stage}.{key} = {json.dumps(value, ensure_ascii=False)}")
        for stage, values in now.items()
        for key, value in values.items()
        if stage != "review" and value != default[stage][key]
    ]


def _data(project: "Project") -> list[str]:
    report = project.ingest_report()
    rows = [
        (_code(name), f"{n:,}", f"{report.weights.get(name, 1.0):g}")
        for name, n in sorted(report.pairs_by_source.items())
    ]
    labels = ", ".join(f"{n:,} {label.replace('_', ' ')}" for label, n in sorted(report.labels.items()))
    lines = [
        "", "## Data", "",
        f"{report.rows_read:,} rows read, {report.pairs:,} pairs in {report.groups:,} groups of one prompt."
        f" Labels: {labels}. {report.evaluation_pairs:,} pairs belong to an evaluation set.",
        "", *_table(("source", "pairs >", "weight >"), rows),
    ]  # fmt: skip
    if n_cut := project.pairs("truncated:yes", limit=1).n_rows:
        said = f"{counted(n_cut, 'pair has', 'pairs have')} a text that was too long for the reader:"
        lines += ["", f"{said} latents and `@length` know only what was read of it."]
    listed = [(c.kind, c.reason.replace("_", " "), f"{c.n:,}", c.meaning) for c in reason_counts(report)]
    return [*lines, "", *_table(("rows", "why", "n >", "meaning"), listed)] if listed else lines


def _taught(project: "Project", summary: "ProjectSummary", limit: int) -> list[str]:
    called = project.concepts("called:yes", sort="-evidence", limit=limit)
    is_proposed = any(str(r["concept"]).startswith(MARK) for r in called.records())
    proposed = f" `{MARK.strip()}` marks names that a language model proposed and nobody has given."
    q = project.settings.stats.q
    lines = [
        "", "## Taught everywhere", "",
        f"{called.n_rows:,} of {summary.n_concepts:,} concepts are called at a false discovery rate of {q:g}."
        " A win rate is the share of the pairs whose sides differ in the concept in which the chosen one has"
        " more of it, with its 95% interval; *at equal length* is what remains when length and origin are"
        f" accounted for. Strongest evidence first.{proposed if is_proposed else ''}",
        "", *_table(("concept", "taught", "at equal length", "which", "pairs >", "q >", "verdict"), [
            (_code(r["concept"]), _interval(r, "taught"), _interval(r, "equal"), r["badge"] or "",
             f"{r['discordant']:,}", _small(r["q"]), r["verdict"] or "")
            for r in called.records()
        ]),
    ]  # fmt: skip
    return [*lines, *_left_out(called)]


def _differing(project: "Project", limit: int) -> list[str]:
    q = project.settings.stats.q
    found = project.hypotheses(f"!context={EVERYWHERE} differs_q<={q}", sort="differs_q", limit=limit)
    lines = [
        "", "## Other inside a context", "",
        f"{found.n_rows:,} hypotheses inside contexts differ from everywhere at a false discovery rate of"
        f" {q:g}; z is that of the difference.",
    ]  # fmt: skip
    rows = [
        (_code(r["context"]), _code(r["concept"]), _interval(r, "taught"), f"{r['differs']:+.1f}",
         _small(r["differs_q"]), r["verdict"] or "")
        for r in found.records()
    ]  # fmt: skip
    if rows:
        lines += ["", *_table(("context", "concept", "taught there", "z >", "q >", "verdict"), rows)]
    return [*lines, *_left_out(found)]


def _decisions(project: "Project") -> list[str]:
    views, coverage = project.browser.verdicts(), project.browser.coverage()
    decided = project.hypotheses("!verdict:none", sort="verdict,concept,context")
    lines = [
        "", "## Decided", "",
        f"{coverage.n_called_decided:,} of {coverage.n_called:,} called concepts have a verdict.",
    ]  # fmt: skip
    rows, seen = [], set()
    for r in decided.records():
        view = views[r["target"]]
        seen.add(r["target"])
        remarks = (
            [f"carried over (match {view.match:.0%}): to be confirmed"] if view.match is not None else []
        )
        remarks += [f"{_code(view.disputed_by)} decided otherwise"] if view.disputed_by else []
        where = EVERYWHERE if r["context"] == EVERYWHERE else _code(r["context"])
        reason = _code(view.reason, None) if view.reason else ""
        rows.append(
            (r["verdict"], _code(r["concept"]), where, reason, _code(view.author), "; ".join(remarks))
        )
    gone = [view for key, view in sorted(views.items()) if key not in seen]
    rows += [
        (
            v.verdict,
            _code(v.name),
            "",
            _code(v.reason, None) if v.reason else "",
            _code(v.author),
            "not in this index",
        )
        for v in gone
    ]
    header = ("verdict", "concept", "where", "because", "by", "")
    return [*lines, "", *_table(header, rows)] if rows else lines


def _made(project: "Project") -> list[str]:
    """Shaped datasets and runs, each with what a reader needs to find it."""
    lines: list[str] = []
    shaped = sorted(project.work.shaped(), key=lambda row: row.ident)
    if shaped:
        rows = [
            (_code(s.ident), _rule_file(project.paths, s.ident), f"{s.n_pairs:,}", f"{s.n_total:,}",
             "" if s.is_of_index else "made from another index")
            for s in shaped
        ]  # fmt: skip
        header = ("shaped dataset", "rule file", "pairs kept >", "of >", "")
        lines += ["", "## Shaped datasets", "", *_table(header, rows)]
    runs = sorted(list_runs(project.paths), key=lambda row: row.ident)
    for row in runs:
        detail = read_run(project.paths, row.ident)
        steps = f"{row.step:,} of {row.of:,} steps" if row.of else f"{row.step:,} steps"
        lines += ["", f"## Run {_code(row.ident)}", "", f"{row.state}, {steps}, on {_code(detail.shaped)}."]
        lines += [f"- {_code(line, None)}" for line in detail.outcome_lines]
    return lines


def _rule_file(paths: ProjectPaths, ident: str) -> str:
    path = _json(paths.shaped_dir / ident / "build.json").get("rule_file")
    return _code(PurePath(str(path)).name) if path else ""


def _left_out(found: "Listing") -> list[str]:
    n = found.n_rows - len(found.rows)
    return ["", f"… and {n:,} more."] if n else []


def _interval(row: dict[str, Any], name: str) -> str:
    low, middle, high = row[f"{name}_low"], row[name], row[f"{name}_high"]
    if middle is None:
        return "–"
    return f"{middle:.1%}" if low is None or high is None else f"{middle:.1%} ({low:.1%} to {high:.1%})"


def _small(value: float | None) -> str:
    return "–" if value is None else f"{value:.1g}"


def _shared(name: object) -> str:
    """A hub id as it is; of a path only the last part, since the rest is one machine's."""
    text = str(name)
    return _code(PurePath(text).name if is_path(text) else text)


def _code(text: str, limit: int | None = _WIDTH) -> str:
    return code_span(text, limit)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; columns whose title ends in ``>`` are aligned to the right."""
    titles = [title.removesuffix(" >") for title in header]
    rules = ["---:" if title.endswith(" >") else "---" for title in header]
    return [f"| {' | '.join(cells)} |" for cells in (titles, rules, *rows)]


def _json(path: Any) -> dict[str, Any]:
    """A JSON file's object; empty where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
