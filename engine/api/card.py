"""The card of an audit: one Markdown page for those who were not there.

What the pairs teach with intervals, what was decided and why, what was made of it, what was read: first in a
few lines, then in tables. It depends on the project alone, not on time or machine, so two versions of it can
be compared line by line.
"""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from engine.api.card_made import made, made_in_short, read_object
from engine.api.card_parts import code, interval, long_table, shared, small, table
from engine.paths import ProjectPaths
from engine.pipeline.entries import reason_counts
from engine.records import EVERYWHERE, Badge
from engine.settings import Settings
from engine.settings_file import load_settings
from engine.views.names import MARK
from engine.wording import counted

if TYPE_CHECKING:
    from engine.api import Project
    from engine.views.tables import ProjectSummary, VerdictView

_IN_SHORT = 5
"""Concepts that are named of each kind, in the lines that come first."""
_LOOKED_AT = 400
"""Called concepts that those are taken from."""


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
        _head(summary),
        _in_short(project),
        _decisions(project),
        made(project),
        _taught(project, summary, limit),
        _differing(project, limit),
        _data(project),
        _origin(project, summary),
    )
    return "\n".join(line for part in parts for line in part) + "\n"


def _head(summary: "ProjectSummary") -> list[str]:
    lines = [
        f"# What the pairs of {code(summary.root)} teach",
        "",
        f"An audit of {summary.n_pairs:,} preference pairs before anyone trains on them:"
        f" {summary.n_concepts:,} concepts, everywhere and inside {summary.n_contexts:,} contexts.",
    ]
    if summary.share_read < 1:
        lines += ["", f"**Read so far: {summary.share_read:.1%} of the pairs**, a random part of them."]
    for text in filter(None, (summary.warning, summary.stale)):
        lines += ["", f"**Note:** {code(text, None)}"]
    return lines


def _in_short(project: "Project") -> list[str]:
    """What a reader should know who reads no further."""
    called = project.concepts("called:yes", sort="-evidence", limit=_LOOKED_AT).records()
    firm = [r for r in called if r["badge"] == Badge.BOTH]
    also = ", also at equal length" if firm else ""
    lines = [
        _named(f"The labels {word}{also}:", (r for r in firm or called if _is_above(r) is is_above))
        for word, is_above in (("reward", True), ("punish", False))
    ]
    views, coverage = project.browser.verdicts(), project.browser.coverage()
    left = coverage.n_called - coverage.n_called_decided
    decided = counted(len(views), "verdict") if views else "Nothing is decided yet"
    lines += [f"{decided}; {counted(left, 'called concept has', 'called concepts have')} none."]
    lines += made_in_short(project)
    return ["", *(f"- {line}" for line in lines if line)]


def _is_above(row: Mapping[str, Any]) -> bool | None:
    """Whether a win rate is above one half."""
    return None if row["taught"] is None else row["taught"] > 1 / 2


def _named(title: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """The first concepts with their win rates; empty where there are none."""
    found = list(rows)
    named = ", ".join(f"{code(r['concept'])} ({r['taught']:.0%})" for r in found[:_IN_SHORT])
    more = f" and {len(found) - _IN_SHORT:,} more" if len(found) > _IN_SHORT else ""
    return f"{title} {named}{more}." if found else ""


def _origin(project: "Project", summary: "ProjectSummary") -> list[str]:
    """Reader, SAE and settings: what another audit would have to share to be compared."""
    facts = [*_reader(project.paths, summary), ("index", code(summary.index_hash))]
    changed = _changed_settings(load_settings(project.paths.settings))
    facts += [("columns of its own", own)] if (own := ", ".join(_own_columns(project))) else []
    facts.append(("set in prosect.toml", ", ".join(changed) or "nothing"))
    return ["", "## Made with", "", *table(("", "prosect"), facts)]


def _reader(paths: ProjectPaths, summary: "ProjectSummary") -> list[tuple[str, str]]:
    """Model, layer and SAE, and how well the SAE describes these texts."""
    folder = paths.reader_dir(summary.reader_hash)
    reader, check = read_object(folder / "reader.json"), read_object(folder / "sae_check.json")
    facts = []
    if reader:
        revision = f", revision {code(reader['revision'])}" if reader.get("revision") else ""
        model = f"{shared(reader.get('model'))}{revision}, layer {reader.get('layer')}"
        facts = [
            ("reader", model),
            ("SAE", f"{shared(reader.get('sae'))}, {reader.get('n_latents', 0):,} latents"),
        ]
    if reader.get("model_unpacked"):
        facts.append(
            ("the reader's weights", f"packed as {code(str(reader['model_unpacked']))}, unpacked to read")
        )
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
    return [code(f"{c.name} = {c.definition}") for c in columns if c.name_source == "pattern"]


def _changed_settings(settings: Settings) -> list[str]:
    now, default = settings.as_dict(), Settings().as_dict()
    return [
        code(f"{stage}.{key} = {json.dumps(value, ensure_ascii=False)}")
        for stage, values in now.items()
        for key, value in values.items()
        if stage != "review" and value != default[stage][key]
    ]


def _data(project: "Project") -> list[str]:
    report = project.ingest_report()
    rows = [
        (code(name), f"{n:,}", f"{report.weights.get(name, 1.0):g}")
        for name, n in sorted(report.pairs_by_source.items())
    ]
    labels = ", ".join(f"{n:,} {label.replace('_', ' ')}" for label, n in sorted(report.labels.items()))
    lines = [
        "", "## Data", "",
        f"{report.rows_read:,} rows read, {report.pairs:,} pairs in {report.groups:,} groups of one prompt."
        f" Labels: {labels}. {report.evaluation_pairs:,} pairs belong to an evaluation set.",
        "", *table(("source", "pairs >", "weight >"), rows),
    ]  # fmt: skip
    if n_cut := project.pairs("truncated:yes", limit=1).n_rows:
        said = f"{counted(n_cut, 'pair has', 'pairs have')} a text that was too long for the reader:"
        lines += ["", f"{said} latents and `@length` know only what was read of it."]
    listed = [(c.kind, c.reason.replace("_", " "), f"{c.n:,}", c.meaning) for c in reason_counts(report)]
    return [*lines, "", *table(("rows", "why", "n >", "meaning"), listed)] if listed else lines


def _taught(project: "Project", summary: "ProjectSummary", limit: int) -> list[str]:
    called = project.concepts("called:yes", sort="-evidence", limit=limit)
    is_proposed = any(str(r["concept"]).startswith(MARK) for r in called.records())
    proposed = f" `{MARK.strip()}` marks names that a language model proposed and nobody has given."
    q = project.settings.stats.q
    lines = [
        "", "## Taught everywhere", "",
        f"{called.n_rows:,} of {summary.n_concepts:,} concepts are called at a false discovery rate of {q:g}."
        " *Taught* is a win rate: of the pairs whose sides differ in the concept, the share whose chosen side"
        " has more of it (above 50% the labels reward it, below they punish it), with its 95% interval. *At"
        " equal length* is what remains when length and origin are accounted for; *called* says which of the"
        f" two is firm. Strongest evidence first.{proposed if is_proposed else ''}",
    ]  # fmt: skip
    rows = [
        (code(r["concept"]), interval(r, "taught"), interval(r, "equal"), r["badge"] or "",
         f"{r['discordant']:,}", small(r["q"]), r["verdict"] or "")
        for r in called.records()
    ]  # fmt: skip
    header = ("concept", "taught", "at equal length", "called", "pairs >", "q >", "verdict")
    return [*lines, *long_table(header, rows, called.n_rows)]


def _differing(project: "Project", limit: int) -> list[str]:
    q = project.settings.stats.q
    found = project.hypotheses(f"!context={EVERYWHERE} differs_q<={q}", sort="differs_q", limit=limit)
    lines = [
        "", "## Other inside a context", "",
        f"{found.n_rows:,} hypotheses inside contexts differ from everywhere at a false discovery rate of"
        f" {q:g}; z is that of the difference.",
    ]  # fmt: skip
    rows = [
        (code(r["context"]), code(r["concept"]), interval(r, "taught"), f"{r['differs']:+.1f}",
         small(r["differs_q"]), r["verdict"] or "")
        for r in found.records()
    ]  # fmt: skip
    header = ("context", "concept", "taught there", "z >", "q >", "verdict")
    return [*lines, *long_table(header, rows, found.n_rows)]


def _decisions(project: "Project") -> list[str]:
    views, coverage = project.browser.verdicts(), project.browser.coverage()
    lines = [
        "", "## Decided", "",
        f"{coverage.n_called_decided:,} of {coverage.n_called:,} called concepts have a verdict.",
    ]  # fmt: skip
    rows: list[list[str]] = []
    seen = set()
    for r in project.hypotheses("!verdict:none", sort="verdict,concept,context").records():
        view = views[r["target"]]
        seen.add(r["target"])
        where = EVERYWHERE if r["context"] == EVERYWHERE else code(r["context"])
        own = [r["verdict"], code(r["concept"]), where, interval(r, "taught")]
        rows.append([*own, *_whose(view), _remarks(view)])
    rows += [
        [v.verdict, code(v.name), "", "", *_whose(v), "not in this index"]
        for key, v in sorted(views.items())
        if key not in seen
    ]
    header = ["verdict", "concept", "where", "taught", "because", "by", ""]
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    return [*lines, *long_table(header, rows, len(rows))]


def _remarks(view: "VerdictView") -> str:
    said = [f"carried over (match {view.match:.0%}): to be confirmed"] if view.match is not None else []
    said += [f"{code(view.disputed_by)} decided otherwise"] if view.disputed_by else []
    return "; ".join(said)


def _whose(view: "VerdictView") -> tuple[str, str]:
    return code(view.reason, None) if view.reason else "", code(view.author)
